//! A bounded buffer of slots between one producer (the server) and one consumer (the client), as in every textbook: two semaphores
//! `filled` and `free`, and two sequence words `written` and `read`, which are the truth.
//!
//! Each side keeps its own cursor in private memory and publishes a copy. The peer's word is an allegation: [`Cursor`] accepts it only if
//! it lies between what it was before and what is possible. Not here: what a slot holds (`shmeld::file::record`), and how one waits
//! (`wait`).
//!
//! ```
//! use shmeld_core::{Region, layout::Geometry, ring::{Consumer, Producer}};
//! use shmeld_os::posix::shm::SharedMemory;
//!
//! let geometry = Geometry::for_region(1 << 20)?;
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(geometry.region_bytes())?;
//! let map = || Region::map(&object, geometry, "the example");
//! let (server, client) = (map()?, map()?);
//! let mut producer = Producer::new(geometry.slot_count());
//! let mut consumer = Consumer::new(geometry.slot_count());
//!
//! for message in [b"one", b"two"] {
//!     assert!(producer.is_free(&server)?);
//!     server.slot(producer.index()).write(0, message);
//!     producer.publish(&server)?;
//! }
//! assert_eq!(consumer.filled_slots(&client)?, 2);
//! let mut bytes = [0; 3];
//! client.slot(consumer.index()).read(0, &mut bytes);
//! consumer.release(&client)?;
//! assert_eq!(&bytes, b"one");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::Instant;

use shmeld_os::futex::Faulted;

use crate::counters::Tick;
use crate::error::Misbehaviour;
use crate::layout::Word;
use crate::sync::Ordering;
use crate::wait::{self, Semaphore, Waited, Words};

/// How often the waiting side takes all units out of its semaphore: libc posters stop at 2^31 - 1.
const FORGET_UNITS_EVERY_SLOTS: u32 = 1 << 20;
/// How often a side that need not wait says on which CPU it runs. Its peer would take it for "unknown" otherwise and sleep before each
/// slot, however fast the next one comes. Seldom, because asking costs a little; often enough for a process that is moved.
const TELL_CPU_EVERY_SLOTS: u32 = 64;

/// One side's private view of both sequence words. Pure: no memory is touched here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    capacity: u32,
    /// The sequence word that this side owns.
    mine: u32,
    /// The slot that `mine` stands on. Counted apart, because `mine % capacity` jumps when a sequence word wraps.
    index: u32,
    /// How many slots were ready for this side when the peer's word was last accepted, less those used since.
    ready: u32,
}

impl Cursor {
    /// A side that has `ready` slots to begin with: the producer all of them, the consumer none.
    #[must_use]
    pub fn new(capacity: u32, ready: u32) -> Self {
        Self {
            capacity,
            mine: 0,
            index: 0,
            ready,
        }
    }

    /// Starts both sequence words at `start` instead of 0: for tests of wrapping.
    #[must_use]
    pub fn starting_at(self, start: u32) -> Self {
        Self { mine: start, ..self }
    }

    /// The slot that is this side's turn.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The value of this side's own sequence word.
    #[must_use]
    pub fn mine(&self) -> u32 {
        self.mine
    }

    /// How many slots can be used without looking at the peer's word again.
    #[must_use]
    pub fn ready(&self) -> u32 {
        self.ready
    }

    /// Takes in a fresh count of slots ready for us, computed from the peer's word.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if there are more than the capacity, or fewer than before: the peer's word went backwards.
    pub fn accept(&mut self, ready: u32) -> Result<u32, Misbehaviour> {
        if ready > self.capacity || ready < self.ready {
            return Err(Misbehaviour::Sequence);
        }
        self.ready = ready;
        Ok(ready)
    }

    /// One slot used: the next value of our own sequence word.
    ///
    /// # Panics
    /// If no slot was ready: our own bug.
    pub fn advance(&mut self) -> u32 {
        assert!(self.ready > 0, "a slot was used that was not ready");
        self.ready -= 1;
        self.mine = self.mine.wrapping_add(1);
        self.index = if self.index + 1 == self.capacity {
            0
        } else {
            self.index + 1
        };
        self.mine
    }

    /// Uses one slot, tells the peer in `word`, and posts `rung`; `awaited` is the semaphore on which this side waits.
    #[inline]
    fn hand_over(
        &mut self,
        words: &impl Words,
        word: Word,
        awaited: Semaphore,
        rung: Semaphore,
    ) -> Result<(), Faulted> {
        let mine = self.advance();
        words.count(Tick::Slot);
        // The first slot has number 1, and comes with the answer to the first wait.
        if mine % TELL_CPU_EVERY_SLOTS == 1 {
            words.tell_cpu(awaited.cpus().0);
        }
        // Release: what this side wrote into the slot becomes visible, or its reads of the slot are over, before the new count.
        // Pairs with the Acquire loads in `Consumer::filled_slots` and `Producer::free_slots`.
        words.store(word, mine, Ordering::Release);
        if mine.is_multiple_of(FORGET_UNITS_EVERY_SLOTS) {
            wait::forget_units(words, awaited);
        }
        wait::post(words, rung)
    }
}

/// The server's end of the ring.
#[derive(Debug)]
pub struct Producer {
    cursor: Cursor,
}

impl Producer {
    /// The producer of a fresh ring.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self {
            cursor: Cursor::new(capacity, capacity),
        }
    }

    /// A producer whose cursor the caller chose: for tests of wrapping.
    #[must_use]
    pub fn with_cursor(cursor: Cursor) -> Self {
        Self { cursor }
    }

    /// The slot to fill next.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.cursor.index()
    }

    /// How many slots may be filled now.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the client's word is impossible.
    #[inline]
    pub fn free_slots(&mut self, words: &impl Words) -> Result<u32, Misbehaviour> {
        // Acquire: the client's reads of the slot happened before its Release store in `Consumer::release`; we may overwrite.
        let read = words.load(Word::Read, Ordering::Acquire);
        let in_flight = self.cursor.mine.wrapping_sub(read);
        // More in flight than there are slots: the subtraction makes a number above the capacity, which `accept` refuses.
        self.cursor.accept(self.cursor.capacity.wrapping_sub(in_flight))
    }

    /// Whether a slot may be filled now. Looks at the client's word only if the last look left none: each look takes the line of that
    /// word away from the client, whose next release then waits for it.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the client's word is impossible.
    #[inline]
    pub fn is_free(&mut self, words: &impl Words) -> Result<bool, Misbehaviour> {
        Ok(self.cursor.ready > 0 || self.free_slots(words)? > 0)
    }

    /// Waits for a free slot until `slice_end`.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the client's word is impossible.
    pub fn wait_free(&mut self, words: &impl Words, slice_end: Instant) -> Result<Waited, Misbehaviour> {
        wait_until(words, Semaphore::Free, slice_end, || {
            Ok(self.free_slots(words)? > 0)
        })
    }

    /// Makes the slot at [`Producer::index`] visible to the client and rings.
    ///
    /// # Errors
    /// [`Faulted`] if the peer took the memory away.
    #[inline]
    pub fn publish(&mut self, words: &impl Words) -> Result<(), Faulted> {
        self.cursor
            .hand_over(words, Word::Written, Semaphore::Free, Semaphore::Filled)
    }
}

/// The client's end of the ring.
#[derive(Debug)]
pub struct Consumer {
    cursor: Cursor,
}

impl Consumer {
    /// The consumer of a fresh ring.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self {
            cursor: Cursor::new(capacity, 0),
        }
    }

    /// A consumer whose cursor the caller chose: for tests of wrapping.
    #[must_use]
    pub fn with_cursor(cursor: Cursor) -> Self {
        Self { cursor }
    }

    /// The slot to use next.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.cursor.index()
    }

    /// How many slots may be used now.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the server's word is impossible.
    #[inline]
    pub fn filled_slots(&mut self, words: &impl Words) -> Result<u32, Misbehaviour> {
        // Acquire: pairs with the Release store in `Producer::publish`; the bytes of every slot counted here are visible.
        let written = words.load(Word::Written, Ordering::Acquire);
        self.cursor.accept(written.wrapping_sub(self.cursor.mine))
    }

    /// Whether a slot may be used now. Looks at the server's word only if the last look left none.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the server's word is impossible.
    #[inline]
    pub fn is_filled(&mut self, words: &impl Words) -> Result<bool, Misbehaviour> {
        Ok(self.cursor.ready > 0 || self.filled_slots(words)? > 0)
    }

    /// Waits for a filled slot, or for `otherwise` (a look at the state word), until `slice_end`.
    ///
    /// # Errors
    /// [`Misbehaviour::Sequence`] if the server's word is impossible.
    pub fn wait_filled(
        &mut self,
        words: &impl Words,
        slice_end: Instant,
        mut otherwise: impl FnMut() -> bool,
    ) -> Result<Waited, Misbehaviour> {
        let look = || Ok(self.filled_slots(words)? > 0 || otherwise());
        wait_until(words, Semaphore::Filled, slice_end, look)
    }

    /// Gives the slot at [`Consumer::index`] back to the server and rings.
    ///
    /// # Errors
    /// [`Faulted`] if the peer took the memory away.
    #[inline]
    pub fn release(&mut self, words: &impl Words) -> Result<(), Faulted> {
        self.cursor
            .hand_over(words, Word::Read, Semaphore::Filled, Semaphore::Free)
    }
}

/// Waits until `look` is true, or an impossible word.
fn wait_until(
    words: &impl Words,
    semaphore: Semaphore,
    slice_end: Instant,
    mut look: impl FnMut() -> Result<bool, Misbehaviour>,
) -> Result<Waited, Misbehaviour> {
    let mut verdict = Ok(false);
    let waited = wait::wait(words, semaphore, slice_end, || {
        verdict = look();
        verdict != Ok(false)
    });
    // Zeros in the place of a vanished region make an impossible word: the fault is the truth.
    if waited == Waited::Faulted {
        return Ok(waited);
    }
    verdict.map(|_| waited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_beyond_the_capacity_is_misbehaviour() {
        assert_eq!(Cursor::new(4, 0).accept(5), Err(Misbehaviour::Sequence));
        assert_eq!(Cursor::new(4, 0).accept(u32::MAX), Err(Misbehaviour::Sequence));
    }

    #[test]
    fn a_word_that_goes_backwards_is_misbehaviour() {
        let mut cursor = Cursor::new(4, 0);
        assert_eq!(cursor.accept(3), Ok(3));
        assert_eq!(cursor.accept(2), Err(Misbehaviour::Sequence));
    }

    #[test]
    fn the_index_does_not_jump_when_the_sequence_word_wraps() {
        let mut cursor = Cursor::new(3, 3).starting_at(u32::MAX - 1);
        let mut indices = Vec::new();
        for _ in 0..6 {
            indices.push(cursor.index());
            cursor.advance();
            cursor.accept(3).unwrap();
        }
        assert_eq!(indices, [0, 1, 2, 0, 1, 2]);
        assert_eq!(cursor.mine(), 4);
    }

    proptest! {
        /// Two cursors against a queue: whatever the schedule and wherever the words start, both agree with the naive model.
        #[test]
        fn two_cursors_behave_like_a_bounded_queue(
            capacity in 1u32..6, start in prop_oneof![Just(0u32), Just(u32::MAX - 2), any::<u32>()],
            schedule in proptest::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut producer = Cursor::new(capacity, capacity).starting_at(start);
            let mut consumer = Cursor::new(capacity, 0).starting_at(start);
            let mut queue = std::collections::VecDeque::new();
            for produce in schedule {
                let in_flight = producer.mine().wrapping_sub(consumer.mine());
                prop_assert_eq!(in_flight as usize, queue.len());
                if produce {
                    let free = producer.accept(capacity - in_flight).unwrap();
                    prop_assert_eq!(free as usize, capacity as usize - queue.len());
                    if free > 0 { queue.push_back(producer.index()); producer.advance(); }
                } else if consumer.accept(in_flight).unwrap() > 0 {
                    prop_assert_eq!(queue.pop_front(), Some(consumer.index()));
                    consumer.advance();
                }
            }
        }
    }
}
