//! Whether anybody needs an object, from what is known of it, with the proof as a sentence. Pure. Here for what is ours; `keeping` for the rest.
//!
//! Ours are judged by their leases, which the kernel takes back when their holder dies. Of objects of other programs the kernel says who
//! has them open, mapped or attached; whether somebody comes back for what nobody holds it cannot know.

/// What follows from the proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Somebody has it.
    Live,
    /// Ours, and whoever had it is dead: it can go.
    Stale,
    /// Of another program: nobody has it, and whether anybody needs it is not known.
    Unheld,
    /// It cannot be seen whether anybody has it.
    Unknown,
}

impl State {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Unheld => "unheld",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether anybody needs an object, with the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What follows.
    pub state: State,
    /// From what: a sentence without its full stop.
    pub proof: String,
}

impl Verdict {
    pub(super) fn new(state: State, proof: impl Into<String>) -> Self {
        let proof = proof.into();
        Self { state, proof }
    }

    pub(super) fn unknown(proof: impl Into<String>) -> Self {
        Self::new(State::Unknown, proof)
    }
}

/// A lock that dies with its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    Held,
    Free,
    /// The object cannot be opened by us.
    Hidden,
}

/// Of a region of a file transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RegionEvidence {
    pub(super) client: Lease,
    /// It is one by its first bytes, or old enough that it would be.
    pub(super) is_finished: bool,
}

pub(super) fn of_region(evidence: RegionEvidence) -> Verdict {
    match (evidence.client, evidence.is_finished) {
        (Lease::Held, _) => Verdict::new(State::Live, "its client holds its lease (byte 0)"),
        (Lease::Free, true) => Verdict::new(State::Stale, "its lease (byte 0) is free: its client is dead"),
        (Lease::Free, false) => {
            Verdict::unknown("its lease is free, and it is so new that its client may be about to take it")
        }
        (Lease::Hidden, _) => Verdict::unknown("its lease cannot be looked at: its mode hides it"),
    }
}

pub(super) fn of_gate(lock: Lease, server: &str) -> Verdict {
    match lock {
        Lease::Held => Verdict::new(State::Live, format!("server {server} holds its lock")),
        Lease::Free => Verdict::new(State::Stale, format!("its lock is free: server {server} is dead")),
        Lease::Hidden => Verdict::unknown("its lock cannot be looked at: its mode hides it"),
    }
}

/// Of the queue behind a gate. The gate decides: whoever makes a queue holds its lock first.
pub(super) fn of_server_queue(gate: Lease, queue: Lease, server: &str) -> Verdict {
    match (gate, queue) {
        (Lease::Held, _) => Verdict::new(State::Live, format!("server {server} holds the lock of its gate")),
        (_, Lease::Held) => Verdict::new(State::Live, format!("server {server} holds a lease on it")),
        (Lease::Free, Lease::Free) => Verdict::new(
            State::Stale,
            format!("its lease is free, and so is the lock of its gate: server {server} is dead"),
        ),
        _ => Verdict::unknown("its lease cannot be looked at: its mode hides it"),
    }
}

/// Of an object of a channel of images that a requester of ours has made; `used` is what the kernel says of any object. Programs that hold no
/// lease can be on the other side: free leases alone prove nothing.
pub(super) fn of_channel(lock: Lease, used: Verdict) -> Verdict {
    match (lock, used.state) {
        (Lease::Held, _) => Verdict::new(
            State::Live,
            "the requester or the provider of its channel holds its lease on it",
        ),
        (Lease::Free, State::Unheld) => Verdict::new(
            State::Stale,
            format!(
                "the leases of its channel are free: its requester is dead, and no provider of ours is there; {}",
                used.proof
            ),
        ),
        (Lease::Hidden, State::Unheld) => {
            Verdict::unknown("its leases cannot be looked at: its mode hides them")
        }
        _ => used,
    }
}

/// Of a queue that a doctor makes for a moment: it has it open from its making on, and removes its name before it closes it. `is_alone`: nobody
/// but us has it open; `None` if that cannot be asked for.
pub(super) fn of_trial(is_alone: Option<bool>) -> Verdict {
    match is_alone {
        Some(true) => Verdict::new(
            State::Stale,
            "nobody has it open: the doctor that tried whether it can make a queue is dead",
        ),
        Some(false) => Verdict::new(State::Live, "its doctor has it open"),
        None => Verdict::unknown("whether its doctor has it open cannot be asked for, or it is gone"),
    }
}

/// Of a message board: a set of semaphores and the segment under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BoardEvidence {
    /// The poster's token is there: the kernel takes it back at its death.
    pub(super) has_poster: bool,
    pub(super) inside: u64,
    pub(super) waiting: u64,
    pub(super) attached: u64,
    /// The segment begins as a board's does; or, beside a poster's mark and nothing else, it was never touched, or there is none.
    pub(super) is_as_left: bool,
}

pub(super) fn of_board(evidence: BoardEvidence) -> Verdict {
    let BoardEvidence {
        inside,
        waiting,
        attached,
        ..
    } = evidence;
    if evidence.has_poster {
        Verdict::new(
            State::Live,
            "its poster lives: its token (POSTER, with undo) is in the set",
        )
    } else if inside + waiting + attached > 0 {
        let proof = format!(
            "its poster is dead, but readers are there: {inside} inside, {waiting} waiting, {attached} attached to the segment"
        );
        Verdict::new(State::Live, proof)
    } else if evidence.is_as_left {
        let proof = "its poster is dead: the kernel took its token (POSTER) back; nobody is inside, waits or is attached";
        Verdict::new(State::Stale, proof)
    } else {
        Verdict::unknown(
            "it may be a message board without a poster; its segment is not one that it would have",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_lease_of_a_finished_region_proves_a_death() {
        for (client, is_finished, expected) in [
            (Lease::Held, true, State::Live),
            (Lease::Held, false, State::Live),
            (Lease::Free, true, State::Stale),
            (Lease::Free, false, State::Unknown),
            (Lease::Hidden, true, State::Unknown),
        ] {
            assert_eq!(of_region(RegionEvidence { client, is_finished }).state, expected);
        }
    }

    #[test]
    fn a_server_is_dead_only_if_both_its_gate_and_its_queue_say_so() {
        use Lease::{Free, Held, Hidden};
        for gate in [Held, Free, Hidden] {
            for queue in [Held, Free, Hidden] {
                let expected = match (gate, queue) {
                    (Held, _) | (_, Held) => State::Live,
                    (Free, Free) => State::Stale,
                    _ => State::Unknown,
                };
                assert_eq!(
                    of_server_queue(gate, queue, "/x").state,
                    expected,
                    "{gate:?} {queue:?}"
                );
            }
        }
        assert_eq!(of_gate(Held, "/x").state, State::Live);
        assert_eq!(of_gate(Free, "/x").state, State::Stale);
        assert_eq!(of_gate(Hidden, "/x").state, State::Unknown);
    }

    #[test]
    fn an_object_of_a_channel_is_stale_only_if_its_leases_are_free_and_nobody_else_has_it() {
        use Lease::{Free, Held, Hidden};
        for lock in [Free, Held, Hidden] {
            for used in [State::Live, State::Unheld, State::Unknown] {
                let expected = match (lock, used) {
                    (Held, _) => State::Live,
                    (Free, State::Unheld) => State::Stale,
                    (Hidden, State::Unheld) => State::Unknown,
                    (_, used) => used,
                };
                let verdict = of_channel(lock, Verdict::new(used, "a proof"));
                assert_eq!(verdict.state, expected, "{lock:?} {used:?}");
            }
        }
    }

    #[test]
    fn a_board_is_stale_only_if_nobody_has_to_do_with_it_and_its_segment_says_what_it_is() {
        let dead = BoardEvidence {
            has_poster: false,
            inside: 0,
            waiting: 0,
            attached: 0,
            is_as_left: true,
        };
        assert_eq!(of_board(dead).state, State::Stale);
        for alive in [
            BoardEvidence {
                has_poster: true,
                ..dead
            },
            BoardEvidence { inside: 1, ..dead },
            BoardEvidence { waiting: 1, ..dead },
            BoardEvidence { attached: 1, ..dead },
        ] {
            assert_eq!(of_board(alive).state, State::Live);
        }
        let other = BoardEvidence {
            is_as_left: false,
            ..dead
        };
        assert_eq!(of_board(other).state, State::Unknown);
    }
}
