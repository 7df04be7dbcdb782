//! A directory and a link to a directory outside are exchanged as fast as the kernel can, and a file and a link to a file outside,
//! while clients ask for what lies behind all four names.
//!
//! Every file beneath the root consists of one letter, the secret outside of another: one look at what came tells where it is from.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::signal::Signal;

use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

/// How many requests one client makes.
const REQUESTS: u64 = 20_000;
const LETTER: u8 = b'i';
const SECRET: u8 = b'S';
const FILE_BYTES: usize = 16;
const NAMES: [&str; 4] = ["one/file", "two/file", "three", "four"];

/// The rows of this file: what landlock keeps out must be kept out without it as well.
pub fn rows() -> [Row; 2] {
    [
        Row {
            name: "symlink-race",
            about: "directories and files change places with links to the outside, while they are asked for",
            run: |setup| run(setup, &[]),
        },
        Row {
            name: "symlink-race-unconfined",
            about: "the same with --no-sandbox: only openat2 is in the way",
            run: |setup| run(setup, &["--no-sandbox"]),
        },
    ]
}

fn run(setup: &Setup, options: &[&str]) -> Result<Tally, Obstacle> {
    let clients = if setup.full { 50 } else { 1 };
    let world = World::new(setup, "race")?;
    furnish(&world).map_err(|error| format!("{}: {error}", world.source().display()))?;
    let server = world.serving_with(options)?;
    let (mut tally, mut got) = (Tally::default(), Got::default());
    let is_over = AtomicBool::new(false);
    let exchanges = std::thread::scope(|scope| {
        let exchanging = scope.spawn(|| exchange(&world, &is_over));
        for number in 0..clients {
            let result = get(&world, &mut got).and_then(|()| tree(&world));
            tally
                .failures
                .extend(result.err().map(|what| format!("client {number}: {what}")));
        }
        is_over.store(true, Ordering::Relaxed);
        exchanging
            .join()
            .unwrap_or_else(|_| Err("a worker panicked".to_owned()))
    });
    server.signal(Signal::SIGTERM);
    let ended = server.finish(Instant::now() + PATIENCE)?;
    if ended.exit != Exit::Code(0) {
        tally.failures.push(format!(
            "the server ended with {:?}: {}",
            ended.exit, ended.stderr
        ));
    }
    tally.points = clients * REQUESTS;
    tally.figures.push(("exchanges", exchanges?.to_string()));
    tally.figures.push(("files", got.files.to_string()));
    tally
        .figures
        .push(("refused", (tally.points - got.files).to_string()));
    // Otherwise the two never met, and nothing was shown.
    if got.files == 0 || got.files == tally.points {
        tally.failures.push(format!(
            "{} of {} requests got a file: there was no race",
            got.files, tally.points
        ));
    }
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn furnish(world: &World) -> std::io::Result<()> {
    let (root, outside) = (world.source(), world.source().with_file_name("outside"));
    for folder in [root.join("one"), outside.clone()] {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(root.join("one/file"), [LETTER; FILE_BYTES])?;
    std::fs::write(root.join("three"), [LETTER; FILE_BYTES])?;
    std::fs::write(outside.join("file"), [SECRET; FILE_BYTES])?;
    std::os::unix::fs::symlink(&outside, root.join("two"))?;
    std::os::unix::fs::symlink("../outside/file", root.join("four"))
}

/// Exchanges until it is enough; returns how often.
fn exchange(world: &World, is_over: &AtomicBool) -> Result<u64, String> {
    let pairs =
        [("one", "two"), ("three", "four")].map(|(a, b)| (world.source().join(a), world.source().join(b)));
    let mut exchanges = 0;
    while !is_over.load(Ordering::Relaxed) {
        for (a, b) in &pairs {
            renameat2(AT_FDCWD, a, AT_FDCWD, b, RenameFlags::RENAME_EXCHANGE)
                .map_err(|errno| format!("renameat2(RENAME_EXCHANGE): {errno}"))?;
            exchanges += 1;
        }
    }
    Ok(exchanges)
}

#[derive(Default)]
struct Got {
    files: u64,
}

/// One client asks for the four names in turn; all that comes is looked at.
fn get(world: &World, got: &mut Got) -> Result<(), String> {
    let count = REQUESTS.to_string();
    let arguments = [&["-o", "-", "-n", &count], &NAMES[..]].concat();
    let mut client = world
        .client(&arguments)
        .stdout(Stdio::piped())
        .start(&world.said())?;
    let looked = client.take_stdout().map(look);
    let ended = client.finish(Instant::now() + PATIENCE)?;
    let bytes = looked.ok_or("the client has no output")??;
    got.files += bytes / FILE_BYTES as u64;
    if !matches!(ended.exit, Exit::Code(0 | 1)) || bytes % FILE_BYTES as u64 != 0 {
        let said: String = ended.stderr.lines().rev().take(3).collect();
        return Err(format!(
            "{bytes} bytes; the client ended with {:?}: {said}",
            ended.exit
        ));
    }
    Ok(())
}

fn look(mut pipe: ChildStdout) -> Result<u64, String> {
    let (mut buffer, mut bytes) = (vec![0; 64 << 10], 0);
    loop {
        let len = pipe.read(&mut buffer).map_err(|error| error.to_string())?;
        if len == 0 {
            return Ok(bytes);
        }
        bytes += len as u64;
        if let Some(byte) = buffer[..len].iter().find(|byte| **byte != LETTER) {
            return Err(format!("A BYTE FROM OUTSIDE: {byte}"));
        }
    }
}

/// The whole tree, in which only files and links may be.
fn tree(world: &World) -> Result<(), String> {
    world.clear_output(&[])?;
    let output = format!("{}/", world.output().display());
    let client = world.client(&["-r", "-o", &output, "."]).start(&world.said())?;
    let ended = client.finish(Instant::now() + PATIENCE)?;
    if !matches!(ended.exit, Exit::Code(0 | 1)) {
        return Err(format!("the tree: {:?}: {}", ended.exit, ended.stderr));
    }
    for path in crate::world::files_below(&world.output()) {
        let path = world.output().join(path);
        let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
        if is_file
            && std::fs::read(&path)
                .map_err(|error| error.to_string())?
                .contains(&SECRET)
        {
            return Err(format!("BYTES FROM OUTSIDE in the tree's {}", path.display()));
        }
    }
    Ok(())
}
