//! The command `shmeld-bridge`.

use std::process::ExitCode;

use clap::Parser;
use shmeld_cli::program::{Program, finish};
use shmeld_zenoh::args::{Bridge, Command};
use shmeld_zenoh::commands;

fn main() -> ExitCode {
    let program = Program::start("shmeld-bridge");
    finish(match Bridge::parse().command {
        Command::Export(args) => commands::export(&program, &args),
        Command::Import(args) => commands::import(&program, &args),
    })
}
