//! The honest minimum: a sequence word, a copy, and a loop that looks. No sleep, no checks, no peer that
//! could lie or die.
//!
//! ```text
//! 0  written (sender)   64  read (receiver; one way only)   128  slots, each a multiple of 64 bytes
//! ```
//!
//! An echo needs one slot and no `read`: the reply says that the message was read. One way there are as
//! many slots as our ring has, and the sender looks at `read` only when it believes that all are full.
#![allow(unsafe_code)] // this is what the library's safety is measured against

use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use shmeld_os::mapping::Mapping;

use crate::channel::{Channel, Outcome};
use crate::ring::Memory;

const READ_OFFSET: usize = 64;
const SLOTS_OFFSET: usize = 128;
const LINE_BYTES: usize = 64;

/// Whether the receiver says what it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// An echo: the reply says it.
    ByReply,
    /// One way: four slots and a word.
    ByWord,
}

/// How large the memory of one direction must be.
pub fn memory_bytes(message_bytes: usize) -> u64 {
    let slots = 4 * message_bytes.next_multiple_of(LINE_BYTES);
    ((SLOTS_OFFSET + slots) as u64).next_multiple_of(4096)
}

/// One process's end of both directions.
pub struct BareEnd {
    outgoing: Direction,
    incoming: Direction,
}

struct Direction {
    mapping: Mapping,
    slot_bytes: usize,
    slots: u32,
    acknowledge: Acknowledge,
    /// Messages this side has sent, or received.
    mine: u32,
    /// What the peer was last known to have read.
    read: u32,
}

impl BareEnd {
    /// Maps both directions.
    pub fn new(
        outgoing: &Memory,
        incoming: &Memory,
        message_bytes: usize,
        acknowledge: Acknowledge,
    ) -> Outcome<Self> {
        let map = |memory: &Memory| -> Outcome<Direction> {
            let bytes = usize::try_from(memory.bytes())?;
            let slots = match acknowledge {
                Acknowledge::ByReply => 1,
                Acknowledge::ByWord => 4,
            };
            let slot_bytes = message_bytes.next_multiple_of(LINE_BYTES);
            assert!(SLOTS_OFFSET + slots as usize * slot_bytes <= bytes);
            Ok(Direction {
                mapping: Mapping::new(memory.file(), bytes, "the benchmark's memory")?,
                slot_bytes,
                slots,
                acknowledge,
                mine: 0,
                read: 0,
            })
        };
        Ok(Self {
            outgoing: map(outgoing)?,
            incoming: map(incoming)?,
        })
    }
}

impl Direction {
    #[inline]
    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: both offsets lie in the first two lines of a mapping of at least a page.
        let pointer = unsafe { self.mapping.as_ptr().add(offset) };
        // SAFETY: aligned to 64; the mapping lives as long as `self`; both processes use these bytes only
        // as an atomic of this width.
        unsafe { AtomicU32::from_ptr(pointer.cast()) }
    }

    #[inline]
    fn slot(&self, bytes: usize) -> *mut u8 {
        assert!(bytes <= self.slot_bytes);
        let index = (self.mine % self.slots) as usize;
        // SAFETY: `BareEnd::new` asserted that all slots lie in the mapping; the index is below their number.
        unsafe { self.mapping.as_ptr().add(SLOTS_OFFSET + index * self.slot_bytes) }
    }
}

impl Channel for BareEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Outcome<()> {
        let to = &mut self.outgoing;
        if to.acknowledge == Acknowledge::ByWord {
            while to.mine.wrapping_sub(to.read) == to.slots {
                std::hint::spin_loop();
                to.read = to.word(READ_OFFSET).load(Ordering::Acquire);
            }
        }
        // SAFETY: the slot has room for the message, `slot` asserted it. The peer, which is this same
        // program, does not touch the slot before it sees the store below, nor after the load above or the
        // last reply.
        unsafe { ptr::copy_nonoverlapping(message.as_ptr(), to.slot(message.len()), message.len()) };
        to.mine = to.mine.wrapping_add(1);
        to.word(0).store(to.mine, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn receive(&mut self, message: &mut [u8]) -> Outcome<()> {
        let from = &mut self.incoming;
        // One way the sender may be several messages ahead; in an echo the words are equal until the next.
        while from.word(0).load(Ordering::Acquire) == from.mine {
            std::hint::spin_loop();
        }
        // SAFETY: as in `send`: the peer has stored the bytes and waits for our word or reply before others.
        unsafe { ptr::copy_nonoverlapping(from.slot(message.len()), message.as_mut_ptr(), message.len()) };
        from.mine = from.mine.wrapping_add(1);
        if from.acknowledge == Acknowledge::ByWord {
            from.word(READ_OFFSET).store(from.mine, Ordering::Release);
        }
        Ok(())
    }
}
