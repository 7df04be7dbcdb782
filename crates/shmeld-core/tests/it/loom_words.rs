//! The control words and slots of a ring in loom's memory, with a modelled futex, and the mutants of `loom_ring`.
//!
//! What loom knows and what this model adds:
//! - loom takes a SeqCst access for an AcqRel one. So whatever it proves here needs no SeqCst access: only the fences order a word
//!   against another one, besides the Release and Acquire that the code asks for.
//! - loom lets happens-before flow from one SeqCst fence to the next, which C11 does only if a word was read in between. Nothing
//!   here rests on it: a sequence word that was loaded Relaxed is caught (mutants) where no fence comes before the look.
//! - loom never switches threads at a fence, which would glue each fence to the access before it. `turn` adds the missing switch.
//! - The futex has no time-out, so a wake that is lost is a deadlock, which loom reports. Its look at the word is a Relaxed load
//!   under the lock of the kernel's queue: all that futex(2) promises, "totally ordered with respect to concurrent futex operations".
//! - The payload is a loom cell: an access without happens-before is reported as the data race that it is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Condvar, Mutex, MutexGuard};
use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::Words;
use shmeld_os::futex::{Faulted, Wake};

/// What is broken on purpose in the words of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Nothing.
    None,
    /// The Release of `publish` is missing.
    RelaxedStoreOfWritten,
    /// The Acquire of `filled_slots` is missing.
    RelaxedLoadOfWritten,
    /// The Release of `release` is missing.
    RelaxedStoreOfRead,
    /// The Acquire of `free_slots` is missing.
    RelaxedLoadOfRead,
    /// `post` has no fence between its unit and its look at the waiters.
    NoFenceInPost,
    /// `sleep` has no fence between its `waiters` and its look at the sequence word.
    NoFenceInSleep,
    /// `post` adds its unit without releasing what it stored before.
    RelaxedUnit,
    /// `post` believes that nobody waits.
    NoWaitersSeen,
    /// `post` sees that somebody waits and does not wake.
    NoWake,
}

/// One slot: an item, and loom's record of who accessed it when.
struct Slot {
    access: UnsafeCell<()>,
    item: Cell<u32>,
}

/// The kernel's queue of one futex word. At most one thread waits on each word of a ring.
struct Queue {
    asleep: Mutex<bool>,
    wake: Condvar,
}

/// What both sides share. `Rc` and `Cell` are enough: loom runs all threads of a model on one thread of the machine.
pub struct Memory {
    written: AtomicU32,
    read: AtomicU32,
    filled_value: AtomicU32,
    filled_waiters: AtomicU32,
    free_value: AtomicU32,
    free_waiters: AtomicU32,
    filled_queue: Queue,
    free_queue: Queue,
    slots: Vec<Slot>,
    /// Only here so that loom considers a switch of threads before each fence.
    turn: AtomicU32,
    mutant: Mutant,
    sleeps: Cell<u32>,
}

impl Memory {
    /// A fresh ring whose sequence words stand on `start`, as `Offer::publish` makes it.
    pub fn new(slots: u32, start: u32, mutant: Mutant) -> Rc<Self> {
        let word = AtomicU32::new;
        let queue = || Queue {
            asleep: Mutex::new(false),
            wake: Condvar::new(),
        };
        let slot = |_| Slot {
            access: UnsafeCell::new(()),
            item: Cell::new(0),
        };
        Rc::new(Self {
            written: word(start),
            read: word(start),
            filled_value: word(0),
            filled_waiters: word(0),
            free_value: word(slots),
            free_waiters: word(0),
            filled_queue: queue(),
            free_queue: queue(),
            slots: (0..slots).map(slot).collect(),
            turn: word(0),
            mutant,
            sleeps: Cell::new(0),
        })
    }

    /// Writes a slot; loom reports a race unless the peer's last access happened before.
    pub fn fill(&self, index: u32, item: u32) {
        let slot = &self.slots[index as usize];
        slot.access.with_mut(|_| slot.item.set(item));
    }

    /// Reads a slot; loom reports a race unless the peer's last write happened before.
    pub fn take(&self, index: u32) -> u32 {
        let slot = &self.slots[index as usize];
        slot.access.with(|_| slot.item.get())
    }

    /// How often somebody really slept.
    pub fn sleeps(&self) -> u32 {
        self.sleeps.get()
    }
}

/// One side's view of the shared words.
pub struct ModelWords {
    memory: Rc<Memory>,
    /// The last change of a word was a unit: so the next fence is that of `post`, not that of `sleep`.
    unit_came_last: Cell<bool>,
}

impl ModelWords {
    pub fn new(memory: &Rc<Memory>) -> Self {
        Self {
            memory: Rc::clone(memory),
            unit_came_last: Cell::new(false),
        }
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.memory.mutant == mutant
    }

    fn word(&self, word: Word) -> &AtomicU32 {
        match word {
            Word::Written => &self.memory.written,
            Word::Read => &self.memory.read,
            Word::FilledValue => &self.memory.filled_value,
            Word::FilledWaiters => &self.memory.filled_waiters,
            Word::FreeValue => &self.memory.free_value,
            Word::FreeWaiters => &self.memory.free_waiters,
            Word::State | Word::ServerCpu | Word::ClientCpu => {
                unreachable!("neither the ring nor its sleep uses {word:?}")
            }
        }
    }

    fn queue(&self, word: Word) -> &Queue {
        match word {
            Word::FilledValue => &self.memory.filled_queue,
            Word::FreeValue => &self.memory.free_queue,
            _ => unreachable!("nobody sleeps on {word:?}"),
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.asleep.lock().expect("no lock of loom is ever poisoned")
    }
}

impl Words for ModelWords {
    fn load(&self, word: Word, order: Ordering) -> u32 {
        match word {
            Word::FilledWaiters | Word::FreeWaiters if self.is(Mutant::NoWaitersSeen) => 0,
            Word::Written if self.is(Mutant::RelaxedLoadOfWritten) => self.word(word).load(Ordering::Relaxed),
            Word::Read if self.is(Mutant::RelaxedLoadOfRead) => self.word(word).load(Ordering::Relaxed),
            _ => self.word(word).load(order),
        }
    }

    fn store(&self, word: Word, value: u32, order: Ordering) {
        self.unit_came_last.set(false);
        match word {
            Word::Written if self.is(Mutant::RelaxedStoreOfWritten) => {
                self.word(word).store(value, Ordering::Relaxed)
            }
            Word::Read if self.is(Mutant::RelaxedStoreOfRead) => {
                self.word(word).store(value, Ordering::Relaxed)
            }
            // An assumption about machines, not about the language: a store over a unit comes after whatever the poster stored before
            // that unit, for everybody, because x86, ARMv8 and RISC-V are multi-copy atomic. C11 promises that only to an exchange.
            Word::FilledValue | Word::FreeValue => {
                self.word(word).swap(value, Ordering::Relaxed);
            }
            _ => self.word(word).store(value, order),
        }
    }

    fn fetch_add(&self, word: Word, value: u32, order: Ordering) -> u32 {
        self.unit_came_last.set(true);
        let order = if self.is(Mutant::RelaxedUnit) {
            Ordering::Relaxed
        } else {
            order
        };
        self.word(word).fetch_add(value, order)
    }

    fn fence(&self) {
        let mutant = if self.unit_came_last.get() {
            Mutant::NoFenceInPost
        } else {
            Mutant::NoFenceInSleep
        };
        if !self.is(mutant) {
            // Relaxed: it orders nothing by itself. The fence follows before loom can switch again.
            self.memory.turn.fetch_add(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    fn futex_wait(&self, word: Word, expected: u32, _no_time_out: Duration) -> Wake {
        let queue = self.queue(word);
        let mut asleep = queue.lock();
        if self.word(word).load(Ordering::Relaxed) != expected {
            return Wake::ValueChanged;
        }
        self.memory.sleeps.set(self.memory.sleeps.get() + 1);
        *asleep = true;
        while *asleep {
            asleep = queue.wake.wait(asleep).expect("no lock of loom is ever poisoned");
        }
        Wake::Woken
    }

    fn futex_wake(&self, word: Word) -> Result<u32, Faulted> {
        if self.is(Mutant::NoWake) {
            return Ok(0);
        }
        let queue = self.queue(word);
        let mut asleep = queue.lock();
        let woken = std::mem::take(&mut *asleep);
        if woken {
            queue.wake.notify_one();
        }
        Ok(u32::from(woken))
    }

    fn faulted(&self) -> bool {
        false
    }
}
