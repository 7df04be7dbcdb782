//! Bugs that were there once, each with its story: what a server is asked, and which region it may answer into.
//!
//! Those about who lives, who waits and who has a place are in `regressions_of_life`.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Instant;

use shmeld::Error;
use shmeld::file::record::{Entry, Kind, NAME_BYTES_MAX, Record, TEXT_BYTES_MAX};
use shmeld::file::wire::{FLAG_PATTERN, Op};
use shmeld::file::{Client, ClientOptions, Refusal, Status};
use shmeld_core::layout::Word;
use shmeld_core::session::State;

use crate::invented::{Invented, World, query};
use crate::raw_peer::{PATIENCE, RawPeer, eventually};

/// The records of the oldest unanswered request with their payloads, DONE included.
fn answer(client: &mut Client) -> Result<Vec<(Record, Vec<u8>)>, Error> {
    let mut records = Vec::new();
    loop {
        let record = client.next_record()?;
        let mut payload = Vec::new();
        client.payload(&record, &mut payload);
        client.finish(&record)?;
        records.push((record, payload));
        if record.kind == Kind::Done {
            return Ok(records);
        }
    }
}

fn ask(client: &mut Client, op: Op, path: &str, flags: u32) -> Result<Vec<(Record, Vec<u8>)>, Error> {
    client.submit(&query(op, path, flags))?.unwrap();
    answer(client)
}

fn refused(status: Status) -> Option<State> {
    Some(State::Refused(status.code().into()))
}

fn ended(status: Status) -> Option<State> {
    Some(State::Ended(status.code().into()))
}

/// The library behind patterns expands braces: ten groups of them made one request burn a CPU for as long as the server lived, and
/// nobody could end it, because the matching looks at nothing meanwhile.
#[test]
fn braces_in_a_pattern_do_not_burn_the_server() {
    let world = World::new(|_| {});
    world.put("anything", b"x");
    let pattern = format!("{}*x", "{,,,,,,,,,,,,,,,,,,,,,}".repeat(10));
    let options = ClientOptions {
        silence_max: PATIENCE / 2,
        ..world.options()
    };
    let start = Instant::now();
    for op in [Op::Get, Op::List] {
        let mut client = Client::connect(options.clone()).unwrap();
        let records = ask(&mut client, op, &pattern, FLAG_PATTERN).unwrap();
        client.close();
        let (kind, status) = (records[0].0.kind, records[0].0.status);
        assert_eq!((kind, status), (Kind::Entry, Status::Fnf), "{op:?}");
    }
    assert!(start.elapsed() < PATIENCE, "it took {:?}", start.elapsed());
}

/// Each CLOSE of a client that does not read was kept until the session came to it, and 200,000 of them were 200,000 times a request's
/// memory. What came behind a CLOSE still changed what the session was: a GET that nobody would answer made it one that `--once` waits for.
/// (The memory itself is measured with a real server, in the tests of the programs.)
#[test]
fn nothing_is_taken_after_close() {
    let world = World::new(|options| options.once = true);
    for number in 0..60 {
        world.put(&format!("{number:0>200}"), b"");
    }
    let peer = RawPeer::new(world.name());
    // A listing that does not fit the page: the session waits for a slot when CLOSE comes.
    peer.send(Op::List, 1, "");
    peer.wait_for_slots(1);
    peer.send(Op::Close, 2, "");
    peer.send(Op::Get, 3, "anything");
    // Requests of all clients are taken in their order: once this one is answered the others have been taken.
    assert_eq!(world.status().sessions, 2);
    assert_eq!(peer.drain_until_ended(), ended(Status::Ok));
    // Had the GET counted, the server with `once` would end now.
    eventually("the session is forgotten", || world.status().sessions == 1);
    assert_eq!(world.status().misbehaved_total, 0);
}

/// Everything about a region that a server must leave alone.
fn look(peer: &RawPeer) -> (Option<State>, u32, Vec<u8>) {
    (peer.state(), peer.load(Word::Written), peer.slot())
}

/// Sends a GET for a region that is no longer on offer, and insists that the server has taken it and done nothing.
#[track_caller]
fn assert_not_attached_again(world: &World, peer: &RawPeer, request_id: u64) {
    let (before, refused_before) = (look(peer), world.status().refused_regions_total);
    peer.send(Op::Get, request_id, "poison");
    let status = world.status();
    assert_eq!(status.refused_regions_total, refused_before + 1);
    eventually("only the asking session is there", || {
        world.status().sessions == 1
    });
    assert!(
        look(peer) == before,
        "request {request_id} changed the region: {:?}, was {:?}",
        peer.state(),
        before.0
    );
}

/// A request that came twice attached its region a second time, after the session had ended: the server wrote into memory that the client
/// believed to be its own again. Whoever can read /dev/shm could do that to others.
#[test]
fn replayed_request_does_not_attach_a_region_whose_session_has_ended() {
    let world = World::new(|_| {});
    world.put("file", b"content");
    world.put("poison", b"poison");
    let peer = RawPeer::new(world.name());
    peer.send(Op::Get, 1, "file");
    peer.wait_for_slots(1);
    peer.send(Op::Close, 2, "");
    eventually("the session ends", || peer.state() == ended(Status::Ok));
    eventually("the session is forgotten", || world.status().sessions == 1);
    for request_id in [1, 3] {
        assert_not_attached_again(&world, &peer, request_id);
    }
    // Nor if the client itself puts the word back: the ring has been used.
    peer.store(Word::State, State::Offered.to_word());
    let slot = peer.slot();
    peer.send(Op::Get, 4, "poison");
    eventually("the server says no", || peer.state() == ended(Status::Misbehaved));
    assert!(peer.slot() == slot, "the slot was filled again");
    assert_eq!(world.status().files_total, 1);
}

/// A client that is refused because the server is full makes a new region. A second request for the old one, still in the queue, must
/// not attach that one when the place is free.
#[test]
fn replayed_request_does_not_attach_a_region_that_was_refused() {
    const PLACES: usize = 4;
    let world = World::new(|options| options.sessions_max = PLACES);
    world.put("poison", b"poison");
    let holders: Vec<RawPeer> = (0..PLACES).map(|_| RawPeer::new(world.name())).collect();
    for holder in &holders {
        holder.send(Op::List, 1, "");
        holder.wait_for_slots(1);
    }
    let late = RawPeer::new(world.name());
    late.send(Op::Get, 1, "poison");
    eventually("there is no place", || late.state() == refused(Status::Busy));
    for holder in &holders {
        holder.send(Op::Close, 2, "");
    }
    let status = || world.try_status();
    eventually("there are places", || {
        status().is_ok_and(|status| status.sessions == 1)
    });
    for request_id in [1, 2] {
        assert_not_attached_again(&world, &late, request_id);
    }
}

/// A ring whose words are not zero has been used, by another server perhaps: filling its slots from the beginning would overwrite what
/// its client reads.
#[test]
fn region_whose_words_are_not_zero_at_the_start_is_not_attached() {
    let world = World::new(|_| {});
    world.put("file", b"content");
    for (word, value) in [(Word::Written, 1), (Word::Read, 1), (Word::Read, u32::MAX)] {
        let sessions = world.status().sessions_total;
        let peer = RawPeer::new(world.name());
        peer.store(word, value);
        peer.send(Op::Get, 1, "file");
        eventually("the server says no", || peer.state() == ended(Status::Misbehaved));
        assert_eq!(peer.load(word), value, "{word:?}");
        assert!(
            peer.slot().iter().all(|byte| *byte == 0),
            "{word:?}: a slot was filled"
        );
        // Only those who asked for the status.
        assert_eq!(world.status().sessions_total, sessions + 1);
    }
    for state in [State::Attached, State::Ended(0), State::Refused(8)] {
        let peer = RawPeer::new(world.name());
        peer.store(Word::State, state.to_word());
        assert_not_attached_again(&world, &peer, 1);
    }
}

/// The limit of a name is checked for names below the directory where a walk begins. A pattern puts that directory in front, and the
/// longer name panicked the session when it was written down.
#[test]
fn pattern_over_names_that_are_too_long_names_them_and_goes_on() {
    let world = World::new(|_| {});
    let level = |letter: &str| letter.repeat(250);
    let prefix = [level("p"), level("q"), level("r")].join("/");
    let below = ["a", "b", "c", "d", "e", "f", "g", "h"].map(level).join("/");
    world.put(&format!("{prefix}/short"), b"content");
    world.put(&format!("{prefix}/{below}/last"), b"");
    assert!(below.len() < NAME_BYTES_MAX && prefix.len() + below.len() > NAME_BYTES_MAX);
    let mut client = world.client();
    for op in [Op::Get, Op::List] {
        let records = ask(&mut client, op, &format!("{prefix}/**"), FLAG_PATTERN).unwrap();
        let too_long = |(record, payload): &&(Record, Vec<u8>)| {
            record.status == Status::NameTooLong
                && Entry::decode(payload).unwrap().name.len() == NAME_BYTES_MAX
        };
        assert!(records.iter().any(|record| too_long(&record)), "{op:?}");
        let is_short = |(_, payload): &(Record, Vec<u8>)| {
            Entry::decode(payload).is_ok_and(|entry| entry.name.ends_with(b"/short"))
        };
        assert!(records.iter().any(is_short), "{op:?}: the others are answered");
        assert_eq!(records.last().unwrap().0.status, Status::Ok);
    }
    client.close();
}

/// A walk begins with the place where it begins, which is `.` there, and a pattern of dotfiles took that for a name: below a file the
/// file itself was sent as `f/.`.
#[test]
fn pattern_below_a_file_matches_nothing() {
    let world = World::new(|_| {});
    world.put("f", b"content");
    let mut client = world.client();
    for op in [Op::Get, Op::List] {
        let records = ask(&mut client, op, "f/.*", FLAG_PATTERN).unwrap();
        let (kind, status) = (records[0].0.kind, records[0].0.status);
        assert_eq!((kind, status), (Kind::Entry, Status::Fnf), "{op:?}");
    }
    client.close();
}

/// The links of the object behind our own descriptor on a region of this size, which no other test uses.
fn links_of_region(region_bytes: u64) -> Vec<u64> {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    // A descriptor of another test may be closed at any moment.
    let paths = descriptors.filter_map(|entry| Some(entry.ok()?.path()));
    let regions = paths.filter(|path| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/dev/shm/shmeld."))
    });
    regions
        .filter_map(|path| std::fs::metadata(path).ok())
        .filter(|stat| stat.len() == region_bytes)
        .map(|stat| stat.nlink())
        .collect()
}

/// The name went only when the client waited and saw ATTACHED. A server that was faster than the client's first wait left the name in
/// /dev/shm for the whole session, and for ever if both were killed.
#[test]
fn name_of_the_region_is_gone_once_the_first_record_was_read() {
    const REGION_BYTES: u64 = 23 * 4096;
    let world = World::new(|_| {});
    world.put("file", b"content");
    let options = ClientOptions {
        region_bytes: REGION_BYTES,
        ..world.options()
    };
    let mut client = Client::connect(options).unwrap();
    client.submit(&query(Op::Get, "file", 0)).unwrap();
    eventually("the answer is there", || client.is_ready().unwrap());
    let links = links_of_region(REGION_BYTES);
    assert!(
        !links.is_empty() && links.iter().all(|links| *links == 1),
        "{links:?}"
    );
    let record = client.next_record().unwrap();
    assert_eq!(record.kind, Kind::Begin);
    let links = links_of_region(REGION_BYTES);
    assert!(
        !links.is_empty() && links.iter().all(|links| *links == 0),
        "{links:?}"
    );
    client.finish(&record).unwrap();
    assert_eq!(answer(&mut client).unwrap().last().unwrap().0.status, Status::Ok);
    client.close();
}

/// A panic while a session answered took its region along without a word: the client was told that the server had died.
#[test]
fn panic_in_a_source_ends_its_session_and_is_told() {
    let world = World::of(Invented {
        size: 100_000,
        read: Arc::new(|position| {
            assert!(position == 0, "a source that panics in the middle of a file");
            Ok(5000)
        }),
        refusals: vec![("not there", Status::Fnf.into())],
    });
    for _ in 0..3 {
        let error = ask(&mut world.client(), Op::Get, "file", 0).unwrap_err();
        let io = u32::from(Status::Io.code());
        assert!(
            matches!(error, Error::Ended { code, .. } if code == io),
            "{error}"
        );
        let mut next = world.client();
        let records = ask(&mut next, Op::Get, "not there", 0).unwrap();
        assert_eq!(records[0].0.status, Status::Fnf);
        next.close();
    }
    let status = world.status();
    assert_eq!((status.died_total, status.misbehaved_total), (0, 0));
}

/// A text longer than a slot panicked the session that wrote it down.
#[test]
fn long_text_of_a_refusal_is_cut() {
    let text = "why ".repeat(1250);
    let refusal = Refusal::new(Status::Io, text.clone());
    let at_the_end = refusal.clone();
    let world = World::of(Invented {
        size: 100_000,
        read: Arc::new(move |position| {
            if position == 0 {
                Ok(5000)
            } else {
                Err(at_the_end.clone())
            }
        }),
        refusals: vec![("closed", refusal)],
    });
    let cut = &text.as_bytes()[..TEXT_BYTES_MAX];
    let mut client = world.client();
    let records = ask(&mut client, Op::Get, "closed", 0).unwrap();
    assert_eq!(Entry::decode(&records[0].1).unwrap().text, cut);
    let records = ask(&mut client, Op::Get, "file", 0).unwrap();
    let (end, text) = &records[records.len() - 2];
    assert_eq!((end.kind, end.status), (Kind::End, Status::Io));
    assert!(text == cut, "{} bytes", text.len());
    client.close();
}
