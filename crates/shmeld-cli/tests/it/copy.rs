//! `shmeld cp` beside the real `cp`: the same arguments in two equal directories must have the same outcome.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::content;
use crate::processes::Outcome;
use crate::world::{NOBODY, World, has_or_skip, is_root_or_skip};

/// What both find: a few files, directories and links.
fn furnish(directory: &Path) {
    for (name, text) in [
        ("f", "file f"),
        ("g", "file g, longer"),
        ("-dash", "dash"),
        ("other/f", "another f"),
        ("d/x", "x"),
        ("d/deep/y", "y"),
        ("d/.dot", "dot"),
        ("full/f", "old f in full"),
        ("full/d/x", "old x in full"),
        ("full/d/old", "only in full"),
        ("blocked/f/x", "f is a directory here"),
        ("blocked/d", "d is a file here"),
    ] {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::create_dir(directory.join("d/empty")).unwrap();
    std::fs::create_dir(directory.join("into")).unwrap();
    std::fs::set_permissions(directory.join("g"), std::fs::Permissions::from_mode(0o750)).unwrap();
    std::fs::set_permissions(directory.join("full/f"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::create_dir(directory.join("linked")).unwrap();
    symlink("../other", directory.join("linked/d")).unwrap();
    symlink("f", directory.join("link-f")).unwrap();
    symlink("into", directory.join("link-into")).unwrap();
}

/// Runs both with the same arguments; returns ours, and whether they agree in success.
#[track_caller]
fn run_both(world: &World, arguments: &[&str]) -> (Outcome, Outcome) {
    for directory in ["ours", "theirs"] {
        content::remove_tree(&world.root().join(directory));
        std::fs::create_dir(world.root().join(directory)).unwrap();
        furnish(&world.root().join(directory));
    }
    let ours = world
        .shmeld("cp")
        .args(arguments)
        .current_dir(world.root().join("ours"));
    let theirs = world
        .tool("cp")
        .args(arguments)
        .current_dir(world.root().join("theirs"));
    (ours.after("umask 022").run(), theirs.after("umask 022").run())
}

/// Insists that both make the same of it.
#[track_caller]
fn same_as_cp(arguments: &[&str]) {
    let world = World::new("cp");
    let (ours, theirs) = run_both(&world, arguments);
    assert_eq!(
        ours.code, theirs.code,
        "{arguments:?}\n{}{}",
        ours.stderr, theirs.stderr
    );
    assert_eq!(
        ours.stderr.is_empty(),
        theirs.stderr.is_empty(),
        "{arguments:?}\n{}",
        ours.stderr
    );
    let trees = ["ours", "theirs"].map(|name| content::tree(&world.root().join(name), false));
    content::assert_trees(&trees[0], &trees[1]);
    world.finish();
}

#[test]
fn file_to_a_new_name() {
    same_as_cp(&["f", "new"]);
    same_as_cp(&["g", "into/new"]);
    same_as_cp(&["./f", "./new"]);
    same_as_cp(&["--", "-dash", "new"]);
}

#[test]
fn file_onto_a_file() {
    same_as_cp(&["f", "d/x"]);
    same_as_cp(&["f", "full/f"]);
    same_as_cp(&["g", "full/f"]);
}

#[test]
fn file_into_a_directory() {
    same_as_cp(&["f", "into"]);
    same_as_cp(&["f", "into/"]);
    same_as_cp(&["f", "full"]);
    same_as_cp(&["other/f", "."]);
    same_as_cp(&["f", "link-into"]);
}

#[test]
fn several_sources_into_a_directory() {
    same_as_cp(&["f", "g", "d/x", "into"]);
    same_as_cp(&["-r", "f", "d", "other", "into"]);
}

#[test]
fn several_sources_into_what_is_no_directory_is_an_error() {
    same_as_cp(&["f", "g", "d/x"]);
    same_as_cp(&["f", "g", "absent"]);
    same_as_cp(&["-r", "d", "other", "absent"]);
}

#[test]
fn missing_source_is_an_error_and_the_others_are_copied() {
    same_as_cp(&["nope", "new"]);
    same_as_cp(&["f", "nope", "g", "into"]);
}

#[test]
fn destination_below_what_is_not_there_or_no_directory_is_an_error() {
    same_as_cp(&["f", "absent/new"]);
    same_as_cp(&["f", "g/new"]);
    same_as_cp(&["f", "absent/"]);
    same_as_cp(&["-r", "d", "absent/new"]);
}

#[test]
fn directory_needs_r_and_the_others_are_copied() {
    same_as_cp(&["d", "new"]);
    same_as_cp(&["f", "d", "into"]);
}

#[test]
fn directory_to_a_new_name_or_into_a_directory() {
    same_as_cp(&["-r", "d", "new"]);
    same_as_cp(&["-r", "d/", "new"]);
    same_as_cp(&["-r", "d", "new/"]);
    same_as_cp(&["-r", "d", "into"]);
    same_as_cp(&["-r", "d/deep", "into/"]);
}

#[test]
fn directory_onto_one_of_its_name_is_merged() {
    same_as_cp(&["-r", "d", "full"]);
    same_as_cp(&["-r", "d", "full/"]);
}

#[test]
fn contents_of_a_directory_are_meant_by_its_dot() {
    same_as_cp(&["-r", "d/.", "into"]);
    same_as_cp(&["-r", "d/.", "full/d"]);
    same_as_cp(&["-r", "d/.", "new"]);
}

#[test]
fn file_and_directory_never_replace_each_other() {
    same_as_cp(&["f", "blocked"]);
    same_as_cp(&["-r", "d", "blocked"]);
    same_as_cp(&["-r", "d", "f"]);
}

#[test]
fn link_under_the_name_of_a_directory_is_not_followed() {
    same_as_cp(&["-r", "d", "linked"]);
}

#[test]
fn link_as_a_source_is_followed_without_r() {
    same_as_cp(&["link-f", "new"]);
    same_as_cp(&["link-f", "into"]);
}

#[test]
fn two_sources_of_one_name_do_not_overwrite_each_other() {
    same_as_cp(&["f", "other/f", "into"]);
}

#[test]
fn same_file_is_refused_and_keeps_its_content() {
    let world = World::new("cp-same");
    for arguments in [
        &["f", "f"][..],
        &["f", "./f"],
        &["f", "."],
        &["f", "into/../f"],
        &["link-f", "f"],
    ] {
        let (ours, theirs) = run_both(&world, arguments);
        assert_eq!(theirs.code, Some(1), "{arguments:?}");
        ours.expect_code(1).expect_said("same file");
        content::assert_file(&world.root().join("ours/f"), b"file f");
    }
    world.finish();
}

#[test]
fn directory_is_not_copied_into_itself() {
    let world = World::new("cp-itself");
    for arguments in [
        ["-r", "d", "d/new"],
        ["-r", "d", "d"],
        ["-r", "d", "d/deep"],
        ["-r", ".", "into"],
    ] {
        let (ours, theirs) = run_both(&world, &arguments);
        assert_eq!(theirs.code, Some(1), "{arguments:?}");
        ours.expect_code(1).expect_said("into itself");
        let d = world.root().join("ours/d");
        assert_eq!(
            content::names_below(&d).len(),
            5,
            "{arguments:?}: {:?}",
            content::names_below(&d)
        );
    }
    world.finish();
}

#[test]
fn good_sources_are_copied_although_one_is_refused() {
    let world = World::new("cp-partly");
    let (ours, theirs) = run_both(&world, &["-r", "f", "into", "g", "into"]);
    assert_eq!((ours.code, theirs.code), (Some(1), Some(1)), "{}", ours.stderr);
    for name in ["f", "g"] {
        content::assert_file(
            &world.root().join("ours/into").join(name),
            &std::fs::read(world.root().join("ours").join(name)).unwrap(),
        );
    }
    world.finish();
}

#[test]
fn link_as_destination_is_replaced_and_what_it_points_to_stays() {
    let world = World::new("cp-link");
    let (ours, _) = run_both(&world, &["g", "link-f"]);
    ours.expect_code(0).expect_silence();
    let ours = world.root().join("ours");
    assert!(!ours.join("link-f").is_symlink());
    content::assert_file(&ours.join("link-f"), b"file g, longer");
    content::assert_file(&ours.join("f"), b"file f");
    world.finish();
}

#[test]
fn no_clobber_keeps_what_is_there_and_copies_the_rest() {
    let world = World::new("cp-no-clobber");
    let (ours, _) = run_both(&world, &["--no-clobber", "f", "g", "full"]);
    ours.expect_code(1).expect_said("EEXIST");
    let full = world.root().join("ours/full");
    content::assert_file(&full.join("f"), b"old f in full");
    content::assert_file(&full.join("g"), b"file g, longer");
    world.finish();
}

#[test]
fn cp_is_silent_when_all_is_well_and_its_private_server_leaves_nothing() {
    let world = World::new("cp-private");
    let bytes = world.put_random("file", 300_000);
    let cp = world.shmeld("cp").arg(world.source("file")).arg(world.output(""));
    cp.run().expect_code(0).expect_silence();
    world.assert_output("file", &bytes);

    let explained = world
        .shmeld("cp")
        .arg("--explain")
        .arg(world.source("file"))
        .arg(world.output("again"));
    let outcome = explained.run().expect_code(0);
    let name = outcome
        .stderr
        .split_whitespace()
        .find(|word| word.starts_with("/shmeld-cp-"))
        .unwrap();
    let queue = shmeld_os::ObjectName::new(name).unwrap();
    use shmeld_os::posix::mqueue::{Access, MessageQueue};
    assert!(
        MessageQueue::open(&queue, Access::Send).is_err(),
        "the queue {name} is left"
    );
    let gate = Path::new("/dev/shm").join(format!("shmeld.{}.gate", &name[1..]));
    assert!(!gate.exists(), "{} is left", gate.display());
    world.finish();
}

#[test]
fn cp_with_verify_sync_and_every_region_delivers_the_same() {
    let world = World::new("cp-options");
    let bytes = world.put_random("file", 1_234_567);
    for options in [
        &["--verify"][..],
        &["--sync"],
        &["--region", "4096"],
        &["--region", "64M", "--verify"],
    ] {
        let cp = world
            .shmeld("cp")
            .args(options)
            .arg(world.source("file"))
            .arg(world.output("copy"));
        cp.run().expect_code(0).expect_silence();
        world.assert_output("copy", &bytes);
    }
    world.finish();
}

#[test]
fn cp_into_a_directory_that_may_not_be_written_is_an_error_that_names_it() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("cp-closed");
    world.put("file", b"x");
    let cp = world
        .shmeld("cp")
        .arg(world.source("file"))
        .arg(world.output("copy"));
    cp.as_user(NOBODY)
        .run()
        .expect_code(1)
        .expect_said("output")
        .expect_said("EACCES");
    world.assert_no_output();
    world.finish();
}
