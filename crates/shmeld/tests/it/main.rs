//! Tests of the library through its public face, in one process.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod caller;
mod catalogue;
mod catalogue_channels;
mod document;
mod endings;
#[path = "../../../shmeld-os/tests/it/example.rs"]
mod example;
mod examples;
mod faults;
mod image_channel;
mod image_files;
mod image_folder;
mod invented;
mod library;
mod lying_source;
mod parts;
mod raw_peer;
mod regressions;
mod regressions_of_life;
mod resume;
mod segment;
mod vectors;
