//! Files and trees from a server on one machine to clients on another, as they are. The clients' command line is what it was.

use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::bridge::resident_kib_max;
use crate::content;
use crate::pair::Pair;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Nothing, one byte, and what lies around the edges of pages, slots and chunks.
#[test]
fn files_of_all_sizes_arrive_exactly() {
    let Some((pair, _)) = Pair::or_skip("sizes") else {
        return;
    };
    let edges = [4 * KIB, 64 * KIB, MIB, 2 * MIB, 4 * MIB, 8 * MIB];
    let around = edges.iter().flat_map(|edge| [edge - 1, *edge, edge + 1]);
    let sizes: Vec<usize> = [0, 1, 2, 3744, 17 * MIB + 12345]
        .into_iter()
        .chain(around)
        .collect();
    let names: Vec<String> = sizes.iter().map(|size| format!("file-{size}")).collect();
    for (name, size) in names.iter().zip(&sizes) {
        pair.put(name, *size);
    }
    pair.start();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    pair.fetch(&names).expect_code(0);
    let larger = [&["--region", "1MiB", "--verify"], &names[..]].concat();
    let expected = content::tree(&pair.source(""), false);
    content::assert_trees(&content::tree(&pair.output(""), false), &expected);
    std::fs::remove_dir_all(pair.output("")).unwrap();
    pair.fetch(&larger).expect_code(0);
    content::assert_trees(&content::tree(&pair.output(""), false), &expected);
    pair.world.finish();
}

/// More than either bridge may keep in memory. Most of it is a hole, with something at its edges.
#[test]
fn file_beyond_all_caches_arrives_exactly_in_bounded_memory() {
    const SIZE: u64 = 300 << 20;
    /// Program, zenoh's buffers and chunks under way, and twice that: a bridge that keeps a file has more.
    const RESIDENT_KIB_MAX: u64 = 128 << 10;
    let Some((pair, _)) = Pair::or_skip("large") else {
        return;
    };
    pair.put("large", 0);
    let file = std::fs::File::options()
        .write(true)
        .open(pair.source("large"))
        .unwrap();
    file.set_len(SIZE).unwrap();
    let some = content::of("some", 3 * MIB);
    for position in [0, SIZE / 2 - 777, SIZE - some.len() as u64] {
        file.write_all_at(&some, position).unwrap();
    }
    let bridges = pair.start();
    pair.fetch(&["--region", "1MiB", "--verify", "large"])
        .expect_code(0);
    let same = pair
        .world
        .tool("cmp")
        .arg(pair.source("large"))
        .arg(pair.output("large"));
    same.run().expect_code(0);
    for bridge in [&bridges.export, &bridges.import] {
        let peak = resident_kib_max(bridge);
        assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB: {}", bridge.label);
    }
    pair.world.finish();
}

/// A tree as a tree: names, modes, empty directories, links.
#[test]
fn tree_of_a_thousand_files_arrives_exactly() {
    let Some((pair, _)) = Pair::or_skip("tree") else {
        return;
    };
    for number in 0..1000 {
        let size = [0, 1, 100, 5000, 70_000][number % 5];
        pair.put(
            &format!("tree/{}/{}/file {number}", number % 7, number % 11),
            size,
        );
    }
    std::fs::create_dir_all(pair.source("tree/empty/directory")).unwrap();
    std::os::unix::fs::symlink("../1/1/file 1", pair.source("tree/empty/link")).unwrap();
    content::set_mode(&pair.source("tree/0/0/file 0"), 0o750);
    pair.start();
    let start = Instant::now();
    pair.fetch(&["-p", "-r", "tree"]).expect_code(0);
    let expected = content::tree(&pair.source(""), true);
    content::assert_trees(&content::tree(&pair.output(""), true), &expected);
    // A question for each file, one after the other and with all that is waited for in vain, would take longer.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    pair.world.finish();
}

/// Names are bytes: what zenoh's keys, patterns and terminals take for something else is part of a name.
#[test]
fn names_of_any_bytes_arrive_exactly() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let Some((pair, _)) = Pair::or_skip("names") else {
        return;
    };
    let long = "n".repeat(255);
    let names: [&[u8]; 12] = [
        b"tree/*",
        b"tree/**",
        b"tree/$*",
        b"tree/a?b#c@d",
        b"tree/%2F%00",
        b"tree/@",
        b"tree/ space ",
        b"tree/\xff\xfe not utf-8",
        "tree/größe/日本".as_bytes(),
        b"tree/\x1b[31mred\n",
        b"tree/...",
        long.as_bytes(),
    ];
    std::fs::create_dir_all(pair.source("tree/gr\u{f6}\u{df}e")).unwrap();
    for name in names {
        std::fs::write(pair.source("").join(OsStr::from_bytes(name)), name).unwrap();
    }
    let bridges = pair.start();
    pair.fetch(&["-r", "tree", &long]).expect_code(0);
    let expected = content::tree(&pair.source(""), false);
    content::assert_trees(&content::tree(&pair.output(""), false), &expected);
    // Each of them by its name, too.
    std::fs::remove_dir_all(pair.output("")).unwrap();
    let list: Vec<u8> = names
        .iter()
        .filter(|name| !name.contains(&b'\n'))
        .flat_map(|name| [name, &b"\n"[..]].concat())
        .collect();
    pair.client(&["-T", "-"]).input(&list).run().expect_code(0);
    for bridge in [&bridges.export, &bridges.import] {
        assert_no_control_bytes(&bridge.stderr());
    }
    pair.world.finish();
}

#[track_caller]
pub fn assert_no_control_bytes(said: &str) {
    let bad = said
        .chars()
        .find(|one| one.is_control() && *one != '\n' && *one != '\t');
    assert_eq!(bad, None, "a control byte was logged: {said:?}");
}
