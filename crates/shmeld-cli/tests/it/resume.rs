//! `--resume`: transfers that were interrupted, in every way, and go on where they ended (rows C1, C2, O1 of the fault catalogue).

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::content;
use crate::midway::{MIB, assert_same, put_large};
use crate::outcome::Outcome;
use crate::processes::Running;
use crate::world::{World, eventually};

/// The part of the file `name` in the output directory.
pub fn part(world: &World, name: &str) -> PathBuf {
    world.output(&format!(".{name}.shmeld-part"))
}

/// Leaves a part as an earlier transfer would have left it.
pub fn leave(world: &World, name: &str, bytes: &[u8]) {
    std::fs::write(part(world, name), bytes).unwrap();
    content::set_mode(&part(world, name), 0o600);
}

/// `shm_client --resume -o OUTPUT ARGUMENTS`, run to its end.
#[track_caller]
pub fn resume(world: &World, arguments: &[&str]) -> Outcome {
    world.fetch(&[&["--resume"], arguments].concat())
}

/// How many bytes of files the server has sent, once it serves nobody but who asks: the session of a client that was killed goes on filling
/// its region for a while.
pub fn sent(world: &World) -> u64 {
    let mut sent = 0;
    eventually("the earlier sessions have ended", || {
        let status = world.status();
        sent = status["bytes_total"].as_u64().unwrap();
        status["sessions"] == 1
    });
    sent
}

/// Insists on what the output directory holds.
#[track_caller]
pub fn assert_names(world: &World, names: &[&str]) {
    let found = content::names_below(&world.output(""));
    assert_eq!(found, names.iter().map(PathBuf::from).collect::<Vec<_>>());
}

/// Size of `big`.
pub const BIG_MEBIBYTES: u64 = 32;
const BIG_BYTES: u64 = BIG_MEBIBYTES * MIB;

/// A client in the middle of `big`, stopped: some of it is on the disk and more is to come.
pub fn stopped_midway(world: &World, region: &str) -> Running {
    let len = || std::fs::metadata(part(world, "big")).map_or(0, |found| found.len());
    for _ in 0..20 {
        let client = world.client().args(["--resume", "--region", region, "-o"]);
        let client = client.arg(world.output("")).arg("big").start();
        while client.is_running() && len() < 2 * MIB {
            std::thread::sleep(Duration::from_micros(300));
        }
        if client.is_running() {
            client.signal("STOP");
        }
        eventually("it stands still, or has ended", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", client.pid()));
            !client.is_running() || stat.is_ok_and(|stat| stat.contains(") T "))
        });
        let is_running = client.is_running();
        // What it has not yet written of what the server has sent must not be all the rest.
        if is_running && len() + 3 * MIB < BIG_BYTES {
            return client;
        }
        // It was faster than we: once more.
        if is_running {
            client.signal("CONT");
        }
        client.finish().expect_code(0);
        std::fs::remove_file(world.output("big")).unwrap();
    }
    panic!("no client could be stopped in the middle");
}

/// The transfer ends, with nothing sent that the part had.
#[track_caller]
fn assert_goes_on(world: &World, region: &str, source: &Path) {
    let len = std::fs::metadata(part(world, "big")).unwrap().len();
    assert!((2 * MIB..BIG_BYTES).contains(&len), "{len} bytes were kept");
    let before = sent(world);
    resume(world, &["--region", region, "big"])
        .expect_code(0)
        .expect_said("shm_client: get big: resuming, ");
    assert_eq!(sent(world) - before, BIG_BYTES - len);
    assert_names(world, &["big"]);
    assert_same(&world.output("big"), source);
    std::fs::remove_file(world.output("big")).unwrap();
}

#[test]
fn killed_client_leaves_the_part_of_its_file_and_the_next_one_goes_on_behind_it() {
    let world = World::new("resume-kill");
    let source = put_large(&world, "big", BIG_MEBIBYTES);
    world.start_server();
    for region in ["4096", "1M"] {
        let client = stopped_midway(&world, region);
        client.kill();
        assert_names(&world, &[".big.shmeld-part"]);
        assert_eq!(content::mode(&part(&world, "big")), 0o600);
        assert_goes_on(&world, region, &source);
    }
    // Nothing but what was under way when a client was killed is sent twice: a block on each side, and the region. (A block that was not
    // sent to its end is not counted. Clients that were faster than we had the whole file: on a busy machine there are such.)
    let twice = sent(&world) % BIG_BYTES;
    assert!(
        twice <= 2 * (2 * 256 * 1024 + MIB),
        "{twice} bytes were sent twice"
    );
    world.finish();
}

#[test]
fn interrupted_client_and_killed_server_leave_the_part_too() {
    let world = World::new("resume-signals");
    let source = put_large(&world, "big", BIG_MEBIBYTES);
    let mut server = world.start_server();
    for (signal, code) in [("INT", 130), ("TERM", 143), ("KILL", 4)] {
        let client = stopped_midway(&world, "64K");
        if signal == "KILL" {
            server.kill();
            client.signal("CONT");
            client.finish().expect_code(code).expect_said("died");
            server = world.start_server();
        } else {
            client.signal(signal);
            client.signal("CONT");
            client.finish().expect_code(code);
        }
        assert_goes_on(&world, "64K", &source);
    }
    assert!(server.is_running());
    world.finish();
}

#[test]
fn part_of_any_length_is_gone_on_with_through_every_region_with_and_without_verify() {
    const SIZE: usize = 700_001;
    let world = World::new("resume-lengths");
    let bytes = world.put_random("file", SIZE);
    world.start_server();
    for len in [1, 3744, 4096, 262_144, 262_145, SIZE - 1, SIZE] {
        for (region, option) in [("4096", "--verify"), ("1M", "-p")] {
            leave(&world, "file", &bytes[..len]);
            let before = sent(&world);
            resume(&world, &["--region", region, option, "file"])
                .expect_code(0)
                .expect_said("resuming");
            world.assert_output("file", &bytes);
            assert_eq!(
                sent(&world) - before,
                (SIZE - len) as u64,
                "{len} {region} {option}"
            );
            assert_names(&world, &["file"]);
        }
    }
    world.finish();
}

/// An empty part is none, and a file of no bytes has none.
#[test]
fn nothing_is_resumed_where_there_is_nothing() {
    let world = World::new("resume-nothing");
    world.put("empty", b"");
    let bytes = world.put_random("file", 10_000);
    world.start_server();
    for name in ["file", "empty", "nope"] {
        leave(&world, name, b"");
    }
    let outcome = resume(&world, &["--json", "file", "empty", "nope", "sub/nope"]).expect_code(1);
    let events: Vec<_> = outcome
        .json_lines()
        .iter()
        .map(|line| line["event"].clone())
        .collect();
    assert_eq!(
        events,
        ["delivered", "delivered", "refused", "refused", "summary"]
    );
    world.assert_output("file", &bytes);
    world.assert_output("empty", b"");
    assert_names(&world, &["empty", "file"]);
    // A part that nobody asks to go on with stays what it is, and a name that is not found leaves it alone.
    leave(&world, "file", b"x");
    leave(&world, "nope", b"some bytes");
    world.fetch(&["file"]).expect_code(0);
    resume(&world, &["nope"]).expect_code(1).expect_said("FNF");
    assert_eq!(std::fs::read(part(&world, "file")).unwrap(), b"x");
    assert_eq!(std::fs::read(part(&world, "nope")).unwrap(), b"some bytes");
    for name in ["file", "nope"] {
        std::fs::remove_file(part(&world, name)).unwrap();
    }
    world.finish();
}

#[test]
fn one_name_asked_for_several_times_does_not_meet_its_own_lock() {
    let world = World::new("resume-cycle");
    let bytes = world.put_random("file", 300_000);
    let other = world.put_random("sub/other", 5000);
    world.start_server();
    leave(&world, "file", &bytes[..100_000]);
    let outcome = resume(&world, &["--json", "-n", "6", "file", "sub/other"]).expect_code(0);
    assert_eq!(outcome.names_of("delivered"), ["file", "sub/other"].repeat(3));
    assert_eq!(outcome.names_of("resumed"), ["file"]);
    let summary = outcome.json_lines().pop().unwrap();
    assert_eq!(summary["bytes_resumed"], 100_000);
    assert_eq!(summary["bytes"], 3 * 305_000);
    world.assert_output("file", &bytes);
    world.assert_output("sub/other", &other);
    assert_names(&world, &["file", "sub", "sub/other"]);
    world.finish();
}

#[test]
fn second_client_of_one_file_is_told_so_and_the_first_is_not_disturbed() {
    let world = World::new("resume-two");
    let source = put_large(&world, "big", BIG_MEBIBYTES);
    world.put("small", b"small");
    world.start_server();
    let first = stopped_midway(&world, "4096");
    let outcome = resume(&world, &["big", "small"]).expect_code(1);
    let outcome = outcome.expect_said("big.shmeld-part: another client is fetching this file");
    outcome.expect_said("hint: wait until it has finished");
    world.assert_output("small", b"small");
    assert!(!world.output("big").exists());
    first.signal("CONT");
    first.finish().expect_code(0);
    assert_same(&world.output("big"), &source);
    assert_names(&world, &["big", "small"]);
    world.finish();
}

#[test]
fn source_that_changes_under_the_transfer_is_not_delivered_and_what_was_kept_is_compared_again() {
    let world = World::new("resume-changed");
    let source = put_large(&world, "big", BIG_MEBIBYTES);
    world.start_server();
    for position in [MIB, 30 * MIB] {
        let client = stopped_midway(&world, "1M");
        let file = std::fs::OpenOptions::new().write(true).open(&source).unwrap();
        file.write_all_at(b"another byte", position).unwrap();
        client.signal("CONT");
        client.finish().expect_code(1).expect_said("CHANGED");
        assert_names(&world, &[".big.shmeld-part"]);
        // In the second turn the server may not have read that far, and what it sends is what is new.
        let said = if position == MIB { "starting anew" } else { "big: " };
        resume(&world, &["big"]).expect_code(0).expect_said(said);
        assert_same(&world.output("big"), &source);
        std::fs::remove_file(world.output("big")).unwrap();
    }
    // Replaced by another file meanwhile: the client gets the one that it began with.
    let [old, new] = ["old", "new"].map(|name| world.source(name));
    std::fs::hard_link(&source, &old).unwrap();
    world.put("new", b"something else");
    let client = stopped_midway(&world, "1M");
    std::fs::rename(&new, &source).unwrap();
    client.signal("CONT");
    client.finish().expect_code(0);
    assert_same(&world.output("big"), &old);
    assert_names(&world, &["big"]);
    world.finish();
}

/// A request that waits in a queue which is lost is sent again as it was, with offset and digest.
#[test]
fn request_that_is_repeated_after_its_queue_was_lost_still_resumes() {
    let world = World::new("resume-repeated");
    let bytes = world.put_random("file", 500_000);
    leave(&world, "file", &bytes[..400_000]);
    let server = world.start_server();
    server.signal("STOP");
    let client = world.client().args(["--resume", "--explain", "-o"]);
    let client = client.arg(world.output("")).arg("file").start();
    client.wait_for_stderr("request 1: Get file");
    server.kill();
    world.start_server();
    client.finish().expect_code(0).expect_said("resuming");
    world.assert_output("file", &bytes);
    assert_eq!(sent(&world), 100_000);
    world.finish();
}
