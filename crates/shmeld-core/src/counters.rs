//! What a server counts about itself. Plain numbers for humans and monitors: no decision depends on them.
//!
//! ```
//! use shmeld_core::counters::{Counters, Tick, Ticks};
//!
//! let counters = Counters::default();
//! std::thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| counters.bytes.add(1000));
//!     }
//! });
//! assert_eq!(counters.bytes.get(), 4000);
//!
//! let ticks = Ticks::default();
//! ticks.count(Tick::Sleep);
//! assert_eq!((ticks.get(Tick::Sleep), ticks.get(Tick::Spin)), (1, 0));
//! ```

use std::cell::Cell;

use crate::sync::{AtomicU64, Ordering};

/// One number that several threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`. Relaxed: nothing else is published through a counter, so it has no partner.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Something that costs time on the way of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// A slot was published or given back.
    Slot,
    /// A wait spun.
    Spin,
    /// A wait slept: a system call.
    Sleep,
    /// A sleep ended before its time and there was nothing to do.
    SpuriousWake,
    /// The peer was woken: a system call.
    Wake,
}

/// How often each [`Tick`] happened on this side of a ring. Plain cells: a region is used by one thread at a time.
#[derive(Debug, Default)]
pub struct Ticks([Cell<u64>; 5]);

impl Ticks {
    /// Counts one.
    #[inline]
    pub fn count(&self, tick: Tick) {
        let cell = &self.0[tick as usize];
        cell.set(cell.get() + 1);
    }

    /// How often it happened.
    #[must_use]
    pub fn get(&self, tick: Tick) -> u64 {
        self.0[tick as usize].get()
    }
}

/// The counters of a server since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Regions attached.
    pub sessions: Counter,
    /// Requests taken up by a session.
    pub requests: Counter,
    /// Files delivered to their end.
    pub files: Counter,
    /// Bytes of file content published, holes not counted.
    pub bytes: Counter,
    /// Names answered with a status other than OK.
    pub refused_names: Counter,
    /// Regions answered with REFUSED, or not at all.
    pub refused_regions: Counter,
    /// Slots published, and what the waiting for free ones cost; sessions add to these after each request.
    pub slots: Counter,
    /// Waits that spun.
    pub spins: Counter,
    /// Waits that slept.
    pub sleeps: Counter,
    /// Sleeps that ended for nothing.
    pub spurious_wakes: Counter,
    /// Clients woken.
    pub wakes: Counter,
    /// Queue messages that are no request.
    pub junk_messages: Counter,
    /// The same by reason; what each place means is the owner's business.
    pub junk_by_reason: [Counter; 6],
    /// Sessions ended because the peer broke the protocol.
    pub misbehaved: Counter,
    /// Sessions ended because the client died.
    pub died: Counter,
    /// Sessions ended because a thread of ours panicked.
    pub panics: Counter,
}
