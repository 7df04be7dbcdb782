//! The three programs as users meet them: real processes, real kernel objects, real files.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops where it stands, and tells what happened"
)]

mod bench;
mod changing;
mod command_line;
mod content;
mod copy;
mod crashes;
mod full_disk;
mod hostile;
mod limits;
mod listing;
mod midway;
mod names;
mod nodes;
mod outcome;
mod outputs;
mod peers;
mod processes;
mod regions;
mod regressions;
mod reserved;
mod rule_book;
mod signals;
mod sizes;
mod talk;
mod transfer;
mod trees;
mod world;
