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

    /// Checks a private copy of 32 bytes; `room` is what the slot has behind them.
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
        Ok(Self {
            kind,
            status,
            length,
            request_id: raw.request_id.get(),
            offset: raw.offset.get(),
            extent: raw.extent.get(),
        })
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
}
