//! One long transfer with `--resume`, whose client is killed at random points and started again: exact at the end, and next to nothing is
//! sent twice.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::chance::Chance;
use crate::program::Running;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World, files_below};

const NAME: &str = "big";
const PART: &str = ".big.shmeld-part";
const REGIONS: [&str; 3] = ["4096", "64KiB", "1MiB"];
/// What a client may not have written when it is killed, although its server has sent it: the largest region, and a block on each side.
const TAIL_BYTES_MAX: u64 = (1 << 20) + 2 * (256 << 10);
/// How many clients may be done before they are killed: the machine decides that.
const LATE_MAX: u64 = 3;
const BLOCK_BYTES: usize = 1 << 20;
/// How often a client is looked at, and how much later than at its point it is killed, on the average: the points are those of the file, and
/// what the client does there shall be chance too.
const POLL: Duration = Duration::from_micros(100);
const LATER: Duration = Duration::from_micros(700);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "resume-kills",
        about: "SIGKILL of the client at random points of one long transfer, which is resumed each time",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let (kills, bytes) = if setup.full { (100, 1 << 30) } else { (8, 64 << 20) };
    let world = World::new(setup, "resume")?;
    let mut chance = Chance::new(setup.seed, 0);
    make(&world.source().join(NAME), bytes, &mut chance)?;
    let server = world.serving()?;
    // What is left behind the last point is for kills that come late: 64 MiB are there in no time.
    let last = if setup.full { bytes / 16 * 15 } else { bytes / 2 };
    let mut points: Vec<u64> = (0..kills).map(|_| chance.next() % last).collect();
    points.sort_unstable();
    let mut tally = Tally::default();
    let start = Instant::now();
    let (mut kept, mut late) = (0, 0);
    for point in points {
        match kill_at(&world, point, kept, &mut chance) {
            Ok(Some(now)) => {
                kept = now;
                tally.count(Ok(()));
            }
            // It begins anew.
            Ok(None) if late < LATE_MAX => {
                late += 1;
                kept = 0;
                let file = world.output().join(NAME);
                std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            Ok(None) => tally.count(Err(format!("{LATE_MAX} kills came late, and another one"))),
            Err(failure) => tally.count(Err(failure)),
        }
        if !tally.failures.is_empty() {
            return Ok(tally);
        }
    }
    let ended = client(&world, &mut chance)?.finish(Instant::now() + PATIENCE)?;
    if ended.exit != Exit::Code(0) {
        tally.failures.push(format!(
            "the last client ended with {:?}: {}",
            ended.exit, ended.stderr
        ));
    }
    tally.failures.extend(compare(&world).err());
    let sent = sent(&world)?;
    if sent > bytes * (1 + late) + kills * TAIL_BYTES_MAX {
        tally
            .failures
            .push(format!("{sent} bytes were sent for a file of {bytes}"));
    }
    let more = i128::from(sent) - i128::from(bytes * (1 + late));
    tally.figures.push(("late", format!("{late} kills")));
    tally
        .figures
        .push(("sent twice", format!("{more} bytes of {bytes}")));
    tally
        .figures
        .push(("in all", format!("{:.1} s", start.elapsed().as_secs_f64())));
    tally.end(server)?;
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn client(world: &World, chance: &mut Chance) -> Result<Running, String> {
    let output = format!("{}/", world.output().display());
    let region = *chance.one_of(&REGIONS);
    let verify: &[&str] = if chance.below(4) == 0 { &["--verify"] } else { &[] };
    let arguments = [&["--resume", "--region", region, "-o", &output, NAME], verify].concat();
    world.client(&arguments).start(&world.said())
}

/// A client, killed when so much of the file is there (`kept` bytes were before). Returns how much it then is; `None` if it was faster.
fn kill_at(world: &World, point: u64, kept: u64, chance: &mut Chance) -> Result<Option<u64>, String> {
    let part = world.output().join(PART);
    let mut client = client(world, chance)?;
    let deadline = Instant::now() + PATIENCE;
    while len(&part) < point {
        // Over with 0, it is told below to have been faster.
        if client.is_over() && world.output().join(NAME).exists() {
            break;
        }
        if client.is_over() || Instant::now() >= deadline {
            return Err(format!("it did not come to byte {point}: {}", client.stderr()));
        }
        std::thread::sleep(POLL);
    }
    std::thread::sleep(chance.around(LATER));
    client.signal(Signal::SIGKILL);
    let ended = client.finish(deadline)?;
    if ended.exit == Exit::Code(0) {
        return Ok(None);
    }
    let at = format!("killed at byte {point}");
    if ended.exit != Exit::Signal(Signal::SIGKILL) {
        return Err(format!(
            "{at}: it ended before with {:?}: {}",
            ended.exit, ended.stderr
        ));
    }
    let left = files_below(&world.output());
    if left.iter().any(|name| name != PART) {
        return Err(format!("{at}: left are {left:?}"));
    }
    let now = len(&part);
    if now < kept {
        return Err(format!("{at}: {kept} bytes were there before, {now} are now"));
    }
    Ok(Some(now))
}

fn len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

fn make(path: &Path, bytes: u64, chance: &mut Chance) -> Result<(), String> {
    let explain = |error| format!("{}: {error}", path.display());
    let mut file = File::create(path).map_err(explain)?;
    let mut block = chance.bytes(BLOCK_BYTES);
    for number in 0..bytes / BLOCK_BYTES as u64 {
        // No page is like another.
        for (page, bytes) in (0_u64..).zip(block.chunks_exact_mut(4096)) {
            bytes[..8].copy_from_slice(&(number << 8 | page).to_le_bytes());
        }
        file.write_all(&block).map_err(explain)?;
    }
    Ok(())
}

/// The file must be there, alone, and equal to its source.
fn compare(world: &World) -> Result<(), String> {
    let left = files_below(&world.output());
    if left != [NAME] {
        return Err(format!("at the end there are {left:?}"));
    }
    let open = |path: PathBuf| File::open(&path).map_err(|error| format!("{}: {error}", path.display()));
    let (mut found, mut expected) = (open(world.output().join(NAME))?, open(world.source().join(NAME))?);
    let mut number = 0;
    loop {
        let [found, expected] = [read_block(&mut found)?, read_block(&mut expected)?];
        if found != expected {
            return Err(format!("WRONG BYTES in MiB {number}"));
        }
        if found.is_empty() {
            return Ok(());
        }
        number += 1;
    }
}

fn read_block(file: &mut File) -> Result<Vec<u8>, String> {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let taken = file.take(BLOCK_BYTES as u64).read_to_end(&mut block);
    taken.map(|_| block).map_err(|error| error.to_string())
}

/// How many bytes of files the server has sent.
fn sent(world: &World) -> Result<u64, String> {
    let mut status = world
        .command(&["status", "--json"])
        .stdout(Stdio::piped())
        .start(&world.said())?;
    let mut text = String::new();
    let mut stdout = status.take_stdout().ok_or("no standard output")?;
    stdout
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    status.finish(Instant::now() + PATIENCE)?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    json["bytes_total"]
        .as_u64()
        .ok_or(format!("no bytes_total in {text}"))
}
