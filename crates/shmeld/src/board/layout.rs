//! The bytes of the segment, and what a peer says about them.
//!
//! ```text
//! 0        8        16
//! | magic  | length | message ...          little-endian; the rest of the segment is zero
//!
//! | text, NUL | zeros | text mark |        for the textbook's handshake: the mark where a C program never looks
//! ```
//!
//! Magic and mark are written before anything else, so what has neither and is not all zero is none of ours.

use crate::{Error, Result};

/// The first eight bytes; the last of them is the version.
const MAGIC: [u8; MARK_BYTES] = *b"SHMBORD1";
/// Near the end of a segment with a text: [`text_mark_at`].
pub(super) const TEXT_MARK: [u8; MARK_BYTES] = *b"SHMTEXT1";
/// The size of either.
pub(super) const MARK_BYTES: usize = 8;
/// What comes before the message.
pub const HEADER_BYTES: usize = 16;
/// The longest message. A reader makes a copy, and a peer must not decide how much memory that takes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A segment takes whole pages anyway.
pub(super) const SEGMENT_BYTES_MIN: usize = 4096;

/// A larger segment without a mark is not looked through for anything but zeros: that would take its size in memory.
pub(super) const BLANK_BYTES_MAX: usize = 65 << 20;
const _: () = assert!(BLANK_BYTES_MAX >= MESSAGE_BYTES_MAX + SEGMENT_BYTES_MIN);

/// What a segment that somebody has left was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// One of our messages.
    Message,
    /// One of our texts.
    Text,
    /// Nothing yet: its maker died, or is about to write.
    Blank,
    /// Anything else.
    Other,
}

/// Judges by the two places where marks are; `is_zero` says whether all other bytes are zero.
pub(super) fn content(
    first: [u8; MARK_BYTES],
    last: [u8; MARK_BYTES],
    is_zero: impl FnOnce() -> bool,
) -> Content {
    if is_message(&first) {
        return Content::Message;
    }
    if last == TEXT_MARK {
        return Content::Text;
    }
    // A copy can be cut off at any byte.
    if is_begun(first, MAGIC) && is_begun(last, TEXT_MARK) && is_zero() {
        return Content::Blank;
    }
    Content::Other
}

/// Whether bytes begin as those of a board with semaphores do.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Whether zeros have been overwritten with a beginning of the mark, or with nothing.
fn is_begun(bytes: [u8; MARK_BYTES], mark: [u8; MARK_BYTES]) -> bool {
    let written = bytes
        .iter()
        .zip(&mark)
        .take_while(|(byte, mark)| byte == mark)
        .count();
    bytes[written..].iter().all(|byte| *byte == 0)
}

/// Where the mark of a text is in a segment of so many bytes: the last whole eight of them.
pub(super) fn text_mark_at(segment_bytes: usize) -> usize {
    (segment_bytes / MARK_BYTES).saturating_sub(1) * MARK_BYTES
}

/// How large a segment must be for a text of so many bytes, its NUL and the mark.
pub(super) fn text_segment_bytes(text_bytes: usize) -> usize {
    (text_bytes + 1).next_multiple_of(MARK_BYTES) + MARK_BYTES
}

/// What stands before a message of so many bytes.
pub(super) fn header(message_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..].copy_from_slice(&(message_bytes as u64).to_le_bytes());
    header
}

/// How long the message is, if the private copy of a header says so credibly for a segment of this size.
pub(super) fn message_bytes(header: &[u8; HEADER_BYTES], segment_bytes: usize) -> Result<usize, String> {
    let (magic, length) = header.split_at(8);
    if magic != MAGIC {
        return Err("the segment is no message of this version".to_owned());
    }
    let length = length.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    let room = segment_bytes.saturating_sub(HEADER_BYTES).min(MESSAGE_BYTES_MAX);
    match usize::try_from(length) {
        Ok(bytes) if bytes <= room => Ok(bytes),
        _ => Err(format!(
            "a message of {length} bytes in a segment of {segment_bytes}, which has room for {room}"
        )),
    }
}

/// How large the segment is that holds `needed` bytes; `wanted` is what the user said.
pub(super) fn segment_bytes(needed: usize, wanted: Option<u64>) -> Result<usize> {
    let Some(wanted) = wanted else {
        return Ok(needed.max(SEGMENT_BYTES_MIN));
    };
    let bytes = usize::try_from(wanted).map_err(|_| {
        Error::Usage(format!(
            "a segment of {wanted} bytes is more than memory can have"
        ))
    })?;
    if bytes < needed {
        return Err(Error::Usage(format!(
            "the message needs a segment of {needed} bytes, and the size asked for is {bytes}"
        )));
    }
    Ok(bytes.max(SEGMENT_BYTES_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_of_the_document() {
        let golden = b"SHMBORD1\x05\0\0\0\0\0\0\0";
        assert_eq!(&header(5), golden);
        assert_eq!(message_bytes(golden, 21), Ok(5));
    }

    #[test]
    fn length_that_the_segment_has_no_room_for_is_refused() {
        for (length, segment, good) in [
            (0u64, 16, true),
            (1, 16, false),
            (4080, 4096, true),
            (4081, 4096, false),
            (u64::MAX, 4096, false),
            (u64::MAX - 15, usize::MAX, false),
            (MESSAGE_BYTES_MAX as u64, usize::MAX, true),
            (MESSAGE_BYTES_MAX as u64 + 1, usize::MAX, false),
        ] {
            let mut bytes = header(0);
            bytes[8..].copy_from_slice(&length.to_le_bytes());
            assert_eq!(
                message_bytes(&bytes, segment).is_ok(),
                good,
                "{length} in {segment}"
            );
        }
    }

    #[test]
    fn each_flipped_bit_of_the_magic_is_another_format() {
        for bit in 0..64 {
            let mut bytes = header(5);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(message_bytes(&bytes, 4096).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_what_was_written_first_or_nothing_at_all_is_ours() {
        let (zero, magic) = ([0; 8], MAGIC);
        assert_eq!(content(magic, zero, || false), Content::Message);
        assert_eq!(content(*b"hello\0\0\0", TEXT_MARK, || false), Content::Text);
        assert_eq!(content(*b"hello\0\0\0", zero, || true), Content::Other);
        assert_eq!(content(zero, zero, || true), Content::Blank);
        assert_eq!(content(zero, zero, || false), Content::Other);
        for written in 1..8 {
            let mut cut = zero;
            cut[..written].copy_from_slice(&MAGIC[..written]);
            assert_eq!(content(cut, zero, || true), Content::Blank, "{written} bytes");
            assert_eq!(content(cut, zero, || false), Content::Other, "{written} bytes");
            cut[..written].copy_from_slice(&TEXT_MARK[..written]);
            assert_eq!(content(zero, cut, || true), Content::Blank, "{written} bytes");
            cut[written] = 1;
            assert_eq!(content(zero, cut, || true), Content::Other, "{written} bytes");
        }
    }

    #[test]
    fn mark_of_a_text_is_behind_its_nul() {
        for text in 1..40 {
            let needed = text_segment_bytes(text);
            for segment in needed..needed + 9 {
                let at = text_mark_at(segment);
                assert!(at > text && at + MARK_BYTES <= segment, "{text} in {segment}");
            }
        }
    }

    #[test]
    fn segment_has_a_page_at_least_and_room_for_its_message() {
        assert_eq!(segment_bytes(21, None).ok(), Some(4096));
        assert_eq!(segment_bytes(5000, None).ok(), Some(5000));
        assert_eq!(segment_bytes(5000, Some(65536)).ok(), Some(65536));
        assert_eq!(segment_bytes(5, Some(27)).ok(), Some(4096));
        let refused = segment_bytes(5000, Some(4999)).expect_err("too small");
        assert_eq!(refused.exit_code(), 2);
    }
}
