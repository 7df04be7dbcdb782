//! Which bytes of a segment: decided before anything is touched.

/// Bytes of a segment that lie within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u64,
    bytes: u64,
}

/// Some of the bytes lie behind the end: this many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond {
    pub(super) offset: u64,
    /// `None`: the offset itself is beyond.
    pub(super) bytes: Option<u64>,
    pub(super) size: u64,
}

impl Span {
    /// `bytes` bytes at `offset` of a segment of `size` bytes; all that follow if `None`.
    pub(super) fn new(offset: u64, bytes: Option<u64>, size: u64) -> Result<Self, Beyond> {
        let beyond = Beyond {
            offset,
            bytes: bytes.filter(|_| offset <= size),
            size,
        };
        let room = size.checked_sub(offset).ok_or(beyond)?;
        let bytes = bytes.unwrap_or(room);
        if bytes > room {
            return Err(beyond);
        }
        Ok(Self { start: offset, bytes })
    }

    /// Where it begins.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// How many bytes there are.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// Where it ends.
    #[must_use]
    pub fn end(self) -> u64 {
        // It lies within a segment, whose size is a number.
        self.start + self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(offset: u64, bytes: Option<u64>, size: u64) -> Option<(u64, u64)> {
        Span::new(offset, bytes, size)
            .ok()
            .map(|span| (span.start(), span.end()))
    }

    #[test]
    fn a_span_lies_within_its_segment() {
        assert_eq!(span(0, None, 4096), Some((0, 4096)));
        assert_eq!(span(4000, None, 4096), Some((4000, 4096)));
        assert_eq!(span(4096, None, 4096), Some((4096, 4096)));
        assert_eq!(span(0, Some(0), 0), Some((0, 0)));
        assert_eq!(span(10, Some(20), 30), Some((10, 30)));
    }

    #[test]
    fn what_is_not_there_is_refused_and_no_sum_overflows() {
        assert_eq!(span(4097, None, 4096), None);
        assert_eq!(span(10, Some(21), 30), None);
        assert_eq!(span(u64::MAX, Some(u64::MAX), 30), None);
        assert_eq!(span(1, Some(u64::MAX), u64::MAX), None);
        assert_eq!(span(1, None, 0), None);
    }

    #[test]
    fn a_refusal_says_whether_the_offset_or_the_length_is_too_much() {
        let refused = |offset, bytes| Span::new(offset, Some(bytes), 30).map_err(|beyond| beyond.bytes);
        assert_eq!(refused(31, 1), Err(None));
        assert_eq!(refused(30, 1), Err(Some(1)));
    }
}
