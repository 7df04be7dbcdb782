//! A server and a client in one process: the library as a program uses it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shmeld::file::wire::{FLAG_VERIFY, Op};
use shmeld::file::{
    Client, ClientOptions, Directory, DirectoryOptions, Ending, Event, Job, OutputOptions, Query, Server,
    ServerOptions, Target, Transfer,
};
use shmeld::{Error, ServerName};

use crate::invented::{World, query};

fn client(world: &World, region_bytes: u64) -> Client {
    Client::connect(ClientOptions {
        region_bytes,
        ..world.options()
    })
    .unwrap()
}

/// Fetches a file of the server's directory to `out/` below it.
fn get(world: &World, region_bytes: u64, name: &str, flags: u32) -> Vec<Event> {
    let job = Job {
        query: query(Op::Get, name, flags),
        target: Target::File(world.path("out").join(name)),
    };
    std::fs::create_dir_all(world.path("out")).unwrap();
    let client = client(world, region_bytes);
    let mut transfer = Transfer::new(client, std::iter::once(job), OutputOptions::default());
    let mut events = Vec::new();
    while let Some(event) = transfer.next_event().unwrap() {
        events.push(event);
    }
    transfer.close();
    events
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
        .collect()
}

#[test]
fn a_file_arrives_whole_through_regions_of_every_size() {
    let world = World::new(|_| {});
    let content = bytes(700_001);
    world.put("file", &content);
    for region_bytes in [4096, 8192, 64 << 10, 1 << 20, 64 << 20] {
        for flags in [0, FLAG_VERIFY] {
            let events = get(&world, region_bytes, "file", flags);
            assert!(
                matches!(events.last(), Some(Event::Delivered { size: 700_001, .. })),
                "{events:?}"
            );
            assert!(
                std::fs::read(world.path("out/file")).unwrap() == content,
                "region {region_bytes}"
            );
        }
    }
}

#[test]
fn many_requests_travel_in_one_session_and_status_counts_them() {
    let world = World::new(|_| {});
    world.put("small", b"small");
    let client = client(&world, 4096);
    let job = |_| Job {
        query: Query::new(Op::Get, b"small"),
        target: Target::Discard,
    };
    let mut transfer = Transfer::new(client, (0..500).map(job), OutputOptions::default());
    let mut delivered = 0;
    while let Some(event) = transfer.next_event().unwrap() {
        delivered += usize::from(matches!(event, Event::Delivered { .. }));
    }
    transfer.close();
    assert_eq!(delivered, 500);
    let status = world.status();
    assert_eq!(
        (status.files_total, status.sessions_total, status.died_total),
        (500, 2, 0)
    );
}

#[test]
fn once_ends_the_server_after_the_first_client_that_fetched() {
    let mut world = World::new(|options| options.once = true);
    world.put("file", b"once");
    // A client that only asks for the status does not count.
    world.status();
    get(&world, 4096, "file", 0);
    assert_eq!(world.join(), Ending::OnceClosed);
}

#[test]
fn a_dropped_client_counts_as_dead_for_once() {
    let mut world = World::new(|options| options.once = true);
    world.put("file", &bytes(100_000));
    let mut client = client(&world, 4096);
    client.submit(&Query::new(Op::Get, b"file")).unwrap();
    client.next_record().unwrap();
    drop(client);
    assert_eq!(world.join(), Ending::OnceFailed);
}

#[test]
fn without_a_server_the_client_says_how_to_get_one() {
    let options = ClientOptions {
        name: ServerName::new("shmeld-lib-nobody").unwrap(),
        wait: Some(Duration::ZERO),
        ..ClientOptions::default()
    };
    let error = Client::connect(options).unwrap_err();
    assert!(matches!(error, Error::NoServer { .. }) && error.exit_code() == 3);
    assert!(error.hint().is_some());
}

#[test]
fn a_second_server_of_the_same_name_is_refused() {
    let mut world = World::new(|_| {});
    let source = Directory::open(&world.path(""), DirectoryOptions::default()).unwrap();
    let options = ServerOptions {
        name: world.name().clone(),
        ..ServerOptions::default()
    };
    let second = Server::start(Arc::new(source), options).err().unwrap();
    assert!(matches!(second, Error::AlreadyRunning { .. }), "{second}");
    assert_eq!(world.stop(), Ending::Stopped);
}

#[test]
fn a_cancelled_request_ends_early_and_the_session_goes_on() {
    let world = World::new(|_| {});
    world.put("large", &bytes(8 << 20));
    world.put("small", b"small");
    let mut client = client(&world, 4096);
    let query = |name: &[u8]| Query::new(Op::Get, name);
    let large = client.submit(&query(b"large")).unwrap().unwrap();
    let small = client.submit(&query(b"small")).unwrap().unwrap();
    client.cancel_up_to(large);
    let (mut received, mut done) = (0, Vec::new());
    while done.len() < 2 {
        let record = client.next_record().unwrap();
        if record.request_id == large && record.kind == shmeld::file::record::Kind::Data {
            received += record.length;
        }
        if record.kind == shmeld::file::record::Kind::Done {
            done.push((record.request_id, record.status));
        }
        client.finish(&record).unwrap();
    }
    client.close();
    assert!(received < 8 << 20, "all {received} bytes were sent");
    assert_eq!(
        done,
        [
            (large, shmeld::file::Status::Cancelled),
            (small, shmeld::file::Status::Ok)
        ]
    );
}

/// A client may say CLOSE right after its requests. The answers are then complete all the same: a server that ended the session (or was
/// asked to stop) once kept the last, partly filled slot to itself.
#[test]
fn a_close_right_behind_the_requests_loses_nothing_of_their_answers() {
    let world = World::new(|_| {});
    let content = bytes(10_000);
    world.put("file", &content);
    let mut client = client(&world, 4096);
    let query = |op, path: &[u8]| Query::new(op, path);
    client.submit(&query(Op::Get, b"file")).unwrap().unwrap();
    client.submit(&query(Op::Close, b"")).unwrap().unwrap();
    let mut received = Vec::new();
    loop {
        let record = client.next_record().unwrap();
        if record.kind == shmeld::file::record::Kind::Data {
            client.payload(&record, &mut received);
        }
        client.finish(&record).unwrap();
        if record.kind == shmeld::file::record::Kind::Done {
            break;
        }
    }
    assert!(
        received == content,
        "{} of {} bytes",
        received.len(),
        content.len()
    );
}

/// A newer client may ask for what this server does not know: it is told so, and its session goes on.
#[test]
fn an_op_or_flag_that_the_server_does_not_know_is_answered_with_unsupported() {
    let world = World::new(|_| {});
    let mut client = client(&world, 4096);
    for (op, flags) in [(Op::Unknown, 0), (Op::Get, 1 << 20)] {
        client.submit(&query(op, "file", flags)).unwrap().unwrap();
        let record = client.next_record().unwrap();
        assert_eq!(record.kind, shmeld::file::record::Kind::Done);
        assert_eq!(record.status, shmeld::file::Status::Unsupported);
        client.finish(&record).unwrap();
    }
    client.close();
}

/// The directory of the last file is kept open for the next one. Removed meanwhile, it would swallow what comes: it is made again.
#[test]
fn directory_that_is_removed_between_two_files_is_made_again() {
    let world = fetch_two_while(|out| std::fs::remove_dir_all(out).unwrap());
    assert_eq!(names_in(&world.path("out/list")), ["two"]);
}

/// Moved away, it gets the rest as well, as with `cp`, and a link in its place gets nothing. (For a while each file was stored where the path led
/// when it began: a list came in two halves, one of them where the link led, and each file cost a look at the path.)
#[test]
fn directory_that_becomes_a_link_between_two_files_gets_both() {
    let world = fetch_two_while(|out| {
        std::fs::rename(out, out.with_file_name("moved")).unwrap();
        std::fs::create_dir(out.with_file_name("elsewhere")).unwrap();
        std::os::unix::fs::symlink("elsewhere", out).unwrap();
    });
    assert_eq!(names_in(&world.path("out/moved")), ["one", "two"]);
    assert_eq!(names_in(&world.path("out/elsewhere")), [""; 0]);
}

/// The names in a directory, sorted; the files are those of `fetch_two_while`.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut names: Vec<String> = entries
        .inspect(|entry| assert_eq!(std::fs::read(entry.path()).unwrap(), bytes(5000)))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Fetches `one` and `two` into a directory of which `between` makes something else when `one` has been delivered.
fn fetch_two_while(between: impl Fn(&Path)) -> World {
    let world = World::new(|_| ());
    let out = world.path("out/list");
    for name in ["one", "two"] {
        world.put(name, &bytes(5000));
    }
    let jobs = ["one", "two"].map(|name| Job {
        query: Query::new(Op::Get, name),
        target: Target::Under(out.clone()),
    });
    let client = client(&world, 4096);
    let mut transfer = Transfer::new(client, jobs.into_iter(), OutputOptions::default());
    let mut delivered = 0;
    while let Some(event) = transfer.next_event().unwrap() {
        if matches!(event, Event::Delivered { .. }) {
            delivered += 1;
            if delivered == 1 {
                between(&out);
            }
        } else {
            assert!(
                !matches!(event, Event::Failed { .. } | Event::Refused { .. }),
                "{event:?}"
            );
        }
    }
    transfer.close();
    assert_eq!(delivered, 2);
    world
}
