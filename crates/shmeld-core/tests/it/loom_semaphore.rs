//! One semaphore of a region in loom's memory, with a modelled futex, operated by our code or by a peer that uses glibc.
//!
//! What loom knows and what this model adds:
//! - The futex has no time-out, so a wake that is lost is a deadlock, which loom reports. Its look at the word is a Relaxed load
//!   under the lock of the kernel's queue: all that futex(2) promises, "totally ordered with respect to concurrent futex operations".
//! - Loom has no access to a part of an atomic. So the two halves are either atomics of their own, as our code operates them, or one
//!   of 64 bits, as glibc does. In the second case a half is accessed by an operation on the whole: this finds errors in the logic and
//!   in what the sequence words need, not in the order between the halves, for which the comment of `wait` argues.

use std::cell::Cell;

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Condvar, Mutex, MutexGuard};
use shmeld_core::sync::Ordering;
use shmeld_os::futex::Wake;

/// One waiter, in the upper half of a whole semaphore.
const WAITER: u64 = 1 << 32;

/// How a semaphore lies in loom's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Two atomics of 32 bits: both sides are ours.
    Halves,
    /// One atomic of 64 bits: one side is glibc.
    Whole,
}

enum Data {
    Halves { value: AtomicU32, waiters: AtomicU32 },
    Whole(AtomicU64),
}

/// A semaphore and the kernel's queue of its value. At most one thread waits on each semaphore of a ring.
pub struct ModelSemaphore {
    data: Data,
    asleep: Mutex<bool>,
    wake: Condvar,
    sleeps: Cell<u32>,
}

fn value_of(data: u64) -> u32 {
    (data % WAITER) as u32
}

fn waiters_of(data: u64) -> u32 {
    (data / WAITER) as u32
}

impl ModelSemaphore {
    pub fn new(width: Width, value: u32) -> Self {
        let data = match width {
            Width::Halves => Data::Halves {
                value: AtomicU32::new(value),
                waiters: AtomicU32::new(0),
            },
            Width::Whole => Data::Whole(AtomicU64::new(u64::from(value))),
        };
        Self {
            data,
            asleep: Mutex::new(false),
            wake: Condvar::new(),
            sleeps: Cell::new(0),
        }
    }

    /// How often somebody really slept.
    pub fn sleeps(&self) -> u32 {
        self.sleeps.get()
    }

    pub fn load_value(&self, order: Ordering) -> u32 {
        match &self.data {
            Data::Halves { value, .. } => value.load(order),
            Data::Whole(data) => value_of(data.load(order)),
        }
    }

    pub fn store_value(&self, new: u32, order: Ordering) {
        match &self.data {
            Data::Halves { value, .. } => value.store(new, order),
            Data::Whole(_) => unreachable!("only mutants store a value, and their peers are ours"),
        }
    }

    pub fn swap_value(&self, new: u32, order: Ordering) -> u32 {
        match &self.data {
            Data::Halves { value, .. } => value.swap(new, order),
            Data::Whole(data) => {
                assert_eq!(new, 0, "our code takes units away in no other way");
                value_of(data.fetch_and(!(WAITER - 1), order))
            }
        }
    }

    pub fn add_value(&self, units: u32, order: Ordering) -> u32 {
        match &self.data {
            Data::Halves { value, .. } => value.fetch_add(units, order),
            Data::Whole(data) => value_of(data.fetch_add(u64::from(units), order)),
        }
    }

    pub fn load_waiters(&self, order: Ordering) -> u32 {
        match &self.data {
            Data::Halves { waiters, .. } => waiters.load(order),
            Data::Whole(data) => waiters_of(data.load(order)),
        }
    }

    pub fn store_waiters(&self, new: u32, order: Ordering) {
        match (&self.data, new) {
            (Data::Halves { waiters, .. }, _) => waiters.store(new, order),
            (Data::Whole(data), 0) => {
                data.fetch_and(WAITER - 1, order);
            }
            (Data::Whole(data), 1) => {
                data.fetch_or(WAITER, order);
            }
            (Data::Whole(_), _) => unreachable!("our code counts no further than one"),
        }
    }

    pub fn futex_wait(&self, expected: u32) -> Wake {
        let mut asleep = self.lock();
        if self.load_value(Ordering::Relaxed) != expected {
            return Wake::ValueChanged;
        }
        self.sleeps.set(self.sleeps.get() + 1);
        *asleep = true;
        while *asleep {
            asleep = self.wake.wait(asleep).expect("no lock of loom is ever poisoned");
        }
        Wake::Woken
    }

    /// Tells how many slept: one or nobody.
    pub fn futex_wake(&self) -> u32 {
        let woken = std::mem::take(&mut *self.lock());
        if woken {
            self.wake.notify_one();
        }
        u32::from(woken)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.asleep.lock().expect("no lock of loom is ever poisoned")
    }

    fn whole(&self) -> &AtomicU64 {
        match &self.data {
            Data::Whole(data) => data,
            Data::Halves { .. } => unreachable!("glibc needs a whole semaphore"),
        }
    }

    /// `sem_post` as glibc does it on 64-bit machines since 2.21: adds one with Release, and wakes if the same operation saw a waiter.
    pub fn glibc_post(&self) {
        let data = self.whole().fetch_add(1, Ordering::Release);
        if waiters_of(data) > 0 {
            self.futex_wake();
        }
    }

    /// `sem_wait` as glibc does it on 64-bit machines since 2.21: takes a unit with Acquire; if there is none, it first becomes a waiter
    /// (Relaxed), and ceases to be one in the operation that takes the unit.
    pub fn glibc_wait(&self) {
        let data = self.whole();
        let mut seen = data.load(Ordering::Relaxed);
        while value_of(seen) > 0 {
            match data.compare_exchange(seen, seen - 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
        seen = data.fetch_add(WAITER, Ordering::Relaxed) + WAITER;
        loop {
            if value_of(seen) == 0 {
                self.futex_wait(0);
                seen = data.load(Ordering::Relaxed);
                continue;
            }
            match data.compare_exchange(seen, seen - 1 - WAITER, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => seen = newer,
            }
        }
    }
}
