//! The two semaphores of a region, and how a side waits: a bounded spin while the peer runs on another CPU, then sleep.
//!
//! A semaphore is a doorbell: it wakes, it is never believed. The sequence words say whether there is work, so a forged value or waiter
//! count costs a little time and nothing else. libc's `sem_wait` and `sem_post` are not used, because they abort or hang the process when
//! a peer forges the words or truncates the page between their load and their system call; but the words have glibc's layout, and a peer
//! that does use libc is served in both directions.
//!
//! ```text
//! post(s):  old = s.value.fetch_add(1); fence                     // pairs with the fence in wait (Dekker)
//!           if old == 0 and s.waiters != 0: futex_wake(s.value, 1)
//! wait(s):  if the peer runs on another CPU: spin on cond up to the budget
//!           loop: s.value = 0; s.waiters = 1; fence; if cond(): ready
//!                 futex_wait(s.value, 0, rest of the slice); s.waiters = 0
//!                 EFAULT: faulted; cond(): ready; slice over: tell the caller; 64 fruitless returns: nap
//! ```
//!
//! Both fences are needed. Without them a poster may read `waiters` before its sequence word is visible while the waiter reads the
//! sequence word before its `waiters` is visible: nobody wakes. `tests/it/loom_ring.rs` lets loom find that, for each fence alone.

use std::time::{Duration, Instant};

use shmeld_os::futex::{Faulted, Wake};
use shmeld_os::process;

use crate::layout::Word;
use crate::sync::Ordering;

/// How long a side spins before it sleeps: about what a blocking wake across CPUs costs on a virtual machine.
pub const SPIN_BUDGET: Duration = Duration::from_micros(120);
/// How many looks at the condition lie between two looks at the clock while spinning.
const SPINS_PER_CLOCK_READ: u32 = 64;
/// After so many wakes without progress within one slice the peer is playing tricks, and we take a nap before each further one.
pub const FRUITLESS_WAKES_MAX: u32 = 64;
/// Length of that nap.
pub const NAP: Duration = Duration::from_millis(1);
/// How long a side sleeps before it looks at leases, state and clocks.
pub const SLICE: Duration = Duration::from_millis(250);

/// Where the control words live: a [`crate::Region`], or loom's atomics in the model.
pub trait Words {
    /// Atomic load.
    fn load(&self, word: Word, order: Ordering) -> u32;
    /// Atomic store.
    fn store(&self, word: Word, value: u32, order: Ordering);
    /// Atomic add; returns the value before.
    fn fetch_add(&self, word: Word, value: u32, order: Ordering) -> u32;
    /// A sequentially consistent fence.
    fn fence(&self);
    /// `futex(FUTEX_WAIT)`: sleeps while the word has the value expected.
    fn futex_wait(&self, word: Word, expected: u32, timeout: Duration) -> Wake;
    /// `futex(FUTEX_WAKE)`: wakes one sleeper.
    ///
    /// # Errors
    /// [`Faulted`] if the word's memory is gone.
    fn futex_wake(&self, word: Word) -> Result<u32, Faulted>;
    /// Whether memory of the region was found gone.
    fn faulted(&self) -> bool;
}

/// Which of the two semaphores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Semaphore {
    /// Posted by the server for each published slot; the client waits on it.
    Filled,
    /// Posted by the client for each released slot; the server waits on it.
    Free,
}

impl Semaphore {
    fn value(self) -> Word {
        match self {
            Self::Filled => Word::FilledValue,
            Self::Free => Word::FreeValue,
        }
    }
    fn waiters(self) -> Word {
        match self {
            Self::Filled => Word::FilledWaiters,
            Self::Free => Word::FreeWaiters,
        }
    }
    /// The word in which the waiting side publishes its CPU, and the one in which its peer does.
    fn cpus(self) -> (Word, Word) {
        match self {
            Self::Filled => (Word::ClientCpu, Word::ServerCpu),
            Self::Free => (Word::ServerCpu, Word::ClientCpu),
        }
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The condition holds.
    Ready,
    /// The slice is over, or a signal came: look at leases, state and clocks, then wait again.
    SliceOver,
    /// The peer took the memory away.
    Faulted,
}

/// `sem_post(semaphore)`: adds one unit and wakes the peer if it sleeps. No system call otherwise.
///
/// # Errors
/// [`Faulted`] if the peer took the memory away.
#[doc(alias = "sem_post")]
#[inline]
pub fn post(words: &impl Words, semaphore: Semaphore) -> Result<(), Faulted> {
    // SeqCst: an RMW that a libc waiter synchronises with; the order against `waiters` comes from the fence.
    let units_before = words.fetch_add(semaphore.value(), 1, Ordering::SeqCst);
    // Pairs with the fence in `sleep`: either we see its `waiters`, or it sees the sequence word that we stored before.
    words.fence();
    // A value that was not zero has already ended the sleep of whoever slept on zero.
    if units_before == 0 && words.load(semaphore.waiters(), Ordering::Relaxed) != 0 {
        words.futex_wake(semaphore.value())?;
    }
    Ok(())
}

/// Takes all units away: for the sake of peers whose libc refuses to post beyond 2^31 - 1. Only the waiting side may do this.
pub fn forget_units(words: &impl Words, semaphore: Semaphore) {
    words.store(semaphore.value(), 0, Ordering::Relaxed);
}

/// `sem_timedwait(semaphore)`: waits until `ready` says so, at most until `slice_end`.
///
/// `ready` must load the peer's sequence word with acquire ordering each time it is asked, and be true also if that word is impossible.
#[doc(alias = "sem_timedwait")]
pub fn wait(
    words: &impl Words,
    semaphore: Semaphore,
    slice_end: Instant,
    mut ready: impl FnMut() -> bool,
) -> Waited {
    if ready() {
        return Waited::Ready;
    }
    if peer_runs_elsewhere(words, semaphore) && spin(&mut ready) {
        return Waited::Ready;
    }
    sleep(words, semaphore, slice_end, ready)
}

/// Publishes our CPU, reads the peer's. A lie costs the liar's own transfer some time. 0 is "unknown": a peer that does not say is not
/// worth a spin.
fn peer_runs_elsewhere(words: &impl Words, semaphore: Semaphore) -> bool {
    let (mine, peers) = semaphore.cpus();
    let my_cpu = process::current_cpu() + 1;
    words.store(mine, my_cpu, Ordering::Relaxed);
    let peer_cpu = words.load(peers, Ordering::Relaxed);
    peer_cpu != 0 && peer_cpu != my_cpu
}

fn spin(ready: &mut impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        for _ in 0..SPINS_PER_CLOCK_READ {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() >= SPIN_BUDGET {
            return false;
        }
    }
}

/// The sleeping half of [`wait`]: what loom explores.
pub fn sleep(
    words: &impl Words,
    semaphore: Semaphore,
    slice_end: Instant,
    mut ready: impl FnMut() -> bool,
) -> Waited {
    let mut fruitless_wakes = 0;
    loop {
        // Zero first, then look: a post that we wipe out here stored its sequence word before, so the look below sees it.
        words.store(semaphore.value(), 0, Ordering::SeqCst);
        words.store(semaphore.waiters(), 1, Ordering::SeqCst);
        // Pairs with the fence in `post`.
        words.fence();
        if ready() {
            words.store(semaphore.waiters(), 0, Ordering::Relaxed);
            return if words.faulted() {
                Waited::Faulted
            } else {
                Waited::Ready
            };
        }
        let rest = slice_end.saturating_duration_since(Instant::now());
        let wake = words.futex_wait(semaphore.value(), 0, rest);
        words.store(semaphore.waiters(), 0, Ordering::Relaxed);
        if wake == Wake::Fault || words.faulted() {
            return Waited::Faulted;
        }
        if ready() {
            return Waited::Ready;
        }
        if matches!(wake, Wake::TimedOut | Wake::Interrupted) || rest.is_zero() {
            return Waited::SliceOver;
        }
        fruitless_wakes += 1;
        if fruitless_wakes >= FRUITLESS_WAKES_MAX {
            // A wake storm: with the nap it costs one per cent of a CPU instead of all of it.
            std::thread::sleep(NAP);
        }
    }
}
