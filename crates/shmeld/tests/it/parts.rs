//! Parts of files, lists as a walk sees them, and sources that have to be waited for: what a bridge to another machine uses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shmeld::file::record::{Entry, EntryKind, Kind};
use shmeld::file::source::{Source, SourceFile, Walk};
use shmeld::file::wire::{FLAG_PATTERN, FLAG_RANGE, FLAG_RECURSIVE, FLAG_RESUME, FLAG_VERIFY, FLAG_WALK, Op};
use shmeld::file::{Client, Query, Range, Refusal, Status};

use crate::invented::{World, query};

/// What an answer consists of.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    entries: Vec<(Status, Entry)>,
    begin: Option<(u64, u64, Entry)>,
    bytes: Vec<u8>,
    end: Option<(Status, u64)>,
    done: Option<Status>,
    waits: u32,
}

fn ask(client: &mut Client, query: &Query) -> Answer {
    client.submit(query).unwrap().expect("nothing else is under way");
    let mut answer = Answer::default();
    loop {
        let record = client.next_record().unwrap();
        let mut payload = Vec::new();
        client.payload(&record, &mut payload);
        match record.kind {
            Kind::Begin => {
                answer.begin = Some((record.offset, record.extent, Entry::decode(&payload).unwrap()));
            }
            Kind::Data => answer.bytes.extend(payload),
            Kind::Hole => answer
                .bytes
                .resize(answer.bytes.len() + record.extent as usize, 0),
            Kind::End => answer.end = Some((record.status, record.offset)),
            Kind::Entry => answer
                .entries
                .push((record.status, Entry::decode(&payload).unwrap())),
            Kind::Done => answer.done = Some(record.status),
            _ => {}
        }
        client.finish(&record).unwrap();
        if answer.done.is_some() {
            return answer;
        }
    }
}

fn part(client: &mut Client, path: &str, offset: u64, len: u64) -> Answer {
    let resume = Some(Range { offset, len }.into());
    ask(
        client,
        &Query {
            resume,
            ..query(Op::Get, path, FLAG_RANGE)
        },
    )
}

#[test]
fn a_part_is_what_lies_there_and_ends_where_the_file_ends() {
    let world = World::new(|_| {});
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at / 7) as u8).collect();
    world.put("f", &bytes);
    let size = bytes.len();
    for region_bytes in [4096, 1 << 20] {
        let mut client = Client::connect(shmeld::file::ClientOptions {
            region_bytes,
            ..world.options()
        })
        .unwrap();
        for (offset, len) in [
            (0, size),
            (0, 1),
            (1, 4096),
            (4095, 70_000),
            (size - 1, 5),
            (size, 5),
            (size + 9, 5),
            (7, 0),
            (0, usize::MAX),
        ] {
            let answer = part(&mut client, "f", offset as u64, len as u64);
            let (start, end) = (
                offset.min(size),
                offset.saturating_add(len).min(size).max(offset.min(size)),
            );
            assert!(answer.bytes == bytes[start..end], "{offset} {len}");
            let (at, extent, entry) = answer.begin.unwrap();
            assert_eq!(
                (at, extent, entry.size, entry.text.len()),
                (start as u64, size as u64, size as u64, 32)
            );
            assert_eq!(answer.end, Some((Status::Ok, end as u64)), "{offset} {len}");
            assert_eq!(answer.done, Some(Status::Ok));
        }
        client.close();
    }
}

/// A file that was replaced by one of the same size and times between two parts would have been put together from halves of both.
#[test]
fn identity_of_a_file_is_another_one_when_the_file_is() {
    let world = World::new(|_| {});
    let mut client = world.client();
    let mut identity = || part(&mut client, "f", 1, 1).begin.unwrap().2.text;
    world.put("f", b"one");
    let first = identity();
    assert_eq!(first, identity());
    let time = std::fs::metadata(world.path("f")).unwrap().modified().unwrap();
    std::fs::rename(world.path("f"), world.path("old")).unwrap();
    world.put("f", b"two");
    std::fs::File::options()
        .write(true)
        .open(world.path("f"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let second = identity();
    assert_ne!(first, second, "replaced");
    std::fs::write(world.path("f"), b"too").unwrap();
    std::fs::File::options()
        .write(true)
        .open(world.path("f"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert_ne!(second, identity(), "written in place, and the time set back");
}

#[test]
fn a_part_of_nothing_is_refused_like_the_whole_and_other_flags_are_unknown_with_it() {
    let world = World::new(|_| {});
    world.put("f", b"x");
    let mut client = world.client();
    let missing = part(&mut client, "a*", 0, 1);
    assert_eq!(missing.entries[0].0, Status::Fnf);
    for flags in [FLAG_PATTERN, FLAG_RESUME, FLAG_VERIFY, FLAG_RECURSIVE, FLAG_WALK] {
        let resume = Some(Range { offset: 0, len: 1 }.into());
        let answer = ask(
            &mut client,
            &Query {
                resume,
                ..query(Op::Get, "f", FLAG_RANGE | flags)
            },
        );
        assert_eq!(
            answer,
            Answer {
                done: Some(Status::Unsupported),
                ..Answer::default()
            },
            "{flags}"
        );
    }
    for (op, flags) in [
        (Op::Tree, FLAG_RANGE),
        (Op::List, FLAG_RANGE),
        (Op::Tree, FLAG_WALK),
        (Op::Status, FLAG_WALK),
    ] {
        assert_eq!(
            ask(&mut client, &query(op, "", flags)).done,
            Some(Status::Unsupported),
            "{op:?} {flags}"
        );
    }
}

#[test]
fn list_for_a_walk_begins_with_the_directory_and_knows_no_patterns() {
    let world = World::new(|_| {});
    world.put("d/a", b"12");
    world.put("d/[x]/c", b"");
    let mut client = world.client();
    let mut list = |path: &str| {
        let answer = ask(&mut client, &query(Op::List, path, FLAG_WALK));
        let mut names: Vec<_> = answer
            .entries
            .iter()
            .map(|(status, entry)| {
                (
                    *status,
                    entry.kind,
                    String::from_utf8(entry.name.clone()).unwrap(),
                )
            })
            .collect();
        names[1.min(answer.entries.len())..].sort_by_key(|(_, _, name)| name.clone());
        names
    };
    use EntryKind::{Directory, File};
    let ok = |kind, name: &str| (Status::Ok, kind, name.to_owned());
    assert_eq!(
        list("d"),
        [ok(Directory, "."), ok(Directory, "[x]"), ok(File, "a")]
    );
    assert_eq!(list("d/[x]"), [ok(Directory, "."), ok(File, "c")]);
    assert_eq!(list("d/a"), [ok(File, ".")]);
    assert_eq!(list("")[0], ok(Directory, "."));
    assert_eq!(list("d/*"), [(Status::Fnf, EntryKind::Unknown, "d/*".to_owned())]);
}

/// A file somewhere else: it takes some looks until anything is known of it, and some more for each byte.
struct Slow {
    looks: AtomicU32,
    entry: Entry,
    refusal: Option<Refusal>,
}

impl SourceFile for Slow {
    fn entry(&self) -> &Entry {
        assert!(
            self.looks.load(Ordering::Relaxed) >= 10,
            "asked for before it is known"
        );
        &self.entry
    }
    fn is_ready(&self, _position: u64) -> Result<bool, Refusal> {
        std::thread::sleep(Duration::from_millis(20));
        let looks = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.refusal {
            Some(refusal) if looks >= 10 => Err(refusal.clone()),
            _ => Ok(looks.is_multiple_of(10)),
        }
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        let rest = b"slow".get(position as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len()).min(2);
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn is_unchanged(&self) -> Result<bool, Refusal> {
        Ok(true)
    }
}

struct Elsewhere;

impl Source for Elsewhere {
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        let refusal = (path != b"f").then(|| Refusal::from(Status::Fnf));
        Ok(Box::new(Slow {
            looks: AtomicU32::new(0),
            entry: Entry::file(path, 4),
            refusal,
        }))
    }
    fn walk(&self, _path: &[u8], _levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        Err(Status::Fnf.into())
    }
}

#[test]
fn source_that_has_to_wait_is_asked_again_and_may_refuse_late() {
    let world = World::of_source(Arc::new(Elsewhere));
    let mut client = world.client();
    let answer = ask(&mut client, &query(Op::Get, "f", FLAG_PATTERN));
    assert_eq!(
        (answer.bytes.as_slice(), answer.end),
        (&b"slow"[..], Some((Status::Ok, 4)))
    );
    let answer = ask(&mut client, &query(Op::Get, "g*", FLAG_PATTERN));
    assert_eq!(answer.entries[0].0, Status::Fnf);
}

/// The client of a server whose source waited for another machine was dead for as long as that took, and the server did not see it.
#[test]
fn client_that_goes_while_a_source_waits_is_noticed() {
    struct Never;
    impl Source for Never {
        fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
            struct File(Entry);
            impl SourceFile for File {
                fn entry(&self) -> &Entry {
                    &self.0
                }
                fn is_ready(&self, _position: u64) -> Result<bool, Refusal> {
                    std::thread::sleep(Duration::from_millis(20));
                    Ok(false)
                }
                fn read_at(&self, _buffer: &mut [u8], _position: u64) -> Result<usize, Refusal> {
                    Ok(0)
                }
                fn is_unchanged(&self) -> Result<bool, Refusal> {
                    Ok(true)
                }
            }
            Ok(Box::new(File(Entry::file(path, 0))))
        }
        fn walk(&self, _path: &[u8], _levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
            Err(Status::Fnf.into())
        }
    }
    let world = World::of_source(Arc::new(Never));
    let mut client = world.client();
    client.submit(&query(Op::Get, "f", 0)).unwrap();
    while world.status().requests_total < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(client);
    let end = Instant::now() + Duration::from_secs(20);
    while world.status().died_total < 1 {
        assert!(Instant::now() < end, "nobody looked after the client");
        std::thread::sleep(Duration::from_millis(20));
    }
}
