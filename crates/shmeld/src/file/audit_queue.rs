//! What waits for the thread that writes the audit log: a bounded queue that nobody who adds to it waits for.
//!
//! A disk may hang for as long as it likes. Then lines collect here up to a limit, those beyond it are counted as lost, and the server goes
//! on. No lock of this file is held while something is written.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shmeld_core::counters::Counter;

/// The most lines that wait to be written.
pub(super) const QUEUE_LINES_MAX: usize = 1024;
/// How often a log that cannot be written is complained about.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// Write a line.
    Line(Vec<u8>),
    /// Open the file by its name anew.
    Reopen,
    /// Tell in the file how many lines were lost, as before each line.
    Mend,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct AuditQueue {
    state: Mutex<State>,
    changed: Condvar,
    /// Lines written, and lines lost.
    pub(super) lines: Counter,
    pub(super) lost: Counter,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// The thread has taken a job and not come back.
    is_at_work: bool,
    /// Nobody adds anything any more.
    is_closed: bool,
    /// Lines that were lost and have not been reported in the file.
    unreported: u64,
    warned: Option<Instant>,
}

impl AuditQueue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. Says whether it is lost, because too many wait, and that is to be complained about.
    #[must_use]
    pub(super) fn push(&self, line: Vec<u8>) -> bool {
        let mut state = self.state();
        if state.jobs.len() >= QUEUE_LINES_MAX {
            return self.lose(&mut state, 1);
        }
        state.jobs.push_back(Job::Line(line));
        self.changed.notify_all();
        false
    }

    /// Adds the wish to open the file anew. One that waits already will be fulfilled after this moment and does for both.
    pub(super) fn push_reopen(&self) {
        let mut state = self.state();
        if !state.jobs.contains(&Job::Reopen) {
            state.jobs.push_back(Job::Reopen);
            self.changed.notify_all();
        }
    }

    /// Has lost lines told, if there are any and no line is about to do that.
    pub(super) fn push_mend(&self) {
        let mut state = self.state();
        if state.unreported > 0 && state.jobs.is_empty() {
            state.jobs.push_back(Job::Mend);
            self.changed.notify_all();
        }
    }

    /// For the thread: the next job, waited for; `None` when there will be none.
    pub(super) fn take(&self) -> Option<Job> {
        let mut state = self.state();
        state.is_at_work = false;
        self.changed.notify_all();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.is_at_work = true;
                return Some(job);
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until everything is written, at most for `patience`. Returns how many lines are not: they count as lost.
    pub(super) fn drain(&self, patience: Duration) -> u64 {
        let is_busy = |state: &mut State| !state.jobs.is_empty() || state.is_at_work;
        let waited = self.changed.wait_timeout_while(self.state(), patience, is_busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let waiting = state
            .jobs
            .iter()
            .filter(|job| matches!(job, Job::Line(_)))
            .count();
        let unwritten = waiting as u64 + u64::from(state.is_at_work);
        if unwritten > 0 {
            state.jobs.clear();
            self.lose(&mut state, unwritten);
        }
        unwritten
    }

    /// Lets the thread end when it has written what waits.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// For the thread: how many lost lines are to be told before the next one.
    pub(super) fn unreported(&self) -> u64 {
        self.state().unreported
    }

    /// So many lost lines have been told.
    pub(super) fn reported(&self, lines: u64) {
        let mut state = self.state();
        state.unreported = state.unreported.saturating_sub(lines);
    }

    /// A line could not be written. Says whether that is to be complained about.
    pub(super) fn lose_one(&self) -> bool {
        self.lose(&mut self.state(), 1)
    }

    fn lose(&self, state: &mut State, lines: u64) -> bool {
        self.lost.add(lines);
        state.unreported += lines;
        let may_warn = state.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if may_warn {
            state.warned = Some(Instant::now());
        }
        may_warn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody writes: what adds lines does not wait, and nothing grows without bound.
    #[test]
    fn lines_beyond_the_limit_are_lost_counted_and_complained_about_once() {
        let queue = AuditQueue::default();
        let complaints = (0..QUEUE_LINES_MAX + 10).filter(|_| queue.push(b"{}\n".to_vec()));
        // Those after the first would come too soon.
        assert_eq!(complaints.count(), 1);
        assert_eq!((queue.lost.get(), queue.unreported()), (10, 10));
        queue.push_reopen();
        queue.push_reopen();
        assert_eq!(queue.state().jobs.len(), QUEUE_LINES_MAX + 1);
        assert_eq!(queue.take(), Some(Job::Line(b"{}\n".to_vec())));
        let start = Instant::now();
        assert_eq!(queue.drain(Duration::from_millis(20)), QUEUE_LINES_MAX as u64);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(queue.lost.get(), 10 + QUEUE_LINES_MAX as u64);
    }

    #[test]
    fn jobs_are_done_in_their_order_and_lost_lines_are_told_when_nothing_else_comes() {
        let queue = AuditQueue::default();
        queue.push_mend();
        assert!(!queue.push(vec![1]) && !queue.push(vec![2]));
        queue.push_reopen();
        assert!(queue.lose_one() && !queue.lose_one());
        queue.push_mend();
        let taken = [(); 3].map(|()| queue.take());
        assert_eq!(
            taken,
            [Job::Line(vec![1]), Job::Line(vec![2]), Job::Reopen].map(Some)
        );
        queue.push_mend();
        assert_eq!(queue.take(), Some(Job::Mend));
        queue.reported(2);
        queue.push_mend();
        queue.close();
        assert_eq!(queue.take(), None);
        assert_eq!(queue.drain(Duration::ZERO), 0);
    }
}
