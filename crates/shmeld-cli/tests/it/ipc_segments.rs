//! `shmeld ipc` on segments of both families: create, open, show, attach, resize, chmod, chown, rm.

use shmeld_os::sysv::boundary_bytes;

use crate::content;
use crate::ipc_world::Places;
use crate::world::{NOBODY, World, can_unshare_or_skip, eventually, is_root_or_skip};

/// `id=$(shmeld ipc create …)` is the wrapper that C programs call open_segment.
#[test]
fn created_segment_is_opened_the_next_time_and_its_address_is_all_that_scripts_see() {
    let (world, places) = (World::new("create"), Places::new());
    for address in places.both() {
        let made = world
            .ipc(&["create", &address, "--size", "27"])
            .run()
            .expect_code(0);
        let lasting = made.stdout_text().trim_end().to_owned();
        let prefix = if address.starts_with("sysv") {
            "sysv:#"
        } else {
            &address
        };
        assert!(lasting.starts_with(prefix), "{lasting}");
        let made = made.expect_said(&format!("shmeld: created {address}: 27 bytes, mode 0660"));
        assert_eq!(made.stderr.lines().count(), 1);
        let found = world
            .ipc(&["create", &address, "--size", "20"])
            .run()
            .expect_code(0);
        assert_eq!(found.stdout_text().trim_end(), lasting);
        found.expect_said(&format!("shmeld: opened {address}: 27 bytes"));
        let quiet = world
            .ipc(&["create", &address, "-q"])
            .run()
            .expect_code(0)
            .expect_silence();
        assert_eq!(quiet.stdout_text().trim_end(), lasting);
        assert_eq!(world.ipc_done(&["open", &address]), lasting);
        assert_eq!(world.ipc_done(&["open", &lasting, "--size", "27"]), lasting);
        let refused = world.ipc_refused(3, &["create", &address, "--exclusive", "--size", "27"]);
        refused
            .expect_said("it exists already (EEXIST)")
            .expect_said("hint: open it instead of creating it");
        world.ipc_done(&["rm", &lasting]);
    }
    places.assert_empty();
    world.finish();
}

#[test]
fn every_form_of_address_leads_to_the_same_segment() {
    let (world, places) = (World::new("addresses"), Places::new());
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "100"]);
    for address in [
        places.sysv(),
        format!("sysv:{}", places.key.bits()),
        lasting.clone(),
    ] {
        assert_eq!(world.ipc_shown(&address)["address"], lasting.as_str());
    }
    world.ipc_done(&["rm", &lasting]);
    let file = world.put("file", b"");
    let by_file = |project: &str| format!("sysv:ftok:{}:{project}", file.display());
    let lasting = world.ipc_done(&["create", &by_file("A"), "--size", "100"]);
    assert_eq!(world.ipc_shown(&by_file("65"))["address"], lasting.as_str());
    let refused = world.ipc_refused(3, &["show", &by_file("66")]);
    refused.expect_said("shmeld: shmget 0x42");
    world.ipc_done(&["rm", &by_file("0x41")]);
    // Without a key each creation makes another one.
    let first = world.ipc_done(&["create", "sysv:0", "--size", "1"]);
    let second = world.ipc_done(&["create", "sysv:0", "--size", "1"]);
    assert_ne!(first, second);
    world.ipc_done(&["rm", &first, &second]);
    places.assert_empty();
    world.finish();
}

#[test]
fn everything_the_kernel_knows_is_shown() {
    let (world, places) = (World::new("show"), Places::new());
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "5000", "--mode", "640"]);
    }
    let shown = world.ipc_shown(&places.sysv());
    let uid = shmeld_os::process::effective_uid();
    for (field, value) in [
        ("event", "segment".into()),
        ("family", "sysv".into()),
        ("key", places.key.to_string().into()),
        ("size", 5000.into()),
        ("mode", "0640".into()),
        ("uid", uid.into()),
        ("creator_uid", uid.into()),
        ("attached", 0.into()),
        ("marked", false.into()),
        ("attach_time", serde_json::Value::Null),
        ("allocated", 0.into()),
        ("swapped", 0.into()),
        ("last_pid", 0.into()),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }
    world.ipc_done(&["read", &places.sysv(), "-o", "/dev/null"]);
    let shown = world.ipc_shown(&places.sysv());
    assert!(
        shown["attach_time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z')),
        "{shown}"
    );
    let text = world.ipc_done(&["show", &places.sysv(), &places.posix()]);
    for line in [
        "kind        System V segment",
        &format!("key         {}", places.key),
        "size        5000 bytes (4.9 KiB)",
        "mode        0640",
        "attached    0",
        "allocated   0 bytes",
        "kind        POSIX segment",
        "allocated   8192 bytes (8.0 KiB)",
        "names       1",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\n{text}");
    }
    assert!(
        text.contains("s ago)") && text.contains("attached at 20"),
        "{text}"
    );
    let shown = world.ipc_shown(&places.posix());
    assert_eq!(
        (&shown["size"], &shown["allocated"]),
        (&5000.into(), &8192.into())
    );
    world.ipc_done(&["rm", &places.sysv(), &places.posix()]);
    places.assert_empty();
    world.finish();
}

/// The kernel says 0 for a process of another PID namespace, and `show` said of an attached segment that it was never attached.
#[test]
fn processes_without_a_number_here_are_told_as_such() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let (world, places) = (World::new("elsewhere"), Places::new());
    let address = places.sysv();
    let line = |name: &str| {
        let show = world.ipc(&["show", &address]);
        let shown = show
            .wrapped(&["unshare", "--pid", "--fork", "--kill-child"])
            .run();
        let text = shown.expect_code(0).stdout_text();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    world.ipc_done(&["create", &address, "--size", "1"]);
    assert!(line("creator").ends_with(", in another PID namespace"));
    assert_eq!(line("last pid"), "never attached");
    world.ipc_done(&["read", &address]);
    assert_eq!(line("last pid"), "in another PID namespace");
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

#[test]
fn attachments_are_counted_and_end_with_time_signal_and_death() {
    let (world, places) = (World::new("attach"), Places::new());
    let address = places.sysv();
    world.ipc_done(&["create", &address, "--size", "4096"]);
    let count = || world.ipc_shown(&address)["attached"].as_u64().unwrap();
    let holders = [(); 2].map(|()| world.ipc(&["attach", &address]).start());
    eventually("both hold it", || count() == 2);
    let read_only = world.ipc_done(&["attach", &address, "--read-only", "--for", "10ms"]);
    assert!(
        read_only.starts_with("0x")
            && read_only.ends_with(" 4096 bytes, read-only: a store would end this process, 3 attached"),
        "{read_only}"
    );
    holders[0].signal("TERM");
    let ended = holders[0].finish().expect_code(143);
    ended.expect_said(&format!("shmeld: detached {address}, 1 attached"));
    holders[1].kill();
    eventually("the kernel detaches the dead one", || count() == 0);
    let last = world.ipc(&["attach", &address, "--json"]).start();
    eventually("it holds it", || count() == 1);
    let marked = world.ipc(&["rm", &address]).run().expect_code(0);
    marked.expect_line(&format!(
        "shmeld: marked {address} for removal: 1 attached, and it goes when that one detaches or ends"
    ));
    last.signal("INT");
    let events = last.finish().expect_code(130).json_lines();
    assert_eq!(
        (&events[0]["event"], &events[0]["attached"]),
        (&"attached".into(), &1.into())
    );
    assert_eq!(
        (&events[1]["event"], &events[1]["attached"]),
        (&"detached".into(), &0.into())
    );
    places.assert_empty();
    world.finish();
}

#[test]
fn chosen_addresses_are_rounded_down_as_documented() {
    let (world, places) = (World::new("round"), Places::new());
    world.ipc_done(&["create", &places.sysv(), "--size", "100"]);
    let attach = |words: &[&str]| {
        world
            .ipc(&[&["attach", &places.sysv(), "--for", "0"], words].concat())
            .run()
    };
    // Far below where the kernel puts libraries and stacks, far above where programs lie.
    let place = 0x1000_0000_0000 + 7 * boundary_bytes();
    let inside = format!("{:#x}", place + 123);
    let text = attach(&["--at", &inside, "--round"]).expect_code(0).stdout_text();
    assert!(text.starts_with(&format!("{place:#x} 100 bytes")), "{text}");
    let refused = attach(&["--at", &inside]).expect_code(3);
    refused
        .expect_said(&format!(
            "shmat {} at {inside}: invalid argument (EINVAL)",
            places.key
        ))
        .expect_said("SHMLBA");
    // Not even root gets page 0.
    attach(&["--at", "0x10", "--round"])
        .expect_code(3)
        .expect_said("hint: addresses of segments are multiples of");
    attach(&["--round"]).expect_code(2).expect_said("--at");
    attach(&["--at", "xyz"])
        .expect_code(2)
        .expect_said("is no address");
    world.ipc_done(&["create", &places.posix(), "--size", "1"]);
    let refused = world.ipc_refused(2, &["attach", &places.posix(), "--at", "0x10000", "--for", "0"]);
    refused.expect_said("only a System V segment is attached at a chosen address");
    world.ipc_done(&["rm", &places.sysv(), &places.posix()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn posix_segment_changes_its_size_and_a_system_v_segment_says_that_it_cannot() {
    let (world, places) = (World::new("resize"), Places::new());
    let address = places.posix();
    world.ipc_done(&["create", &address]);
    assert_eq!(world.ipc_shown(&address)["size"], 0);
    let empty = world.ipc_refused(3, &["attach", &address, "--for", "0"]);
    empty
        .expect_said("1 byte wanted, it has 0 (TOO_SMALL)")
        .expect_said("shmeld ipc resize");
    for (size, allocated) in [(100_000, 102_400), (4097, 8192), (1 << 20, 1 << 20), (0, 0)] {
        let outcome = world
            .ipc(&["resize", &address, &size.to_string()])
            .run()
            .expect_code(0);
        outcome.expect_line(&format!("shmeld: {address} has {size} bytes now"));
        let shown = world.ipc_shown(&address);
        assert_eq!(
            (&shown["size"], &shown["allocated"]),
            (&size.into(), &allocated.into())
        );
    }
    world.ipc_done(&["resize", &address, "5"]);
    let refused = world.ipc_refused(3, &["resize", &address, "1000T"]);
    refused
        .expect_said("no space left (ENOSPC)")
        .expect_said("bytes needed")
        .expect_said("hint: /dev/shm has");
    assert_eq!(world.ipc_shown(&address)["size"], 5);
    world.ipc_done(&["rm", &address]);
    world.ipc_done(&["create", &places.sysv(), "--size", "10"]);
    let refused = world.ipc_refused(2, &["resize", &places.sysv(), "20"]);
    refused
        .expect_said("the size of a System V segment is fixed when it is made")
        .expect_said("hint: create another one");
    world.ipc_done(&["rm", &places.sysv()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn mode_and_owner_change_and_the_creator_stays() {
    let (world, places) = (World::new("mode"), Places::new());
    for address in places.both() {
        // The umask has no say, at creation or later.
        let create = world.ipc(&["create", &address, "--size", "1", "--mode", "0666"]);
        create.after("umask 077").run().expect_code(0);
        assert_eq!(world.ipc_shown(&address)["mode"], "0666");
        world.ipc_done(&["chmod", &address, "604"]);
        assert_eq!(world.ipc_shown(&address)["mode"], "0604");
        world
            .ipc_refused(2, &["chmod", &address, "1777"])
            .expect_said("nine bits in octal");
        world
            .ipc_refused(2, &["chown", &address, "root"])
            .expect_said("write numbers");
    }
    if !is_root_or_skip() {
        return world.finish();
    }
    for address in places.both() {
        let nobody = format!("{NOBODY}:7");
        world
            .ipc(&["chown", &address, &nobody])
            .run()
            .expect_code(0)
            .expect_said("belongs to uid 65534, gid 7 now");
        let shown = world.ipc_shown(&address);
        assert_eq!((&shown["uid"], &shown["gid"]), (&NOBODY.into(), &7.into()));
        world.ipc_done(&["chown", &address, ":8"]);
        let shown = world.ipc_shown(&address);
        assert_eq!((&shown["uid"], &shown["gid"]), (&NOBODY.into(), &8.into()));
    }
    assert_eq!(world.ipc_shown(&places.sysv())["creator_uid"], 0);
    world.ipc_done(&["rm", &places.sysv(), &places.posix()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn rm_says_what_is_left_and_goes_on_after_a_failure() {
    let (world, places) = (World::new("rm"), Places::new());
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "1"]);
    world.ipc_done(&["create", &places.posix(), "--size", "1"]);
    let holders = [(); 2].map(|()| world.ipc(&["attach", &lasting]).start());
    eventually("both hold it", || world.ipc_shown(&lasting)["attached"] == 2);
    let marked = world.ipc(&["rm", &places.sysv()]).run().expect_code(0);
    marked.expect_said("2 attached, and it goes when the last detaches or ends");
    // The key is free, the number still leads to it, and says what it is waiting for.
    world
        .ipc_refused(3, &["show", &places.sysv()])
        .expect_said("(ENOENT)");
    assert_eq!(world.ipc_shown(&lasting)["marked"], true);
    let opened = world.ipc(&["open", &lasting]).run().expect_code(0);
    opened.expect_said("2 attached, marked for removal");
    let text = world.ipc_done(&["show", &lasting]);
    assert!(
        text.contains("attached    2; marked for removal, it goes with the last"),
        "{text}"
    );
    for holder in holders {
        holder.signal("TERM");
        holder.finish().expect_code(143);
    }
    eventually("it is gone", || {
        world.ipc(&["show", &lasting]).run().code == Some(3)
    });
    let outcome = world.ipc_refused(3, &["rm", "--json", &lasting, &places.sysv(), &places.posix()]);
    let events = outcome.json_lines();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["address"], places.posix().as_str());
    outcome
        .expect_said(&format!(
            "shmctl(IPC_RMID) {}: invalid argument (EINVAL)",
            &lasting["sysv:".len()..]
        ))
        .expect_said("or it was removed");
    places.assert_empty();
    world.finish();
}

#[test]
fn segment_in_the_way_of_a_program_is_not_taken_for_a_segment() {
    let (world, places) = (World::new("squat"), Places::new());
    let (path, address) = (format!("/dev/shm{}", places.name), places.posix());
    // A FIFO would make a plain shm_open wait for ever.
    world.tool("mkfifo").arg(&path).run().expect_code(0);
    for words in [&["show"][..], &["create", "--size", "1"], &["read"], &["write"]] {
        let words = [words, &[&address]].concat();
        world
            .ipc_refused(3, &words)
            .expect_said("(EINVAL)")
            .expect_said("is not the kind of object it should be");
    }
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(world.put("target", b"x"), &path).unwrap();
    world
        .ipc_refused(3, &["write", &places.posix()])
        .expect_said("(ELOOP)");
    content::assert_file(&world.source("target"), b"x");
    world.ipc_done(&["rm", &places.posix()]);
    places.assert_empty();
    world.finish();
}
