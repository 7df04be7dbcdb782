//! Words and slots that change between every two accesses, against either end of a stream of records.
//!
//! The first byte says which end and how the ring is divided; what follows drives the memory (`hostile`) and its user by turns. Which
//! accesses are allowed is asserted in the memory itself; here it is asserted what the two ends make of what they saw.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::layout::{Geometry, Header, PAGE_BYTES};
use shmeld_core::ring::{Consumer, Cursor};
use shmeld_core::wait::{SLICE, Waited};
use zerocopy::{FromBytes, IntoBytes};

use super::super::account::Account;
use super::super::record::{Kind, RECORD_ALIGN_BYTES, RECORD_BYTES, RawRecord, Record};
use super::super::session::{End, Session};
use super::super::slot_reader::SlotReader;
use super::super::slot_writer::SlotWriter;
use super::super::slots::Slots;
use super::feed::Feed;
use super::hostile::Hostile;
use super::ring_model::{Ring, Victim};

/// How many records a client takes, and how many steps a server does.
const STEPS_MAX: u32 = 64;
/// What a session waits for in these targets: nothing that depends on it takes real time.
const STALL: Duration = Duration::from_secs(3600);

/// Runs one end of a ring against a memory that changes all the time.
pub fn header_stream(input: &[u8]) -> &'static str {
    let feed = Feed::new(input);
    let first = feed.byte();
    let ring = Ring {
        victim: if first & 1 == 0 {
            Victim::Client
        } else {
            Victim::Server
        },
        slot_count: 1 + u32::from(first >> 1 & 3),
        // A slot that a fuzzer has an overview of, and the smallest one of a real region.
        slot_bytes: if first & 8 == 0 { 192 } else { 3776 },
        // A server always starts at 0; a client's words have wrapped here after three slots.
        start: if first & 17 == 16 { u32::MAX - 2 } else { 0 },
    };
    let memory = Hostile::new(&feed, ring);
    match ring.victim {
        Victim::Client => client(&feed, &memory, ring),
        Victim::Server => server(&feed, &memory, ring),
    }
}

fn client(feed: &Feed<'_>, memory: &Hostile<'_>, ring: Ring) -> &'static str {
    let mut reader = SlotReader::new(memory);
    reader.consumer = Consumer::with_cursor(Cursor::new(ring.slot_count, 0).starting_at(ring.start));
    let headers_max = (ring.slot_bytes / RECORD_BYTES) as u64;
    for _ in 0..STEPS_MAX {
        let before = memory.seen();
        let next = reader.next(memory);
        let after = memory.seen();
        // One look at a slot: a server cannot keep a client busy for longer, whatever it publishes meanwhile.
        assert!(after.headers - before.headers <= headers_max && after.accesses - before.accesses < 200);
        match next {
            Err(misbehaviour) => return judge(misbehaviour, memory),
            Ok(_) if after.is_broken => panic!("an impossible word was believed: {after:?}"),
            Ok(Some(record)) => {
                check_record(&record, &reader, memory, ring);
                if let Err(misbehaviour) = reader.finish(memory, &record) {
                    return judge(misbehaviour, memory);
                }
            }
            Ok(None) if feed.is_over() => return "client: starved",
            Ok(None) => match reader
                .consumer
                .wait_filled(memory, Instant::now() + SLICE, || feed.is_over())
            {
                Ok(Waited::Faulted) => return judge(Misbehaviour::Vanished, memory),
                Ok(_) => assert!(!memory.seen().is_broken, "an impossible word was slept over"),
                Err(misbehaviour) => return judge(misbehaviour, memory),
            },
        }
        if memory.has_vanished() {
            return "client: vanished";
        }
    }
    "client: served"
}

/// A record must be what one single look at the slot saw, and its payload must lie in the slot.
fn check_record(record: &Record, reader: &SlotReader, memory: &Hostile<'_>, ring: Ring) {
    let seen = memory.seen();
    assert_eq!(
        record.to_raw().as_bytes(),
        seen.header,
        "a header was put together from two looks"
    );
    assert!(!matches!(record.kind, Kind::Stop | Kind::Pad));
    let (slot, at) = reader.payload_place();
    assert!(slot == seen.slot && at.is_multiple_of(RECORD_ALIGN_BYTES));
    assert!(at + record.length <= ring.slot_bytes && record.stride() < record.length + RECORD_ALIGN_BYTES);
    let mut payload = vec![0; record.length];
    // A payload as long as a header would be taken for one by the memory.
    if record.length != RECORD_BYTES {
        memory.read(slot, at, &mut payload);
    }
}

/// Whether the blame is deserved.
fn judge(misbehaviour: Misbehaviour, memory: &Hostile<'_>) -> &'static str {
    let seen = memory.seen();
    match misbehaviour {
        Misbehaviour::Vanished => {
            assert!(memory.has_vanished());
            "vanished"
        }
        Misbehaviour::Sequence => {
            assert!(seen.is_broken, "{seen:?}");
            "impossible word"
        }
        Misbehaviour::Record(_) => {
            let raw = RawRecord::read_from_bytes(&seen.header[..]).expect("the sizes are equal");
            assert!(Record::check(&raw, seen.header_room).is_err() && !seen.is_broken);
            "malformed record"
        }
        other => panic!("{other:?} cannot be seen in a ring"),
    }
}

/// What a server was told to send, in the form in which [`sent`] reads it back.
#[derive(Default)]
struct Expected(Vec<u8>);

impl Expected {
    fn record(&mut self, kind: Kind, payload: &[u8]) {
        let raw = Record::new(kind, 1).to_raw();
        self.0.push(raw.as_bytes()[0]);
        self.0.extend_from_slice(payload);
    }
}

fn server(feed: &Feed<'_>, memory: &Hostile<'_>, ring: Ring) -> &'static str {
    let geometry = Geometry::for_region(PAGE_BYTES).expect("a page is a region");
    let nonce = [0; 16];
    let account = Account::new(0, 1);
    let session = Session::new(&Header { nonce, geometry }, (0, 0), STALL, account);
    let mut writer = SlotWriter::new(memory, &session.pulse);
    let mut expected = Expected::default();
    let outcome = send(feed, memory, &mut writer, &mut expected, ring);
    check_sent(memory, &expected, outcome.is_ok());
    match outcome {
        Ok(()) => "server: all sent",
        Err(end) => judge_end(&end, memory),
    }
}

fn send(
    feed: &Feed<'_>,
    memory: &Hostile<'_>,
    writer: &mut SlotWriter<'_, Hostile<'_>>,
    expected: &mut Expected,
    ring: Ring,
) -> Result<(), End> {
    for _ in 0..STEPS_MAX {
        if feed.is_over() {
            break;
        }
        step(feed, writer, expected, ring)?;
        assert!(!memory.seen().is_broken, "an impossible word was believed");
    }
    writer.flush()
}

/// One step of an answer, as the input says.
fn step(
    feed: &Feed<'_>,
    writer: &mut SlotWriter<'_, Hostile<'_>>,
    expected: &mut Expected,
    ring: Ring,
) -> Result<(), End> {
    let bytes_max = ring.slot_bytes - RECORD_BYTES;
    let payload = |len: usize| (0..len).map(|at| at as u8 ^ 0x5a).collect::<Vec<u8>>();
    match feed.byte() % 6 {
        0 => writer.flush(),
        1 => {
            // The value is the client's wish; that it can be asked for is all.
            let _ = writer.is_cancelled(u64::from(feed.byte()));
            Ok(())
        }
        2 => writer.keep_alive(1),
        3 => {
            let bytes = payload(usize::from(feed.u16()) % (3 * ring.slot_bytes));
            if !bytes.is_empty() {
                expected.record(Kind::Data, &bytes);
            }
            writer.data(&Record::new(Kind::Data, 1), &bytes)
        }
        kind => {
            let kind = if kind == 4 { Kind::Begin } else { Kind::End };
            let bytes = payload(usize::from(feed.u16()) % (bytes_max + 1));
            assert!(!writer.fits_current_slot(ring.slot_bytes as u64));
            expected.record(kind, &bytes);
            writer.record(&Record::new(kind, 1), |target| target.extend_from_slice(&bytes))
        }
    }
}

/// What has been published is the beginning of what was to be sent, or all of it; and every slot of it is well formed.
fn check_sent(memory: &Hostile<'_>, expected: &Expected, is_all: bool) {
    let sent: Vec<u8> = memory.published().iter().flat_map(|slot| sent(slot)).collect();
    assert!(expected.0.starts_with(&sent) && (!is_all || sent.len() == expected.0.len()));
}

/// A naive reading of one slot: kinds and payloads. A DATA record that goes on where another stopped counts as one with it.
fn sent(slot: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), slot);
    while rest.len() >= RECORD_BYTES && rest[0] != 0 {
        let (header, behind) = rest.split_at(RECORD_BYTES);
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let goes_on = header[16..24] != [0; 8];
        assert!(header[6..8] == [0; 2] && length <= behind.len() && (header[0] == 3 || !goes_on));
        if !goes_on {
            bytes.push(header[0]);
        }
        bytes.extend_from_slice(&behind[..length]);
        rest = &behind[length.next_multiple_of(RECORD_ALIGN_BYTES).min(behind.len())..];
    }
    bytes
}

fn judge_end(end: &End, memory: &Hostile<'_>) -> &'static str {
    match end {
        End::Misbehaved(misbehaviour) => match judge(*misbehaviour, memory) {
            "malformed record" => panic!("a server reads no records"),
            "vanished" => "server: vanished",
            _ => "server: impossible word",
        },
        End::ClientGone => {
            assert!(!memory.seen().is_broken);
            "server: client gone"
        }
        other => panic!("{other:?} cannot be seen in a ring"),
    }
}
