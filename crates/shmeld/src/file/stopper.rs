//! Asking a server to stop, and how its run ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use shmeld_os::event::EventCounter;

/// How a server's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop.
    Stopped,
    /// `once`: the session ended with CLOSE.
    OnceClosed,
    /// `once`: the session's client died or broke the protocol.
    OnceFailed,
}

/// Asks a running server to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    pub(super) wake: Arc<EventCounter>,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    /// Of a server that is woken by this bell.
    pub(super) fn new(wake: Arc<EventCounter>) -> Self {
        Self {
            wake,
            stop: Arc::default(),
        }
    }

    /// Whether the server has been asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        // Acquire: pairs with the Release store in `stop`.
        self.stop.load(Ordering::Acquire)
    }

    /// Lets sessions at work finish for a few seconds, then ends the server.
    pub fn stop(&self) {
        // Release: pairs with the Acquire load in `is_stopping`.
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
    }
}
