//! `shmeld serve` and `shm_server`.

use std::io::{Read, Write};
use std::sync::Arc;

use shmeld::file::{Directory, DirectoryOptions, Ending, Server, ServerOptions, Stopper};
use shmeld::os::fs::Links;
use shmeld::os::limits;

use crate::args::ServeArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit};

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &ServeArgs) -> u8 {
    narrate::install(program.name, Loudness::from_options(args.quiet, args.explain));
    // Each session needs a few descriptors; a limit that cannot be raised shows as BUSY.
    let _ = limits::raise_open_files_to_hard();
    let server = match start(args) {
        Ok(server) => server,
        Err(error) => return program.fail(&error),
    };
    if let Err(error) = program.stop_on_signals(server.stopper()) {
        return program.fail(&error.into());
    }
    if args.until_stdin_closes {
        announce_to_parent(server.stopper());
    } else if !args.quiet {
        let directory = args
            .directory
            .canonicalize()
            .unwrap_or_else(|_| args.directory.clone());
        // A log that cannot be written stops no server.
        let _ = writeln!(
            std::io::stderr(),
            "{}: serving {} as {} (Ctrl-C ends it)",
            program.name,
            directory.display(),
            args.name
        );
    }
    match server.run() {
        Ok(Ending::Stopped | Ending::OnceClosed) => exit::DONE,
        Ok(Ending::OnceFailed) => {
            program.complain("the client died before it was done", None);
            exit::PEER
        }
        Err(error) => program.fail(&error),
    }
}

fn start(args: &ServeArgs) -> shmeld::Result<Server> {
    let links = if args.no_symlinks {
        Links::Refuse
    } else {
        Links::Follow
    };
    let options = DirectoryOptions {
        links,
        file_bytes_max: args.file_max.unwrap_or(u64::MAX),
    };
    let directory = Directory::open(&args.directory, options)?;
    let options = ServerOptions {
        name: args.name.clone(),
        once: args.once,
        sessions_max: args.max_sessions as usize,
        region_bytes_max: args.region_max,
        stall: args.stall,
    };
    Server::start(Arc::new(directory), options)
}

/// For `cp`: says that clients can connect, and stops when the parent goes, however it goes.
fn announce_to_parent(stopper: Stopper) {
    let mut stdout = std::io::stdout();
    // A parent that is gone already is noticed by the read below.
    let _ = writeln!(stdout, "ready").and_then(|()| stdout.flush());
    let wait_for_end = move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        stopper.stop();
    };
    if std::thread::Builder::new()
        .name("parent".to_owned())
        .spawn(wait_for_end)
        .is_err()
    {
        std::process::exit(3);
    }
}
