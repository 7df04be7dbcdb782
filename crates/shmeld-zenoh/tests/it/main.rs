//! The bridge as users meet it: real processes on machines that have nothing in common but a cable.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on stops where it stands, and tells what happened"
)]

mod bridge;
mod crowd;
mod cuts;
mod exact;
mod hostile;
mod machine;
mod machines;
mod networks;
mod pair;
mod readme;
mod refusals;
mod rogue;
mod roles;
mod service;
mod weather;
mod world;

#[path = "../../../shmeld-cli/tests/it/content.rs"]
#[allow(dead_code, reason = "the tests of the commands use the rest")]
mod content;
#[path = "../../../shmeld-cli/tests/it/need.rs"]
#[allow(dead_code, reason = "the tests of the commands use the rest")]
mod need;
#[path = "../../../shmeld-cli/tests/it/outcome.rs"]
#[allow(dead_code, reason = "the tests of the commands use the rest")]
mod outcome;
#[path = "../../../shmeld-cli/tests/it/processes.rs"]
#[allow(dead_code, reason = "the tests of the commands use the rest")]
mod processes;
