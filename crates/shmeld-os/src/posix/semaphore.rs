//! POSIX named semaphores, for the image channel, whose peers use the C library's.
//!
//! The memory of a named semaphore can be written by everybody who may open it, and the C library
//! believes what it finds there. So these are for peers that are trusted to that degree; memory that a
//! hostile peer can write must never be operated by `sem_wait` or `sem_post`. The rings of this project use
//! futex words instead.
//!
//! Nor does a semaphore notice that a holder died: waits have deadlines, and their callers look around.
//!
//! ```
//! use std::{thread, time::{Duration, Instant}};
//! use shmeld_os::{ObjectName, posix::semaphore::NamedSemaphore};
//!
//! let name = ObjectName::new(&format!("/shmeld-example-semaphore-{}", std::process::id()))?;
//! let semaphore = NamedSemaphore::create_new(&name, 0o600, 0)?;
//! let another = NamedSemaphore::open(&name)?;
//! NamedSemaphore::unlink(&name)?; // it lives on while it is open
//!
//! let poster = thread::spawn(move || another.post());
//! semaphore.wait_until(Some(Instant::now() + Duration::from_secs(10)))?;
//! assert!(!semaphore.try_wait()?);
//! # poster.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // rustix has no semaphores

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::time::Instant;

use rustix::io::{Errno, retry_on_intr};

use super::shm;
use crate::fs::{FileKind, Stat, write_all_at};
use crate::posix::shm::SharedMemory;
use crate::{Error, ObjectName, Result, clock, explain, sys};

/// What the C library puts before a semaphore's name in the directory of shared memory.
#[cfg(not(target_env = "musl"))]
pub const FILE_PREFIX: &str = "sem.";
/// What the C library puts before a semaphore's name in the directory of shared memory.
#[cfg(target_env = "musl")]
pub const FILE_PREFIX: &str = "";

/// An open named semaphore. Closed on drop; its name stays until it is [unlinked](NamedSemaphore::unlink).
#[derive(Debug)]
pub struct NamedSemaphore {
    /// From `sem_open`, valid until `sem_close`.
    semaphore: NonNull<libc::sem_t>,
    name: ObjectName,
}

// SAFETY: a semaphore is made to be used by many threads at once; the pointer is to process-wide memory.
unsafe impl Send for NamedSemaphore {}
// SAFETY: as above; every method is one call of the C library that is safe in threads.
unsafe impl Sync for NamedSemaphore {}

impl NamedSemaphore {
    /// `sem_open(name, O_CREAT|O_EXCL, mode, value)`, made crash-safe: creates a semaphore that did not
    /// exist, with exactly `mode`.
    ///
    /// The C library would create a file of a random name, fill and link it; killed in between it leaves
    /// that file, and it applies the umask. So the file is made here, without a name until it is complete
    /// (`O_TMPFILE`, `sem_init`, `linkat`), and then opened with `sem_open`. To other programs it is a
    /// semaphore like any other.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists); EINVAL for a value above `SEM_VALUE_MAX`;
    /// [`NoSpace`](crate::ErrorKind::NoSpace).
    ///
    /// See [sem_open(3)](https://man7.org/linux/man-pages/man3/sem_open.3.html).
    #[doc(alias = "sem_open")]
    pub fn create_new(name: &ObjectName, mode: u32, value: u32) -> Result<Self> {
        let fail = |errno| Error::new("sem_open", name.to_string(), errno);
        let content = initial_content(value).map_err(fail)?;
        let file = SharedMemory::create_unnamed()?;
        write_all_at(&file, &content, 0).map_err(fail)?;
        file.set_mode(mode)?;
        shm::publish(file.as_fd(), &file_name(name)).map_err(fail)?;
        explain!(
            "sem_open(O_CREAT|O_EXCL)",
            name,
            format_args!("create a semaphore with the value {value}; it gets its name when it is complete"),
        );
        let made = Self::open_present(name);
        if made.is_err() {
            // Ours, new, and of no use to anybody.
            let _ = Self::unlink(name);
        }
        made
    }

    /// `sem_open(name, 0)`: opens a semaphore that exists.
    ///
    /// What has the name is looked at first: the C library would map an empty or short file too, and die
    /// of SIGBUS at the first use.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`PermissionDenied`](crate::ErrorKind::PermissionDenied);
    /// [`Invalid`](crate::ErrorKind::Invalid) if what has the name is not a semaphore.
    ///
    /// See [sem_open(3)](https://man7.org/linux/man-pages/man3/sem_open.3.html).
    #[doc(alias = "sem_open")]
    pub fn open(name: &ObjectName) -> Result<Self> {
        let fail = |errno| Error::new("sem_open", name.to_string(), errno);
        let stat = Self::stat_name(name).map_err(|error| fail(error.errno()))?;
        if stat.kind != FileKind::File || stat.bytes < size_of::<libc::sem_t>() as u64 {
            return Err(fail(Errno::INVAL));
        }
        let semaphore = Self::open_present(name)?;
        explain!("sem_open", name, "open a semaphore that somebody else made");
        Ok(semaphore)
    }

    fn open_present(name: &ObjectName) -> Result<Self> {
        let path = name.with_slash();
        loop {
            // SAFETY: `path` is a valid C string; without O_CREAT there are no further arguments.
            let semaphore = unsafe { libc::sem_open(path.as_ptr(), 0) };
            if semaphore != libc::SEM_FAILED
                && let Some(semaphore) = NonNull::new(semaphore)
            {
                return Ok(NamedSemaphore {
                    semaphore,
                    name: name.clone(),
                });
            }
            match sys::last_errno() {
                Errno::INTR => {}
                errno => return Err(Error::new("sem_open", name.to_string(), errno)),
            }
        }
    }

    /// `sem_unlink(name)`: removes a name. Those who have the semaphore open go on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`PermissionDenied`](crate::ErrorKind::PermissionDenied) for
    /// semaphores of others.
    ///
    /// See [sem_unlink(3)](https://man7.org/linux/man-pages/man3/sem_unlink.3.html).
    #[doc(alias = "sem_unlink")]
    pub fn unlink(name: &ObjectName) -> Result<()> {
        let path: CString = name.with_slash();
        // SAFETY: `path` is a valid C string for the call.
        sys::retry(|| unsafe { libc::sem_unlink(path.as_ptr()) })
            .map_err(|errno| Error::new("sem_unlink", name.to_string(), errno))?;
        explain!("sem_unlink", name, "remove the name of the semaphore");
        Ok(())
    }

    /// `lstat("/dev/shm/sem.name")`: what has that name now, without opening it. The inode is the only
    /// identity of a semaphore.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound).
    ///
    /// See [lstat(2)](https://man7.org/linux/man-pages/man2/lstat.2.html).
    #[doc(alias = "lstat")]
    pub fn stat_name(name: &ObjectName) -> Result<Stat> {
        let raw = retry_on_intr(|| rustix::fs::lstat(shm::path_of(&file_name(name))))
            .map_err(|errno| Error::new("lstat", name.to_string(), errno))?;
        Ok(raw.into())
    }

    /// The name it was opened by.
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    /// `sem_wait(semaphore)`: takes one unit, waiting for it for ever.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [sem_wait(3)](https://man7.org/linux/man-pages/man3/sem_wait.3.html).
    #[doc(alias = "sem_wait")]
    pub fn wait(&self) -> Result<()> {
        self.wait_until(None)
    }

    /// `sem_clockwait(semaphore, CLOCK_MONOTONIC, deadline)`: takes one unit, waiting for it until
    /// `deadline`. `None` waits for ever; a deadline in the past does not wait at all.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut) if no unit came in time.
    ///
    /// See [sem_clockwait(3)](https://man7.org/linux/man-pages/man3/sem_wait.3.html).
    #[doc(alias = "sem_clockwait")]
    #[doc(alias = "sem_timedwait")]
    pub fn wait_until(&self, deadline: Option<Instant>) -> Result<()> {
        loop {
            let Some(left) = clock::left(deadline) else {
                // SAFETY: the semaphore is open.
                let outcome = sys::retry(|| unsafe { libc::sem_wait(self.raw()) });
                return outcome.map(drop).map_err(|errno| self.fail("sem_wait", errno));
            };
            match wait_slice(self.raw(), left) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::TIMEDOUT) if !left.is_zero() => {}
                Err(errno) => return Err(self.fail("sem_timedwait", errno)),
            }
        }
    }

    /// `sem_trywait(semaphore)`: takes one unit if there is one; `false` if not.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [sem_trywait(3)](https://man7.org/linux/man-pages/man3/sem_wait.3.html).
    #[doc(alias = "sem_trywait")]
    pub fn try_wait(&self) -> Result<bool> {
        // SAFETY: the semaphore is open.
        match sys::retry(|| unsafe { libc::sem_trywait(self.raw()) }) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(self.fail("sem_trywait", errno)),
        }
    }

    /// `sem_post(semaphore)`: adds one unit, which wakes one waiter.
    ///
    /// # Errors
    /// EOVERFLOW at `SEM_VALUE_MAX`.
    ///
    /// See [sem_post(3)](https://man7.org/linux/man-pages/man3/sem_post.3.html).
    #[doc(alias = "sem_post")]
    pub fn post(&self) -> Result<()> {
        // SAFETY: the semaphore is open.
        sys::retry(|| unsafe { libc::sem_post(self.raw()) }).map_err(|errno| self.fail("sem_post", errno))?;
        Ok(())
    }

    /// `sem_getvalue(semaphore)`: how many units there are just now. Out of date when it is read.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [sem_getvalue(3)](https://man7.org/linux/man-pages/man3/sem_getvalue.3.html).
    #[doc(alias = "sem_getvalue")]
    pub fn value(&self) -> Result<i32> {
        let mut value = 0;
        // SAFETY: the semaphore is open; `value` is valid and exclusive.
        sys::retry(|| unsafe { libc::sem_getvalue(self.raw(), &raw mut value) })
            .map_err(|errno| self.fail("sem_getvalue", errno))?;
        Ok(value)
    }

    fn raw(&self) -> *mut libc::sem_t {
        self.semaphore.as_ptr()
    }

    fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.name.to_string(), errno)
    }
}

impl Drop for NamedSemaphore {
    fn drop(&mut self) {
        // SAFETY: from `sem_open`, closed here and nowhere else. The C library counts openings of the same
        // semaphore, so others in this process keep theirs.
        unsafe { libc::sem_close(self.raw()) };
    }
}

/// Waits once: until `left` has passed, or for a slice of it.
#[cfg(not(target_env = "musl"))]
fn wait_slice(semaphore: *mut libc::sem_t, left: std::time::Duration) -> Result<(), Errno> {
    unsafe extern "C" {
        /// Since glibc 2.30; the libc crate does not declare it.
        fn sem_clockwait(
            semaphore: *mut libc::sem_t,
            clock: libc::clockid_t,
            deadline: *const libc::timespec,
        ) -> libc::c_int;
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = std::time::Duration::try_from(now).unwrap_or_default();
    let deadline = clock::timespec(now.saturating_add(left));
    // SAFETY: the caller's semaphore is open; `deadline` is valid.
    sys::check(unsafe { sem_clockwait(semaphore, libc::CLOCK_MONOTONIC, &raw const deadline) })?;
    Ok(())
}

/// Waits once, under the wall clock: musl has nothing else. It waits for the difference to now, so a
/// clock that is set back does no harm.
#[cfg(target_env = "musl")]
fn wait_slice(semaphore: *mut libc::sem_t, left: std::time::Duration) -> Result<(), Errno> {
    let deadline = clock::slice_end(left);
    // SAFETY: the caller's semaphore is open; `deadline` is valid.
    sys::check(unsafe { libc::sem_timedwait(semaphore, &raw const deadline) })?;
    Ok(())
}

/// The bytes of a new semaphore, as this C library lays them out.
fn initial_content(value: u32) -> Result<[u8; size_of::<libc::sem_t>()], Errno> {
    const SHARED_BETWEEN_PROCESSES: libc::c_int = 1;
    let mut content = MaybeUninit::<[u8; size_of::<libc::sem_t>()]>::zeroed();
    // A private copy that is properly aligned; the bytes are moved out after `sem_init` filled them in.
    let mut semaphore = MaybeUninit::<libc::sem_t>::zeroed();
    // SAFETY: valid, aligned, exclusive memory of a `sem_t`.
    sys::check(unsafe { libc::sem_init(semaphore.as_mut_ptr(), SHARED_BETWEEN_PROCESSES, value) })?;
    // SAFETY: both have the size of a `sem_t`, and do not overlap.
    unsafe {
        semaphore
            .as_ptr()
            .cast::<u8>()
            .copy_to_nonoverlapping(content.as_mut_ptr().cast(), size_of::<libc::sem_t>())
    };
    // SAFETY: zeroed before, so every byte is initialised, also those that `sem_init` does not write.
    Ok(unsafe { content.assume_init() })
}

fn file_name(name: &ObjectName) -> String {
    format!("{FILE_PREFIX}{}", name.as_str())
}
