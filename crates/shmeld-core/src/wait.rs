//! The two semaphores of a region, and how a side waits: a bounded spin while the peer runs on another CPU, then sleep.
//!
//! ```
//! use std::{thread, time::Instant};
//! use shmeld_core::sync::Ordering::{Acquire, Release};
//! use shmeld_core::wait::{self, SLICE, Semaphore, Waited, Words};
//! use shmeld_core::{Region, layout::{Geometry, Word}};
//! use shmeld_os::posix::shm::SharedMemory;
//! let geometry = Geometry::for_region(4096)?;
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(4096)?;
//! let map = || Region::map(&object, geometry, "the example");
//! let (server, client) = (map()?, map()?);
//!
//! let poster = thread::spawn(move || {
//!     server.store(Word::Written, 1, Release); // the truth, then the bell
//!     wait::post(&server, Semaphore::Filled)
//! });
//! let is_there = || client.load(Word::Written, Acquire) == 1;
//! while wait::wait(&client, Semaphore::Filled, Instant::now() + SLICE, is_there) != Waited::Ready {
//!     // A slice is over: is the other side still alive? (`attach`)
//! }
//! # poster.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A semaphore is a doorbell: it wakes, it is never believed. The sequence words say whether there is work, so a forged value or waiter
//! count costs a little time and nothing else. libc's `sem_wait` and `sem_post` are not used, because they abort or hang the process when
//! a peer forges the words or truncates the page between their load and their system call; but the words have glibc's layout, and a peer
//! that does use libc is served in both directions.
//!
//! ```text
//! post(s):  old = s.value.fetch_add(1)                            // acquire and release, as the swap below
//!           if old == 0 and s.waiters != 0: futex_wake(s.value, 1)
//! wait(s):  if the peer runs on another CPU: spin on cond up to the budget
//!           loop: s.waiters = 1; s.value.swap(0); if cond(): s.waiters = 0; ready
//!                 futex_wait(s.value, 0, rest of the slice); s.waiters = 0
//!                 EFAULT: faulted; cond(): ready; slice over: tell the caller; 64 fruitless returns: nap
//! ```
//!
//! No wake is lost, and no fence is needed, because both sides change `value` by read-modify-write operations only: these have one
//! order, and each takes over what those before it released.
//! - The add comes after the swap: the poster sees `waiters = 1`. If `old` was not zero, an earlier post found the zero and has woken.
//! - The add comes before the swap: the waiter's look sees the sequence word that was stored before the post.
//!
//! So all of this matters: `waiters` before the swap, the look after it, acquire and release on both, a swap and not a store.
//! `tests/it/loom_ring.rs` takes away one after the other, and loom finds the wake that is lost.
//!
//! A peer with glibc changes `value` and `waiters` by one 64-bit operation, and the same two cases remain (`tests/it/loom_glibc.rs`).
//! No language defines atomics of mixed width; an aligned word of 64 bits is read and written at once by every 64-bit processor.
//! - Its `sem_post` adds with release and reads both halves at once. After our swap it sees `waiters = 1`, which the swap released;
//!   before our swap, our look sees its sequence word.
//! - Its `sem_wait` adds a waiter and reads `value` at once. If our add comes later, it reads what that operation wrote, and by its
//!   acquire we then see the waiter; if it came before, glibc finds the unit and takes it by an acquiring exchange.

use std::time::{Duration, Instant};

use shmeld_os::futex::{Faulted, Wake};

use crate::counters::Tick;
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
/// How long a side sleeps before it looks at leases, state and clocks. A peer that dies between publishing a slot and ringing costs two
/// slices: one in which its last slot waits unheard, one in which nothing more comes. Both together are less than half a second.
pub const SLICE: Duration = Duration::from_millis(200);

/// Where the control words live: a [`crate::Region`], or loom's atomics in the model.
pub trait Words {
    /// Atomic load.
    fn load(&self, word: Word, order: Ordering) -> u32;
    /// Atomic store.
    fn store(&self, word: Word, value: u32, order: Ordering);
    /// Atomic exchange; returns the value before.
    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32;
    /// Atomic add; returns the value before.
    fn fetch_add(&self, word: Word, value: u32, order: Ordering) -> u32;
    /// `futex(FUTEX_WAIT)`: sleeps while the word has the value expected.
    fn futex_wait(&self, word: Word, expected: u32, timeout: Duration) -> Wake;
    /// `futex(FUTEX_WAKE)`: wakes one sleeper.
    ///
    /// # Errors
    /// [`Faulted`] if the word's memory is gone.
    fn futex_wake(&self, word: Word) -> Result<u32, Faulted>;
    /// Whether memory of the region was found gone.
    fn faulted(&self) -> bool;
    /// Counts what waiting costs, where somebody wants to know.
    #[inline]
    fn count(&self, tick: Tick) {
        let _ = tick;
    }
    /// Publishes in `word` which CPU runs us, and returns that number + 1. 0, "unknown", where nobody would read it.
    fn tell_cpu(&self, word: Word) -> u32 {
        let _ = word;
        0
    }
    /// Told before each wait whether the peer was last seen on our CPU.
    #[inline]
    fn shares_cpu(&self, semaphore: Semaphore, shared: bool) {
        let _ = (semaphore, shared);
    }
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
    pub(crate) fn cpus(self) -> (Word, Word) {
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
    // Release: whoever takes this unit away sees the sequence word. Acquire: we see the waiters of whoever took the units before it.
    // Pairs with the exchange in `sleep` in both directions.
    let units_before = words.fetch_add(semaphore.value(), 1, Ordering::AcqRel);
    // Where there were units, the post that brought the first of them has ended the sleep of whoever slept on zero.
    if units_before == 0 && words.load(semaphore.waiters(), Ordering::Relaxed) != 0 {
        words.count(Tick::Wake);
        words.futex_wake(semaphore.value())?;
    }
    Ok(())
}

/// Takes all units away: for the sake of peers whose libc refuses to post beyond 2^31 - 1. Only the waiting side may do this.
pub fn forget_units(words: &impl Words, semaphore: Semaphore) {
    // An exchange, not a store: a store reads nothing, so the next exchange in `sleep` would not see what was published before the
    // units wiped out here; and `post` does not look at the waiters when it finds units.
    words.swap(semaphore.value(), 0, Ordering::AcqRel);
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
    if ready() || peer_runs_elsewhere(words, semaphore) && spin(words, &mut ready) {
        // Zeros in the place of a vanished region can look ready.
        return if words.faulted() {
            Waited::Faulted
        } else {
            Waited::Ready
        };
    }
    sleep(words, semaphore, slice_end, ready)
}

/// Publishes our CPU, reads the peer's. A lie costs the liar's own transfer some time. 0 is "unknown": a peer that does not say is not
/// worth a spin.
fn peer_runs_elsewhere(words: &impl Words, semaphore: Semaphore) -> bool {
    let (mine, peers) = semaphore.cpus();
    let my_cpu = words.tell_cpu(mine);
    let peer_cpu = words.load(peers, Ordering::Relaxed);
    let elsewhere = peer_cpu != 0 && peer_cpu != my_cpu;
    words.shares_cpu(semaphore, peer_cpu != 0 && !elsewhere);
    elsewhere
}

fn spin(words: &impl Words, ready: &mut impl FnMut() -> bool) -> bool {
    words.count(Tick::Spin);
    // The clock starts after the first looks: a look at it takes as long as a line needs from CPU to CPU.
    let mut start = None;
    loop {
        for _ in 0..SPINS_PER_CLOCK_READ {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() >= SPIN_BUDGET {
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
        words.store(semaphore.waiters(), 1, Ordering::Relaxed);
        // Release: a post after this exchange sees the waiter above. Acquire: of a post before it, whose unit is wiped out here, the
        // look below sees the sequence word. Pairs with the add in `post`. An exchange, because a store reads nothing and so sees
        // nothing of a post.
        words.swap(semaphore.value(), 0, Ordering::AcqRel);
        if ready() {
            words.store(semaphore.waiters(), 0, Ordering::Relaxed);
            return if words.faulted() {
                Waited::Faulted
            } else {
                Waited::Ready
            };
        }
        let rest = slice_end.saturating_duration_since(Instant::now());
        words.count(Tick::Sleep);
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
        words.count(Tick::SpuriousWake);
        fruitless_wakes += 1;
        if fruitless_wakes >= FRUITLESS_WAKES_MAX {
            // A wake storm: with the nap it costs one per cent of a CPU instead of all of it.
            std::thread::sleep(NAP);
        }
    }
}
