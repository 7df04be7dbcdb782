//! Shared memory made safe: a region that two processes map, the ring inside it, and the rules of living with a peer that may crash or lie.
//!
//! * [`memory`]: the only place that dereferences shared memory; [`copy`]: the only routine that copies to and from it;
//! * [`shared`]: a typed region for plain old data, [`mod@field`] by field; [`offset`]: numbers in the place of pointers; [`seq_locked`]: a
//!   value that does not tear;
//! * [`region`]: a page of control words and slots, the memory of one file transfer;
//! * [`layout`]: where every word of a region lies, and which geometries are accepted;
//! * [`ring`]: the bounded buffer; [`wait`]: its two semaphores, spinning and sleeping;
//! * [`session`]: the state word and the decisions of attaching, without any system call;
//! * [`attach`]: making, publishing, opening and leasing a region (`offer` the client, `candidate` the server);
//! * [`counters`]: what a process counts about itself;
//! * [`sync`]: the only import of atomics in this crate.
//!
//! Not here: what the bytes in a slot mean (`shmeld::file`).
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "the wire format is little-endian and its words are used in place: big-endian machines are not supported"
);

pub mod attach;
mod candidate;
mod company;
pub mod copy;
pub mod counters;
mod error;
pub mod field;
mod geometry;
pub mod layout;
pub mod memory;
mod offer;
pub mod offset;
pub mod region;
pub mod ring;
pub mod seq_locked;
pub mod session;
pub mod shared;
pub mod sync;
pub mod wait;

pub use error::{Error, Misbehaviour, Result};
pub use field::Field;
pub use memory::Memory;
pub use offset::Offset;
pub use region::{Region, Window};
pub use seq_locked::SeqLocked;
pub use shared::Shared;
