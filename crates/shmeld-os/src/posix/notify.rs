//! The one place of a queue from which a process is told that the first message came.
//!
//! `poll` on the queue is better in every way but one: a signal reaches a program that is busy.
#![allow(unsafe_code)] // rustix has no message queues

use std::mem;
use std::ptr;

use super::mqueue::MessageQueue;
use crate::{Result, sys};

impl MessageQueue {
    /// `mq_notify(queue, SIGEV_SIGNAL)`: asks for one signal when the empty queue gets a message and nobody
    /// is receiving. Only one process can have this, and each signal ends it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock) (EBUSY) if another process has it; EINVAL for
    /// a number that is no signal.
    ///
    /// See [mq_notify(3)](https://man7.org/linux/man-pages/man3/mq_notify.3.html).
    #[doc(alias = "mq_notify")]
    pub fn notify_by_signal(&self, signal: i32) -> Result<()> {
        self.notify(Some((libc::SIGEV_SIGNAL, signal)))
    }

    /// `mq_notify(queue, SIGEV_NONE)`: takes the one place for notifications without being notified, so
    /// that no other process can have it.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock) (EBUSY) if another process has it.
    ///
    /// See [mq_notify(3)](https://man7.org/linux/man-pages/man3/mq_notify.3.html).
    #[doc(alias = "SIGEV_NONE")]
    pub fn notify_nothing(&self) -> Result<()> {
        self.notify(Some((libc::SIGEV_NONE, 0)))
    }

    /// `mq_notify(queue, NULL)`: gives the place for notifications up. Not having it is fine.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [mq_notify(3)](https://man7.org/linux/man-pages/man3/mq_notify.3.html).
    #[doc(alias = "mq_notify")]
    pub fn cancel_notification(&self) -> Result<()> {
        self.notify(None)
    }

    fn notify(&self, how: Option<(libc::c_int, libc::c_int)>) -> Result<()> {
        // SAFETY: all bytes zero is a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        let pointer = match how {
            Some((notify, signal)) => {
                event.sigev_notify = notify;
                event.sigev_signo = signal;
                &raw const event
            }
            None => ptr::null(),
        };
        // SAFETY: `pointer` is null or valid; the queue is open. No thread is asked for, so nothing of
        // ours runs later.
        sys::retry(|| unsafe { mq_notify(self.raw(), pointer) })
            .map_err(|errno| self.fail("mq_notify", errno))?;
        Ok(())
    }
}

unsafe extern "C" {
    /// The libc crate declares it for glibc only; musl has the same.
    fn mq_notify(queue: libc::mqd_t, event: *const libc::sigevent) -> libc::c_int;
}
