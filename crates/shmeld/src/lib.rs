//! What people use: files and segments between processes of one Linux machine through shared memory.
//!
//! * [`mod@file`]: a server that offers a directory and a client that fetches from it;
//! * [`board`]: a message that one process posts and others read;
//! * [`catalogue`]: every object of interprocess communication of this machine, who has it, and whether it can go;
//! * [`doctor`]: what of this machine would make shmeld fail, and the command that cures it;
//! * [`image`]: images between processes: one asks by name, the other answers with pixels;
//! * [`segment`]: segments of either family: making, showing, reading, writing, changing and removing them;
//! * [`Shared`]: a typed region of shared memory for plain old data; [`SeqLocked`]: a value there that does not tear;
//! * [`ServerName`]: the name both sides agree on;
//! * [`Error`]: what can go wrong, with the exit code of section "Exit codes" of the README.
//!
//! The floors below: `shmeld-core` makes shared memory safe, `shmeld-os` wraps the kernel's objects.
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
