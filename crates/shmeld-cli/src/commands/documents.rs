//! `shmeld completions` and `shmeld man`: made from the same definitions as the command line itself.

use std::io::Write;
use std::path::Path;

use clap::{Command, CommandFactory};
use shmeld::file::{OutputOptions, make_directories};
use shmeld::os::process;

use crate::args::{CompletionsArgs, ManArgs, ShmClient, ShmServer, Shmeld};
use crate::manual;
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
    for mut command in [Shmeld::command(), ShmServer::command(), ShmClient::command()] {
        // Names and usages of what is below are known from then on.
        command.build();
        if let Err(error) = write_pages(&command, &args.directory) {
            let pages = format!("manual pages in {}", args.directory.display());
            return program.fail(&refused("write", &pages, &error).into());
        }
    }
    exit::DONE
}

/// Writes the page of a command and of those below it.
fn write_pages(command: &Command, directory: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, directory)?;
    }
    let mut page = Vec::new();
    manual::write_page(command, &mut page)?;
    let name = format!("{}.1", manual::page_name(command));
    std::fs::write(directory.join(name), page)
}
