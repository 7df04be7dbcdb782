//! Rows Q5, O6, O7, O12, O14 and O16 of the fault catalogue, as far as other tests do not make them happen: a host, a container or an
//! administrator that gives less than usual. Namespaces of their own keep these tests from everybody else.

use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue};

use crate::midway::{MIB, Trickle};
use crate::outcome::Outcome;
use crate::peers::{EXAMPLES, PEERS, python_or_skip};
use crate::processes::Program;
use crate::world::{NOBODY, World, can_unshare_or_skip, has_or_skip, is_root_or_skip, skip};

/// How long a client bears the silence of a server that lives.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The error, and its cure on the next line.
#[track_caller]
fn expect_refusal(outcome: Outcome, said: &[&str], cure: &[&str]) {
    let outcome = outcome.expect_code(3);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let is_it = |line: &&str| said.iter().all(|text| line.contains(text));
    let refusal = lines.iter().position(is_it);
    let refusal = refusal.unwrap_or_else(|| panic!("no line with {said:?} in\n{}", outcome.stderr));
    let hint = lines.get(refusal + 1).copied().unwrap_or_default();
    let cures = hint.starts_with("hint: ") && cure.iter().all(|text| hint.contains(text));
    assert!(cures, "no cure with {cure:?} in\n{}", outcome.stderr);
}

/// Whether a namespace of this kind can be made and changed by `script`; else says so.
pub fn can_or_skip(world: &World, unshare: &str, script: &str) -> bool {
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("setpriv") {
        return false;
    }
    let can = world
        .tool("unshare")
        .args([unshare, "sh", "-c", script])
        .run()
        .code
        == Some(0);
    if !can {
        skip(&format!("unshare {unshare} and: {script}"));
    }
    can
}

/// The limits count for whoever lacks CAP_SYS_RESOURCE: the server runs as another user.
#[test]
fn each_limit_of_message_queues_is_named_with_its_value_and_its_cure() {
    let world = World::new("queue-limits");
    world.put_random("file", 1000);
    let limits = [
        ("msg_max", "5", "EINVAL", "fs.mqueue.msg_max=10"),
        ("msgsize_max", "512", "EINVAL", "fs.mqueue.msgsize_max=8192"),
        ("queues_max", "0", "ENOSPC", "fs.mqueue.queues_max=1024"),
    ];
    for (limit, value, reason, cure) in limits {
        let script = format!("echo {value} >/proc/sys/fs/mqueue/{limit}");
        if !can_or_skip(&world, "--ipc", &script) {
            return;
        }
        let server = world
            .server()
            .as_user(NOBODY)
            .after(&script)
            .wrapped(&["unshare", "--ipc"]);
        let file = format!("/proc/sys/fs/mqueue/{limit}");
        expect_refusal(
            server.run(),
            &["mq_open", world.name(), reason],
            &[value, &file, cure],
        );
    }
    world.finish();
}

/// The kernel gives this the same number, EMFILE, as the limit of queues' bytes.
#[test]
fn server_without_descriptors_at_its_start_names_that_limit_too() {
    let world = World::new("few-descriptors");
    if !has_or_skip("prlimit") {
        return;
    }
    let mut refused = 0;
    // 3 are open already; below that the program cannot even be loaded.
    for limit in 4..20 {
        let nofile = format!("--nofile={limit}:{limit}");
        let server = world.server().wrapped(&["prlimit", &nofile, "--"]).start();
        let has_started = || server.stderr().contains("serving");
        crate::world::eventually("it has started or ended", || {
            has_started() || !server.is_running()
        });
        if server.is_running() {
            server.signal("TERM");
            server.finish().expect_code(0);
            break;
        }
        let outcome = server.finish();
        // With fewer than the loader needs there is no message of ours.
        if !outcome.stderr.contains("error while loading shared libraries") {
            let value = format!("RLIMIT_NOFILE is {limit}");
            expect_refusal(outcome, &["shm_server", "EMFILE"], &[&value, "ulimit -n"]);
            refused += 1;
        }
    }
    assert!(refused > 0, "it never lacked one");
    world.finish();
}

/// Runs a program with `mount` done before in a mount namespace of its own, and tells what lies in /dev/shm at its end.
fn in_mount_namespace(program: Program, mount: &str) -> Outcome {
    let script = format!(
        "{mount} && {{ \"$0\" \"$@\"; code=$?; ls -A /dev/shm | sed 's/^/left: /' >&2; exit $code; }}"
    );
    program
        .wrapped(&["unshare", "--mount", "sh", "-c", &script])
        .run()
}

#[track_caller]
fn assert_nothing_left(outcome: &Outcome) {
    assert!(!outcome.stderr.contains("left: "), "{}", outcome.stderr);
}

#[test]
fn full_shared_memory_stops_both_sides_with_the_reason_and_nothing_is_left() {
    let world = World::new("full");
    let mount = "mount -t tmpfs -o size=16k none /dev/shm";
    if !can_or_skip(&world, "--mount", mount) {
        return;
    }
    world.put_random("file", 1000);
    let server = world.start_server();
    let client = world
        .client()
        .args(["--region", "64K", "file", "-o"])
        .arg(world.output("file"));
    let outcome = in_mount_namespace(client, mount);
    assert_nothing_left(&outcome);
    let said = ["/dev/shm", "65536 bytes needed", "16384 free", "ENOSPC"];
    expect_refusal(outcome, &said, &["remount"]);
    server.signal("TERM");
    server.finish().expect_code(0);
    // The server's gate has no bytes, but it takes one of the inodes.
    let mount = "mount -t tmpfs -o size=64k,nr_inodes=1 none /dev/shm";
    let outcome = in_mount_namespace(world.server(), mount);
    assert_nothing_left(&outcome);
    expect_refusal(outcome, &["shm_open", "ENOSPC"], &["remount", "nr_inodes=0"]);
    world.assert_no_output();
    world.finish();
}

/// A bind mount of a folder on a disk, and a /dev without the directory at all, are found in containers.
#[test]
fn shared_memory_directory_that_is_no_tmpfs_or_not_there_is_explained_by_both_sides() {
    let world = World::new("no-tmpfs");
    let folder = world.root().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let bind = format!("mount --bind '{}' /dev/shm", folder.display());
    let bare = "mount -t tmpfs none /dev".to_owned();
    let _server = world.start_server();
    for mount in [bind, bare] {
        if !can_or_skip(&world, "--mount", &mount) {
            return;
        }
        let client = world.client().args(["file", "-o"]).arg(world.output("file"));
        for program in [world.server(), client] {
            let script = format!("{mount} && exec \"$0\" \"$@\"");
            let outcome = program
                .wrapped(&["unshare", "--mount", "sh", "-c", &script])
                .run();
            expect_refusal(
                outcome,
                &["shm_open"],
                &["needs a tmpfs on /dev/shm", "mount -t tmpfs"],
            );
        }
    }
    let left = crate::content::names_below(&folder);
    assert!(left.is_empty(), "{left:?}");
    world.assert_no_output();
    world.finish();
}

/// Two containers with one IPC namespace and two /dev/shm: the queue is seen, the region is not. The server cannot tell its client, which
/// once waited for half a minute, whatever `--wait` said, and then blamed the server.
#[test]
fn client_with_another_shared_memory_directory_than_its_server_is_told_so() {
    let world = World::new("two-mounts");
    let mount = "mount -t tmpfs none /dev/shm";
    if !can_or_skip(&world, "--mount", mount) {
        return;
    }
    world.put_random("file", 1000);
    let _server = world.start_server();
    let client = world.client().args(["--wait", "4s", "file", "-o"]);
    let client = client.arg(world.output("file"));
    let started = Instant::now();
    let outcome = in_mount_namespace(client, mount).expect_code(3);
    assert!(started.elapsed() < SILENCE_MAX, "{:?}", started.elapsed());
    assert_nothing_left(&outcome);
    let outcome = outcome.expect_said("it may have another /dev/shm; waiting");
    let outcome = outcome.expect_said("it does not find this client's shared memory");
    outcome.expect_said("hint: its gate is not in this /dev/shm");
    world.assert_no_output();
    assert_eq!(world.status()["refused_regions_total"], 1);
    world.finish();
}

/// Queues work where no file system shows them.
#[test]
fn transfer_needs_no_mounted_message_queue_file_system() {
    let world = World::new("no-mqueue");
    let unmount = "umount --all --types mqueue";
    if !can_or_skip(&world, "--mount", unmount) {
        return;
    }
    let bytes = world.put_random("file", 100_000);
    let server = world
        .server()
        .after(unmount)
        .wrapped(&["unshare", "--mount"])
        .start();
    server.wait_for_stderr("serving");
    let client = world.client().args(["file", "-o"]).arg(world.output("file"));
    client
        .after(unmount)
        .wrapped(&["unshare", "--mount"])
        .run()
        .expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// The descriptors of a process that a program started by it would have.
fn inheritable_of(process: &str) -> Vec<String> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let entries = std::fs::read_dir(format!("/proc/{process}/fdinfo")).unwrap();
    let is_inherited = |name: &String| {
        let text = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{name}"));
        let text = text.unwrap_or_default();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0)
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(is_inherited).collect()
}

#[test]
fn neither_side_has_a_descriptor_that_a_program_started_by_it_would_inherit() {
    let world = World::new("cloexec");
    // Whoever started this test may have left it some; they go on to whatever it starts.
    let not_ours = inheritable_of("self");
    let bytes = world.put_random("file", MIB as usize);
    let server = world.start_server();
    for region in ["4096", "1M"] {
        let transfer = Trickle::start(world.client().args(["--region", region, "file"]));
        for process in [&server, &transfer.client] {
            let mut inherited = inheritable_of(&process.pid().to_string());
            let is_standard = |name: &str| ["0", "1", "2"].contains(&name);
            inherited.retain(|name| !is_standard(name) && !not_ours.contains(name));
            assert!(inherited.is_empty(), "{inherited:?}: {}", process.label);
        }
        let client = transfer.client.clone();
        assert!(transfer.finish() == bytes);
        client.finish().expect_code(0);
    }
    world.finish();
}

/// No helper programs, no shell: nothing that a search path or an environment could replace.
#[test]
fn neither_side_starts_a_program_or_opens_a_socket() {
    let world = World::new("alone");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 100_000);
    let calls = ["-D", "-e", "trace=execve,socket,connect"];
    let server = world.server().traced("server-calls", &calls).start();
    server.wait_for_stderr("serving");
    let client = world.client().args(["file", "-o"]).arg(world.output("file"));
    client.traced("client-calls", &calls).run().expect_code(0);
    world.assert_output("file", &bytes);
    server.signal("TERM");
    server.finish().expect_code(0);
    for trace in ["server-calls", "client-calls"] {
        let calls = std::fs::read_to_string(world.root().join(trace)).unwrap();
        let calls: Vec<&str> = calls.lines().filter(|line| line.contains('(')).collect();
        assert!(calls.len() == 1 && calls[0].contains("execve("), "{calls:#?}");
    }
    world.finish();
}

/// In a user namespace all users that it does not know look like one, the overflow uid. A region of such a user is not the server's user's,
/// and a queue of such a user is not believed.
#[test]
fn users_that_a_namespace_does_not_know_are_strangers_in_it() {
    let world = World::new("unmapped");
    if !can_or_skip(&world, "--map-root-user", "true") {
        return;
    }
    let Some(python) = python_or_skip() else { return };
    world.put_random("file", 1000);
    let in_namespace = ["unshare", "--map-root-user"];
    let server = world.server().wrapped(&in_namespace).start();
    server.wait_for_stderr("serving");
    let script = std::path::Path::new(PEERS).join("offer.py");
    let foreign = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    let outcome = foreign
        .args([world.name(), "foreign", "file"])
        .run()
        .expect_code(0);
    assert_eq!(outcome.stdout_text(), "1000\n");
    assert_eq!(world.status()["refused_regions_total"], 2);
    server.signal("TERM");
    server.finish().expect_code(0);

    let strange = world.server().as_user(NOBODY).start();
    strange.wait_for_stderr("serving");
    let queue = MessageQueue::open(&world.queue_name(), Access::Both).unwrap();
    queue.set_mode(0o666).unwrap();
    let client = world
        .client()
        .args(["--wait", "0", "file", "-o"])
        .arg(world.output("file"));
    let said = format!("it belongs to uid {NOBODY}, not to us");
    expect_refusal(
        client.wrapped(&in_namespace).run(),
        &["mq_open", &said],
        &["--name"],
    );
    world.assert_no_output();
    world.finish();
}
