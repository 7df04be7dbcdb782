//! A server as a service: what its manager hears, and the unit file in packaging/systemd.

use std::collections::BTreeSet;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::process::Command;

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::process;

use crate::books;
use crate::content;
use crate::midway::{MIB, Trickle};
use crate::processes::PATIENCE;
use crate::world::{NOBODY, World, eventually, has_or_skip};

const UNIT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../packaging/systemd/shm_server@.service"
);

/// The manager's end, and the variable that leads there.
fn manager(world: &World, is_abstract: bool) -> (UnixDatagram, String) {
    let path = world.root().join("notify");
    let (address, name) = if is_abstract {
        let name = format!("{}-notify", world.name());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        (address, format!("@{name}"))
    } else {
        // That of the round before.
        let _ = std::fs::remove_file(&path);
        (
            SocketAddr::from_pathname(&path).unwrap(),
            path.to_str().unwrap().to_owned(),
        )
    };
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, format!("NOTIFY_SOCKET={name}"))
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let len = socket.recv(&mut buffer).expect("a message in time");
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

/// READY once clients can connect; after SIGTERM STOPPING, and a transfer that is under way is finished.
#[test]
fn manager_hears_that_a_server_serves_and_that_it_stops() {
    let world = World::new("notify");
    let bytes = world.put_random("file", 3 * MIB as usize);
    for is_abstract in [false, true] {
        let (socket, variable) = manager(&world, is_abstract);
        let server = world.server().arg("--quiet").wrapped(&["env", &variable]).start();
        let status = format!("serving {} as {}", world.source("").display(), world.name());
        let status = status.replace("/ as", " as");
        assert_eq!(heard(&socket), format!("READY=1\nSTATUS={status}"));
        let client = world
            .client()
            .args(["--wait", "0", "-o"])
            .arg(world.output("file"));
        client.arg("file").run().expect_code(0);
        world.assert_output("file", &bytes);
        let transfer = Trickle::start(world.client().arg("file"));
        server.signal("TERM");
        assert_eq!(heard(&socket), "STOPPING=1");
        let client = transfer.client.clone();
        content::assert_bytes("output", &transfer.finish(), &bytes);
        server.finish().expect_code(0).expect_silence();
        client.finish().expect_code(0);
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err(), "more than two messages");
    }
    world.finish();
}

#[test]
fn server_that_cannot_reach_its_manager_complains_and_serves() {
    let world = World::new("no-manager");
    let bytes = world.put_random("file", 1000);
    for (name, reason) in [("/nowhere/notify", "(ENOENT)"), ("vsock:2:1234", "(EOPNOTSUPP)")] {
        let variable = format!("NOTIFY_SOCKET={name}");
        let server = world.server().wrapped(&["env", &variable]).start();
        server.wait_for_stderr("serving");
        let said = server.stderr();
        assert!(
            said.starts_with("shm_server: connect NOTIFY_SOCKET: ") && said.contains(reason),
            "{said}"
        );
        world.fetch(&["file"]).expect_code(0);
        world.assert_output("file", &bytes);
        server.signal("TERM");
        server.finish().expect_code(0);
    }
    world.finish();
}

/// `cp` in a service that has said READY itself must not say it again, in the name of its private server.
#[test]
fn private_server_of_cp_tells_a_manager_nothing() {
    let world = World::new("cp-notify");
    let bytes = world.put_random("file", 1000);
    let (socket, variable) = manager(&world, false);
    let copy = world
        .shmeld("cp")
        .arg(world.source("file"))
        .arg(world.output("file"));
    copy.wrapped(&["env", &variable])
        .run()
        .expect_code(0)
        .expect_silence();
    world.assert_output("file", &bytes);
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err());
    world.finish();
}

/// The unit with this build's server in the place of an installed one.
fn unit(world: &World) -> PathBuf {
    let text = std::fs::read_to_string(UNIT).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/shm_server "));
    let text = text.replace("/usr/bin/shm_server", env!("CARGO_BIN_EXE_shm_server"));
    let path = world.root().join("shm_server@.service");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn unit_file_is_sound_and_exposes_next_to_nothing() {
    /// In tenths, as systemd counts: what remains is what clients are shared with, see the unit.
    const EXPOSURE_MAX: &str = "--threshold=9";
    let world = World::new("unit");
    if !has_or_skip("systemd-analyze") {
        return;
    }
    let unit = unit(&world);
    let analyze = |words: &[&str]| world.tool("systemd-analyze").args(words).arg(&unit).run();
    analyze(&["verify", "--man=no"]).expect_code(0).expect_silence();
    analyze(&["security", "--offline=yes", EXPOSURE_MAX]).expect_code(0);
    world.finish();
}

/// What a line of the unit's filter means in calls.
fn expand(words: &str, calls: &mut BTreeSet<String>) {
    for word in words.split_whitespace() {
        if !word.starts_with('@') {
            calls.insert(word.to_owned());
            continue;
        }
        let listed = Command::new("systemd-analyze")
            .args(["syscall-filter", word])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let members = listed
            .lines()
            .skip(1)
            .map(str::trim)
            .filter(|line| !line.starts_with('#'));
        for member in members {
            expand(member, calls);
        }
    }
}

/// A group that is not the one in which this process makes files, where it may give to one.
fn group_to_give() -> String {
    let is_root = process::effective_uid() == 0;
    if is_root { NOBODY } else { process::effective_gid() }.to_string()
}

/// A filter that is too narrow would show as errors on machines that none of us has. The server runs with the unit's options, is told to
/// open its log anew, and makes its queue again.
#[test]
fn unit_file_allows_every_system_call_that_a_server_makes() {
    let world = World::new("calls");
    if !has_or_skip("systemd-analyze") || !has_or_skip("strace") {
        return;
    }
    let text = std::fs::read_to_string(UNIT).unwrap();
    // Each line adds to what those above it allow, or takes from it.
    let mut allowed = BTreeSet::new();
    for filter in text
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let mut calls = BTreeSet::new();
        expand(filter.trim_start_matches('~'), &mut calls);
        match filter.strip_prefix('~') {
            Some(_) => allowed = &allowed - &calls,
            None => allowed.append(&mut calls),
        }
    }
    let file = world.put_random("file", 100_000);
    world.put_random("tree/more", 100_000);
    for (name, mode) in [("file", 0o644), ("tree/more", 0o644), ("tree", 0o755)] {
        content::set_mode(&world.source(name), mode);
    }
    let (socket, variable) = manager(&world, false);
    let strace = ["strace", "-D", "-f", "-qq", "-o", "trace", "env", &variable];
    let server = books::server(&world).args(["--group", &group_to_give()]);
    let server = server.wrapped(&strace).start();
    heard(&socket);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    eventually("the queue is there again", || {
        MessageQueue::open(&world.queue_name(), Access::Send).is_ok()
    });
    std::fs::rename(books::log_of(&world), world.root().join("audit.log.0")).unwrap();
    server.signal("HUP");
    eventually("a new file is there", || books::log_of(&world).exists());
    world
        .fetch(&["-r", "--verify", "file", "tree", "missing"])
        .expect_code(1);
    world.assert_output("file", &file);
    world.status();
    server.signal("TERM");
    server.finish().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let made: BTreeSet<&str> = trace.lines().filter_map(call_of).collect();
    assert!(made.contains("mq_open") && made.contains("futex"), "{made:?}");
    assert!(
        made.contains("fchown") || process::effective_uid() != 0,
        "{made:?}"
    );
    // What a server tries without needing it: a mount of the queues, which only root may make.
    let optional = ["fsopen", "fsconfig", "fsmount"];
    let missing = |call: &&&str| !allowed.contains(**call);
    let missing: Vec<_> = made
        .iter()
        .filter(missing)
        .filter(|call| !optional.contains(call))
        .collect();
    assert!(missing.is_empty(), "the filter refuses {missing:?}");
    world.finish();
}

/// The name in a line `PID name(...`.
fn call_of(line: &str) -> Option<&str> {
    let rest = line.split_once(' ')?.1.trim_start();
    let (name, _) = rest.split_once('(')?;
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        .then_some(name)
}
