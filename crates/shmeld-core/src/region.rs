//! A region: one mapped shared object of the file transfer, divided into a page of control words and slots.
//!
//! Control words are loaded and stored as fixed-width atomics, headers are copied out once and parsed from the copy, payload is moved by the
//! kernel or copied, all through [`Memory`]. Bounds are checked where a [`Window`] is made and again at each access.
//!
//! ```
//! use shmeld_core::sync::Ordering;
//! use shmeld_core::{Region, layout::{Geometry, Word}, wait::Words};
//! use shmeld_os::posix::shm::SharedMemory;
//!
//! let geometry = Geometry::for_region(1 << 20)?;
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(geometry.region_bytes())?;
//! let map = || Region::map(&object, geometry, "the example");
//! let (server, client) = (map()?, map()?);
//!
//! server.slot(2).write(64, b"payload");
//! server.store(Word::Written, 3, Ordering::Release); // after the bytes that it announces
//! assert_eq!(client.load(Word::Written, Ordering::Acquire), 3);
//! let mut bytes = [0; 7];
//! client.slot(2).read(64, &mut bytes);
//! assert_eq!(&bytes, b"payload");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::os::fd::AsFd;
use std::time::Duration;

use shmeld_os::futex::{self, Wake};
use shmeld_os::mapping::Mapping;
use shmeld_os::process;
use shmeld_os::{Errno, futex::Faulted};
use zerocopy::{FromBytes, IntoBytes};

use crate::company::Company;
use crate::counters::{Tick, Ticks};
use crate::layout::{CANCEL_OFFSET, Geometry, PAGE_BYTES, RawHeader, Word};
use crate::memory::Memory;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::wait::{Semaphore, Words};

/// One mapped shared object. It is used by one thread at a time (`Send`, not `Sync`): the SIGBUS guard relies on that.
#[derive(Debug)]
pub struct Region {
    memory: Memory,
    geometry: Geometry,
    ticks: Ticks,
    company: Company,
}

impl Region {
    /// `mmap(fd)`: maps an object that has `geometry.region_bytes()` bytes. The mapping keeps the open file description, and with it
    /// every lease taken through it, until the region is dropped.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map(fd: impl AsFd, geometry: Geometry, object: &str) -> crate::Result<Self> {
        let bytes = usize::try_from(geometry.region_bytes()).unwrap_or(usize::MAX);
        let memory = Memory::from(Mapping::new(fd, bytes, object)?);
        assert!(memory.len() as u64 >= PAGE_BYTES && memory.address().is_multiple_of(PAGE_BYTES as usize));
        Ok(Self {
            memory,
            geometry,
            ticks: Ticks::default(),
            company: Company::default(),
        })
    }

    /// How the region is divided into slots.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What this side's waiting has cost so far.
    #[must_use]
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// A bounded view of slot `index`.
    #[must_use]
    pub fn slot(&self, index: u32) -> Window<'_> {
        self.window(self.geometry.slot_offset(index), self.geometry.slot_bytes())
    }

    fn window(&self, offset: usize, len: usize) -> Window<'_> {
        let end = offset
            .checked_add(len)
            .expect("a window is ours, never the peer's");
        assert!(
            end <= self.memory.len(),
            "window {offset}+{len} of {}",
            self.memory.len()
        );
        Window {
            region: self,
            offset,
            len,
        }
    }

    /// Writes a part of the first page before the region is published.
    pub(crate) fn initialise(&self, offset: usize, bytes: &[u8]) {
        self.window(0, PAGE_BYTES as usize).write(offset, bytes);
    }

    /// Copies the first 64 bytes out.
    #[must_use]
    pub fn raw_header(&self) -> RawHeader {
        let mut bytes = [0; size_of::<RawHeader>()];
        self.window(0, PAGE_BYTES as usize).read(0, &mut bytes);
        RawHeader::read_from_bytes(bytes.as_bytes()).unwrap_or_else(|_| unreachable!("the sizes are equal"))
    }

    /// The highest request id that the client has cancelled; 0 for none.
    #[must_use]
    pub fn cancel_up_to(&self) -> u64 {
        // Acquire: pairs with the Release store below, so that a cancelled request is seen with its reason to stop.
        self.cancel_word().load(Ordering::Acquire)
    }

    /// Tells the server that requests up to `request_id` need no further answer.
    pub fn set_cancel_up_to(&self, request_id: u64) {
        self.cancel_word().store(request_id, Ordering::Release);
    }

    /// Whether the SIGBUS guard had to replace this region: nothing read since can be believed.
    #[must_use]
    pub fn faulted(&self) -> bool {
        self.memory.faulted()
    }

    #[inline]
    fn cancel_word(&self) -> &AtomicU64 {
        self.memory.atomic_u64(CANCEL_OFFSET)
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU32 {
        self.memory.atomic_u32(word.offset())
    }
}

impl Words for Region {
    #[inline]
    fn load(&self, word: Word, order: Ordering) -> u32 {
        self.word(word).load(order)
    }
    #[inline]
    fn store(&self, word: Word, value: u32, order: Ordering) {
        self.word(word).store(value, order);
    }
    #[inline]
    fn swap(&self, word: Word, value: u32, order: Ordering) -> u32 {
        self.word(word).swap(value, order)
    }
    #[inline]
    fn fetch_add(&self, word: Word, value: u32, order: Ordering) -> u32 {
        self.word(word).fetch_add(value, order)
    }
    fn futex_wait(&self, word: Word, expected: u32, timeout: Duration) -> Wake {
        futex::wait(self.word(word).as_ptr(), expected, timeout)
    }
    fn futex_wake(&self, word: Word) -> Result<u32, Faulted> {
        futex::wake(self.word(word).as_ptr(), 1)
    }
    #[inline]
    fn faulted(&self) -> bool {
        self.memory.faulted()
    }
    #[inline]
    fn count(&self, tick: Tick) {
        self.ticks.count(tick);
    }
    #[inline]
    fn tell_cpu(&self, word: Word) -> u32 {
        let my_cpu = process::current_cpu().wrapping_add(1);
        // Only if it changed: the peer reads this line all the time, and each store would take it away from it.
        if self.load(word, Ordering::Relaxed) != my_cpu {
            self.store(word, my_cpu, Ordering::Relaxed);
        }
        my_cpu
    }
    #[inline]
    fn shares_cpu(&self, semaphore: Semaphore, shared: bool) {
        if self.company.is_time_to_leave(semaphore, shared) {
            process::leave_cpu(process::current_cpu());
        }
    }
}

/// A part of a region with bounds of its own.
#[derive(Debug, Clone, Copy)]
pub struct Window<'r> {
    region: &'r Region,
    offset: usize,
    len: usize,
}

impl Window<'_> {
    /// Size in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // never empty: a slot has at least SLOT_BYTES_MIN bytes
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` into the window at `at`.
    ///
    /// # Panics
    /// If the range is outside the window.
    #[inline]
    pub fn write(&self, at: usize, bytes: &[u8]) {
        self.check(at, bytes.len());
        self.region.memory.write(self.offset + at, bytes);
    }

    /// Copies bytes of the window at `at` out, once.
    ///
    /// # Panics
    /// If the range is outside the window.
    #[inline]
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        self.check(at, bytes.len());
        self.region.memory.read(self.offset + at, bytes);
    }

    /// `pread(file)` straight into the window. Returns the number of bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// `EFAULT` blames the peer (it took the memory away), any other errno the file.
    pub fn fill_from(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        file_offset: u64,
    ) -> Result<usize, Errno> {
        self.check(at, len);
        self.region
            .memory
            .fill_from(self.offset + at, len, file, file_offset)
    }

    /// `pwrite(file)` straight from the window; `write` when `file_offset` is `None`. Returns the number of bytes.
    ///
    /// # Errors
    /// `EFAULT` blames the peer (it took the memory away), any other errno the file.
    pub fn drain_to(
        &self,
        at: usize,
        len: usize,
        file: impl AsFd,
        file_offset: Option<u64>,
    ) -> Result<usize, Errno> {
        self.check(at, len);
        self.region
            .memory
            .drain_to(self.offset + at, len, file, file_offset)
    }

    fn check(&self, at: usize, len: usize) {
        let end = at
            .checked_add(len)
            .expect("a range is checked before it gets here");
        assert!(end <= self.len, "range {at}+{len} of a window of {}", self.len);
    }
}
