//! Less than a whole file. The beginning that a client already has: what it says of it in a request, and where an answer begins because of
//! it. And a part that a client wants: the same fields of a request, with another flag.

use shmeld_core::Misbehaviour;

use super::record::{Entry, Record};

/// What a client says of the bytes that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// How many, from the first byte on; not 0.
    pub bytes: u64,
    /// Their BLAKE3 digest.
    pub digest: [u8; 32],
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Position of its first byte.
    pub offset: u64,
    /// How many bytes; fewer come if the file ends before.
    pub len: u64,
}

/// How a request says it, with [`FLAG_RANGE`](super::wire::FLAG_RANGE): the length where the digest of a beginning stands otherwise.
impl From<Range> for Prefix {
    fn from(range: Range) -> Self {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&range.len.to_le_bytes());
        Self {
            bytes: range.offset,
            digest,
        }
    }
}

impl Range {
    /// The part of a file of `size` bytes that a request with these fields wants: its first position, and the one behind its last.
    pub(super) fn within(offset: u64, digest: &[u8; 32], size: u64) -> (u64, u64) {
        let (len, _) = digest
            .split_first_chunk()
            .unwrap_or_else(|| unreachable!("32 bytes begin with 8"));
        let end = offset.saturating_add(u64::from_le_bytes(*len)).min(size);
        (offset.min(size), end)
    }
}

/// Where a file that arrives begins, and the digest of what lies before it.
#[derive(Debug)]
pub(super) struct Start {
    /// Position of the first byte that comes.
    pub(super) position: u64,
    /// Goes on over the bytes that come, if the whole file is to be checked. Boxed: it is two kilobytes that most transfers do not need
    /// and would carry around.
    pub(super) hasher: Option<Box<blake3::Hasher>>,
}

impl Start {
    /// All of the file comes.
    pub(super) fn anew(verify: bool) -> Self {
        Self {
            position: 0,
            hasher: verify.then(Box::default),
        }
    }
}

/// Checks BEGIN against its [entry](Record::entry) and against what was asked for. Returns the position of the first byte that will come: 0, or the end of
/// the `prefix` that was offered.
pub(super) fn check_begin(
    record: &Record,
    entry: &Entry,
    prefix: Option<Prefix>,
) -> Result<u64, Misbehaviour> {
    let offered = prefix.map_or(0, |prefix| prefix.bytes);
    let is_possible = entry.size <= i64::MAX as u64;
    if !is_possible || record.offset != 0 && (record.offset != offered || offered > entry.size) {
        return Err(Misbehaviour::Record("a BEGIN that contradicts itself"));
    }
    Ok(record.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::record::Kind;

    fn begin(size: u64, offset: u64, prefix_bytes: u64) -> Option<u64> {
        let entry = Entry::file(b"f", size);
        let record = Record {
            offset,
            extent: size,
            ..Record::new(Kind::Begin, 1)
        };
        let prefix = (prefix_bytes > 0).then_some(Prefix {
            bytes: prefix_bytes,
            digest: [0; 32],
        });
        check_begin(&record, &entry, prefix).ok()
    }

    #[test]
    fn a_file_begins_at_0_or_behind_what_was_offered_and_nowhere_else() {
        assert_eq!(begin(100, 0, 0), Some(0));
        assert_eq!(begin(100, 0, 40), Some(0));
        assert_eq!(begin(100, 40, 40), Some(40));
        assert_eq!(begin(100, 100, 100), Some(100));
        // A server of an older form, or one whose file has shrunk, sends everything.
        assert_eq!(begin(100, 0, 101), Some(0));
        for (offset, offered) in [(1, 0), (39, 40), (41, 40), (101, 101), (u64::MAX, 40)] {
            assert_eq!(begin(100, offset, offered), None, "{offset} of {offered}");
        }
        assert_eq!(begin(1 << 63, 0, 0), None);
    }

    #[test]
    fn a_part_ends_where_the_file_ends() {
        let within = |offset, len, size| {
            let said = Prefix::from(Range { offset, len });
            Range::within(said.bytes, &said.digest, size)
        };
        assert_eq!(within(10, 20, 100), (10, 30));
        assert_eq!(within(90, 20, 100), (90, 100));
        assert_eq!(within(100, 20, 100), (100, 100));
        assert_eq!(within(u64::MAX, u64::MAX, 100), (100, 100));
        assert_eq!(within(0, 0, 100), (0, 0));
    }
}
