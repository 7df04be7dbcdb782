//! `--resume` where others come in between: second clients in the last steps of the first, strangers who had a part open, and names that are
//! those of parts (rows O2 and O5 of the fault catalogue).

use std::fs::File;

use shmeld_os::lease::{self, Kind, Range};

use crate::content;
use crate::midway::{assert_same, put_large};
use crate::resume::{BIG_MEBIBYTES, assert_names, leave, part, resume, sent, stopped_midway};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// A second client found a part that its user may not write into, and took that for what a dead one had left: before it asked for the lock
/// it made it writable again, or removed the name that the first was about to rename. The file was delivered with another mode, or not at all.
#[test]
fn second_client_leaves_a_part_alone_whose_client_is_in_its_last_steps() {
    if !is_root_or_skip() || !has_or_skip("setpriv") || !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-last-two");
    let bytes = world.put_random("file", 100_000);
    content::set_mode(&world.source("file"), 0o444);
    content::set_mode(world.root(), 0o777);
    content::set_mode(&world.output(""), 0o777);
    world.server().as_user(NOBODY).start().wait_for_stderr("serving");
    let client = || {
        let client = world.client().args(["--resume", "file", "-o"]);
        client.arg(world.output(""))
    };
    // As in `resume_steps`: the first of each is the region's. It stops when the call is done.
    for (call, number, has_older) in [("fchmod", 2, false), ("linkat", 3, true)] {
        let _ = std::fs::remove_file(world.output("file"));
        if has_older {
            std::fs::write(world.output("file"), "older").unwrap();
        }
        let inject = format!("inject={call}:signal=STOP:when={number}");
        let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
        let first = client().wrapped(&strace).as_user(NOBODY).start();
        let full = world.output(".file.shmeld-full");
        eventually("the first is about to deliver", || {
            let found = part(&world, "file").metadata();
            found.is_ok_and(|_| content::mode(&part(&world, "file")) == 0o444) && full.exists() == has_older
        });
        let second = client().as_user(NOBODY).run().expect_code(1);
        second.expect_said("another client is fetching this file");
        first.signal("CONT");
        first.finish().expect_code(0);
        world.assert_output("file", &bytes);
        assert_eq!(content::mode(&world.output("file")), 0o444);
        assert_names(&world, &["file"]);
    }
    world.finish();
}

/// A client killed between the mode and the name leaves a part that others can open. The next one went on with it, and whoever had opened
/// it read a file that had become private meanwhile; or held a read lock, and no client ever got the file.
#[test]
fn part_that_others_may_have_open_is_not_written_into() {
    let world = World::new("resume-shown");
    let bytes = world.put_random("file", 100_000);
    content::set_mode(&world.source("file"), 0o600);
    world.start_server();
    for mode in [0o644, 0o440, 0o606, 0o400] {
        leave(&world, "file", &bytes[..60_000]);
        content::set_mode(&part(&world, "file"), mode);
        let stranger = File::open(part(&world, "file")).unwrap();
        assert!(lease::try_take(&stranger, Range::WHOLE, Kind::Read, "part").unwrap());
        let before = sent(&world);
        let outcome = resume(&world, &["file"]).expect_code(0);
        outcome.expect_said(".file.shmeld-part has the mode of a whole file");
        assert_eq!(sent(&world) - before, 100_000);
        world.assert_output("file", &bytes);
        assert_eq!(content::mode(&world.output("file")), 0o600, "{mode:o}");
        assert_eq!(stranger.metadata().unwrap().len(), 60_000, "{mode:o}");
        assert_names(&world, &["file"]);
        std::fs::remove_file(world.output("file")).unwrap();
    }
    world.finish();
}

/// As on FAT, where every part looks as if others could open it.
#[test]
fn part_on_a_file_system_without_modes_is_gone_on_with() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-no-modes");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    leave(&world, "file", &bytes[..60_000]);
    content::set_mode(&part(&world, "file"), 0o755);
    // The first fchmod is the region's.
    let refuse = "inject=fchmod:error=EPERM:when=2";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", refuse];
    let client = world.client().args(["--resume", "file", "-o"]);
    let client = client.arg(world.output("")).wrapped(&strace);
    client.run().expect_code(0).expect_said("resuming");
    assert_eq!(sent(&world), 40_000);
    world.assert_output("file", &bytes);
    assert_names(&world, &["file"]);
    world.finish();
}

/// A file called like the part of another one would be gone on with as that, and be removed when that one is whole.
#[test]
fn names_that_are_those_of_parts_are_not_resumed() {
    let world = World::new("resume-names");
    let names = [".good.shmeld-part", ".good.shmeld-full", "sub/.x.shmeld-part"];
    for name in names {
        world.put(name, b"a file of this name");
    }
    world.put("good", b"good");
    world.start_server();
    let outcome = resume(&world, &[&names[..], &["good"]].concat());
    assert_eq!(outcome.stderr.matches("fetch it without --resume").count(), 3);
    assert_ne!(outcome.code, Some(0));
    assert_names(&world, &["good"]);
    world.fetch(&names).expect_code(0);
    for name in names {
        world.assert_output(name, b"a file of this name");
        // They look like what a transfer has left.
        std::fs::remove_file(world.output(name)).unwrap();
        std::fs::remove_file(world.source(name)).unwrap();
    }
    world.finish();
}

/// What stands under the name that the whole file has for a moment, and cannot be removed, stood in the way of every transfer.
#[test]
fn name_of_the_whole_file_that_is_taken_does_not_stop_it() {
    let world = World::new("resume-full-taken");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    std::fs::write(world.output("file"), "older").unwrap();
    std::fs::create_dir(world.output(".file.shmeld-full")).unwrap();
    leave(&world, "file", &bytes[..60_000]);
    resume(&world, &["file"]).expect_code(0).expect_said("resuming");
    world.assert_output("file", &bytes);
    std::fs::remove_dir(world.output(".file.shmeld-full")).unwrap();
    assert_names(&world, &["file"]);
    world.finish();
}

#[test]
fn part_that_is_removed_and_a_fifo_that_comes_during_the_transfer_are_named() {
    let world = World::new("resume-removed");
    let source = put_large(&world, "big", BIG_MEBIBYTES);
    world.start_server();
    let client = stopped_midway(&world, "64K");
    std::fs::remove_file(part(&world, "big")).unwrap();
    client.signal("CONT");
    let outcome = client.finish().expect_code(1);
    let outcome = outcome.expect_said(".big.shmeld-part: the part was removed during the transfer");
    outcome.expect_said("hint: fetch it again");
    world.assert_no_output();
    // A FIFO was renamed over, although no transfer replaces one.
    let client = stopped_midway(&world, "64K");
    world.tool("mkfifo").arg(world.output("big")).run().expect_code(0);
    client.signal("CONT");
    let outcome = client.finish().expect_code(1);
    outcome.expect_said("a device, FIFO or socket keeps nothing");
    assert_names(&world, &[".big.shmeld-part", "big"]);
    std::fs::remove_file(world.output("big")).unwrap();
    resume(&world, &["big"]).expect_code(0).expect_said("resuming");
    assert_same(&world.output("big"), &source);
    world.finish();
}
