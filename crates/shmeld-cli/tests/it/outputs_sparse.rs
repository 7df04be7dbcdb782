//! Files with holes, wherever they lie, by every way a file can go: they arrive exact, and take no more room than they did.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::content;
use crate::faults_source::Vast;
use crate::midway::MIB;
use crate::world::{World, has_or_skip};

/// Name, size, and where bytes are: offset and length.
type Shape = (&'static str, u64, &'static [(u64, usize)]);

/// The largest piece that is moved at once is 4 MiB; 64 MiB of storage are reserved ahead.
const SHAPES: [Shape; 13] = [
    ("hole", 10 * MIB, &[]),
    ("hole-of-a-byte", 1, &[]),
    ("hole-odd", 5 * MIB + 4097, &[]),
    ("leading", 9 * MIB + 1, &[(9 * MIB, 1)]),
    ("leading-page", 8192, &[(4096, 4096)]),
    ("trailing", 20 * MIB, &[(0, 100_000)]),
    ("trailing-part-of-a-page", 4000, &[(0, 10)]),
    ("middle", 30 * MIB, &[(0, 5000), (29 * MIB, 100_000)]),
    ("island", 30 * MIB, &[(15 * MIB + 7, 3)]),
    (
        "comb",
        4 * MIB,
        &[(0, 4096), (8192, 4096), (65536, 12_288), (1 << 20, 4096)],
    ),
    ("behind-much", 200 * MIB, &[(0, 300_000)]),
    ("tera", (1 << 40) + 1, &[(1 << 40, 1)]),
    (
        "tera-and-both-ends",
        (1 << 40) + 4096,
        &[(0, 1), (1 << 39, 10), (1 << 40, 4096)],
    ),
];

fn bytes(shape: &Shape, island: (u64, usize)) -> Vec<u8> {
    content::random_bytes(island.0 ^ shape.1, island.1)
}

fn make(path: &Path, shape: &Shape) {
    let file = File::create(path).unwrap();
    for island in shape.2 {
        file.write_all_at(&bytes(shape, *island), island.0).unwrap();
    }
    file.set_len(shape.1).unwrap();
}

/// Insists on size, bytes, zeros beside them, and storage.
#[track_caller]
fn assert_shape(copy: &Path, source: &Path, shape: &Shape, label: &str) {
    let label = format!("{} {label}", shape.0);
    let file = File::open(copy).unwrap_or_else(|error| panic!("{label}: {error}"));
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), shape.1, "{label}");
    let read = |file: &File, offset: u64, len: usize| {
        let mut found = vec![1; len.min(usize::try_from(shape.1 - offset).unwrap())];
        file.read_exact_at(&mut found, offset).unwrap();
        found
    };
    let source = File::open(source).unwrap();
    for island in shape.2 {
        content::assert_bytes(&label, &read(&file, island.0, island.1), &bytes(shape, *island));
        for shore in [island.0.saturating_sub(5000), island.0 + island.1 as u64] {
            let pair = [&file, &source].map(|file| read(file, shore, 5000));
            assert!(pair[0] == pair[1], "{label}: beside {}", island.0);
        }
    }
    let (stored, expected) = (metadata.blocks(), source.metadata().unwrap().blocks());
    // File systems keep their own notes of where the bytes are.
    assert!(
        stored <= expected + 64,
        "{label}: {stored} blocks of 512 bytes for {expected}"
    );
}

/// Fetches all shapes from `source` into directories below `output` by every way.
fn all_shapes_arrive(world: &World, source: &Path, output: &Path) {
    std::fs::create_dir_all(source.join("tree")).unwrap();
    for shape in &SHAPES {
        make(&source.join("tree").join(shape.0), shape);
    }
    let server = world
        .shmeld("serve")
        .args(["--name", world.name()])
        .arg(source)
        .start();
    server.wait_for_stderr("serving");
    let names: Vec<String> = SHAPES.iter().map(|shape| format!("tree/{}", shape.0)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for region in ["4096", "1M"] {
        let get = |arguments: &[&str]| {
            let client = world.client().args(["--region", region]).args(arguments);
            client.arg("-o").arg(output)
        };
        let cp = world
            .shmeld("cp")
            .args(["--region", region, "-r"])
            .arg(source.join("tree"));
        for (way, program) in [
            ("names", get(&names)),
            // These replace what is there.
            ("pattern", get(&["tree/*"])),
            ("merged", cp.arg(output)),
            ("synced", get(&["--sync", "-p", "-r", "tree"])),
        ] {
            program.run().expect_code(0);
            for shape in &SHAPES {
                let (copy, original) = (output.join("tree"), source.join("tree"));
                let label = format!("by {way} through {region}");
                assert_shape(&copy.join(shape.0), &original.join(shape.0), shape, &label);
            }
        }
        content::remove_tree(&output.join("tree"));
        // A new tree.
        get(&["-r", "tree"]).run().expect_code(0);
        for shape in &SHAPES {
            let (copy, original) = (output.join("tree"), source.join("tree"));
            assert_shape(
                &copy.join(shape.0),
                &original.join(shape.0),
                shape,
                "in a new tree",
            );
        }
        content::remove_tree(&output.join("tree"));
    }
}

/// Storage is reserved ahead on ext4, and given back where holes come.
#[test]
fn holes_stay_holes_on_the_file_system_of_the_tests() {
    let world = World::new("sparse-here");
    all_shapes_arrive(&world, &world.source(""), &world.output(""));
    world.finish();
}

#[test]
fn holes_stay_holes_on_tmpfs_and_between_file_systems() {
    let world = World::new("sparse-tmpfs");
    let memory = Vast::new(&world);
    let (source, output) = (memory.0.join("source"), memory.0.join("output"));
    std::fs::create_dir_all(&output).unwrap();
    all_shapes_arrive(&world, &source, &output);
    for shape in &SHAPES {
        let original = source.join("tree").join(shape.0);
        let cp = world.shmeld("cp").arg(&original).arg(world.output(shape.0));
        cp.run().expect_code(0).expect_silence();
        assert_shape(&world.output(shape.0), &original, shape, "from tmpfs");
    }
    world.finish();
}

/// 512 MiB of zeros through a pipe, by a client that has less memory than that; and into a device in no time.
#[test]
fn hole_in_a_pipe_takes_time_and_no_memory() {
    let world = World::new("sparse-pipe");
    if !has_or_skip("prlimit") {
        return;
    }
    let shape: Shape = ("hole", 1 << 29, &[(300 * MIB, 5)]);
    make(&world.source("hole"), &shape);
    world.start_server();
    let client = world.client().args(["--region", "1M", "-o", "-", "hole"]).words();
    let limited = ["prlimit", "--as=200000000", "--"].map(str::to_owned);
    let words = limited.into_iter().chain(client).collect::<Vec<_>>().join(" ");
    let script = format!("{{ {words}; echo $? >code; }} | tr -d '\\0' | od -An -c -v");
    let outcome = world.tool("sh").args(["-c", &script]).run().expect_code(0);
    let code = std::fs::read_to_string(world.root().join("code")).unwrap();
    assert_eq!(code, "0\n", "{}", outcome.stderr);
    let expected = world.root().join("expected");
    std::fs::write(&expected, bytes(&shape, (300 * MIB, 5))).unwrap();
    let od = world.tool("od").args(["-An", "-c", "-v"]).arg(&expected).run();
    assert_eq!(outcome.stdout_text(), od.stdout_text());
    world
        .client()
        .args(["-o", "/dev/null", "hole"])
        .run()
        .expect_code(0);
    world.finish();
}
