//! docs/PROTOCOL.md is a promise to people who write clients in other languages: its hex dump and its vectors are compared with what this
//! library reads and writes.

use shmeld::file::record::{Entry, Kind, RECORD_BYTES, RawRecord, Record};
use shmeld::file::wire::Request;
use shmeld::file::{ServerStatus, Status};
use shmeld::os::fs::Time;
use shmeld_core::layout::{Geometry, Header, RawSemaphore};
use zerocopy::{FromBytes, IntoBytes};

use crate::vectors::{Message, Vectors};

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
        modified: Time {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        },
        uid: 1000,
        gid: 1000,
        ..Entry::file(b"hi.txt", 6)
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

#[test]
fn the_document_names_every_field_of_a_status() {
    let document = include_str!("../../../../docs/PROTOCOL.md");
    let least = r#"{"version":"0","name":"/s","pid":1,"uptime_seconds":1,"sessions":1,"sessions_max":9,"sessions_total":1,
"requests_total":1,"files_total":0,"bytes_total":0,"refused_names_total":0,"refused_regions_total":0,"junk_messages_total":0,
"misbehaved_total":0,"died_total":0}"#;
    let status: ServerStatus = serde_json::from_str(least).unwrap();
    let json: serde_json::Value = serde_json::from_str(&status.to_json()).unwrap();
    for field in json.as_object().unwrap().keys() {
        assert!(document.contains(&format!("`{field}`")), "missing: {field}");
    }
}

#[test]
fn the_vectors_region_is_the_one_that_is_made() {
    let geometry = Geometry::for_region(4096).unwrap();
    let nonce = [0x22; 16];
    let mut page = Header { nonce, geometry }.to_raw().as_bytes().to_vec();
    for (semaphore, value) in [(192, 0), (256, geometry.slot_count())] {
        page.resize(semaphore, 0);
        page.extend(RawSemaphore::new(value).as_bytes());
    }
    page.resize(geometry.slots_offset() as usize, 0);
    assert_eq!(dump(&page), dump(&Vectors::read().region));
}

#[test]
fn the_vectors_messages_are_decoded_as_they_say_and_encoded_to_the_same_bytes() {
    let vectors = Vectors::read();
    for Message { bytes, request } in &vectors.messages {
        let decoded = Request::decode(bytes).ok();
        let said = decoded.as_ref().map(|request| {
            let op = format!("{:?}", request.op).to_uppercase();
            format!("{op} {} {} {}", request.request_id, request.flags, request.offset)
        });
        assert_eq!(said, *request, "\n{}", dump(bytes));
        let Some(decoded) = decoded else { continue };
        assert_eq!((decoded.region_id.0, decoded.nonce), ([0x11; 16], [0x22; 16]));
        assert_eq!(decoded.encode(), *bytes, "\n{}", dump(bytes));
    }
    assert!(vectors.messages.len() >= 16);
}

/// The records of answers that are none are judged by the client, in `conformance` of shmeld-cli.
#[test]
fn the_vectors_records_are_decoded_and_encoded_to_the_same_bytes() {
    let vectors = Vectors::read();
    let answers = vectors.answers.iter().filter(|answer| answer.result != "broken");
    for (answer, slot) in answers.flat_map(|answer| answer.slots.iter().map(move |slot| (answer, slot))) {
        let (mut at, mut is_over) = (0, false);
        while !is_over && slot.len() - at >= RECORD_BYTES {
            let (head, behind) = slot[at..].split_at(RECORD_BYTES);
            let raw = RawRecord::read_from_bytes(head).unwrap();
            let record = Record::check(&raw, behind.len()).unwrap();
            assert_eq!(record.to_raw().as_bytes(), head);
            let payload = &behind[..record.length];
            if matches!(record.kind, Kind::Begin | Kind::Entry) {
                let mut encoded = Vec::new();
                Entry::decode(payload).unwrap().encode_to(&mut encoded);
                assert_eq!(dump(&encoded), dump(payload));
            }
            is_over = record.kind == Kind::Stop;
            at = (at + RECORD_BYTES + record.stride()).min(slot.len());
        }
        assert_eq!(at, slot.len(), "{}\n{}", answer.name, dump(slot));
    }
}

/// A stranger who tries the first one has the dump of the document before them.
#[test]
fn the_first_vector_is_the_answer_of_the_document() {
    let vectors = Vectors::read();
    let [slot] = vectors.answers[0].slots.as_slice() else {
        panic!("one slot");
    };
    let mut slot = slot.clone();
    // What pads a payload is undefined, and not zero in the vectors.
    for padding in [86..88, 126..128] {
        slot[padding].fill(0);
    }
    assert_eq!(dump(&slot), dump(&slot_of_the_example()));
}
