//! What is said about a file before its bytes, or instead of them: the payload of BEGIN and ENTRY. docs/PROTOCOL.md section 4 draws the bytes.

use shmeld_core::Misbehaviour;
use shmeld_os::fs::{FileKind, Stat, Time};
use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::record::RECORD_BYTES;
use super::status::Refusal;

/// The longest name in an entry.
pub const NAME_BYTES_MAX: usize = 2048;
/// The longest text in an entry or END, and the longest target of a symbolic link.
pub const TEXT_BYTES_MAX: usize = 1024;

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

const _: () = {
    assert!(size_of::<RawEntry>() == 48);
    assert!(std::mem::offset_of!(RawEntry, name_bytes) == 36);
    // BEGIN, and a record behind it, fit in the smallest slot.
    assert!(2 * RECORD_BYTES + ENTRY_BYTES_MAX <= shmeld_core::layout::SLOT_BYTES_MIN as usize);
};

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

    /// A file of which no more is known: root's, of 1970, for everybody to read.
    #[must_use]
    pub fn file(name: &[u8], size: u64) -> Self {
        Self {
            kind: EntryKind::File,
            mode: 0o644,
            size,
            modified: Time::default(),
            uid: 0,
            gid: 0,
            name: name.to_vec(),
            text: Vec::new(),
        }
    }

    /// An entry that says why a name is refused.
    #[must_use]
    pub fn refusal(name: &[u8], refusal: &Refusal) -> Self {
        Self {
            kind: EntryKind::Unknown,
            mode: 0,
            text: cut(refusal.text.as_bytes(), TEXT_BYTES_MAX).to_vec(),
            ..Self::file(cut(name, NAME_BYTES_MAX), 0)
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
        fn any_bytes_are_an_entry_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
