//! The only import of atomics in this crate, so that a reader finds every lock-free word from one place.
//!
//! The ring and its semaphores are generic over [`crate::wait::Words`]; the loom model implements that trait with loom's atomics, so the code
//! that is model-checked is the code that runs.

pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
