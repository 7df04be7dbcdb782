//! `--resume` and parts that are not what they should be: altered, replaced, another's; and servers that say something else about them (rows
//! O2 and R14 of the fault catalogue).

use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;

use shmeld::file::wire::FLAG_RESUME;

use crate::content;
use crate::fake_server::{FakeServer, NAME, SIZE, Victim, bytes, data, done, entry, meet, record, slot};
use crate::resume::{assert_names, leave, part, resume, sent};
use crate::world::{NOBODY, World, is_root_or_skip};

/// What was done to a part or to its source.
type Change = (&'static str, fn(&World));

fn open(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn part_that_is_not_the_beginning_of_the_source_is_thrown_away_and_that_is_said() {
    const SIZE: usize = 400_000;
    const CHANGES: [Change; 8] = [
        ("first byte of the part", |world| {
            open(&part(world, "file")).write_all_at(b"\0\0\0\0", 0).unwrap();
        }),
        ("last byte of the part", |world| {
            open(&part(world, "file"))
                .write_all_at(b"\0\0\0\0", 299_996)
                .unwrap();
        }),
        ("garbage behind the part", |world| {
            open(&part(world, "file"))
                .write_all_at(b"garbage", 300_000)
                .unwrap();
        }),
        ("zeros behind the part", |world| {
            open(&part(world, "file")).set_len(350_000).unwrap()
        }),
        ("longer than the source", |world| {
            open(&part(world, "file")).set_len(SIZE as u64 + 1).unwrap()
        }),
        ("the source, early", |world| {
            open(&world.source("file")).write_all_at(b"new", 100).unwrap();
        }),
        ("the source is another one", |world| {
            world.put("file", &content::random_bytes(7, SIZE));
        }),
        ("the source has shrunk", |world| {
            open(&world.source("file")).set_len(299_999).unwrap()
        }),
    ];
    const OPTIONS: [[&str; 2]; 3] = [
        ["--region", "4096"],
        ["--region", "1M"],
        ["--region=64K", "--verify"],
    ];
    let world = World::new("resume-altered");
    world.start_server();
    for ((what, change), options) in CHANGES.iter().zip(OPTIONS.iter().cycle()) {
        let bytes = world.put_random("file", SIZE);
        leave(&world, "file", &bytes[..300_000]);
        change(&world);
        let now = std::fs::read(world.source("file")).unwrap();
        let before = sent(&world);
        let outcome = resume(&world, &[&options[..], &["file"]].concat());
        assert_eq!(outcome.code, Some(0), "{what}: {}", outcome.stderr);
        outcome.expect_said("starting anew");
        world.assert_output("file", &now);
        assert_eq!(sent(&world) - before, now.len() as u64, "{what}");
        assert_names(&world, &["file"]);
    }
    // What was only cut off, or is followed by more of the source, is still its beginning.
    let bytes = world.put_random("file", SIZE);
    leave(&world, "file", &bytes[..300_000]);
    open(&part(&world, "file")).set_len(250_001).unwrap();
    open(&world.source("file"))
        .write_all_at(b"more", SIZE as u64)
        .unwrap();
    resume(&world, &["--json", "file"]).expect_code(0);
    world.assert_output("file", &[&bytes[..], b"more"].concat());
    world.finish();
}

#[test]
fn what_stands_in_the_place_of_a_part_is_named_and_stays_as_it_is() {
    let world = World::new("resume-squatted");
    world.put_random("file", 100_000);
    world.put("good", b"good");
    let precious = world.root().join("precious");
    std::fs::write(&precious, b"precious").unwrap();
    world.start_server();
    let path = part(&world, "file");
    let is_root = is_root_or_skip();
    for turn in 0..7 {
        let said = match turn {
            0 => {
                symlink(&precious, &path).unwrap();
                "a symbolic link stands"
            }
            1 => {
                symlink("nowhere", &path).unwrap();
                "a symbolic link stands"
            }
            2 => {
                world.tool("mkfifo").arg(&path).run().expect_code(0);
                "a FIFO, socket or device stands"
            }
            3 => {
                drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
                "a FIFO, socket or device stands"
            }
            4 => {
                std::fs::create_dir(&path).unwrap();
                "a directory stands"
            }
            5 => {
                std::fs::hard_link(&precious, &path).unwrap();
                "it has another name (a hard link)"
            }
            _ if is_root => {
                leave(&world, "file", b"another's");
                std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
                "it belongs to another user"
            }
            _ => continue,
        };
        let before = path.symlink_metadata().unwrap();
        let outcome = resume(&world, &["file", "good"]).expect_code(1);
        let outcome = outcome.expect_said(".file.shmeld-part: ").expect_said(said);
        outcome.expect_said("hint: look what it is; remove it, or fetch without --resume");
        let after = path.symlink_metadata().unwrap();
        assert_eq!((after.ino(), after.len()), (before.ino(), before.len()), "{said}");
        content::assert_file(&precious, b"precious");
        world.assert_output("good", b"good");
        assert!(!world.output("file").exists());
        // Whoever does not resume is not concerned.
        world.fetch(&["file"]).expect_code(0);
        std::fs::remove_file(world.output("file")).unwrap();
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
    assert_eq!(sent(&world), 7 * 4 + if is_root { 700_000 } else { 600_000 });
    world.finish();
}

#[test]
fn older_file_stays_until_the_new_one_is_whole_and_no_clobber_refuses_before_a_byte_travels() {
    let world = World::new("resume-older");
    let bytes = world.put_random("file", 300_000);
    world.start_server();
    leave(&world, "file", &bytes[..200_000]);
    std::fs::write(world.output("file"), "older").unwrap();
    let outcome = resume(&world, &["--no-clobber", "file"]).expect_code(1);
    outcome.expect_said("EEXIST").expect_said("output/file");
    assert_eq!(sent(&world), 0);
    world.assert_output("file", b"older");
    assert_eq!(part(&world, "file").metadata().unwrap().len(), 200_000);
    resume(&world, &["file"]).expect_code(0).expect_said("resuming");
    world.assert_output("file", &bytes);
    assert_names(&world, &["file"]);
    // A symbolic link is replaced, a directory is not.
    std::fs::remove_file(world.output("file")).unwrap();
    symlink("elsewhere", world.output("file")).unwrap();
    leave(&world, "file", &bytes[..200_000]);
    resume(&world, &["file"]).expect_code(0);
    assert!(!world.output("file").is_symlink());
    std::fs::remove_file(world.output("file")).unwrap();
    std::fs::create_dir(world.output("file")).unwrap();
    let client = world
        .client()
        .args(["--resume", "file", "-o"])
        .arg(world.output(""));
    client.run().expect_code(1).expect_said("EISDIR");
    assert_names(&world, &["file"]);
    world.finish();
}

/// Two names that are equal in what can be kept of them have two parts. Both are left by clients that may write no larger files.
#[test]
fn names_too_long_for_a_part_have_parts_of_their_own() {
    let world = World::new("resume-long");
    let names = ["x", "y"].map(|last| "n".repeat(254) + last);
    let contents = names.each_ref().map(|name| world.put_random(name, 3 << 20));
    world.start_server();
    for name in &names {
        let client = world
            .client()
            .args(["--resume", name, "-o"])
            .arg(world.output(""));
        let outcome = client.after("ulimit -f 1024").run().expect_code(1);
        outcome.expect_said("EFBIG");
    }
    let parts = content::names_below(&world.output(""));
    let lengths: Vec<usize> = parts.iter().map(|part| part.as_os_str().len()).collect();
    assert_eq!(lengths, [255, 255]);
    for (name, content) in names.iter().zip(&contents) {
        resume(&world, &[name]).expect_code(0).expect_said("resuming");
        world.assert_output(name, content);
    }
    assert_names(&world, &[&names[0], &names[1]]);
    world.finish();
}

/// BEGIN at some offset.
fn begin_at(offset: u64) -> Vec<u8> {
    record(2, 0, offset, SIZE, &entry(NAME, SIZE))
}

fn end_with(digest: &[u8]) -> Vec<u8> {
    record(5, 0, SIZE, 0, digest)
}

#[test]
fn server_that_begins_elsewhere_breaks_the_protocol_and_one_of_an_older_form_begins_at_0() {
    let world = World::new("resume-fake");
    let server = FakeServer::start(&world);
    let ask = |options: &[&str], lie: &dyn Fn(&Victim)| {
        leave(&world, NAME, &bytes()[..40]);
        meet(
            &world,
            &server,
            &[&["--resume"], options].concat(),
            |victim, _| {
                let request = &victim.request;
                assert_eq!((request.flags & FLAG_RESUME, request.offset), (FLAG_RESUME, 40));
                assert_eq!(request.prefix_digest, *blake3::hash(&bytes()[..40]).as_bytes());
                victim.attach();
                lie(victim);
            },
        )
    };
    for offset in [1, 39, 41, 100, 101, u64::MAX] {
        let outcome = ask(&[], &|victim| {
            slot(victim, &[begin_at(offset), data(offset, b"x")])
        });
        outcome
            .expect_code(4)
            .expect_said("a BEGIN that contradicts itself");
        assert_eq!(std::fs::read(part(&world, NAME)).unwrap(), bytes()[..40]);
    }
    let wait = || record(8, 0, 0, 0, b"");
    let outcome = ask(&[], &|victim| {
        let all = data(0, &bytes());
        slot(victim, &[wait(), begin_at(0), all, end_with(b""), done()]);
    });
    outcome.expect_code(0).expect_said("starting anew");
    world.assert_output(NAME, &bytes());
    assert_names(&world, &[NAME]);
    // The digest of --verify is that of the whole file, and one that is wrong spoils all that was kept.
    let rest = |victim: &Victim, digest: &[u8]| {
        let rest = data(40, &bytes()[40..]);
        slot(victim, &[wait(), begin_at(40), rest, end_with(digest), done()]);
    };
    let right = *blake3::hash(&bytes()).as_bytes();
    ask(&["--verify"], &|victim| rest(victim, &right))
        .expect_code(0)
        .expect_said("resuming");
    world.assert_output(NAME, &bytes());
    std::fs::remove_file(world.output(NAME)).unwrap();
    let of_the_rest = *blake3::hash(&bytes()[40..]).as_bytes();
    let outcome = ask(&["--verify"], &|victim| rest(victim, &of_the_rest));
    outcome.expect_code(4).expect_said("BLAKE3 differs");
    world.assert_no_output();
    server.stop();
    world.finish();
}
