//! Opening paths that strangers chose: never outside, and both ways alike.

use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use shmeld_os::fs::{
    Audience, FileKind, Links, Stat, open_beneath, open_beneath_by_walk, open_beneath_for, stat,
};
use shmeld_os::{Errno, Result};

use crate::support::{Directory, NOBODY, as_user, forbid_call, is_root_or_skip};

/// `outside` beside `root`; in `root` directories, files, a FIFO, and links of every kind.
fn make_tree(top: &Path) {
    for directory in ["outside/dir", "root/d/e/f", "root/locked"] {
        std::fs::create_dir_all(top.join(directory)).expect("made");
    }
    for file in [
        "outside/secret",
        "outside/dir/secret",
        "root/a",
        "root/d/a",
        "root/d/e/a",
        "root/d/e/f/a",
    ] {
        std::fs::write(top.join(file), file).expect("written");
    }
    let outside = top.join("outside");
    for (target, link) in [
        ("a", "root/link"),
        ("d/e", "root/down"),
        ("../a", "root/d/up"),
        ("../../outside/secret", "root/d/escape"),
        ("..", "root/d/parent"),
        (".", "root/d/self"),
        ("../..", "root/d/e/top"),
        ("../../..", "root/d/e/above"),
        ("loop", "root/loop"),
        ("two", "root/one"),
        ("one", "root/two"),
        ("no/such", "root/dangling"),
        ("d/e/", "root/slash"),
        ("a/", "root/notdir"),
        ("/etc/passwd", "root/absolute"),
        ("/proc/self/root", "root/magic"),
        ("down/../link", "root/chain"),
    ] {
        symlink(target, top.join(link)).expect("linked");
    }
    symlink(&outside, top.join("root/d/outside")).expect("linked");
    let fifo = top.join("root/fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a fifo");
    std::os::unix::fs::chown(top.join("root/locked"), Some(0), Some(0)).ok();
    std::fs::set_permissions(
        top.join("root/locked"),
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .expect("set");
}

struct Tree {
    top: Directory,
    root: OwnedFd,
}

fn tree() -> Tree {
    let top = Directory::new("beneath");
    make_tree(&top);
    let root = shmeld_os::fs::open_directory(&top.join("root")).expect("opened");
    Tree { top, root }
}

fn identity(outcome: Result<OwnedFd>) -> std::result::Result<(u64, u64, FileKind), Errno> {
    match outcome {
        Ok(fd) => {
            let Stat { dev, ino, kind, .. } = stat(&fd).expect("stat");
            Ok((dev, ino, kind))
        }
        Err(error) => Err(error.errno()),
    }
}

#[test]
fn each_documented_answer_is_given_by_both_ways() {
    let tree = tree();
    let cases: &[(&str, Links, std::result::Result<FileKind, Errno>)] = &[
        ("", Links::Follow, Ok(FileKind::Directory)),
        (".", Links::Refuse, Ok(FileKind::Directory)),
        ("a", Links::Refuse, Ok(FileKind::File)),
        ("d//e/./f/../a", Links::Refuse, Ok(FileKind::File)),
        ("d/e/", Links::Refuse, Ok(FileKind::Directory)),
        ("a/", Links::Follow, Err(Errno::NOTDIR)),
        ("a/..", Links::Follow, Err(Errno::NOTDIR)),
        ("a/x", Links::Follow, Err(Errno::NOTDIR)),
        ("no", Links::Follow, Err(Errno::NOENT)),
        ("no/..", Links::Follow, Err(Errno::NOENT)),
        ("..", Links::Follow, Err(Errno::XDEV)),
        ("d/../..", Links::Follow, Err(Errno::XDEV)),
        ("d/../../root/a", Links::Follow, Err(Errno::XDEV)),
        ("/", Links::Follow, Err(Errno::XDEV)),
        ("/etc/passwd", Links::Follow, Err(Errno::XDEV)),
        ("link", Links::Follow, Ok(FileKind::File)),
        ("link", Links::Refuse, Err(Errno::LOOP)),
        ("down/a", Links::Follow, Ok(FileKind::File)),
        ("down/a", Links::Refuse, Err(Errno::LOOP)),
        ("down/../a", Links::Follow, Ok(FileKind::File)),
        ("chain", Links::Follow, Err(Errno::NOENT)),
        ("d/up", Links::Follow, Ok(FileKind::File)),
        ("d/escape", Links::Follow, Err(Errno::XDEV)),
        ("d/outside/secret", Links::Follow, Err(Errno::XDEV)),
        ("d/e/top/a", Links::Follow, Ok(FileKind::File)),
        ("d/e/above/outside/secret", Links::Follow, Err(Errno::XDEV)),
        ("absolute", Links::Follow, Err(Errno::XDEV)),
        ("magic/etc", Links::Follow, Err(Errno::XDEV)),
        ("loop", Links::Follow, Err(Errno::LOOP)),
        ("one/x", Links::Follow, Err(Errno::LOOP)),
        ("dangling", Links::Follow, Err(Errno::NOENT)),
        ("slash", Links::Follow, Ok(FileKind::Directory)),
        ("notdir", Links::Follow, Err(Errno::NOTDIR)),
        ("fifo", Links::Refuse, Ok(FileKind::Fifo)),
        ("a\0b", Links::Follow, Err(Errno::INVAL)),
    ];
    for (path, links, expected) in cases {
        for (way, outcome) in [
            ("openat2", open_beneath(&tree.root, path.as_bytes(), *links)),
            ("walk", open_beneath_by_walk(&tree.root, path.as_bytes(), *links)),
        ] {
            let kind = identity(outcome).map(|(_, _, kind)| kind);
            assert_eq!(kind, *expected, "{way} {path:?} {links:?}");
        }
    }
}

#[test]
fn names_at_the_limits_are_refused_alike() {
    let tree = tree();
    for path in [
        "x".repeat(255),
        "x".repeat(256),
        "d/".repeat(2047) + "a",
        "./".repeat(2047) + "a",
        "./".repeat(2048),
    ] {
        let one = identity(open_beneath(&tree.root, path.as_bytes(), Links::Follow));
        let other = identity(open_beneath_by_walk(&tree.root, path.as_bytes(), Links::Follow));
        assert_eq!(one, other, "{} bytes", path.len());
    }
    // Only the walk has a limit of depth, because each level costs it a descriptor.
    let mut deep = tree.top.join("root");
    for _ in 0..300 {
        deep.push("n");
        std::fs::create_dir(&deep).expect("made");
    }
    let path = "n/".repeat(300);
    assert!(open_beneath(&tree.root, path.as_bytes(), Links::Follow).is_ok());
    let error = open_beneath_by_walk(&tree.root, path.as_bytes(), Links::Follow).expect_err("too deep");
    assert_eq!(error.errno(), Errno::NAMETOOLONG);
    assert!(open_beneath_by_walk(&tree.root, "n/".repeat(256).as_bytes(), Links::Follow).is_ok());
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let tree = tree();
    let root = tree.top.join("root");
    symlink("a", root.join("hop1")).expect("linked");
    for number in 2..=41 {
        symlink(format!("hop{}", number - 1), root.join(format!("hop{number}"))).expect("linked");
    }
    for (path, expected) in [("hop40", Ok(FileKind::File)), ("hop41", Err(Errno::LOOP))] {
        for outcome in [
            open_beneath(&tree.root, path.as_bytes(), Links::Follow),
            open_beneath_by_walk(&tree.root, path.as_bytes(), Links::Follow),
        ] {
            assert_eq!(identity(outcome).map(|(_, _, kind)| kind), expected, "{path}");
        }
    }
}

#[test]
fn a_directory_without_permission_stops_both_ways() {
    if !is_root_or_skip() {
        return;
    }
    let tree = tree();
    std::fs::write(tree.top.join("root/locked/a"), "x").expect("written");
    as_user(NOBODY, || {
        for path in ["locked", "locked/a", "locked/../a", "locked/.."] {
            let one = identity(open_beneath(&tree.root, path.as_bytes(), Links::Follow));
            let other = identity(open_beneath_by_walk(&tree.root, path.as_bytes(), Links::Follow));
            assert_eq!(one, other, "{path}");
            if path != "locked/.." {
                assert_eq!(one, Err(Errno::ACCESS), "{path}");
            }
        }
    });
}

fn any_component() -> impl Strategy<Value = String> {
    let names = [
        ".", "..", "a", "d", "e", "f", "link", "down", "up", "escape", "parent", "self", "top", "above",
        "loop", "one", "dangling", "slash", "notdir", "absolute", "magic", "chain", "outside", "secret",
        "dir", "fifo", "no", "",
    ];
    proptest::sample::select(names.to_vec()).prop_map(str::to_owned)
}

#[test]
fn both_ways_agree_on_any_path_and_neither_leaves_the_root() {
    let tree = tree();
    let mut inside = std::collections::HashSet::new();
    collect(&tree.top.join("root"), &mut inside);
    let paths = proptest::collection::vec(any_component(), 0..9);
    proptest!(ProptestConfig::with_cases(4000), |(path in paths, refuse: bool)| {
        let path = path.join("/");
        let links = if refuse { Links::Refuse } else { Links::Follow };
        let one = identity(open_beneath(&tree.root, path.as_bytes(), links));
        let other = identity(open_beneath_by_walk(&tree.root, path.as_bytes(), links));
        prop_assert_eq!(one, other, "{:?}", path);
        if let Ok((dev, ino, _)) = one {
            prop_assert!(inside.contains(&(dev, ino)), "{:?} escaped", path);
        }
    });
}

fn collect(directory: &Path, found: &mut std::collections::HashSet<(u64, u64)>) {
    let own = shmeld_os::fs::stat_path(directory).expect("stat");
    found.insert((own.dev, own.ino));
    let fd = shmeld_os::fs::open_directory(directory).expect("opened");
    for entry in shmeld_os::fs::entries(fd).expect("a directory") {
        let entry = entry.expect("readable");
        let path = directory.join(std::str::from_utf8(&entry.name).expect("text"));
        match entry.kind {
            FileKind::Directory => collect(&path, found),
            FileKind::Symlink => {}
            _ => {
                let stat = shmeld_os::fs::stat_path(&path).expect("stat");
                found.insert((stat.dev, stat.ino));
            }
        }
    }
}

#[test]
fn a_race_of_renames_and_links_never_leads_outside() {
    let tree = tree();
    let root = tree.top.join("root");
    // `swap` is in turn a directory, and a link to the directory outside.
    std::fs::create_dir(root.join("swap")).expect("made");
    std::fs::write(root.join("swap/secret"), "inside").expect("written");
    symlink("../outside", root.join("other")).expect("linked");
    let secrets: Vec<u64> = ["outside/secret", "outside", "outside/dir"]
        .map(|path| shmeld_os::fs::stat_path(&tree.top.join(path)).expect("stat").ino)
        .to_vec();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            while !is_over.load(Ordering::Acquire) {
                let _ = rustix::fs::renameat_with(&tree.root, "swap", &tree.root, "other", exchange);
            }
        });
        let end = Instant::now() + Duration::from_millis(500);
        let mut opened = [0, 0];
        while Instant::now() < end {
            for path in ["swap/secret", "swap", "d/../swap/secret", "swap/../swap/secret"] {
                for links in [Links::Follow, Links::Refuse] {
                    let ways = [
                        open_beneath(&tree.root, path.as_bytes(), links),
                        open_beneath_by_walk(&tree.root, path.as_bytes(), links),
                    ];
                    for (count, way) in opened.iter_mut().zip(ways) {
                        if let Ok((_, ino, _)) = identity(way) {
                            *count += 1;
                            if secrets.contains(&ino) {
                                is_over.store(true, Ordering::Release);
                                panic!("{path} led outside");
                            }
                        }
                    }
                }
            }
        }
        is_over.store(true, Ordering::Release);
        assert!(
            opened.iter().all(|count| *count > 100),
            "{opened:?} opens succeeded"
        );
    });
}

#[test]
fn without_openat2_the_walk_takes_over() {
    let tree = tree();
    for errno in [libc::ENOSYS, libc::EPERM] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if !forbid_call(libc::SYS_openat2, None, errno) {
                    return;
                }
                let direct = rustix::fs::openat2(
                    &tree.root,
                    "a",
                    rustix::fs::OFlags::RDONLY,
                    rustix::fs::Mode::empty(),
                    rustix::fs::ResolveFlags::BENEATH,
                );
                assert_eq!(
                    direct.map(drop),
                    Err(Errno::from_raw_os_error(errno)),
                    "the filter works"
                );
                let opened = identity(open_beneath(&tree.root, b"d/up", Links::Follow)).expect("opened");
                assert_eq!(opened.2, FileKind::File);
                let refused = identity(open_beneath(&tree.root, b"d/escape", Links::Follow));
                assert_eq!(refused, Err(Errno::XDEV));
            });
        });
    }
}

/// On behalf of others a path is open as far as each directory on it lets them through: the one it starts from and the file at its end are
/// the caller's affair. Links lead through the directories in their texts.
#[test]
fn a_path_for_others_ends_at_the_first_directory_that_they_may_not_search() {
    use std::os::unix::fs::PermissionsExt;
    let top = Directory::new("audience");
    make_tree(&top);
    let root = top.join("root");
    let set_mode = |name: &str, mode| {
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(mode)).expect("changed");
    };
    for (name, mode) in [
        ("", 0o700),
        ("a", 0o600),
        ("d", 0o711),
        ("d/e", 0o700),
        ("d/e/f", 0o777),
    ] {
        set_mode(name, mode);
    }
    let root = std::fs::File::open(&root).expect("opened");
    let open = |path: &str| open_beneath_for(Audience::Others, &root, path.as_bytes(), Links::Follow);
    for path in ["a", "d/a", "d/../a", "d", "d/", "d/e", "d/up", "link", "", "."] {
        assert!(matches!(open(path), Ok(Some(_))), "{path:?}");
    }
    for path in [
        "d/e/a", "d/e/", "d/e/../a", "d/e/f/a", "d/e/no", "down/a", "chain", "slash",
    ] {
        assert!(matches!(open(path), Ok(None)), "{path:?}");
    }
    for (path, errno) in [
        ("no", Errno::NOENT),
        ("d/escape", Errno::XDEV),
        ("../outside/secret", Errno::XDEV),
        ("one", Errno::LOOP),
    ] {
        assert_eq!(open(path).expect_err(path).errno(), errno, "{path:?}");
    }
}
