//! Where outputs go, and what becomes of what was there before.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::content;
use crate::processes::Outcome;
use crate::world::{NOBODY, World, has_or_skip, is_root_or_skip};

/// A world with a running server and two files.
fn world_with_files(what: &str) -> World {
    let world = World::new(what);
    world.put("file", b"the file");
    world.put("sub/dir/name", b"the name");
    world.start_server();
    world
}

/// `shm_client ARGUMENTS` in the output directory.
#[track_caller]
fn fetch_here(world: &World, arguments: &[&str]) -> Outcome {
    world.client().args(arguments).current_dir(world.output("")).run()
}

#[test]
fn one_name_without_output_goes_into_the_current_directory() {
    let world = world_with_files("default");
    fetch_here(&world, &["file"]).expect_code(0);
    world.assert_output("file", b"the file");
    fetch_here(&world, &["sub/dir/name"]).expect_code(0);
    world.assert_output("sub/dir/name", b"the name");
    world.finish();
}

#[test]
fn output_is_a_file_a_directory_or_made_one_as_its_form_says() {
    let world = world_with_files("forms");
    std::fs::create_dir(world.output("existing")).unwrap();
    for (arguments, expected) in [
        (&["-o", "renamed", "file"][..], &[("renamed", "the file")][..]),
        (&["-o", "existing", "file"], &[("existing/file", "the file")]),
        (&["-o", "made/", "file"], &[("made/file", "the file")]),
        (
            &["-o", "two", "file", "sub/dir/name"],
            &[("two/file", "the file"), ("two/sub/dir/name", "the name")],
        ),
        (
            &["-o", "deep/er/still", "file", "file"],
            &[("deep/er/still/file", "the file")],
        ),
        (&["-o", "alone", "sub/dir/name"], &[("alone", "the name")]),
        (
            &["-o", "existing", "sub/dir/name"],
            &[("existing/sub/dir/name", "the name")],
        ),
        (&["-o", "star", "f*"], &[("star/file", "the file")]),
        (&["-o", "rounds", "-n", "3", "file"], &[("rounds", "the file")]),
        (&["-o", "tree", "-r", "sub"], &[("tree/sub/dir/name", "the name")]),
        (
            &["-o", "dots", "./sub//dir/./name", "file"],
            &[("dots/sub/dir/name", "the name")],
        ),
    ] {
        fetch_here(&world, arguments).expect_code(0);
        for (path, text) in expected {
            world.assert_output(path, text.as_bytes());
        }
    }
    world.finish();
}

#[test]
fn directory_for_a_single_output_must_be_there_and_the_error_names_it() {
    let world = world_with_files("absent");
    let outcome = fetch_here(&world, &["-o", "absent/new", "file"]);
    outcome.expect_code(1).expect_said("absent").expect_said("ENOENT");
    world.assert_no_output();
    world.finish();
}

#[test]
fn preserve_keeps_mode_and_time_and_without_it_they_are_new() {
    let world = world_with_files("preserve");
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let source = std::fs::File::open(world.source("file")).unwrap();
    source.set_modified(old).unwrap();
    content::set_mode(&world.source("file"), 0o776);
    let start = SystemTime::now() - Duration::from_secs(2);
    for (option, kept) in [("-p", true), ("-q", false)] {
        let client = world
            .client()
            .args(["file", option, "-o"])
            .arg(world.output(option));
        client.after("umask 027").run().expect_code(0);
        let metadata = std::fs::metadata(world.output(option)).unwrap();
        let modified = metadata.modified().unwrap();
        assert_eq!(
            metadata.mode() & 0o7777,
            if kept { 0o776 } else { 0o750 },
            "{option}"
        );
        assert!(
            if kept { modified == old } else { modified >= start },
            "{option}: {modified:?}"
        );
    }
    world.finish();
}

#[test]
fn time_before_1970_is_kept_too() {
    let world = world_with_files("before-1970");
    let old = SystemTime::UNIX_EPOCH - Duration::new(300_000_000, 250_000_000);
    let source = std::fs::File::open(world.source("file")).unwrap();
    source.set_modified(old).unwrap();
    world.fetch(&["-p", "file"]).expect_code(0);
    let found = std::fs::metadata(world.output("file")).unwrap();
    assert_eq!(found.modified().unwrap(), old);
    world.finish();
}

#[test]
fn name_of_255_bytes_is_made_and_replaced() {
    let world = world_with_files("long");
    let name = "n".repeat(255);
    for text in ["first", "second"] {
        world.put(&name, text.as_bytes());
        world.fetch(&[&name]).expect_code(0);
        world.assert_output(&name, text.as_bytes());
    }
    world.finish();
}

#[test]
fn path_that_climbs_and_stays_beneath_the_root_goes_where_no_name_is_needed() {
    let world = world_with_files("climbs");
    let path = "sub/dir/../../file";
    let outcome = world.client().args(["-o", "-", path]).run().expect_code(0);
    assert_eq!(outcome.stdout, b"the file");
    let client = world.client().arg(path).arg("-o").arg(world.output("renamed"));
    client.run().expect_code(0);
    world.assert_output("renamed", b"the file");
    world.fetch(&[path]).expect_code(1).expect_said("..");
    world.finish();
}

#[test]
fn no_clobber_refuses_what_is_there_and_delivers_the_rest() {
    let world = world_with_files("no-clobber");
    std::fs::write(world.output("file"), b"old").unwrap();
    let outcome = world
        .fetch(&["--no-clobber", "file", "sub/dir/name"])
        .expect_code(1);
    outcome.expect_said("EEXIST").expect_said("file");
    world.assert_output("file", b"old");
    world.assert_output("sub/dir/name", b"the name");

    std::fs::remove_file(world.output("file")).unwrap();
    symlink("nowhere", world.output("file")).unwrap();
    world
        .fetch(&["--no-clobber", "file"])
        .expect_code(1)
        .expect_said("EEXIST");
    assert_eq!(
        std::fs::read_link(world.output("file")).unwrap(),
        Path::new("nowhere")
    );

    world
        .fetch(&["--no-clobber", "-r", "sub"])
        .expect_code(1)
        .expect_said("EEXIST");
    world.finish();
}

#[test]
fn link_as_destination_is_replaced_and_what_it_points_to_stays() {
    let world = world_with_files("symlink");
    let precious = world.root().join("precious");
    std::fs::write(&precious, b"precious").unwrap();
    for target in [precious.as_path(), Path::new("dangling")] {
        let link = world.output("file");
        let _ = std::fs::remove_file(&link);
        symlink(target, &link).unwrap();
        world.fetch(&["file"]).expect_code(0);
        assert!(!link.is_symlink());
        world.assert_output("file", b"the file");
        content::assert_file(&precious, b"precious");
    }
    world.finish();
}

#[test]
fn link_on_the_way_to_a_destination_is_not_followed_out_of_the_output_directory() {
    let world = world_with_files("symlink-parent");
    let elsewhere = world.root().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, world.output("sub")).unwrap();
    world.fetch(&["sub/dir/name"]).expect_code(1).expect_said("sub");
    assert!(content::names_below(&elsewhere).is_empty());
    world.finish();
}

#[test]
fn closed_file_stays_closed_when_it_is_replaced() {
    let world = world_with_files("mode");
    content::set_mode(&world.source("file"), 0o666);
    for (before, after) in [(0o600, 0o600), (0o640, 0o640), (0o777, 0o644)] {
        std::fs::write(world.output("file"), b"old").unwrap();
        content::set_mode(&world.output("file"), before);
        let client = world.client().arg("file").arg("-o").arg(world.output(""));
        client.after("umask 022").run().expect_code(0);
        world.assert_output("file", b"the file");
        assert_eq!(content::mode(&world.output("file")), after, "it was {before:o}");
    }
    world.finish();
}

#[test]
fn directory_under_the_name_of_an_output_is_an_error_and_stays() {
    let world = world_with_files("is-directory");
    std::fs::create_dir_all(world.output("file/inside")).unwrap();
    let outcome = world.fetch(&["file", "sub/dir/name"]).expect_code(1);
    outcome.expect_said("EISDIR");
    world.assert_output("sub/dir/name", b"the name");
    assert!(world.output("file/inside").is_dir());
    world.finish();
}

#[test]
fn sync_delivers_the_same_and_calls_fsync_for_file_and_directory() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("sync");
    let client = world
        .client()
        .args(["--sync", "file", "-o"])
        .arg(world.output(""));
    let strace = [
        "strace",
        "-f",
        "-e",
        "trace=fsync,fdatasync,linkat,rename,renameat2",
        "-o",
        "trace",
    ];
    client.wrapped(&strace).run().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let calls: Vec<&str> = trace
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let calls: Vec<&str> = calls.iter().map(|call| call.split('(').next().unwrap()).collect();
    // The region's own name is linked first.
    assert_eq!(calls[..4], ["linkat", "fsync", "linkat", "fsync"], "{trace}");
    world.finish();
}

#[test]
fn output_directory_that_may_not_be_written_is_an_error_that_names_it() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("read-only");
    world.put("file", b"the file");
    let server = world.server().as_user(NOBODY).start();
    server.wait_for_stderr("serving");
    let client = world
        .client()
        .arg("file")
        .arg("-o")
        .arg(world.output(""))
        .as_user(NOBODY);
    client
        .run()
        .expect_code(1)
        .expect_said("output")
        .expect_said("EACCES");
    world.assert_no_output();
    world.finish();
}

#[test]
fn two_clients_with_one_target_leave_one_whole_file() {
    let world = World::new("race");
    let contents = [0, 1].map(|number| world.put_random(&format!("f{number}"), 700_000 + number));
    world.start_server();
    for _ in 0..5 {
        let clients = [0, 1].map(|number| {
            let client = world
                .client()
                .arg(format!("f{number}"))
                .arg("-o")
                .arg(world.output("one"));
            client.start()
        });
        for client in clients {
            client.finish().expect_code(0);
        }
        let found = std::fs::read(world.output("one")).unwrap();
        assert!(contents.contains(&found), "{} bytes of neither", found.len());
        assert_eq!(content::names_below(&world.output("")).len(), 1);
    }
    world.finish();
}

#[test]
fn file_open_by_a_reader_stays_whole_for_it_while_it_is_replaced() {
    let world = world_with_files("reader");
    let mut old = std::fs::File::create_new(world.output("file")).unwrap();
    old.write_all(b"what the reader began with").unwrap();
    let mut reader = std::fs::File::open(world.output("file")).unwrap();
    world.fetch(&["file"]).expect_code(0);
    let mut found = Vec::new();
    reader.read_to_end(&mut found).unwrap();
    assert_eq!(found, b"what the reader began with");
    world.finish();
}
