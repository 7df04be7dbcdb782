//! How long somebody waits: in slices, after each of which the caller's wish to stop is looked at.

use std::time::{Duration, Instant};

use crate::Result;
use crate::file::Interrupt;

/// The longest wait before the wish to stop, and whether the other side lives, are looked at.
pub(crate) const SLICE: Duration = Duration::from_millis(200);
/// How often something is looked for that no semaphore tells of.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// See the module.
#[derive(Debug)]
pub(crate) struct Patience {
    start: Instant,
    deadline: Option<Instant>,
    interrupt: Interrupt,
}

impl Patience {
    /// `None`, and what the clock cannot reach, is for ever.
    pub(crate) fn new(timeout: Option<Duration>, interrupt: Interrupt) -> Self {
        let start = Instant::now();
        Self {
            start,
            deadline: timeout.and_then(|timeout| start.checked_add(timeout)),
            interrupt,
        }
    }

    /// The end of the slice that begins now.
    ///
    /// # Errors
    /// The caller wants to stop.
    pub(crate) fn slice(&self) -> Result<Instant> {
        self.interrupt.check()?;
        let end = Instant::now() + SLICE;
        Ok(self.deadline.map_or(end, |deadline| deadline.min(end)))
    }

    /// A whole slice, whether the time is up or not.
    ///
    /// # Errors
    /// The caller wants to stop.
    pub(crate) fn grace(&self) -> Result<Instant> {
        self.interrupt.check()?;
        Ok(Instant::now() + SLICE)
    }

    /// Sleeps, but not beyond the end.
    ///
    /// # Errors
    /// The caller wants to stop.
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let left = self
            .deadline
            .map(|end| end.saturating_duration_since(Instant::now()));
        self.interrupt
            .sleep(left.map_or(duration, |left| left.min(duration)))
    }

    /// Whether the time is up.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// How long it has been.
    pub(crate) fn waited(&self) -> Duration {
        self.start.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_at_all_is_over_at_once_and_for_ever_never() {
        let none = Patience::new(Some(Duration::ZERO), Interrupt::default());
        assert!(none.is_over() && none.slice().expect("not interrupted") <= Instant::now());
        assert!(none.grace().expect("not interrupted") > Instant::now());
        for forever in [None, Some(Duration::MAX)] {
            let forever = Patience::new(forever, Interrupt::default());
            assert!(!forever.is_over() && forever.slice().expect("not interrupted") > Instant::now());
        }
    }
}
