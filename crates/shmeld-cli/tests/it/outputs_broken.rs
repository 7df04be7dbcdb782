//! Places that fail under an output: full and read-only file systems, limits, directories that are removed, moved or unmounted meanwhile.
//! Each time the error names the path and the reason, nothing is left half made, what else was asked for arrives, and the server is as before.

use std::path::Path;

use crate::content;
use crate::midway::{MIB, assert_same, put_large, wait_until_written};
use crate::outcome::Outcome;
use crate::processes::Program;
use crate::world::{World, can_unshare_or_skip, has_or_skip, is_root_or_skip, skip};

/// Insists that the server has not suffered, and that the next transfer is exact.
#[track_caller]
fn assert_server_is_well(world: &World, name: &str) {
    let status = world.status();
    assert_eq!(status["died_total"], 0);
    assert_eq!(status["misbehaved_total"], 0);
    let output = world.root().join("next");
    world
        .client()
        .args([name, "-o"])
        .arg(&output)
        .run()
        .expect_code(0);
    assert_same(&output, &world.source(name));
}

/// Runs a program where `mount` has mounted something on the output directory, seen by it alone; what lies there at its end comes as lines on
/// its standard error. `None` if this machine cannot do that.
fn with_mount(world: &World, mount: &str, program: Program) -> Option<(Outcome, Vec<String>)> {
    let output = world.output("");
    let mount = mount.replace("OUTPUT", &format!("'{}'", output.display()));
    if world.tool("unshare").args(["-m", "sh", "-c", &mount]).run().code != Some(0) {
        skip("unshare -m and mount");
        return None;
    }
    let look = "find . -mindepth 1 -type f | sort | sed 's/^/left: /' >&2";
    let script = format!(
        "{mount} && {{ \"$0\" \"$@\"; code=$?; cd '{}' && {look}; exit $code; }}",
        output.display()
    );
    let outcome = program.wrapped(&["unshare", "-m", "sh", "-c", &script]).run();
    let left = outcome
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("left: ./"));
    let left = left
        .filter(|name| !name.starts_with("lost+found"))
        .map(str::to_owned)
        .collect();
    Some((outcome, left))
}

/// ext4, where storage is reserved ahead, and tmpfs, where it is not; a file that was there survives.
#[test]
fn full_disk_costs_the_file_that_does_not_fit_and_no_other() {
    let world = World::new("broken-full");
    if !is_root_or_skip() || !has_or_skip("mkfs.ext4") || !can_unshare_or_skip() {
        return;
    }
    world.put_random("d/a", 10_000);
    world.put_random("d/big", 12 * MIB as usize);
    world.put_random("d/z", 10_000);
    world.start_server();
    std::fs::write(world.root().join("list"), "d/a\nd/big\nd/z\n").unwrap();
    let image =
        "truncate -s 8M disk.image && mkfs.ext4 -q -m 0 disk.image && mount -o loop disk.image OUTPUT";
    let small = "mount -t tmpfs -o size=4m tmpfs OUTPUT";
    let old = "mkdir OUTPUT/d && echo old >OUTPUT/d/big";
    let list = world.root().join("list").display().to_string();
    let output = world.output("");
    let get = |arguments: &[&str]| world.client().args(arguments).arg("-o").arg(&output);
    let cp = || world.shmeld("cp").arg("-r").arg(world.source("d")).arg(&output);
    for (mount, has_old, program) in [
        (image, true, get(&["-T", &list])),
        (image, false, get(&["--region", "1M", "d/*"])),
        (image, true, cp()),
        (image, false, cp()),
        (small, true, get(&["-r", "--region", "1M", "d"])),
        (small, false, get(&["--sync", "--verify", "d/a", "d/big", "d/z"])),
    ] {
        let mount = if has_old {
            format!("{mount} && {old}")
        } else {
            mount.to_owned()
        };
        let Some((outcome, left)) = with_mount(&world, &mount, program) else {
            return;
        };
        let outcome = outcome.expect_code(1);
        let said = format!(
            "write {}: no space left (ENOSPC)",
            world.output("d/big").display()
        );
        let outcome = outcome
            .expect_said(&said)
            .expect_said("hint: no room is left there");
        assert_eq!(outcome.stderr.matches("ENOSPC").count(), 1, "{}", outcome.stderr);
        let expected: &[&str] = if has_old {
            &["d/a", "d/big", "d/z"]
        } else {
            &["d/a", "d/z"]
        };
        assert_eq!(left, expected, "{}\n{}", outcome.label, outcome.stderr);
    }
    assert_server_is_well(&world, "d/big");
    world.finish();
}

/// Nothing more can be made, though there are bytes.
#[test]
fn disk_without_inodes_is_full_too_and_the_hint_says_where_to_look() {
    let world = World::new("broken-inodes");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    world.put_random("tree/file", 1000);
    world.start_server();
    let mount = "mount -t tmpfs -o nr_inodes=1 tmpfs OUTPUT";
    let output = world.output("");
    let get = |arguments: &[&str]| world.client().args(arguments).arg("-o").arg(&output);
    let cp = world
        .shmeld("cp")
        .arg("-r")
        .arg(world.source("tree"))
        .arg(&output);
    for program in [get(&["tree/file"]), get(&["-r", "tree"]), cp] {
        let Some((outcome, left)) = with_mount(&world, mount, program) else {
            return;
        };
        let outcome = outcome.expect_code(1).expect_said("ENOSPC").expect_said("df -i");
        let outcome = outcome.expect_said(output.to_str().unwrap().trim_end_matches('/'));
        assert_eq!(left, [""; 0], "{}", outcome.stderr);
    }
    assert_server_is_well(&world, "tree/file");
    world.finish();
}

#[test]
fn read_only_file_system_is_an_error_that_names_it() {
    let world = World::new("broken-read-only");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    world.put_random("tree/file", 1000);
    world.start_server();
    let mount = "mount --bind OUTPUT OUTPUT && echo old >OUTPUT/file && mount -o remount,ro,bind OUTPUT";
    let output = world.output("");
    let get = |arguments: &[&str]| world.client().args(arguments).arg("-o").arg(&output);
    let cp = |what: &str| world.shmeld("cp").arg("-r").arg(world.source(what)).arg(&output);
    for program in [
        get(&["tree/file"]),
        get(&["-r", "tree"]),
        cp("tree"),
        cp("tree/file"),
    ] {
        let Some((outcome, left)) = with_mount(&world, mount, program) else {
            return;
        };
        let outcome = outcome
            .expect_code(1)
            .expect_said("read-only file system (EROFS)");
        let outcome = outcome.expect_said(output.to_str().unwrap().trim_end_matches('/'));
        assert_eq!(left, ["file"], "{}", outcome.stderr);
    }
    world.assert_output("file", b"old\n");
    assert_server_is_well(&world, "tree/file");
    world.finish();
}

/// A sparse file meets the limit only when it gets its size: no byte is written beyond. A region is a file as well, and was refused: `cp`
/// takes one page then.
#[test]
fn file_size_limit_is_told_for_holes_too_and_cp_gets_by_with_a_page() {
    let world = World::new("broken-limit");
    if !has_or_skip("prlimit") {
        return;
    }
    world.put_random("small", 1000);
    let sparse = std::fs::File::create(world.source("sparse")).unwrap();
    sparse.set_len(MIB).unwrap();
    world.start_server();
    let get = world.client().args(["sparse", "small", "-o"]);
    let cp = world
        .shmeld("cp")
        .arg(world.source("sparse"))
        .arg(world.source("small"));
    for program in [get, cp] {
        let program = program
            .arg(world.output(""))
            .wrapped(&["prlimit", "--fsize=200000", "--"]);
        let outcome = program.run().expect_code(1);
        let path = world.output("sparse").display().to_string();
        let said = format!("ftruncate {path}: file too large (EFBIG)");
        outcome
            .expect_said(&said)
            .expect_said("hint: files and regions of this process are limited");
        world.assert_output("small", &content::of("small", 1000));
        assert_eq!(content::names_below(&world.output("")), [Path::new("small")]);
        std::fs::remove_file(world.output("small")).unwrap();
    }
    // A program that needs a large region says so.
    let cp = world
        .shmeld("cp")
        .args(["--region", "1M"])
        .arg(world.source("small"));
    let cp = cp
        .arg(world.output(""))
        .wrapped(&["prlimit", "--fsize=200000", "--"]);
    cp.run().expect_code(3).expect_said("EFBIG");
    assert_server_is_well(&world, "small");
    world.finish();
}

/// A world with a large file, a small one beside it, and a server.
fn world_with_large(what: &str) -> World {
    let world = World::new(what);
    std::fs::create_dir(world.source("tree")).unwrap();
    put_large(&world, "tree/large", 128);
    world.put_random("tree-2/small", 10_000);
    world.start_server();
    world
}

/// Runs a program that is held in the middle while something happens.
#[track_caller]
fn run_while(program: Program, meanwhile: impl FnOnce()) -> Outcome {
    let client = program.start();
    wait_until_written(&client, MIB);
    client.signal("STOP");
    meanwhile();
    client.signal("CONT");
    client.finish()
}

#[test]
fn directory_removed_during_the_transfer_costs_one_file_and_is_made_again_for_the_next() {
    let world = world_with_large("broken-removed");
    let place = world.output("place");
    let remove = || std::fs::remove_dir_all(&place).unwrap();
    for options in [&["--sync"][..], &["--verify", "--region", "1M"]] {
        let client = world
            .client()
            .args(options)
            .args(["tree/large", "tree-2/small", "-o"]);
        let outcome = run_while(client.arg(&place), remove).expect_code(1);
        let said = format!("get tree/large: linkat {}/tree/large: ", place.display());
        outcome.expect_said(&said).expect_said("ENOENT");
        content::assert_file(&place.join("tree-2/small"), &content::of("tree-2/small", 10_000));
        assert_eq!(content::names_below(&place).len(), 2);
        remove();
    }
    // A tree, merged and new, and whatever hides beside it.
    std::fs::create_dir_all(place.join("tree")).unwrap();
    for _ in 0..2 {
        let cp = world.shmeld("cp").arg("-r").arg(world.source("tree")).arg(&place);
        run_while(cp, remove).expect_code(1).expect_said("ENOENT");
        world.assert_no_output();
        std::fs::create_dir(&place).unwrap();
    }
    assert_server_is_well(&world, "tree/large");
    world.finish();
}

/// What was built aside was removed by its path, and stayed where the directory had gone.
#[test]
fn tree_that_is_given_up_in_a_directory_that_moved_leaves_nothing_there() {
    let world = world_with_large("broken-moved");
    let (place, moved) = (world.output("place"), world.output("moved"));
    std::fs::create_dir(&place).unwrap();
    let get = world.client().args(["-r", "tree", "-o"]).arg(&place);
    let outcome = run_while(get, || {
        std::fs::rename(&place, &moved).unwrap();
        std::fs::create_dir(moved.join("tree")).unwrap();
    });
    outcome.expect_code(1).expect_said("EEXIST");
    assert_eq!(content::names_below(&moved), [Path::new("tree")]);
    assert!(!place.exists());
    world.finish();
}

/// The file is whole on the file system that it was begun on, and what comes later goes to where the path leads then.
#[test]
fn file_system_that_is_unmounted_during_the_transfer_gets_the_file_that_has_begun() {
    let world = world_with_large("broken-unmounted");
    if !is_root_or_skip() || !has_or_skip("mkfs.ext4") || !can_unshare_or_skip() {
        return;
    }
    let client = world
        .client()
        .args(["tree/large", "tree-2/small", "-o"])
        .arg(world.output(""));
    let script = format!(
        "truncate -s 200M disk.image && mkfs.ext4 -q disk.image && mount -o loop disk.image '{0}' || exit 77
        \"$0\" \"$@\" & client=$!
        until [ \"$(sed -n 's/^wchar: //p' /proc/$client/io)\" -gt 1000000 ]; do :; done
        kill -STOP $client; umount -l '{0}' || exit 78; kill -CONT $client
        wait $client || exit 79
        ls -A '{0}' && mount -o loop disk.image '{0}' && cmp '{0}/tree/large' source/tree/large",
        world.root().join("output").display()
    );
    let outcome = client.wrapped(&["unshare", "-m", "sh", "-c", &script]).run();
    if outcome.code == Some(77) {
        return skip("unshare -m and mount -o loop");
    }
    let outcome = outcome.expect_code(0);
    assert_eq!(outcome.stdout_text(), "tree-2\n", "{}", outcome.stderr);
    world.assert_output("tree-2/small", &content::of("tree-2/small", 10_000));
    assert_server_is_well(&world, "tree/large");
    world.finish();
}
