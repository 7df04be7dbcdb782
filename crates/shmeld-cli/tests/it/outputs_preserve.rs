//! `-p`: times and modes as the source has them, in files, trees, links and what is merged; and what becomes of an output whose time or mode
//! cannot be set.

use std::fs::{File, FileTimes};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::content;
use crate::processes::Program;
use crate::world::{NOBODY, World, has_or_skip, is_root_or_skip};

/// Seconds since 1970 and nanoseconds: around the epoch, around the ends of 31 and 32 bits, and far from them.
const TIMES: [(i64, u32); 10] = [
    (0, 0),
    (0, 1),
    (-1, 999_999_999),
    (-1, 500_000_000),
    (-300_000_000, 1),
    (1_234_567_890, 123_456_789),
    (2_147_483_647, 999_999_999),
    (2_147_483_648, 0),
    (4_294_967_296, 7),
    (9_000_000_000, 999_999_998),
];

fn time(seconds: i64, nanoseconds: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let start = if seconds < 0 {
        SystemTime::UNIX_EPOCH - whole
    } else {
        SystemTime::UNIX_EPOCH + whole
    };
    start + Duration::from_nanos(nanoseconds.into())
}

fn set_time(path: &Path, time: SystemTime) {
    let file = File::open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

/// By the tool, which can do it for a link itself.
fn set_link_time(world: &World, link: &Path, seconds: i64) {
    let date = format!("@{seconds}.25");
    let touch = world.tool("touch").args(["-h", "-d", &date]).arg(link);
    touch.run().expect_code(0);
}

fn modified(path: &Path) -> (i64, i64) {
    let found = path.symlink_metadata().unwrap();
    (found.mtime(), found.mtime_nsec())
}

#[test]
fn every_time_is_kept_to_the_nanosecond() {
    let world = World::new("keep-times");
    let names: Vec<String> = (0..TIMES.len()).map(|number| format!("tree/{number}")).collect();
    for (name, (seconds, nanoseconds)) in names.iter().zip(TIMES) {
        set_time(&world.put(name, b"x"), time(seconds, nanoseconds));
    }
    world.start_server();
    let list = world.root().join("list");
    std::fs::write(&list, names.join("\n")).unwrap();
    let get = |arguments: &[&str]| world.client().arg("-p").args(arguments).arg("-o");
    let cp = world.shmeld("cp").arg("-pr").arg(world.source("tree"));
    let list = list.to_str().unwrap();
    for (number, program) in [
        (0, get(&["-r", "tree"])),
        (1, get(&["tree/*"])),
        (2, get(&["-T", list])),
        (3, cp),
    ] {
        let output = world.output(&number.to_string());
        std::fs::create_dir(&output).unwrap();
        program.arg(&output).run().expect_code(0);
        for (name, (seconds, nanoseconds)) in names.iter().zip(TIMES) {
            // What the file system itself can hold.
            let expected = modified(&world.source(name));
            assert_eq!(expected, (seconds, nanoseconds.into()), "{name}");
            assert_eq!(modified(&output.join(name)), expected, "{name} by way {number}");
        }
    }
    world.finish();
}

/// Set-user-id and the like are never copied, also by root, also with `-p`.
#[test]
fn every_mode_is_kept_under_every_umask_and_set_user_id_never() {
    let world = World::new("keep-modes");
    if !is_root_or_skip() {
        return;
    }
    let modes = [0o444, 0o000, 0o777, 0o200, 0o4755, 0o2755, 0o1777, 0o6000];
    for mode in modes {
        content::set_mode(&world.put(&format!("tree/{mode:o}"), b"x"), mode);
    }
    world.start_server();
    for umask in [0o000, 0o022, 0o077, 0o777] {
        for (option, taken) in [("-p", 0), ("-q", umask)] {
            let output = world.output(&format!("{umask:o}{option}"));
            let get = world
                .client()
                .args([option, "tree/*", "-o"])
                .arg(output.join("get"));
            let cp = world.shmeld("cp").args([option, "-r"]).arg(world.source("tree"));
            std::fs::create_dir_all(&output).unwrap();
            for program in [get, cp.arg(output.join("cp"))] {
                program.after(&format!("umask {umask:o}")).run().expect_code(0);
            }
            for mode in modes {
                for place in ["get/tree", "cp"] {
                    let found = content::mode(&output.join(place).join(format!("{mode:o}")));
                    let expected = mode & 0o777 & !taken;
                    assert_eq!(found, expected, "{place} {mode:o}, umask {umask:o}, {option}");
                }
            }
        }
    }
    world.finish();
}

/// A tree with a time of its own for each directory, file and link.
fn plant(world: &World) -> PathBuf {
    for name in ["tree/a/b/file", "tree/a/file", "tree/empty/file"] {
        world.put(name, name.as_bytes());
    }
    std::fs::remove_file(world.source("tree/empty/file")).unwrap();
    symlink("b/file", world.source("tree/a/link")).unwrap();
    for (number, name) in (1..).zip(["a/b/file", "a/file", "empty", "a/b", "a", ""]) {
        set_time(
            &world.source("tree").join(name),
            time(1_000_000_000 + number * 1000, 42),
        );
    }
    set_link_time(world, &world.source("tree/a/link"), 1_000_000_500);
    // The link was made after its directory had got its time.
    set_time(&world.source("tree/a"), time(1_000_005_000, 42));
    world.source("tree")
}

fn times_of(root: &Path) -> Vec<(PathBuf, (i64, i64))> {
    let mut names = content::names_below(root);
    names.push(PathBuf::new());
    names
        .into_iter()
        .map(|name| (name.clone(), modified(&root.join(name))))
        .collect()
}

/// Directories that were there, and links that were replaced, kept the time at which the files in them were made.
#[test]
fn merged_tree_has_the_times_of_its_source_as_cp_gives_them() {
    let world = World::new("keep-merged");
    let tree = plant(&world);
    world.start_server();
    let furnish = |place: PathBuf| {
        std::fs::create_dir_all(place.join("tree/a")).unwrap();
        std::fs::create_dir_all(place.join("tree/empty")).unwrap();
        symlink("old", place.join("tree/a/link")).unwrap();
        std::fs::write(place.join("tree/a/file"), "old").unwrap();
        place
    };
    let theirs = furnish(world.root().join("theirs"));
    let cp = |program: Program, to: &Path| program.args(["-p", "-r"]).arg(&tree).arg(to).run();
    cp(world.tool("cp"), &theirs).expect_code(0);
    let expected = times_of(&theirs.join("tree"));
    assert_eq!(expected, times_of(&tree));
    let ours = furnish(world.output("cp"));
    cp(world.shmeld("cp"), &ours).expect_code(0);
    assert_eq!(times_of(&ours.join("tree")), expected);
    let ours = furnish(world.output("get"));
    let get = world.client().args(["-p", "-r", "tree", "-o"]).arg(&ours);
    get.run().expect_code(0);
    assert_eq!(times_of(&ours.join("tree")), expected);
    // What has no name of its own: the directory that is given. And a tree that is new.
    for (number, what) in (0..).zip(["tree/.", "tree"]) {
        let output = world.output(&number.to_string());
        std::fs::create_dir_all(&output).unwrap();
        let cp = world.shmeld("cp").args(["-p", "-r"]).arg(world.source(what));
        cp.arg(&output).run().expect_code(0);
        let root = if number == 0 { output } else { output.join("tree") };
        assert_eq!(times_of(&root), expected, "{what}");
    }
    world.finish();
}

/// What was there keeps its mode, which is never widened, whatever the source says.
#[test]
fn merged_tree_widens_no_mode() {
    let world = World::new("keep-closed");
    plant(&world);
    content::set_mode(&world.source("tree/a"), 0o777);
    content::set_mode(&world.source("tree/a/file"), 0o666);
    std::fs::create_dir_all(world.output("tree/a")).unwrap();
    std::fs::write(world.output("tree/a/file"), "old").unwrap();
    content::set_mode(&world.output("tree/a"), 0o700);
    content::set_mode(&world.output("tree/a/file"), 0o600);
    let cp = world.shmeld("cp").args(["-p", "-r"]).arg(world.source("tree"));
    cp.arg(world.output("")).after("umask 0").run().expect_code(0);
    let mode = |name: &str| content::mode(&world.output(name));
    assert_eq!((mode("tree/a"), mode("tree/a/file")), (0o700, 0o600));
    assert_eq!(mode("tree/a/b"), content::mode(&world.source("tree/a/b")));
    world.finish();
}

/// New directories in a tree that is there are closed only when their files are in them, and have their times then.
#[test]
fn read_only_directories_are_merged_with_their_content_and_times() {
    let world = World::new("keep-locked");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let tree = plant(&world);
    for name in ["a/b", "a", "empty"] {
        content::set_mode(&tree.join(name), 0o555);
    }
    content::set_mode(&world.output(""), 0o777);
    let mkdir = world.tool("mkdir").arg("-p").arg(world.output("tree"));
    mkdir.as_user(NOBODY).run().expect_code(0);
    let cp = world
        .shmeld("cp")
        .args(["-p", "-r"])
        .arg(&tree)
        .arg(world.output(""));
    cp.as_user(NOBODY).run().expect_code(0).expect_silence();
    let found = content::tree(&world.output("tree"), true);
    content::assert_trees(&found, &content::tree(&tree, true));
    world.finish();
}

/// A time or mode that cannot be set is something asked for and not delivered: the file does not get its name, and a new tree neither.
#[test]
fn time_or_mode_that_cannot_be_set_is_an_error_with_the_path_and_no_file() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("keep-refused");
    let tree = plant(&world);
    world.put("good", b"good");
    world.start_server();
    let strace = |program: Program, inject: &str| {
        let inject = format!("inject={inject}:error=EPERM");
        let words = ["strace", "-f", "-qq", "-o", "calls", "-e", &inject];
        program.wrapped(&words).run().expect_code(1)
    };
    // The region and the two directories that are made on the way get a mode before.
    for (call, operation) in [("utimensat:when=1", "futimens"), ("fchmod:when=4", "fchmod")] {
        let client = world.client().args(["-p", "tree/a/file", "good", "-o"]);
        let outcome = strace(client.arg(world.output("")), call);
        let path = world.output("tree/a/file");
        outcome.expect_said(&format!(
            "{operation} {}: operation not permitted (EPERM)",
            path.display()
        ));
        world.assert_output("good", b"good");
        assert!(!path.exists());
        content::remove_tree(&world.output("tree"));
        std::fs::remove_file(world.output("good")).unwrap();
    }
    // Files and the link come first; the tree's own directory is the last of seven.
    let client = world
        .client()
        .args(["-p", "-r", "tree", "-o"])
        .arg(world.output(""));
    let outcome = strace(client, "utimensat:when=7");
    outcome.expect_said(&format!("futimens {}: ", world.output("tree").display()));
    world.assert_no_output();
    // The same again without a fault.
    world.fetch(&["-p", "-r", "tree"]).expect_code(0);
    assert_eq!(times_of(&world.output("tree")), times_of(&tree));
    world.finish();
}
