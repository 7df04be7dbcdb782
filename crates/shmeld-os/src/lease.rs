//! Leases: kernel locks that die with their holder.
//!
//! An open-file-description (OFD) lock is held while its holder is stopped, released when it dies (even
//! before it is reaped), and seen across PID namespaces. So a taken lease proves life, and a free one
//! death, without heartbeats and without pids.
//!
//! The lock belongs to the open description: every duplicate and every forked child's copy of the
//! descriptor holds it too, and a mapping made from it keeps it. A holder therefore opens a description
//! of its own, close-on-exec, keeps it in a [`Mapping`](crate::mapping::Mapping) that forks do not
//! inherit, and closes the descriptor.
//!
//! A read lock needs a descriptor opened for reading, a write lock one opened for writing: this is how a
//! lease becomes something that others cannot fake. Not here: waiting for a lease, and what one means.
//!
//! ```
//! use shmeld_os::{ObjectName, lease::{self, Kind, Range}, posix::shm::SharedMemory};
//!
//! let name = ObjectName::new(&format!("/shmeld-lease-{}", std::process::id()))?;
//! let holder = SharedMemory::create_new(&name, 0o600)?;
//! let observer = SharedMemory::open(&name, false)?;
//! SharedMemory::unlink(&name)?;
//!
//! assert!(lease::try_take(&holder, Range::byte(0), Kind::Write, "the example")?);
//! let alive = lease::probe(&observer, Range::byte(0), Kind::Read, "the example")?;
//! assert_eq!(alive, Some(Kind::Write));
//!
//! drop(holder); // as its death would
//! let alive = lease::probe(&observer, Range::byte(0), Kind::Read, "the example")?;
//! assert_eq!(alive, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // the OFD commands of fcntl(2) have no safe wrapper in rustix

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::{Error, Result, sys};

/// The two kinds of lock. Many may hold a read lock at once; a write lock excludes all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `F_RDLCK`: needs a descriptor opened for reading.
    Read,
    /// `F_WRLCK`: needs a descriptor opened for writing.
    Write,
}

impl Kind {
    fn as_raw(self) -> libc::c_int {
        match self {
            Kind::Read => libc::F_RDLCK,
            Kind::Write => libc::F_WRLCK,
        }
    }
}

/// Which bytes a lock covers. They need not exist: a lock is a note about a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The number of bytes; 0 means up to the end of all positions.
    pub len: u64,
}

impl Range {
    /// Every byte there is or will be.
    pub const WHOLE: Range = Range { start: 0, len: 0 };

    /// One byte.
    pub const fn byte(position: u64) -> Range {
        Range {
            start: position,
            len: 1,
        }
    }
}

/// `fcntl(fd, F_OFD_SETLK, …)`: takes a lock if nobody holds a conflicting one, without waiting; `false`
/// means that somebody does. `object` is for messages. The caller narrates it: it knows what the lease is for.
///
/// # Errors
/// EBADF if the descriptor is not open for what the kind needs.
///
/// See [fcntl_locking(2)](https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html).
#[doc(alias = "F_OFD_SETLK")]
pub fn try_take(fd: impl AsFd, range: Range, kind: Kind, object: &str) -> Result<bool> {
    match lock_call(fd.as_fd(), libc::F_OFD_SETLK, kind.as_raw(), range) {
        Ok(_) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(errno) => Err(Error::new("fcntl(F_OFD_SETLK)", object, errno)),
    }
}

/// `fcntl(fd, F_OFD_SETLK, F_UNLCK)`: gives up what this open description holds of a range. Nothing held
/// is fine.
///
/// # Errors
/// Practically never.
///
/// See [fcntl_locking(2)](https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html).
#[doc(alias = "F_UNLCK")]
pub fn release(fd: impl AsFd, range: Range, object: &str) -> Result<()> {
    match lock_call(fd.as_fd(), libc::F_OFD_SETLK, libc::F_UNLCK, range) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::new("fcntl(F_OFD_SETLK)", object, errno)),
    }
}

/// `fcntl(fd, F_OFD_GETLK, …)`: the kind of a lock that would stand in the way of taking one of `kind`, or
/// `None`.
///
/// Asking as a reader reports write locks only, asking as a writer reports both. Locks of the asking open
/// description itself are never reported, so a holder probes through a second one. Any descriptor may
/// ask, whatever it is open for.
///
/// # Errors
/// Practically never.
///
/// See [fcntl_locking(2)](https://man7.org/linux/man-pages/man2/F_OFD_GETLK.2const.html).
#[doc(alias = "F_OFD_GETLK")]
pub fn probe(fd: impl AsFd, range: Range, kind: Kind, object: &str) -> Result<Option<Kind>> {
    Ok(find(fd, range, kind, object)?.map(|(kind, _)| kind))
}

/// As [`probe`], and says where that lock begins too: one that was taken at a place of its holder's own choice tells this holder from the
/// next one.
///
/// # Errors
/// Practically never.
///
/// See [fcntl_locking(2)](https://man7.org/linux/man-pages/man2/F_OFD_GETLK.2const.html).
#[doc(alias = "F_OFD_GETLK")]
pub fn find(fd: impl AsFd, range: Range, kind: Kind, object: &str) -> Result<Option<(Kind, u64)>> {
    let found = lock_call(fd.as_fd(), libc::F_OFD_GETLK, kind.as_raw(), range)
        .map_err(|errno| Error::new("fcntl(F_OFD_GETLK)", object, errno))?;
    let start = u64::try_from(found.l_start).unwrap_or_default();
    Ok(match found.l_type.into() {
        libc::F_UNLCK => None,
        kind if kind == Kind::Read.as_raw() => Some((Kind::Read, start)),
        _ => Some((Kind::Write, start)),
    })
}

/// `fcntl(fd, F_SETLEASE, F_WRLCK)`: does something to a file that nobody else has open or mapped, anywhere on this machine, and that nobody
/// can open meanwhile; `None` if somebody has it. Whoever opens it in that moment waits, or hears EAGAIN if it does not want to.
///
/// This is no lease as above, but the one of the kernel: it is given to the only user of a file, whatever namespaces others are in.
///
/// # Errors
/// EACCES for a file of another user without `CAP_LEASE`; EINVAL where the file system has no leases.
///
/// See [F_SETLEASE(2const)](https://man7.org/linux/man-pages/man2/F_SETLEASE.2const.html).
#[doc(alias = "F_SETLEASE")]
pub fn while_alone<T>(fd: impl AsFd, object: &str, act: impl FnOnce() -> T) -> Result<Option<T>> {
    /// Not in the libc crate for glibc.
    const F_SETSIG: libc::c_int = 10;
    let fail = |errno| Error::new("fcntl(F_SETLEASE)", object, errno);
    let raw = fd.as_fd().as_raw_fd();
    // Who opens the file makes the kernel send a signal. By default SIGIO, which ends a process; this one does nothing.
    // SAFETY: takes a number; the descriptor is borrowed, so it is open.
    sys::retry(|| unsafe { libc::fcntl(raw, F_SETSIG, libc::SIGURG) }).map_err(fail)?;
    // SAFETY: as above.
    match sys::retry(|| unsafe { libc::fcntl(raw, libc::F_SETLEASE, libc::F_WRLCK) }) {
        Ok(_) => {}
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(fail(errno)),
    }
    let outcome = act();
    // SAFETY: as above.
    sys::retry(|| unsafe { libc::fcntl(raw, libc::F_SETLEASE, libc::F_UNLCK) }).map_err(fail)?;
    Ok(Some(outcome))
}

/// One lock call; returns what the kernel left in the structure.
fn lock_call(
    fd: BorrowedFd<'_>,
    command: libc::c_int,
    kind: libc::c_int,
    range: Range,
) -> Result<libc::flock, Errno> {
    let invalid = |_| Errno::OVERFLOW;
    // SAFETY: all bytes zero is a valid `flock`: it consists of integers. l_pid must be zero for OFD locks.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(kind).map_err(invalid)?;
    lock.l_whence = libc::c_short::try_from(libc::SEEK_SET).map_err(invalid)?;
    lock.l_start = libc::off_t::try_from(range.start).map_err(invalid)?;
    lock.l_len = libc::off_t::try_from(range.len).map_err(invalid)?;
    sys::retry(|| {
        // SAFETY: the three commands used here read and write one `flock` through the pointer, which is
        // valid and exclusive for the call; the descriptor is borrowed, so it is open.
        unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) }
    })?;
    Ok(lock)
}
