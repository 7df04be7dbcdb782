//! The convention of the C library, translated once: -1 and a thread-local error number.
#![allow(unsafe_code)] // the error number is reached through a pointer

use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::io::Errno;

/// The reason of the last refused C call of this thread.
pub(crate) fn last_errno() -> Errno {
    // SAFETY: the C library returns a pointer to this thread's own error number, valid while it lives.
    let number = unsafe { libc::__errno_location() };
    // SAFETY: as above; only this thread accesses it.
    match unsafe { *number } {
        // A function of the C library that fails without saying why.
        0 => Errno::IO,
        number => Errno::from_raw_os_error(number),
    }
}

/// Turns -1 into the reason.
pub(crate) fn check<T: Copy + PartialEq + From<i8>>(outcome: T) -> Result<T, Errno> {
    if outcome == T::from(-1i8) {
        Err(last_errno())
    } else {
        Ok(outcome)
    }
}

/// Turns -1 into the reason, and repeats the call when a signal interrupted it.
pub(crate) fn retry<T: Copy + PartialEq + From<i8>>(mut call: impl FnMut() -> T) -> Result<T, Errno> {
    loop {
        match check(call()) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

/// `close(fd)`, with what it says. The descriptor is gone in either case.
pub(crate) fn close(descriptor: OwnedFd) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and nobody else's from here on.
    check(unsafe { libc::close(descriptor.into_raw_fd()) }).map(drop)
}

// The calls with 64-bit file offsets: glibc has them under their own names on 32-bit machines, musl has
// no others.
#[cfg(target_env = "musl")]
pub(crate) use libc::{off_t as Offset, pread, pwrite};
#[cfg(not(target_env = "musl"))]
pub(crate) use libc::{off64_t as Offset, pread64 as pread, pwrite64 as pwrite};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_without_a_reason_is_no_panic() {
        // SAFETY: a pointer to this thread's own error number.
        let number = unsafe { libc::__errno_location() };
        // SAFETY: as above; only this thread accesses it.
        unsafe { *number = 0 };
        assert_eq!(check(-1), Err(Errno::IO));
    }
}
