//! Two servers between the opening of a gate and its lock (the lock and unlink race of the kernel facts; row Q9).

use shmeld_os::posix::mqueue::{Access, MessageQueue};

use crate::processes::Program;
use crate::world::{World, eventually, has_or_skip};

/// With a delay at one system call. The tracer is nobody's child, so that the program stays ours.
fn delayed(program: Program, trace: &str, inject: &str) -> Program {
    let inject = format!("inject={inject}");
    let calls = "trace=open,openat,fcntl,mq_open";
    program.wrapped(&[
        "strace", "-D", "-f", "-qq", "-o", trace, "-e", calls, "-e", &inject,
    ])
}

/// A server opens the gate; before it locks it, the owner ends and removes it, and a third server makes and locks a new one. The lock on
/// the old gate then comes easily and is worth nothing: whoever believed in it would take the third server's queue away before that has
/// its lease.
#[test]
fn lock_on_a_gate_that_lost_its_name_is_worth_nothing() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("old-gate");
    let bytes = world.put_random("file", 5000);
    let first = world.start_server();
    let slow = delayed(world.server(), "slow", "fcntl:delay_enter=4000000:when=1").start();
    let trace = world.root().join("slow");
    eventually("the second server has opened the gate", || {
        std::fs::read_to_string(&trace).is_ok_and(|trace| trace.contains(".gate"))
    });
    first.signal("TERM");
    first.finish().expect_code(0);
    let third = delayed(world.server(), "third", "mq_open:delay_exit=8000000:when=2").start();
    eventually("the third server has made its queue", || {
        MessageQueue::open(&world.queue_name(), Access::Send).is_ok()
    });
    slow.finish().expect_code(3).expect_said("already running");
    third.wait_for_stderr("serving");
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// The acceptor had no memory for a session's thread, and none for the page in which it would have said so; the next request of the same
/// client got its thread. The first attempt had told that its thread was over, and the acceptor waited for the second one's end, which
/// waited for the acceptor: the server hung for ever. (Review of the change that made a thread tell of its end however it ends.)
#[test]
fn session_that_cannot_be_started_is_not_mistaken_for_the_next_one() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("stale-bell");
    let names: Vec<String> = (0..6).map(|number| format!("file-{number}")).collect();
    for name in &names {
        world.put_random(name, 20_000);
    }
    let bytes = world.put_random("after", 5000);
    let server = world.start_server();
    server.signal("STOP");
    let client = world
        .client()
        .args(&names)
        .arg("-o")
        .arg(world.output(""))
        .start();
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    eventually("all requests are in the queue", || {
        queue.attributes().unwrap().messages == names.len()
    });
    let pid = server.pid().to_string();
    // The stack of the first session's thread, and the map for the refusal.
    let strace = world
        .tool("strace")
        .args(["-f", "-qq", "-o", "maps", "-p", &pid, "-e", "trace=mmap"])
        .args(["-e", "inject=mmap:error=ENOMEM:when=1..2"])
        .start();
    eventually("strace is attached", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        !status.contains("TracerPid:\t0")
    });
    server.signal("CONT");
    // What it gets is its own affair; what matters is who comes after it.
    let _ = client.finish();
    world.fetch(&["after"]).expect_code(0);
    world.assert_output("after", &bytes);
    server.signal("TERM");
    server.finish().expect_code(0);
    let _ = strace.finish();
    world.finish();
}
