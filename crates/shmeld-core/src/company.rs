//! Two sides of a ring that share a CPU although there are others. Counts only; `region` moves the thread.

use std::cell::Cell;

use crate::wait::Semaphore;

/// Whether both sides sit on one CPU, and how often that has been tried to change.
///
/// A side that sleeps is woken by its peer, and the scheduler likes to put whoever is woken where the waker is. Once both share a CPU
/// they take turns there, although another one is idle. Measured with 256 MiB through one page, both started on one of two CPUs: 0.35 to
/// 0.54 s in five of eight runs and next to no spin; with this, 0.20 to 0.23 s in all eight. So a side that finds itself in that company
/// again and again moves away once. If it is moved back, or the peer's word is a lie, the next attempt comes eight times later.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Waits in a row on the peer's CPU.
    waits: Cell<u32>,
    attempts: Cell<u32>,
}

/// The client moves first: if both did at once, they would meet again.
const CLIENT_WAITS_MIN: u32 = 8;
const SERVER_WAITS_MIN: u32 = 64;
const ATTEMPTS_MAX: u32 = 7;

impl Company {
    /// Told before each wait whether the peer was last seen on our CPU; whether to look for another one.
    #[inline]
    pub(crate) fn is_time_to_leave(&self, semaphore: Semaphore, shared: bool) -> bool {
        if !shared {
            self.waits.set(0);
            return false;
        }
        let first = match semaphore {
            Semaphore::Filled => CLIENT_WAITS_MIN,
            Semaphore::Free => SERVER_WAITS_MIN,
        };
        self.waits.set(self.waits.get().saturating_add(1));
        let is_time = self.waits.get() >= first << (3 * self.attempts.get());
        if is_time {
            self.waits.set(0);
            self.attempts.set(ATTEMPTS_MAX.min(self.attempts.get() + 1));
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many waits in a row on the peer's CPU it takes until the side moves.
    fn patience(company: &Company, semaphore: Semaphore) -> u32 {
        let stays = |_: &u32| !company.is_time_to_leave(semaphore, true);
        (1..).take_while(stays).count() as u32 + 1
    }

    #[test]
    fn the_client_moves_first_and_each_further_attempt_takes_eight_times_as_long() {
        let (client, server) = (Company::default(), Company::default());
        assert_eq!(patience(&server, Semaphore::Free), SERVER_WAITS_MIN);
        for factor in [1, 8, 64] {
            assert_eq!(patience(&client, Semaphore::Filled), CLIENT_WAITS_MIN * factor);
        }
    }

    #[test]
    fn a_wait_apart_from_the_peer_begins_the_count_anew() {
        let company = Company::default();
        for _ in 1..CLIENT_WAITS_MIN {
            assert!(!company.is_time_to_leave(Semaphore::Filled, true));
        }
        assert!(!company.is_time_to_leave(Semaphore::Filled, false));
        assert_eq!(patience(&company, Semaphore::Filled), CLIENT_WAITS_MIN);
    }
}
