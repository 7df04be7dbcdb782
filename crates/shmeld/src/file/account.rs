//! What one session had, and how it ended, in numbers: for the audit log and the log on standard error.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use shmeld_core::counters::Counter;

/// What a session had. The numbers are what its client saw, as far as the client took what was put before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    /// Requests taken up.
    pub(super) requests: u64,
    /// Files sent to their end.
    pub(super) files: u64,
    /// Their sizes, holes included.
    pub(super) bytes: u64,
    /// Bytes of file content put into the region, those of files that came to no end included and holes not.
    pub(super) bytes_sent: u64,
    /// Names and requests refused.
    pub(super) refused: u64,
    /// Requests that the client cancelled.
    pub(super) cancelled: u64,
}

impl Totals {
    /// Adds the numbers of another session.
    pub(super) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.files, other.files),
            (&mut self.bytes, other.bytes),
            (&mut self.bytes_sent, other.bytes_sent),
            (&mut self.refused, other.refused),
            (&mut self.cancelled, other.cancelled),
        ];
        for (sum, number) in pairs {
            *sum = sum.saturating_add(number);
        }
    }
}

/// The same while the session lasts: its thread adds, whoever tells its end reads.
#[derive(Debug)]
pub(super) struct Account {
    /// The owner of the session's region, as the kernel says.
    pub(super) uid: u32,
    /// Which session of this server it is, from 1.
    pub(super) number: u64,
    started: Instant,
    pub(super) requests: Counter,
    pub(super) files: Counter,
    pub(super) bytes: Counter,
    pub(super) bytes_sent: Counter,
    pub(super) refused: Counter,
    pub(super) cancelled: Counter,
    is_closed: AtomicBool,
}

impl Account {
    pub(super) fn new(uid: u32, number: u64) -> Self {
        Self {
            uid,
            number,
            started: Instant::now(),
            requests: Counter::default(),
            files: Counter::default(),
            bytes: Counter::default(),
            bytes_sent: Counter::default(),
            refused: Counter::default(),
            cancelled: Counter::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            requests: self.requests.get(),
            files: self.files.get(),
            bytes: self.bytes.get(),
            bytes_sent: self.bytes_sent.get(),
            refused: self.refused.get(),
            cancelled: self.cancelled.get(),
        }
    }

    /// A file has been sent to its end.
    pub(super) fn delivered(&self, bytes: u64) {
        self.files.add(1);
        self.bytes.add(bytes);
    }

    /// How long the session has lasted.
    pub(super) fn lasted(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the end of the session is told for the first time. Relaxed: nothing else is published through it, so it has no partner.
    pub(super) fn close(&self) -> bool {
        !self.is_closed.swap(true, Ordering::Relaxed)
    }
}
