//! How many chunks of a file are asked for at once. Pure.

use std::time::Duration;

/// The most chunks of a file that are asked for at once.
pub const AHEAD_MAX: usize = 8;

/// How many chunks are asked for at once from now on. More while the reader has to wait for them; fewer if they take so long that a part of
/// the time-out goes by with waiting in line.
#[must_use]
pub fn next_ahead(ahead: usize, had_to_wait: bool, took: Duration, timeout: Duration) -> usize {
    if took > timeout / 8 {
        (ahead / 2).max(1)
    } else if had_to_wait && took < timeout / 32 {
        (ahead * 2).min(AHEAD_MAX)
    } else {
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_asked_for_ahead_while_it_helps_and_less_on_a_slow_link() {
        let timeout = Duration::from_secs(32);
        let next = |ahead, had_to_wait, millis| {
            next_ahead(ahead, had_to_wait, Duration::from_millis(millis), timeout)
        };
        assert_eq!(
            [next(1, true, 1), next(2, true, 1), next(AHEAD_MAX, true, 1)],
            [2, 4, AHEAD_MAX]
        );
        assert_eq!(next(2, false, 1), 2);
        assert_eq!(next(2, true, 2000), 2);
        assert_eq!([next(8, true, 5000), next(1, true, 5000)], [4, 1]);
    }
}
