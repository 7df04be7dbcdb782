//! `shmeld serve` and `shm_server`.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use shmeld::file::{
    Audience, Audit, Directory, DirectoryOptions, Ending, Needs, Server, ServerOptions, Stopper,
};
use shmeld::os::confine::{attempt, openable};
use shmeld::os::fs::Links;
use shmeld::os::name::escape;
use shmeld::os::{limits, process};

use crate::args::ServeArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit};
use crate::sandbox::Sandbox;
use crate::service::Service;

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &ServeArgs) -> u8 {
    narrate::install(program.name, Loudness::from_options(args.quiet, args.explain));
    // Each session needs a few descriptors; a limit that cannot be raised shows as BUSY.
    let _ = limits::raise_open_files_to_hard();
    // What cannot be given up is told by --print-sandbox.
    let _ = limits::forbid_core_dumps();
    let _ = process::forbid_new_privileges();
    // The private server of `cp` is nobody's service.
    let service = if args.until_stdin_closes {
        Service::default()
    } else {
        Service::connect(program)
    };
    let (mut server, audit) = match start(args) {
        Ok(started) => started,
        Err(error) => return program.fail(&error),
    };
    // The first other thread: it inherits the confinement.
    if let Err(error) = program.stop_on_signals(server.stopper(), audit, args.until_stdin_closes) {
        return program.fail(&error.into());
    }
    if args.until_stdin_closes {
        announce_to_parent(server.stopper());
    } else {
        announce(program, args, &service);
    }
    let served = server.serve();
    service.stopping();
    match (server.end(), served) {
        (Ending::Stopped | Ending::OnceClosed, Ok(())) => exit::DONE,
        (Ending::OnceFailed, Ok(())) => {
            program.complain("the client died before it was done", None);
            exit::PEER
        }
        (_, Err(error)) => program.fail(&error),
    }
}

/// Makes the server, and confines it.
fn start(args: &ServeArgs) -> shmeld::Result<(Server, Option<Arc<Audit>>)> {
    let links = if args.no_symlinks {
        Links::Refuse
    } else {
        Links::Follow
    };
    let audience = match args.group {
        Some(gid) => Some(Audience::Group(gid)),
        None => args.public.then_some(Audience::Others),
    };
    let options = DirectoryOptions {
        links,
        file_bytes_max: args.file_max.unwrap_or(u64::MAX),
        audience: audience.filter(|_| !args.serve_private),
    };
    let directory = Arc::new(Directory::open(&args.directory, options)?);
    let open_audit = |path: &Path| Audit::open(path, &args.name).map(Arc::new);
    let audit = args.audit.as_deref().map(open_audit).transpose()?;
    let options = ServerOptions {
        name: args.name.clone(),
        once: args.once,
        sessions_max: args.max_sessions as usize,
        sessions_of_user_max: args.max_sessions_per_user.map(|most| most as usize),
        audience,
        allow_unmapped: args.allow_unmapped,
        region_bytes_max: args.region_max,
        stall: args.stall,
        audit: audit.clone(),
    };
    let mut server = Server::start(directory.clone(), options)?;
    let log_directory = audit.as_deref().map(Audit::directory);
    let openable = if args.print_sandbox {
        openable()
    } else {
        Vec::new()
    };
    // The private server of `cp` serves one client, of the same user, whom nobody else can join. Landlock costs it 9 % of a tree of little
    // files (4,000 on tmpfs, 25 pairs of runs), because the kernel climbs from each file to the directory that a rule names; and nothing
    // measurable with large ones.
    let confined = if args.no_sandbox || args.until_stdin_closes {
        None
    } else {
        Some(server.confine(Needs {
            readable: &[directory.as_fd()],
            appendable: log_directory.as_slice(),
        })?)
    };
    if args.print_sandbox {
        let log = args.audit.as_deref();
        Sandbox::look(confined, attempt(&openable)).print(&args.directory, log);
    }
    Ok((server, audit))
}

/// Says that clients can connect.
fn announce(program: &Program, args: &ServeArgs, service: &Service) {
    let directory = args
        .directory
        .canonicalize()
        .unwrap_or_else(|_| args.directory.clone());
    let escaped = escape(directory.as_os_str().as_bytes());
    service.ready(&format!("serving {escaped} as {}", args.name));
    if !args.quiet {
        // A log that cannot be written stops no server.
        let _ = writeln!(
            std::io::stderr(),
            "{}: serving {escaped} as {} (Ctrl-C ends it)",
            program.name,
            args.name
        );
    }
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
