//! The commands `shmeld`, `shm_server` and `shm_client`: three names for one set of commands.
//!
//! * [`args`]: the command line; its larger parts: [`args_board`], [`args_image`], [`args_ipc`] with [`args_ipc_list`] and [`args_ipc_watch`],
//!   [`args_demo`]; what every command says or keeps to itself: [`args_talk`];
//! * `help`, `manual`: what stands below the options; a command as a page of the manual;
//! * [`values`]: sizes, durations, keys, modes and owners as people write them;
//! * [`program`]: what every command does first and last: umask, signals, guard, exit code;
//! * [`narrate`]: what the library tells, for people: messages and `--explain`;
//! * [`report`]: events of a transfer as text, progress bar or JSON;
//! * [`sandbox`], [`service`]: what a server tells of its confinement, and to a service manager;
//! * [`openmetrics`]: what a server says of itself, for collectors of metrics;
//! * [`screen`]: a whole terminal, given back as it was;
//! * [`commands`]: one file a command.
//!
//! Only this crate prints.
#![forbid(unsafe_code)]
#![allow(
    missing_docs,
    reason = "the command line documents its options to users; nothing here is a library for others"
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the floor that prints"
)]

pub mod args;
pub mod args_board;
pub mod args_demo;
pub mod args_image;
pub mod args_ipc;
pub mod args_ipc_list;
pub mod args_ipc_watch;
pub mod args_talk;
pub mod commands;
mod help;
#[cfg(test)]
mod help_tests;
mod manual;
pub mod narrate;
pub mod openmetrics;
pub mod program;
pub mod report;
pub mod sandbox;
pub mod screen;
pub mod service;
pub mod values;
