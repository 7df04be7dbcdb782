//! Rows Q1 to Q7, Q12 and Q13 of the fault catalogue, as far as other tests do not make them happen: floods by another user, a queue that
//! nobody drains, priorities, and messages about the regions of others.

use std::path::Path;
use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};
use shmeld_os::{ErrorKind, ObjectName};

use crate::peers::{EXAMPLES, PEERS, python_or_skip};
use crate::processes::{Program, Running};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// The fixed part of a request, see docs/PROTOCOL.md section 3.
const HEAD_BYTES: usize = 104;
const FLOODED_QUEUE: &str = "SHMELD_FLOODED_QUEUE";

/// Not a test by itself: the process of another user that another test starts, with the queue in its environment.
#[test]
fn play_a_flooder() {
    let Ok(name) = std::env::var(FLOODED_QUEUE) else {
        return;
    };
    let queue = MessageQueue::open(&ObjectName::new(&name).unwrap(), Access::Send).unwrap();
    let message = [0xa5; 1024];
    // Ends with the test that started it: by SIGKILL, or because the queue has lost its name and its server.
    while queue.stat().is_ok_and(|stat| stat.links > 0) {
        for _ in 0..100 {
            let slice = Instant::now() + Duration::from_millis(100);
            let _ = queue.send(&message, PRIORITY_MAX, Some(slice));
        }
    }
}

fn flooder(world: &World) -> Running {
    let program = world.tool(std::env::current_exe().unwrap().to_str().unwrap());
    let program = program.args(["faults_queue::play_a_flooder", "--exact"]);
    let variable = format!("{FLOODED_QUEUE}={}", world.name());
    program.as_user(NOBODY).wrapped(&["env", &variable]).start()
}

/// Nanoseconds that the main thread of a process, in a server the acceptor, has run.
fn acceptor_nanoseconds(server: &Running) -> u64 {
    let path = format!("/proc/{0}/task/{0}/schedstat", server.pid());
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Senders that block get the next free place in turn, whoever they are; the long form of this is a row of `cargo xtask chaos`.
#[test]
fn requests_are_taken_within_a_second_while_four_processes_of_another_user_flood_the_queue() {
    const REQUESTS: usize = 100;
    const JUNK_NANOSECONDS_MAX: u64 = 50_000;
    let world = World::new("flooded");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    let server = world.start_server();
    let queue = MessageQueue::open(&world.queue_name(), Access::Both).unwrap();
    queue.set_mode(0o622).unwrap();
    let junk_before = world.status()["junk_messages_total"].as_u64().unwrap();
    let ran_before = acceptor_nanoseconds(&server);
    let flooders: Vec<Running> = (0..4).map(|_| flooder(&world)).collect();
    eventually("the flood has begun", || {
        world.status()["junk_messages_total"].as_u64().unwrap() > 1000
    });
    let mut slow = Vec::new();
    for _ in 0..REQUESTS {
        let start = Instant::now();
        // Sound, and about a region that does not exist: what counts is that it is taken.
        queue.send(&sound_message(1), PRIORITY_MAX, None).unwrap();
        let sent = start.elapsed();
        if sent > Duration::from_secs(1) {
            slow.push(sent);
        }
    }
    for number in 0..5 {
        world.fetch(&["file"]).expect_code(0);
        world.assert_output("file", &bytes);
        assert!(
            flooders.iter().all(|flooder| flooder.is_running()),
            "round {number}"
        );
    }
    assert!(
        slow.len() <= REQUESTS / 100,
        "of {REQUESTS} requests these took long: {slow:?}"
    );
    let status = world.status();
    let junk = status["junk_messages_total"].as_u64().unwrap() - junk_before;
    let nanoseconds = (acceptor_nanoseconds(&server) - ran_before) / junk;
    assert!(
        nanoseconds <= JUNK_NANOSECONDS_MAX,
        "{nanoseconds} ns for each of {junk} messages"
    );
    assert_eq!(status["refused_regions_total"], REQUESTS as u64);
    for flooder in flooders {
        flooder.kill();
    }
    // No line for each of them.
    assert!(
        server.stderr().len() < 4096,
        "{} bytes of log",
        server.stderr().len()
    );
    world.finish();
}

/// A CLOSE for a region that nobody has.
fn sound_message(request_id: u64) -> Vec<u8> {
    let mut bytes = b"SHMR\x01\0\x05\0".to_vec();
    bytes.extend(request_id.to_le_bytes());
    bytes.extend([0x77; 32]);
    bytes.extend(4096_u64.to_le_bytes());
    bytes.resize(HEAD_BYTES, 0);
    bytes
}

/// Sends until there is no room.
fn fill(queue: &MessageQueue) -> u64 {
    let mut sent = 0;
    loop {
        match queue.send(b"junk", 0, Some(Instant::now())) {
            Ok(()) => sent += 1,
            Err(error) if error.kind() == ErrorKind::TimedOut => return sent,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Junk has a counter for each reason: an operator sees whether it is an old client, another program or an attack.
#[test]
fn each_reason_for_which_a_message_is_no_request_is_counted_by_itself() {
    let world = World::new("junk-reasons");
    let _server = world.start_server();
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    let broken = |at: usize, byte: u8| {
        let mut message = sound_message(1);
        message[at] = byte;
        message
    };
    let mut nul = broken(68, 1);
    nul.push(0);
    let junk = [
        ("short", vec![Vec::new(), vec![0; 103]]),
        ("magic", vec![broken(0, b'X'), vec![0; 1024], vec![0xff; 1024]]),
        ("version", vec![broken(4, 2)]),
        ("id", vec![broken(8, 0); 2]),
        ("path_length", vec![broken(68, 1), broken(71, 0xff)]),
        ("nul", vec![nul]),
    ];
    for (_, messages) in &junk {
        for message in messages {
            queue.send(message, PRIORITY_MAX, None).unwrap();
        }
    }
    let status = world.status();
    for (reason, messages) in &junk {
        assert_eq!(
            status["junk_messages"][reason],
            messages.len() as u64,
            "{reason}: {status}"
        );
    }
    assert_eq!(status["junk_messages_total"], 11);
    world.finish();
}

/// How far behind the moment of the call its wall-clock deadline lies, for each `mq_timedsend` that `strace -ttt` has seen.
fn slices(trace: &str) -> Vec<f64> {
    let number = |text: &str| {
        text.trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<f64>()
            .unwrap()
    };
    let calls = trace.lines().filter(|line| line.contains(" mq_timedsend("));
    let slice = |line: &str| {
        let called = number(line.split_whitespace().nth(1)?);
        let (_, seconds) = line.split_once("tv_sec=")?;
        let (seconds, nanoseconds) = seconds.split_once(", tv_nsec=")?;
        let end = number(seconds) + number(nanoseconds.split('}').next()?) / 1e9;
        Some(end - called)
    };
    calls.filter_map(slice).collect()
}

/// This takes the half minute that a client gives a server that lives and does nothing. Its waiting is cut into slices, because the kernel
/// counts them by the wall clock, which may jump: no deadline may lie further ahead than a second.
#[test]
fn client_of_a_server_that_does_not_drain_its_queue_says_so_and_waits_in_short_slices() {
    let world = World::new("undrained");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 1000);
    let server = world.start_server();
    server.signal("STOP");
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    assert_eq!(fill(&queue), 10);
    let start = Instant::now();
    let client = world.client().arg("file").arg("-o").arg(world.output("file"));
    let strace = ["-ttt", "-e", "trace=mq_timedsend,futex"];
    let outcome = client.traced("trace", &strace).run();
    assert!(start.elapsed() >= Duration::from_secs(29), "it gave up early");
    let outcome = outcome.expect_code(4);
    let said = format!(
        "shm_client: server {}: not draining its queue for 3",
        world.name()
    );
    outcome.expect_said(&said);
    world.assert_no_output();
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let slices = slices(&trace);
    assert!(slices.len() > 20, "{} slices", slices.len());
    assert!(slices.iter().all(|slice| *slice <= 1.0), "{slices:?}");
    assert!(
        !trace.contains("FUTEX_CLOCK_REALTIME"),
        "a wait by the wall clock"
    );
    server.signal("CONT");
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    assert_eq!(world.status()["junk_messages_total"], 10);
    world.finish();
}

/// Among messages of lower priority than those of a flooder an honest request would never be taken: all are sent at the highest. Nothing
/// depends on it, and nothing in a message says who sent it: no process id, no user, no name.
#[test]
fn request_is_sent_at_the_highest_priority_and_served_at_any() {
    let world = World::new("priority");
    let bytes = world.put_random("file", 5000);
    let server = world.start_server();
    for priority in [0, 1, 31_999] {
        server.signal("STOP");
        let queue = MessageQueue::open(&world.queue_name(), Access::Both).unwrap();
        let client = world.fetching("file");
        let mut message = [0; 1024];
        let patience = Some(Instant::now() + Duration::from_secs(30));
        let (len, sent_at) = queue.receive(&mut message, patience).unwrap();
        assert_eq!(sent_at, PRIORITY_MAX);
        assert_eq!(len, HEAD_BYTES + "file".len());
        // Magic, version, op, id; region and nonce; size; then nothing that says more than what is asked for.
        assert_eq!(message[..16], *b"SHMR\x01\0\x01\0\x01\0\0\0\0\0\0\0");
        assert_eq!(message[48..56], 4096_u64.to_le_bytes());
        assert_eq!(message[56..68], [0; 12]);
        assert_eq!(message[72..104], [0; 32]);
        queue.send(&message[..len], priority, None).unwrap();
        server.signal("CONT");
        client.finish().expect_code(0);
        world.assert_output("file", &bytes);
    }
    world.finish();
}

/// `offer.py MODE file`
fn offer(world: &World, python: &Path, mode: &str) -> Program {
    let script = Path::new(PEERS).join("offer.py");
    let tool = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    tool.args([world.name(), mode, "file"])
}

/// The id of a region can be seen in /dev/shm by everybody; whoever sends it without the nonce gets the region neither leased nor written
/// nor closed, before its own client has sent anything.
#[test]
fn forged_messages_for_a_region_on_offer_leave_it_as_it_is() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("on-offer");
    world.put_random("file", 30_000);
    let _server = world.start_server();
    let outcome = offer(&world, &python, "forged").run().expect_code(0);
    assert_eq!(outcome.stdout_text(), "30000\n");
    let status = world.status();
    assert_eq!(status["refused_regions_total"], 600);
    assert_eq!(
        (&status["misbehaved_total"], &status["died_total"]),
        (&0.into(), &0.into())
    );
    world.finish();
}

/// A server of root can open everybody's regions. Unless it serves others it attaches none of theirs; and only whoever knows the nonce, and
/// so has made the region, is told.
#[test]
fn region_of_another_user_is_refused_if_its_nonce_is_known_and_else_not_touched() {
    let world = World::new("foreign-region");
    if !is_root_or_skip() {
        return;
    }
    let Some(python) = python_or_skip() else { return };
    world.put_random("file", 30_000);
    let _server = world.start_server();
    let outcome = offer(&world, &python, "foreign").run().expect_code(0);
    assert_eq!(outcome.stdout_text(), "30000\n");
    assert_eq!(world.status()["refused_regions_total"], 2);
    world.finish();
}

/// A look at the lease of a region with thousands of locks goes past all of them. The acceptor looks only at idle sessions, once a second:
/// what that costs it must stay a small part of the second.
#[test]
fn region_with_thousands_of_locks_delays_nobody_else() {
    const IDLE: Duration = Duration::from_secs(3);
    let Some(python) = python_or_skip() else { return };
    let world = World::new("locks");
    let bytes = world.put_random("file", 30_000);
    let server = world.start_server();
    let locker = offer(&world, &python, "locks").start();
    eventually("it has all its locks", || {
        world.root().join("idle").exists() || !locker.is_running()
    });
    let ran_before = acceptor_nanoseconds(&server);
    std::thread::sleep(IDLE);
    let ran = Duration::from_nanos(acceptor_nanoseconds(&server) - ran_before);
    assert!(ran < IDLE / 20, "the acceptor has worked for {ran:?} in {IDLE:?}");
    for _ in 0..5 {
        world.fetch(&["file"]).expect_code(0);
        world.assert_output("file", &bytes);
    }
    std::fs::write(world.root().join("go-on"), "").unwrap();
    let outcome = locker.finish().expect_code(0);
    assert_eq!(outcome.stdout_text(), "30000\n");
    assert_eq!(world.status()["misbehaved_total"], 0);
    world.finish();
}
