//! A bounded pool of buffers for sessions with small slots: each is needed only while a request is being answered.

use std::sync::{Arc, Mutex, PoisonError};

/// What passes through small slots is read in blocks of this size on one side, and written in such blocks on the other: large enough to
/// forget the system call, small enough for a second-level cache. Both stop at the same multiples of it, so that the one side reads while
/// the other writes and neither waits twice.
pub(super) const BLOCK_BYTES: usize = 256 * 1024;

/// How many buffers of [`BLOCK_BYTES`] a server keeps. More sessions than this at work at once get small buffers of their own.
const BUFFERS_MAX: usize = 32;
/// Size of such a small buffer.
const SMALL_BUFFER_BYTES: usize = 16 * 1024;

#[derive(Debug, Default)]
struct Shelf {
    free: Vec<Vec<u8>>,
    made: usize,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct StagingPool(Arc<Mutex<Shelf>>);

/// A buffer on loan; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Staging {
    pool: StagingPool,
    bytes: Vec<u8>,
}

impl StagingPool {
    /// Lends a buffer; never waits, because whoever holds the others may be a client that does nothing.
    pub(super) fn lend(&self) -> Staging {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pooled = shelf.free.pop().or_else(|| {
            (shelf.made < BUFFERS_MAX).then(|| {
                shelf.made += 1;
                vec![0; BLOCK_BYTES]
            })
        });
        drop(shelf);
        Staging {
            pool: self.clone(),
            bytes: pooled.unwrap_or_else(|| vec![0; SMALL_BUFFER_BYTES]),
        }
    }
}

impl Staging {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.bytes.len() == BLOCK_BYTES {
            let bytes = std::mem::take(&mut self.bytes);
            self.pool
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .free
                .push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_buffers_come_back() {
        let pool = StagingPool::default();
        let mut lent: Vec<Staging> = (0..BUFFERS_MAX + 2).map(|_| pool.lend()).collect();
        let large = lent
            .iter_mut()
            .filter_map(|staging| (staging.bytes().len() == BLOCK_BYTES).then_some(()))
            .count();
        assert_eq!(large, BUFFERS_MAX);
        drop(lent);
        assert_eq!(pool.lend().bytes().len(), BLOCK_BYTES);
        assert_eq!(pool.0.lock().unwrap().made, BUFFERS_MAX);
    }
}
