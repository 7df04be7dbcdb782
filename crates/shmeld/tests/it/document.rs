//! docs/PROTOCOL.md is a promise to people who write clients in other languages: its hex dump is compared with what this library writes.

use shmeld::file::Status;
use shmeld::file::record::{Entry, EntryKind, Kind, Record};
use shmeld::os::fs::Time;
use zerocopy::IntoBytes;

/// One record as it lies in a slot: 32 bytes, the payload, and zeros up to the next multiple of eight.
fn lay_down(slot: &mut Vec<u8>, record: Record, payload: &[u8]) {
    let record = Record {
        length: payload.len(),
        ..record
    };
    slot.extend_from_slice(record.to_raw().as_bytes());
    slot.extend_from_slice(payload);
    slot.resize(slot.len().next_multiple_of(8), 0);
}

fn slot_of_the_example() -> Vec<u8> {
    let entry = Entry {
        kind: EntryKind::File,
        mode: 0o644,
        size: 6,
        modified: Time {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        },
        uid: 1000,
        gid: 1000,
        name: b"hi.txt".to_vec(),
        text: Vec::new(),
    };
    let mut payload = Vec::new();
    entry.encode_to(&mut payload);
    let mut slot = Vec::new();
    lay_down(
        &mut slot,
        Record {
            extent: 6,
            ..Record::new(Kind::Begin, 1)
        },
        &payload,
    );
    lay_down(&mut slot, Record::new(Kind::Data, 1), b"hello\n");
    lay_down(
        &mut slot,
        Record {
            offset: 6,
            ..Record::new(Kind::End, 1)
        },
        b"",
    );
    lay_down(
        &mut slot,
        Record {
            offset: 1,
            ..Record::new(Kind::Done, 1)
        },
        b"",
    );
    lay_down(&mut slot, Record::new(Kind::Stop, 0), b"");
    slot
}

fn dump(bytes: &[u8]) -> String {
    let line = |(index, chunk): (usize, &[u8])| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", index * 16, hex.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

#[test]
fn the_answer_in_the_document_is_the_answer_that_is_written() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let expected = dump(&slot_of_the_example());
    assert!(
        document.contains(&expected),
        "the document should hold\n{expected}"
    );
}

#[test]
fn the_document_names_every_status() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    for status in Status::ALL {
        let row = format!("| {} | {} |", status.code(), status.name());
        assert!(document.contains(&row), "missing: {row}");
    }
}
