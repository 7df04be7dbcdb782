//! What `shmeld ipc` says when the kernel refuses: which mistake it was, and what cures it.

use crate::content;
use crate::faults_host::can_or_skip;
use crate::ipc_world::Places;
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

#[test]
fn mistakes_about_sizes_are_told_apart() {
    let (world, places) = (World::new("sizes"), Places::new());
    let (address, key) = (places.sysv(), places.key);
    for words in [&["create", &address][..], &["create", &address, "--size", "0"]] {
        world
            .ipc_refused(3, words)
            .expect_line(&format!(
                "shmeld: shmget {key} (0 bytes wanted): invalid argument (EINVAL)"
            ))
            .expect_line(
                "hint: nothing has this key yet, and a new segment has at least one byte: give a size",
            );
    }
    world
        .ipc_refused(3, &["create", &address, "--size", "18446744073709551615"])
        .expect_said("18446744073709551615 bytes wanted, at most ")
        .expect_said("(kernel.shmmax); raise it: sysctl -w kernel.shmmax=N");
    world.ipc_done(&["create", &address, "--size", "27"]);
    for words in [
        &["create", &address, "--size", "28"][..],
        &["open", &address, "--size", "28"],
    ] {
        world
            .ipc_refused(3, words)
            .expect_line(&format!(
                "shmeld: shmget {key} (28 bytes wanted, it has 27): invalid argument (EINVAL)"
            ))
            .expect_said("hint: a segment never grows");
    }
    let lasting = world.ipc_done(&["open", &address]);
    world.ipc_done(&["create", &places.posix(), "--size", "27"]);
    for address in [lasting.as_str(), &places.posix()] {
        let refused = world.ipc_refused(3, &["open", address, "--size", "28"]);
        refused.expect_line(&format!(
            "shmeld: open {address}: 28 bytes wanted, it has 27 (TOO_SMALL)"
        ));
    }
    let refused = world.ipc_refused(3, &["create", &places.posix(), "--size", "28"]);
    refused
        .expect_said("28 bytes wanted, it has 27 (TOO_SMALL)")
        .expect_said("hint: shmeld ipc resize");
    world.ipc_done(&["rm", &address, &places.posix()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn what_is_not_there_is_told_for_each_command_and_each_address() {
    let (world, places) = (World::new("absent"), Places::new());
    let posix = format!(
        "shmeld: shm_open {}: no such file or directory (ENOENT)",
        places.name
    );
    let sysv = format!(
        "shmeld: shmget {}: no such file or directory (ENOENT)",
        places.key
    );
    for words in [
        &["show"][..],
        &["open"],
        &["read"],
        &["write"],
        &["attach", "--for", "0"],
        &["chmod", "600"],
        &["chown", "0"],
        &["rm"],
    ] {
        let on = |address: &str| {
            let mut all = words.to_vec();
            all.insert(1, address);
            world.ipc_refused(3, &all)
        };
        on(&places.sysv())
            .expect_line(&sysv)
            .expect_said("hint: nothing of this kind has this key");
        let by_name = on(&places.posix());
        if words[0] == "rm" {
            by_name
                .expect_said("shm_unlink")
                .expect_said("hint: nothing of that name in /dev/shm");
        } else {
            by_name
                .expect_line(&posix)
                .expect_said("hint: nothing of that name in /dev/shm");
        }
        on("sysv:#2147483647")
            .expect_said("invalid argument (EINVAL)")
            .expect_said("or it was removed: ipcs -m");
    }
    let refused = world.ipc_refused(2, &["open", "sysv:0"]);
    refused
        .expect_said("a segment without a key is found by its number only (NOT_POSSIBLE)")
        .expect_said("hint: give the number");
    let refused = world.ipc_refused(2, &["create", "sysv:#5"]);
    refused
        .expect_said("the kernel chooses the number of a segment (NOT_POSSIBLE)")
        .expect_said("hint: give a key");
    world
        .ipc_refused(2, &["show", "0x1234"])
        .expect_said("write sysv:0xKEY, sysv:#ID, sysv:ftok:PATH:ID or posix:/name");
    world.finish();
}

#[test]
fn segments_of_others_are_closed_where_their_mode_says_so() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let (world, places) = (World::new("foreign"), Places::new());
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "10", "--mode", "600"]);
        world.ipc_written(&address, b"root's own");
        let closed = |words: &[&str]| world.ipc(words).as_user(NOBODY).run().expect_code(3);
        for words in [
            &["open", &address][..],
            &["read", &address],
            &["write", &address],
            &["attach", &address, "--for", "0"],
            &["create", &address],
        ] {
            closed(words)
                .expect_said("permission denied (EACCES)")
                .expect_said("hint: ");
        }
        // What ls and ipcs show to everybody.
        let shown = world
            .ipc(&["show", &address])
            .as_user(NOBODY)
            .run()
            .expect_code(0);
        assert!(shown.stdout_text().contains("0600"), "{}", shown.stdout_text());
        // May be read: then it is, and nothing else.
        world.ipc_done(&["chmod", &address, "644"]);
        let read = world
            .ipc(&["read", &address])
            .as_user(NOBODY)
            .run()
            .expect_code(0);
        assert_eq!(read.stdout, b"root's own");
        world
            .ipc(&["attach", &address, "--read-only", "--for", "0"])
            .as_user(NOBODY)
            .run()
            .expect_code(0);
        let refused = world
            .ipc(&["write", &address])
            .input(b"x")
            .as_user(NOBODY)
            .run()
            .expect_code(3);
        refused.expect_said("permission denied (EACCES)");
        for words in [
            &["chmod", &address, "666"][..],
            &["chown", &address, "65534"],
            &["rm", &address],
        ] {
            closed(words)
                .expect_said("operation not permitted (EPERM)")
                .expect_said("hint: only ");
        }
        assert_eq!(world.ipc(&["read", &address]).run().stdout, b"root's own");
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

#[test]
fn owner_who_shut_himself_out_is_helped() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let (world, places) = (World::new("shut-out"), Places::new());
    let nobody = |words: &[&str]| world.ipc(words).as_user(NOBODY).run();
    for address in places.both() {
        nobody(&["create", &address, "--size", "10"]).expect_code(0);
        nobody(&["chmod", &address, "0"]).expect_code(0);
        let refused = nobody(&["read", &address]).expect_code(3);
        refused
            .expect_said("permission denied (EACCES)")
            .expect_said("owner");
    }
    // Even one that is made so is told by its address, since it was made.
    let made = nobody(&["create", "sysv:0", "--size", "1", "--mode", "0"]).expect_code(0);
    nobody(&["rm", made.stdout_text().trim_end()]).expect_code(0);
    nobody(&["chmod", &places.sysv(), "600"]).expect_code(0);
    nobody(&["read", &places.sysv()]).expect_code(0);
    // Who has it attached is told too, whatever the mode is.
    let nobodys = nobody(&["create", "sysv:0", "--size", "1"]).expect_code(0);
    let nobodys = nobodys.stdout_text().trim_end().to_owned();
    let attached = world.ipc(&["attach", &nobodys]).start();
    eventually("it is attached", || world.ipc_shown(&nobodys)["attached"] == 1);
    nobody(&["chmod", &nobodys, "0"]).expect_code(0);
    let removed = nobody(&["rm", &nobodys]).expect_code(0);
    removed.expect_said(&format!("marked {nobodys} for removal: 1 attached"));
    attached.signal("TERM");
    attached.finish().expect_code(143);
    // The hint is a command that works; so does our own.
    let path = format!("/dev/shm{}", places.name);
    let refused = nobody(&["read", &places.posix()]).expect_code(3);
    refused.expect_line(&format!(
        "hint: its mode shuts out its own owner, who can change it: chmod 600 {path}"
    ));
    world
        .tool("chmod")
        .args(["600", &path])
        .as_user(NOBODY)
        .run()
        .expect_code(0);
    nobody(&["read", &places.posix()]).expect_code(0);
    nobody(&["chmod", &places.posix(), "0"]).expect_code(0);
    nobody(&["chmod", &places.posix(), "600"]).expect_code(0);
    nobody(&["read", &places.posix()]).expect_code(0);
    nobody(&["rm", &places.sysv(), &places.posix()]).expect_code(0);
    places.assert_empty();
    world.finish();
}

/// `shmget(IPC_CREAT)` opens whatever has the key. Who relies on the segment must know whose it is.
#[test]
fn segment_of_another_user_that_was_there_first_is_named_as_such() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let (world, places) = (World::new("squatter"), Places::new());
    for address in places.both() {
        let create = world.ipc(&["create", &address, "--size", "10", "--mode", "666"]);
        create.as_user(NOBODY).run().expect_code(0);
        let found = world
            .ipc(&["create", &address, "--size", "10"])
            .run()
            .expect_code(0);
        found
            .expect_said(&format!("opened {address}: 10 bytes, mode 0666"))
            .expect_said("made by uid 65534");
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

/// EIDRM cannot be provoked from outside on Linux: it takes a removal in the middle of the call. strace does it instead.
#[test]
fn removal_in_the_middle_of_a_call_is_told_as_one() {
    if !has_or_skip("strace") {
        return;
    }
    let (world, places) = (World::new("eidrm"), Places::new());
    let address = places.sysv();
    world.ipc_done(&["create", &address, "--size", "10"]);
    for (call, words) in [
        ("shmctl", &["show", &address][..]),
        ("shmat", &["read", &address]),
        ("shmctl", &["rm", &address]),
    ] {
        let inject = format!("inject={call}:error=EIDRM");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "calls", "-e", &inject];
        let refused = world.ipc(words).wrapped(&strace).run().expect_code(3);
        refused.expect_said(&format!("{}: the object was removed (EIDRM)", places.key));
    }
    world.ipc_done(&["rm", &address]);
    content::remove_tree(&world.root().join("calls"));
    places.assert_empty();
    world.finish();
}

/// A tmpfs without a limit says that it has 0 blocks, 0 of them free: it was taken for full, and nothing could be made or made longer.
#[test]
fn shared_memory_without_a_limit_is_not_full() {
    let (world, places) = (World::new("unlimited"), Places::new());
    let mount = "mount -t tmpfs -o size=0 none /dev/shm";
    if !can_or_skip(&world, "--mount", mount) || !has_or_skip("strace") {
        return;
    }
    let posix = places.posix();
    let steps = format!("{mount} && \"$0\" ipc create {posix} --size 1M && \"$0\" ipc resize {posix} 2M");
    let unlimited = |script: &str| {
        let shell = ["unshare", "--mount", "sh", "-c", script];
        world.shmeld("ipc").wrapped(&shell).run()
    };
    unlimited(&steps)
        .expect_code(0)
        .expect_said(&format!("{posix} has 2097152 bytes now"));
    // What the machine does not have is told without a number that nobody has counted.
    let calls = "strace -f -qq -o /dev/null -e inject=fallocate:error=ENOSPC";
    let refused = unlimited(&format!("{mount} && {calls} \"$0\" ipc create {posix} --size 1M"));
    refused
        .expect_code(3)
        .expect_line("shmeld: posix_fallocate /dev/shm (no name yet): no space left (ENOSPC)")
        .expect_said(
            "hint: /dev/shm has no limit (size=0): the machine or the control group has no memory left",
        );
    places.assert_empty();
    world.finish();
}

/// `id=$(shmeld ipc create sysv:0 …)` where the shell had died, or a log was full: the number was lost, and the segment stayed for ever.
#[test]
fn segment_whose_number_cannot_be_told_is_not_left_behind() {
    let (world, places) = (World::new("untold"), Places::new());
    for options in [&[][..], &["--json"], &["-q"]] {
        let words = [&["create", "sysv:0", "--size", "1"], options].concat();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let refused = world.ipc(&words).stdout(full).run().expect_code(1);
        let removed = refused.stderr.lines().find_map(|line| {
            let line = line.strip_prefix("shmeld: removed ")?;
            line.strip_suffix(": only its number leads to it, and that could not be told")
        });
        let number = removed.expect(&refused.stderr).to_owned();
        let refused = refused.expect_said("write standard output: no space left (ENOSPC)");
        assert!(!refused.stderr.contains("created"), "{}", refused.stderr);
        world.ipc_refused(3, &["show", &number]).expect_said("(EINVAL)");
    }
    // One with a key is found by it.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let create = world.ipc(&["create", &places.sysv(), "--size", "1"]);
    create.stdout(full).run().expect_code(1);
    world.ipc_done(&["rm", &places.sysv()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn each_step_is_explained() {
    let (world, places) = (World::new("explain"), Places::new());
    for (address, calls) in [
        (
            places.sysv(),
            [
                "shmget(IPC_CREAT|IPC_EXCL)",
                "shmat",
                "shmdt",
                "shmctl(IPC_SET)",
                "shmctl(IPC_RMID)",
            ],
        ),
        (
            places.posix(),
            ["open(O_TMPFILE)", "linkat", "mmap", "munmap", "fchmod"],
        ),
    ] {
        let commands = [
            &["create", &address, "--size", "10", "--explain"][..],
            &["attach", &address, "--for", "0", "--explain"],
            &["chmod", &address, "600", "--explain"],
            &["rm", &address, "--explain"],
        ];
        let told: String = commands
            .map(|words| world.ipc(words).run().expect_code(0).stderr)
            .concat();
        for call in calls {
            assert!(told.contains(&format!("ms  {call} ")), "{call}\n{told}");
        }
    }
    places.assert_empty();
    world.finish();
}
