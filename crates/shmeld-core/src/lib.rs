//! Shared memory made safe: memory that a peer may write at any moment, and the rules of living with a peer that may crash or lie.
//!
//! Floor 2 of shmeld. Nothing here lends a reference or a slice into shared memory: what lies there is loaded and stored as atomics of fixed
//! width, copied in or out, or moved by the kernel. A number that a peer wrote is an allegation until it has been checked in private memory.
//!
//! | room | what for |
//! |---|---|
//! | [`shared`], [`mod@field`] | a typed region for plain old data; its fields by name |
//! | [`offset`] | numbers in the place of pointers |
//! | [`seq_locked`] | a value that does not tear |
//! | [`memory`] | bytes at positions, for what has no type: all the rest stands on it |
//! | [`region`], [`layout`] | the memory of a file transfer: a page of control words, and slots; where every word of it lies |
//! | [`ring`], [`wait`] | the bounded buffer of those slots; its two semaphores, spinning and sleeping |
//! | [`attach`], [`session`] | making, publishing, joining and leasing a region; what is decided on the way, without system calls |
//! | [`counters`] | what a process counts about itself |
//! | [`sync`] | the only import of atomics in this crate |
//! | [`Error`], [`Misbehaviour`] | what can go wrong, by who is to blame; how a peer broke the protocol |
//!
//! Examples that are two processes: `cargo run -p shmeld-core --example ring`, and `meld` with `a` and `b` in two terminals.
//!
//! Not here: what the bytes in a slot mean, and files (the crate `shmeld`).
#![deny(unsafe_code)]

#[cfg(target_endian = "big")]
compile_error!(
    "the wire format is little-endian and its words are used in place: big-endian machines are not supported"
);

pub mod attach;
mod candidate;
mod company;
mod copy;
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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
