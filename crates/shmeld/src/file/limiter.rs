//! How many lines are written about the same thing in a second, and what the others amounted to. Pure: time comes as an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::account::Totals;

/// The most lines about one topic in a second.
pub(super) const LINES_A_SECOND_MAX: u32 = 10;
/// How many of them may be long: the others show less of what a stranger chose.
pub(super) const LONG_LINES_A_SECOND_MAX: u32 = 2;
/// The most topics of users that are told apart. Beyond it all users share one topic for each event and status.
pub(super) const TOPICS_MAX: usize = 1024;
/// How long lines are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// Whom a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// A user, as the kernel says.
    Uid(u32),
    /// Nobody has proven to be anybody.
    Stranger,
    /// One of the users for whom the table has no place.
    Others,
}

impl Who {
    /// The user, if it is a certain one.
    pub(super) fn uid(self) -> Option<u32> {
        match self {
            Self::Uid(uid) => Some(uid),
            Self::Stranger | Self::Others => None,
        }
    }
}

/// What lines are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Topic {
    pub(super) who: Who,
    pub(super) event: &'static str,
    pub(super) status: &'static str,
}

/// What lines that were left out amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) count: u64,
    /// Nothing but zeros unless they are ends of sessions.
    pub(super) totals: Totals,
}

impl Sums {
    /// One line with these numbers.
    pub(super) fn of(totals: Totals) -> Self {
        Self { count: 1, totals }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.totals.add(other.totals);
    }
}

/// What was left out about a topic.
pub(super) type LeftOut = (Topic, Sums);

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// Whether it is written.
    pub(super) is_written: bool,
    /// Whether it is to be short, if it is.
    pub(super) is_brief: bool,
    /// What an earlier second of this topic left out: that is told first.
    pub(super) before: Option<LeftOut>,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    written: u32,
    left_out: Sums,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    windows: BTreeMap<Topic, Window>,
}

impl Limiter {
    /// Counts a line, whose numbers are `sums` if it is left out.
    pub(super) fn note(&mut self, topic: Topic, sums: Sums, now: Instant) -> Noted {
        let topic = if self.windows.len() < TOPICS_MAX || self.windows.contains_key(&topic) {
            topic
        } else {
            let who = Who::Others;
            Topic { who, ..topic }
        };
        let window = self.windows.entry(topic).or_insert_with(|| Window::new(now));
        let mut before = None;
        if window.is_over(now) {
            before = window.left_out(topic);
            *window = Window::new(now);
        }
        let is_written = window.written < LINES_A_SECOND_MAX;
        let is_brief = window.written >= LONG_LINES_A_SECOND_MAX;
        if is_written {
            window.written += 1;
        } else {
            window.left_out.add(sums);
        }
        Noted {
            is_written,
            is_brief,
            before,
        }
    }

    /// Takes what was left out in seconds that are over.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<LeftOut> {
        let mut taken = Vec::new();
        self.windows.retain(|topic, window| {
            let is_over = window.is_over(now);
            if is_over {
                taken.extend(window.left_out(*topic));
            }
            !is_over
        });
        taken
    }

    /// Takes all that was left out.
    pub(super) fn take_all(&mut self) -> Vec<LeftOut> {
        let windows = std::mem::take(&mut self.windows);
        let left_out = windows
            .into_iter()
            .filter_map(|(topic, window)| window.left_out(topic));
        left_out.collect()
    }
}

impl Window {
    fn new(start: Instant) -> Self {
        Self {
            start,
            written: 0,
            left_out: Sums::default(),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.start) >= WINDOW
    }

    fn left_out(&self, topic: Topic) -> Option<LeftOut> {
        (self.left_out.count > 0).then_some((topic, self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(uid: u32) -> Topic {
        Topic {
            who: Who::Uid(uid),
            event: "refused",
            status: "FNF",
        }
    }

    fn one() -> Sums {
        Sums::of(Totals::default())
    }

    fn count(left_out: &[LeftOut]) -> u64 {
        left_out.iter().map(|(_, sums)| sums.count).sum()
    }

    #[test]
    fn a_hundred_thousand_lines_in_a_second_are_ten_and_one_that_says_how_many_more() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let (mut written, mut long) = (0, 0);
        for number in 0..100_000_u32 {
            let now = start + Duration::from_micros(9) * number;
            let noted = limiter.note(topic(1), one(), now);
            assert_eq!(noted.before, None);
            written += u64::from(noted.is_written);
            long += u32::from(!noted.is_brief);
        }
        assert_eq!(long, LONG_LINES_A_SECOND_MAX);
        assert_eq!(written, u64::from(LINES_A_SECOND_MAX));
        assert_eq!(limiter.take_over(start + Duration::from_millis(999)), []);
        let left_out = limiter.take_over(start + WINDOW);
        assert_eq!(
            (left_out.len(), count(&left_out)),
            (1, 100_000 - u64::from(LINES_A_SECOND_MAX))
        );
        assert_eq!(limiter.take_all(), []);
    }

    /// Whoever sums up the lines gets every number once, whenever the seconds end.
    #[test]
    fn nothing_is_lost_in_the_sums_over_many_seconds_and_users() {
        let start = Instant::now();
        let mut limiter = Limiter::default();
        let mut sums = Sums::default();
        for step in 0..9000_u64 {
            let line = Sums::of(Totals {
                files: 2,
                bytes: step,
                ..Totals::default()
            });
            let now = start + Duration::from_millis(step);
            let noted = limiter.note(topic(step as u32 % 3), line, now);
            if noted.is_written {
                sums.add(line);
            }
            noted.before.into_iter().for_each(|(_, before)| sums.add(before));
            if step % 700 == 0 {
                let over = limiter.take_over(now);
                over.into_iter().for_each(|(_, before)| sums.add(before));
            }
        }
        limiter
            .take_all()
            .into_iter()
            .for_each(|(_, before)| sums.add(before));
        assert_eq!(
            (sums.count, sums.totals.files, sums.totals.bytes),
            (9000, 18_000, 9000 * 8999 / 2)
        );
    }

    #[test]
    fn each_user_event_and_status_has_lines_of_its_own_until_the_table_is_full() {
        let now = Instant::now();
        let mut limiter = Limiter::default();
        let mut fill = |uid| {
            let tries = 0..LINES_A_SECOND_MAX + 5;
            tries
                .filter(|_| limiter.note(topic(uid), one(), now).is_written)
                .count()
        };
        let uids_max = TOPICS_MAX as u32;
        assert!((0..uids_max).all(|uid| fill(uid) == LINES_A_SECOND_MAX as usize));
        // All that come later are one topic together.
        assert_eq!(fill(uids_max), LINES_A_SECOND_MAX as usize);
        assert_eq!(fill(uids_max + 1), 0);
        assert_eq!(limiter.windows.len(), TOPICS_MAX + 1);
        let left_out = limiter.take_all();
        let others = left_out.iter().find(|(topic, _)| topic.who == Who::Others);
        assert_eq!(
            others.map(|(_, sums)| sums.count),
            Some(5 + u64::from(LINES_A_SECOND_MAX) + 5)
        );
    }
}
