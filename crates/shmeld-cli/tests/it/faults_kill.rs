//! Clients and servers killed at each named step of their work, by strace, which does not execute the call (rows C1, C2 and C3 of the
//! fault catalogue; `cargo xtask chaos` does the same at every call).

use std::collections::HashMap;
use std::time::Duration;

use shmeld_os::posix::mqueue::{Access, MessageQueue};

use crate::content;
use crate::midway::MIB;
use crate::processes::{Program, Running, send_signal};
use crate::raw_region::{assert_served, count};
use crate::world::{World, eventually, has_or_skip};

/// A named moment in a trace: the call, something in its line, and how many such lines come before it.
type Step = (&'static str, &'static str, &'static str, usize);

/// `strace` that writes down all calls of these names.
fn traced(program: Program, calls: &[&str]) -> Program {
    let trace = format!("trace={}", calls.join(","));
    program.wrapped(&["strace", "-f", "-qq", "-s", "100", "-o", "trace", "-e", &trace])
}

/// `strace` that kills at a call. Which one: counted in a trace, for the thread that made it.
fn killed_at(program: Program, trace: &str, step: &Step) -> Program {
    let (what, call, mark, skip) = *step;
    let mut counts = HashMap::new();
    let mut passed = 0;
    let opening = format!("{call}(");
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        if !rest.trim_start().starts_with(&opening) {
            continue;
        }
        let number = counts.entry(thread).or_insert(0);
        *number += 1;
        if rest.contains(mark) {
            if passed == skip {
                let inject = format!("inject={call}:signal=KILL:when={number}");
                let trace = format!("trace={call}");
                return program
                    .wrapped(&["strace", "-f", "-qq", "-o", "killed", "-e", &trace, "-e", &inject]);
            }
            passed += 1;
        }
    }
    panic!("{what}: no {call} with {mark:?} in\n{trace}");
}

const CLIENT_CALLS: [&str; 11] = [
    "mq_open",
    "open",
    "openat",
    "fallocate",
    "fcntl",
    "linkat",
    "mq_timedsend",
    "unlinkat",
    "pwrite64",
    "fchmod",
    "renameat",
];

const CLIENT_STEPS: [Step; 12] = [
    ("connect", "mq_open", "", 0),
    ("create", "open", "O_TMPFILE", 0),
    ("reserve", "fallocate", "", 0),
    ("lease", "fcntl", "F_OFD_SETLK", 0),
    ("link", "linkat", "shmeld.", 0),
    ("named", "open", "/dev/shm/shmeld.", 0),
    ("send", "mq_timedsend", "", 0),
    ("attached", "unlinkat", "/dev/shm/shmeld.", 0),
    ("create the output", "openat", "O_TMPFILE", 0),
    ("the first chunk", "pwrite64", "", 0),
    ("a chunk", "pwrite64", "", 2),
    ("name the output", "linkat", "\"file\"", 0),
];

/// C1. What is left of the client is its name in /dev/shm at most, and that goes with the next start.
#[test]
fn client_killed_at_a_step_leaves_nothing_of_its_work() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("client-steps");
    let bytes = world.put_random("file", MIB as usize);
    let mut server = world.start_server();
    let client = || world.client().arg("file").arg("-o").arg(world.output(""));
    traced(client(), &CLIENT_CALLS).run().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    std::fs::remove_file(world.output("file")).unwrap();
    for step in &CLIENT_STEPS {
        let outcome = killed_at(client(), &trace, step).run();
        assert_eq!(
            outcome.code, None,
            "{}: it was not killed\n{}",
            step.0, outcome.stderr
        );
        world.assert_no_output();
        eventually(step.0, || count(&world, "sessions") == 1);
        assert_served(&world, "file", &bytes);
        // The next start comes at once: tests beside this one look for regions that nobody removes.
        server.signal("TERM");
        server.finish().expect_code(0);
        server = world.start_server();
    }
    // CLOSE: everything is done by then.
    let close = ("close", "mq_timedsend", "", 1);
    assert_eq!(killed_at(client(), &trace, &close).run().code, None);
    world.assert_output("file", &bytes);
    eventually("the session has ended", || count(&world, "sessions") == 1);
    assert_eq!(count(&world, "died_total"), 1, "it never said CLOSE");
    world.finish();
}

/// C1 where a file is replaced: it is there as it was, until the new one is whole.
#[test]
fn client_killed_before_it_replaces_a_file_leaves_the_old_one() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("replace-steps");
    let bytes = world.put_random("file", MIB as usize);
    let _server = world.start_server();
    let client = || world.client().arg("file").arg("-o").arg(world.output(""));
    let old = b"what was there";
    std::fs::write(world.output("file"), old).unwrap();
    let calls = ["linkat", "renameat", "renameat2", "pwrite64", "openat"];
    traced(client(), &calls).run().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let rename = if trace.contains("renameat2(") {
        "renameat2"
    } else {
        "renameat"
    };
    for step in [("write", "pwrite64", "", 1), ("rename", rename, "", 0)] {
        std::fs::write(world.output("file"), old).unwrap();
        assert_eq!(killed_at(client(), &trace, &step).run().code, None, "{}", step.0);
        world.assert_output("file", old);
        // The temporary beside it has the name that the next one removes or a user recognises.
        for name in content::names_below(&world.output("")) {
            let name = content::base(&name);
            assert!(name == "file" || name.starts_with(".file.shmeld-"), "{name}");
            if name != "file" {
                std::fs::remove_file(world.output(&name)).unwrap();
            }
        }
    }
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

const SERVER_CALLS: [&str; 8] = [
    "open",
    "fcntl",
    "mq_open",
    "fchmod",
    "mq_timedreceive",
    "openat2",
    "mq_unlink",
    "unlinkat",
];

const SERVER_STEPS: [Step; 8] = [
    ("create the gate", "open", "O_CREAT", 0),
    ("lock the gate", "fcntl", "F_WRLCK", 0),
    ("look for an old queue", "mq_open", "O_RDWR", 0),
    ("create the queue", "mq_open", "O_CREAT", 0),
    ("set its mode", "fchmod", "", 1),
    ("lease the queue", "fcntl", "F_OFD_SETLK, {l_type=F_RDLCK", 0),
    ("take the request", "mq_timedreceive", "", 0),
    ("open the file", "openat2", "\"file\"", 0),
];

/// What a client may end with when its server was killed and another one started.
#[track_caller]
fn assert_told_or_served(world: &World, step: &str, client: &Running, bytes: &[u8]) {
    let outcome = client.finish();
    match outcome.code {
        Some(0) => {
            world.assert_output("file", bytes);
            std::fs::remove_file(world.output("file")).unwrap();
        }
        Some(4) => assert!(outcome.stderr.contains("died"), "{step}\n{}", outcome.stderr),
        code => panic!("{step}: {code:?}\n{}", outcome.stderr),
    }
    world.assert_no_output();
}

/// C2. The client that waits is told that its server died, or is served by the next one, which needs no help.
#[test]
fn server_killed_at_a_step_is_replaced_without_help() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("server-steps");
    let bytes = world.put_random("file", MIB as usize);
    let client = || {
        world
            .client()
            .args(["--wait", "40s", "file", "-o"])
            .arg(world.output("file"))
    };
    let server = traced(world.server(), &SERVER_CALLS).start();
    server.wait_for_stderr("serving");
    client().run().expect_code(0);
    std::fs::remove_file(world.output("file")).unwrap();
    end_traced(&world, &server);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    for step in &SERVER_STEPS {
        let waiting = client().start();
        let server = killed_at(world.server(), &trace, step).start();
        eventually(step.0, || !server.is_running());
        assert_eq!(server.finish().code, None, "{}", step.0);
        let next = world.start_server();
        assert_told_or_served(&world, step.0, &waiting, &bytes);
        assert_served(&world, "file", &bytes);
        next.signal("TERM");
        next.finish().expect_code(0);
    }
    // At its end: the queue, then the gate.
    for step in [
        ("remove the queue", "mq_unlink", "", 0),
        ("remove the gate", "unlinkat", ".gate", 0),
    ] {
        let server = killed_at(world.server(), &trace, &step).start();
        server.wait_for_stderr("serving");
        signal_traced(&server);
        eventually(step.0, || !server.is_running());
        // What it left the next start finds, of this server or of any other that runs here.
        let next = world.start_server();
        assert_served(&world, "file", &bytes);
        next.signal("TERM");
        next.finish().expect_code(0);
    }
    world.finish();
}

/// The program under strace is its only child.
fn signal_traced(strace: &Running) {
    let pid = strace.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child = children.split_whitespace().next().unwrap().parse().unwrap();
    send_signal(child, "TERM");
}

#[track_caller]
fn end_traced(world: &World, server: &Running) {
    signal_traced(server);
    server.finish().expect_code(0);
    let queue = MessageQueue::open(&world.queue_name(), Access::Send);
    assert!(queue.is_err(), "it removed its queue");
}

/// C3. Both are killed at the same step of theirs, again and again; then one start finds all that is left.
#[test]
fn both_killed_at_their_steps_leave_nothing_behind_the_next_start() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("both-steps");
    let bytes = world.put_random("file", MIB as usize);
    let client = || {
        world
            .client()
            .args(["--wait", "40s", "file", "-o"])
            .arg(world.output(""))
    };
    let server = world.start_server();
    traced(client(), &CLIENT_CALLS).run().expect_code(0);
    std::fs::remove_file(world.output("file")).unwrap();
    server.signal("TERM");
    server.finish().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    for step in CLIENT_STEPS.iter().filter(|step| step.0 != "connect") {
        let server = world.start_server();
        let client = killed_at(client(), &trace, step).start();
        eventually(step.0, || !client.is_running());
        server.kill();
        std::thread::sleep(Duration::from_millis(10));
        world.assert_no_output();
    }
    let _next = world.start_server();
    assert_served(&world, "file", &bytes);
    world.finish();
}
