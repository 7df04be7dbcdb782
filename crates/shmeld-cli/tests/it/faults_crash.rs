//! Stops, restarts, forks and signals in the middle of things: the rows C4 to C11 of the fault catalogue, as far as
//! `crashes`, `signals` and `faults_kill` do not make them happen.

use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use shmeld::ServerName;
use shmeld::file::wire::Op;
use shmeld::file::{Client, ClientOptions, Query};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::midway::{MIB, SOON, Trickle, put_large, wait_until_written};
use crate::processes::Running;
use crate::raw_region::{ATTACHED, GET, RawRegion, STATE, assert_served, count};
use crate::world::{World, can_unshare_or_skip, eventually, is_root_or_skip};

/// C4: once `--stall` has passed the session of a stopped client ends; it is told so when it goes on.
#[test]
fn stopped_client_is_ended_when_its_time_is_up() {
    let world = World::new("stall-passed");
    put_large(&world, "large", 256);
    let small = world.put_random("small", 10_000);
    let server = world.server().args(["--stall", "2s"]).start();
    server.wait_for_stderr("serving");
    let client = world.fetching("large");
    wait_until_written(&client, MIB);
    client.signal("STOP");
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_secs(1) {
        assert_served(&world, "small", &small);
    }
    eventually("its session has ended", || count(&world, "sessions") == 1);
    client.signal("CONT");
    client.finish().expect_code(4).expect_said("STALLED");
    world.assert_no_output();
    assert_eq!(
        (count(&world, "died_total"), count(&world, "misbehaved_total")),
        (0, 0)
    );
    world.finish();
}

fn impatient(world: &World) -> Client {
    let options = ClientOptions {
        name: ServerName::new(world.name()).unwrap(),
        silence_max: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    Client::connect(options).unwrap()
}

fn get(path: &str) -> Query {
    let path = path.as_bytes().to_vec();
    Query::new(Op::Get, path)
}

/// C5: the lease of a stopped server is held, so its client waits; but not for ever. The server finds the abandoned region when it goes on.
#[test]
fn stopped_server_is_given_up_after_a_while_and_finds_the_abandoned_region() {
    let world = World::new("silent");
    let bytes = world.put_random("file", 5 * MIB as usize);
    let server = world.start_server();
    for is_attached in [true, false] {
        let mut client = impatient(&world);
        if is_attached {
            client.submit(&get("file")).unwrap();
            let begin = client.next_record().unwrap();
            client.finish(&begin).unwrap();
        }
        server.signal("STOP");
        if !is_attached {
            client.submit(&get("file")).unwrap();
        }
        let start = Instant::now();
        let error = loop {
            match client.next_record().and_then(|record| client.finish(&record)) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("silent for 1 s"), "{error}");
        assert_eq!(error.exit_code(), 4);
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        drop(client);
        server.signal("CONT");
        eventually("the session has ended", || count(&world, "sessions") == 1);
        eventually("its region is no longer held", || regions_open_in(&server) == 0);
        assert_served(&world, "file", &bytes);
    }
    assert_eq!(count(&world, "died_total"), 1, "the attached one");
    world.finish();
}

/// How many descriptors and mappings of regions a process has.
fn regions_open_in(process: &Running) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", process.pid())).unwrap();
    let is_region = |text: &str| text.contains("/dev/shm/shmeld.") && !text.contains(".gate");
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", process.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    maps.lines().filter(|line| is_region(line)).count()
        + targets
            .filter(|target| is_region(&target.to_string_lossy()))
            .count()
}

/// C6: ten requests in the queue of a server that is killed, and more clients that wait for a place in it. The next server has a new queue;
/// all of them come to it by themselves, and each is answered once.
#[test]
fn requests_in_the_queue_of_a_dead_server_are_sent_to_the_next_one() {
    const CLIENTS: usize = 14;
    let world = World::new("queued");
    let bytes = world.put_random("file", 100_000);
    let server = world.start_server();
    server.signal("STOP");
    let outputs: Vec<String> = (0..CLIENTS).map(|number| format!("file-{number}")).collect();
    let start = |output: &String| {
        world
            .client()
            .arg("file")
            .arg("-o")
            .arg(world.output(output))
            .start()
    };
    let clients: Vec<Running> = outputs.iter().map(start).collect();
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    eventually("the queue is full", || queue.attributes().unwrap().messages == 10);
    server.kill();
    let _next = world.start_server();
    for (client, output) in clients.iter().zip(&outputs) {
        client.finish().expect_code(0);
        world.assert_output(output, &bytes);
    }
    assert_eq!(count(&world, "files_total"), CLIENTS as u64);
    assert_eq!(
        (count(&world, "junk_messages_total"), count(&world, "died_total")),
        (0, 0)
    );
    // The old queue went with the old server; nobody took what was in it.
    assert_eq!(
        (queue.stat().unwrap().links, queue.attributes().unwrap().messages),
        (0, 10)
    );
    world.finish();
}

/// C7: requests of the dead have no effect but that their regions go, and they cost no time.
#[test]
fn requests_of_the_dead_are_dropped_and_their_regions_removed() {
    let world = World::new("dead-requests");
    let bytes = world.put_random("file", 100_000);
    let server = world.start_server();
    let before = count(&world, "files_total");
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    // On a busy machine the CLOSE of who counted was taken for the tenth request.
    eventually("the server has taken what was sent", || {
        queue.attributes().unwrap().messages == 0
    });
    server.signal("STOP");
    let start = |_| {
        world
            .client()
            .arg("file")
            .arg("-o")
            .arg(world.output("dead"))
            .start()
    };
    let clients: Vec<Running> = (0..10).map(start).collect();
    eventually("all requests are sent", || {
        queue.attributes().unwrap().messages == 10
    });
    let names: Vec<_> = clients
        .iter()
        .map(|client| region_name(client).unwrap())
        .collect();
    clients.iter().for_each(|client| client.kill());
    server.signal("CONT");
    assert_served(&world, "file", &bytes);
    for name in &names {
        eventually("the region is removed", || SharedMemory::stat_name(name).is_err());
    }
    assert_eq!(
        count(&world, "files_total"),
        before + 1,
        "nobody but the living one was answered"
    );
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.assert_no_output();
    world.finish();
}

/// The name of the region that a client has open, once it has one.
pub fn region_name(client: &Running) -> Option<shmeld_os::ObjectName> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", client.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = targets.filter_map(|target| Some(target.to_str()?.strip_prefix("/dev/shm")?.to_owned()));
    let name = names.into_iter().find(|name| name.starts_with("/shmeld."))?;
    Some(shmeld_os::ObjectName::new(&name).unwrap())
}

/// C9: clients that all have the process id 1, each in a namespace of its own. One of them dies, and nobody mistakes it for another.
#[test]
fn process_ids_mean_nothing() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let world = World::new("pids");
    let bytes = world.put_random("file", 2 * MIB as usize);
    let _server = world.start_server();
    let alone = ["unshare", "--pid", "--fork", "--kill-child"];
    // Nobody reads yet: both are held in the middle.
    let [(_unread, first_sink), (mut output, second_sink)] = [(); 2].map(|()| std::io::pipe().unwrap());
    let [first, second] = [first_sink, second_sink].map(|sink| {
        world
            .client()
            .args(["file", "-o", "-"])
            .stdout(sink)
            .wrapped(&alone)
            .start()
    });
    eventually("both are attached", || count(&world, "sessions") == 3);
    first.kill();
    eventually("one of them is gone", || count(&world, "sessions") == 2);
    assert_eq!(count(&world, "died_total"), 1);
    let mut found = Vec::new();
    output.read_to_end(&mut found).unwrap();
    content::assert_bytes("the other's output", &found, &bytes);
    second.finish().expect_code(0);
    world.finish();
}

/// C10: a child that outlives its parent, started while the parent held its lease, keeps nothing alive. (A fork without exec is tried in
/// `shmeld-os`: `a_lease_in_a_mapping_is_not_inherited_by_a_forked_child`.)
#[test]
fn child_that_outlives_a_client_does_not_keep_its_session() {
    let world = World::new("child");
    world.put_random("file", 5 * MIB as usize);
    let server = world.start_server();
    let mut client = impatient(&world);
    client.submit(&get("file")).unwrap();
    let begin = client.next_record().unwrap();
    client.finish(&begin).unwrap();
    let mut children = ["sleep", "cat"].map(|tool| {
        let mut command = Command::new(tool);
        if tool == "sleep" {
            command.arg("60");
        }
        command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    });
    for child in &children {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
        assert!(!maps.contains("/dev/shm/shmeld."), "it has our region:\n{maps}");
    }
    drop(client);
    eventually("the session has ended", || count(&world, "sessions") == 1);
    assert_eq!(count(&world, "died_total"), 1);
    eventually("nothing of it is held", || regions_open_in(&server) == 0);
    assert!(
        children
            .iter_mut()
            .all(|child| child.try_wait().unwrap().is_none()),
        "they ended first"
    );
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    world.finish();
}

/// C11: the first signal lets sessions finish; the second one waits for nobody. What that leaves the next start removes.
#[test]
fn second_signal_ends_a_server_at_once() {
    let world = World::new("second-signal");
    put_large(&world, "large", 256);
    for signal in ["TERM", "INT"] {
        let server = world.start_server();
        let client = world.fetching("large");
        wait_until_written(&client, MIB);
        client.signal("STOP");
        server.signal(signal);
        eventually("it is stopping", || {
            MessageQueue::open(&world.queue_name(), Access::Send).is_err()
        });
        assert!(server.is_running(), "it did not wait for its session");
        let asked = Instant::now();
        server.signal(signal);
        server.finish().expect_code(130);
        // Without it: five seconds for the session, two for its thread.
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        client.signal("CONT");
        client.finish().expect_code(4);
        world.assert_no_output();
    }
    let _next = world.start_server();
    world.finish();
}

/// C11 at the client: stuck in a write, where it looks at no flag.
#[test]
fn second_signal_ends_a_client_at_once() {
    let world = World::new("second-signal-client");
    world.put_random("file", MIB as usize);
    let _server = world.start_server();
    let (_nobody_reads, sink) = std::io::pipe().unwrap();
    let client = world.client().args(["file", "-o", "-"]).stdout(sink).start();
    eventually("it is attached", || count(&world, "sessions") == 2);
    client.signal("INT");
    client.signal("INT");
    let asked = Instant::now();
    let code = client.finish().code;
    assert!(code.is_none() || code == Some(130), "{code:?}");
    assert!(asked.elapsed() < SOON);
    eventually("its session has ended", || count(&world, "sessions") == 1);
    assert_eq!(count(&world, "died_total"), 1);
    world.finish();
}

/// C4 and R17 together: of two that hold the only places, the one that does something keeps its own.
#[test]
fn place_is_taken_from_the_client_that_does_nothing() {
    let world = World::new("least-progress");
    let bytes = world.put_random("file", 2 * MIB as usize);
    let server = world.server().args(["--max-sessions", "2"]).start();
    server.wait_for_stderr("serving");
    let slow = Trickle::start(world.client().arg("file"));
    let idle = RawRegion::new(&world);
    idle.send(GET, "file");
    idle.wait_for_slot();
    assert_eq!(idle.word(STATE), ATTACHED);
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    idle.wait_for_state(13 << 8 | 2);
    let client = slow.client.clone();
    content::assert_bytes("the slow one's output", &slow.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}
