//! Whole trees: `shmeld cp -r` and `get -r` give what the real `cp -r` gives, less what is refused by name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::content::{self, Tree};
use crate::processes::Outcome;
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// Links of the tree below that are not recreated, and the FIFO: relative to the tree's root.
const REFUSED: [&str; 6] = [
    "link-absolute",
    "link-dangling-outside",
    "link-outside",
    "room-07/link-far-outside",
    "room-07/link-roundabout",
    "room-10/pipe",
];

/// 1,000 files in 50 directories, some nested, with everything that real trees have.
fn plant(world: &World, root: &str) -> PathBuf {
    let root = world.source(root);
    for room in 0..50 {
        let directory = if room % 5 == 4 {
            root.join(format!("room-{:02}/inner/room-{room:02}", room - 1))
        } else {
            root.join(format!("room-{room:02}"))
        };
        std::fs::create_dir_all(&directory).unwrap();
        for file in 0..20 {
            let name = match file {
                0 => ".dotfile".to_owned(),
                1 => "-dash".to_owned(),
                2 => "with blank and \u{e9}".to_owned(),
                _ => format!("file-{file:02}"),
            };
            let len = (room * 37 + file * file * 29) % 9_000;
            std::fs::write(directory.join(&name), content::of(&format!("{room}/{name}"), len)).unwrap();
        }
        content::set_mode(&directory.join("file-03"), 0o640);
        content::set_mode(&directory.join("file-04"), 0o777);
        content::set_mode(&directory.join("file-05"), 0o400);
    }
    plant_odd_things(world, &root);
    root
}

fn plant_odd_things(world: &World, root: &Path) {
    for empty in ["empty", ".hidden-empty", "room-00/empty/nested"] {
        std::fs::create_dir_all(root.join(empty)).unwrap();
    }
    std::fs::write(root.join(OsStr::from_bytes(b"not-utf8-\xff\nline")), b"x").unwrap();
    std::fs::write(root.join("empty-file"), b"").unwrap();
    content::set_mode(&root.join("room-01"), 0o750);
    content::set_mode(&root.join("room-02"), 0o555);
    for (target, link) in [
        ("room-00/file-03", "link-inside"),
        ("room-01", "link-directory"),
        ("../room-00/.dotfile", "room-06/link-up"),
        ("nothing-here", "link-dangling-inside"),
        (".", "link-self"),
        ("/etc/passwd", "link-absolute"),
        ("../../outside", "link-outside"),
        ("../nowhere", "link-dangling-outside"),
        ("../../../../../../etc/passwd", "room-07/link-far-outside"),
        ("../room-00/../../tree/room-00/file-03", "room-07/link-roundabout"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    world
        .tool("mkfifo")
        .arg(root.join("room-10/pipe"))
        .run()
        .expect_code(0);
}

/// What the real `cp` makes of the tree, less what is refused.
fn expected_tree(world: &World, root: &Path, options: &str) -> Tree {
    let copy = world.root().join("by-cp");
    let cp = world.tool("cp").arg(options).arg(root).arg(&copy);
    cp.after("umask 022").run().expect_code(0);
    let mut tree = content::tree(&copy, options.contains('p'));
    for refused in REFUSED {
        assert!(tree.remove(Path::new(refused)).is_some(), "{refused}");
    }
    content::remove_tree(&copy);
    tree
}

/// Insists that exactly the refused things are named, each once.
#[track_caller]
fn assert_refusals(outcome: &Outcome, prefix: &str) {
    let lines = outcome.stderr.lines().filter(|line| line.starts_with(prefix));
    let mut named: Vec<&str> = lines
        .map(|line| line[prefix.len()..].split(": ").next().unwrap())
        .collect();
    named.sort_unstable();
    assert_eq!(named, REFUSED, "{}", outcome.stderr);
}

#[test]
fn cp_of_a_tree_of_1000_files_equals_the_real_cp() {
    let world = World::new("tree-cp");
    let root = plant(&world, "tree");
    let expected = expected_tree(&world, &root, "-r");
    assert!(expected.values().filter(|item| item.kind == "file").count() >= 1_000);
    let copy = world.output("copy");
    let cp = world
        .shmeld("cp")
        .arg("-r")
        .arg(&root)
        .arg(&copy)
        .after("umask 022");
    let outcome = cp.run().expect_code(1);
    content::assert_trees(&content::tree(&copy, false), &expected);
    // The tree's own name is that of the job, `.`: what lies below is named by itself.
    assert_refusals(&outcome, "shmeld: cp ");
    assert_eq!(content::mode(&copy), 0o755);

    // Once more onto what is there: merged, and the same.
    std::fs::rename(&copy, world.output("tree")).unwrap();
    let cp = world
        .shmeld("cp")
        .args(["-r", "--region", "4096"])
        .arg(&root)
        .arg(world.output(""));
    let cp = cp.after("umask 022");
    cp.run().expect_code(1);
    content::assert_trees(&content::tree(&world.output("tree"), false), &expected);
    world.finish();
}

#[test]
fn get_of_a_tree_of_1000_files_equals_the_real_cp() {
    let world = World::new("tree-get");
    let root = plant(&world, "tree");
    let expected = expected_tree(&world, &root, "-r");
    let server = world.start_server();
    for region in ["4096", "1M"] {
        let get = world
            .shmeld("get")
            .args(["--name", world.name(), "-r", "--region", region, "tree", "-o"]);
        let outcome = get
            .arg(world.output(region))
            .after("umask 022")
            .run()
            .expect_code(1);
        let copy = world.output(region).join("tree");
        content::assert_trees(&content::tree(&copy, false), &expected);
        assert_refusals(&outcome, "shmeld: get tree/");
    }
    assert!(server.is_running());
    world.finish();
}

#[test]
fn preserved_tree_has_the_times_and_modes_of_the_source() {
    let world = World::new("tree-p");
    let root = plant(&world, "tree");
    let old = |seconds| SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000 + seconds, 987_654_321);
    for (number, name) in ["room-00/file-03", "room-01/file-04", "room-01", "empty"]
        .iter()
        .enumerate()
    {
        let file = std::fs::File::open(root.join(name)).unwrap();
        file.set_modified(old(number as u64 * 86_400)).unwrap();
    }
    let expected = expected_tree(&world, &root, "-rp");
    let copy = world.output("copy");
    let cp = world
        .shmeld("cp")
        .args(["-r", "-p"])
        .arg(&root)
        .arg(&copy)
        .after("umask 077");
    cp.run().expect_code(1);
    content::assert_trees(&content::tree(&copy, true), &expected);
    world.finish();
}

#[test]
fn tree_of_everything_is_fetched_by_its_dot() {
    let world = World::new("tree-dot");
    world.put("a/b", b"b");
    world.put(".c", b"c");
    world.start_server();
    world.fetch(&["-r", "."]).expect_code(0);
    content::assert_trees(
        &content::tree(&world.output(""), false),
        &content::tree(&world.source(""), false),
    );
    world.finish();
}

#[test]
fn several_trees_and_files_are_fetched_in_one_session() {
    let world = World::new("tree-several");
    for name in ["a/1", "a/2", "b/c/3", "b/d/4", "file"] {
        world.put(name, name.as_bytes());
    }
    world.start_server();
    let outcome = world.fetch(&["-r", "a", "b/c", "nope", "file"]).expect_code(1);
    outcome.expect_line("shm_client: get nope: no such file (FNF)");
    let found: Vec<_> = content::names_below(&world.output(""));
    let expected = ["a", "a/1", "a/2", "b", "b/c", "b/c/3", "file"];
    assert_eq!(found, expected.map(PathBuf::from));
    world.finish();
}

#[test]
fn tree_appears_at_once_and_whole_or_not_at_all() {
    let world = World::new("tree-whole");
    plant(&world, "tree");
    let copy = world.output("copy");
    let cp = world
        .shmeld("cp")
        .args(["-q", "-r"])
        .arg(world.source("tree"))
        .arg(&copy)
        .start();
    let mut seen = None;
    // A tree that can be seen is complete: the very last file is there with the first.
    eventually("cp ends", || {
        if seen.is_none() && copy.exists() {
            seen = Some(content::names_below(&copy).len());
        }
        !cp.is_running()
    });
    cp.finish().expect_code(1);
    let all = content::names_below(&copy).len();
    assert!(
        seen.is_none_or(|seen| seen == all),
        "{seen:?} of {all} were to be seen"
    );
    world.finish();
}

#[test]
fn deep_tree_arrives_as_far_as_it_is_walked_and_the_rest_is_named() {
    let world = World::new("tree-deep");
    let deep = |levels: usize| "d/".repeat(levels) + "leaf";
    world.put(&deep(100), b"deep");
    world.start_server();
    world.fetch(&["-r", "d"]).expect_code(0);
    world.assert_output(&deep(100), b"deep");
    // Built step by step: the whole path is longer than a system call takes.
    let script = "cd source && i=0; while [ $i -lt 140 ]; do mkdir -p e && cd e || exit 1; i=$((i+1)); done; echo x >leaf";
    world.tool("sh").args(["-c", script]).run().expect_code(0);
    let outcome = world.fetch(&["-r", "e"]).expect_code(1);
    outcome.expect_said("(DENIED)").expect_said("128 levels");
    assert!(world.output(&"e/".repeat(100)).is_dir());
    world.finish();
}

#[test]
fn unreadable_parts_of_a_tree_are_named_and_the_rest_arrives() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("tree-closed");
    world.put("tree/open", b"open");
    content::set_mode(&world.put("tree/closed", b"secret"), 0o600);
    world.put("tree/room/inside", b"secret");
    content::set_mode(&world.source("tree/room"), 0o700);
    content::set_mode(&world.output(""), 0o777);
    let cp = world
        .shmeld("cp")
        .arg("-r")
        .arg(world.source("tree"))
        .arg(world.output("copy"));
    let outcome = cp.as_user(NOBODY).run().expect_code(1);
    assert_eq!(
        outcome.stderr.matches("(DENIED)").count(),
        2,
        "{}",
        outcome.stderr
    );
    world.assert_output("copy/open", b"open");
    assert!(!world.output("copy/closed").exists() && !world.output("copy/room/inside").exists());
    world.finish();
}

#[test]
fn directories_that_may_not_be_written_arrive_with_their_content() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("tree-read-only");
    world.put("tree/locked/inner/file", b"x");
    for directory in ["tree/locked/inner", "tree/locked", "tree"] {
        content::set_mode(&world.source(directory), 0o555);
    }
    content::set_mode(&world.output(""), 0o777);
    for options in [&["-r"][..], &["-r", "-p"]] {
        let name = options.len().to_string();
        let cp = world
            .shmeld("cp")
            .args(options)
            .arg(world.source("tree"))
            .arg(world.output(&name));
        cp.as_user(NOBODY).run().expect_code(0).expect_silence();
        let found = content::tree(&world.output(&name), false);
        content::assert_trees(&found, &content::tree(&world.source("tree"), false));
        assert_eq!(content::mode(&world.output(&name)), 0o555);
    }
    world.finish();
}

#[test]
fn name_of_a_tree_is_the_same_with_a_slash_behind_it() {
    let world = World::new("tree-slash");
    world.put("tree/file", b"x");
    world.start_server();
    for name in ["tree", "tree/", "./tree"] {
        let client = world
            .client()
            .args(["--json", "-r", name, "-o"])
            .arg(world.output(""));
        let delivered = client.run().expect_code(0).names_of("delivered");
        assert_eq!(delivered, ["tree/file"], "{name}");
        world.assert_output("tree/file", b"x");
    }
    world.finish();
}

#[test]
fn tree_in_a_pipe_is_its_files_one_after_the_other() {
    let world = World::new("tree-pipe");
    world.put("tree/only", b"the only file");
    world.put("tree/sub/empty", b"");
    world.start_server();
    let outcome = world
        .client()
        .args(["-r", "-o", "-", "tree"])
        .run()
        .expect_code(0);
    assert_eq!(outcome.stdout, b"the only file");
    world.finish();
}

#[test]
fn links_on_the_way_to_a_tree_are_not_followed_out_of_the_output_directory() {
    let world = World::new("tree-links");
    world.put("sub/dir/file", b"x");
    world.put("plain", b"x");
    world.start_server();
    let elsewhere = world.root().join("elsewhere");
    std::fs::create_dir_all(elsewhere.join("dir")).unwrap();
    symlink(&elsewhere, world.output("sub")).unwrap();
    symlink(&elsewhere, world.output("plain")).unwrap();
    for name in ["sub", "sub/dir", "sub/dir/file"] {
        world.fetch(&["-r", name]).expect_code(1).expect_said("sub");
        assert_eq!(content::names_below(&elsewhere), [Path::new("dir")], "{name}");
    }
    // A link under the name of a file is replaced, as ever.
    world.fetch(&["-r", "plain"]).expect_code(0);
    world.assert_output("plain", b"x");
    assert!(!world.output("plain").is_symlink());
    world.finish();
}
