//! Sizes around every boundary, and files that are mostly holes.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use shmeld_os::fs::{Span, span_at};

use crate::content;
use crate::world::World;

/// Around a sector, a page, the payload that one slot of the page region takes (3,776 bytes less the headers
/// of the records around it), and a mebibyte.
fn sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 511, 512, 513, 4095, 4096, 4097];
    sizes.extend(3743..=3777);
    // BEGIN and its entry lie in the same slot as a small file: its payload ends somewhere here.
    sizes.extend((3580..=3680).step_by(4));
    sizes.extend([(1 << 20) - 1, 1 << 20, (1 << 20) + 1]);
    sizes
}

/// Fetches all sizes in one session with a region of this size.
fn all_sizes_arrive_with(region: &str) {
    let world = World::new("sizes");
    let names: Vec<String> = sizes().iter().map(|size| format!("s{size}")).collect();
    let contents: Vec<_> = sizes()
        .iter()
        .zip(&names)
        .map(|(size, name)| world.put_random(name, *size))
        .collect();
    let _server = world.start_server();
    let client = world
        .client()
        .args(["--region", region, "-o"])
        .arg(world.output(""));
    client.args(&names).run().expect_code(0);
    for (name, bytes) in names.iter().zip(&contents) {
        world.assert_output(name, bytes);
    }
    world.finish();
}

#[test]
fn every_size_arrives_through_one_page() {
    all_sizes_arrive_with("4096");
}

#[test]
fn every_size_arrives_through_64_kib() {
    all_sizes_arrive_with("64K");
}

#[test]
fn every_size_arrives_through_1_mib() {
    all_sizes_arrive_with("1M");
}

#[test]
fn every_size_arrives_through_64_mib() {
    all_sizes_arrive_with("64M");
}

#[test]
fn every_small_size_arrives_alone_and_in_company_of_one() {
    let world = World::new("alone");
    let sizes = [0, 1, 3_600, 3_700, 3_744, 3_776, 4_096, 7_552];
    for size in sizes {
        world.put_random(&format!("s{size}"), size);
    }
    let _server = world.start_server();
    for size in sizes {
        let name = format!("s{size}");
        world.fetch(&[&name]).expect_code(0);
        world.assert_output(&name, &content::of(&name, size));
        // The same twice in one session: the second begins in the middle of a slot.
        world.fetch(&[&name, &name]).expect_code(0);
        world.assert_output(&name, &content::of(&name, size));
    }
    world.finish();
}

#[test]
fn regions_of_odd_numbers_of_pages_carry_a_file_of_many_slots() {
    let world = World::new("odd-regions");
    let bytes = world.put_random("file", 1_500_007);
    let _server = world.start_server();
    for pages in [1, 2, 3, 5, 7, 13, 16, 17, 255, 257] {
        let region = (pages * 4096).to_string();
        let output = world.output(&region);
        world
            .client()
            .args(["--region", &region, "file", "-o"])
            .arg(&output)
            .run()
            .expect_code(0);
        content::assert_file(&output, &bytes);
    }
    world.finish();
}

const GIB: u64 = 1 << 30;
/// Where the sparse file has bytes, and how many: at its beginning, across 2 and 4 GiB, and behind.
const ISLANDS: [(u64, usize); 5] = [
    (0, 4_096),
    (10_000_000, 3),
    (2 * GIB - 70_000, 140_000),
    (4 * GIB - 1, 2),
    (4 * GIB + 123_456_789, 1_000_000),
];
/// A hole lies behind the last island: the size says more than the bytes.
const SPARSE_BYTES: u64 = 5 * GIB;

fn make_sparse(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    for (offset, len) in ISLANDS {
        file.write_all_at(&content::random_bytes(offset, len), offset)
            .unwrap();
    }
    file.set_len(SPARSE_BYTES).unwrap();
}

/// The stretches that hold bytes, as the file system tells them.
fn data_spans(path: &Path) -> Vec<(u64, u64)> {
    let file = std::fs::File::open(path).unwrap();
    let bytes = file.metadata().unwrap().len();
    let (mut spans, mut offset) = (Vec::new(), 0);
    while offset < bytes {
        match span_at(&file, offset, bytes).unwrap() {
            Span::Data { start, end } => {
                spans.push((start, end));
                offset = end;
            }
            Span::Hole { end, .. } => offset = end,
            Span::End => break,
        }
    }
    spans
}

#[track_caller]
fn assert_sparse(copy: &Path, source: &Path) {
    let metadata = std::fs::metadata(copy).unwrap();
    assert_eq!(metadata.len(), SPARSE_BYTES);
    let file = std::fs::File::open(copy).unwrap();
    for (offset, len) in ISLANDS {
        let mut found = vec![0; len];
        file.read_exact_at(&mut found, offset).unwrap();
        content::assert_bytes(
            &format!("the island at {offset}"),
            &found,
            &content::random_bytes(offset, len),
        );
        // What lies around an island is zero, in the copy as in the source.
        for shore in [offset.saturating_sub(300), offset + len as u64] {
            let mut pair = [[0; 300]; 2];
            file.read_exact_at(&mut pair[0], shore).unwrap();
            std::fs::File::open(source)
                .unwrap()
                .read_exact_at(&mut pair[1], shore)
                .unwrap();
            assert_eq!(pair[0], pair[1], "around {shore}");
        }
    }
    // The holes have stayed holes: no stretch of bytes that the source does not have.
    let known = data_spans(source);
    for (start, end) in data_spans(copy) {
        let inside = known.iter().any(|span| span.0 <= start && end <= span.1);
        assert!(
            inside,
            "bytes from {start} to {end}, where the source has {known:?}"
        );
    }
    let (blocks, source_blocks) = (metadata.blocks(), std::fs::metadata(source).unwrap().blocks());
    assert!(
        blocks <= source_blocks + 128,
        "{blocks} blocks, the source has {source_blocks}"
    );
}

#[test]
fn sparse_file_of_5_gib_arrives_exact_and_sparse_with_every_region() {
    let world = World::new("sparse");
    make_sparse(&world.source("sparse"));
    let _server = world.start_server();
    for region in ["4096", "64K", "1M", "64M"] {
        let output = world.output(region);
        world
            .client()
            .args(["--region", region, "sparse", "-o"])
            .arg(&output)
            .run()
            .expect_code(0);
        assert_sparse(&output, &world.source("sparse"));
        std::fs::remove_file(&output).unwrap();
    }
    world.finish();
}

#[test]
fn cp_keeps_holes_and_replaces_a_full_file_by_a_sparse_one() {
    let world = World::new("sparse-cp");
    make_sparse(&world.source("sparse"));
    std::fs::write(world.output("copy"), content::random_bytes(1, 20_000)).unwrap();
    let cp = world
        .shmeld("cp")
        .arg(world.source("sparse"))
        .arg(world.output("copy"));
    cp.run().expect_code(0).expect_silence();
    assert_sparse(&world.output("copy"), &world.source("sparse"));
    world.finish();
}

#[test]
fn holes_are_zeros_in_a_pipe_and_under_verify() {
    let world = World::new("holes-pipe");
    let mut expected = vec![0; 6_000_000];
    let file = std::fs::File::create(world.source("holes")).unwrap();
    for (offset, len) in [(1_000_000, 5), (4_000_000, 300_000)] {
        let bytes = content::random_bytes(offset, len);
        file.write_all_at(&bytes, offset).unwrap();
        expected[offset as usize..][..len].copy_from_slice(&bytes);
    }
    file.set_len(expected.len() as u64).unwrap();
    let _server = world.start_server();
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--region", region, "--verify", "-o", "-", "holes"]);
        let outcome = client.run().expect_code(0);
        content::assert_bytes("standard output", &outcome.stdout, &expected);
        world
            .fetch(&["--region", region, "--verify", "holes"])
            .expect_code(0);
        world.assert_output("holes", &expected);
    }
    world.finish();
}
