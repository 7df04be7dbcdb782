//! POSIX named semaphores whose memory strangers write: no instruction of this process touches it.
//!
//! Whoever may open a named semaphore may write its memory. libc's `sem_post` and `sem_wait` believe what they find there: a forged word
//! aborts the process or makes it hang, and a file that was made shorter ends it by SIGBUS. Here the count is read by `pread`, and changed
//! by the kernel, which answers instead of raising a signal (`FUTEX_WAKE_OP`). The layout is glibc's of 64-bit machines, so programs with
//! `sem_post`, `sem_wait` and `sem_timedwait` are served in both directions:
//! ```text
//! 0        4          8          12        32       value: units; waiters: how many sleep or are about to
//! | value  | waiters  | 128      | 0      |         128 ("shared") is written once and never read
//!
//! post      futex_add(value, 1): adds and wakes one, in one call
//! take      value = pread; if it is not 0: futex_set(value, 0)
//! wait      look often for a while; then futex_add(waiters, 1); futex_wait(value, 0); futex_add(waiters, -1); look again
//! ```
//! glibc changes both words by one 64-bit operation, and posts wake if it sees a waiter in the same. If our addition to `waiters` comes
//! first, its post sees it; if the post comes first, `futex_wait` finds a value other than 0 and does not sleep.
//!
//! It is for doorbells, of which at most one unit is under way: `take` takes all units there are, and looks and takes in two steps. Two who take
//! at the same moment may both get the one unit; there is never a debt. Whoever minds makes sure by other means that there is **one taker**.
//!
//! What a liar can do: cost time. A forged value looks like a unit that is none; a forged number of waiters makes us sleep to the end of
//! the slice. Musl and 32-bit machines have other layouts.
//!
//! ```
//! use shmeld_os::ObjectName;
//! use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
//! use shmeld_os::posix::semaphore::{FILE_PREFIX, NamedSemaphore};
//!
//! let name = ObjectName::new(&format!("/shmeld-example-bell-{}", std::process::id()))?;
//! let ours = KernelSemaphore::create_new(&name.between(FILE_PREFIX, ""), 0o600, 0)?;
//! let theirs = NamedSemaphore::open(&name)?; // as any program that uses the C library
//! NamedSemaphore::unlink(&name)?;
//!
//! theirs.post()?;
//! assert!(ours.try_take()?);
//! ours.post()?;
//! assert!(theirs.try_wait()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::fs::Stat;
use crate::futex::Wake;
use crate::mapping::Mapping;
use crate::posix::shm::SharedMemory;
use crate::{Errno, Error, ObjectName, Result, explain};

/// What stands before a semaphore's name in the directory of shared memory.
pub const FILE_PREFIX: &str = "sem.";
/// The length of a semaphore's file: glibc's `sizeof(sem_t)`.
pub const FILE_BYTES: usize = 32;
/// Where the bytes begin that glibc leaves alone.
pub const NOTE_OFFSET: usize = 16;
/// How many there are.
pub const NOTE_BYTES: usize = FILE_BYTES - NOTE_OFFSET;
const VALUE_OFFSET: usize = 0;
const WAITERS_OFFSET: usize = 4;
/// glibc's `FUTEX_SHARED`, which its processes look for at byte 8.
const SHARED: u32 = 128;
/// So many wakes without a unit, and we take a nap before each further one: somebody plays tricks.
const FRUITLESS_WAKES_MAX: u32 = 64;
/// Length of that nap.
const NAP: Duration = Duration::from_millis(1);

/// An open named semaphore; see the module.
#[derive(Debug)]
pub struct KernelSemaphore {
    file: SharedMemory,
    mapping: Mapping,
}

impl KernelSemaphore {
    /// `sem_open(name, O_CREAT|O_EXCL, mode, value)`: creates a semaphore that did not exist, with exactly `mode`. It gets its name when it
    /// is complete: killed at any step, this leaves no name.
    ///
    /// `file_name` is that of the file: [`FILE_PREFIX`] and the name that C programs use.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists), [`NoSpace`](crate::ErrorKind::NoSpace).
    ///
    /// See [sem_open(3)](https://man7.org/linux/man-pages/man3/sem_open.3.html).
    #[doc(alias = "sem_open")]
    pub fn create_new(file_name: &ObjectName, mode: u32, value: u32) -> Result<Self> {
        Self::create_noted(file_name, mode, value, [0; NOTE_BYTES])
    }

    /// As [`create_new`](KernelSemaphore::create_new), with something in the bytes from [`NOTE_OFFSET`] on, which no `sem_` function uses.
    ///
    /// # Errors
    /// As there.
    pub fn create_noted(
        file_name: &ObjectName,
        mode: u32,
        value: u32,
        note: [u8; NOTE_BYTES],
    ) -> Result<Self> {
        let file = SharedMemory::create_unnamed()?;
        let mut content = [0; FILE_BYTES];
        content[..4].copy_from_slice(&value.to_le_bytes());
        content[8..12].copy_from_slice(&SHARED.to_le_bytes());
        content[NOTE_OFFSET..].copy_from_slice(&note);
        file.write_at(&content, 0)?;
        file.set_mode(mode)?;
        let semaphore = Self::map(file, file_name)?;
        semaphore.file.publish(file_name)?;
        explain!(
            "sem_open(O_CREAT|O_EXCL)",
            file_name,
            format_args!("a semaphore with {value} units: the two steps above made it")
        );
        Ok(semaphore)
    }

    /// `sem_open(name, 0)`: opens a semaphore that exists. Its owner is for the caller to judge.
    ///
    /// # Errors
    /// As for [`SharedMemory::open`]; [`Invalid`](crate::ErrorKind::Invalid) if it is shorter than a semaphore.
    ///
    /// See [sem_open(3)](https://man7.org/linux/man-pages/man3/sem_open.3.html).
    #[doc(alias = "sem_open")]
    pub fn open(file_name: &ObjectName) -> Result<Self> {
        let file = SharedMemory::open(file_name, true)?;
        if file.stat()?.bytes < FILE_BYTES as u64 {
            return Err(Error::new("sem_open", file_name.to_string(), Errno::INVAL));
        }
        Self::map(file, file_name)
    }

    fn map(file: SharedMemory, file_name: &ObjectName) -> Result<Self> {
        // The addresses are for the kernel's futex calls only.
        let mapping = Mapping::new(&file, FILE_BYTES, &file_name.to_string())?;
        Ok(Self { file, mapping })
    }

    /// `fstat(fd)`: identity, owner, number of names.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [fstat(2)](https://man7.org/linux/man-pages/man2/fstat.2.html).
    #[doc(alias = "fstat")]
    pub fn stat(&self) -> Result<Stat> {
        self.file.stat()
    }

    /// `sem_getvalue(semaphore)`: how many units there are just now, as the memory says.
    ///
    /// # Errors
    /// EFAULT if the file was made shorter.
    ///
    /// See [sem_getvalue(3)](https://man7.org/linux/man-pages/man3/sem_getvalue.3.html).
    #[doc(alias = "sem_getvalue")]
    pub fn value(&self) -> Result<u32> {
        let mut bytes = [0; 4];
        if self.file.read_at(&mut bytes, VALUE_OFFSET as u64)? < bytes.len() {
            return Err(self.vanished("sem_getvalue"));
        }
        Ok(u32::from_le_bytes(bytes))
    }

    /// `sem_post(semaphore)`: adds one unit, which wakes one waiter.
    ///
    /// # Errors
    /// EFAULT if the file was made shorter.
    ///
    /// See [sem_post(3)](https://man7.org/linux/man-pages/man3/sem_post.3.html).
    #[doc(alias = "sem_post")]
    pub fn post(&self) -> Result<()> {
        self.mapping
            .futex_add(VALUE_OFFSET, 1)
            .map_err(|_| self.vanished("sem_post"))
    }

    /// `sem_trywait(semaphore)`: takes what units there are; `false` if there is none. See the module for who may do this.
    ///
    /// # Errors
    /// EFAULT if the file was made shorter.
    ///
    /// See [sem_trywait(3)](https://man7.org/linux/man-pages/man3/sem_wait.3.html).
    #[doc(alias = "sem_trywait")]
    pub fn try_take(&self) -> Result<bool> {
        if self.value()? == 0 {
            return Ok(false);
        }
        // The kernel orders this store strictly: what the poster wrote before its unit is seen from here on.
        let taken = self.mapping.futex_set(VALUE_OFFSET, 0);
        taken.map_err(|_| self.vanished("sem_trywait"))?;
        Ok(true)
    }

    /// `sem_clockwait(semaphore, CLOCK_MONOTONIC, end)`: takes what units there are, waiting for one until `end`; `false` if none came, or a signal did.
    /// Looks for it again and again during `spin` before it sleeps.
    ///
    /// # Errors
    /// EFAULT if the file was made shorter.
    ///
    /// See [sem_clockwait(3)](https://man7.org/linux/man-pages/man3/sem_wait.3.html).
    #[doc(alias = "sem_clockwait")]
    #[doc(alias = "sem_timedwait")]
    pub fn take_until(&self, end: Instant, spin: Duration) -> Result<bool> {
        if self.try_take()? {
            return Ok(true);
        }
        let start = Instant::now();
        while start.elapsed() < spin {
            if self.try_take()? {
                return Ok(true);
            }
        }
        let fail = |_| self.vanished("sem_timedwait");
        self.mapping.futex_add(WAITERS_OFFSET, 1).map_err(fail)?;
        let outcome = self.sleep_until(end);
        self.mapping.futex_add(WAITERS_OFFSET, -1).map_err(fail)?;
        outcome
    }

    fn sleep_until(&self, end: Instant) -> Result<bool> {
        let mut fruitless_wakes = 0;
        loop {
            let rest = end.saturating_duration_since(Instant::now());
            let wake = self.mapping.futex_wait(VALUE_OFFSET, 0, rest);
            if wake == Wake::Fault {
                return Err(self.vanished("sem_timedwait"));
            }
            if self.try_take()? {
                return Ok(true);
            }
            if rest.is_zero() || matches!(wake, Wake::TimedOut | Wake::Interrupted) {
                return Ok(false);
            }
            fruitless_wakes += 1;
            if fruitless_wakes >= FRUITLESS_WAKES_MAX {
                std::thread::sleep(NAP);
            }
        }
    }

    fn vanished(&self, operation: &'static str) -> Error {
        Error::new(operation, self.mapping.label(), Errno::FAULT)
    }
}

impl AsFd for KernelSemaphore {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
