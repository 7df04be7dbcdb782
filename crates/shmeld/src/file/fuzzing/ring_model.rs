//! A naive model of a ring: what the side under test has really seen and done, and so what it may do.
//!
//! Not allowed are a slot whose turn it is not, bytes beyond a slot, a sequence word that makes a jump, and anything with a slot after an
//! impossible word. Not here: who changes the memory (`hostile`).

use super::super::record::RECORD_BYTES;

/// Whose code is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// It reads slots.
    Client,
    /// It fills slots.
    Server,
}

/// What the input says about a ring before anything happens in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    pub(super) victim: Victim,
    pub(super) slot_count: u32,
    pub(super) slot_bytes: usize,
    /// What both sequence words begin with.
    pub(super) start: u32,
}

/// The naive model: what the victim has seen and done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The victim's own sequence word.
    pub(super) mine: u32,
    /// The slot that is its turn.
    pub(super) slot: u32,
    /// Slots that it may use, by the last possible word of its peer.
    pub(super) ready: u32,
    /// The last word of its peer was impossible.
    pub(super) is_broken: bool,
    /// Accesses of any kind.
    pub(super) accesses: u64,
    /// Headers copied out.
    pub(super) headers: u64,
    /// The last header copied out, and how many bytes its slot has behind it.
    pub(super) header: [u8; RECORD_BYTES],
    pub(super) header_room: usize,
}

impl Seen {
    /// Before anything has happened.
    pub(super) fn new(ring: &Ring) -> Self {
        let ready = match ring.victim {
            Victim::Client => 0,
            Victim::Server => ring.slot_count,
        };
        Self {
            mine: ring.start,
            slot: 0,
            ready,
            is_broken: false,
            accesses: 0,
            headers: 0,
            header: [0; RECORD_BYTES],
            header_room: 0,
        }
    }

    /// The victim has seen its peer's sequence word.
    pub(super) fn see(&mut self, ring: &Ring, word: u32) {
        let ready = match ring.victim {
            Victim::Client => word.wrapping_sub(self.mine),
            Victim::Server => ring.slot_count.wrapping_sub(self.mine.wrapping_sub(word)),
        };
        // They can neither be more than there are, nor fewer than there were.
        if ready > ring.slot_count || ready < self.ready {
            self.is_broken = true;
        } else {
            self.ready = ready;
        }
    }

    /// The victim says by its own sequence word that it has used a slot.
    pub(super) fn use_slot(&mut self, ring: &Ring, word: u32) {
        assert!(
            !self.is_broken && self.ready > 0,
            "a slot was used without leave: {self:?}"
        );
        assert_eq!(
            word,
            self.mine.wrapping_add(1),
            "the victim's own word made a jump"
        );
        self.mine = word;
        self.ready -= 1;
        self.slot = (self.slot + 1) % ring.slot_count;
    }

    /// The victim touches these bytes of a slot.
    pub(super) fn check_place(&self, ring: &Ring, slot: u32, at: usize, len: usize) {
        assert!(
            !self.is_broken && self.ready > 0 && slot == self.slot,
            "slot {slot}: {self:?}"
        );
        let end = at.checked_add(len);
        assert!(end.is_some_and(|end| end <= ring.slot_bytes), "{at} + {len}");
    }
}
