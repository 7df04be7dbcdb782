//! `shmeld demo`.

use crate::args::DemoArgs;
use crate::program::Program;

/// Runs the command.
#[must_use]
pub fn run(_program: &Program, _args: &DemoArgs) -> u8 {
    3
}
