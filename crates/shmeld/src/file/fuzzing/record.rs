//! Whatever a server can put into a slot, against the client: records, entries, texts, digests, the order of an answer.
//!
//! The first byte says what was asked for, the rest lies in the slots. The records are taken as `transfer` takes them, and beside the
//! client's own bookkeeping there is a naive one: all bytes of a file in one vector.

use shmeld_core::Misbehaviour;
use shmeld_os::name::escape;

use super::super::collected::Collected;
use super::super::context::ServerStatus;
use super::super::incoming::{Incoming, Sink};
use super::super::path::check_relative;
use super::super::prefix::{Prefix, Start, check_begin};
use super::super::record::{ENTRY_BYTES_MAX, Entry, Kind, Record};
use super::super::slot_reader::SlotReader;
use super::super::staging::BLOCK_BYTES;
use super::super::status::Status;
use super::filled::{Filled, Present};
use crate::Error;

/// The id of the one request that is under way.
pub(super) const REQUEST_ID: u64 = 1;
/// The naive bookkeeping keeps files up to this size, and compares digests only of those.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// What a client has that asks for the rest of a file.
pub(super) const OFFERED: &[u8] = b"hello";

/// Takes the answer to one request out of slots that say whatever the input says.
pub fn record(input: &[u8]) -> &'static str {
    let (first, slots) = input
        .split_first()
        .map_or((0, input), |(first, rest)| (*first, rest));
    let slot_bytes = if first & 1 == 0 { 192 } else { 3776 };
    let memory = Filled::new(slots, slot_bytes);
    if first & 2 != 0 {
        return status(&memory);
    }
    let mut client = Client {
        reader: SlotReader::new(&memory),
        memory: &memory,
        verify: first & 4 != 0,
        prefix: (first & 8 != 0).then(|| Prefix {
            bytes: OFFERED.len() as u64,
            digest: *blake3::hash(OFFERED).as_bytes(),
        }),
        collected: Collected::default(),
        current: None,
        delivered: 0,
    };
    match client.take_all() {
        Ok(outcome) => outcome,
        Err(Error::Peer(Misbehaviour::Record(reason))) => reason,
        Err(Error::Interrupted) => "interrupted",
        Err(other) => panic!("a server cannot cause this: {other}"),
    }
}

/// What a client counts about the file that is arriving, done naively.
struct Naive {
    size: u64,
    len: u64,
    bytes: Vec<u8>,
}

impl Naive {
    /// Whether `more` bytes at `offset` are the next ones of this file.
    fn fits(&self, offset: u64, more: u64) -> bool {
        offset == self.len && u128::from(self.len) + u128::from(more) <= u128::from(self.size)
    }

    fn is_kept(&self) -> bool {
        self.len <= KEPT_BYTES_MAX
    }
}

struct Client<'m> {
    reader: SlotReader,
    memory: &'m Filled<'m>,
    verify: bool,
    prefix: Option<Prefix>,
    collected: Collected,
    current: Option<(Incoming, Naive)>,
    delivered: u32,
}

impl Client<'_> {
    fn take_all(&mut self) -> Result<&'static str, Error> {
        while self.reader.is_ready(self.memory)? {
            let Some(record) = self.reader.next(self.memory)? else {
                continue;
            };
            if record.request_id != REQUEST_ID {
                return Err(Misbehaviour::Record("an answer that nobody asked for").into());
            }
            if self.take(&record)? {
                return Ok(if self.delivered > 0 { "delivered" } else { "done" });
            }
            // Bytes that wait to be written are bounded, however large the file.
            assert!(self.collected.bytes().len() <= BLOCK_BYTES + self.memory.slot_bytes);
        }
        Ok("slots are over")
    }

    fn payload(&self, record: &Record) -> Vec<u8> {
        let (slot, at) = self.reader.payload_place();
        self.memory.payload(slot, at, record.length)
    }

    /// Takes one record; whether it was the last of the answer.
    fn take(&mut self, record: &Record) -> Result<bool, Error> {
        let payload = self.payload(record);
        match (record.kind, &mut self.current) {
            (Kind::Wait, _) => {}
            (Kind::Begin, None) => self.begin(record, &payload)?,
            (Kind::Data, Some((incoming, naive))) => {
                let fits = naive.fits(record.offset, payload.len() as u64);
                let present = Present {
                    payload: &payload,
                    pieces_left: 0.into(),
                };
                let taken = incoming.data(&present, &mut self.collected, record);
                assert_eq!(taken.is_ok(), fits);
                taken?;
                naive.len += payload.len() as u64;
                if naive.is_kept() {
                    naive.bytes.extend_from_slice(&payload);
                }
                incoming.settle(&mut self.collected);
            }
            (Kind::Hole, Some((incoming, naive))) => {
                let fits = naive.fits(record.offset, record.extent);
                let present = Present {
                    payload: &[],
                    pieces_left: 32.into(),
                };
                let taken = incoming.hole(&present, &mut self.collected, record);
                // Zeros are hashed a piece at a time, so that the caller can stop.
                assert!(taken.is_ok() == fits || fits && matches!(taken, Err(Error::Interrupted)));
                taken?;
                naive.len += record.extent;
                if naive.is_kept() {
                    naive.bytes.resize(naive.len as usize, 0);
                }
            }
            (Kind::End, Some(_)) => self.end(record, &payload)?,
            (Kind::Entry, None) => {
                let entry = check_entry(record, &payload)?;
                assert_is_printable(&escape(&entry.text));
            }
            (Kind::Done, None) => {
                assert_is_printable(&escape(&payload));
                self.reader.finish(self.memory, record)?;
                return Ok(true);
            }
            _ => return Err(Misbehaviour::Record("a record out of order").into()),
        }
        self.reader.finish(self.memory, record)?;
        Ok(false)
    }

    fn begin(&mut self, record: &Record, payload: &[u8]) -> Result<(), Error> {
        let entry = check_entry(record, payload)?;
        let goes_on = self.prefix.is_some() && record.offset == OFFERED.len() as u64;
        let is_sound = i64::try_from(entry.size).is_ok();
        let may_begin = record.offset == 0 || goes_on && record.offset <= entry.size;
        let begun = check_begin(record, &entry, self.prefix);
        assert_eq!(begun.is_ok(), is_sound && may_begin);
        let position = begun?;
        let kept = if position == 0 { &[] } else { OFFERED };
        let naive = Naive {
            size: entry.size,
            len: position,
            bytes: kept.to_vec(),
        };
        let mut start = Start::anew(self.verify);
        start.position = position;
        if let Some(hasher) = &mut start.hasher {
            hasher.update(kept);
        }
        self.collected.clear();
        let name = entry.name.clone();
        let incoming = Incoming::new(name, entry, Sink::Nowhere, start, self.memory.slot_bytes, None);
        self.current = Some((incoming, naive));
        Ok(())
    }

    fn end(&mut self, record: &Record, payload: &[u8]) -> Result<(), Error> {
        let Some((incoming, naive)) = self.current.take() else {
            return Ok(());
        };
        if record.status != Status::Ok {
            assert_is_printable(&escape(payload));
            return Ok(());
        }
        let is_whole = naive.len == naive.size && record.offset == naive.size;
        let is_right = !self.verify || blake3::hash(&naive.bytes).as_bytes() == payload;
        let ended = incoming.complete(&mut self.collected, record, payload);
        assert_eq!(ended.is_ok(), is_whole);
        match ended? {
            Ok(()) => {
                assert!(
                    is_right || !naive.is_kept(),
                    "wrong bytes would get their final name"
                );
                self.delivered += 1;
            }
            Err(Error::Digest) => assert!(self.verify && !(is_right && naive.is_kept())),
            Err(other) => panic!("nothing was written: {other}"),
        }
        Ok(())
    }
}

/// An entry is refused, or says exactly what its bytes say.
fn check_entry(record: &Record, payload: &[u8]) -> Result<Entry, Misbehaviour> {
    let entry = record.entry(payload)?;
    let mut again = Vec::new();
    entry.encode_to(&mut again);
    assert!(again == payload && payload.len() <= ENTRY_BYTES_MAX && entry.size == record.extent);
    assert!(entry.mode <= 0o7777 && entry.modified.nanoseconds < 1_000_000_000);
    assert_is_printable(&escape(&entry.name));
    // The verdict on names is the subject of another target; here it must only come.
    let _ = check_relative(&entry.name);
    Ok(entry)
}

/// What people are shown cannot drive their terminal.
pub(super) fn assert_is_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{}", text.escape_debug());
}

/// The answer to a request for the server's status: DATA that ought to be JSON.
fn status(memory: &Filled<'_>) -> &'static str {
    let mut reader = SlotReader::new(memory);
    let mut json = Vec::new();
    while let Ok(true) = reader.is_ready(memory) {
        match reader.next(memory) {
            Ok(Some(record)) => {
                if record.kind == Kind::Data {
                    let (slot, at) = reader.payload_place();
                    json.extend(memory.payload(slot, at, record.length));
                }
                if reader.finish(memory, &record).is_err() {
                    return "status: malformed record";
                }
            }
            Ok(None) => {}
            Err(_) => return "status: malformed record",
        }
    }
    match serde_json::from_slice::<ServerStatus>(&json) {
        Ok(status) => {
            assert_is_printable(&escape(status.name.as_bytes()));
            "status"
        }
        Err(_) => "status: no JSON",
    }
}
