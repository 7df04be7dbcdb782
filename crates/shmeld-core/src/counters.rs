//! What a server counts about itself. Plain numbers for humans and monitors: no decision depends on them.

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
    /// Queue messages that are no request.
    pub junk_messages: Counter,
    /// Sessions ended because the peer broke the protocol.
    pub misbehaved: Counter,
    /// Sessions ended because the client died.
    pub died: Counter,
    /// Sessions ended because a thread of ours panicked.
    pub panics: Counter,
}
