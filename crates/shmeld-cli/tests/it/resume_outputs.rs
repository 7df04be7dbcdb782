//! `--resume` and what an output can be: on a full disk, sparse, with a mode and a time; and where there is none to go on with.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, SystemTime};

use crate::content;
use crate::midway::{MIB, assert_same};
use crate::resume::{assert_names, leave, part, resume};
use crate::world::{World, has_or_skip, is_root_or_skip, skip};

#[test]
fn full_disk_keeps_the_part_and_once_there_is_room_the_rest_is_fetched() {
    if !is_root_or_skip() {
        return;
    }
    let world = World::new("resume-full");
    world.put_random("file", 3 << 20);
    world.start_server();
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--resume", "--region", region, "file", "-o"]);
        let client = client.arg(world.output(""));
        let [output, source] =
            [world.output(""), world.source("file")].map(|path| path.display().to_string());
        let mount = format!("mount -t tmpfs -o size=1m tmpfs '{output}'");
        if world.tool("unshare").args(["-m", "sh", "-c", &mount]).run().code != Some(0) {
            return skip("unshare -m and mount");
        }
        let script = format!(
            "{mount}; \"$0\" \"$@\"; echo \"first $?\"; cd '{output}'; ls -A; stat -c %s .file.shmeld-part; \
             mount -o remount,size=8m tmpfs '{output}'; \"$0\" \"$@\" && cmp file '{source}' && ls -A"
        );
        let outcome = client
            .wrapped(&["unshare", "-m", "sh", "-c", &script])
            .run()
            .expect_code(0);
        let outcome = outcome.expect_said("ENOSPC").expect_said("resuming");
        let said = outcome.stdout_text();
        let words: Vec<&str> = said.split_whitespace().collect();
        let [first, code, left, kept, whole] = words[..] else {
            panic!("{said}")
        };
        assert_eq!(
            [first, code, left, whole],
            ["first", "1", ".file.shmeld-part", "file"]
        );
        assert!(kept.parse::<u64>().unwrap() > MIB / 2, "{kept} bytes were kept");
    }
    world.finish();
}

#[test]
fn sparse_file_stays_sparse_when_it_is_resumed() {
    let world = World::new("resume-sparse");
    let source = std::fs::File::create(world.source("sparse")).unwrap();
    source.set_len(300 * MIB).unwrap();
    for position in [0, 100 * MIB, 200 * MIB] {
        let island = content::random_bytes(position, 300_000);
        source.write_all_at(&island, position).unwrap();
    }
    world.start_server();
    for (len, region, option) in [
        (100_000, "4096", "--verify"),
        (50 * MIB, "1M", "--sync"),
        (100 * MIB + 5, "4096", "--sync"),
        (250 * MIB, "1M", "--verify"),
        (300 * MIB, "1M", "--verify"),
    ] {
        let copy = world
            .tool("cp")
            .arg("--sparse=always")
            .arg(world.source("sparse"));
        copy.arg(part(&world, "sparse")).run().expect_code(0);
        content::set_mode(&part(&world, "sparse"), 0o600);
        let left = std::fs::OpenOptions::new()
            .write(true)
            .open(part(&world, "sparse"))
            .unwrap();
        left.set_len(len).unwrap();
        resume(&world, &["--region", region, option, "sparse"])
            .expect_code(0)
            .expect_said("resuming");
        assert_same(&world.output("sparse"), &world.source("sparse"));
        let blocks = world.output("sparse").metadata().unwrap().blocks();
        assert!(blocks * 512 < 3 * MIB, "{blocks} blocks behind {len} bytes");
    }
    world.finish();
}

/// A part of terabytes of nothing was read to the last zero.
#[test]
fn holes_of_a_part_are_not_read() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-holes");
    for path in [world.source("sparse"), part(&world, "sparse")] {
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(100 * MIB).unwrap();
        file.write_all_at(b"an island", 50 * MIB).unwrap();
        content::set_mode(&path, 0o600);
    }
    world.start_server();
    let client = world.client().args(["--resume", "sparse", "-o"]);
    let strace = ["strace", "-f", "-qq", "-o", "calls", "-e", "trace=pread64"];
    let client = client.arg(world.output("")).wrapped(&strace);
    client.run().expect_code(0).expect_said("resuming");
    assert_same(&world.output("sparse"), &world.source("sparse"));
    let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
    let reads = calls.matches("pread64(").count();
    assert!(reads < 50, "{reads} reads for 9 bytes");
    world.finish();
}

/// As on FAT: linkat says EPERM. The part then gets the final name itself.
#[test]
fn file_system_without_links_gets_the_file_by_a_rename() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("resume-no-links");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    for older in [None, Some("older")] {
        if let Some(older) = older {
            std::fs::write(world.output("file"), older).unwrap();
        }
        leave(&world, "file", &bytes[..60_000]);
        // The first linkat is that of the region.
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "calls",
            "-e",
            "inject=linkat:error=EPERM:when=2+",
        ];
        let client = world
            .client()
            .args(["--resume", "file", "-o"])
            .arg(world.output(""));
        client
            .wrapped(&strace)
            .run()
            .expect_code(0)
            .expect_said("resuming");
        world.assert_output("file", &bytes);
        assert_names(&world, &["file"]);
    }
    world.finish();
}

/// A transfer that was killed may have reserved storage that a later one has no use for.
#[test]
fn storage_reserved_by_a_killed_transfer_is_given_back() {
    if !has_or_skip("fallocate") {
        return;
    }
    let world = World::new("resume-reserved");
    let bytes = world.put_random("file", 100_000);
    world.start_server();
    leave(&world, "file", &bytes[..50_000]);
    let reserve = world.tool("fallocate").args(["--keep-size", "--length", "20M"]);
    reserve.arg(part(&world, "file")).run().expect_code(0);
    resume(&world, &["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    assert!(world.output("file").metadata().unwrap().blocks() < 1000);
    world.finish();
}

#[test]
fn resumed_file_gets_mode_and_time_as_any_other() {
    let world = World::new("resume-mode");
    let bytes = world.put_random("file", 50_000);
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let source = std::fs::File::open(world.source("file")).unwrap();
    source.set_modified(old).unwrap();
    content::set_mode(&world.source("file"), 0o4775);
    world.start_server();
    // Before, options, after: a new file, a kept mode, and one that is not opened wider than the older file.
    for (before, option, after) in [
        (None, "-q", 0o750),
        (None, "-p", 0o775),
        (Some(0o600), "-q", 0o600),
    ] {
        let _ = std::fs::remove_file(world.output("file"));
        if let Some(mode) = before {
            std::fs::write(world.output("file"), "older").unwrap();
            content::set_mode(&world.output("file"), mode);
        }
        leave(&world, "file", &bytes[..30_000]);
        let client = world
            .client()
            .args(["--resume", option, "file", "-o"])
            .arg(world.output(""));
        client.after("umask 027").run().expect_code(0);
        world.assert_output("file", &bytes);
        assert_eq!(content::mode(&world.output("file")), after, "{before:?} {option}");
        let modified = world.output("file").metadata().unwrap().modified().unwrap();
        assert_eq!(modified == old, option == "-p");
    }
    world.finish();
}

#[test]
fn what_cannot_be_resumed_is_a_usage_error_that_says_what_to_do() {
    let world = World::new("resume-usage");
    let bytes = world.put_random("a[1].txt", 5000);
    world.start_server();
    world
        .tool("mkfifo")
        .arg(world.output("fifo"))
        .run()
        .expect_code(0);
    let fifo = world.output("fifo").display().to_string();
    for (arguments, said) in [
        (
            &["-r", "sub"][..],
            "shmeld ls -r ... | grep -v '/$' | shmeld get -T - --resume",
        ),
        (&["*.txt"], "*.txt is a pattern"),
        (&["-o", "-", "a"], "-o - is no file"),
        (&["-o", "/dev/stdout", "a"], "is no file"),
        (&["-o", "/dev/null", "a"], "-o /dev/null is no file"),
        (&["-o", &fifo, "a"], "leave --resume out"),
    ] {
        let outcome = world.client().arg("--resume").args(arguments).run();
        outcome.expect_code(2).expect_said(said);
    }
    // What the error says to do works, for names that look like patterns too.
    let list = world
        .shmeld("ls")
        .args(["-r", "--name", world.name()])
        .run()
        .expect_code(0);
    leave(&world, "a[1].txt", &bytes[..1000]);
    let get = world
        .shmeld("get")
        .args(["--name", world.name(), "-T", "-", "--resume", "-o"]);
    let get = get.arg(world.output("")).input(&list.stdout);
    get.run().expect_code(0).expect_said("resuming");
    world.assert_output("a[1].txt", &bytes);
    // A node under one of several names costs that name only.
    world.put("fifo", b"bytes");
    world.put("file", b"bytes");
    let outcome = resume(&world, &["fifo", "file"]).expect_code(1);
    outcome.expect_said("a device, FIFO or socket keeps nothing");
    world.assert_output("file", b"bytes");
    world.finish();
}
