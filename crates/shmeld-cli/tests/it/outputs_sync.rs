//! `--sync`: which calls make an output last, in which order, and what becomes of it when one of them fails (rows C14 and O1 of the fault
//! catalogue). A power cut cannot be tested here; what survives one follows from the order.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::content;
use crate::outcome::Outcome;
use crate::processes::Program;
use crate::world::{World, has_or_skip};

const CALLS: &str = "trace=fsync,fdatasync,linkat,rename,renameat,renameat2,mkdirat,symlinkat";

/// A world with a server, a file below directories, and two trees in which every directory has one entry: their order is known.
fn world_with_files(what: &str) -> World {
    let world = World::new(what);
    world.put("x/file", b"the file");
    world.put("tree/a/b/file", b"in the tree");
    std::fs::create_dir(world.source("links")).unwrap();
    symlink("file", world.source("links/link")).unwrap();
    world.start_server();
    world
}

/// Runs a program, with `inject` if that is not empty.
fn traced(world: &World, program: Program, inject: &str) -> Outcome {
    let trace = world.root().join("calls");
    let mut strace = vec![
        "strace",
        "-f",
        "-qq",
        "-y",
        "-o",
        trace.to_str().unwrap(),
        "-e",
        CALLS,
    ];
    if !inject.is_empty() {
        strace.extend(["-e", inject]);
    }
    let outcome = program.wrapped(&strace).run();
    // Nothing that people do not know is named.
    for hidden in ["(deleted)", ".shmeld-"] {
        assert!(!outcome.stderr.contains(hidden), "{}", outcome.stderr);
    }
    let names = content::names_below(world.root());
    let is_hidden = |name: &&std::path::PathBuf| content::base(name).contains(".shmeld-");
    assert_eq!(names.iter().find(is_hidden), None, "{}", outcome.stderr);
    outcome
}

/// What succeeded in the output directory, as `fsync PATH`, `mkdir PATH`, `link PATH`, ... relative to it. A file without a name is `FILE`,
/// hidden names are `HIDDEN`.
fn calls(world: &World) -> Vec<String> {
    let text = std::fs::read_to_string(world.root().join("calls")).unwrap();
    let output = world
        .output("")
        .to_str()
        .unwrap()
        .trim_end_matches('/')
        .to_owned();
    text.lines()
        .filter(|line| line.ends_with(" = 0"))
        .filter_map(|line| call(line, &output))
        .collect()
}

fn call(line: &str, output: &str) -> Option<String> {
    let (_, call) = line.split_once(' ')?;
    let (name, arguments) = call.trim_start().split_once('(')?;
    // The last directory and the last name are where something appears.
    let path = arguments.rsplit('<').next()?.split_once('>')?.0;
    let below = path.strip_prefix(output)?.trim_start_matches('/');
    let base = arguments.rsplit('"').nth(1).unwrap_or_default();
    let path = match name {
        "fsync" => below.to_owned(),
        _ => Path::new(below).join(base).to_str()?.to_owned(),
    };
    let shown: Vec<&str> = path
        .split('/')
        .map(|part| match part {
            part if part.starts_with('#') => "FILE",
            part if part.contains(".shmeld-") => "HIDDEN",
            part => part,
        })
        .collect();
    let verb = name.trim_end_matches('2').trim_end_matches("at");
    Some(format!("{verb} /{}", shown.join("/")))
}

/// Runs a program without a fault and insists on what it did.
#[track_caller]
fn assert_calls(world: &World, program: Program, expected: &[&str]) {
    traced(world, program, "").expect_code(0);
    assert_eq!(calls(world), expected);
}

fn get(world: &World, arguments: &[&str]) -> Program {
    let output = world.output("");
    world.client().arg("--sync").args(arguments).current_dir(output)
}

/// Directories that the client made for a file were not synced: after a power cut the file could be gone with them, in spite of exit 0.
#[test]
fn each_directory_that_is_made_for_a_file_is_synced_and_so_is_its_parent() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("sync-made");
    let expected = [
        "mkdir /new",
        "fsync /new",
        "fsync /",
        "mkdir /new/deep",
        "fsync /new/deep",
        "fsync /new",
        "mkdir /new/deep/x",
        "fsync /new/deep/x",
        "fsync /new/deep",
        "fsync /new/deep/x/FILE",
        "link /new/deep/x/file",
        "fsync /new/deep/x",
    ];
    assert_calls(&world, get(&world, &["-o", "new/deep/", "x/file"]), &expected);
    world.assert_output("new/deep/x/file", b"the file");
    // What is replaced has a hidden name first.
    let expected = [
        "fsync /new/deep/x/FILE",
        "link /new/deep/x/HIDDEN",
        "rename /new/deep/x/file",
        "fsync /new/deep/x",
    ];
    assert_calls(&world, get(&world, &["-o", "new/deep/", "x/file"]), &expected);
    // The way to a tree is made too.
    let expected = [
        "mkdir /to",
        "fsync /to",
        "fsync /",
        "mkdir /to/tree",
        "fsync /to/tree",
        "fsync /to",
        "mkdir /to/tree/HIDDEN",
        "mkdir /to/tree/HIDDEN/b",
        "fsync /to/tree/HIDDEN/b/file",
        "fsync /to/tree/HIDDEN/b",
        "fsync /to/tree/HIDDEN",
        "rename /to/tree/a",
        "fsync /to/tree",
    ];
    assert_calls(&world, get(&world, &["-o", "to", "-r", "tree/a"]), &expected);
    world.finish();
}

/// A tree that is built aside is complete on the disk before it has its name; what is merged into a tree is synced with the directory that
/// it was put into, which was left out for directories and links.
#[test]
fn trees_are_synced_from_the_inside_and_what_is_merged_with_its_directory() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("sync-trees");
    let cp = |what: &str| {
        let cp = world.shmeld("cp").args(["-r", "--sync"]).arg(world.source(what));
        cp.arg(world.output(""))
    };
    let expected = [
        "mkdir /HIDDEN",
        "mkdir /HIDDEN/a",
        "mkdir /HIDDEN/a/b",
        "fsync /HIDDEN/a/b/file",
        "fsync /HIDDEN/a/b",
        "fsync /HIDDEN/a",
        "fsync /HIDDEN",
        "rename /tree",
        "fsync /",
    ];
    assert_calls(&world, cp("tree"), &expected);
    world.assert_output("tree/a/b/file", b"in the tree");
    content::remove_tree(&world.output("tree/a/b"));
    let expected = [
        "mkdir /tree/a/b",
        "fsync /tree/a",
        "fsync /tree/a/b/FILE",
        "link /tree/a/b/file",
        "fsync /tree/a/b",
        "fsync /tree/a/b",
    ];
    assert_calls(&world, cp("tree"), &expected);
    std::fs::create_dir(world.output("links")).unwrap();
    assert_calls(&world, cp("links"), &["symlink /links/link", "fsync /links"]);
    let expected = ["symlink /links/HIDDEN", "rename /links/link", "fsync /links"];
    assert_calls(&world, cp("links"), &expected);
    world.finish();
}

/// `--sync -o - > file` promised what it did not do.
#[test]
fn standard_output_is_synced_if_it_can_be() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("sync-stdout");
    let client = || get(&world, &["-o", "-", "x/file"]);
    let into_file = || std::fs::File::create(world.output("redirected")).unwrap();
    let program = client().stdout(into_file());
    assert_calls(&world, program, &["fsync /redirected"]);
    world.assert_output("redirected", b"the file");
    // A pipe says EINVAL, which is no failure.
    let outcome = traced(&world, client(), "").expect_code(0);
    assert_eq!(outcome.stdout, b"the file");
    let outcome = traced(&world, client().stdout(into_file()), "inject=fsync:error=EIO");
    let outcome = outcome.expect_code(1);
    outcome.expect_line("shm_client: get x/file: fsync standard output: input/output error (EIO)");
    world.finish();
}

/// How a disk may refuse to sync.
const REFUSALS: [&str; 3] = ["EIO", "ENOSPC", "EDQUOT"];

/// The n-th of all calls of fsync fails, for each n.
#[test]
fn every_sync_that_fails_is_told_with_its_path_and_leaves_no_half_output() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("sync-fails");
    let cp = || {
        let cp = world
            .shmeld("cp")
            .args(["-r", "--sync"])
            .arg(world.source("tree"));
        cp.arg(world.output(""))
    };
    // Of the file; of its two directories and the tree's own; of the directory that has the tree's name.
    let paths = [
        "output/tree/a/b/file",
        "output/tree/a/b",
        "output/tree/a",
        "output/tree",
        "output",
    ];
    for (number, path) in (1..).zip(paths) {
        let errno = REFUSALS[number % REFUSALS.len()];
        let outcome = traced(&world, cp(), &format!("inject=fsync:error={errno}:when={number}"));
        let outcome = outcome.expect_code(1);
        let said = format!("fsync {}: ", world.root().join(path).display());
        let outcome = outcome.expect_said(&said).expect_said(errno);
        let names = content::names_below(&world.output(""));
        let expected: &[&str] = match number {
            1 => &["tree", "tree/a", "tree/a/b"],
            5 => &["tree", "tree/a", "tree/a/b", "tree/a/b/file"],
            _ => &[],
        };
        let expected: Vec<&Path> = expected.iter().map(Path::new).collect();
        assert_eq!(names, expected, "{number}: {}", outcome.stderr);
        content::remove_tree(&world.output("tree"));
    }
    // Of a directory that is made for a file, its parent, the file, and again the directory.
    for number in 1..=4 {
        let inject = format!("inject=fsync:error=EIO:when={number}");
        let outcome = traced(&world, get(&world, &["-o", ".", "x/file", "x/file"]), &inject);
        assert!(matches!(outcome.code, Some(1)), "{number}: {}", outcome.stderr);
        let outcome = outcome
            .expect_said("shm_client: get x/file: fsync ")
            .expect_said("EIO");
        // The second request for it succeeds.
        assert_eq!(
            outcome.stderr.matches("EIO").count(),
            1,
            "{number}: {}",
            outcome.stderr
        );
        world.assert_output("x/file", b"the file");
        content::remove_tree(&world.output("x"));
    }
    world.finish();
}
