//! A chunk of a file that has arrived and was checked; and what is remembered of those before it. Pure.

use shmeld_core::Window;
use zenoh::bytes::ZBytes;

use crate::wire::{Head, Malformed, Request};

/// See the module.
#[derive(Debug)]
pub struct Chunk {
    offset: u64,
    len: usize,
    digest: [u8; 32],
    /// `None`: zeros.
    bytes: Option<ZBytes>,
}

impl Chunk {
    /// Checks what came for a request for bytes.
    ///
    /// # Errors
    /// It is not what was asked for, or not what its own digest says.
    pub fn check(head: &Head, body: ZBytes, request: Request) -> Result<Self, Malformed> {
        head.check_chunk(request, body.len())?;
        let mut hasher = blake3::Hasher::new();
        if head.zeros {
            hasher.update(&vec![0; head.len as usize]);
        } else {
            body.slices().for_each(|slice| {
                hasher.update(slice);
            });
        }
        if hasher.finalize() != head.digest {
            return Err(Malformed::Impossible(
                "a chunk whose bytes are not those of its digest",
            ));
        }
        Ok(Self {
            offset: head.offset,
            len: head.len as usize,
            digest: head.digest,
            bytes: (!head.zeros).then_some(body),
        })
    }

    /// BLAKE3 of its bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Position of its first byte in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Position behind its last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// Whether it is all zeros.
    #[must_use]
    pub fn is_zeros(&self) -> bool {
        self.bytes.is_none()
    }

    /// Hands the bytes from `position` on to `take`, piece by piece, `len` at most; returns how many that were.
    fn read(&self, position: u64, len: usize, mut take: impl FnMut(usize, &[u8])) -> usize {
        let mut skip = position.saturating_sub(self.offset).min(self.len as u64) as usize;
        let len = len.min(self.len - skip);
        let mut done = 0;
        for slice in self.bytes.iter().flat_map(|bytes| bytes.slices()) {
            let skipped = skip.min(slice.len());
            skip -= skipped;
            let piece = &slice[skipped..];
            let piece = &piece[..piece.len().min(len - done)];
            take(done, piece);
            done += piece.len();
        }
        len
    }

    /// Copies bytes out.
    pub fn copy_to(&self, buffer: &mut [u8], position: u64) -> usize {
        if self.is_zeros() {
            buffer.fill(0);
        }
        let len = buffer.len();
        self.read(position, len, |at, piece| {
            buffer[at..at + piece.len()].copy_from_slice(piece)
        })
    }

    /// Copies bytes into a slot.
    pub fn copy_to_slot(&self, slot: &Window<'_>, at: usize, len: usize, position: u64) -> usize {
        if self.is_zeros() {
            let left = self.end().saturating_sub(position).min(len as u64) as usize;
            slot.write(at, &vec![0; left]);
        }
        self.read(position, len, |behind, piece| slot.write(at + behind, piece))
    }
}

/// What is remembered of the chunks that a client has been given: enough to find out whether another export has the same ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    from: u64,
    until: u64,
    digest: [u8; 32],
}

impl Chain {
    /// Nothing yet, and what comes first will begin at `from`.
    #[must_use]
    pub fn new(from: u64) -> Self {
        Self {
            from,
            until: from,
            digest: [0; 32],
        }
    }

    /// Position of the first byte that was given.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Position behind the last byte that was given.
    #[must_use]
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Whether nothing was given yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from == self.until
    }

    /// Adds the chunk that follows, of `len` bytes.
    pub fn push(&mut self, digest: &[u8; 32], len: u64) {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(&self.digest)
            .update(digest)
            .update(&len.to_le_bytes());
        self.digest = hasher.finalize().into();
        self.until += len;
    }
}
