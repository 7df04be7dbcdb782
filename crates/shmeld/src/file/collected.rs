//! Bytes of a file that came in small pieces and wait in private memory to be written in one go.

use super::staging::BLOCK_BYTES;

/// See the module. One lives as long as the session: its memory is zeroed once, when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Collected {
    bytes: Vec<u8>,
    filled: usize,
}

impl Collected {
    /// Room for `len` more bytes, which count as collected.
    pub(super) fn extend(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        if self.bytes.len() < self.filled {
            self.bytes
                .resize(self.filled.max(BLOCK_BYTES.min(2 * self.filled)), 0);
        }
        &mut self.bytes[start..self.filled]
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Whether what ends at `position` of the file should be written before another `piece` bytes come.
    pub(super) fn is_due(&self, position: u64, piece: usize) -> bool {
        let into_block = (position % BLOCK_BYTES as u64) as usize;
        self.filled >= BLOCK_BYTES || self.filled > 0 && into_block + piece > BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_kept_in_order_and_memory_is_used_again() {
        let mut collected = Collected::default();
        collected.extend(3).copy_from_slice(b"abc");
        collected.extend(2).copy_from_slice(b"de");
        assert_eq!(collected.bytes(), b"abcde");
        collected.clear();
        assert_eq!(collected.bytes(), b"");
        collected.extend(1).copy_from_slice(b"x");
        assert_eq!(collected.bytes(), b"x");
    }

    #[test]
    fn a_write_is_due_where_the_server_reads() {
        let mut collected = Collected::default();
        assert!(!collected.is_due(0, 3744), "there is nothing to write");
        collected.extend(70 * 3744);
        assert!(collected.is_due(70 * 3744, 3744));
        assert!(!collected.is_due(69 * 3744, 3744));
        // A piece that ends exactly at the boundary is taken first.
        assert!(!collected.is_due(BLOCK_BYTES as u64 - 3744, 3744));
        collected.extend(BLOCK_BYTES);
        assert!(collected.is_due(1, 1), "never more than a block and a piece");
    }
}
