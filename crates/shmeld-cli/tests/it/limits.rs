//! What a machine, an administrator or another user may refuse: each has its message, with the object, the
//! limit and the cure, and its exit code, and nothing is left behind.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use shmeld_os::lease;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::midway::{MIB, Trickle};
use crate::outcome::Outcome;
use crate::world::{NOBODY, World, can_unshare_or_skip, has_or_skip, is_root_or_skip};

/// The error and, on the next line, its cure.
#[track_caller]
fn expect_refusal(outcome: Outcome, said: &[&str], cure: &[&str]) {
    let outcome = outcome.expect_code(3);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let refusal = lines
        .iter()
        .position(|line| said.iter().all(|text| line.contains(text)));
    let refusal = refusal.unwrap_or_else(|| panic!("no line with {said:?} in\n{}", outcome.stderr));
    let hint = lines.get(refusal + 1).copied().unwrap_or_default();
    let cures = hint.starts_with("hint: ") && cure.iter().all(|text| hint.contains(text));
    assert!(cures, "no cure with {cure:?} in\n{}", outcome.stderr);
}

#[test]
fn second_server_on_one_name_is_refused_and_the_first_goes_on() {
    let world = World::new("second");
    let bytes = world.put_random("file", 1000);
    let _server = world.start_server();
    for _ in 0..3 {
        let said = [world.name(), "already running"];
        expect_refusal(world.server().run(), &said, &["--name"]);
    }
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// Root has no privilege here: the limit counts for everybody.
#[test]
fn server_without_message_queue_bytes_names_the_limit_and_the_cure() {
    let world = World::new("msgqueue");
    if !has_or_skip("prlimit") {
        return;
    }
    let limit = ["prlimit", "--msgqueue=0", "--"];
    let said = ["mq_open", world.name(), "EMFILE"];
    let cure = ["RLIMIT_MSGQUEUE", "now 0 bytes", "ulimit -q"];
    expect_refusal(world.server().wrapped(&limit).run(), &said, &cure);
    if is_root_or_skip() && has_or_skip("setpriv") {
        expect_refusal(world.server().as_user(NOBODY).wrapped(&limit).run(), &said, &cure);
    }
    // The gate that it had taken is gone: the next one can start.
    let server = world.start_server();
    server.signal("TERM");
    server.finish().expect_code(0);
    world.finish();
}

/// A /dev/shm of its own for the process that it starts, and `script` run there before.
fn with_own_shared_memory(program: crate::processes::Program, size: &str, script: &str) -> Outcome {
    let script = format!("mount -t tmpfs -o size={size} none /dev/shm{script}");
    program.after(&script).wrapped(&["unshare", "--mount"]).run()
}

#[test]
fn client_in_a_full_shared_memory_says_how_much_it_needs_and_how_much_is_free() {
    let world = World::new("full-shm");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    world.put_random("file", 1000);
    let _server = world.start_server();
    let client = || world.client().arg("-o").arg(world.output("file")).arg("file");
    let outcome = with_own_shared_memory(client().args(["--region", "1M"]), "64k", "");
    let said = ["/dev/shm", "1048576 bytes needed", "65536 free", "ENOSPC"];
    expect_refusal(outcome, &said, &["remount", "--shm-size"]);
    let fill = " && head -c 8192 /dev/zero >/dev/shm/fill";
    let outcome = with_own_shared_memory(client(), "8k", fill);
    expect_refusal(
        outcome,
        &["/dev/shm", "4096 bytes needed", "0 free"],
        &["remount"],
    );
    world.assert_no_output();
    world.finish();
}

#[test]
fn name_whose_queue_belongs_to_another_user_is_refused_by_both_sides() {
    let world = World::new("foreign-queue");
    if !is_root_or_skip() {
        return;
    }
    let queue = MessageQueue::create_new(&world.queue_name(), 10, 1024, 0o666).unwrap();
    queue.set_owner(Some(NOBODY), Some(NOBODY)).unwrap();
    let uid = format!("uid {NOBODY}");
    let said = ["mq_open", world.name(), &uid];
    expect_refusal(world.server().run(), &said, &["--name"]);
    let client = world.client().args(["--wait", "0", "-o", "output", "file"]);
    expect_refusal(client.run(), &said, &["--name"]);
    // It was not ours to remove.
    assert_eq!(queue.stat().unwrap().links, 1);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    world.finish();
}

#[test]
fn queue_of_root_stops_the_server_of_another_user() {
    let world = World::new("queue-of-root");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let queue = MessageQueue::create_new(&world.queue_name(), 10, 1024, 0o600).unwrap();
    let outcome = world.server().as_user(NOBODY).run();
    expect_refusal(outcome, &["mq_open", world.name(), "another user"], &["--name"]);
    assert_eq!(queue.stat().unwrap().links, 1);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    world.finish();
}

#[test]
fn gate_squatted_by_another_user_is_refused_and_its_owner_named() {
    let world = World::new("foreign-gate");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let gate = world.gate_name();
    let path = PathBuf::from("/dev/shm").join(gate.as_str().trim_start_matches('/'));
    let memory = SharedMemory::create_new(&gate, 0o600).unwrap();
    // Locked, or the servers of other tests take it for one of theirs whose server died, and remove it.
    assert!(lease::try_take(memory.as_file(), lease::Range::WHOLE, lease::Kind::Write, "gate").unwrap());
    // Root's gate in the way of nobody's server, then the other way round.
    let outcome = world.server().as_user(NOBODY).run();
    expect_refusal(outcome, &["shm_open", &gate.to_string(), "uid 0"], &["--name"]);
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let uid = format!("uid {NOBODY}");
    expect_refusal(
        world.server().run(),
        &["shm_open", &gate.to_string(), &uid],
        &["--name"],
    );
    assert_eq!(memory.stat().unwrap().links, 1, "it was not ours to remove");
    SharedMemory::unlink(&gate).unwrap();
    world.finish();
}

#[test]
fn server_of_another_user_serves_nobody_else_and_touches_no_region_of_theirs() {
    let world = World::new("other-user");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    world.put_random("file", 1000);
    let server = world.server().as_user(NOBODY).start();
    server.wait_for_stderr("serving");
    let client = || {
        world
            .client()
            .args(["--wait", "1s", "-o"])
            .arg(world.output("file"))
            .arg("file")
    };
    let uid = format!("uid {NOBODY}");
    expect_refusal(client().run(), &["mq_open", &uid], &[]);
    // The same user is served.
    content::set_mode(&world.output(""), 0o777);
    let outcome = client().as_user(NOBODY).run().expect_code(0);
    assert!(world.output("file").exists(), "{}", outcome.stderr);
    world.finish();
}

#[test]
fn region_beyond_the_servers_maximum_is_refused_with_the_reason() {
    let world = World::new("region-max");
    let bytes = world.put_random("file", 100_000);
    let server = world.server().args(["--region-max", "64K"]).start();
    server.wait_for_stderr("serving");
    let client = |region: &str| {
        let client = world
            .client()
            .args(["--region", region, "-o"])
            .arg(world.output("file"));
        client.arg("file").run()
    };
    client("64K").expect_code(0);
    world.assert_output("file", &bytes);
    expect_refusal(
        client("68K"),
        &[world.name(), "BAD_REGION"],
        &["--region", "--region-max"],
    );
    expect_refusal(
        client("64M"),
        &[world.name(), "BAD_REGION"],
        &["--region", "--region-max"],
    );
    world.finish();
}

#[test]
fn client_beyond_the_maximum_of_sessions_waits_for_a_place() {
    let world = World::new("sessions");
    let bytes = world.put_random("file", 2 * MIB as usize);
    let small = world.put_random("small", 10_000);
    let server = world.server().args(["--max-sessions", "1"]).start();
    server.wait_for_stderr("serving");
    let first = Trickle::start(world.client().arg("file"));
    // Whoever will not wait is told so.
    let impatient = world
        .client()
        .args(["--wait", "0", "-o", "output", "small"])
        .run();
    expect_refusal(impatient, &[world.name(), "BUSY"], &["--max-sessions"]);
    let patient = world.fetching("small");
    std::thread::sleep(Duration::from_secs(1));
    assert!(patient.is_running(), "{}", patient.stderr());
    let client = first.client.clone();
    content::assert_bytes("the first client's output", &first.finish(), &bytes);
    client.finish().expect_code(0);
    patient.finish().expect_code(0);
    world.assert_output("small", &small);
    world.finish();
}

/// Twenty clients share three places; the clients ask again until there is room.
#[test]
fn many_clients_share_few_places() {
    let world = World::new("places");
    let bytes = world.put_random("file", 500_000);
    let server = world.server().args(["--max-sessions", "3"]).start();
    server.wait_for_stderr("serving");
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let output = world.output(&number.to_string());
            world
                .client()
                .args(["--wait", "60s", "-o"])
                .arg(output)
                .arg("file")
                .start()
        })
        .collect();
    for (number, client) in clients.iter().enumerate() {
        client.finish().expect_code(0);
        world.assert_output(&number.to_string(), &bytes);
    }
    world.finish();
}

/// A client that stopped for ever holds its place only until somebody else needs it.
#[test]
fn stalled_client_loses_its_place_if_another_needs_it() {
    let world = World::new("evicted");
    world.put_random("file", 50 * MIB as usize);
    let small = world.put_random("small", 10_000);
    let server = world.server().args(["--max-sessions", "1"]).start();
    server.wait_for_stderr("serving");
    let stalled = Trickle::start(world.client().arg("file"));
    stalled.client.signal("STOP");
    world.fetch(&["small"]).expect_code(0);
    world.assert_output("small", &small);
    let client = stalled.client.clone();
    client.signal("CONT");
    stalled.finish();
    client.finish().expect_code(4).expect_said("STALLED");
    world.finish();
}

/// Server and client once panicked when the disk under their log was full, the client after a whole transfer.
#[test]
fn log_that_cannot_be_written_costs_messages_and_nothing_else() {
    let world = World::new("full-log");
    let bytes = world.put_random("file", 100_000);
    let server = world.server().after("exec 2>/dev/full").start();
    let status = world
        .shmeld("status")
        .args(["--wait", "20s", "--name", world.name()]);
    status.run().expect_code(0);
    let client = world.client().arg("-o").arg(world.output("file"));
    client
        .args(["file"])
        .after("exec 2>/dev/full")
        .run()
        .expect_code(0);
    world.assert_output("file", &bytes);
    let missing = world.client().args(["-o", "output/", "file", "nope"]);
    missing.after("exec 2>/dev/full").run().expect_code(1);
    server.signal("TERM");
    server.finish().expect_code(0);
    world.finish();
}

/// `shmeld ls` once ended with 0 although nothing of its list had been written.
#[test]
fn list_and_status_that_cannot_be_written_are_no_success() {
    let world = World::new("full-stdout");
    world.put_random("file", 1000);
    let _server = world.start_server();
    for command in ["ls", "status"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let outcome = world
            .shmeld(command)
            .args(["--name", world.name()])
            .stdout(full)
            .run();
        assert!(
            matches!(outcome.code, Some(1..=4)),
            "{command}: {:?}",
            outcome.code
        );
        outcome.expect_said("space");
    }
    world.finish();
}
