//! The control words and slots of a ring in loom's memory, and what the mutants of `loom_ring` break in them.
//!
//! Loom takes a SeqCst access for an AcqRel one, so whatever it proves here needs no SeqCst access; and the code has no fence. The
//! payload is a loom cell: an access without happens-before is reported as the data race that it is.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU32;
use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::Words;
use shmeld_os::futex::{Faulted, Wake};

use crate::loom_semaphore::{ModelSemaphore, Width};

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
    /// The add in `post` has this ordering.
    Add(Ordering),
    /// The exchange in `sleep` has this ordering.
    Swap(Ordering),
    /// The exchange in `sleep` is a store.
    StoreForSwap,
    /// The exchange in `forget_units` is a store.
    StoreInForgetUnits,
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

/// What both sides share. `Rc` and `Cell` are enough: loom runs all threads of a model on one thread of the machine.
pub struct Memory {
    pub written: AtomicU32,
    pub read: AtomicU32,
    pub filled: ModelSemaphore,
    pub free: ModelSemaphore,
    slots: Vec<Slot>,
    mutant: Mutant,
}

impl Memory {
    /// A fresh ring whose sequence words stand on `start`, as `Offer::publish` makes it.
    pub fn new(slots: u32, start: u32, width: Width, mutant: Mutant) -> Rc<Self> {
        let slot = |_| Slot {
            access: UnsafeCell::new(()),
            item: Cell::new(0),
        };
        Rc::new(Self {
            written: AtomicU32::new(start),
            read: AtomicU32::new(start),
            filled: ModelSemaphore::new(width, 0),
            free: ModelSemaphore::new(width, slots),
            slots: (0..slots).map(slot).collect(),
            mutant,
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
        self.filled.sleeps() + self.free.sleeps()
    }
}

/// Where a word lies.
enum Place<'m> {
    Sequence(&'m AtomicU32),
    Value(&'m ModelSemaphore),
    Waiters(&'m ModelSemaphore),
}

/// One side's view of the shared words.
pub struct ModelWords {
    memory: Rc<Memory>,
    /// Whether this side last said that it waits: then an exchange is that of `sleep`, else that of `forget_units`.
    is_waiting: Cell<bool>,
}

impl ModelWords {
    pub fn new(memory: &Rc<Memory>) -> Self {
        Self {
            memory: Rc::clone(memory),
            is_waiting: Cell::new(false),
        }
    }

    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.memory.mutant == mutant
    }

    fn place(&self, word: Word) -> Place<'_> {
        match word {
            Word::Written => Place::Sequence(&self.memory.written),
            Word::Read => Place::Sequence(&self.memory.read),
            Word::FilledValue => Place::Value(&self.memory.filled),
            Word::FreeValue => Place::Value(&self.memory.free),
            Word::FilledWaiters => Place::Waiters(&self.memory.filled),
            Word::FreeWaiters => Place::Waiters(&self.memory.free),
            Word::State | Word::ServerCpu | Word::ClientCpu => {
                unreachable!("neither the ring nor its sleep uses {word:?}")
            }
        }
    }

    fn value(&self, word: Word) -> &ModelSemaphore {
        match self.place(word) {
            Place::Value(semaphore) => semaphore,
            _ => unreachable!("{word:?} is only loaded and stored"),
        }
    }
}

impl Words for ModelWords {
    fn load(&self, word: Word, order: Ordering) -> u32 {
        let order = match word {
            Word::Written if self.is(Mutant::RelaxedLoadOfWritten) => Ordering::Relaxed,
            Word::Read if self.is(Mutant::RelaxedLoadOfRead) => Ordering::Relaxed,
            _ => order,
        };
        match self.place(word) {
            Place::Sequence(sequence) => sequence.load(order),
            Place::Value(semaphore) => semaphore.load_value(order),
            Place::Waiters(_) if self.is(Mutant::NoWaitersSeen) => 0,
            Place::Waiters(semaphore) => semaphore.load_waiters(order),
        }
    }

    fn store(&self, word: Word, value: u32, order: Ordering) {
        let order = match word {
            Word::Written if self.is(Mutant::RelaxedStoreOfWritten) => Ordering::Relaxed,
            Word::Read if self.is(Mutant::RelaxedStoreOfRead) => Ordering::Relaxed,
            _ => order,
        };
        match self.place(word) {
            Place::Sequence(sequence) => sequence.store(value, order),
            Place::Value(semaphore) => semaphore.store_value(value, order),
            Place::Waiters(semaphore) => {
                self.is_waiting.set(value > 0);
                semaphore.store_waiters(value, order);
            }
        }
    }

    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32 {
        let semaphore = self.value(word);
        match (self.memory.mutant, self.is_waiting.get()) {
            (Mutant::Swap(weaker), true) => semaphore.swap_value(value, weaker),
            (Mutant::StoreForSwap, true) | (Mutant::StoreInForgetUnits, false) => {
                semaphore.store_value(value, Ordering::Release);
                0
            }
            _ => semaphore.swap_value(value, order),
        }
    }

    fn fetch_add(&self, word: Word, value: u32, order: Ordering) -> u32 {
        let order = match self.memory.mutant {
            Mutant::Add(weaker) => weaker,
            _ => order,
        };
        self.value(word).add_value(value, order)
    }

    fn futex_wait(&self, word: Word, expected: u32, _no_time_out: Duration) -> Wake {
        self.value(word).futex_wait(expected)
    }

    fn futex_wake(&self, word: Word) -> Result<u32, Faulted> {
        if self.is(Mutant::NoWake) {
            return Ok(0);
        }
        Ok(self.value(word).futex_wake())
    }

    fn faulted(&self) -> bool {
        false
    }
}
