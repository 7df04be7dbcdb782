//! The values of the semaphores of a set, one by one and all at once.
#![allow(unsafe_code)] // semctl(2), and memory that ends before what nobody may write

use std::ffi::c_void;
use std::{ptr, slice};

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::semaphore::SemaphoreSet;
use crate::{Result, explain, sys};

impl SemaphoreSet {
    /// `semctl(id, index, GETVAL)`.
    ///
    /// # Errors
    /// EINVAL for an index beyond the set or a set that is gone; EIDRM; EACCES.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "GETVAL")]
    pub fn value(&self, index: u16) -> Result<u16> {
        self.ask("semctl(GETVAL)", index, libc::GETVAL)
            .map(|value| value as u16)
    }

    /// `semctl(id, GETALL)`: all values at one moment.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::value`]; EIDRM also if another set has the number since; ENOMEM.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "GETALL")]
    pub fn values(&self) -> Result<Vec<u16>> {
        let fail = |errno| self.fail("semctl(GETALL)", errno);
        let semaphores = self.stat()?.semaphores;
        let count = usize::try_from(semaphores).map_err(|_| fail(Errno::NOMEM))?;
        let room = Room::new(count).map_err(fail)?;
        // SAFETY: GETALL writes one 16-bit number for each semaphore of the set that has this number now. That may be another one than `stat`
        // saw, and larger; then it ends with EFAULT where the room does.
        let outcome = sys::check(unsafe { libc::semctl(self.id(), 0, libc::GETALL, room.start) });
        outcome.map_err(|errno| fail(if errno == Errno::FAULT { Errno::IDRM } else { errno }))?;
        if self.stat()?.semaphores != semaphores {
            return Err(fail(Errno::IDRM));
        }
        // SAFETY: the room has so many numbers, zeros until the call; they are this process's own, and nobody writes them any more.
        Ok(unsafe { slice::from_raw_parts(room.start.cast::<u16>(), count) }.to_vec())
    }

    /// `semctl(id, index, GETPID)`: the process that operated on it last; 0 if none did, or it is in a namespace we do not see.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::value`].
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "GETPID")]
    pub fn last_pid(&self, index: u16) -> Result<u32> {
        self.ask("semctl(GETPID)", index, libc::GETPID)
            .map(libc::c_int::unsigned_abs)
    }

    /// `semctl(id, index, GETNCNT)` and `semctl(id, index, GETZCNT)`: how many wait for more, and how many for zero.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::value`].
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "GETNCNT")]
    #[doc(alias = "GETZCNT")]
    pub fn waiting(&self, index: u16) -> Result<(u32, u32)> {
        let for_more = self.ask("semctl(GETNCNT)", index, libc::GETNCNT)?;
        let for_zero = self.ask("semctl(GETZCNT)", index, libc::GETZCNT)?;
        Ok((for_more.unsigned_abs(), for_zero.unsigned_abs()))
    }

    /// `semctl(id, index, SETVAL, value)`: sets a value, and makes *every* process forget what it would undo on this semaphore.
    ///
    /// # Errors
    /// ERANGE beyond [`VALUE_MAX`](super::semaphore::VALUE_MAX); else as for [`SemaphoreSet::value`].
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "SETVAL")]
    pub fn set_value(&self, index: u16, value: u16) -> Result<()> {
        // SAFETY: SETVAL takes a number.
        sys::check(unsafe { libc::semctl(self.id(), index.into(), libc::SETVAL, libc::c_int::from(value)) })
            .map_err(|errno| self.fail("semctl(SETVAL)", errno))?;
        explain!(
            "semctl(SETVAL)",
            self.label(),
            format_args!("semaphore {index} becomes {value}")
        );
        Ok(())
    }

    fn ask(&self, operation: &'static str, index: u16, command: libc::c_int) -> Result<libc::c_int> {
        // SAFETY: these commands take no further argument.
        sys::check(unsafe { libc::semctl(self.id(), index.into(), command) })
            .map_err(|errno| self.fail(operation, errno))
    }
}

/// Memory for values that ends with a page which nobody may write: a copy of too many ends there, and overwrites nothing.
struct Room {
    start: *mut c_void,
    /// With that page.
    bytes: usize,
}

impl Room {
    fn new(values: usize) -> Result<Self, Errno> {
        let page_bytes = rustix::param::page_size();
        let writable = values
            .checked_mul(size_of::<u16>())
            .and_then(|bytes| bytes.checked_next_multiple_of(page_bytes))
            .ok_or(Errno::NOMEM)?;
        let bytes = writable.checked_add(page_bytes).ok_or(Errno::NOMEM)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: no address is asked for, so no memory in use is affected.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), bytes, protection, MapFlags::PRIVATE) }?;
        let room = Self { start, bytes };
        // SAFETY: a page before the end of what was mapped.
        let end = unsafe { start.byte_add(writable) };
        // SAFETY: the last page of what has just come, of which nobody else knows.
        unsafe { rustix::mm::mprotect(end, page_bytes, MprotectFlags::empty()) }?;
        Ok(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` made; what was in it has been copied.
        let _ = unsafe { rustix::mm::munmap(self.start, self.bytes) };
    }
}
