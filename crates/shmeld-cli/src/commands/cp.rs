//! `shmeld cp`: a private server in a process of its own, and a client in this one.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use shmeld::ServerName;
use shmeld::file::wire::{FLAG_VERIFY, Op};
use shmeld::file::{Client, ClientOptions, Job, Query, Target, Transfer};
use shmeld::os::Errno;
use shmeld::os::error::{errno_name, errno_text};
use shmeld::os::process::random_bytes;

use super::get::run_jobs;
use super::{REGION_BYTES, transfer_options};
use crate::args::CpArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit, refused};
use crate::report::{Report, Style};
use crate::values::RegionSize;

/// Up to so many bytes a page is as fast as a large region, which takes 0.4 ms to make.
const LITTLE_BYTES: u64 = 256 * 1024;

/// One thing to copy: as given, made absolute, and where it goes.
struct Source {
    given: PathBuf,
    real: PathBuf,
    target: PathBuf,
}

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &CpArgs) -> u8 {
    narrate::install(
        program.name,
        Loudness::from_options(args.talk.quiet || args.talk.json, args.talk.explain),
    );
    let into_directory = args.destination.is_dir();
    if args.sources.len() > 1 && !into_directory {
        program.complain(&no_directory(&args.destination), None);
        return exit::NOT_DELIVERED;
    }
    let mut code = exit::DONE;
    let mut sources = Vec::new();
    for given in &args.sources {
        match plan(given, args, into_directory, &sources) {
            Ok(source) => sources.push(source),
            // The others are copied nevertheless.
            Err(message) => {
                program.complain(&message, None);
                code = exit::NOT_DELIVERED;
            }
        }
    }
    if sources.is_empty() {
        return code;
    }
    match copy(program, args, &sources) {
        Ok(copied) => code.max(copied),
        Err(error) => program.fail(&error),
    }
}

/// Where a source goes; or why it is not copied.
fn plan(given: &Path, args: &CpArgs, into_directory: bool, earlier: &[Source]) -> Result<Source, String> {
    let shown = given.display();
    let real = given.canonicalize().map_err(|error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        format!("cp {shown}: {} ({})", errno_text(errno), errno_name(errno))
    })?;
    let is_directory = real.is_dir();
    if is_directory && !args.recursive {
        return Err(format!("cp {shown}: a directory; copy it with -r"));
    }
    let destination = &args.destination;
    if !is_directory && !into_directory && destination.as_os_str().as_bytes().ends_with(b"/") {
        return Err(no_directory(destination));
    }
    let target = match given.file_name().or(real.file_name()) {
        // `d/.` means what is in d.
        _ if into_directory && is_dot(given) => destination.join("."),
        Some(name) if into_directory => destination.join(name),
        _ => destination.clone(),
    };
    let source = Source {
        given: given.to_owned(),
        real,
        target,
    };
    if let Some(message) = conflict(&source) {
        return Err(message);
    }
    let twin = |other: &&Source| other.target == source.target && !(is_directory && other.real.is_dir());
    match earlier.iter().find(twin) {
        None => Ok(source),
        Some(twin) => Err(format!(
            "cp: {shown} is not copied over {}, which comes from {}",
            source.target.display(),
            twin.given.display()
        )),
    }
}

/// Why nothing can be copied into it.
fn no_directory(destination: &Path) -> String {
    let shown = destination.display();
    if destination.exists() {
        format!("cp: {shown} is not a directory")
    } else {
        format!("cp: there is no directory {shown}; make it first, with mkdir")
    }
}

/// Whether the last component is `.`; `Path` itself leaves that out.
fn is_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'/')
        .map_or(0, |last| last + 1);
    &bytes[..end] == b"." || bytes[..end].ends_with(b"/.")
}

/// A directory cannot be copied into itself, nor a file onto itself.
fn conflict(source: &Source) -> Option<String> {
    let target = &source.target;
    // The target may not be there yet; the directory that will hold it must be.
    let target = target.canonicalize().or_else(|_| {
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new(".")).canonicalize()?;
        Ok::<_, std::io::Error>(parent.join(target.file_name().unwrap_or_default()))
    });
    let target = target.ok()?;
    let given = source.given.display();
    if source.real.is_dir() && target.starts_with(&source.real) {
        return Some(format!(
            "cp: a directory, {given}, cannot be copied into itself, {}",
            source.target.display()
        ));
    }
    (target == source.real).then(|| format!("cp: {given} and {} are the same file", source.target.display()))
}

fn copy(program: &Program, args: &CpArgs, sources: &[Source]) -> shmeld::Result<u8> {
    let root = common_directory(sources);
    let name = private_name()?;
    let interrupt = program.interrupt();
    // A FIFO may stand under one of the names.
    program.end_when_blocked(interrupt.clone());
    let mut server = match PrivateServer::start(&name, &root, args.talk.explain) {
        Ok(server) => server,
        Err(code) => return Ok(code),
    };
    let region_bytes = match args.region {
        RegionSize::Bytes(bytes) => bytes,
        RegionSize::Auto if is_little(sources) => 4096,
        RegionSize::Auto => REGION_BYTES,
    };
    let options = ClientOptions {
        name,
        wait: Some(Duration::ZERO),
        region_bytes,
        or_one_page: args.region == RegionSize::Auto,
        interrupt,
        ..ClientOptions::default()
    };
    let client = Client::connect(options)?;
    let flags = if args.outputs.verify { FLAG_VERIFY } else { 0 };
    let jobs = sources.iter().map(|source| {
        let path = source
            .real
            .strip_prefix(&root)
            .unwrap_or(&source.real)
            .as_os_str()
            .as_bytes();
        let path = if path.is_empty() { b"." } else { path };
        let target = source.target.clone();
        if source.real.is_dir() {
            Job {
                query: Query {
                    op: Op::Tree,
                    path: path.to_vec(),
                    flags,
                    resume: None,
                },
                target: Target::Tree(target),
            }
        } else {
            Job {
                query: Query {
                    op: Op::Get,
                    path: path.to_vec(),
                    flags,
                    resume: None,
                },
                target: Target::File(target),
            }
        }
    });
    let style = Style {
        json: args.talk.json,
        quiet: args.talk.quiet,
        summary: false,
    };
    let transfer = Transfer::new(client, jobs, transfer_options(program, &args.outputs));
    let code = run_jobs(transfer, Report::new(program, "cp", style));
    server.stop();
    Ok(code)
}

/// Whether making a large region would cost more than it saves.
fn is_little(sources: &[Source]) -> bool {
    let bytes = |source: &Source| match source.real.metadata() {
        Ok(found) if found.is_file() => found.len(),
        _ => u64::MAX,
    };
    let total = sources
        .iter()
        .fold(0_u64, |sum, source| sum.saturating_add(bytes(source)));
    total <= LITTLE_BYTES
}

/// The innermost directory that holds all sources: the server offers no more than that.
fn common_directory(sources: &[Source]) -> PathBuf {
    let directory_of = |source: &Source| -> PathBuf {
        if source.real.is_dir() {
            source.real.clone()
        } else {
            source.real.parent().unwrap_or(Path::new("/")).to_owned()
        }
    };
    let mut common = directory_of(&sources[0]);
    for source in &sources[1..] {
        let directory = directory_of(source);
        while !directory.starts_with(&common) {
            common.pop();
        }
    }
    common
}

fn private_name() -> shmeld::Result<ServerName> {
    let random = u64::from_le_bytes(random_bytes()?);
    let name = ServerName::new(&format!("shmeld-cp-{random:016x}"));
    Ok(name.unwrap_or_else(|_| unreachable!("hexadecimal digits make a sound name")))
}

/// The server's process. It ends when its standard input closes: with this object, or with this process however that ends.
pub struct PrivateServer(Child);

impl PrivateServer {
    /// Starts a server and waits until clients can connect; its own messages have told why if it does not come up.
    ///
    /// # Errors
    /// The exit code.
    pub fn start(name: &ServerName, root: &Path, explain: bool) -> Result<Self, u8> {
        let mut command = Command::new("/proc/self/exe");
        command.args([
            "serve",
            "--quiet",
            "--until-stdin-closes",
            "--name",
            &name.to_string(),
        ]);
        if explain {
            command.arg("--explain");
        }
        command
            .arg("--")
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            // A standard error that cannot be written to has nobody who reads.
            let error = refused("start", "the server", &error);
            let _ = writeln!(std::io::stderr(), "shmeld: {error}");
            exit::SYSTEM
        })?;
        let mut line = String::new();
        let ready = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout).read_line(&mut line));
        if matches!(ready, Some(Ok(bytes)) if bytes > 0) {
            return Ok(Self(child));
        }
        let status = child.wait().ok().and_then(|status| status.code());
        Err(status
            .and_then(|code| u8::try_from(code).ok())
            .filter(|code| *code > 0)
            .unwrap_or(exit::SYSTEM))
    }

    /// Closes the server's standard input and waits for its end.
    pub fn stop(&mut self) {
        drop(self.0.stdin.take());
        // Nothing can be done about a failure to wait.
        let _ = self.0.wait();
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        self.stop();
    }
}
