//! A memory that its other side changes between every two accesses, as the input says.
//!
//! The victim is the code under test: the client that reads slots, or the server that fills them. Each access is held against a naive
//! model of the ring (`ring_model`), and panics if the model does not allow it.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::Words;
use shmeld_os::futex::{Faulted, Wake};

use super::super::record::RECORD_BYTES;
use super::super::slots::{Peer, Slots};
use super::feed::Feed;
use super::ring_model::{Ring, Seen, Victim};

/// More than anything needs whose end depends on the input. What spins is ended by the clock long before.
const ACCESSES_MAX: u64 = 1 << 20;

/// What lies in a slot that a server is about to fill.
const RUBBISH: u8 = 0xee;

/// Every word, so that the input can name one by its number.
const WORDS: [Word; 9] = [
    Word::State,
    Word::Written,
    Word::ServerCpu,
    Word::Read,
    Word::ClientCpu,
    Word::FilledValue,
    Word::FilledWaiters,
    Word::FreeValue,
    Word::FreeWaiters,
];

/// See the module.
pub(super) struct Hostile<'d> {
    feed: &'d Feed<'d>,
    ring: Ring,
    words: [Cell<u32>; 9],
    cancelled_up_to: Cell<u64>,
    slots: RefCell<Vec<u8>>,
    has_vanished: Cell<bool>,
    seen: Cell<Seen>,
    /// How often the peer still shows a CPU of its own, and how often it still wakes for nothing: each spin and nap costs real time.
    spins_left: Cell<u32>,
    wakes_left: Cell<u32>,
    /// What a server has written into the present slot, and what it has published: the peer cannot change these.
    filling: RefCell<Vec<u8>>,
    published: RefCell<Vec<Vec<u8>>>,
}

impl<'d> Hostile<'d> {
    pub(super) fn new(feed: &'d Feed<'d>, ring: Ring) -> Self {
        let words: [Cell<u32>; 9] = Default::default();
        words[number_of(Word::Written)].set(ring.start);
        words[number_of(Word::Read)].set(ring.start);
        Self {
            feed,
            ring,
            words,
            cancelled_up_to: Cell::new(0),
            slots: RefCell::new(vec![0; ring.slot_count as usize * ring.slot_bytes]),
            has_vanished: Cell::new(false),
            seen: Cell::new(Seen::new(&ring)),
            spins_left: Cell::new(2),
            wakes_left: Cell::new(60),
            filling: RefCell::new(vec![RUBBISH; ring.slot_bytes]),
            published: RefCell::default(),
        }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.get()
    }
    pub(super) fn has_vanished(&self) -> bool {
        self.has_vanished.get()
    }

    /// The slots that a server has published, as it wrote them.
    pub(super) fn published(&self) -> Vec<Vec<u8>> {
        self.published.borrow().clone()
    }

    fn note(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.get();
        change(&mut seen);
        self.seen.set(seen);
    }

    /// The words of the victim and of its peer.
    fn sequence_words(&self) -> (Word, Word) {
        if self.ring.victim == Victim::Client {
            (Word::Read, Word::Written)
        } else {
            (Word::Written, Word::Read)
        }
    }

    /// One access of the victim begins: first the peer does what the input says.
    fn access(&self) {
        self.note(|seen| seen.accesses += 1);
        assert!(
            self.seen.get().accesses < ACCESSES_MAX,
            "the victim is kept busy for ever"
        );
        loop {
            let step = self.feed.byte();
            if !self.has_vanished.get() {
                self.change(step & 0x0f);
            }
            if step & 0x80 == 0 {
                return;
            }
        }
    }

    fn change(&self, how: u8) {
        let word = |number: u8| &self.words[usize::from(number) % WORDS.len()];
        let (_, peers) = self.sequence_words();
        let sequence = &self.words[number_of(peers)];
        match how {
            1 => word(self.feed.byte()).set(self.feed.u32()),
            2 => {
                let word = word(self.feed.byte());
                word.set(word.get().wrapping_add_signed((self.feed.byte() as i8).into()));
            }
            // What an honest peer does.
            3 | 4 => sequence.set(sequence.get().wrapping_add(1)),
            5 => {
                let (at, bytes) = (self.feed.u16(), self.feed.byte());
                self.scribble(at.into(), self.feed.take(bytes.into()));
            }
            6 => self.scribble_header(),
            7 => self.cancelled_up_to.set(self.feed.byte().into()),
            // Truncated and restored: zeros, and no sign of it.
            8 => self.slots.borrow_mut().fill(0),
            9 => self.vanish(),
            10 => {
                let value = self.feed.u32();
                let others = WORDS.iter().zip(&self.words).filter(|(word, _)| **word != peers);
                others.for_each(|(_, cell)| cell.set(value));
            }
            _ => {}
        }
    }

    fn scribble(&self, at: usize, bytes: &[u8]) {
        let mut slots = self.slots.borrow_mut();
        let at = at % slots.len();
        let len = bytes.len().min(slots.len() - at);
        slots[at..at + len].copy_from_slice(&bytes[..len]);
    }

    /// A header where one may be looked for: a multiple of eight.
    fn scribble_header(&self) {
        let mut header = [0; RECORD_BYTES];
        let at = usize::from(self.feed.byte()) * 8;
        header[0] = self.feed.byte();
        header[4..6].copy_from_slice(&self.feed.u16().to_le_bytes());
        header[8] = 1;
        self.scribble(at, &header);
    }

    /// As after the SIGBUS guard: private zeros in the place of everything.
    fn vanish(&self) {
        self.has_vanished.set(true);
        self.words.iter().for_each(|word| word.set(0));
        self.cancelled_up_to.set(0);
        self.slots.borrow_mut().fill(0);
    }

    /// Checks that the victim may touch these bytes of a slot, and says where they lie.
    fn place(&self, slot: u32, at: usize, len: usize) -> usize {
        self.seen.get().check_place(&self.ring, slot, at, len);
        slot as usize * self.ring.slot_bytes + at
    }
}

fn number_of(word: Word) -> usize {
    WORDS.iter().position(|other| *other == word).unwrap_or_default()
}

impl Words for Hostile<'_> {
    fn load(&self, word: Word, _: Ordering) -> u32 {
        let (mine, peers) = self.sequence_words();
        assert_ne!(word, mine, "own cursors live in private memory");
        self.access();
        let mut value = self.words[number_of(word)].get();
        if word == peers {
            self.note(|seen| seen.see(&self.ring, value));
        }
        if matches!(word, Word::ServerCpu | Word::ClientCpu) && value != 0 {
            let spins_left = self.spins_left.get();
            self.spins_left.set(spins_left.saturating_sub(1));
            value = if spins_left > 0 { value } else { 0 };
        }
        value
    }
    fn store(&self, word: Word, value: u32, _: Ordering) {
        let (mine, peers) = self.sequence_words();
        assert_ne!(word, peers, "a word of the peer was overwritten");
        self.access();
        if word == mine {
            self.note(|seen| seen.use_slot(&self.ring, value));
            if self.ring.victim == Victim::Server {
                let filled = self.filling.replace(vec![RUBBISH; self.ring.slot_bytes]);
                self.published.borrow_mut().push(filled);
            }
        }
        self.words[number_of(word)].set(value);
    }
    fn swap(&self, word: Word, value: u32, _: Ordering) -> u32 {
        self.access();
        self.words[number_of(word)].replace(value)
    }
    fn fetch_add(&self, word: Word, value: u32, _: Ordering) -> u32 {
        self.access();
        let cell = &self.words[number_of(word)];
        cell.replace(cell.get().wrapping_add(value))
    }
    fn futex_wait(&self, word: Word, _: u32, _: Duration) -> Wake {
        let is_client = self.ring.victim == Victim::Client;
        let own_bell = if is_client {
            Word::FilledValue
        } else {
            Word::FreeValue
        };
        assert_eq!(word, own_bell, "slept on the peer's bell");
        self.access();
        let wakes_left = self.wakes_left.get();
        self.wakes_left.set(wakes_left.saturating_sub(1));
        match self.feed.byte() % 4 {
            _ if self.has_vanished.get() => Wake::Fault,
            1 if wakes_left > 0 => Wake::Woken,
            2 if wakes_left > 0 => Wake::ValueChanged,
            3 => Wake::Interrupted,
            _ => Wake::TimedOut,
        }
    }
    fn futex_wake(&self, _: Word) -> Result<u32, Faulted> {
        self.access();
        if self.has_vanished.get() {
            Err(Faulted)
        } else {
            Ok(1)
        }
    }
    fn faulted(&self) -> bool {
        self.access();
        self.has_vanished.get()
    }
}

impl Slots for Hostile<'_> {
    fn slot_count(&self) -> u32 {
        self.ring.slot_count
    }
    fn slot_bytes(&self) -> usize {
        self.ring.slot_bytes
    }
    fn read(&self, slot: u32, at: usize, bytes: &mut [u8]) {
        assert_eq!(
            self.ring.victim,
            Victim::Client,
            "a server has nothing to read in a slot"
        );
        self.access();
        let place = self.place(slot, at, bytes.len());
        bytes.copy_from_slice(&self.slots.borrow()[place..place + bytes.len()]);
        if let Ok(header) = <[u8; RECORD_BYTES]>::try_from(&*bytes) {
            let room = self.ring.slot_bytes - at - RECORD_BYTES;
            self.note(|seen| {
                (seen.headers, seen.header, seen.header_room) = (seen.headers + 1, header, room)
            });
        }
    }
    fn write(&self, slot: u32, at: usize, bytes: &[u8]) {
        assert_eq!(
            self.ring.victim,
            Victim::Server,
            "a client has nothing to write in a slot"
        );
        self.access();
        let place = self.place(slot, at, bytes.len());
        self.slots.borrow_mut()[place..place + bytes.len()].copy_from_slice(bytes);
        self.filling.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn cancelled_up_to(&self) -> u64 {
        self.access();
        self.cancelled_up_to.get()
    }
}

impl Peer for Hostile<'_> {
    type Memory = Self;
    fn memory(&self) -> &Self {
        self
    }
    /// The kernel's word: a peer whose input is over has died.
    fn is_alive(&self) -> shmeld_core::Result<bool> {
        Ok(!self.feed.is_over())
    }
}
