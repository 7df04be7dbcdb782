//! A set that begins with other values than zero, without the race of the textbooks.
//!
//! The classical way, create and then SETALL, has a moment at which others find a set of zeros. Here the maker adds all values in *one*
//! operation, and whoever opens the set waits until it has been operated on: `sem_otime` is zero before the first operation and never
//! after. A maker that dies in between leaves a set that nobody uses; those who wait for it get a time-out.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Key;
use super::semaphore::{Operation, SemaphoreSet};
use crate::{Error, Result, clock, explain};

/// Nobody is woken by the first operation: openers look again after naps.
const NAP: Duration = Duration::from_millis(1);

impl SemaphoreSet {
    /// `semget(key, count, IPC_CREAT|IPC_EXCL|mode)`, then `semop` of all values at once: makes a set that did not exist, with these values.
    ///
    /// Others open it with [`SemaphoreSet::open_initialised`]. If the values are refused, the set is removed again.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::create_new`]; E2BIG for more values than one call can give (the third number of `kernel.sem`); ERANGE for one
    /// beyond [`VALUE_MAX`](super::semaphore::VALUE_MAX).
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html), section NOTES.
    pub fn create_with(key: Key, values: &[u16], mode: u32) -> Result<Self> {
        let count =
            u16::try_from(values.len()).map_err(|_| Error::new("semget", key.to_string(), Errno::INVAL))?;
        let operations = values
            .iter()
            .zip(0..)
            .map(|(value, index)| first_operation(index, *value));
        let operations: Option<Vec<Operation>> = operations.collect();
        let operations = operations.ok_or_else(|| Error::new("semtimedop", key.to_string(), Errno::RANGE))?;
        let set = Self::create_new(key, count, mode)?;
        if let Err(error) = set.operate(&operations, None) {
            // Ours, new, and of no use to anybody.
            let _ = set.remove();
            return Err(error);
        }
        explain!(
            "semtimedop",
            set.label(),
            format_args!("all {count} values at once: those who wait for them see all or none")
        );
        Ok(set)
    }

    /// `semget(key, semaphores, 0)`, then waits until the set has its first values: for sets that are made by
    /// [`SemaphoreSet::create_with`] or by any program that follows the textbook.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::open`]; [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if its maker has not finished by `deadline`
    /// (`None`: for ever); EACCES if its mode does not let us read.
    pub fn open_initialised(key: Key, semaphores: u16, deadline: Option<Instant>) -> Result<Self> {
        let set = Self::open(key, semaphores)?;
        while set.stat()?.operate_time.is_none() {
            let left = clock::left(deadline);
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::new("semctl(IPC_STAT)", set.label(), Errno::TIMEDOUT));
            }
            std::thread::sleep(left.unwrap_or(NAP).min(NAP));
        }
        Ok(set)
    }
}

/// What gives a semaphore that is zero its first value; a wait for zero, which is over at once, where that is zero.
fn first_operation(index: u16, value: u16) -> Option<Operation> {
    match value {
        0 => Some(Operation::zero(index).at_once()),
        1..=super::semaphore::VALUE_MAX => Some(Operation::add(index, value).at_once()),
        _ => None,
    }
}
