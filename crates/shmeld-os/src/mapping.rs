//! A mapped file, or an attached System V segment: a pointer, a length, and the two system calls that move bytes without dereferencing it.
//!
//! A peer writes the same memory at any time, so there is no reference and no slice to it: [`Mapping`] hands
//! out a raw pointer to the one file upstairs that dereferences it, and lets the kernel copy between the
//! mapping and files. The kernel answers EFAULT where the memory has vanished; a load or store of our
//! own raises SIGBUS there, for which there is the [guard](crate::sigbus).
//!
//! ```
//! use shmeld_os::{Errno, mapping::Mapping, posix::shm::SharedMemory};
//!
//! let memory = SharedMemory::create_unnamed()?;
//! memory.reserve(8192)?;
//! let mapping = Mapping::new(&memory, 8192, "the example")?;
//! let file = std::fs::File::open("/dev/zero")?;
//! assert_eq!(mapping.fill_from(0, 8192, &file, 0), Ok(8192));
//!
//! memory.as_file().set_len(4096)?; // what a hostile peer does
//! assert_eq!(mapping.fill_from(0, 8192, &file, 0), Ok(4096));
//! assert_eq!(mapping.fill_from(4096, 4096, &file, 0), Err(Errno::FAULT));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // mmap(2), munmap(2), and pread(2), pwrite(2), futex(2) on raw addresses

use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::futex::{self, Faulted, Wake};
use crate::{Error, Result, explain, fs, process, sigbus, sys};

/// The largest pages that a machine has: 16 GiB, on POWER.
const HUGE_PAGE_BYTES_MAX: usize = if usize::BITS < 64 { 1 << 30 } else { 16 << 30 };

/// A shared mapping of the first bytes of a file, or an [attached](crate::sysv::shared_memory::Segment::attach) segment; removed on drop.
///
/// A forked child does not inherit it (`MADV_DONTFORK`): neither the memory nor the leases that its open
/// description holds. In such a child the pointer leads nowhere, and dropping the copy does nothing.
///
/// It is `Send` and not `Sync`: a region is touched by one thread at a time.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    /// `None` if the guard was not installed when the mapping was made.
    guarded: Option<sigbus::Guarded>,
    read_only: bool,
    origin: Origin,
    /// For messages.
    label: String,
    /// The process that has this memory. A forked child must not unmap what it never got. `None` once it is given back.
    pid: Option<u32>,
}

/// How the memory came, which is how it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// `mmap`; goes by `munmap`.
    Mapped,
    /// `shmat`; goes by `shmdt`.
    Attached,
}

// SAFETY: a mapping belongs to the process, not to a thread: any thread may use and remove it.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `mmap(fd, bytes, PROT_READ|PROT_WRITE, MAP_SHARED)`: maps the first `bytes` bytes of a file for
    /// reading and writing.
    ///
    /// The length of the file is not checked: it can change at any time, so a check would prove nothing.
    /// `object` is for messages. The descriptor is no longer needed afterwards.
    ///
    /// # Errors
    /// EACCES if the descriptor is not open for both; ENODEV if the file cannot be mapped; ENOBUFS if
    /// the SIGBUS guard's table is full; EINVAL for 0 bytes.
    ///
    /// See [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html).
    #[doc(alias = "mmap")]
    pub fn new(fd: impl AsFd, bytes: usize, object: &str) -> Result<Self> {
        let mapping = Self::map(&fd, bytes, ProtFlags::READ | ProtFlags::WRITE, object)?;
        explain!(
            "mmap",
            object,
            format_args!("{bytes} bytes of the object become memory of this process")
        );
        Ok(mapping)
    }

    /// `mmap(fd, bytes, PROT_READ, MAP_SHARED)`: the same for reading only. A store through the pointer
    /// would end the process.
    ///
    /// # Errors
    /// As for [`Mapping::new`]; the descriptor need only be open for reading.
    ///
    /// See [mmap(2)](https://man7.org/linux/man-pages/man2/mmap.2.html).
    #[doc(alias = "mmap")]
    pub fn read_only(fd: impl AsFd, bytes: usize, object: &str) -> Result<Self> {
        let mapping = Self::map(&fd, bytes, ProtFlags::READ, object)?;
        explain!(
            "mmap",
            object,
            format_args!("{bytes} bytes of the object can be read as memory")
        );
        Ok(mapping)
    }

    fn map(fd: impl AsFd, bytes: usize, protection: ProtFlags, object: &str) -> Result<Self> {
        let fail = |operation, errno| Error::new(operation, object, errno);
        // SAFETY: no address is asked for, so no memory in use is affected; the length is checked by the
        // kernel. The pages are written by other processes, therefore only a raw pointer leaves here.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), bytes, protection, MapFlags::SHARED, &fd, 0) }
            .map_err(|errno| fail("mmap", errno))?;
        // The kernel never maps at address 0 unless it is asked to.
        let start = NonNull::new(start.cast::<u8>()).ok_or_else(|| fail("mmap", Errno::INVAL))?;
        let read_only = !protection.contains(ProtFlags::WRITE);
        let mut mapping = Self::own(start, bytes, read_only, Origin::Mapped, object)?;
        let len = bytes.next_multiple_of(rustix::param::page_size());
        mapping.guarded =
            sigbus::register(start.as_ptr().addr(), len).map_err(|errno| fail("mmap", errno))?;
        Ok(mapping)
    }

    /// A segment that `shmat` has just put at `start`. It cannot shrink, so it has no guard. One that was made with SHM_NORESERVE can lack memory
    /// (docs/SYSV.md): that ends the process, where the guard would let callers take zeros for its bytes that never had to ask.
    pub(crate) fn attached(start: NonNull<u8>, bytes: usize, read_only: bool, object: &str) -> Result<Self> {
        Self::own(start, bytes, read_only, Origin::Attached, object)
    }

    /// Takes over memory that has just come, and keeps it from forked children.
    fn own(start: NonNull<u8>, bytes: usize, read_only: bool, origin: Origin, object: &str) -> Result<Self> {
        // From here on a failure drops the mapping, which removes it.
        let mapping = Mapping {
            start,
            bytes,
            guarded: None,
            read_only,
            origin,
            label: object.to_owned(),
            pid: Some(process::pid()),
        };
        keep_from_children(start, bytes).map_err(|errno| Error::new("madvise", object, errno))?;
        Ok(mapping)
    }

    /// `munmap(start)`, or `shmdt(start)` for an attached segment: gives the memory back, as dropping does, and says what the kernel said.
    ///
    /// # Errors
    /// EINVAL if no segment is attached there: somebody took it away behind our back.
    ///
    /// See [munmap(2)](https://man7.org/linux/man-pages/man2/munmap.2.html),
    /// [shmop(2)](https://man7.org/linux/man-pages/man2/shmop.2.html).
    #[doc(alias = "munmap")]
    #[doc(alias = "shmdt")]
    pub fn detach(mut self) -> Result<()> {
        let call = match self.origin {
            Origin::Mapped => "munmap",
            Origin::Attached => "shmdt",
        };
        self.give_back()
            .map_err(|errno| Error::new(call, self.label.clone(), errno))?;
        explain!(call, self.label, "no longer memory of this process");
        Ok(())
    }

    /// Once, whatever the kernel says.
    fn give_back(&mut self) -> Result<(), Errno> {
        // First: once unmapped, the addresses can belong to another mapping at once.
        if let Some(guarded) = self.guarded.take() {
            guarded.forget();
        }
        if self.pid.take() != Some(process::pid()) {
            // Given back already; or a fork's child: what is mapped there now, if anything, is not ours.
            return Ok(());
        }
        let start = self.start.as_ptr();
        match self.origin {
            // SAFETY: exactly the range that `map` made, or the anonymous pages that the guard put there; the pointer came out of `self`
            // only, and nobody may use it longer than `self` lives.
            Origin::Mapped => unsafe { rustix::mm::munmap(start.cast(), self.bytes) },
            // SAFETY: exactly what `shmat` made; for the pointer the same holds.
            Origin::Attached => sys::check(unsafe { libc::shmdt(start.cast_const().cast()) }).map(drop),
        }
    }

    /// The number of bytes that were mapped. Fixed; the object behind them may have shrunk since.
    #[allow(clippy::len_without_is_empty)] // the kernel maps no empty range
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// The first byte, valid for [`len`](Mapping::len) bytes while the mapping lives.
    ///
    /// Valid means: a volatile or atomic access finds memory, or raises SIGBUS if the object has shrunk.
    /// Never make a reference from it.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The object's name, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Whether a store would end the process.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether the object vanished under an access, and the [guard](crate::sigbus) put zeros in its place.
    /// To be asked after reading and before believing. Always `false` without the guard.
    pub fn faulted(&self) -> bool {
        self.guarded.as_ref().is_some_and(sigbus::Guarded::faulted)
    }

    /// `pread(file, mapping + offset, len, file_offset)`: lets the kernel copy from a file straight into
    /// the mapping. Returns how many bytes came; 0 is the end of the file.
    ///
    /// # Errors
    /// The bare reason. EFAULT blames the peer: the memory is gone, or became so after a shorter count
    /// before. Everything else blames the file.
    ///
    /// # Panics
    /// If the range is not within the mapping: that is our own mistake, the caller checks what a peer says.
    ///
    /// See [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html).
    #[doc(alias = "pread")]
    pub fn fill_from(
        &self,
        offset: usize,
        len: usize,
        file: impl AsFd,
        file_offset: u64,
    ) -> Result<usize, Errno> {
        let destination = self.window(offset, len).cast();
        let position = sys::Offset::try_from(file_offset).map_err(|_| Errno::OVERFLOW)?;
        let count = sys::retry(|| {
            // SAFETY: the kernel writes at most `len` bytes to `destination`, and `window` proved that
            // these lie in the mapping, which lives as long as `self`. It checks each page itself. Others
            // may write there at the same time: no reference exists, and nothing is assumed of the bytes.
            unsafe { sys::pread(file.as_fd().as_raw_fd(), destination, len, position) }
        })?;
        Ok(count.unsigned_abs())
    }

    /// `pwrite(file, mapping + offset, len, file_offset)`, or `write` without a position: lets the kernel
    /// copy from the mapping straight into a file, a pipe or a device. Returns how many bytes went.
    ///
    /// Without a position this waits for room, also in a pipe that somebody made non-blocking.
    ///
    /// # Errors
    /// The bare reason. EFAULT blames the peer, everything else the file. A hostile peer may change the
    /// bytes while they are copied: what was written is what counts.
    ///
    /// # Panics
    /// If the range is not within the mapping.
    ///
    /// See [pwrite(2)](https://man7.org/linux/man-pages/man2/pwrite.2.html).
    #[doc(alias = "pwrite")]
    #[doc(alias = "write")]
    pub fn drain_to(
        &self,
        offset: usize,
        len: usize,
        file: impl AsFd,
        file_offset: Option<u64>,
    ) -> Result<usize, Errno> {
        let source = self.window(offset, len).cast_const().cast();
        let position = file_offset
            .map(sys::Offset::try_from)
            .transpose()
            .map_err(|_| Errno::OVERFLOW)?;
        let descriptor = file.as_fd().as_raw_fd();
        loop {
            let outcome = sys::retry(|| match position {
                // SAFETY: the kernel reads at most `len` bytes from `source`, which `window` proved to lie
                // in the mapping. It checks each page itself.
                Some(position) => unsafe { sys::pwrite(descriptor, source, len, position) },
                // SAFETY: as above.
                None => unsafe { libc::write(descriptor, source, len) },
            });
            match outcome {
                Ok(count) => return Ok(count.unsigned_abs()),
                Err(Errno::AGAIN) if position.is_none() => fs::wait_until_writable(&file)?,
                Err(errno) => return Err(errno),
            }
        }
    }

    /// `futex(FUTEX_WAIT, word, expected, timeout)` on the word at `offset`: sleeps while it has the value expected.
    ///
    /// # Panics
    /// If the word is not within the mapping, or not aligned.
    ///
    /// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html).
    #[doc(alias = "FUTEX_WAIT")]
    pub fn futex_wait(&self, offset: usize, expected: u32, timeout: Duration) -> Wake {
        futex::wait(self.window(offset, 4).cast_const().cast(), expected, timeout)
    }

    /// `futex(FUTEX_WAKE_OP)`: the kernel adds `number` to the word at `offset` at once and in one piece, then wakes one who sleeps there.
    ///
    /// No instruction of ours touches the word, so where the peer has taken the memory away this is an answer and no signal. The addition
    /// is ordered like an atomic one of the strictest kind.
    ///
    /// # Errors
    /// [`Faulted`] if the word's memory is gone.
    ///
    /// # Panics
    /// If the word is not within the mapping, or not aligned; or if the mapping is read-only.
    ///
    /// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html).
    #[doc(alias = "FUTEX_WAKE_OP")]
    pub fn futex_add(&self, offset: usize, number: i8) -> Result<(), Faulted> {
        self.futex_operation(offset, libc::FUTEX_OP_ADD, number)
    }

    /// As [`futex_add`](Mapping::futex_add), but stores `number` whatever the word is.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    #[doc(alias = "FUTEX_WAKE_OP")]
    pub fn futex_set(&self, offset: usize, number: i8) -> Result<(), Faulted> {
        self.futex_operation(offset, libc::FUTEX_OP_SET, number)
    }

    fn futex_operation(&self, offset: usize, operation: libc::c_int, number: i8) -> Result<(), Faulted> {
        assert!(!self.read_only, "a change of memory that is read-only");
        let word = self.window(offset, 4).cast::<u32>();
        assert!(word.is_aligned(), "a futex word is aligned");
        // Twelve bits, in which the kernel extends the sign.
        let number = i32::from(number) & 0xfff;
        // A second wake depends on the value before; "less than -2048" is as good as never, and costs an extra wake where it is true.
        let operation = operation << 28 | libc::FUTEX_OP_CMP_LT << 24 | number << 12 | 0x800;
        let sleepers_max: libc::c_int = 1;
        let further_sleepers_max: libc::c_long = 0;
        // SAFETY: the kernel changes the four bytes at `word`, which `window` proved to lie in the mapping; no reference to them exists,
        // and others change them too. It checks the page itself and answers EFAULT.
        sys::retry(|| unsafe {
            libc::syscall(
                libc::SYS_futex,
                word,
                libc::FUTEX_WAKE_OP,
                sleepers_max,
                further_sleepers_max,
                word,
                operation,
            )
        })
        .map(drop)
        .map_err(|_| Faulted)
    }

    /// The address of a range that must lie within the mapping.
    pub(crate) fn window(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.bytes),
            "{len} bytes at {offset} are not within a mapping of {} bytes",
            self.bytes
        );
        // SAFETY: offset <= bytes was asserted, so the result lies in the mapping or one past its end.
        unsafe { self.as_ptr().add(offset) }
    }
}

/// Memory of huge pages (SHM_HUGETLB) ends where its last one does, and the kernel, which does not tell how large they are, takes such memory as
/// a whole or not at all: EINVAL for an end within a page.
fn keep_from_children(start: NonNull<u8>, bytes: usize) -> Result<(), Errno> {
    let mut page_bytes = rustix::param::page_size();
    loop {
        let whole = bytes.checked_next_multiple_of(page_bytes).ok_or(Errno::INVAL)?;
        // SAFETY: the memory that the caller has just got, up to its end: of the ends that are tried, the first that is one of a page of this
        // memory is the end of its last page, since sizes of pages are powers of two and smaller ones divide larger ones. Before that the
        // kernel refuses at its first look, which is at this memory. DONTFORK changes nothing in this process.
        match unsafe { rustix::mm::madvise(start.as_ptr().cast(), whole, Advice::LinuxDontFork) } {
            Err(Errno::INVAL) if page_bytes < HUGE_PAGE_BYTES_MAX => page_bytes *= 2,
            outcome => return outcome,
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // Removing a valid range cannot fail but for the limit on mappings, and then a leak is all that can be done.
        let _ = self.give_back();
    }
}
