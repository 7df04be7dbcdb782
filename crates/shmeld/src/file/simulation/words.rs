//! One side's view of the words of a simulated region: each access is a step.

use std::cell::Cell;
use std::time::Duration;

use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{SLICE, Words};
use shmeld_os::futex::{Faulted, Wake};

use super::baton::{Key, Me, Wakeup};
use super::kernel::RegionObject;
use super::world::{Mutant, World};

/// See the module.
#[derive(Debug)]
pub struct SimWords {
    pub me: Me,
    pub object: usize,
    /// The session, if this is the server's side.
    pub session: Option<usize>,
    faulted: Cell<bool>,
}

impl SimWords {
    pub fn new(me: &Me, object: usize, session: Option<usize>) -> Self {
        Self {
            me: me.clone(),
            object,
            session,
            faulted: Cell::new(false),
        }
    }

    /// One access to the region; zeros in the place of one that has vanished, as the guard of SIGBUS puts them there.
    fn access(&self, what: &str, word: Word, access: impl FnOnce(&mut RegionObject) -> u32) -> u32 {
        let (value, has_vanished) = self.me.step(format_args!("{what} {word:?}"), |world| {
            let region = &mut world.kernel.regions[self.object];
            if region.has_vanished {
                return (0, true);
            }
            let value = access(region);
            if let (Some(session), Word::Read) = (self.session, word) {
                let is_mutant = world.mutant == Mutant::CapacityNotChecked;
                return (witness_read(world, session, value, is_mutant), false);
            }
            (value, false)
        });
        if has_vanished {
            self.faulted.set(true);
        }
        value
    }
}

/// The session has seen this value of the client's sequence word. If that is impossible it must end for it.
fn witness_read(world: &mut World, session: usize, value: u32, is_mutant: bool) -> u32 {
    let object = world.sessions[session].object;
    let region = &world.kernel.regions[object];
    let capacity = region.slots.len() as u32;
    let card = &mut world.sessions[session];
    let in_flight = card.published.wrapping_sub(value);
    let goes_back = card.published.wrapping_sub(card.last_read) < in_flight;
    if in_flight > capacity || goes_back {
        if is_mutant {
            card.must_misbehave = true;
            return card.last_read;
        }
        card.must_misbehave = true;
    } else {
        card.last_read = value;
    }
    value
}

impl Words for SimWords {
    fn load(&self, word: Word, _: Ordering) -> u32 {
        self.access("load", word, |region| region.load(word))
    }

    fn store(&self, word: Word, value: u32, _: Ordering) {
        if let (Some(session), Word::Written) = (self.session, word) {
            self.me.aside(|world| world.sessions[session].published = value);
        }
        self.access(&format!("store {value:#x} in"), word, |region| {
            region.store(word, value)
        });
    }

    fn swap(&self, word: Word, value: u32, _: Ordering) -> u32 {
        self.access("swap", word, |region| region.store(word, value))
    }

    fn fetch_add(&self, word: Word, value: u32, _: Ordering) -> u32 {
        self.access("add to", word, |region| {
            let before = region.load(word);
            region.store(word, before.wrapping_add(value))
        })
    }

    /// Time-outs are the simulation's, whatever the real clock says meanwhile.
    fn futex_wait(&self, word: Word, expected: u32, _: Duration) -> Wake {
        let until = self.me.now() + SLICE;
        let waited = self
            .me
            .step_or_wait(format_args!("futex_wait {word:?}"), |world| {
                let region = &world.kernel.regions[self.object];
                if region.has_vanished {
                    Ok(Wake::Fault)
                } else if region.load(word) != expected {
                    Ok(Wake::ValueChanged)
                } else {
                    world.count("sleeps");
                    Err((Key::Futex(self.object, word), Some(until)))
                }
            });
        match waited {
            Ok(wake) => wake,
            Err(Wakeup::Woken) => Wake::Woken,
            Err(Wakeup::Interrupted) => Wake::Interrupted,
            Err(Wakeup::TimedOut) => {
                self.me.aside(|world| world.slice_over(self.session));
                Wake::TimedOut
            }
        }
    }

    fn futex_wake(&self, word: Word) -> Result<u32, Faulted> {
        if self.me.is(Mutant::NoWake) {
            return Ok(0);
        }
        self.me.step(format_args!("futex_wake {word:?}"), |world| {
            if world.kernel.regions[self.object].has_vanished {
                return Err(Faulted);
            }
            Ok(world.wake(Key::Futex(self.object, word), 1, Wakeup::Woken) as u32)
        })
    }

    fn faulted(&self) -> bool {
        self.faulted.get()
    }
}
