//! `--no-clobber`: what is there stays, whatever it is and whenever it came, and the rest is delivered. (GNU `cp -n` keeps the same, but says
//! nothing and exits 0, or 1 since coreutils 9.2: that something was not delivered is an error here.)

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use crate::content;
use crate::midway::{MIB, assert_same, put_large, wait_until_written};
use crate::processes::Program;
use crate::world::{NOBODY, World, has_or_skip, is_root_or_skip, skip};

/// A large file was fetched to its end although its place was taken.
#[test]
fn file_whose_place_is_taken_is_not_fetched() {
    let world = World::new("keep-cancel");
    put_large(&world, "large", 64);
    world.put("small", b"small");
    world.start_server();
    std::fs::write(world.output("large"), "old").unwrap();
    for region in ["4096", "1M"] {
        let outcome = world.fetch(&["--no-clobber", "--region", region, "large", "small"]);
        let said = format!("get large: open {}: ", world.output("large").display());
        outcome.expect_code(1).expect_said(&said).expect_said("EEXIST");
        world.assert_output("large", b"old");
        world.assert_output("small", b"small");
        std::fs::remove_file(world.output("small")).unwrap();
    }
    let bytes = world.status()["bytes_total"].as_u64().unwrap();
    assert!(bytes < 8 * MIB, "{bytes} bytes were read for nothing");
    world.finish();
}

#[test]
fn everything_that_can_have_the_name_is_kept() {
    let world = World::new("keep-kinds");
    for name in [
        "file",
        "link",
        "dangling",
        "directory",
        "link-to-directory",
        "free",
    ] {
        world.put(name, b"new");
    }
    world.start_server();
    std::fs::write(world.output("file"), "old").unwrap();
    std::fs::create_dir(world.output("directory")).unwrap();
    for (target, link) in [
        ("file", "link"),
        ("nowhere", "dangling"),
        ("directory", "link-to-directory"),
    ] {
        symlink(target, world.output(link)).unwrap();
    }
    let before = content::tree(&world.output(""), true);
    let names = [
        "file",
        "link",
        "dangling",
        "directory",
        "link-to-directory",
        "free",
    ];
    let client = world
        .client()
        .args(["--no-clobber", "--json", "-o"])
        .arg(world.output(""));
    let outcome = client.args(names).run().expect_code(1);
    assert_eq!(outcome.names_of("failed"), names[..5]);
    assert_eq!(outcome.names_of("delivered"), ["free"]);
    std::fs::remove_file(world.output("free")).unwrap();
    // A pattern cannot be cancelled for one of its files; what is kept and what is delivered is the same.
    let client = world
        .client()
        .args(["--no-clobber", "--json", "*", "-o"])
        .arg(world.output(""));
    let outcome = client.run().expect_code(1);
    assert_eq!(outcome.names_of("failed").len(), 5);
    assert_eq!(outcome.names_of("delivered"), ["free"]);
    std::fs::remove_file(world.output("free")).unwrap();
    content::assert_trees(&content::tree(&world.output(""), true), &before);
    for name in &names[..5] {
        let cp = world.shmeld("cp").arg("--no-clobber").arg(world.source(name));
        // A directory as destination means one in it.
        let target = world.output(name);
        if !target.is_dir() {
            cp.arg(target).run().expect_code(1).expect_said("EEXIST");
        }
    }
    content::assert_trees(&content::tree(&world.output(""), true), &before);
    world.finish();
}

/// Holds `client` in the middle, does something, lets it go on, and insists that it fails because of a name that exists.
#[track_caller]
fn refused_after(client: Program, meanwhile: impl FnOnce()) {
    let client = client.start();
    wait_until_written(&client, MIB);
    client.signal("STOP");
    meanwhile();
    client.signal("CONT");
    client.finish().expect_code(1).expect_said("EEXIST");
}

#[test]
fn name_that_is_taken_during_the_transfer_is_kept() {
    let world = World::new("keep-late");
    put_large(&world, "large", 256);
    world.start_server();
    let output = world.output("large");
    let get = || world.client().args(["--no-clobber", "large", "-o"]).arg(&output);
    let cp = || {
        world
            .shmeld("cp")
            .arg("--no-clobber")
            .arg(world.source("large"))
            .arg(&output)
    };
    for program in [get(), cp()] {
        refused_after(program, || std::fs::write(&output, "mine").unwrap());
        world.assert_output("large", b"mine");
        std::fs::remove_file(&output).unwrap();
    }
    refused_after(get(), || symlink("nowhere", &output).unwrap());
    assert!(output.is_symlink());
    std::fs::remove_file(&output).unwrap();
    refused_after(get(), || std::fs::create_dir(&output).unwrap());
    assert_eq!(content::names_below(&world.output("")), [Path::new("large")]);
    // What appears and goes again is in nobody's way.
    std::fs::remove_dir(&output).unwrap();
    get().run().expect_code(0);
    assert_same(&output, &world.source("large"));
    world.finish();
}

#[test]
fn merged_tree_keeps_what_is_there_as_cp_does_and_names_it() {
    let world = World::new("keep-merge");
    for name in ["tree/a/kept", "tree/a/new", "tree/b/kept", "tree/c/d/new"] {
        world.put(name, name.as_bytes());
    }
    symlink("a/kept", world.source("tree/link")).unwrap();
    symlink("a/kept", world.source("tree/new-link")).unwrap();
    let furnish = |place: &Path| {
        for name in ["a", "b", "c"] {
            std::fs::create_dir_all(place.join("tree").join(name)).unwrap();
        }
        std::fs::write(place.join("tree/a/kept"), "old").unwrap();
        symlink("elsewhere", place.join("tree/b/kept")).unwrap();
        symlink("elsewhere", place.join("tree/link")).unwrap();
    };
    let theirs = world.root().join("theirs");
    furnish(&theirs);
    let cp = world
        .tool("cp")
        .args(["-rn"])
        .arg(world.source("tree"))
        .arg(&theirs);
    cp.after("umask 022").run();
    let expected = content::tree(&theirs, false);
    world.start_server();
    let cp = world
        .shmeld("cp")
        .args(["-r", "--no-clobber"])
        .arg(world.source("tree"));
    let get = world.client().args(["-r", "--no-clobber", "tree", "-o"]);
    for (name, prefix, program) in [("cp", "shmeld: cp ", cp), ("get", "shm_client: get tree/", get)] {
        let output = world.output(name);
        furnish(&output);
        let outcome = program.arg(&output).after("umask 022").run().expect_code(1);
        let lines = outcome
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix(prefix));
        let mut named: Vec<&str> = lines.map(|line| line.split(": ").next().unwrap()).collect();
        named.sort_unstable();
        assert_eq!(named, ["a/kept", "b/kept", "link"], "{}", outcome.stderr);
        content::assert_trees(&content::tree(&output, false), &expected);
    }
    world.finish();
}

/// A new tree whose name is taken meanwhile is given up. If its directories had their modes already, those closed to writing could not be
/// removed by their owner, and all of it stayed under its hidden name.
#[test]
fn tree_whose_name_is_taken_during_the_transfer_leaves_nothing_even_if_it_is_read_only() {
    let world = World::new("keep-tree");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    std::fs::create_dir_all(world.source("tree/locked/inner")).unwrap();
    put_large(&world, "tree/locked/inner/large", 256);
    for directory in ["tree/locked/inner", "tree/locked", "tree"] {
        content::set_mode(&world.source(directory), 0o555);
    }
    content::set_mode(&world.output(""), 0o777);
    for option in ["--no-clobber", "--preserve"] {
        let target = world.output("tree");
        let cp = world
            .shmeld("cp")
            .args(["-r", option])
            .arg(world.source("tree"))
            .arg(&target);
        refused_after(cp.as_user(NOBODY), || std::fs::create_dir(&target).unwrap());
        assert_eq!(
            content::names_below(&world.output("")),
            [Path::new("tree")],
            "{option}"
        );
        std::fs::remove_dir(&target).unwrap();
    }
    world.finish();
}

#[test]
fn of_two_clients_one_delivers_and_the_other_says_that_it_did_not() {
    let world = World::new("keep-race");
    let contents = [0, 1].map(|number| world.put_random(&format!("f{number}"), 700_000));
    world.start_server();
    for _ in 0..10 {
        let clients = [0, 1].map(|number| {
            let client = world.client().args(["--no-clobber", &format!("f{number}"), "-o"]);
            client.arg(world.output("one")).start()
        });
        let codes = clients.map(|client| client.finish().code.unwrap());
        assert!(codes == [0, 1] || codes == [1, 0], "{codes:?}");
        world.assert_output("one", &contents[usize::from(codes[0] == 1)]);
        assert_eq!(content::names_below(&world.output("")).len(), 1);
        std::fs::remove_file(world.output("one")).unwrap();
    }
    world.finish();
}

/// As the option of the same name of shells: there is nothing that could be lost.
#[test]
fn devices_of_characters_and_fifos_are_written_into_nevertheless() {
    let world = World::new("keep-nodes");
    world.put("file", b"the file");
    world.start_server();
    let client = |output: &Path| world.client().args(["--no-clobber", "file", "-o"]).arg(output);
    client(Path::new("/dev/null")).run().expect_code(0);
    let outcome = client(Path::new("-")).run().expect_code(0);
    assert_eq!(outcome.stdout, b"the file");
    let fifo = world.output("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    let client = client(&fifo).start();
    let mut found = Vec::new();
    std::fs::File::open(&fifo)
        .unwrap()
        .read_to_end(&mut found)
        .unwrap();
    client.finish().expect_code(0);
    assert_eq!(found, b"the file");
    assert!(std::fs::symlink_metadata(&fifo).unwrap().file_type().is_fifo());
    world.finish();
}

/// A disk holds more than any file. It was written over.
#[test]
fn disk_is_kept_like_a_file() {
    let world = World::new("keep-disk");
    if !is_root_or_skip() || !has_or_skip("losetup") {
        return;
    }
    world.put("file", b"the file");
    world.start_server();
    let image = world.root().join("disk.image");
    let old = content::random_bytes(1, MIB as usize);
    std::fs::write(&image, &old).unwrap();
    let attached = world.tool("losetup").args(["-f", "--show"]).arg(&image).run();
    if attached.code != Some(0) {
        return skip("a loop device");
    }
    let device = attached.stdout_text().trim().to_owned();
    symlink(&device, world.output("file")).unwrap();
    let direct = world.client().args(["--no-clobber", "file", "-o", &device]).run();
    let linked = world.fetch(&["--no-clobber", "file"]);
    let kept = std::fs::read(&device).unwrap();
    // Without the option it is a device like any other.
    let written = world.client().args(["file", "-o", &device]).run();
    let now = std::fs::read(&device).unwrap();
    world.tool("losetup").args(["-d", &device]).run().expect_code(0);
    for outcome in [direct, linked] {
        outcome.expect_code(1).expect_said("EEXIST");
    }
    content::assert_bytes("the disk", &kept, &old);
    written.expect_code(0);
    assert_eq!(&now[..8], b"the file");
    world.finish();
}
