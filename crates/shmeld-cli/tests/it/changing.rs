//! Sources that change while they are read: what was sent is worthless, and nobody gets it.
//!
//! The client is held at the first of two files, whose output is a FIFO that nobody reads yet. The server
//! goes on with the second file until the ring is full, and there the test changes it.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::content;
use crate::processes::{Outcome, Running};
use crate::world::{World, eventually};

const BIG_BYTES: usize = 8 << 20;

/// A client that asks with `arguments`, first for `gate`, and waits there; the server is inside a file of
/// [`BIG_BYTES`].
fn client_held_at_gate(world: &World, arguments: &[&str]) -> Running {
    world.put("gate", b"open");
    world
        .tool("mkfifo")
        .arg(world.output("gate"))
        .run()
        .expect_code(0);
    world.start_server();
    let client = world
        .client()
        .args(["--region", "1M", "-o"])
        .arg(world.output(""));
    let client = client.args(arguments).start();
    // Beyond what the small records take, and far from the end of the file.
    eventually("the server is inside the big file", || {
        world.status()["bytes_total"].as_u64().unwrap() > 300_000
    });
    client
}

/// Lets the client go on.
fn release(world: &World, client: &Running) -> Outcome {
    let mut found = Vec::new();
    std::fs::File::open(world.output("gate"))
        .unwrap()
        .read_to_end(&mut found)
        .unwrap();
    assert_eq!(found, b"open");
    client.finish()
}

/// The whole story of one change.
#[track_caller]
fn change_is_noticed(what: &str, change: impl FnOnce(&Path)) {
    let world = World::new(what);
    world.put_random("big", BIG_BYTES);
    let client = client_held_at_gate(&world, &["gate", "big"]);
    change(&world.source("big"));
    let outcome = release(&world, &client).expect_code(1);
    outcome.expect_line("shm_client: get big: the source changed while it was read (CHANGED)");
    assert_eq!(content::names_below(&world.output("")), [Path::new("gate")]);
    // The server lives, and the next client gets what is there now.
    world.fetch(&["big"]).expect_code(0);
    world.assert_output("big", &std::fs::read(world.source("big")).unwrap());
    world.finish();
}

fn open(path: &Path) -> std::fs::File {
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn source_truncated_while_it_is_read_is_not_delivered() {
    change_is_noticed("truncated", |path| open(path).set_len(2 << 20).unwrap());
}

#[test]
fn source_truncated_to_nothing_while_it_is_read_is_not_delivered() {
    change_is_noticed("emptied", |path| open(path).set_len(0).unwrap());
}

#[test]
fn source_grown_while_it_is_read_is_not_delivered() {
    change_is_noticed("grown", |path| {
        let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"one line more\n").unwrap();
    });
}

#[test]
fn source_rewritten_where_it_was_read_already_is_not_delivered() {
    change_is_noticed("rewritten-front", |path| {
        open(path).write_all_at(b"new", 0).unwrap()
    });
}

#[test]
fn source_rewritten_where_it_is_still_to_be_read_is_not_delivered() {
    change_is_noticed("rewritten-back", |path| {
        open(path).write_all_at(b"new", BIG_BYTES as u64 - 10).unwrap();
    });
}

#[test]
fn source_rewritten_by_somebody_who_sets_its_time_back_is_not_delivered() {
    change_is_noticed("time-set-back", |path| {
        let file = open(path);
        let before = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"new", 0).unwrap();
        file.set_modified(before).unwrap();
    });
}

#[test]
fn source_replaced_by_another_file_is_delivered_as_it_was() {
    let world = World::new("replaced");
    world.put_random("big", BIG_BYTES);
    let client = client_held_at_gate(&world, &["gate", "big"]);
    std::fs::write(world.source("new"), b"the new one").unwrap();
    std::fs::rename(world.source("new"), world.source("big")).unwrap();
    release(&world, &client).expect_code(0);
    world.assert_output("big", &content::of("big", BIG_BYTES));
    world.finish();
}

#[test]
fn older_output_survives_a_source_that_changed() {
    let world = World::new("changed-old");
    std::fs::write(world.output("big"), b"from yesterday").unwrap();
    world.put_random("big", BIG_BYTES);
    let client = client_held_at_gate(&world, &["gate", "big"]);
    open(&world.source("big")).set_len(10).unwrap();
    release(&world, &client).expect_code(1).expect_said("(CHANGED)");
    world.assert_output("big", b"from yesterday");
    world.finish();
}

#[test]
fn files_behind_one_that_changed_still_arrive() {
    let world = World::new("changed-rest");
    world.put_random("big", BIG_BYTES);
    world.put("after", b"after");
    let client = client_held_at_gate(&world, &["gate", "big", "after"]);
    open(&world.source("big")).set_len(10).unwrap();
    release(&world, &client).expect_code(1).expect_said("get big");
    world.assert_output("after", b"after");
    assert!(!world.output("big").exists());
    world.finish();
}

#[test]
fn change_is_noticed_through_one_page_and_a_pipe_too() {
    let world = World::new("changed-page");
    world.put_random("big", BIG_BYTES);
    let server = world.start_server();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let client = world
        .client()
        .args(["-o", "-", "big", "big"])
        .stdout(writer)
        .start();
    reader.read_exact(&mut [0; 10]).unwrap();
    open(&world.source("big"))
        .write_all_at(b"new", 5_000_000)
        .unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    let outcome = client.finish().expect_code(1);
    // The second request found the file as it was then, and got all of it.
    assert_eq!(
        outcome.stderr.matches("(CHANGED)").count(),
        1,
        "{}",
        outcome.stderr
    );
    let now = std::fs::read(world.source("big")).unwrap();
    content::assert_bytes("the second file", &rest[rest.len() - now.len()..], &now);
    assert!(server.is_running());
    world.finish();
}

#[test]
fn tree_with_a_file_that_changed_arrives_without_it() {
    let world = World::new("changed-tree");
    for name in ["a", "z", "sub/m"] {
        world.put(&format!("tree/{name}"), name.as_bytes());
    }
    world.put_random("tree/big", BIG_BYTES);
    let client = client_held_at_gate(&world, &["-r", "gate", "tree"]);
    open(&world.source("tree/big")).set_len(10).unwrap();
    let outcome = release(&world, &client).expect_code(1);
    outcome.expect_line("shm_client: get tree/big: the source changed while it was read (CHANGED)");
    for name in ["a", "z", "sub/m"] {
        world.assert_output(&format!("tree/{name}"), name.as_bytes());
    }
    assert!(!world.output("tree/big").exists());
    world.finish();
}
