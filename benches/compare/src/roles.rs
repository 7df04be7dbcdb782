//! The processes that the comparison starts as itself: rivals that exist as no program, a starting gate, and a client that does nothing.
//!
//! The rivals are what a careful programmer would write: large buffers, no copy that is not needed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, copy_file_range, fcntl};
use shmeld::file::record::Kind;
use shmeld::file::wire::Op;
use shmeld::file::{Client, ClientOptions, Query};
use shmeld::{ServerName, os::Errno};

use crate::options::Role;

/// As large as a slot of ours.
const BUFFER_BYTES: usize = 256 * 1024;
/// The most that an ordinary user may ask for.
const PIPE_BYTES: i32 = 1 << 20;
/// The region of `shmeld get`.
const REGION_BYTES: u64 = 1 << 20;

/// Plays a role to its end.
pub fn play(role: &Role) -> Result<(), String> {
    match role {
        Role::CopyFileRange { source, output } => explain("copy_file_range", copy(source, output)),
        Role::Read { source } => explain("read", File::open(source).and_then(|file| pump(file, io::sink()))),
        Role::Pipe { source, output } => explain("pipe", receive_from_pipe(source, output)),
        Role::Socket { source, output } => explain("socket", receive_from_socket(source, output)),
        Role::Write { source } => explain("write", write_to_stdout(source)),
        Role::Gate { program, arguments } => {
            explain("gate", wait_at_gate())?;
            let error = Command::new(program).args(arguments).stdin(Stdio::null()).exec();
            Err(format!("start {}: {error}", program.display()))
        }
        Role::Idle { server, file } => stay_attached(server, file),
    }
}

fn explain(what: &str, done: io::Result<()>) -> Result<(), String> {
    done.map_err(|error| format!("{what}: {error}"))
}

fn copy(source: &Path, output: &Path) -> io::Result<()> {
    let (source, output) = (File::open(source)?, File::create_new(output)?);
    let bytes = usize::try_from(source.metadata()?.len()).unwrap_or(usize::MAX);
    while copy_file_range(&source, None, &output, None, bytes)? > 0 {}
    Ok(())
}

/// Plain `read` and `write` through one buffer.
fn pump(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(bytes) => to.write_all(&buffer[..bytes])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Not through `std::io::Stdout`, which has a buffer of its own.
fn write_to_stdout(source: &Path) -> io::Result<()> {
    let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    pump(File::open(source)?, stdout)
}

fn receive_from_pipe(source: &Path, output: &Path) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES))?;
    receive(source, output, reader, Stdio::from(writer))
}

fn receive_from_socket(source: &Path, output: &Path) -> io::Result<()> {
    let (reader, writer) = UnixStream::pair()?;
    receive(source, output, reader, Stdio::from(OwnedFd::from(writer)))
}

fn receive(source: &Path, output: &Path, reader: impl Read, writer: Stdio) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["role", "write"]).arg(source).stdout(writer);
    let mut child = command.spawn()?;
    // The command holds our end of the channel, without which it never ends.
    drop(command);
    pump(reader, File::create_new(output)?)?;
    if child.wait()?.success() {
        Ok(())
    } else {
        Err(io::Error::other("the writer failed"))
    }
}

fn wait_at_gate() -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(b"r").and_then(|()| stdout.flush())?;
    wait_for_end_of_input()
}

fn wait_for_end_of_input() -> io::Result<()> {
    io::stdin().read(&mut [0]).map(|_| ())
}

fn stay_attached(server: &str, file: &str) -> Result<(), String> {
    let failed = |error: shmeld::Error| error.to_string();
    let name = ServerName::new(server).map_err(|_| format!("{server:?} names no server"))?;
    let mut client = Client::connect(ClientOptions {
        name,
        region_bytes: REGION_BYTES,
        ..ClientOptions::default()
    })
    .map_err(failed)?;
    let query = Query {
        op: Op::Get,
        path: file.as_bytes().to_vec(),
        flags: 0,
        resume: None,
    };
    client
        .submit(&query)
        .map_err(failed)?
        .ok_or_else(|| Errno::AGAIN.to_string())?;
    loop {
        let record = client.next_record().map_err(failed)?;
        client.finish(&record).map_err(failed)?;
        if record.kind == Kind::Done {
            break;
        }
    }
    explain("idle", wait_at_gate())?;
    client.close();
    Ok(())
}
