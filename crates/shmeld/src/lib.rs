//! Files, images and messages between processes of one Linux machine through shared memory: as fast as memory, and safe when the other side
//! crashes or lies.
//!
//! | room | what for |
//! |---|---|
//! | [`mod@file`] | a server that offers a directory, or whatever you call files, and a client that fetches from it |
//! | [`image`] | images: one process asks by name, the other answers with pixels |
//! | [`board`] | a message that one process posts and others read |
//! | [`segment`] | segments of shared memory of either family: made, shown, read, written, changed, removed |
//! | [`catalogue`] | every object of interprocess communication of this machine, who has it, and whether it can go |
//! | [`doctor`] | what of this machine would make shmeld fail, and the command that cures it |
//! | [`Shared`], [`SeqLocked`] | a typed region for plain old data, its [`Field`]s and [`Offset`]s; a value that does not tear |
//! | [`ServerName`] | the name by which a client finds a server |
//! | [`Error`], [`Misbehaviour`] | what can go wrong, with its cure and its exit code; how a peer broke the protocol |
//! | [`counters`], [`os`] | what waiting has cost; the kernel's objects themselves |
//!
//! Each room begins with an example. Examples of two processes: `cargo run -p shmeld --example files`, `images`, `board`, `source`.
//!
//! Before its first server, client or typed region a program calls [`os::sigbus::install`]: a peer can cut its shared memory off, which ends the
//! session with the guard, and the process without it. That is the program's to decide, as it changes how the process takes a signal;
//! `shm_server`, `shm_client`, `shmeld` and the Python package do it.
//!
//! Every wait has an end that the caller chose, asks for the caller's wish to stop ([`file::Interrupt`]), and believes in a death only when
//! the kernel says so. The floors below: [`shmeld_core`] makes shared memory safe, [`shmeld_os`] wraps the kernel's objects.
#![forbid(unsafe_code)]

pub mod board;
pub mod catalogue;
pub mod doctor;
mod error;
pub mod file;
pub mod image;
mod name;
mod patience;
pub mod segment;

pub use error::{Error, Result};
pub use name::ServerName;
pub use shmeld_core::{Field, Misbehaviour, Offset, SeqLocked, Shared, counters, field};
pub use shmeld_os as os;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
