//! Sleeping on a word in shared memory, and waking who sleeps there.
//!
//! The kernel checks the address itself: a word whose page is gone gives [`Wake::Fault`] or [`Faulted`],
//! never a signal. Nothing here reads or writes the word; so these calls are safe with any address.
//!
//! Not here: the loop around a wait. Every return is only a reason to look again.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
//! use std::{thread, time::Duration};
//! use shmeld_os::futex::{self, Wake};
//!
//! let word = AtomicU32::new(0); // in earnest a word of a region: see `Mapping::futex_wait`
//! thread::scope(|scope| {
//!     scope.spawn(|| {
//!         word.store(1, SeqCst);
//!         futex::wake(word.as_ptr(), 1)
//!     });
//!     while word.load(SeqCst) == 0 {
//!         futex::wait(word.as_ptr(), 0, Duration::from_secs(1));
//!     }
//! });
//! assert_eq!(futex::wait(word.as_ptr(), 0, Duration::ZERO), Wake::ValueChanged);
//! ```
#![allow(unsafe_code)] // rustix wants a reference to the word, which shared memory must never have

use std::ptr;
use std::time::Duration;

use rustix::io::Errno;

use crate::sys;

/// Why a [`wait`] ended. None of them says that the awaited thing has happened: look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// Somebody called [`wake`], or the kernel woke for no reason.
    Woken,
    /// The word was not as expected: there was no wait.
    ValueChanged,
    /// The time is up.
    TimedOut,
    /// A signal came. Not retried here: the caller's loop has the deadline.
    Interrupted,
    /// The word is not in memory that exists. A peer took the page away.
    Fault,
}

/// The word of a [`wake`] is not in memory that exists. A peer took the page away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the futex word is not in memory that exists")]
pub struct Faulted;

/// The kernel's own `struct timespec` of this call: two C longs, on 32-bit machines too.
#[repr(C)]
struct KernelTimespec {
    seconds: libc::c_long,
    nanoseconds: libc::c_long,
}

/// `futex(word, FUTEX_WAIT, expected, timeout)`: sleeps until woken while the word holds `expected`, at most
/// `timeout` of monotonic time.
///
/// Works across processes, and from a read-only mapping too.
///
/// # Panics
/// If `word` is not aligned to four bytes: that is our own mistake, no peer can cause it.
///
/// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html).
#[doc(alias = "FUTEX_WAIT")]
#[allow(clippy::not_unsafe_ptr_arg_deref)] // only the kernel dereferences it, and checks it
pub fn wait(word: *const u32, expected: u32, timeout: Duration) -> Wake {
    assert!(word.is_aligned(), "a futex word is aligned");
    let timeout = KernelTimespec {
        seconds: libc::c_long::try_from(timeout.as_secs()).unwrap_or(libc::c_long::MAX),
        nanoseconds: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: `timeout` is valid for the call. `word` need not be: the kernel accesses it with its own
    // checked primitives and answers EFAULT. The call changes no memory of this process.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word,
            libc::FUTEX_WAIT,
            expected,
            &raw const timeout,
        )
    };
    match sys::check(outcome) {
        Ok(_) => Wake::Woken,
        Err(Errno::AGAIN) => Wake::ValueChanged,
        Err(Errno::TIMEDOUT) => Wake::TimedOut,
        Err(Errno::INTR) => Wake::Interrupted,
        // EFAULT; the other documented errors need another operation or an unaligned word.
        Err(_) => Wake::Fault,
    }
}

/// `futex(word, FUTEX_WAKE, count)`: wakes up to `count` sleepers; returns how many.
///
/// # Errors
/// [`Faulted`] if the page of the word is gone.
///
/// # Panics
/// If `word` is not aligned to four bytes.
///
/// See [futex(2)](https://man7.org/linux/man-pages/man2/futex.2.html).
#[doc(alias = "FUTEX_WAKE")]
#[allow(clippy::not_unsafe_ptr_arg_deref)] // only the kernel dereferences it, and checks it
pub fn wake(word: *const u32, count: u32) -> Result<u32, Faulted> {
    assert!(word.is_aligned(), "a futex word is aligned");
    let count = libc::c_int::try_from(count).unwrap_or(libc::c_int::MAX);
    let no_timeout = ptr::null::<KernelTimespec>();
    // Linux does not interrupt this; whoever emulates it may, and no peer is to be blamed for that.
    // SAFETY: as in `wait`; the kernel does not even read the word, it only looks up its page.
    sys::retry(|| unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, count, no_timeout) })
        .ok()
        .and_then(|woken| u32::try_from(woken).ok())
        .ok_or(Faulted)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_changed_word_does_not_wait_and_an_unchanged_one_times_out() {
        let word = AtomicU32::new(7);
        assert_eq!(
            wait(word.as_ptr(), 8, Duration::from_secs(20)),
            Wake::ValueChanged
        );
        let start = Instant::now();
        assert_eq!(wait(word.as_ptr(), 7, Duration::from_millis(20)), Wake::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(wait(word.as_ptr(), 7, Duration::ZERO), Wake::TimedOut);
    }

    #[test]
    fn a_sleeper_is_woken_and_counted() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while word.load(Ordering::Acquire) == 0 {
                    wait(word.as_ptr(), 0, Duration::from_secs(20));
                }
            });
            while wake(word.as_ptr(), 1) == Ok(0) {
                std::thread::yield_now();
            }
            word.store(1, Ordering::Release);
            assert!(wake(word.as_ptr(), u32::MAX).is_ok());
            assert!(sleeper.join().is_ok());
        });
    }

    #[test]
    fn an_address_without_memory_is_an_answer_not_a_signal() {
        for address in [0usize, 4096, usize::MAX - 3] {
            let word = ptr::without_provenance(address);
            assert_eq!(
                wait(word, 0, Duration::from_millis(1)),
                Wake::Fault,
                "{address:#x}"
            );
            assert_eq!(wake(word, 1), Err(Faulted), "{address:#x}");
        }
    }
}
