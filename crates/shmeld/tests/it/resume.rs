//! RESUME as a server answers it: what it hashes, when it does not, and what happens while that takes long.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shmeld::file::record::{Kind, Record};
use shmeld::file::wire::{FLAG_PATTERN, FLAG_RESUME, FLAG_VERIFY, Op};
use shmeld::file::{
    Audit, Client, ClientOptions, Event, Job, OutputOptions, Prefix, Query, Refusal, Status, Target, Transfer,
};

use crate::invented::{Invented, World, query};

const SIZE: u64 = 1_000_000;

/// A server whose every file is `size` times `x`.
fn world(size: u64, read: impl Fn(u64) -> Result<usize, Refusal> + Send + Sync + 'static) -> World {
    World::of(invented(size, read))
}

fn invented(size: u64, read: impl Fn(u64) -> Result<usize, Refusal> + Send + Sync + 'static) -> Invented {
    Invented {
        size,
        read: Arc::new(read),
        refusals: Vec::new(),
    }
}

/// All that can be read from `position` on of a file of [`SIZE`] bytes.
fn rest(position: u64) -> Result<usize, Refusal> {
    Ok((SIZE - position) as usize)
}

fn prefix_of(bytes: u64) -> Option<Prefix> {
    let digest = *blake3::hash(&vec![b'x'; bytes as usize]).as_bytes();
    Some(Prefix { bytes, digest })
}

/// Asks, and returns all records of the answer with their payloads.
fn ask(client: &mut Client, query: Query) -> Vec<(Record, Vec<u8>)> {
    client.submit(&query).unwrap().unwrap();
    let mut records = Vec::new();
    loop {
        let record = client.next_record().unwrap();
        let mut payload = Vec::new();
        client.payload(&record, &mut payload);
        client.finish(&record).unwrap();
        records.push((record, payload));
        if record.kind == Kind::Done {
            return records;
        }
    }
}

/// Where the file of an answer begins, and how many of its bytes came.
fn begun(records: &[(Record, Vec<u8>)]) -> (u64, u64) {
    assert_eq!(records[0].0.kind, Kind::Begin);
    let data = records.iter().filter(|(record, _)| record.kind == Kind::Data);
    (
        records[0].0.offset,
        data.map(|(record, _)| record.length as u64).sum(),
    )
}

#[test]
fn answer_begins_behind_the_prefix_or_at_0_and_the_digest_is_that_of_the_whole() {
    let world = world(SIZE, rest);
    let mut client = world.client();
    let mut get = |flags, resume| {
        ask(
            &mut client,
            Query {
                resume,
                ..query(Op::Get, "file", flags)
            },
        )
    };
    for bytes in [1, 4096, 262_144, 262_145, SIZE - 1, SIZE] {
        let answer = get(FLAG_VERIFY, prefix_of(bytes));
        assert_eq!(begun(&answer), (bytes, SIZE - bytes));
        let whole = prefix_of(SIZE).unwrap().digest;
        assert_eq!(answer[answer.len() - 2].1, whole, "{bytes}");
        assert_eq!(begun(&get(0, prefix_of(bytes))), (bytes, SIZE - bytes));
    }
    // Longer than the file; another digest; none; a flag without bytes; a pattern, whose files are many.
    let wrong = prefix_of(1000).map(|prefix| Prefix { bytes: 999, ..prefix });
    for (flags, resume) in [
        (0, prefix_of(SIZE + 1)),
        (FLAG_VERIFY, wrong),
        (0, None),
        (FLAG_RESUME, None),
        (FLAG_PATTERN, prefix_of(1000)),
    ] {
        assert_eq!(begun(&get(flags, resume)), (0, SIZE), "{flags} {resume:?}");
    }
}

/// Before BEGIN a client has thrown nothing away, so that is when it must hear that there is no file to go on with.
#[test]
fn file_that_cannot_be_hashed_is_refused_before_it_begins() {
    for (status, read) in [
        (Status::Io, Err(Refusal::from(Status::Io))),
        (Status::Changed, Ok(0)),
    ] {
        let at = 300_000;
        let world = world(SIZE, move |position| match position {
            position if position < at => Ok((at - position) as usize),
            _ => read.clone(),
        });
        let mut client = world.client();
        let resume = prefix_of(500_000);
        let answer = ask(
            &mut client,
            Query {
                resume,
                ..query(Op::Get, "file", 0)
            },
        );
        let kinds: Vec<Kind> = answer.iter().map(|(record, _)| record.kind).collect();
        assert_eq!(kinds, [Kind::Entry, Kind::Done]);
        assert_eq!(answer[0].0.status, status);
        assert_eq!((answer[1].0.offset, answer[1].0.extent), (1, 1), "{status:?}");
    }
}

/// A client that dies, or cancels, while the server hashes terabytes for it: the server notices between two pieces.
#[test]
fn hashing_for_a_client_that_is_gone_or_has_cancelled_ends_soon() {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    let log = std::env::temp_dir().join(format!("shmeld-resume-audit-{}", std::process::id()));
    let endless_file = invented(1 << 40, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(5));
        Ok(usize::MAX)
    });
    let world = World::with(endless_file, |options| {
        options.audit = Some(Arc::new(Audit::open(&log, &options.name).unwrap()));
    });
    let endless = Query {
        resume: Some(Prefix {
            bytes: 1 << 40,
            digest: [0; 32],
        }),
        ..query(Op::Get, "file", 0)
    };
    let is_hashing = || {
        let before = reads.load(Ordering::Relaxed);
        eventually(|| reads.load(Ordering::Relaxed) > before + 2);
    };
    let mut client = world.client();
    let id = client.submit(&endless).unwrap().unwrap();
    is_hashing();
    client.cancel_up_to(id);
    let record = client.next_record().unwrap();
    assert_eq!((record.kind, record.status), (Kind::Entry, Status::Cancelled));
    client.finish(&record).unwrap();
    let record = client.next_record().unwrap();
    assert_eq!((record.kind, record.status), (Kind::Done, Status::Cancelled));
    client.finish(&record).unwrap();

    client.submit(&endless).unwrap().unwrap();
    is_hashing();
    drop(client);
    eventually(|| world.status().died_total == 1);
    let after = reads.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(reads.load(Ordering::Relaxed), after);
    drop(world);
    // What was cancelled stood in the books as refused as well.
    let lines = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    assert_eq!(lines.matches("\"cancelled\":1").count(), 1, "{lines}");
    assert!(
        lines.contains("\"refused\":0") && !lines.contains("\"event\":\"refused\""),
        "{lines}"
    );
}

fn get_into(path: PathBuf, resume: Option<Prefix>) -> Job {
    Job {
        query: Query {
            resume,
            ..query(Op::Get, "file", 0)
        },
        target: Target::File(path),
    }
}

/// A job that says what its caller has, without what was kept by a transfer: the server left that out, and a file with zeros in the place
/// of its first bytes was delivered.
#[test]
fn job_cannot_claim_a_beginning_that_no_transfer_has_kept() {
    let world = world(SIZE, rest);
    for resume in [false, true] {
        let job = get_into(world.path("output"), prefix_of(1000));
        let options = OutputOptions {
            resume,
            ..OutputOptions::default()
        };
        let mut transfer = Transfer::new(world.client(), std::iter::once(job), options);
        while let Some(event) = transfer.next_event().unwrap() {
            assert!(
                !matches!(event, Event::Failed { .. } | Event::Resumed { .. }),
                "{event:?}"
            );
        }
        transfer.close();
        assert_eq!(
            std::fs::read(world.path("output")).unwrap(),
            vec![b'x'; SIZE as usize]
        );
    }
}

/// All jobs that failed before anything was sent were worked off before the first was told: a list of millions took all memory meanwhile,
/// and heard of no signal.
#[test]
fn jobs_that_cannot_be_asked_for_are_told_one_by_one() {
    let world = world(SIZE, rest);
    let taken = AtomicU64::new(0);
    let jobs = (0..1000).map(|number| {
        taken.fetch_add(1, Ordering::Relaxed);
        let mut job = get_into(world.path("output"), None);
        if number != 2 {
            job.query.path = b"a\0b".to_vec();
        }
        job
    });
    let mut transfer = Transfer::new(world.client(), jobs, OutputOptions::default());
    let mut failed = 0;
    let mut delivered = 0;
    while let Some(event) = transfer.next_event().unwrap() {
        match event {
            Event::Failed { .. } => failed += 1,
            Event::Delivered { .. } => delivered += 1,
            _ => {}
        }
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken <= failed + 3, "{taken} jobs were taken, {failed} told");
    }
    transfer.close();
    assert_eq!((failed, delivered), (999, 1));
}

/// A client that hashed a large part for longer than it would wait for a place had waited long enough before it asked for one.
#[test]
fn time_before_the_first_request_is_no_waiting_for_a_place() {
    let world = World::new(|options| options.sessions_max = 1);
    world.put("file", b"x");
    let mut holder = world.client();
    ask(&mut holder, query(Op::Get, "file", 0));
    let options = ClientOptions {
        wait: Some(Duration::from_secs(2)),
        ..world.options()
    };
    let mut client = Client::connect(options).unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    client.submit(&query(Op::Get, "file", 0)).unwrap().unwrap();
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        holder.close();
    });
    let record = client.next_record().unwrap();
    assert_eq!(record.kind, Kind::Begin);
    leaving.join().unwrap();
    client.close();
}

/// Over five seconds, because a server says that it is alive every five. The client's patience is shorter than the hashing.
#[test]
fn client_hears_that_the_server_is_alive_while_it_hashes() {
    let world = world(SIZE, |position| {
        if position < 900_000 {
            std::thread::sleep(Duration::from_millis(750));
        }
        Ok(100_000)
    });
    let options = ClientOptions {
        silence_max: Duration::from_millis(5700),
        ..world.options()
    };
    let mut client = Client::connect(options).unwrap();
    let start = Instant::now();
    let resume = prefix_of(900_000);
    let answer = ask(
        &mut client,
        Query {
            resume,
            ..query(Op::Get, "file", 0)
        },
    );
    assert_eq!(begun(&answer), (900_000, 100_000));
    assert!(start.elapsed() > Duration::from_millis(6500));
}

#[track_caller]
fn eventually(is_true: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_true() {
        assert!(Instant::now() < end, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}
