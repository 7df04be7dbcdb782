//! `shmeld completions` and `shmeld man`: made from the same definitions as the command line itself.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use shmeld::file::{OutputOptions, make_directories};
use shmeld::os::process;

use crate::args::{CompletionsArgs, ManArgs, ShmClient, ShmServer, Shmeld};
use crate::program::{Program, exit, refused};

/// Prints completions for all three commands.
#[must_use]
pub fn completions(program: &Program, args: &CompletionsArgs) -> u8 {
    // What generates them panics where it cannot write.
    let mut scripts = Vec::new();
    for mut command in [Shmeld::command(), ShmServer::command(), ShmClient::command()] {
        let name = command.get_name().to_owned();
        clap_complete::generate(args.shell, &mut command, name, &mut scripts);
    }
    let mut out = std::io::stdout().lock();
    program.printed(out.write_all(&scripts).and_then(|()| out.flush()))
}

/// Writes a page for each command.
#[must_use]
pub fn man(program: &Program, args: &ManArgs) -> u8 {
    let options = OutputOptions {
        umask: program.umask,
        ..OutputOptions::default()
    };
    if let Err(error) = make_directories(&args.directory, options) {
        return program.fail(&error.into());
    }
    // Pages are files as the user makes them; everything else that this program makes is its user's alone.
    process::set_umask(program.umask);
    for command in [Shmeld::command(), ShmServer::command(), ShmClient::command()] {
        if let Err(error) = write_pages(&command, &args.directory) {
            let object = format!("manual pages in {}", args.directory.display());
            return program.fail(&refused("write", &object, &error).into());
        }
    }
    exit::DONE
}

fn write_pages(command: &Command, directory: &Path) -> std::io::Result<()> {
    clap_mangen::generate_to(command.clone(), directory)
}
