//! A value in shared memory that never tears: a sequence lock.
//!
//! ```text
//! byte 0   the sequence word: even, and the value is whole; odd, and a writer is inside
//! byte 8   the value, in words of eight bytes, the last one filled up with zeros
//!
//! write:  s = sequence, even; sequence: s -> s + 1 (compare and exchange, so one writer at a time)
//!         words; sequence = s + 2
//! read:   s = sequence, even; words; sequence still s: they belong together, else once more
//! ```
//!
//! Readers never write, so any number of them may read, through read-only mappings too, and none delays the writer. A writer that dies
//! inside leaves an odd sequence word: readers and writers then say so, in bounded time, and whoever *knows* that it is dead (by a lease,
//! never by a clock) puts it right with [`SeqLocked::write_after_death`]: one of them, if several come.
//!
//! All words are relaxed atomics between two fences, after Boehm, "Can seqlocks get along with programming language memory models?"
//! (MSPC 2012). The code is generic over where the words live, so `tests/it/loom_seq_locked.rs` explores these very lines.
//!
//! ```
//! use std::time::Duration;
//! use shmeld_core::SeqLocked;
//! use shmeld_os::posix::shm::SharedMemory;
//!
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(SeqLocked::<[f64; 3]>::BYTES as u64)?;
//! let (mine, yours) = (SeqLocked::<[f64; 3]>::map(&object)?, SeqLocked::<[f64; 3]>::map(&object)?);
//! mine.write(&[1.0, 2.0, 3.0])?;
//! assert_eq!(yours.read(Duration::from_secs(1))?, [1.0, 2.0, 3.0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::hint;
use std::marker::PhantomData;
use std::thread;
use std::time::{Duration, Instant};

use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;

use crate::error::{Result, check_room};
use crate::memory::Memory;
use crate::shared::Plain;
use crate::sync::{Ordering, fence};

/// Bytes of a word.
const WORD_BYTES: usize = 8;
/// Which word is the sequence word.
const SEQUENCE: usize = 0;
/// How often a reader looks again before it looks at the clock: a write of a small value is over by then.
const SPINS: u32 = 100;
/// How long it sleeps between looks after that: the writer may want the CPU that we run on.
const NAP: Duration = Duration::from_micros(50);

/// Why there is no whole value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsettled {
    /// A writer is inside: at work, stopped, or dead.
    #[error("a writer is inside: it is at work, stopped, or died there")]
    Inside,
    /// Writers came one after the other, faster than the value could be copied.
    #[error("the value was written again and again while it was read")]
    Changing,
}

/// Where the words live: shared memory, or loom's atomics in the model.
pub trait Words {
    /// Atomic load.
    fn load(&self, index: usize, order: Ordering) -> u64;
    /// Atomic store.
    fn store(&self, index: usize, value: u64, order: Ordering);
    /// Atomic compare and exchange, with `order` if it succeeds; whether it did.
    fn exchange_if(&self, index: usize, expected: u64, value: u64, order: Ordering) -> bool;
    /// Memory fence.
    fn fence(&self, order: Ordering);
}

/// One look at the value.
///
/// # Errors
/// What stood in the way; `bytes` then holds a mixture.
pub fn read_once(words: &impl Words, bytes: &mut [u8]) -> Result<(), Unsettled> {
    // Acquire: pairs with the Release at the end of `write_as`: the words of that write, or of a later one, are seen.
    let before = words.load(SEQUENCE, Ordering::Acquire);
    if !before.is_multiple_of(2) {
        return Err(Unsettled::Inside);
    }
    for (index, chunk) in bytes.chunks_mut(WORD_BYTES).enumerate() {
        let word = words.load(1 + index, Ordering::Relaxed).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    // Acquire: if a word above came from a later write, this fence pairs with that writer's, and its odd sequence word is seen below.
    words.fence(Ordering::Acquire);
    if words.load(SEQUENCE, Ordering::Relaxed) == before {
        Ok(())
    } else {
        Err(Unsettled::Changing)
    }
}

/// Writes the value, unless a writer is inside.
///
/// # Errors
/// [`Unsettled::Inside`]; nothing was written then.
pub fn write(words: &impl Words, bytes: &[u8]) -> Result<(), Unsettled> {
    let before = words.load(SEQUENCE, Ordering::Relaxed);
    let inside = before.wrapping_add(1);
    // Acquire: pairs with the Release of the writer before us, so that our words come after his.
    if !before.is_multiple_of(2) || !words.exchange_if(SEQUENCE, before, inside, Ordering::Acquire) {
        return Err(Unsettled::Inside);
    }
    write_as(words, inside, bytes);
    Ok(())
}

/// Writes the value in the place of a writer that died inside and left `seen` in the sequence word.
///
/// # Errors
/// [`Unsettled::Inside`] if `seen` does not stand there, or cannot be a writer's; nothing was written then.
pub fn write_after_death(words: &impl Words, seen: u64, bytes: &[u8]) -> Result<(), Unsettled> {
    // Another odd number: of several who saw the same death one gets in, and it can be told from the dead one if it dies too.
    let inside = seen.wrapping_add(2);
    // Acquire: as in `write`. What the dead one stored comes before ours, for whoever knows of a death came after it.
    if seen.is_multiple_of(2) || !words.exchange_if(SEQUENCE, seen, inside, Ordering::Acquire) {
        return Err(Unsettled::Inside);
    }
    write_as(words, inside, bytes);
    Ok(())
}

/// The part of a write in which the sequence word is odd: `inside`.
fn write_as(words: &impl Words, inside: u64, bytes: &[u8]) {
    // Release: who sees one of the words below, and has a fence after that, sees the odd sequence word above.
    words.fence(Ordering::Release);
    for (index, chunk) in bytes.chunks(WORD_BYTES).enumerate() {
        let mut word = [0; WORD_BYTES];
        word[..chunk.len()].copy_from_slice(chunk);
        words.store(1 + index, u64::from_le_bytes(word), Ordering::Relaxed);
    }
    // Release: who loads this with Acquire sees the words above. Pairs with the first load of `read_once` and the exchanges above.
    words.store(SEQUENCE, inside.wrapping_add(1), Ordering::Release);
}

impl Words for Memory {
    #[inline]
    fn load(&self, index: usize, order: Ordering) -> u64 {
        self.atomic_u64(index * WORD_BYTES).load(order)
    }
    #[inline]
    fn store(&self, index: usize, value: u64, order: Ordering) {
        self.atomic_u64(index * WORD_BYTES).store(value, order);
    }
    #[inline]
    fn exchange_if(&self, index: usize, expected: u64, value: u64, order: Ordering) -> bool {
        let word = self.atomic_u64(index * WORD_BYTES);
        word.compare_exchange(expected, value, order, Ordering::Relaxed)
            .is_ok()
    }
    #[inline]
    fn fence(&self, order: Ordering) {
        fence(order);
    }
}

/// Shared memory that holds one `T` behind a sequence lock. See the [module](self).
///
/// New memory, all zeros, holds the `T` of zeros.
#[derive(Debug)]
pub struct SeqLocked<T> {
    memory: Memory,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Plain> SeqLocked<T> {
    /// How much memory it takes.
    pub const BYTES: usize = WORD_BYTES + size_of::<T>().next_multiple_of(WORD_BYTES);

    /// Takes over memory of at least [`SeqLocked::BYTES`] bytes: a mapping, or an attached System V segment.
    ///
    /// # Errors
    /// [`Error::TooSmall`](crate::Error::TooSmall).
    pub fn new(memory: impl Into<Memory>) -> Result<Self> {
        let memory = memory.into();
        check_room(memory.label(), memory.len(), Self::BYTES)?;
        Ok(Self {
            memory,
            of: PhantomData,
        })
    }

    /// Maps the first [`SeqLocked::BYTES`] bytes of a POSIX object.
    ///
    /// # Errors
    /// [`Error::TooSmall`](crate::Error::TooSmall) if it is shorter; [`Error::Os`](crate::Error::Os) if it cannot be mapped for reading and writing.
    pub fn map(object: &SharedMemory) -> Result<Self> {
        let bytes = usize::try_from(object.stat()?.bytes).unwrap_or(usize::MAX);
        Self::new(Mapping::new(object, bytes.clamp(1, Self::BYTES), object.label())?)
    }

    /// The memory, for what has no type.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether the memory vanished: see [`Shared::faulted`](crate::Shared::faulted).
    #[must_use]
    pub fn faulted(&self) -> bool {
        self.memory.faulted()
    }

    /// A copy of the value as one writer wrote it, for which it looks again for about `patience`. A peer who lies about the sequence word
    /// can make it wait so long, or hand out a mixture: bytes as good as any others that he can write.
    ///
    /// # Errors
    /// [`Unsettled`] if the value never stood still.
    pub fn read(&self, patience: Duration) -> Result<T, Unsettled> {
        let mut value = T::new_zeroed();
        let mut looks = 0;
        let mut start = None;
        loop {
            let Err(unsettled) = read_once(&self.memory, value.as_mut_bytes()) else {
                return Ok(value);
            };
            looks += 1;
            if looks < SPINS {
                hint::spin_loop();
                continue;
            }
            if start.get_or_insert_with(Instant::now).elapsed() >= patience {
                return Err(unsettled);
            }
            thread::sleep(NAP);
        }
    }

    /// Writes the value, unless another writer is inside.
    ///
    /// # Errors
    /// [`Unsettled::Inside`]; nothing was written then. If the other one lives, try again; if it is dead, see
    /// [`SeqLocked::writer_inside`].
    ///
    /// # Panics
    /// If the memory is [read-only](Memory::is_read_only).
    pub fn write(&self, value: &T) -> Result<(), Unsettled> {
        self.insist_on_writable();
        write(&self.memory, value.as_bytes())
    }

    /// The sequence word, if it says that a writer is inside: what [`SeqLocked::write_after_death`] wants to know. To be asked for *before*
    /// the question whether that writer is dead, so that nobody who came after the death is taken for the dead one.
    #[must_use]
    pub fn writer_inside(&self) -> Option<u64> {
        // Relaxed: whoever writes then makes sure that this is still what stands there.
        let sequence = Words::load(&self.memory, SEQUENCE, Ordering::Relaxed);
        (!sequence.is_multiple_of(2)).then_some(sequence)
    }

    /// Writes the value although a writer is inside, because the caller knows that it died there: the one of
    /// [`SeqLocked::writer_inside`], which had said `seen`. If several try, one does it.
    ///
    /// One that was only stopped goes on writing when it is continued: readers can then get a mixture of both values.
    ///
    /// # Errors
    /// [`Unsettled::Inside`] if another one came first; nothing was written then. Try [`SeqLocked::write`], or ask anew who is inside.
    ///
    /// # Panics
    /// As [`SeqLocked::write`].
    pub fn write_after_death(&self, value: &T, seen: u64) -> Result<(), Unsettled> {
        self.insist_on_writable();
        write_after_death(&self.memory, seen, value.as_bytes())
    }

    fn insist_on_writable(&self) {
        assert!(
            !self.memory.is_read_only(),
            "a store into memory that is read-only"
        );
    }
}
