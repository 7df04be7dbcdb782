//! Processes that are stopped, continued, interrupted or asked to end in the middle of their work, and a
//! queue that loses its name under a server.

use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, lease};

use crate::content;
use crate::midway::{MIB, SOON, Trickle, assert_same, put_large, wait_until_written};
use crate::world::{World, eventually};

/// Long enough for everything that looks at leases, slices and ticks to have looked more than once.
const STOPPED: Duration = Duration::from_secs(2);
const LARGE_MEBIBYTES: u64 = 256;

#[test]
fn stopped_client_hurts_nobody_and_completes_once_it_goes_on() {
    let world = World::new("stopped-client");
    let large = put_large(&world, "large", LARGE_MEBIBYTES);
    let small = world.put_random("small", 100_000);
    let _server = world.start_server();
    let client = world.fetching("large");
    wait_until_written(&client, MIB);
    client.signal("STOP");
    let stopped = Instant::now();
    for number in 0..5 {
        let output = world.output(&format!("small-{number}"));
        world
            .client()
            .arg("-o")
            .arg(&output)
            .arg("small")
            .run()
            .expect_code(0);
        content::assert_file(&output, &small);
    }
    std::thread::sleep(STOPPED.saturating_sub(stopped.elapsed()));
    let status = world.status();
    assert_eq!(
        (&status["died_total"], &status["sessions"]),
        (&0.into(), &2.into())
    );
    client.signal("CONT");
    client.finish().expect_code(0);
    assert_same(&world.output("large"), &large);
    world.finish();
}

#[test]
fn client_of_a_stopped_server_waits_and_completes_once_it_goes_on() {
    let world = World::new("stopped-server");
    let large = put_large(&world, "large", LARGE_MEBIBYTES);
    let server = world.start_server();
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--region", region, "-o"])
            .arg(world.output("large"));
        let client = client.arg("large").start();
        wait_until_written(&client, MIB);
        server.signal("STOP");
        std::thread::sleep(STOPPED);
        let still_waits = client.is_running();
        server.signal("CONT");
        assert!(still_waits, "{}", client.stderr());
        client.finish().expect_code(0);
        assert_same(&world.output("large"), &large);
    }
    world.finish();
}

/// The client believes the stopped server's lease and offers it a region; then that server is replaced.
#[test]
fn client_waiting_for_a_stopped_server_turns_to_the_one_that_replaces_it() {
    let world = World::new("replaced");
    let bytes = world.put_random("file", 100_000);
    let server = world.start_server();
    server.signal("STOP");
    let client = world.fetching("file");
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    eventually("the request is sent", || {
        queue.attributes().unwrap().messages == 1
    });
    drop(queue);
    server.kill();
    // Long enough to find out that nobody is there; not long enough to give up.
    std::thread::sleep(Duration::from_millis(600));
    assert!(client.is_running(), "{}", client.stderr());
    let _next = world.start_server();
    client.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

#[test]
fn request_of_a_killed_client_has_no_effect_on_a_server_that_slept() {
    let world = World::new("late-request");
    let bytes = world.put_random("file", 100_000);
    let server = world.start_server();
    server.signal("STOP");
    let client = world.fetching("file");
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    eventually("the request is sent", || {
        queue.attributes().unwrap().messages == 1
    });
    client.kill();
    server.signal("CONT");
    eventually("the request is taken", || {
        queue.attributes().unwrap().messages == 0
    });
    eventually("nobody is attached", || world.status()["sessions"] == 1);
    world.assert_no_output();
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    server.signal("TERM");
    server.finish().expect_code(0);
    // Should the region still have its name, this start removes it.
    let _next = world.start_server();
    world.finish();
}

/// Whether a live server listens on the queue that has the name now.
fn is_served(world: &World) -> bool {
    MessageQueue::open(&world.queue_name(), Access::Send).is_ok_and(|queue| {
        lease::probe(&queue, lease::Range::WHOLE, lease::Kind::Write, "queue")
            .is_ok_and(|held| held == Some(lease::Kind::Read))
    })
}

#[test]
fn queue_that_loses_its_name_is_made_again_and_no_session_suffers() {
    let world = World::new("unlinked");
    // Many more requests than may be under way at once, so that some go through the new queue.
    let names: Vec<String> = (0..40).map(|number| format!("part-{number}")).collect();
    let whole: Vec<u8> = names
        .iter()
        .flat_map(|name| world.put_random(name, 100_000))
        .collect();
    let small = world.put_random("small", 10_000);
    let _server = world.start_server();
    let session = Trickle::start(world.client().args(&names));
    for _ in 0..2 {
        MessageQueue::unlink(&world.queue_name()).unwrap();
        let unlinked = Instant::now();
        eventually("the queue is there again", || is_served(&world));
        let elapsed = unlinked.elapsed();
        assert!(elapsed < SOON, "made again after {elapsed:?}");
        world.fetch(&["small"]).expect_code(0);
        world.assert_output("small", &small);
    }
    let client = session.client.clone();
    content::assert_bytes("the live session's output", &session.finish(), &whole);
    client.finish().expect_code(0);
    world.finish();
}

#[test]
fn server_asked_to_end_removes_its_objects_and_exits_with_0() {
    let world = World::new("asked");
    for signal in ["TERM", "INT"] {
        let server = world.start_server();
        server.signal(signal);
        server.finish().expect_code(0);
        let gone = |error: shmeld_os::Error| error.kind() == ErrorKind::NotFound;
        assert!(MessageQueue::open(&world.queue_name(), Access::Send).is_err_and(gone));
        assert!(SharedMemory::stat_name(&world.gate_name()).is_err_and(gone));
    }
    world.finish();
}

#[test]
fn server_asked_to_end_lets_a_transfer_finish() {
    let world = World::new("graceful");
    for signal in ["TERM", "INT"] {
        let bytes = world.put_random("file", 3 * MIB as usize);
        let server = world.start_server();
        let transfer = Trickle::start(world.client().arg("file"));
        server.signal(signal);
        eventually("the queue is gone", || !is_served(&world));
        let client = transfer.client.clone();
        content::assert_bytes("output", &transfer.finish(), &bytes);
        server.finish().expect_code(0);
        // Its CLOSE finds no queue; everything was delivered all the same.
        client.finish().expect_code(0);
    }
    world.finish();
}

#[test]
fn server_asked_to_end_does_not_wait_for_ever() {
    let world = World::new("stuck");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let server = world.start_server();
    let client = world.fetching("large");
    wait_until_written(&client, MIB);
    client.signal("STOP");
    server.signal("TERM");
    let asked = Instant::now();
    server.finish().expect_code(0);
    let elapsed = asked.elapsed();
    assert!(elapsed < 2 * SOON, "it took {elapsed:?}");
    client.signal("CONT");
    client.finish().expect_code(4).expect_said("STOPPING");
    world.assert_no_output();
    world.finish();
}

#[test]
fn client_asked_to_end_says_so_with_its_code_and_leaves_nothing() {
    let world = World::new("interrupted");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let _server = world.start_server();
    for (signal, code, region) in [
        ("INT", 130, "4096"),
        ("TERM", 143, "4096"),
        ("HUP", 129, "4096"),
        ("INT", 130, "1M"),
    ] {
        let client = world
            .client()
            .args(["--region", region, "-o"])
            .arg(world.output("large"));
        let client = client.arg("large").start();
        wait_until_written(&client, MIB);
        client.signal(signal);
        client.finish().expect_code(code);
        world.assert_no_output();
    }
    eventually("all sessions have ended", || world.status()["sessions"] == 1);
    world.finish();
}

#[test]
fn client_asked_to_end_while_it_waits_for_a_server_ends() {
    let world = World::new("interrupted-early");
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let client = world.client().args(["-o", "output", "file"]).start();
        client.wait_for_stderr("waiting for server");
        client.signal(signal);
        client.finish().expect_code(code);
    }
    // And while it waits for a place in the queue of a server that does not look.
    let server = world.start_server();
    server.signal("STOP");
    let client = world.client().args(["-o", "output", "file"]).start();
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    eventually("the request is sent", || {
        queue.attributes().unwrap().messages == 1
    });
    client.signal("INT");
    client.finish().expect_code(130);
    server.signal("CONT");
    world.assert_no_output();
    world.finish();
}
