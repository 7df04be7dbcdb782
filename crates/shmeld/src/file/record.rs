//! What lies in a slot: records of 32 bytes and their payload. docs/PROTOCOL.md section 4 draws the bytes.
//!
//! Not here: slots and how they are filled or emptied (`slot_writer`, `slot_reader`), and the order of records (`client`).
//!
//! ```
//! use shmeld::file::record::{Kind, RECORD_BYTES, Record};
//!
//! let record = Record { length: 1000, ..Record::new(Kind::Data, 1) };
//! let raw = record.to_raw(); // what stands in the slot
//! let room = 4096 - RECORD_BYTES;
//! assert_eq!(Record::check(&raw, room)?, record);
//! assert_eq!(record.stride(), 1000);
//! assert!(Record::check(&raw, 999).is_err()); // it would reach beyond the slot
//! # Ok::<(), shmeld::Misbehaviour>(())
//! ```

use shmeld_core::Misbehaviour;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use super::entry::{ENTRY_BYTES_MAX, Entry, EntryKind, NAME_BYTES_MAX, TEXT_BYTES_MAX, cut};
use super::status::Status;

/// Size of a record without its payload.
pub const RECORD_BYTES: usize = size_of::<RawRecord>();
/// Slots of at least this size are filled and drained by the kernel; smaller ones through private buffers, because a system call for each
/// would cost more than the copy.
pub const DIRECT_SLOT_BYTES_MIN: usize = 16 * 1024;
/// Records begin at multiples of this.
pub const RECORD_ALIGN_BYTES: usize = 8;
/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The slot ends here.
    Stop,
    /// Skip it.
    Pad,
    /// A file begins.
    Begin,
    /// Bytes of the file.
    Data,
    /// A run of zero bytes of the file.
    Hole,
    /// The file ends.
    End,
    /// An entry without bytes: a directory, a link, a listed file, a refusal.
    Entry,
    /// The answer ends.
    Done,
    /// The server is busy and alive.
    Wait,
}

const KINDS: [Kind; 9] = [
    Kind::Stop,
    Kind::Pad,
    Kind::Begin,
    Kind::Data,
    Kind::Hole,
    Kind::End,
    Kind::Entry,
    Kind::Done,
    Kind::Wait,
];

/// A record as found in a slot.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RawRecord {
    kind: U16,
    status: U16,
    length: U32,
    request_id: U64,
    offset: U64,
    extent: U64,
}

/// A record whose numbers have been checked against the room it stands in; its payload is still in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// What became of it.
    pub status: Status,
    /// Bytes of payload.
    pub length: usize,
    /// Whose answer it belongs to.
    pub request_id: u64,
    /// Position in the file, or a count: see the document.
    pub offset: u64,
    /// Length of a hole, size of a file, or a count: see the document.
    pub extent: u64,
}

const _: () = assert!(RECORD_BYTES == 32 && RECORD_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));

impl Record {
    /// A record with status OK and nothing else.
    #[must_use]
    pub fn new(kind: Kind, request_id: u64) -> Self {
        Self {
            kind,
            status: Status::Ok,
            length: 0,
            request_id,
            offset: 0,
            extent: 0,
        }
    }

    /// The 32 bytes that say this.
    #[must_use]
    pub fn to_raw(&self) -> RawRecord {
        let kind = KINDS
            .iter()
            .position(|kind| *kind == self.kind)
            .unwrap_or_default();
        RawRecord {
            kind: (kind as u16).into(),
            status: self.status.code().into(),
            length: u32::try_from(self.length).unwrap_or(u32::MAX).into(),
            request_id: self.request_id.into(),
            offset: self.offset.into(),
            extent: self.extent.into(),
        }
    }

    /// Checks a private copy of 32 bytes; `room` is what the slot has behind them. What the document has 0 or none for is refused if it is
    /// anything else.
    ///
    /// # Errors
    /// [`Misbehaviour::Record`]: the peer wrote something that is no record.
    pub fn check(raw: &RawRecord, room: usize) -> Result<Self, Misbehaviour> {
        let kind = *KINDS
            .get(usize::from(raw.kind.get()))
            .ok_or(Misbehaviour::Record("unknown kind"))?;
        let status = Status::from_code(raw.status.get()).ok_or(Misbehaviour::Record("unknown status"))?;
        let length = raw.length.get() as usize;
        if length > room {
            return Err(Misbehaviour::Record("longer than its slot"));
        }
        let record = Self {
            kind,
            status,
            length,
            request_id: raw.request_id.get(),
            offset: raw.offset.get(),
            extent: raw.extent.get(),
        };
        if record.says_only_what_its_kind_may() {
            Ok(record)
        } else {
            Err(Misbehaviour::Record(
                "a record with something that its kind has not",
            ))
        }
    }

    /// The table of the document, section 4, column by column.
    fn says_only_what_its_kind_may(&self) -> bool {
        use Kind::{Begin, Data, Done, End, Entry, Hole, Pad, Stop, Wait};
        let is_ok = self.status == Status::Ok;
        let payload_fits = match self.kind {
            Stop | Hole | Wait => self.length == 0,
            Done if is_ok => self.length == 0,
            End if is_ok => self.length == 0 || self.length == blake3::OUT_LEN,
            Done | End => self.length <= TEXT_BYTES_MAX,
            // Any number of bytes, or an entry, which says itself how long it is.
            Pad | Data | Begin | Entry => true,
        };
        payload_fits
            && (is_ok || matches!(self.kind, End | Entry | Done))
            && (self.offset == 0 || matches!(self.kind, Begin | Data | Hole | End | Done))
            && (self.extent == 0 || matches!(self.kind, Begin | Hole | Entry | Done))
    }

    /// What the `payload` of this BEGIN or ENTRY says of a file.
    ///
    /// # Errors
    /// [`Misbehaviour::Record`]: it is no entry, or one of another size than the record has.
    pub fn entry(&self, payload: &[u8]) -> Result<Entry, Misbehaviour> {
        let entry = Entry::decode(payload)?;
        if entry.size != self.extent {
            return Err(Misbehaviour::Record("a size that contradicts its entry"));
        }
        Ok(entry)
    }

    /// How far the next record is from the end of this one's 32 bytes.
    #[must_use]
    pub fn stride(&self) -> usize {
        self.length.next_multiple_of(RECORD_ALIGN_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_record_inside_its_room_or_refused(bytes in any::<[u8; 32]>(), room in 0usize..300_000) {
            let raw = RawRecord::read_from_bytes(&bytes[..]).unwrap();
            if let Ok(record) = Record::check(&raw, room) {
                prop_assert!(record.length <= room);
                prop_assert_eq!(Record::check(&record.to_raw(), room), Ok(record));
            }
        }
    }

    /// The rows of the document's table: status, offset, extent and a payload of one byte, each where it may be other than 0.
    #[test]
    fn each_kind_has_what_its_row_says_and_nothing_else() {
        let rows = [
            (Kind::Stop, [false, false, false, false]),
            (Kind::Pad, [false, false, false, true]),
            (Kind::Begin, [false, true, true, true]),
            (Kind::Data, [false, true, false, true]),
            (Kind::Hole, [false, true, true, false]),
            (Kind::End, [true, true, false, false]),
            (Kind::Entry, [true, false, true, true]),
            (Kind::Done, [true, true, true, false]),
            (Kind::Wait, [false, false, false, false]),
        ];
        for (kind, may) in rows {
            let plain = Record::new(kind, 1);
            let others = [
                Record {
                    status: Status::Io,
                    ..plain
                },
                Record { offset: 1, ..plain },
                Record { extent: 1, ..plain },
                Record { length: 1, ..plain },
            ];
            let found = others.map(|record| Record::check(&record.to_raw(), 2000).is_ok());
            assert_eq!(found, may, "{kind:?}");
            assert!(Record::check(&plain.to_raw(), 0).is_ok(), "{kind:?}");
        }
    }

    #[test]
    fn texts_and_digests_have_a_length() {
        let is_record = |kind, status, length| {
            let record = Record {
                status,
                length,
                ..Record::new(kind, 1)
            };
            Record::check(&record.to_raw(), 2000).is_ok()
        };
        for kind in [Kind::End, Kind::Done] {
            assert!(
                is_record(kind, Status::Io, TEXT_BYTES_MAX)
                    && !is_record(kind, Status::Io, TEXT_BYTES_MAX + 1)
            );
        }
        assert!(is_record(Kind::End, Status::Ok, 32) && !is_record(Kind::End, Status::Ok, 31));
    }
}
