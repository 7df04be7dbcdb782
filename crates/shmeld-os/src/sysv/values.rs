//! The values of the semaphores of a set, one by one and all at once.
#![allow(unsafe_code)] // semctl(2)

use rustix::io::Errno;

use super::semaphore::SemaphoreSet;
use crate::{Result, explain, sys};

/// No set has so many semaphores, whatever kernel.sem is set to: the kernel keeps at least 32 bytes for each, and all of a set in less than
/// 2 GiB (`sem_alloc`).
const IN_SET_MAX: usize = 1 << 26;

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
    /// As for [`SemaphoreSet::value`]; EIDRM also if another set has the number since; ENOMEM without 128 MiB of address space.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "GETALL")]
    pub fn values(&self) -> Result<Vec<u16>> {
        let fail = |errno| self.fail("semctl(GETALL)", errno);
        let semaphores = self.stat()?.semaphores;
        // Address space only: memory comes for what is written.
        let mut values: Vec<u16> = Vec::new();
        values
            .try_reserve_exact(IN_SET_MAX)
            .map_err(|_| fail(Errno::NOMEM))?;
        let count = usize::try_from(semaphores).unwrap_or(IN_SET_MAX);
        values.resize(count.min(IN_SET_MAX), 0);
        // SAFETY: GETALL writes one 16-bit number for each semaphore of the set that has this number now. That may be another one than `stat`
        // saw, and larger; but no set has more semaphores than there is room for.
        sys::check(unsafe { libc::semctl(self.id(), 0, libc::GETALL, values.as_mut_ptr()) }).map_err(fail)?;
        if self.stat()?.semaphores != semaphores {
            return Err(fail(Errno::IDRM));
        }
        Ok(values.as_slice().to_vec())
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
    /// ERANGE beyond [`VALUE_MAX`]; else as for [`SemaphoreSet::value`].
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
