//! Memory that other processes write at the same moment, and the only code in the project that dereferences it.
//!
//! There is no reference and no slice into it. Words are loaded and stored as fixed-width atomics, everything else is copied in or out by
//! one routine (`copy`), or moved by the kernel. A range outside is our own bug and panics, because numbers from a peer are checked before
//! they get here.
//!
//! ```
//! use shmeld_core::Memory;
//! use shmeld_os::{mapping::Mapping, posix::shm::SharedMemory};
//!
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(4096)?;
//! let map = || Mapping::new(&object, 4096, "the example").map(Memory::from);
//! let (mine, yours) = (map()?, map()?);
//! assert_ne!(mine.address(), yours.address());
//!
//! mine.write(100, b"hello");
//! let mut copy = [0; 5];
//! yours.read(100, &mut copy);
//! assert_eq!(&copy, b"hello");
//! # Ok::<(), shmeld_os::Error>(())
//! ```
#![allow(unsafe_code)]

use std::os::fd::AsFd;

use shmeld_os::Errno;
use shmeld_os::mapping::Mapping;

use crate::copy::copy_bytes;
use crate::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// A mapped object or an attached segment. It is used by one thread at a time (`Send`, not `Sync`): the SIGBUS guard relies on that.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
}

impl From<Mapping> for Memory {
    fn from(mapping: Mapping) -> Self {
        Self { mapping }
    }
}

impl Memory {
    /// Size in bytes, as it was mapped.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // the kernel maps no empty range
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Where it lies in this process. A number for people: nothing is reached through it.
    #[must_use]
    pub fn address(&self) -> usize {
        self.mapping.as_ptr().addr()
    }

    /// The object's name, for messages.
    #[must_use]
    pub fn label(&self) -> &str {
        self.mapping.label()
    }

    /// Whether a store would end the process.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.mapping.is_read_only()
    }

    /// Whether the SIGBUS guard had to replace this memory: nothing read since can be believed.
    #[must_use]
    #[inline]
    pub fn faulted(&self) -> bool {
        self.mapping.faulted()
    }

    /// `munmap` or `shmdt`: gives the memory back, as dropping does, and says what the kernel said.
    ///
    /// # Errors
    /// As for [`Mapping::detach`].
    pub fn detach(self) -> shmeld_os::Result<()> {
        self.mapping.detach()
    }

    /// `mincore`: which pages of `len` bytes at `at` are in memory.
    ///
    /// # Errors
    /// As for [`Mapping::pages_in_memory`].
    ///
    /// # Panics
    /// If the range is outside.
    pub fn pages_in_memory(&self, at: usize, len: usize) -> shmeld_os::Result<Vec<u8>> {
        self.mapping.pages_in_memory(at, len)
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Panics
    /// If the range is outside, or the memory is read-only.
    #[inline]
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(!self.is_read_only(), "a store into memory that is read-only");
        let target = self.pointer(at, bytes.len());
        // SAFETY: `pointer` checked that the range lies inside the mapping, which lives as long as `self`, and it is writable; `bytes` is
        // private and a mapping never overlaps private memory.
        unsafe { copy_bytes(bytes.as_ptr(), target, bytes.len()) };
    }

    /// Copies the bytes at `at` out, once.
    ///
    /// # Panics
    /// If the range is outside.
    #[inline]
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        let source = self.pointer(at, bytes.len());
        // SAFETY: as in `write`; `bytes` is exclusively ours.
        unsafe { copy_bytes(source, bytes.as_mut_ptr(), bytes.len()) };
    }

    /// `pread(file)` straight into `len` bytes at `at`. Returns the number of bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// `EFAULT` blames the memory (it vanished, or is read-only), any other errno the file.
    ///
    /// # Panics
    /// If the range is outside.
    pub fn fill_from(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        file_offset: u64,
    ) -> Result<usize, Errno> {
        self.mapping.fill_from(at, len, file, file_offset)
    }

    /// `pwrite(file)` straight from `len` bytes at `at`; `write` when `file_offset` is `None`. Returns the number of bytes.
    ///
    /// # Errors
    /// `EFAULT` blames the memory (it vanished), any other errno the file.
    ///
    /// # Panics
    /// If the range is outside.
    pub fn drain_to(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        file_offset: Option<u64>,
    ) -> Result<usize, Errno> {
        self.mapping.drain_to(at, len, file, file_offset)
    }

    #[inline]
    fn pointer(&self, at: usize, len: usize) -> *mut u8 {
        let end = at
            .checked_add(len)
            .expect("a range is checked before it gets here");
        assert!(end <= self.len(), "range {at}+{len} of {} bytes", self.len());
        // SAFETY: at + len <= the mapping's length.
        unsafe { self.mapping.as_ptr().add(at) }
    }
}

/// The word of one width at an offset, as an atomic.
macro_rules! words {
    ($($name:ident $atomic:ident $bytes:literal)*) => {
        impl Memory {
            $(
                /// # Panics
                /// If the word is outside, or not aligned to its own width.
                #[inline]
                pub(crate) fn $name(&self, at: usize) -> &$atomic {
                    let pointer = self.pointer(at, $bytes);
                    assert!(pointer.addr().is_multiple_of($bytes), "a word at {at} is not aligned");
                    // SAFETY: inside the mapping and aligned, both just checked; valid while `self` lives; no Rust reference to these
                    // bytes exists but as an atomic, and nobody stores through this one if the memory is read-only.
                    unsafe { $atomic::from_ptr(pointer.cast()) }
                }
            )*
        }
    };
}

words! {
    atomic_u8 AtomicU8 1
    atomic_u16 AtomicU16 2
    atomic_u32 AtomicU32 4
    atomic_u64 AtomicU64 8
}
