//! `--resume` at single steps: where a client is killed, and where another one comes in between (rows C1 and O5 of the fault catalogue).

use crate::content;
use crate::resume::{assert_names, leave, part, resume, sent};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// Killed before each call by which the whole file gets its name, with and without an older file; the next client then finishes it, and
/// nothing is left that nobody would find again.
#[test]
fn client_killed_in_its_last_steps_leaves_what_the_next_one_finishes() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-last-steps");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    // The first fchmod, linkat and unlinkat are the region's.
    for (call, number, has_older) in [
        ("fsync", 1, false),
        ("fchmod", 2, false),
        ("fsync", 2, false),
        ("linkat", 2, false),
        ("fsync", 3, false),
        ("unlinkat", 2, false),
        ("linkat", 3, true),
        ("renameat", 1, true),
        ("unlinkat", 2, true),
    ] {
        let _ = std::fs::remove_file(world.output("file"));
        if has_older {
            std::fs::write(world.output("file"), "older").unwrap();
        }
        leave(&world, "file", &bytes[..60_000]);
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let client = world
            .client()
            .args(["--resume", "--sync", "file", "-o"])
            .arg(world.output(""));
        let outcome = client
            .wrapped(&["strace", "-f", "-qq", "-o", "calls", "-e", &inject])
            .run();
        assert_ne!(outcome.code, Some(0), "{call} {number}");
        let final_name = std::fs::read(world.output("file")).ok();
        let is_sound = match &final_name {
            Some(found) => *found == bytes || has_older && found == b"older",
            None => !has_older,
        };
        assert!(is_sound, "{call} {number}");
        assert!(part(&world, "file").exists(), "{call} {number}");
        let before = sent(&world);
        let outcome = resume(&world, &["file"]);
        assert_eq!(outcome.code, Some(0), "{call} {number}: {}", outcome.stderr);
        world.assert_output("file", &bytes);
        assert_names(&world, &["file"]);
        // Delivered was delivered: then the file is fetched anew, as it would be without a part; and so is what others could open.
        let is_shown = !matches!((call, number), ("fsync", 1) | ("fchmod", 2));
        let expected = if is_shown { 100_000 } else { 0 };
        assert_eq!(sent(&world) - before, expected, "{call} {number}");
    }
    world.finish();
}

/// Between opening and locking another client may have finished: then the file that was opened has no name, or the final one, and what is
/// written into it would be lost, or would be written into a file that was delivered.
#[test]
fn part_that_loses_its_name_before_it_is_locked_is_looked_for_again() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-lock-race");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    let client = |inject: &str| {
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "calls",
            "-e",
            "trace=fcntl,openat",
            "-e",
            inject,
        ];
        let client = world
            .client()
            .args(["--resume", "file", "-o"])
            .arg(world.output(""));
        client.wrapped(&strace)
    };
    // The same is done by the first run without harm, to see which call it is.
    leave(&world, "file", &bytes[..60_000]);
    client("inject=fcntl:delay_enter=0:when=999").run().expect_code(0);
    let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
    let behind_the_opening = calls.find(".shmeld-part").unwrap();
    let number = calls[..behind_the_opening].matches(" fcntl(").count() + 1;
    let inject = format!("inject=fcntl:delay_enter=1000000:when={number}");
    for is_delivered in [false, true] {
        std::fs::remove_file(world.output("file")).unwrap();
        leave(&world, "file", &bytes[..60_000]);
        std::fs::remove_file(world.root().join("calls")).unwrap();
        let running = client(&inject).start();
        eventually("the part has been opened", || {
            let calls = std::fs::read_to_string(world.root().join("calls"));
            calls.is_ok_and(|calls| calls.contains(".shmeld-part"))
        });
        if is_delivered {
            std::fs::rename(part(&world, "file"), world.output("file")).unwrap();
        } else {
            std::fs::remove_file(part(&world, "file")).unwrap();
        }
        let old = std::fs::File::open(world.output("file")).ok();
        let outcome = running.finish().expect_code(0);
        assert!(!outcome.stderr.contains("resuming"), "{}", outcome.stderr);
        world.assert_output("file", &bytes);
        assert_eq!(
            old.map(|old| old.metadata().unwrap().len()),
            is_delivered.then_some(60_000)
        );
        assert_names(&world, &["file"]);
    }
    world.finish();
}

/// The part of a read-only source has its mode already when its client is killed, and its owner cannot open it for writing.
#[test]
fn part_with_the_mode_of_a_read_only_source_is_no_obstacle() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("resume-read-only");
    let bytes = world.put_random("file", 100_000);
    content::set_mode(&world.source("file"), 0o444);
    content::set_mode(world.root(), 0o777);
    content::set_mode(&world.output(""), 0o777);
    world.server().as_user(NOBODY).start().wait_for_stderr("serving");
    let client = || {
        let client = world
            .client()
            .args(["--resume", "file", "-o"])
            .arg(world.output(""));
        client.as_user(NOBODY)
    };
    let linked = |world: &World| {
        std::fs::hard_link(part(world, "file"), world.output("file")).unwrap();
    };
    let steps: [fn(&World); 2] = [|_| {}, linked];
    for (left, step) in [100_000, 100_000].into_iter().zip(steps) {
        leave(&world, "file", &bytes[..left]);
        content::set_mode(&part(&world, "file"), 0o444);
        std::os::unix::fs::chown(part(&world, "file"), Some(NOBODY), Some(NOBODY)).unwrap();
        step(&world);
        client().run().expect_code(0);
        world.assert_output("file", &bytes);
        assert_eq!(content::mode(&world.output("file")), 0o444);
        assert_names(&world, &["file"]);
        std::fs::remove_file(world.output("file")).unwrap();
    }
    world.finish();
}
