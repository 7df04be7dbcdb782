//! The command `shm_client`: `shmeld get` with the rule book's defaults.

use std::process::ExitCode;

use shmeld_cli::args::{ShmClient, parse};
use shmeld_cli::commands::get;
use shmeld_cli::program::{Program, finish};
use shmeld_cli::values::RegionSize;

/// The whole region, header, semaphores and buffer together, is one page.
const REGION: RegionSize = RegionSize::Bytes(4096);

fn main() -> ExitCode {
    let program = Program::start("shm_client");
    finish(get::run(&program, &parse::<ShmClient>().get, REGION))
}
