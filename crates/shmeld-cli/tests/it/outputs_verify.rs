//! `--verify`: what it lets through and what it does not, whatever the output is (row R14 of the fault catalogue; `faults_fake` and
//! `faults_words` have more of it).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use shmeld::file::wire::{FLAG_VERIFY, Op};
use shmeld::file::{Client, ClientOptions, Event, Job, OutputOptions, Query, Target, Transfer};
use shmeld::{Error, ServerName};

use crate::content;
use crate::fake_server::{FakeServer, NAME, SIZE, Victim, begin, bytes, data, done, end, record, slot};
use crate::midway::{MIB, put_large};
use crate::processes::Running;
use crate::world::{World, eventually};

/// Sizes around slots and pieces, empty files and holes, by every way.
#[test]
fn every_kind_of_file_is_delivered_with_its_digest_by_every_way() {
    let world = World::new("verify-kinds");
    for size in [0, 1, 1023, 1024, 1025, 3744, 4096, 262_144, 262_145, 3_000_000] {
        world.put_random(&format!("tree/s{size}"), size);
    }
    for number in 0..100 {
        world.put_random(&format!("tree/many/{number}"), number * 21);
    }
    for (name, size, island) in [
        ("hole", 3_000_001, None),
        ("leading", 3_000_001, Some(3_000_000)),
        ("trailing", 3_000_001, Some(0)),
        ("middle", 3_000_001, Some(1_234_567)),
    ] {
        let file = File::create(world.source("tree").join(name)).unwrap();
        if let Some(island) = island {
            file.write_all_at(b"x", island).unwrap();
        }
        file.set_len(size).unwrap();
    }
    let expected = content::tree(&world.source("tree"), false);
    world.start_server();
    for region in ["4096", "1M"] {
        let output = world.output(region);
        let get = |arguments: &[&str]| {
            let client = world.client().args(["--verify", "--json", "--region", region]);
            client.args(arguments).arg("-o").arg(&output)
        };
        let cp = world
            .shmeld("cp")
            .args(["--verify", "--json", "--region", region, "-r"]);
        std::fs::create_dir(&output).unwrap();
        for (program, files) in [
            (get(&["-r", "tree"]), 114),
            (get(&["tree/*", "tree/many/*"]), 114),
            (cp.arg(world.source("tree")).arg(&output), 114),
            (get(&["tree/s0", "tree/hole", "tree/s3000000"]), 3),
        ] {
            let outcome = program.run().expect_code(0);
            assert_eq!(outcome.names_of("delivered").len(), files, "{}", outcome.label);
            content::assert_trees(&content::tree(&output.join("tree"), false), &expected);
        }
    }
    world.finish();
}

/// A digest knows no shortcut for zeros: this takes seconds, and no more.
#[test]
fn hole_beyond_4_gib_is_verified() {
    let world = World::new("verify-4-gib");
    const BYTES: u64 = (4 << 30) + 5000;
    let file = File::create(world.source("sparse")).unwrap();
    file.write_all_at(b"x", BYTES - 1).unwrap();
    world.start_server();
    world
        .fetch(&["--verify", "--region", "1M", "sparse"])
        .expect_code(0);
    let found = File::open(world.output("sparse")).unwrap();
    assert_eq!(found.metadata().unwrap().len(), BYTES);
    let mut last = [1; 2];
    found.read_exact_at(&mut last, BYTES - 2).unwrap();
    assert_eq!(&last, b"\0x");
    world.finish();
}

/// The answer of a server in which one bit went wrong between the reading and the slot.
fn send_flipped(victim: &Victim) {
    let digest = blake3::hash(&bytes());
    let mut flipped = bytes();
    flipped[SIZE as usize / 2] ^= 0x10;
    victim.attach();
    let end = record(5, 0, SIZE, 0, digest.as_bytes());
    slot(victim, &[begin(SIZE), data(0, &flipped), end, done()]);
}

const SAID: &str = "get file: the bytes that arrived are not those that the server read (BLAKE3 differs)";

/// Bytes that are out already cannot be called back: the exit code tells.
#[test]
fn bit_that_flips_on_the_way_into_a_pipe_or_fifo_is_told_by_the_exit_code() {
    let world = World::new("verify-pipe");
    let server = FakeServer::start(&world);
    let fifo = world.output("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    for output in ["-", "/dev/null", fifo.to_str().unwrap()] {
        let client = world.client().args(["--verify", "-o", output, NAME]).start();
        let reader = output.ends_with("fifo").then(|| {
            let fifo = fifo.clone();
            std::thread::spawn(move || {
                let mut found = Vec::new();
                File::open(fifo).unwrap().read_to_end(&mut found).unwrap();
                found
            })
        });
        send_flipped(&server.accept());
        let outcome = client.finish().expect_code(4).expect_said(SAID);
        let found = reader.map_or(outcome.stdout, |reader| reader.join().unwrap());
        let expected = if output == "/dev/null" { 0 } else { SIZE as usize };
        assert_eq!(found.len(), expected, "{output}");
        server.drain();
    }
    server.stop();
    world.finish();
}

/// Nobody sees the bytes, and yet they are checked: `Discard` is how a program measures, or tests a server.
#[test]
fn bytes_that_are_discarded_are_checked_as_well() {
    let world = World::new("verify-discard");
    let server = FakeServer::start(&world);
    for (flags, is_noticed) in [(FLAG_VERIFY, true), (0, false)] {
        let name = ServerName::new(world.name()).unwrap();
        let client = std::thread::spawn(move || {
            let options = ClientOptions {
                name,
                ..ClientOptions::default()
            };
            let query = Query {
                op: Op::Get,
                path: NAME.into(),
                flags,
                resume: None,
            };
            let job = Job {
                query,
                target: Target::Discard,
            };
            let client = Client::connect(options).unwrap();
            let jobs = std::iter::once(job);
            let mut transfer = Transfer::new(client, jobs, OutputOptions::default());
            let mut failures = 0;
            while let Some(event) = transfer.next_event().unwrap() {
                let is_digest = matches!(
                    event,
                    Event::Failed {
                        error: Error::Digest,
                        ..
                    }
                );
                let is_delivered = matches!(event, Event::Delivered { .. });
                assert!(!is_delivered || flags == 0, "{event:?}");
                failures += u32::from(is_digest);
            }
            transfer.close();
            failures
        });
        let victim = server.accept();
        if is_noticed {
            send_flipped(&victim);
        } else {
            victim.attach();
            slot(&victim, &[begin(SIZE), data(0, &bytes()), end(SIZE), done()]);
        }
        assert_eq!(client.join().unwrap(), u32::from(is_noticed));
        server.drain();
    }
    server.stop();
    world.finish();
}

/// The descriptor of a client's region, as another process of the same user gets at it.
fn region_of(client: &Running) -> Option<File> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", client.pid())).ok()?;
    let mut paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
    let path = paths.find(|path| {
        let target = std::fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().starts_with("/dev/shm/shmeld.")
    })?;
    File::options().write(true).open(path).ok()
}

/// A third process changes bytes in large slots, from which the kernel would write straight into the file: with `--verify` nothing is
/// written but what was hashed. A client that existed before is not harmed, in a tree as little as alone.
#[test]
fn large_slots_that_are_scribbled_into_yield_the_file_or_none() {
    let world = World::new("verify-scribble");
    std::fs::create_dir(world.source("tree")).unwrap();
    let source = put_large(&world, "tree/large", 32);
    let expected = std::fs::read(source).unwrap();
    world.start_server();
    let mut spoilt = 0;
    for round in 0..40_u64 {
        if spoilt >= 4 {
            break;
        }
        let what: &[&str] = if round % 2 == 0 {
            &["tree/large"]
        } else {
            &["-r", "tree"]
        };
        let client = world.client().args(["--verify", "--region", "256K"]).args(what);
        let client = client.arg("-o").arg(world.output("")).start();
        let mut number = round << 32;
        eventually("the client ends", || {
            // It may not have a region yet, or none any more.
            if let Some(region) = region_of(&client) {
                for _ in 0..20 {
                    number += 1;
                    let noise = content::random_bytes(number, 8);
                    let _ = region.write_all_at(&noise, 4096 + 1000 + number * 40_009 % 200_000);
                }
            }
            !client.is_running()
        });
        let outcome = client.finish();
        match outcome.code {
            Some(0) => world.assert_output("tree/large", &expected),
            Some(1 | 4) => {
                spoilt += 1;
                assert!(!world.output("tree/large").exists(), "{}", outcome.stderr);
            }
            code => panic!("{code:?}\n{}", outcome.stderr),
        }
        content::remove_tree(&world.output("tree"));
    }
    assert!(spoilt > 0, "nobody was disturbed");
    world
        .fetch(&["--verify", "--region", "256K", "tree/large"])
        .expect_code(0);
    world.assert_output("tree/large", &expected);
    assert!(expected.len() as u64 == 32 * MIB);
    world.finish();
}
