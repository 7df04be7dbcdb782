//! The only import of atomics in this crate, so that a reader finds every lock-free word from one place.
//!
//! The ring and its semaphores are generic over [`crate::wait::Words`]; the loom model implements that trait with loom's atomics, so the code
//! that is model-checked is the code that runs.
//!
//! ```
//! use shmeld_core::sync::{AtomicU32, Ordering};
//!
//! // Write first, then announce; look for the announcement first, then read.
//! let (value, announced) = (AtomicU32::new(0), AtomicU32::new(0));
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         value.store(42, Ordering::Relaxed);
//!         announced.store(1, Ordering::Release);
//!     });
//!     while announced.load(Ordering::Acquire) == 0 {
//!         std::hint::spin_loop();
//!     }
//!     assert_eq!(value.load(Ordering::Relaxed), 42);
//! });
//! ```

pub use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence};
