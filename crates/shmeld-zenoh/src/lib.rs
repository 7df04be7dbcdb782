//! Files from shared memory to shared memory across machines: the bridge `shmeld-bridge`, over zenoh.
//!
//! An export answers queries from the network with what a local server offers ([`export`], [`local`]); an import is a local server whose
//! files are those of exports ([`import`], [`source`]). Programs on either side talk shared memory to their neighbour and notice nothing.
//! docs/BRIDGE.md has the keys, the bytes and the states.
//!
//! * [`args`], [`commands`], [`config`]: the command line, its two commands, and what zenoh is told;
//! * [`key`], [`wire`], [`list_wire`]: names and bytes between bridges;
//! * [`export`], [`local`]: queries, and how the local server answers them;
//! * [`import`], [`source`]: the local server, and its files and walks: [`remote_file`] by its [`course`], [`remote_walk`] by its [`listing`];
//! * [`remote`], [`asked`], [`chase`]: one question, its answer, and the same question to one export after the other;
//! * [`replicas`], [`ahead`], [`shelf`], [`chunk`]: who is asked, how far ahead, what several clients share, and what is checked of a chunk;
//! * [`network`], [`presence`]: zenoh itself; who comes and goes.
//!
//! Pure are `key`, `wire`, `list_wire`, `chunk`, `ahead`, `listing`, `replicas` and `shelf`. What stands between those and zenoh is tested with
//! a network that is none.
#![forbid(unsafe_code)]

pub mod ahead;
pub mod args;
mod arriving;
pub mod asked;
pub mod chase;
pub mod chunk;
pub mod commands;
pub mod config;
pub mod course;
mod error;
pub mod export;
#[cfg(test)]
mod fake;
pub mod import;
pub mod key;
pub mod list_wire;
pub mod listing;
pub mod local;
#[cfg(test)]
mod loopback_tests;
pub mod network;
pub mod presence;
pub mod remote;
pub mod remote_file;
#[cfg(test)]
mod remote_file_tests;
pub mod remote_walk;
pub mod replicas;
pub mod shelf;
pub mod source;
pub mod wire;

pub use error::Error;
