//! The two commands.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is the file that prints"
)]

use std::io::{Read, Write};

use shmeld_cli::narrate::{self, Loudness};
use shmeld_cli::program::{Program, exit};
use shmeld_cli::service::Service;
use zenoh::Wait;

use crate::Error;
use crate::args::BridgeArgs;
use crate::export::Export;
use crate::import::Import;

type Work = fn(&Program, &BridgeArgs, &Service) -> Result<(), Error>;

fn run(program: &Program, args: &BridgeArgs, work: Work) -> u8 {
    narrate::install(program.name, Loudness::from_options(args.quiet, false));
    // What cannot be given up stays as it is.
    let _ = shmeld::os::limits::raise_open_files_to_hard();
    let _ = shmeld::os::limits::forbid_core_dumps();
    let _ = shmeld::os::process::forbid_new_privileges();
    match work(program, args, &Service::connect(program)) {
        Ok(()) => exit::DONE,
        Err(Error::Local(error)) => program.fail(&error),
        Err(error) => {
            program.complain(&error.to_string(), error.hint().as_deref());
            error.exit_code()
        }
    }
}

/// Says that it can be used.
fn announce(program: &Program, args: &BridgeArgs, service: &Service, verb: &str) {
    let line = format!("{verb} {} as {}", args.name, args.key);
    service.ready(&line);
    // Standard streams that nobody reads stop no bridge.
    if args.json {
        let object = serde_json::json!({"event": "ready", "command": verb, "name": args.name.to_string(), "key": args.key.to_string()});
        let _ = writeln!(std::io::stdout(), "{object}");
    }
    if !args.quiet {
        let _ = writeln!(std::io::stderr(), "{}: {line} (Ctrl-C ends it)", program.name);
    }
}

/// Runs `shmeld-bridge export`.
#[must_use]
pub fn export(program: &Program, args: &BridgeArgs) -> u8 {
    run(program, args, try_export)
}

fn try_export(program: &Program, args: &BridgeArgs, service: &Service) -> Result<(), Error> {
    // First, with signals that do what they do to every program: whoever waits for a router that is not there has nothing to clean up.
    let session = args.network().join()?;
    let interrupt = program.interrupt();
    let mut bell = program.signal_bell()?;
    let export = Export::start(&session, &args.options())?;
    if !shmeld::file::running_servers(&[]).contains(&args.name) {
        tracing::info!(target: "shmeld::bridge", "no server {} runs here yet", args.name);
    }
    announce(program, args, service, "exporting");
    while interrupt.check().is_ok() {
        // A signal rings; everything else happens on other threads.
        if bell.read(&mut [0]).is_err() {
            break;
        }
    }
    service.stopping();
    export.end();
    leave(&session);
    Ok(())
}

/// Runs `shmeld-bridge import`.
#[must_use]
pub fn import(program: &Program, args: &BridgeArgs) -> u8 {
    run(program, args, try_import)
}

fn try_import(program: &Program, args: &BridgeArgs, service: &Service) -> Result<(), Error> {
    let session = args.network().join()?;
    let mut import = Import::start(&session, &args.options())?;
    program.stop_on_signals(import.stopper(), None, false)?;
    announce(program, args, service, "importing");
    let served = import.serve();
    service.stopping();
    import.end();
    leave(&session);
    served
}

/// Others hear at once that this side is gone, not only when its lease ends.
fn leave(session: &zenoh::Session) {
    let _ = session.close().wait();
}
