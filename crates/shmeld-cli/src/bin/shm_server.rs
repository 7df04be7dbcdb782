//! The command `shm_server`: `shmeld serve` under the name that the rule book gives it.

use std::process::ExitCode;

use shmeld_cli::args::{ShmServer, parse};
use shmeld_cli::commands::serve;
use shmeld_cli::program::{Program, finish};

fn main() -> ExitCode {
    let program = Program::start("shm_server");
    finish(serve::run(&program, &parse::<ShmServer>().serve))
}
