//! What stands in requests and answers between bridges. docs/BRIDGE.md section "Bytes" draws them. Decoding is total: any bytes give a value
//! or a reason, and every length is checked before anything of that length is made. Pure.

use crate::list_wire::LIST_BYTES_MAX;
use shmeld::file::record::{ENTRY_BYTES_MAX, Entry, EntryKind};
use shmeld::file::{Refusal, Status};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Of this many bytes a file's chunks are; the last one may be shorter. They begin at its multiples.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// The most that an answer carries besides its head.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// The longest head of an answer.
pub const HEAD_BYTES_MAX: usize = 3216;
const REQUEST_MAGIC: [u8; 4] = *b"SHBQ";
const ANSWER_MAGIC: [u8; 4] = *b"SHBA";
/// The length of a request.
pub const REQUEST_BYTES: usize = size_of::<RawRequest>();
/// Version of these bytes and of the keys.
pub const VERSION: u16 = 1;

const FLAG_DIGEST_ONLY: u32 = 1;
const FLAG_ZEROS: u32 = 2;
const FLAG_UNABLE: u32 = 4;

/// What is asked for besides service and name, which the key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Where the chunk begins: a multiple of [`CHUNK_BYTES`].
    pub offset: u64,
    /// Say what the chunk is, but leave its bytes out.
    pub digest_only: bool,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawRequest {
    magic: [u8; 4],
    version: U16,
    reserved: U16,
    offset: U64,
    flags: U32,
    reserved_too: U32,
}

const _: () = {
    assert!(REQUEST_BYTES == 24);
    assert!(size_of::<RawHead>() == 96);
    assert!(HEAD_BYTES_MAX == size_of::<RawHead>() + ENTRY_BYTES_MAX);
    assert!(CHUNK_BYTES.is_power_of_two() && CHUNK_BYTES as usize <= BODY_BYTES_MAX);
    assert!(LIST_BYTES_MAX <= BODY_BYTES_MAX);
};

/// Why bytes are no request, or no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Other bytes, or another length.
    #[error("these are no bytes of a bridge")]
    Foreign,
    /// Another version.
    #[error("version {0} of the bridge, this is version {VERSION}")]
    Version(u16),
    /// A number that cannot be.
    #[error("{0}")]
    Impossible(&'static str),
}

impl Request {
    /// The bytes that say this.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let raw = RawRequest {
            magic: REQUEST_MAGIC,
            version: VERSION.into(),
            reserved: 0.into(),
            offset: self.offset.into(),
            flags: if self.digest_only { FLAG_DIGEST_ONLY } else { 0 }.into(),
            reserved_too: 0.into(),
        };
        raw.as_bytes().to_vec()
    }

    /// What the bytes say.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (raw, rest) = RawRequest::read_from_prefix(bytes).map_err(|_| Malformed::Foreign)?;
        if raw.magic != REQUEST_MAGIC {
            return Err(Malformed::Foreign);
        }
        if raw.version.get() != VERSION {
            return Err(Malformed::Version(raw.version.get()));
        }
        let offset = raw.offset.get();
        if !rest.is_empty() || raw.flags.get() & !FLAG_DIGEST_ONLY != 0 {
            return Err(Malformed::Impossible("a request that this version does not know"));
        }
        if !offset.is_multiple_of(CHUNK_BYTES) || offset > i64::MAX as u64 {
            return Err(Malformed::Impossible("a chunk that begins nowhere"));
        }
        let digest_only = raw.flags.get() & FLAG_DIGEST_ONLY != 0;
        Ok(Self { offset, digest_only })
    }
}

/// Whether a name can be refused with this; the others are of sessions and regions, and nobody here is to believe them of the other side's.
#[must_use]
pub fn is_of_a_name(status: Status) -> bool {
    !matches!(
        status,
        Status::Cancelled | Status::Misbehaved | Status::Stalled | Status::Stopping | Status::BadRegion
    )
}

/// What an answer says of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What became of it. What is not [`Status::Ok`] has its reason in the entry's text.
    pub status: Status,
    /// It is this export that cannot answer; another one might.
    pub unable: bool,
    /// The chunk consists of zeros, which are not sent.
    pub zeros: bool,
    /// Where the chunk begins.
    pub offset: u64,
    /// How long the chunk is, also if its bytes are not sent; of a list, how long that is.
    pub len: u32,
    /// Of the file as a whole: chunks with another one belong to another file.
    pub identity: [u8; 32],
    /// BLAKE3 of the chunk or list.
    pub digest: [u8; 32],
    /// The file; its name is empty.
    pub entry: Entry,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawHead {
    magic: [u8; 4],
    version: U16,
    status: U16,
    flags: U32,
    len: U32,
    offset: U64,
    entry_bytes: U32,
    reserved: U32,
    identity: [u8; 32],
    digest: [u8; 32],
}

impl Head {
    /// A head that refuses.
    #[must_use]
    pub fn refusal(refusal: &Refusal, unable: bool) -> Self {
        Self {
            status: refusal.status,
            unable,
            zeros: false,
            offset: 0,
            len: 0,
            identity: [0; 32],
            digest: [0; 32],
            entry: Entry::refusal(b"", refusal),
        }
    }

    /// The bytes that say this.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut entry = Vec::new();
        self.entry.encode_to(&mut entry);
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let raw = RawHead {
            magic: ANSWER_MAGIC,
            version: VERSION.into(),
            status: self.status.code().into(),
            flags: (flag(self.zeros, FLAG_ZEROS) | flag(self.unable, FLAG_UNABLE)).into(),
            len: self.len.into(),
            offset: self.offset.into(),
            entry_bytes: (entry.len() as u32).into(),
            reserved: 0.into(),
            identity: self.identity,
            digest: self.digest,
        };
        [raw.as_bytes(), &entry].concat()
    }

    /// What the bytes say.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (raw, rest) = RawHead::read_from_prefix(bytes).map_err(|_| Malformed::Foreign)?;
        if raw.magic != ANSWER_MAGIC {
            return Err(Malformed::Foreign);
        }
        if raw.version.get() != VERSION {
            return Err(Malformed::Version(raw.version.get()));
        }
        let flags = raw.flags.get();
        if raw.entry_bytes.get() as usize != rest.len() || flags & !(FLAG_ZEROS | FLAG_UNABLE) != 0 {
            return Err(Malformed::Impossible(
                "an answer whose lengths or flags do not fit",
            ));
        }
        let status =
            Status::from_code(raw.status.get()).ok_or(Malformed::Impossible("a status that nobody knows"))?;
        let entry = Entry::decode(rest).map_err(|_| Malformed::Impossible("an entry that is none"))?;
        Ok(Self {
            status,
            unable: flags & FLAG_UNABLE != 0,
            zeros: flags & FLAG_ZEROS != 0,
            offset: raw.offset.get(),
            len: raw.len.get(),
            identity: raw.identity,
            digest: raw.digest,
            entry,
        })
    }

    /// The refusal that this is; `None` for a good answer.
    #[must_use]
    pub fn to_refusal(&self) -> Option<Refusal> {
        let text = || shmeld::os::name::escape(&self.entry.text);
        (self.status != Status::Ok).then(|| Refusal::new(self.status, text()))
    }

    /// Checks a good answer to `request` against itself; `body_bytes` came with it.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check_chunk(&self, request: Request, body_bytes: usize) -> Result<(), Malformed> {
        let size = self.entry.size;
        if self.entry.kind != EntryKind::File || size > i64::MAX as u64 {
            return Err(Malformed::Impossible("a chunk of something that is no file"));
        }
        let len = size.saturating_sub(request.offset).min(CHUNK_BYTES);
        if self.offset != request.offset || u64::from(self.len) != len {
            return Err(Malformed::Impossible("another chunk than was asked for"));
        }
        let comes = if request.digest_only || self.zeros { 0 } else { len };
        if body_bytes as u64 != comes {
            return Err(Malformed::Impossible(
                "a chunk of another length than its head says",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::entry;

    fn head(size: u64, offset: u64, len: u32) -> Head {
        Head {
            status: Status::Ok,
            unable: false,
            zeros: false,
            offset,
            len,
            identity: [1; 32],
            digest: [2; 32],
            entry: entry(EntryKind::File, b"x", size),
        }
    }

    #[test]
    fn requests_and_heads_survive_their_bytes() {
        for request in [0, CHUNK_BYTES, 1 << 62].map(|offset| Request {
            offset,
            digest_only: offset > 0,
        }) {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        for head in [
            head(10, 0, 10),
            Head {
                zeros: true,
                ..head(1 << 40, CHUNK_BYTES, CHUNK_BYTES as u32)
            },
        ] {
            assert_eq!(Head::decode(&head.encode()), Ok(head));
        }
        let refused = Head::refusal(&Refusal::new(Status::Fnf, "gone\n"), true);
        let read = Head::decode(&refused.encode()).unwrap();
        assert!(read.unable && read.to_refusal() == Some(Refusal::new(Status::Fnf, "gone\\n")));
    }

    #[test]
    fn chunk_that_is_not_the_one_asked_for_is_refused() {
        let request = |offset| Request {
            offset,
            digest_only: false,
        };
        let chunk = CHUNK_BYTES as u32;
        assert_eq!(head(10, 0, 10).check_chunk(request(0), 10), Ok(()));
        assert_eq!(head(0, 0, 0).check_chunk(request(0), 0), Ok(()));
        assert_eq!(
            head(CHUNK_BYTES, CHUNK_BYTES, 0).check_chunk(request(CHUNK_BYTES), 0),
            Ok(())
        );
        let zeros = Head {
            zeros: true,
            ..head(CHUNK_BYTES + 1, 0, chunk)
        };
        assert_eq!(zeros.check_chunk(request(0), 0), Ok(()));
        assert!(zeros.check_chunk(request(0), 1).is_err());
        for (head, body) in [
            (head(10, 0, 9), 9),
            (head(10, 0, 10), 9),
            (head(10, 0, 10), 11),
            (head(u64::MAX, 0, chunk), chunk),
            (head(2 * CHUNK_BYTES, CHUNK_BYTES, chunk), chunk),
            (head(10, 0, u32::MAX), 10),
        ] {
            assert!(head.check_chunk(request(0), body as usize).is_err(), "{head:?}");
        }
        let directory = Entry {
            kind: EntryKind::Directory,
            ..entry(EntryKind::File, b"", 10)
        };
        assert!(
            Head {
                entry: directory,
                ..head(10, 0, 10)
            }
            .check_chunk(request(0), 10)
            .is_err()
        );
    }

    #[test]
    fn another_version_is_told_by_its_number() {
        let mut bytes = Request {
            offset: 0,
            digest_only: false,
        }
        .encode();
        bytes[4] = 9;
        assert_eq!(Request::decode(&bytes), Err(Malformed::Version(9)));
        let mut bytes = head(1, 0, 1).encode();
        bytes[4] = 9;
        assert_eq!(Head::decode(&bytes), Err(Malformed::Version(9)));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        for seed in 0..5000 {
            let mut bytes = crate::fake::random_bytes(seed, 400);
            if seed % 2 == 0 && bytes.len() > 6 {
                bytes[..6].copy_from_slice(&[b'S', b'H', b'B', b'A', 1, 0]);
            }
            let _ = Head::decode(&bytes);
            let _ = Request::decode(&bytes);
        }
    }

    #[test]
    fn every_byte_of_a_head_can_be_anything() {
        let bytes = head(10, 0, 10).encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                if let Ok(head) = Head::decode(&bytes) {
                    let _ = head.check_chunk(
                        Request {
                            offset: 0,
                            digest_only: false,
                        },
                        10,
                    );
                }
                assert!(Head::decode(&bytes[..at]).is_err());
            }
        }
    }
}
