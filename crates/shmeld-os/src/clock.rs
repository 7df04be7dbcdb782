//! Deadlines: our own are monotonic, some of the kernel's are wall-clock times.
//!
//! `mq_timedsend` takes an absolute time of `CLOCK_REALTIME`, which people and time daemons set. So a
//! long wait is cut into slices, and after each the monotonic deadline decides: a step forward of the
//! wall clock ends one slice early, and nothing else. A step backward makes the slice it hits longer by
//! that step; calls that can wait on the monotonic clock do.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest wait under the wall clock.
const SLICE_MAX: Duration = Duration::from_secs(1);

/// What is left until `deadline`; zero if it has passed, `None` if there is none.
pub(crate) fn left(deadline: Option<Instant>) -> Option<Duration> {
    deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
}

/// The deadline of a time-out that starts now. A time-out beyond the clock's range is none.
pub(crate) fn deadline_in(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// The end of the next slice in wall-clock time. With nothing left it lies in 1970: do not wait at all.
pub(crate) fn slice_end(left: Duration) -> libc::timespec {
    if left.is_zero() {
        return timespec(Duration::ZERO);
    }
    // A wall clock before 1970 is a wall clock that is wrong: the slice then ends at once.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    timespec(now.saturating_add(left.min(SLICE_MAX)))
}

/// A duration, or a time since 1970, as C writes it.
// The field types differ in width from machine to machine.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
pub(crate) fn timespec(time: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos() as libc::c_long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_left_means_a_time_long_past() {
        let end = slice_end(Duration::ZERO);
        assert_eq!((end.tv_sec, end.tv_nsec), (0, 0));
    }

    #[test]
    fn a_slice_is_at_most_a_second() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let end = slice_end(Duration::from_secs(3600)).tv_sec as u64;
        assert!((now..=now + 3).contains(&end));
    }

    #[test]
    fn a_deadline_in_the_past_leaves_nothing_and_a_huge_one_is_none() {
        let now = Instant::now();
        assert_eq!(left(Some(now)), Some(Duration::ZERO));
        assert_eq!(left(None), None);
        assert_eq!(deadline_in(Some(Duration::MAX)), None);
    }
}
