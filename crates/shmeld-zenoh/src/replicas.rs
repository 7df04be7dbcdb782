//! Which exports of a key are there, and which of them is asked next. Pure: time is given, nobody is asked here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::key::ExportId;

/// The most exports of one key that are known at once; whoever comes later waits for a place.
pub const REPLICAS_MAX: usize = 64;
/// Who could not answer so often in a row gives its place to one that comes.
const FAILURES_MAX: u32 = 3;
/// How long an export that could not answer is left out, at first and at most: twice as long each time.
const PENALTY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// See the module.
#[derive(Debug, Default)]
pub struct Replicas {
    known: BTreeMap<ExportId, Replica>,
    /// Counts choices, so that equals take turns.
    turn: u64,
    /// Somebody came for whom there was no place.
    was_full: bool,
}

#[derive(Debug, Default)]
struct Replica {
    /// Questions that are not answered yet.
    asked: u32,
    /// How often in a row it could not answer.
    failures: u32,
    /// Not before this time.
    left_out_until: Option<Instant>,
    last_turn: u64,
}

/// Who is asked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Ask(ExportId),
    /// All are left out for a while: look again at this time.
    NotBefore(Instant),
    /// There is nobody (else).
    Nobody,
}

impl Replicas {
    /// An export is there. `false` if there are too many already, all of which can answer as far as is known.
    pub fn appeared(&mut self, id: ExportId) -> bool {
        if self.known.len() >= REPLICAS_MAX && !self.known.contains_key(&id) {
            let useless = self.known.iter().max_by_key(|(_, replica)| replica.failures);
            let Some((&useless, _)) = useless.filter(|(_, replica)| replica.failures >= FAILURES_MAX) else {
                self.was_full = true;
                return false;
            };
            self.known.remove(&useless);
            self.was_full = true;
        }
        self.known.entry(id).or_default();
        true
    }

    /// An export is gone.
    pub fn vanished(&mut self, id: ExportId) {
        self.known.remove(&id);
    }

    /// Whether those for whom there was no place may come again; once. Not for every single place: who comes and goes in thousands would be
    /// looked for thousands of times.
    pub fn has_room_for_others(&mut self) -> bool {
        self.known.len() <= REPLICAS_MAX / 2 && std::mem::take(&mut self.was_full)
    }

    /// Whether this one is there.
    #[must_use]
    pub fn has(&self, id: ExportId) -> bool {
        self.known.contains_key(&id)
    }

    /// The one that has the least to do among those that are not `excluded`; among equals the one whose turn was longest ago.
    pub fn choose(&mut self, excluded: &[ExportId], now: Instant) -> Choice {
        let candidates = || self.known.iter().filter(|(id, _)| !excluded.contains(id));
        let is_left_out = |replica: &Replica| replica.left_out_until.is_some_and(|until| until > now);
        let best = candidates()
            .filter(|(_, replica)| !is_left_out(replica))
            .min_by_key(|(_, replica)| (replica.asked, replica.last_turn));
        let Some((&id, _)) = best else {
            let soonest = candidates()
                .filter_map(|(_, replica)| replica.left_out_until)
                .min();
            return soonest.map_or(Choice::Nobody, Choice::NotBefore);
        };
        self.turn += 1;
        if let Some(replica) = self.known.get_mut(&id) {
            replica.last_turn = self.turn;
        }
        Choice::Ask(id)
    }

    /// A question is on its way.
    pub fn asked(&mut self, id: ExportId) {
        if let Some(replica) = self.known.get_mut(&id) {
            replica.asked += 1;
        }
    }

    /// A question is over, however.
    pub fn over(&mut self, id: ExportId) {
        if let Some(replica) = self.known.get_mut(&id) {
            replica.asked = replica.asked.saturating_sub(1);
        }
    }

    /// It could answer.
    pub fn succeeded(&mut self, id: ExportId) {
        if let Some(replica) = self.known.get_mut(&id) {
            (replica.failures, replica.left_out_until) = (0, None);
        }
    }

    /// It could not answer: it is left out for a while. Of several questions that fail at the same time one counts.
    pub fn failed(&mut self, id: ExportId, now: Instant) {
        let Some(replica) = self.known.get_mut(&id) else {
            return;
        };
        if replica.left_out_until.is_some_and(|until| until > now) {
            return;
        }
        let penalty = PENALTY.0 * 2_u32.saturating_pow(replica.failures.min(10));
        replica.failures += 1;
        replica.left_out_until = Some(now + penalty.min(PENALTY.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ExportId = ExportId([1; 16]);
    const B: ExportId = ExportId([2; 16]);

    fn two() -> Replicas {
        let mut replicas = Replicas::default();
        assert!(replicas.appeared(A) && replicas.appeared(B));
        replicas
    }

    #[test]
    fn load_is_shared_and_equals_take_turns() {
        let (mut replicas, now) = (two(), Instant::now());
        let mut chosen = || replicas.choose(&[], now);
        assert_eq!([chosen(), chosen(), chosen()], [A, B, A].map(Choice::Ask));
        replicas.asked(A);
        assert_eq!(replicas.choose(&[], now), Choice::Ask(B));
        assert_eq!(replicas.choose(&[], now), Choice::Ask(B));
        replicas.over(A);
        assert_eq!(replicas.choose(&[], now), Choice::Ask(A));
    }

    #[test]
    fn one_that_fails_is_left_out_longer_each_time_and_forgiven_when_it_answers() {
        let (mut replicas, now) = (two(), Instant::now());
        replicas.failed(A, now);
        replicas.failed(A, now);
        for _ in 0..3 {
            assert_eq!(replicas.choose(&[], now), Choice::Ask(B));
        }
        assert_eq!(replicas.choose(&[B], now), Choice::NotBefore(now + PENALTY.0));
        let later = now + PENALTY.0;
        assert_eq!(replicas.choose(&[B], later), Choice::Ask(A));
        replicas.failed(A, later);
        assert_eq!(
            replicas.choose(&[B], later),
            Choice::NotBefore(later + 2 * PENALTY.0)
        );
        replicas.succeeded(A);
        assert_eq!(replicas.choose(&[B], later), Choice::Ask(A));
        for _ in 0..100 {
            replicas.failed(A, now);
            replicas.vanished(A);
            replicas.appeared(A);
        }
    }

    #[test]
    fn whoever_is_gone_or_excluded_is_not_asked() {
        let (mut replicas, now) = (two(), Instant::now());
        replicas.vanished(A);
        assert_eq!(replicas.choose(&[], now), Choice::Ask(B));
        assert_eq!(replicas.choose(&[B], now), Choice::Nobody);
        replicas.over(A);
        replicas.failed(A, now);
        assert!(!replicas.has(A) && replicas.has(B));
    }

    /// Anybody who may write under the key can say to be an export: memory must not grow with that.
    #[test]
    fn no_more_than_so_many_are_known() {
        let mut replicas = Replicas::default();
        for number in 0..REPLICAS_MAX as u8 {
            assert!(replicas.appeared(ExportId([number; 16])));
        }
        assert!(!replicas.appeared(ExportId([255; 16])) && replicas.appeared(ExportId([0; 16])));
        assert_eq!(replicas.known.len(), REPLICAS_MAX);
    }

    #[test]
    fn whoever_had_no_place_is_looked_for_when_half_of_the_places_are_free() {
        let mut replicas = Replicas::default();
        let id = |number: usize| ExportId([number as u8; 16]);
        for number in 0..REPLICAS_MAX {
            replicas.appeared(id(number));
        }
        replicas.vanished(id(0));
        assert!(!replicas.has_room_for_others(), "nobody was turned away");
        assert!(replicas.appeared(id(100)) && !replicas.appeared(id(101)));
        for number in 1..REPLICAS_MAX / 2 {
            replicas.vanished(id(number));
            assert!(!replicas.has_room_for_others());
        }
        replicas.vanished(id(100));
        assert!(replicas.has_room_for_others() && !replicas.has_room_for_others());
    }

    #[test]
    fn one_that_never_answers_gives_its_place_to_another() {
        let (mut replicas, now) = (Replicas::default(), Instant::now());
        for number in 0..REPLICAS_MAX as u8 {
            replicas.appeared(ExportId([number; 16]));
        }
        for failure in 0..FAILURES_MAX {
            assert!(!replicas.appeared(ExportId([100; 16])));
            replicas.failed(ExportId([7; 16]), now + failure * PENALTY.1);
        }
        assert!(replicas.appeared(ExportId([100; 16])) && !replicas.has(ExportId([7; 16])));
        assert_eq!(replicas.known.len(), REPLICAS_MAX);
    }
}
