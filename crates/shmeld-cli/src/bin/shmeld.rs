//! The command `shmeld`.

use std::process::ExitCode;

use shmeld_cli::args::{Command, Shmeld, parse};
use shmeld_cli::commands::{
    bench, bench_lock_step, board, cp, demo, documents, get, image, ipc, ls, serve, status,
};
use shmeld_cli::program::{Program, finish};
use shmeld_cli::values::RegionSize;

fn main() -> ExitCode {
    let program = Program::start("shmeld");
    finish(match parse::<Shmeld>().command {
        Command::Serve(args) => serve::run(&program, &args),
        Command::Get(args) => get::run(&program, &args, RegionSize::Auto),
        Command::Cp(args) => cp::run(&program, &args),
        Command::Ls(args) => ls::run(&program, &args),
        Command::Status(args) => status::run(&program, &args),
        Command::Board(args) => board::run(&program, &args),
        Command::Image(args) => image::run(&program, &args),
        Command::Ipc(args) => ipc::run(&program, &args),
        Command::Demo(args) => demo::run(&program, &args),
        Command::Bench(args) => bench::run(&program, &args),
        Command::LockStep(args) => bench_lock_step::run(&program, &args),
        Command::Completions(args) => documents::completions(&program, &args),
        Command::Man(args) => documents::man(&program, &args),
    })
}
