//! The seeds of the target `record`: answers of a server, sound ones and others.

use shmeld_os::fs::Time;
use zerocopy::IntoBytes;

use super::super::record::{Entry, EntryKind, Kind, Record};
use super::super::status::{Refusal, Status};
use super::record::REQUEST_ID;
use super::seeds::Seed;

fn entry(kind: EntryKind, name: &[u8], size: u64) -> Entry {
    let modified = Time {
        seconds: 1_700_000_000,
        nanoseconds: 5,
    };
    Entry {
        kind,
        modified,
        ..Entry::file(name, size)
    }
}

/// One slot of 3776 bytes, or several.
struct Answer(Vec<u8>);

impl Answer {
    fn new(first: u8) -> Self {
        Self(vec![first | 1])
    }

    fn record(mut self, record: Record, payload: &[u8]) -> Self {
        let record = Record {
            length: payload.len(),
            ..record
        };
        self.0.extend_from_slice(record.to_raw().as_bytes());
        self.0.extend_from_slice(payload);
        let padded = 1 + (self.0.len() - 1).next_multiple_of(8);
        self.0.resize(padded, 0);
        self
    }

    fn plain(self, kind: Kind, offset: u64, extent: u64, payload: &[u8]) -> Self {
        let record = Record::new(kind, REQUEST_ID);
        self.record(
            Record {
                offset,
                extent,
                ..record
            },
            payload,
        )
    }

    fn refused(self, kind: Kind, status: Status, payload: &[u8]) -> Self {
        let record = Record::new(kind, REQUEST_ID);
        self.record(Record { status, ..record }, payload)
    }

    fn entry(self, kind: Kind, entry: &Entry) -> Self {
        let mut payload = Vec::new();
        entry.encode_to(&mut payload);
        self.plain(kind, 0, entry.size, &payload)
    }

    fn begin(self, size: u64) -> Self {
        self.entry(Kind::Begin, &entry(EntryKind::File, b"f", size))
    }

    fn done(self) -> Vec<u8> {
        self.plain(Kind::Done, 1, 0, &[]).0
    }
}

const VERIFY: u8 = 4;
const RESUME: u8 = 8;
const STATUS: u8 = 2;

pub(super) fn record() -> Vec<Seed> {
    [
        sound(),
        resumed(),
        unsound_files(),
        unsound_entries(),
        unsound_records(),
    ]
    .concat()
}

fn plain() -> Answer {
    Answer::new(0)
}

fn verify() -> Answer {
    Answer::new(VERIFY)
}

/// Five bytes and a hole.
fn file(answer: Answer, digest: &[u8]) -> Vec<u8> {
    let answer = answer.begin(8).plain(Kind::Data, 0, 0, b"hello");
    let answer = answer.plain(Kind::Hole, 5, 3, &[]);
    answer.plain(Kind::End, 8, 0, digest).done()
}

const TERMINAL: &[u8] = b"\x1b]0;title\x07\r\n";

fn sound() -> Vec<Seed> {
    let digest = *blake3::hash(b"hello\0\0\0").as_bytes();
    let mut refusal = Vec::new();
    Entry::refusal(b"nope", &Refusal::from(Status::Fnf)).encode_to(&mut refusal);
    let (root, link) = (
        entry(EntryKind::Directory, b".", 0),
        entry(EntryKind::Symlink, b"l", 0),
    );
    let waits = plain().plain(Kind::Wait, 0, 0, &[]);
    let changed = plain().begin(8).refused(Kind::End, Status::Changed, TERMINAL);
    let unsupported = plain().refused(Kind::Done, Status::Unsupported, TERMINAL);
    let named = plain().entry(Kind::Entry, &entry(EntryKind::File, TERMINAL, 0));
    vec![
        ("file", file(plain(), &[])),
        ("file-verified", file(verify(), &digest)),
        ("file-wrong-digest", file(verify(), &[7; 32])),
        ("file-short-digest", file(verify(), &digest[..31])),
        ("file-empty", plain().begin(0).plain(Kind::End, 0, 0, &[]).done()),
        ("file-changed", changed.done()),
        (
            "refusal",
            plain().refused(Kind::Entry, Status::Fnf, &refusal).done(),
        ),
        ("done-refused", unsupported.0),
        (
            "tree",
            plain().entry(Kind::Entry, &root).entry(Kind::Entry, &link).done(),
        ),
        ("name-of-a-terminal", named.done()),
        ("wait-and-pad", waits.plain(Kind::Pad, 0, 0, &[0; 64]).done()),
        (
            "status",
            Answer::new(STATUS).plain(Kind::Data, 0, 0, STATUS_JSON).done(),
        ),
    ]
}

/// Answers to a client that has the first five bytes.
fn resumed() -> Vec<Seed> {
    let begin_at =
        |flags: u8, offset| Answer::new(RESUME | flags).plain(Kind::Begin, offset, 8, &begin_payload());
    let rest = |answer: Answer, digest: &[u8]| {
        let answer = answer.plain(Kind::Data, 5, 0, b"ya!");
        answer.plain(Kind::End, 8, 0, digest).done()
    };
    let all = begin_at(0, 0).plain(Kind::Data, 0, 0, b"helloya!");
    let (whole, of_the_rest) = (blake3::hash(b"helloya!"), blake3::hash(b"ya!"));
    vec![
        ("resumed-verified", rest(begin_at(VERIFY, 5), whole.as_bytes())),
        (
            "resumed-digest-of-the-rest",
            rest(begin_at(VERIFY, 5), of_the_rest.as_bytes()),
        ),
        ("resumed-from-the-start", all.plain(Kind::End, 8, 0, &[]).done()),
        ("resumed-elsewhere", rest(begin_at(0, 4), &[])),
        ("resumed-beyond-the-end", rest(begin_at(0, 9), &[])),
        (
            "begin-at-offset-unasked",
            rest(plain().plain(Kind::Begin, 5, 8, &begin_payload()), &[]),
        ),
    ]
}

fn begin_payload() -> Vec<u8> {
    let mut payload = Vec::new();
    entry(EntryKind::File, b"f", 8).encode_to(&mut payload);
    payload
}

/// Bytes, holes and ends that contradict BEGIN or each other.
fn unsound_files() -> Vec<Seed> {
    let half = || plain().begin(8).plain(Kind::Data, 0, 0, b"hell");
    let hole = |answer: Answer, at, len| answer.plain(Kind::Hole, at, len, &[]).done();
    let end = |size, at| plain().begin(size).plain(Kind::End, at, 0, &[]).done();
    vec![
        ("data-before-begin", plain().plain(Kind::Data, 0, 0, b"x").done()),
        ("data-twice", half().plain(Kind::Data, 0, 0, b"hell").done()),
        (
            "data-beyond-size",
            plain().begin(2).plain(Kind::Data, 0, 0, b"hello").done(),
        ),
        ("hole-that-overflows", hole(half(), 4, u64::MAX)),
        ("hole-of-exbibytes", hole(verify().begin(1 << 62), 0, 1 << 62)),
        ("end-too-soon", end(8, 8)),
        ("end-of-another-size", end(0, 1)),
        ("begin-too-large", plain().begin(u64::MAX).done()),
        ("begin-in-a-file", plain().begin(8).begin(8).done()),
        ("done-in-a-file", plain().begin(8).done()),
    ]
}

fn unsound_entries() -> Vec<Seed> {
    let mut bent = Vec::new();
    entry(EntryKind::File, b"f", 0).encode_to(&mut bent);
    let begin_of_another_size = plain().plain(Kind::Begin, 0, 9, &bent).done();
    bent[36] = 200;
    let wrong_mode = Entry {
        mode: 0o10000,
        ..entry(EntryKind::File, b"f", 0)
    };
    let listed = |payload: &[u8]| plain().plain(Kind::Entry, 0, 0, payload).done();
    vec![
        ("begin-of-another-size", begin_of_another_size),
        ("entry-lengths-bent", listed(&bent)),
        ("entry-too-short", listed(&[0; 47])),
        (
            "entry-impossible-mode",
            plain().entry(Kind::Entry, &wrong_mode).done(),
        ),
    ]
}

fn unsound_records() -> Vec<Seed> {
    let nested = Answer::new(STATUS).plain(Kind::Data, 0, 0, &[b'['; 2000]);
    let to_another = plain().record(Record::new(Kind::Done, REQUEST_ID + 1), &[]);
    vec![
        ("answer-to-another", to_another.0),
        ("nothing", Vec::new()),
        ("unknown-kind", vec![1, 9, 0]),
        ("unknown-status", vec![1, 7, 0, 16, 0]),
        ("length-beyond-slot", vec![1, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        ("status-nested", nested.done()),
    ]
}

const STATUS_JSON: &[u8] = br#"{"version":"0","name":"/s","pid":1,"uptime_seconds":1,"sessions":1,"sessions_max":9,"sessions_total":1,
"requests_total":1,"files_total":0,"bytes_total":0,"refused_names_total":0,"refused_regions_total":0,"junk_messages_total":0,
"misbehaved_total":0,"died_total":0,"panics_total":0,"version_of_the_future":[1]}"#;
