//! A request as one queue message: encoding, and decoding as a total function. docs/PROTOCOL.md section 3 draws the bytes.
//!
//! ```
//! use shmeld::file::wire::{DecodeError, MESSAGE_BYTES_MAX, Op, Request};
//! use shmeld_core::attach::RegionId;
//!
//! let request = Request {
//!     op: Op::Get,
//!     request_id: 1,
//!     region_id: RegionId([1; 16]),
//!     nonce: [2; 16],
//!     region_bytes: 4096,
//!     offset: 0,
//!     flags: 0,
//!     prefix_digest: [0; 32],
//!     path: b"a.txt".to_vec(),
//! };
//! let message = request.encode();
//! assert!(message.len() <= MESSAGE_BYTES_MAX);
//! assert_eq!(Request::decode(&message)?, request);
//! assert!(Request::decode(b"any other bytes").is_err());
//! # Ok::<(), DecodeError>(())
//! ```

use shmeld_core::attach::RegionId;
use shmeld_os::posix::mqueue::Attributes;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The longest message.
pub const MESSAGE_BYTES_MAX: usize = 1024;
/// How many messages a queue holds.
pub const MESSAGES_MAX: usize = 10;
/// The longest path of a request.
pub const PATH_BYTES_MAX: usize = 900;
/// `SHMR`.
const MAGIC: [u8; 4] = *b"SHMR";
const VERSION: u16 = 1;

/// Whether a queue has the size that a server gives it.
pub(crate) fn has_servers_size(queue: &Attributes) -> bool {
    (queue.messages_max, queue.message_bytes_max) == (MESSAGES_MAX, MESSAGE_BYTES_MAX)
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A file, or the files that match a pattern.
    Get,
    /// A directory with everything below it.
    Tree,
    /// The names and sizes of what the server offers.
    List,
    /// What the server counts about itself.
    Status,
    /// The end of the session.
    Close,
    /// Something this version does not know: an op, or a flag that may change what an op means. It is answered with UNSUPPORTED.
    Unknown,
}

impl Op {
    /// The name as it stands in docs/PROTOCOL.md: `GET`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Tree => "TREE",
            Self::List => "LIST",
            Self::Status => "STATUS",
            Self::Close => "CLOSE",
            Self::Unknown => "UNKNOWN",
        }
    }
    fn code(self) -> u16 {
        match self {
            Self::Get => 1,
            Self::Tree => 2,
            Self::List => 3,
            Self::Status => 4,
            Self::Close => 5,
            Self::Unknown => u16::MAX,
        }
    }
    fn from_code(code: u16) -> Self {
        let known = [Self::Get, Self::Tree, Self::List, Self::Status, Self::Close];
        known
            .into_iter()
            .find(|op| op.code() == code)
            .unwrap_or(Self::Unknown)
    }
}

/// GET: if no file has this name, the path is a pattern.
pub const FLAG_PATTERN: u32 = 1;
/// LIST: descend into directories.
pub const FLAG_RECURSIVE: u32 = 2;
/// GET and TREE: END carries a BLAKE3 digest.
pub const FLAG_VERIFY: u32 = 4;
/// GET: the client already has `offset` bytes whose digest is `prefix_digest`.
pub const FLAG_RESUME: u32 = 8;
/// GET: only a part of the file, which `offset` and `prefix_digest` say (see [`super::Range`]).
pub const FLAG_RANGE: u32 = 16;
/// LIST: as a walk sees it: the path is never a pattern, names are relative to it, and what it names itself comes first, as `.`.
pub const FLAG_WALK: u32 = 32;

/// Whether a flag is known, and an op means something with it. Of the older ones those that mean nothing are ignored.
fn are_flags_known(op: Op, flags: u32) -> bool {
    let known = FLAG_PATTERN | FLAG_RECURSIVE | FLAG_VERIFY | FLAG_RESUME;
    match op {
        Op::Get if flags & FLAG_RANGE != 0 => flags == FLAG_RANGE,
        Op::List => flags & !(known | FLAG_WALK) == 0,
        _ => flags & !known == 0,
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub op: Op,
    /// Greater than zero and strictly increasing within a region.
    pub request_id: u64,
    /// Where the answer goes.
    pub region_id: RegionId,
    /// Proof that the sender made that region.
    pub nonce: [u8; 16],
    /// The size of that region.
    pub region_bytes: u64,
    /// How many bytes the client already has, with [`FLAG_RESUME`]; where the part begins, with [`FLAG_RANGE`].
    pub offset: u64,
    /// `FLAG_*`.
    pub flags: u32,
    /// BLAKE3 of the bytes the client already has; the length of the part, with [`FLAG_RANGE`].
    pub prefix_digest: [u8; 32],
    /// Relative to the exported directory; not necessarily UTF-8.
    pub path: Vec<u8>,
}

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct RawRequest {
    magic: [u8; 4],
    version: U16,
    op: U16,
    request_id: U64,
    region_id: [u8; 16],
    nonce: [u8; 16],
    region_bytes: U64,
    offset: U64,
    flags: U32,
    path_bytes: U32,
    prefix_digest: [u8; 32],
}

const HEAD_BYTES: usize = size_of::<RawRequest>();
const _: () = {
    assert!(HEAD_BYTES == 104);
    assert!(HEAD_BYTES + PATH_BYTES_MAX <= MESSAGE_BYTES_MAX);
    assert!(std::mem::offset_of!(RawRequest, nonce) == 32);
    assert!(std::mem::offset_of!(RawRequest, prefix_digest) == 72);
};

/// Why a message is not a request. Each reason is counted; none is answered, because nobody is known to have asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Shorter than the fixed part.
    #[error("shorter than a request")]
    Short,
    /// Another magic.
    #[error("not a request")]
    Magic,
    /// Another version.
    #[error("version {0} of the protocol")]
    Version(u16),
    /// Request id zero.
    #[error("request id 0")]
    Id,
    /// The path's length is not what is left of the message, or too long.
    #[error("a path length that is not what is left of the message")]
    PathLength,
    /// A NUL in the path.
    #[error("a NUL in the path")]
    Nul,
}

impl Request {
    /// The message that says this.
    ///
    /// # Panics
    /// If the path is longer than [`PATH_BYTES_MAX`]: the caller checks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        assert!(
            self.path.len() <= PATH_BYTES_MAX,
            "a path of {} bytes",
            self.path.len()
        );
        let raw = RawRequest {
            magic: MAGIC,
            version: VERSION.into(),
            op: self.op.code().into(),
            request_id: self.request_id.into(),
            region_id: self.region_id.0,
            nonce: self.nonce,
            region_bytes: self.region_bytes.into(),
            offset: self.offset.into(),
            flags: self.flags.into(),
            path_bytes: (self.path.len() as u32).into(),
            prefix_digest: self.prefix_digest,
        };
        let mut message = Vec::with_capacity(HEAD_BYTES + self.path.len());
        message.extend_from_slice(raw.as_bytes());
        message.extend_from_slice(&self.path);
        message
    }

    /// What a message says. Total: any bytes give a request or a reason, without a system call.
    ///
    /// # Errors
    /// [`DecodeError`]: the first thing found wrong.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let (raw, path) = RawRequest::read_from_prefix(message).map_err(|_| DecodeError::Short)?;
        if raw.magic != MAGIC {
            return Err(DecodeError::Magic);
        }
        if raw.version.get() != VERSION {
            return Err(DecodeError::Version(raw.version.get()));
        }
        if raw.request_id.get() == 0 {
            return Err(DecodeError::Id);
        }
        let op = match Op::from_code(raw.op.get()) {
            op if are_flags_known(op, raw.flags.get()) => op,
            _ => Op::Unknown,
        };
        if raw.path_bytes.get() as usize != path.len() || path.len() > PATH_BYTES_MAX {
            return Err(DecodeError::PathLength);
        }
        if path.contains(&0) {
            return Err(DecodeError::Nul);
        }
        Ok(Self {
            op,
            request_id: raw.request_id.get(),
            region_id: RegionId(raw.region_id),
            nonce: raw.nonce,
            region_bytes: raw.region_bytes.get(),
            offset: raw.offset.get(),
            flags: raw.flags.get(),
            prefix_digest: raw.prefix_digest,
            path: path.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample;
    use proptest::prelude::*;

    fn any_request() -> impl Strategy<Value = Request> {
        let ops = prop_oneof![
            Just(Op::Get),
            Just(Op::Tree),
            Just(Op::List),
            Just(Op::Status),
            Just(Op::Close)
        ];
        let path = proptest::collection::vec(1u8..=255, 0..=PATH_BYTES_MAX);
        (
            ops,
            1u64..,
            any::<[u8; 16]>(),
            any::<[u8; 16]>(),
            any::<u64>(),
            any::<u64>(),
            0u32..16,
            any::<[u8; 32]>(),
            path,
        )
            .prop_map(
                |(op, request_id, id, nonce, region_bytes, offset, flags, prefix_digest, path)| Request {
                    op,
                    request_id,
                    region_id: RegionId(id),
                    nonce,
                    region_bytes,
                    offset,
                    flags,
                    prefix_digest,
                    path,
                },
            )
    }

    proptest! {
        #[test]
        fn a_request_survives_its_message(request in any_request()) {
            let message = request.encode();
            prop_assert!(message.len() <= MESSAGE_BYTES_MAX);
            prop_assert_eq!(Request::decode(&message), Ok(request));
        }

        #[test]
        fn every_prefix_of_a_message_is_refused(request in any_request()) {
            let message = request.encode();
            for len in 0..message.len() {
                prop_assert!(Request::decode(&message[..len]).is_err());
            }
        }

        #[test]
        fn a_flipped_bit_never_panics_and_never_goes_unseen(request in any_request(), bit in any::<prop::sample::Index>()) {
            let mut message = request.encode();
            let bit = bit.index(message.len() * 8);
            message[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(Request::decode(&message), Ok(request));
        }

        #[test]
        fn an_op_or_flag_of_the_future_is_decoded_as_unknown(request in any_request(), op in 6u16.., flag in 6u32..32) {
            let mut message = request.encode();
            message[6..8].copy_from_slice(&op.to_le_bytes());
            prop_assert_eq!(Request::decode(&message).unwrap().op, Op::Unknown);
            let mut message = request.encode();
            message[64..68].copy_from_slice(&(request.flags | 1 << flag).to_le_bytes());
            prop_assert_eq!(Request::decode(&message).unwrap().op, Op::Unknown);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(message in proptest::collection::vec(any::<u8>(), 0..1200)) {
            let _ = Request::decode(&message);
        }
    }

    #[test]
    fn a_part_and_a_walk_are_flags_of_one_op_each() {
        let known = |op, flags| are_flags_known(op, flags);
        assert!(
            known(Op::Get, FLAG_RANGE)
                && known(Op::List, FLAG_WALK)
                && known(Op::List, FLAG_WALK | FLAG_RECURSIVE)
        );
        for flags in [FLAG_PATTERN, FLAG_RECURSIVE, FLAG_VERIFY, FLAG_RESUME, FLAG_WALK] {
            assert!(!known(Op::Get, FLAG_RANGE | flags), "{flags}");
        }
        for op in [Op::Tree, Op::Status, Op::Close] {
            assert!(!known(op, FLAG_RANGE) && !known(op, FLAG_WALK), "{op:?}");
        }
        assert!(!known(Op::List, FLAG_RANGE) && !known(Op::Get, FLAG_WALK));
    }

    #[test]
    fn the_message_of_the_document() {
        let request = sample::request(Op::Get, b"hi.txt");
        let mut expected = b"SHMR\x01\0\x01\0\x01\0\0\0\0\0\0\0".to_vec();
        expected.extend([0x11; 16]);
        expected.extend([0x22; 16]);
        expected.extend(b"\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06\0\0\0");
        expected.extend([0; 32]);
        expected.extend(b"hi.txt");
        assert_eq!(request.encode(), expected);
    }
}
