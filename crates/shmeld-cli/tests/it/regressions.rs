//! Bugs that were there once, each with its story: those that need real processes, signals, pipes and limits. The others are tests of
//! the library.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use shmeld_os::event::is_writable;
use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};

use crate::midway::{MIB, SOON, Trickle};
use crate::outcome::Outcome;
use crate::processes::Running;
use crate::world::{World, eventually, has_or_skip};

/// Long enough for a process that has nothing else to do to get stuck where it will.
const A_MOMENT: Duration = Duration::from_millis(500);

/// Ctrl-C while a hole was written to a pipe ended the zeros early, and the file was reported as delivered, with exit code 0.
#[test]
fn hole_in_a_pipe_that_was_interrupted_is_not_delivered() {
    let world = World::new("interrupted-hole");
    let hole = File::create(world.source("hole")).unwrap();
    hole.set_len(64 * MIB).unwrap();
    let _server = world.start_server();
    for region in ["4096", "1M"] {
        let transfer = Trickle::start(world.client().args(["--region", region, "hole"]));
        let client = transfer.client.clone();
        client.signal("INT");
        let bytes = transfer.finish();
        client.finish().expect_code(130);
        assert!((bytes.len() as u64) < 64 * MIB, "it was over before the signal");
    }
    world.finish();
}

/// A CLOSE for the session of a client at work, made by its own user, who alone can read the nonce.
fn forged_close(client: &Running) -> impl Fn(u64) -> Vec<u8> + use<> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", client.pid())).unwrap();
    let paths = descriptors.map(|entry| entry.unwrap().path());
    let region_of = |path: std::path::PathBuf| {
        let target = std::fs::read_link(&path).ok()?.to_string_lossy().into_owned();
        let digits = target.strip_prefix("/dev/shm/shmeld.")?.get(..32)?;
        let id = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        let mut nonce = [0; 16];
        File::open(path).ok()?.read_exact_at(&mut nonce, 24).ok()?;
        Some((id, nonce))
    };
    let (id, nonce) = paths.filter_map(region_of).next().expect("a region");
    move |request_id| {
        let mut bytes = b"SHMR\x01\0\x05\0".to_vec();
        bytes.extend(request_id.to_le_bytes());
        bytes.extend(id);
        bytes.extend(nonce);
        bytes.extend(4096_u64.to_le_bytes());
        bytes.resize(104, 0);
        bytes
    }
}

/// What a process has in memory that is its own, in bytes.
fn memory_bytes(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// Every CLOSE was kept for a session that had no time to read it: 200,000 of them cost the server 24 MB, and nothing limited that.
#[test]
fn closes_without_number_cost_the_server_no_memory() {
    const GROWTH_MAX: u64 = 4 * MIB;
    let world = World::new("closes");
    let bytes = world.put_random("file", 4 * MIB as usize);
    let server = world.start_server();
    let slow = Trickle::start(world.client().arg("file"));
    let close = forged_close(&slow.client);
    let before = memory_bytes(&server);
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    for request_id in 1000..200_000 {
        queue.send(&close(request_id), PRIORITY_MAX, None).unwrap();
    }
    // This one is answered after all of them have been taken.
    assert_eq!(world.status()["sessions"], 2, "the slow one is still at work");
    let grown = memory_bytes(&server).saturating_sub(before);
    assert!(grown < GROWTH_MAX, "the server has grown by {grown} bytes");
    let client = slow.client.clone();
    crate::content::assert_bytes("output", &slow.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}

/// Time in which the server itself was stopped was counted as the client's idleness: after Ctrl-Z and fg it ended sessions whose clients
/// had been ready all along.
#[test]
fn time_in_which_the_server_was_stopped_is_not_the_clients_idleness() {
    let world = World::new("stopped-stall");
    let bytes = world.put_random("file", MIB as usize);
    let server = world.server().args(["--stall", "4s"]).start();
    server.wait_for_stderr("serving");
    let (mut output, sink) = std::io::pipe().unwrap();
    let client = world.client().args(["-o", "-", "file"]).stdout(sink).start();
    eventually("the session is there", || world.status()["sessions"] == 2);
    // Nobody reads the pipe: soon the server waits for its client.
    std::thread::sleep(A_MOMENT);
    server.signal("STOP");
    std::thread::sleep(Duration::from_millis(4500));
    server.signal("CONT");
    std::thread::sleep(A_MOMENT);
    let mut found = Vec::new();
    output.read_to_end(&mut found).unwrap();
    client.finish().expect_code(0);
    crate::content::assert_bytes("output", &found, &bytes);
    world.finish();
}

/// A client that has done its work says CLOSE and exits at once. Now and then the server looked in between, and ended with 4.
#[test]
fn client_that_exits_right_after_its_close_is_never_dead() {
    let world = World::new("close-and-exit");
    let bytes = world.put_random("file", 1000);
    for _ in 0..50 {
        let server = world.server().arg("--once").start();
        server.wait_for_stderr("serving");
        world.fetch(&["file"]).expect_code(0);
        server.finish().expect_code(0);
    }
    world.assert_output("file", &bytes);
    world.finish();
}

/// The server told its news to standard error and waited until somebody read them: a pipe that nobody reads stopped it for everybody.
#[test]
fn server_whose_standard_error_is_full_goes_on_serving() {
    let world = World::new("full-stderr");
    let bytes = world.put_random("file", MIB as usize);
    world
        .tool("mkfifo")
        .arg(world.root().join("stderr"))
        .run()
        .expect_code(0);
    // Opened both ways: it is there for the server to open, and nobody ever reads.
    let mut fifo = OpenOptions::new()
        .read(true)
        .write(true)
        .open(world.root().join("stderr"))
        .unwrap();
    let server = world.server().after("exec 2>stderr").start();
    let status = world
        .shmeld("status")
        .args(["--wait", "30s", "--name", world.name()]);
    status.run().expect_code(0);
    while is_writable(&fifo) {
        fifo.write_all(&[b'.'; 4096]).unwrap();
    }
    for deaths in 1..=3 {
        let victim = Trickle::start(world.client().arg("file"));
        victim.client.kill();
        victim.finish();
        eventually("the death is counted", || world.status()["died_total"] == deaths);
    }
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    server.signal("TERM");
    server.finish().expect_code(0);
    world.finish();
}

/// Interrupts a client that is stuck in the kernel, once.
#[track_caller]
fn assert_first_signal_ends(client: &Running) {
    std::thread::sleep(A_MOMENT);
    assert!(client.is_running(), "it is not stuck\n{}", client.stderr());
    let asked = Instant::now();
    client.signal("INT");
    while client.is_running() && asked.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(5));
    }
    // One that is stuck for ever has no code.
    client.kill();
    client.finish().expect_code(130);
}

/// A client that waits in `open` for a FIFO's reader, or in `write` for room in a pipe, looks at no flag: Ctrl-C did nothing, and people
/// had to find out that a second one works.
#[test]
fn first_signal_ends_a_client_whose_output_is_stuck() {
    let world = World::new("stuck-output");
    world.put_random("file", MIB as usize);
    let fifo = world.output("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    let _server = world.start_server();
    let client = |command: &str| world.shmeld(command).args(["--name", world.name()]);
    let (_nobody_reads, sink) = std::io::pipe().unwrap();
    for client in [
        client("get").arg("file").arg("-o").arg(&fifo),
        client("get").args(["file", "-o", "-"]).stdout(sink),
    ] {
        let client = client.start();
        eventually("it is attached", || world.status()["sessions"] == 2);
        assert_first_signal_ends(&client);
        eventually("its session has ended", || world.status()["sessions"] == 1);
    }
    world.finish();
}

/// The same where the FIFO is met under its name in a directory, and with `cp`.
#[test]
fn first_signal_ends_a_client_that_meets_a_fifo_in_a_directory() {
    let world = World::new("stuck-below");
    let file = world.put("fifo", b"content");
    let fifo = world.output("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    let _server = world.start_server();
    let get = world.client().args(["fifo", "-o"]).arg(world.output(""));
    assert_first_signal_ends(&get.start());
    let copy = world.shmeld("cp").arg(&file).arg(&fifo);
    assert_first_signal_ends(&copy.start());
    world.finish();
}

fn descriptors_of(process: &Running) -> BTreeSet<u32> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.map(|name| name.parse().unwrap()).collect()
}

/// Limits the descriptors of a running process, so that it can open just so many more.
#[track_caller]
fn leave_descriptors(world: &World, process: &Running, mut count: u32) {
    let open = descriptors_of(process);
    let mut limit = 0;
    while count > 0 || open.contains(&limit) {
        count -= u32::from(!open.contains(&limit));
        limit += 1;
    }
    limit_descriptors(world, process, limit);
}

#[track_caller]
fn limit_descriptors(world: &World, process: &Running, limit: u32) {
    let (pid, limit) = (process.pid().to_string(), format!("--nofile={limit}:"));
    world
        .tool("prlimit")
        .args(["--pid", &pid, &limit])
        .run()
        .expect_code(0);
}

/// What a client that will not wait hears from a server that can open only so many more descriptors.
#[track_caller]
fn fetch_with_descriptors(world: &World, server: &Running, at_rest: usize, count: u32) -> Outcome {
    eventually("the server is at rest", || {
        descriptors_of(server).len() == at_rest
    });
    leave_descriptors(world, server, count);
    let outcome = world.fetch(&["--wait", "0", "file"]);
    limit_descriptors(world, server, 1024);
    outcome
}

/// A server without descriptors could not open a region, so it could not tell its client either: that waited for half a minute and then
/// called the server silent.
#[test]
fn server_out_of_descriptors_says_busy() {
    let world = World::new("descriptors");
    if !has_or_skip("prlimit") {
        return;
    }
    let bytes = world.put_random("file", 1000);
    let server = world.start_server();
    let at_rest = descriptors_of(&server).len();
    // More than once: the descriptor that it keeps for this must be there again.
    for _ in 0..3 {
        let outcome = fetch_with_descriptors(&world, &server, at_rest, 0).expect_code(3);
        outcome
            .expect_said("(BUSY)")
            .expect_said("hint: a limit of the server");
    }
    world.assert_no_output();
    // A client that waits is served once there are descriptors.
    leave_descriptors(&world, &server, 0);
    let patient = world.client().args(["--wait", "60s", "file", "-o"]);
    let patient = patient.arg(world.output("file")).start();
    std::thread::sleep(A_MOMENT);
    assert!(patient.is_running(), "{}", patient.stderr());
    limit_descriptors(&world, &server, 1024);
    patient.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// The same where the descriptors end a step later: in the session's own thread, or at the file. Each time it is the limit that is named.
#[test]
fn server_that_runs_out_of_descriptors_half_way_says_busy() {
    let world = World::new("descriptors-half");
    if !has_or_skip("prlimit") {
        return;
    }
    world.put_random("file", 1000);
    let server = world.start_server();
    let at_rest = descriptors_of(&server).len();
    let mut codes = Vec::new();
    for count in 0..8 {
        let outcome = fetch_with_descriptors(&world, &server, at_rest, count);
        codes.push(outcome.code.unwrap());
        if outcome.code != Some(0) {
            outcome.expect_said("(BUSY)");
        }
    }
    assert!(codes.ends_with(&[0]), "enough is enough: {codes:?}");
    assert!(codes.iter().all(|code| [3, 1, 0].contains(code)), "{codes:?}");
    world.finish();
}

/// The tree had no place, every file in it was reported as delivered, and only the exit code said otherwise.
#[test]
fn tree_without_a_place_is_a_failure_and_none_of_its_files_is_delivered() {
    let world = World::new("nowhere");
    for name in ["tree/a", "tree/b", "tree/c/d"] {
        world.put(name, name.as_bytes());
    }
    let copy = world
        .shmeld("cp")
        .args(["-r", "--json"])
        .arg(world.source("tree"));
    let outcome = copy.arg(world.output("missing/tree")).run().expect_code(1);
    assert_eq!(outcome.names_of("delivered"), [""; 0]);
    assert_eq!(outcome.names_of("failed").len(), 1, "{}", outcome.stdout_text());
    let lines = outcome.json_lines();
    let summary = lines.last().unwrap();
    assert_eq!((&summary["files"], &summary["bytes"]), (&0.into(), &0.into()));
    world.assert_no_output();
    world.finish();
}

/// Both went to standard output, mixed, and no program could tell them apart.
#[test]
fn json_and_files_do_not_share_standard_output() {
    let world = World::new("json-stdout");
    world.put("file", b"content");
    let _server = world.start_server();
    for output in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let outcome = world.client().args(["--json", "-o", output, "file"]).run();
        let outcome = outcome.expect_code(2).expect_said("--json");
        assert!(outcome.stdout.is_empty(), "{output}: {}", outcome.stdout_text());
    }
    world.finish();
}

/// The clock has no such moment, and the client panicked when it computed it.
#[test]
fn client_waits_until_the_end_of_time_if_it_is_told_to() {
    const LONG: &str = "500000000000y";
    let world = World::new("eternity");
    let bytes = world.put_random("file", 1000);
    let early = world.client().args(["--wait", LONG, "file", "-o"]);
    let early = early.arg(world.output("early")).start();
    early.wait_for_stderr("waiting for server");
    let _server = world.start_server();
    early.finish().expect_code(0);
    world.assert_output("early", &bytes);
    world.fetch(&["--wait", LONG, "file"]).expect_code(0);
    let status = world
        .shmeld("status")
        .args(["--wait", LONG, "--name", world.name()]);
    status.run().expect_code(0);
    world.finish();
}
