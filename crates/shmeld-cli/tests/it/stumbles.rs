//! What somebody who has never met these programs stumbles over: what they say then, with which exit code.

use std::fs::OpenOptions;

use crate::ipc_world::Places;
use crate::world::{World, can_unshare_or_skip, has_or_skip, is_root_or_skip};

/// `shmeld completions bash | true` ended with a panic's trace of calls, `bench | true` with 1 and without a word, `status | true` with words of
/// Rust's library. Whoever has read enough has not failed; a disk that is full is another matter.
#[test]
fn reader_that_has_enough_is_no_error_and_a_full_disk_is_named() {
    let (world, places) = (World::new("enough"), Places::new());
    world.put("file", b"x");
    let _server = world.start_server();
    let place = places.posix();
    world.ipc_done(&["create", &place, "--size", "1"]);
    let name = world.name();
    let commands: [&[&str]; 10] = [
        &["completions", "bash"],
        &["completions", "zsh"],
        &["ls", "--name", name],
        &["ls", "--name", name, "--json"],
        &["status", "--name", name],
        &["status", "--name", name, "--openmetrics"],
        &["ipc", "ls", "--kind", "mq"],
        &["ipc", "show", &place],
        &["ipc", "show", "--json", &place],
        &["bench", "--size", "1", "--pairs", "1", "--json"],
    ];
    for words in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = world.shmeld(words[0]).args(&words[1..]).stdout(writer).run();
        let closed = closed.expect_code(0);
        assert!(
            !closed.stderr.contains("standard output"),
            "{words:?}: {}",
            closed.stderr
        );

        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = world.shmeld(words[0]).args(&words[1..]).stdout(full).run();
        full.expect_code(1)
            .expect_said("shmeld: write standard output: no space left (ENOSPC)");
    }
    world.ipc_done(&["rm", &place]);
    world.finish();
}

/// The reason was in the words of Rust's library: "No such file or directory (os error 2)".
#[test]
fn list_of_names_that_cannot_be_read_is_told_as_everything_else() {
    let world = World::new("no-list");
    let outcome = world.fetch(&["-T", "absent"]).expect_code(2);
    outcome.expect_line("shm_client: read absent: no such file or directory (ENOENT)");
    let outcome = world.shmeld("image").args(["request", "c", "--names-from", "/"]);
    outcome
        .run()
        .expect_code(2)
        .expect_said("read /: is a directory (EISDIR)");
    world.finish();
}

/// A container with its host's /dev/shm and an IPC namespace of its own: "not running", and the hint named that very server as one that runs.
#[test]
fn server_in_another_ipc_namespace_is_not_said_to_be_absent() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let world = World::new("other-ipc");
    world.put("file", b"x");
    let _server = world.start_server();
    let client = world
        .client()
        .args(["--wait", "0", "file", "-o"])
        .arg(world.output(""));
    let outcome = client.wrapped(&["unshare", "--ipc"]).run().expect_code(3);
    let outcome = outcome.expect_line(&format!(
        "shm_client: server {}: it has no queue here",
        world.name()
    ));
    outcome.expect_said("must share the IPC namespace too");
    world.assert_no_output();
    world.finish();
}

/// Each said what was wrong and not what to do, or something else than what was wrong.
#[test]
fn what_needs_a_directory_and_what_needs_a_flag_says_so() {
    let world = World::new("directories");
    world.put("sub/inside", b"x");
    world.put("a", b"a");
    world.put("b", b"b");
    let _server = world.start_server();
    let outcome = world.fetch(&["sub"]).expect_code(1);
    let outcome = outcome.expect_line("shm_client: get sub: a directory, not a file (NOT_A_FILE)");
    outcome.expect_line("hint: -r fetches a directory with everything below it");

    let file = world.put("file", b"old");
    let client = world.client().args(["a", "b", "-o"]).arg(&file);
    let outcome = client
        .run()
        .expect_code(3)
        .expect_said("not a directory (ENOTDIR)");
    outcome.expect_said("hint: several names, a pattern, -T and -r need a directory");
    assert_eq!(std::fs::read(&file).unwrap(), b"old");

    for (words, said) in [
        (
            &["cp", "source/a", "source/b", "none"][..],
            "shmeld: cp: there is no directory none; make it first, with mkdir",
        ),
        (
            &["cp", "source/a", "none/"],
            "shmeld: cp: there is no directory none/; make it first, with mkdir",
        ),
        (
            &["cp", "source/a", "source/b", "source/file"],
            "shmeld: cp: source/file is not a directory",
        ),
    ] {
        world
            .shmeld(words[0])
            .args(&words[1..])
            .run()
            .expect_code(1)
            .expect_line(said);
    }
    world.finish();
}

/// A file that cannot be made was told by a hidden name that nobody had asked for: "openat /proc/.x.shmeld-88b5...".
#[test]
fn output_that_cannot_be_made_is_told_by_its_own_name() {
    let world = World::new("no-output");
    world.put("x", b"x");
    let outcome = world
        .shmeld("cp")
        .args(["source/x", "/proc/x"])
        .run()
        .expect_code(1);
    let outcome = outcome.expect_said("shmeld: cp x: openat /proc/x: ");
    assert!(!outcome.stderr.contains(".shmeld-"), "{}", outcome.stderr);
    world.finish();
}

/// What one command calls `--wait` another calls `--timeout`; and people type what cp(1), scp and rsync have. The tip was to write `-- -a`, which
/// means a file of that name.
#[test]
fn options_of_sisters_are_understood_and_those_of_strangers_refused_without_a_wrong_tip() {
    let world = World::new("options");
    world.put("sub/inside", b"inside");
    let _server = world.start_server();
    let name = world.name();
    for words in [
        &[
            "get",
            "-R",
            "sub",
            "-o",
            "output/get",
            "--name",
            name,
            "--timeout",
            "20s",
        ][..],
        &["cp", "-R", "source/sub", "output/cp"],
        &["ls", "-R", "--name", name],
        &["status", "--timeout", "20s", "--name", name],
    ] {
        world.shmeld(words[0]).args(&words[1..]).run().expect_code(0);
    }
    world.assert_output("get/sub/inside", b"inside");
    world.assert_output("cp/inside", b"inside");
    let list = ["request", "c", "-T", "absent", "--wait", "1s"];
    let outcome = world.shmeld("image").args(list).run().expect_code(3);
    outcome.expect_said("open absent: no such file or directory (ENOENT)");
    let read = world
        .shmeld("board")
        .args(["read", "--key", "0x7fff1234", "--wait", "0"]);
    read.run().expect_code(3);
    for words in [&["cp", "-a", "source", "x"][..], &["get", "--archive", "x"]] {
        let outcome = world.shmeld(words[0]).args(&words[1..]).run().expect_code(2);
        let outcome = outcome.expect_said("unexpected argument").expect_said("Usage: ");
        assert!(!outcome.stderr.contains("as a value"), "{}", outcome.stderr);
    }
    for command in ["get", "ls", "status"] {
        let help = world.shmeld(command).arg("-h").run().expect_code(0).stdout_text();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("[default: 30s; ls and status: 0]"), "{help}");
    }
    // A tip that helps stays.
    let outcome = world.shmeld("get").args(["--nam", "x"]).run().expect_code(2);
    outcome.expect_said("a similar argument exists: '--name'");
    world.finish();
}

/// `shmeld ipc rm mq:/x`, an address as `shmeld ipc ls` shows it: "names no segment".
#[test]
fn object_that_is_no_segment_is_told_with_the_way_to_remove_it() {
    let world = World::new("no-segment");
    for (address, what, way) in [
        ("mq:/x", "is a message queue", "rm /dev/mqueue/NAME"),
        ("sem:/x", "is a semaphore", "rm /dev/shm/sem.NAME"),
        ("sysv-sem:0x1", "is a set of semaphores", "ipcrm -s ID (-S KEY)"),
        ("sysv-msg:#1", "is a message queue", "ipcrm -q ID (-Q KEY)"),
    ] {
        let outcome = world.ipc_refused(2, &["rm", address]);
        outcome
            .expect_said(what)
            .expect_said(way)
            .expect_said("shmeld ipc clean, if it is stale");
    }
    world
        .ipc_refused(2, &["rm", "x:/x"])
        .expect_said("names no segment");
    world.finish();
}

/// Root in a container was told that "1 process" cannot be looked into, and not which; or, where it may list descriptors and read maps, nothing,
/// and what that process had open seemed to be held by nobody.
#[test]
fn process_that_root_may_not_look_into_is_named() {
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("closed");
    let ready = world.root().join("ready");
    std::fs::write(&ready, b"").unwrap();
    crate::content::set_mode(&ready, 0o666);
    // Root without CAP_SYS_PTRACE, as containers have it, and another user.
    let script = "setpriv --reuid 65534 --clear-groups sh -c 'echo ready > ready; sleep 1000' & \
                  until test -s ready; do :; done; exec setpriv --bounding-set -sys_ptrace \"$@\"";
    let list = world.ipc(&["ls", "--kind", "sysv"]);
    let list = list.wrapped(&[
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    let outcome = list.run().expect_code(0);
    let outcome = outcome.expect_said(" cannot be looked into: what they have is not known");
    outcome
        .expect_said(" (pid 2 s")
        .expect_said("; a namespace or a security module forbids it)");
    world.finish();
}
