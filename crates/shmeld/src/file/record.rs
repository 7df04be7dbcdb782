//! What lies in a slot: records of 32 bytes and their payload. docs/PROTOCOL.md section 4 draws the bytes.
//!
//! Not here: slots and how they are filled or emptied (`slot_writer`, `slot_reader`), and the order of records (`client`).

use shmeld_core::Misbehaviour;
use shmeld_os::fs::{FileKind, Stat, Time};
use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::status::{Refusal, Status};

/// Size of a record without its payload.
pub const RECORD_BYTES: usize = size_of::<RawRecord>();
/// Slots of at least this size are filled and drained by the kernel; smaller ones through private buffers, because a system call for each
/// would cost more than the copy.
pub const DIRECT_SLOT_BYTES_MIN: usize = 16 * 1024;
/// Records begin at multiples of this.
pub const RECORD_ALIGN_BYTES: usize = 8;
/// The longest name in an entry.
pub const NAME_BYTES_MAX: usize = 2048;
/// The longest text in an entry or END, and the longest target of a symbolic link.
pub const TEXT_BYTES_MAX: usize = 1024;

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

const _: () = {
    assert!(RECORD_BYTES == 32 && RECORD_BYTES.is_multiple_of(RECORD_ALIGN_BYTES));
    assert!(size_of::<RawEntry>() == 48);
    assert!(
        2 * RECORD_BYTES + size_of::<RawEntry>() + NAME_BYTES_MAX + TEXT_BYTES_MAX
            <= shmeld_core::layout::SLOT_BYTES_MIN as usize
    );
    assert!(std::mem::offset_of!(RawEntry, name_bytes) == 36);
};

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

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Not known: a name that was refused before anybody looked.
    Unknown,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket.
    Other,
}

const ENTRY_KINDS: [EntryKind; 5] = [
    EntryKind::Unknown,
    EntryKind::File,
    EntryKind::Directory,
    EntryKind::Symlink,
    EntryKind::Other,
];

impl From<FileKind> for EntryKind {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Self::File,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// What is said about a file before its bytes, or instead of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: Time,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Relative path, bytes.
    pub name: Vec<u8>,
    /// A link's target, or why the name is refused.
    pub text: Vec<u8>,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawEntry {
    kind: U32,
    mode: U32,
    size: U64,
    modified_seconds: I64,
    modified_nanos: U32,
    uid: U32,
    gid: U32,
    name_bytes: U32,
    text_bytes: U32,
    reserved: U32,
}

/// The most bytes an entry's payload can have.
pub const ENTRY_BYTES_MAX: usize = size_of::<RawEntry>() + NAME_BYTES_MAX + TEXT_BYTES_MAX;

impl Entry {
    /// An entry about a file with this stat.
    #[must_use]
    pub fn from_stat(stat: &Stat, name: Vec<u8>) -> Self {
        Self {
            kind: stat.kind.into(),
            mode: stat.mode,
            size: if stat.kind == FileKind::File {
                stat.bytes
            } else {
                0
            },
            modified: stat.modified,
            uid: stat.uid,
            gid: stat.gid,
            name,
            text: Vec::new(),
        }
    }

    /// An entry that says why a name is refused.
    #[must_use]
    pub fn refusal(name: &[u8], refusal: &Refusal) -> Self {
        Self {
            kind: EntryKind::Unknown,
            mode: 0,
            size: 0,
            modified: Time {
                seconds: 0,
                nanoseconds: 0,
            },
            uid: 0,
            gid: 0,
            name: cut(name, NAME_BYTES_MAX).to_vec(),
            text: cut(refusal.text.as_bytes(), TEXT_BYTES_MAX).to_vec(),
        }
    }

    /// Appends the payload that says this to `payload`.
    ///
    /// # Panics
    /// If name or text are longer than allowed: the server checks when it makes the entry.
    pub fn encode_to(&self, payload: &mut Vec<u8>) {
        assert!(self.name.len() <= NAME_BYTES_MAX && self.text.len() <= TEXT_BYTES_MAX);
        let kind = ENTRY_KINDS
            .iter()
            .position(|kind| *kind == self.kind)
            .unwrap_or_default();
        let raw = RawEntry {
            kind: (kind as u32).into(),
            mode: self.mode.into(),
            size: self.size.into(),
            modified_seconds: self.modified.seconds.into(),
            modified_nanos: self.modified.nanoseconds.into(),
            uid: self.uid.into(),
            gid: self.gid.into(),
            name_bytes: (self.name.len() as u32).into(),
            text_bytes: (self.text.len() as u32).into(),
            ..RawEntry::new_zeroed()
        };
        payload.extend_from_slice(raw.as_bytes());
        payload.extend_from_slice(&self.name);
        payload.extend_from_slice(&self.text);
    }

    /// What a private copy of a payload says.
    ///
    /// # Errors
    /// [`Misbehaviour::Record`]: lengths that do not fit, an unknown kind, impossible numbers.
    pub fn decode(payload: &[u8]) -> Result<Self, Misbehaviour> {
        let bad = Misbehaviour::Record;
        let (raw, rest) = RawEntry::read_from_prefix(payload).map_err(|_| bad("a short entry"))?;
        let kind = *ENTRY_KINDS
            .get(raw.kind.get() as usize)
            .ok_or(bad("unknown entry kind"))?;
        let (name_bytes, text_bytes) = (raw.name_bytes.get() as usize, raw.text_bytes.get() as usize);
        if name_bytes > NAME_BYTES_MAX || text_bytes > TEXT_BYTES_MAX || name_bytes + text_bytes != rest.len()
        {
            return Err(bad("an entry whose lengths do not fit"));
        }
        if raw.mode.get() > 0o7777 || raw.modified_nanos.get() >= 1_000_000_000 || raw.reserved.get() != 0 {
            return Err(bad("an entry with impossible numbers"));
        }
        let (name, text) = rest.split_at(name_bytes);
        Ok(Self {
            kind,
            mode: raw.mode.get(),
            size: raw.size.get(),
            modified: Time {
                seconds: raw.modified_seconds.get(),
                nanoseconds: raw.modified_nanos.get(),
            },
            uid: raw.uid.get(),
            gid: raw.gid.get(),
            name: name.to_vec(),
            text: text.to_vec(),
        })
    }
}

/// The first bytes of a text that may be too long.
#[must_use]
pub fn cut(bytes: &[u8], bytes_max: usize) -> &[u8] {
    &bytes[..bytes.len().min(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_entry() -> impl Strategy<Value = Entry> {
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        (
            0usize..5,
            0u32..=0o7777,
            any::<u64>(),
            any::<i64>(),
            0u32..1_000_000_000,
            any::<(u32, u32)>(),
            bytes(2049),
            bytes(1025),
        )
            .prop_map(
                |(kind, mode, size, seconds, nanoseconds, (uid, gid), name, text)| Entry {
                    kind: ENTRY_KINDS[kind],
                    mode,
                    size,
                    modified: Time { seconds, nanoseconds },
                    uid,
                    gid,
                    name,
                    text,
                },
            )
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_payload(entry in any_entry()) {
            let mut payload = Vec::new();
            entry.encode_to(&mut payload);
            prop_assert!(payload.len() <= ENTRY_BYTES_MAX);
            prop_assert_eq!(Entry::decode(&payload), Ok(entry));
        }

        #[test]
        fn every_prefix_of_an_entry_is_refused(entry in any_entry(), len in any::<prop::sample::Index>()) {
            let mut payload = Vec::new();
            entry.encode_to(&mut payload);
            prop_assert!(Entry::decode(&payload[..len.index(payload.len())]).is_err());
        }

        #[test]
        fn any_bytes_are_a_record_inside_its_room_or_refused(bytes in any::<[u8; 32]>(), room in 0usize..300_000) {
            let raw = RawRecord::read_from_bytes(&bytes[..]).unwrap();
            if let Ok(record) = Record::check(&raw, room) {
                prop_assert!(record.length <= room);
                prop_assert_eq!(Record::check(&record.to_raw(), room), Ok(record));
            }
        }

        #[test]
        fn any_bytes_are_an_entry_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
