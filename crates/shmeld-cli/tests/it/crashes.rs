//! Processes that are killed at the worst moment: the other side notices, the next one works without help,
//! and nothing is left of the dead.

use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName};

use crate::content;
use crate::midway::{MIB, SOON, assert_same, put_large, wait_until_written};
use crate::processes::Running;
use crate::world::{World, eventually};

const LARGE_MEBIBYTES: u64 = 256;

/// Waits until the server has noticed that so many clients died, and has nobody attached but who asks.
#[track_caller]
fn assert_deaths_noticed(world: &World, deaths: u64) {
    let start = Instant::now();
    eventually("the server notices a death", || {
        let status = world.status();
        status["died_total"] == deaths && status["sessions"] == 1
    });
    let elapsed = start.elapsed();
    assert!(elapsed < SOON, "noticed after {elapsed:?}");
}

#[track_caller]
fn assert_served(world: &World, name: &str, bytes: &[u8]) {
    let output = world.output(name);
    world
        .client()
        .arg("-o")
        .arg(&output)
        .arg(name)
        .run()
        .expect_code(0);
    world.assert_output(name, bytes);
    std::fs::remove_file(output).unwrap();
}

/// The whole life of a client that fetches `large` and is killed when it has written `bytes` of it.
#[track_caller]
fn kill_client_at(world: &World, region: &str, bytes: u64) {
    let client = world
        .client()
        .args(["--region", region, "-o"])
        .arg(world.output("large"));
    let client = client.arg("large").start();
    wait_until_written(&client, bytes);
    client.kill();
}

#[test]
fn client_killed_in_the_middle_is_noticed_and_leaves_nothing() {
    let world = World::new("killed-client");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let small = world.put_random("small", 10_000);
    let _server = world.start_server();
    let moments = [
        ("4096", 1),
        ("4096", 10 * MIB),
        ("64K", 100 * MIB),
        ("1M", 1),
        ("16M", 50 * MIB),
    ];
    for (deaths, (region, bytes)) in (1..).zip(moments) {
        kill_client_at(&world, region, bytes);
        assert_deaths_noticed(&world, deaths);
        world.assert_no_output();
        assert_served(&world, "small", &small);
    }
    world.finish();
}

#[test]
fn killed_client_leaves_the_file_that_was_there_before() {
    let world = World::new("killed-over");
    let large = put_large(&world, "large", LARGE_MEBIBYTES);
    std::fs::write(world.output("large"), "what was there").unwrap();
    let server = world.start_server();
    kill_client_at(&world, "4096", 30 * MIB);
    world.assert_output("large", b"what was there");
    let client = world.fetching("large");
    wait_until_written(&client, MIB);
    server.kill();
    assert_death_told(&client, Instant::now());
    world.assert_output("large", b"what was there");
    assert_eq!(content::names_below(&world.output("")).len(), 1);
    let _next = world.start_server();
    world.fetch(&["large"]).expect_code(0);
    assert_same(&world.output("large"), &large);
    world.finish();
}

/// A client that is killed after it gave its region a name and before it sent the request is the only one
/// that leaves something: the next server removes it.
#[test]
fn client_killed_at_any_moment_of_its_start_leaves_nothing_that_the_next_start_does_not_remove() {
    let world = World::new("killed-early");
    let small = world.put_random("small", 10_000);
    let server = world.start_server();
    for delay_micros in (0..40).map(|step| step * 150) {
        let client = world.fetching("small");
        std::thread::sleep(Duration::from_micros(delay_micros));
        client.kill();
        // It may have been done already.
        let _ = std::fs::remove_file(world.output("small"));
    }
    eventually("the server has forgotten them all", || {
        world.status()["sessions"] == 1
    });
    assert_served(&world, "small", &small);
    server.signal("TERM");
    server.finish().expect_code(0);
    let _next = world.start_server();
    assert_served(&world, "small", &small);
    world.finish();
}

/// The client must say so within a second or so, and with the right words and code.
#[track_caller]
fn assert_death_told(client: &Running, killed: Instant) {
    let outcome = client.finish().expect_code(4).expect_said("died");
    let elapsed = killed.elapsed();
    assert!(elapsed < SOON, "told after {elapsed:?}\n{}", outcome.stderr);
    // It once said this and not what that cost, nor what to do.
    outcome
        .expect_said("shm_client: get large: broke off after ")
        .expect_said("hint: start it again and repeat what was asked; a transfer with --resume keeps");
}

#[test]
fn server_killed_in_the_middle_is_noticed_and_the_next_one_needs_no_help() {
    let world = World::new("killed-server");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let small = world.put_random("small", 10_000);
    for (region, bytes) in [("4096", 1), ("4096", 50 * MIB), ("1M", 20 * MIB)] {
        let server = world.start_server();
        let client = world
            .client()
            .args(["--region", region, "-o"])
            .arg(world.output(""));
        let client = client.args(["large", "small"]).start();
        wait_until_written(&client, bytes);
        server.kill();
        assert_death_told(&client, Instant::now());
        world.assert_no_output();
        let next = world.start_server();
        assert_served(&world, "small", &small);
        next.signal("TERM");
        next.finish().expect_code(0);
    }
    world.finish();
}

#[test]
fn clients_of_a_killed_server_all_notice_even_if_they_wait_for_a_place() {
    let world = World::new("killed-many");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let server = world.server().args(["--max-sessions", "2"]).start();
    server.wait_for_stderr("serving");
    let client = |name: &str| {
        let client = world
            .client()
            .args(["--wait", "3s", "-o"])
            .arg(world.output(name));
        client.arg("large").start()
    };
    let attached = [client("one"), client("two")];
    attached.iter().for_each(|client| wait_until_written(client, 1));
    let waiting = client("three");
    server.kill();
    let killed = Instant::now();
    attached
        .iter()
        .for_each(|client| assert_death_told(client, killed));
    // It has no session that could die: for it there is no server any more.
    let code = waiting.finish().code;
    assert!(code == Some(3) || code == Some(4), "{code:?}");
    world.assert_no_output();
    let _next = world.start_server();
    world.finish();
}

#[test]
fn both_killed_the_next_start_removes_what_they_left() {
    let world = World::new("killed-both");
    put_large(&world, "large", LARGE_MEBIBYTES);
    let small = world.put_random("small", 10_000);
    for round in 0..4 {
        let server = world.start_server();
        let client = world.fetching("large");
        if round > 0 {
            wait_until_written(&client, round * 10 * MIB);
        }
        server.kill();
        client.kill();
        // In the first round it may have been killed before it had made anything, or while it was waiting.
        world.assert_no_output();
    }
    let _next = world.start_server();
    assert_served(&world, "small", &small);
    world.finish();
}

fn is_gone<T>(found: shmeld_os::Result<T>) -> bool {
    found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[test]
fn server_of_another_name_removes_what_a_killed_one_left() {
    let (dead, living) = (World::new("swept"), World::new("sweeper"));
    let server = dead.start_server();
    server.kill();
    let _sweeper = living.start_server();
    assert!(
        is_gone(MessageQueue::open(&dead.queue_name(), Access::Send)),
        "its queue is left"
    );
    assert!(
        is_gone(SharedMemory::stat_name(&dead.gate_name())),
        "its gate is left"
    );
    dead.finish();
    living.finish();
}

/// The process that `shmeld cp` started to serve it, and the name it serves under.
fn private_server(copy: &Running) -> Option<(u32, String)> {
    let pid = copy.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let server: u32 = children.split_whitespace().next()?.parse().ok()?;
    let words = std::fs::read_to_string(format!("/proc/{server}/cmdline")).ok()?;
    let name = words.split('\0').skip_while(|word| *word != "--name").nth(1)?;
    Some((server, name.to_owned()))
}

#[test]
fn copy_killed_in_the_middle_takes_its_server_along() {
    let world = World::new("killed-cp");
    let large = put_large(&world, "large", LARGE_MEBIBYTES);
    for bytes in [1, 20 * MIB] {
        let copy = world.shmeld("cp").arg(&large).arg(world.output("large")).start();
        wait_until_written(&copy, bytes);
        let (server, name) = private_server(&copy).expect("a child that serves");
        copy.kill();
        let gone = || !std::path::Path::new(&format!("/proc/{server}")).exists();
        let killed = Instant::now();
        eventually("the private server ends", gone);
        let elapsed = killed.elapsed();
        assert!(
            elapsed < SOON + Duration::from_secs(5),
            "the server ended after {elapsed:?}"
        );
        let queue = ObjectName::new(&name).unwrap();
        let gate = ObjectName::new(&format!("/shmeld.{}.gate", &name[1..])).unwrap();
        assert!(
            is_gone(MessageQueue::open(&queue, Access::Send)),
            "the queue {name} is left"
        );
        assert!(is_gone(SharedMemory::stat_name(&gate)), "the gate {gate} is left");
        world.assert_no_output();
    }
    world.finish();
}

/// Of many servers started at once one wins and the others say why they end.
fn race(world: &World) -> Running {
    let servers: Vec<Running> = (0..20).map(|_| world.server().start()).collect();
    eventually("all but one have ended", || {
        servers.iter().filter(|server| server.is_running()).count() <= 1
    });
    let (winners, losers): (Vec<_>, Vec<_>) = servers.into_iter().partition(|server| server.is_running());
    for loser in losers {
        loser.finish().expect_code(3).expect_said("already running");
    }
    assert_eq!(winners.len(), 1, "nobody won");
    winners[0].wait_for_stderr("serving");
    winners[0].clone()
}

#[test]
fn of_twenty_servers_started_at_once_exactly_one_wins() {
    let world = World::new("race");
    let small = world.put_random("small", 1000);
    for round in 0..10 {
        let winner = race(&world);
        assert_served(&world, "small", &small);
        if round % 2 == 0 {
            // The next twenty find the queue and the gate of a dead server.
            winner.kill();
        } else {
            winner.signal("TERM");
            winner.finish().expect_code(0);
        }
    }
    let _last = race(&world);
    world.finish();
}
