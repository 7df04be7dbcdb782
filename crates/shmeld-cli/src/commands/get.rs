//! `shmeld get` and `shm_client`.

use std::ffi::OsString;
use std::io::{BufRead, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shmeld::file::path::has_pattern;
use shmeld::file::wire::{FLAG_PATTERN, FLAG_VERIFY, Op};
use shmeld::file::{Client, Job, OutputOptions, Query, Target, Transfer, make_directories};
use shmeld::os::Errno;
use shmeld::os::name::escape;

use super::{client_options, transfer_options};
use crate::args::GetArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit, refused};
use crate::report::{Report, Style};
use crate::values::{RegionSize, Wait};

const WAIT: Wait = Wait(Some(Duration::from_secs(30)));

/// What it means that `-o` is no directory.
const DIRECTORY_HINT: &str =
    "several names, a pattern, -T and -r need a directory, and so does a / at the end of -o";

/// Runs the command; `region` is the one taken if none is given.
#[must_use]
pub fn run(program: &Program, args: &GetArgs, region: RegionSize) -> u8 {
    narrate::install(
        program.name,
        Loudness::from_options(
            args.client.talk.quiet || args.client.talk.json,
            args.client.talk.explain,
        ),
    );
    let names = match names(args) {
        Ok(names) => names,
        Err(message) => {
            program.complain(&message, None);
            return exit::USAGE;
        }
    };
    if let Some(error) = unresumable(args) {
        return program.fail(&error);
    }
    let mut outputs = transfer_options(program, &args.outputs);
    outputs.resume = args.resume;
    let place = match Place::choose(args, &names, outputs) {
        Ok(place) => place,
        Err(shmeld::Error::Os(error)) if error.errno() == Errno::NOTDIR => {
            program.complain(&error.to_string(), Some(DIRECTORY_HINT));
            return shmeld::Error::Os(error).exit_code();
        }
        Err(error) => return program.fail(&error),
    };
    let style = Style {
        json: args.client.talk.json,
        quiet: args.client.talk.quiet,
        summary: true,
    };
    let options = client_options(program, &args.client, args.region.unwrap_or(region), WAIT);
    if place.may_block() {
        program.end_when_blocked(options.interrupt.clone());
    }
    let client = match Client::connect(options) {
        Ok(client) => client,
        Err(error) => return program.fail(&error),
    };
    let flags = if args.outputs.verify { FLAG_VERIFY } else { 0 };
    let count = args.count.unwrap_or(names.len() as u64);
    let requests = names
        .iter()
        .cycle()
        .take(usize::try_from(count).unwrap_or(usize::MAX));
    let jobs = requests.map(|name| place.job(name, args, flags));
    run_jobs(
        Transfer::new(client, jobs, outputs),
        Report::new(program, "get", style),
    )
}

/// Works off all jobs and reports them.
pub fn run_jobs(mut transfer: Transfer<impl Iterator<Item = Job>>, mut report: Report<'_>) -> u8 {
    loop {
        match transfer.next_event() {
            Ok(Some(event)) => report.take(&event),
            Ok(None) => {
                report.take_ticks(transfer.client().ticks());
                transfer.close();
                return report.finish(None);
            }
            Err(error) => {
                // What has not arrived whole leaves nothing behind.
                drop(transfer);
                return report.finish(Some(&error));
            }
        }
    }
}

/// What `--resume` cannot be combined with, and what to do instead.
fn unresumable(args: &GetArgs) -> Option<shmeld::Error> {
    if !args.resume {
        return None;
    }
    let is_pattern = |name: &&OsString| has_pattern(name.as_bytes());
    let what = if args.recursive {
        "-r asks for whole directories".to_owned()
    } else if let Some(name) = args.names.iter().find(is_pattern) {
        format!("{} is a pattern", escape(name.as_bytes()))
    } else if is_standard_output(&args.output) || is_stream(&args.output) {
        let why = "is no file, and keeps nothing that could be gone on with";
        let output = escape(args.output.as_os_str().as_bytes());
        return Some(shmeld::Error::Usage(format!(
            "--resume: -o {output} {why}; name a file or directory, or leave --resume out"
        )));
    } else {
        return None;
    };
    Some(shmeld::Error::Usage(format!(
        "--resume: {what}, but files can be resumed one by one only; give it their names: shmeld ls -r ... | grep -v '/$' | shmeld get -T - --resume"
    )))
}

/// Whether something is there that takes bytes as they come.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn is_standard_output(path: &Path) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
        .iter()
        .any(|name| path == Path::new(name))
}

/// The names on the command line and in the list.
fn names(args: &GetArgs) -> Result<Vec<Vec<u8>>, String> {
    let mut names: Vec<Vec<u8>> = args.names.iter().cloned().map(OsString::into_vec).collect();
    if let Some(list) = &args.files_from {
        let label = list.display().to_string();
        let explain = |error: std::io::Error| refused("read", &label, &error).to_string();
        let reader: Box<dyn BufRead> = if list == Path::new("-") {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(std::io::BufReader::new(
                std::fs::File::open(list).map_err(explain)?,
            ))
        };
        for line in reader.split(b'\n') {
            let line = line.map_err(explain)?;
            if !line.is_empty() {
                names.push(line);
            }
        }
    }
    if names.is_empty() {
        Err("no names to fetch".to_owned())
    } else {
        Ok(names)
    }
}

/// Where `-o` puts things.
enum Place {
    Stdout(Arc<OwnedFd>),
    Directory(PathBuf),
    File(PathBuf),
}

impl Place {
    fn choose(args: &GetArgs, names: &[Vec<u8>], outputs: OutputOptions) -> shmeld::Result<Self> {
        let output = &args.output;
        if is_standard_output(output) {
            if args.client.talk.json {
                let message = "--json and -o - both want standard output; choose one of them";
                return Err(shmeld::Error::Usage(message.to_owned()));
            }
            if std::io::stdout().is_terminal() && args.recursive {
                return Err(shmeld::Error::Usage(
                    "a directory cannot be written to a terminal".to_owned(),
                ));
            }
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            let stdout =
                stdout.map_err(|error| refused("fcntl(F_DUPFD_CLOEXEC)", "standard output", &error))?;
            return Ok(Self::Stdout(Arc::new(stdout)));
        }
        let as_directory = output.is_dir()
            || output.as_os_str().as_bytes().ends_with(b"/")
            || names.len() > 1
            || names.iter().any(|name| has_pattern(name)) && !args.resume
            || args.files_from.is_some()
            || args.recursive;
        if !as_directory {
            return Ok(Self::File(output.clone()));
        }
        make_directories(output, outputs)?;
        Ok(Self::Directory(output.clone()))
    }

    /// Whether writing there can wait for somebody else for ever.
    fn may_block(&self) -> bool {
        match self {
            Self::Stdout(_) => true,
            Self::File(path) => is_stream(path),
            // A FIFO may stand under one of the names.
            Self::Directory(_) => true,
        }
    }

    fn job(&self, name: &[u8], args: &GetArgs, mut flags: u32) -> Job {
        let recursive = args.recursive;
        let op = if recursive { Op::Tree } else { Op::Get };
        if has_pattern(name) && !recursive && !args.resume {
            flags |= FLAG_PATTERN;
        }
        let target = match self {
            Self::Stdout(stdout) => Target::Stream(stdout.clone()),
            Self::File(path) => Target::File(path.clone()),
            Self::Directory(directory) if recursive => Target::TreeUnder(directory.clone()),
            Self::Directory(directory) => Target::Under(directory.clone()),
        };
        Job {
            query: Query {
                op,
                path: name.to_vec(),
                flags,
                resume: None,
            },
            target,
        }
    }
}
