//! Rows Q8 to Q11 of the fault catalogue, as far as other tests do not make them happen: who may read a queue, what counts as a lease, a
//! queue that somebody else replaces, and a client that is there first.

use std::time::Instant;

use shmeld_os::fs::Stat;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName};

use crate::midway::{MIB, Trickle};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

fn mode_of(stat: Stat) -> u32 {
    stat.mode & 0o7777
}

/// The umask of whoever starts a server neither opens its objects to others, who could then take requests out of the queue, nor closes them
/// to itself. The same holds for a client's region.
#[test]
fn queue_gate_and_region_are_closed_to_others_under_every_umask() {
    let world = World::new("umasks");
    let bytes = world.put_random("file", MIB as usize);
    for umask in ["umask 000", "umask 022", "umask 777"] {
        let server = world.server().after(umask).start();
        server.wait_for_stderr("serving");
        let queue = MessageQueue::open(&world.queue_name(), Access::Both).unwrap();
        assert_eq!(mode_of(queue.stat().unwrap()), 0o600, "the queue, {umask}");
        let gate = SharedMemory::stat_name(&world.gate_name()).unwrap();
        assert_eq!(mode_of(gate), 0o600, "the gate, {umask}");
        let transfer = Trickle::start(world.client().arg("file").after(umask));
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", transfer.client.pid())).unwrap();
        let regions = descriptors.map(|entry| entry.unwrap().path()).filter(|path| {
            let target = std::fs::read_link(path).unwrap_or_default();
            target.to_string_lossy().starts_with("/dev/shm/")
        });
        let modes: Vec<u32> = regions.map(|path| crate::content::mode(&path)).collect();
        assert!(
            !modes.is_empty() && modes.iter().all(|mode| *mode == 0o600),
            "{modes:?}, {umask}"
        );
        let client = transfer.client.clone();
        assert!(transfer.finish() == bytes);
        client.finish().expect_code(0);
        server.signal("TERM");
        server.finish().expect_code(0);
    }
    world.finish();
}

/// Whoever may only send can take a write lock on the whole queue. That is no lease: a client does not believe it, and the next server
/// replaces such a queue as any other that a dead one left.
#[test]
fn lock_of_a_sender_is_no_sign_of_life() {
    let world = World::new("forged-lease");
    let bytes = world.put_random("file", 1000);
    let queue = MessageQueue::create_new(&world.queue_name(), 10, 1024, 0o622).unwrap();
    let sender = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    assert!(lease::try_take(&sender, Range::WHOLE, Kind::Write, "queue").unwrap());
    assert!(
        lease::try_take(&sender, Range::WHOLE, Kind::Read, "queue").is_err(),
        "nor another one"
    );
    let client = || world.client().arg("file").arg("-o").arg(world.output("file"));
    client()
        .args(["--wait", "0"])
        .run()
        .expect_code(3)
        .expect_said("not running");
    let waiting = client().start();
    waiting.wait_for_stderr("waiting for server");
    let _server = world.start_server();
    waiting.finish().expect_code(0);
    world.assert_output("file", &bytes);
    assert_eq!(queue.stat().unwrap().links, 0, "the old queue still has its name");
    world.finish();
}

/// Puts a queue of another user in the place of a server's, between two of the moments at which that server looks.
fn usurp(name: &ObjectName) -> MessageQueue {
    loop {
        // The second time it may be the one that the server has just made again.
        let _ = MessageQueue::unlink(name);
        match MessageQueue::create_new(name, 10, 1024, 0o666) {
            Ok(queue) => {
                queue.set_owner(Some(NOBODY), Some(NOBODY)).unwrap();
                return queue;
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A server whose queue was unlinked makes it again. If the name is another user's by then it may neither remove nor adopt what is there.
#[test]
fn server_whose_queue_was_replaced_by_another_user_ends_with_3_and_lets_its_sessions_finish() {
    let world = World::new("usurped");
    if !is_root_or_skip() {
        return;
    }
    let bytes = world.put_random("file", MIB as usize / 2);
    let server = world.start_server();
    let session = Trickle::start(world.client().arg("file"));
    let usurper = usurp(&world.queue_name());
    let client = session.client.clone();
    crate::content::assert_bytes("output", &session.finish(), &bytes);
    let outcome = server.finish().expect_code(3);
    outcome.expect_said(&format!("mq_open {}: it belongs to uid {NOBODY}", world.name()));
    client.finish().expect_code(0);
    assert_eq!(usurper.stat().unwrap().links, 1, "it was not ours to remove");
    let gate = SharedMemory::stat_name(&world.gate_name());
    assert!(
        gate.is_err_and(|error| error.kind() == ErrorKind::NotFound),
        "the gate is left"
    );
    MessageQueue::unlink(&world.queue_name()).unwrap();
    world.finish();
}

/// The same with a second server in the place of the usurper is the race for the gate, which the first one holds.
#[test]
fn server_cannot_be_replaced_by_unlinking_its_queue() {
    let world = World::new("still-mine");
    let bytes = world.put_random("file", 1000);
    let first = world.start_server();
    MessageQueue::unlink(&world.queue_name()).unwrap();
    let second = world.server().run().expect_code(3);
    second.expect_said("already running");
    let is_there = || MessageQueue::open(&world.queue_name(), Access::Send).is_ok();
    eventually("the queue is made again", is_there);
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    first.signal("TERM");
    first.finish().expect_code(0);
    world.finish();
}

/// A client that has all it wants says CLOSE. Where its queue was unlinked meanwhile nobody heard it: a server with `--once` ended with 4, "the
/// client died", though every byte had come.
#[test]
fn client_whose_queue_was_unlinked_says_close_where_the_server_hears_it() {
    let world = World::new("close-anew");
    let bytes = world.put_random("file", MIB as usize / 2);
    let server = world.server().arg("--once").start();
    server.wait_for_stderr("serving");
    let session = Trickle::start(world.client().arg("file"));
    MessageQueue::unlink(&world.queue_name()).unwrap();
    let client = session.client.clone();
    crate::content::assert_bytes("output", &session.finish(), &bytes);
    client.finish().expect_code(0);
    server.finish().expect_code(0);
    world.finish();
}

/// The moments, in seconds, at which `strace -ttt` saw a call.
fn moments(trace: &str, call: &str) -> Vec<f64> {
    let calls = trace.lines().filter(|line| line.contains(call));
    let moment = |line: &str| line.split_whitespace().nth(1)?.parse().ok();
    calls.filter_map(moment).collect()
}

/// A client that is there first looks again after 50 ms, then after twice as long each time up to a second: it neither burns a CPU nor
/// misses a server for long. It says once that it waits.
#[test]
fn client_without_a_server_looks_ever_more_rarely_and_gives_up_when_told() {
    let world = World::new("backoff");
    if !has_or_skip("strace") {
        return;
    }
    let strace = ["-ttt", "-e", "trace=mq_open"];
    let start = Instant::now();
    let client = world
        .client()
        .args(["--wait", "4s", "file", "-o"])
        .arg(world.output("file"));
    let outcome = client.traced("trace", &strace).run().expect_code(3);
    assert!(start.elapsed().as_secs_f64() >= 4.0);
    let outcome = outcome.expect_said("not running (waited 4.");
    assert_eq!(outcome.stderr.matches("waiting").count(), 1, "{}", outcome.stderr);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let moments = moments(&trace, "mq_open");
    let pauses: Vec<f64> = moments.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 0, 0.05, 0.15, 0.35, 0.75, 1.55, 2.55, 3.55 and 4 seconds; fewer on a machine that is busy with other things.
    assert!((4..=9).contains(&moments.len()), "{pauses:?}");
    let expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0];
    let too_short = pauses
        .iter()
        .zip(expected)
        .find(|(pause, least)| **pause < least * 0.98);
    assert!(too_short.is_none(), "{pauses:?}");
    world.finish();
}
