//! Waiting for several descriptors at once, and a descriptor that another thread can ring.
//!
//! ```
//! use std::{os::fd::AsFd, thread, time::Duration};
//! use shmeld_os::event::{EventCounter, poll};
//!
//! let (work, stop) = (EventCounter::new()?, EventCounter::new()?);
//! thread::scope(|scope| {
//!     scope.spawn(|| stop.signal());
//!     let ready = poll(&[work.as_fd(), stop.as_fd()], Some(Duration::from_secs(10)))?;
//!     assert_eq!(ready, [false, true]);
//!     Ok::<(), shmeld_os::Error>(())
//! })?;
//! stop.drain();
//! assert_eq!(poll(&[stop.as_fd()], Some(Duration::ZERO))?, [false]);
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};
use rustix::io::{Errno, retry_on_intr};

use crate::{Error, Result, clock};

/// A bell as a descriptor: any thread, and any signal handler's thread, rings it; [`poll`] hears it.
#[derive(Debug)]
pub struct EventCounter {
    descriptor: OwnedFd,
}

impl EventCounter {
    /// `eventfd(0, EFD_CLOEXEC|EFD_NONBLOCK)`: makes a silent bell.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) if there are no descriptors left.
    ///
    /// See [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).
    #[doc(alias = "eventfd")]
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let descriptor = eventfd(0, flags).map_err(|errno| Error::new("eventfd", "", errno))?;
        Ok(EventCounter { descriptor })
    }

    /// `write(fd, 1)`: rings. Many rings before the listener looks are one.
    pub fn signal(&self) {
        // The only possible error is EAGAIN: it has been rung 2^64 - 2 times and is still ringing.
        let _ = retry_on_intr(|| rustix::io::write(&self.descriptor, &1u64.to_ne_bytes()));
    }

    /// `read(fd)`: silences it. To be called before looking at what was announced, so that nothing that
    /// comes later is missed.
    pub fn drain(&self) {
        let mut count = [0; size_of::<u64>()];
        // The only possible error is EAGAIN: it was silent.
        let _ = retry_on_intr(|| rustix::io::read(&self.descriptor, &mut count));
    }
}

impl AsFd for EventCounter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// `poll(fds, timeout)`: waits until one of the descriptors can be read without waiting, or its other end
/// is gone. One answer for each descriptor, in order; all `false` when the time is up.
///
/// `None` waits for ever. Signals do not end the wait: announce them by an [`EventCounter`].
///
/// # Errors
/// Practically never; ENOMEM.
///
/// See [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
pub fn poll(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> Result<Vec<bool>> {
    let mut watched: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll_until(&mut watched, timeout).map_err(|errno| Error::new("poll", "", errno))?;
    Ok(watched.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// `poll(fd, POLLOUT, 0)`: whether a short write (for a pipe at most 4096 bytes) would not wait.
///
/// A descriptor that cannot be asked counts as writable: the write then says what is wrong.
///
/// See [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
pub fn is_writable(fd: impl AsFd) -> bool {
    let mut watched = [PollFd::new(&fd, PollFlags::OUT)];
    poll_until(&mut watched, Some(Duration::ZERO)).map_or(true, |ready| ready > 0)
}

/// `poll(fd, 0)`: waits until the other end of a descriptor is gone, such as the terminal that it led to. What can be read does not matter.
///
/// # Errors
/// Practically never; ENOMEM.
///
/// See [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
#[doc(alias = "POLLHUP")]
pub fn wait_for_hangup(fd: impl AsFd) -> Result<()> {
    let mut watched = [PollFd::new(&fd, PollFlags::empty())];
    poll_until(&mut watched, None).map_err(|errno| Error::new("poll", "", errno))?;
    Ok(())
}

/// Polls with a deadline of its own, so that signals cannot stretch the wait.
pub(crate) fn poll_until(watched: &mut [PollFd<'_>], timeout: Option<Duration>) -> Result<usize, Errno> {
    let deadline = clock::deadline_in(timeout);
    loop {
        let left = clock::left(deadline).map(to_timespec);
        match rustix::event::poll(watched, left.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => return outcome,
        }
    }
}

fn to_timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::process;

    #[test]
    fn a_rung_bell_is_heard_until_it_is_drained() {
        let bell = EventCounter::new().expect("eventfd");
        let hears = || poll(&[bell.as_fd()], Some(Duration::ZERO)).expect("poll")[0];
        assert!(!hears());
        bell.signal();
        bell.signal();
        assert!(hears());
        bell.drain();
        assert!(!hears());
        bell.drain();
    }

    #[test]
    fn a_closed_pipe_is_reported_for_the_right_descriptor() {
        let bell = EventCounter::new().expect("eventfd");
        let (reader, writer) = process::pipe().expect("pipe");
        drop(writer);
        let ready = poll(&[bell.as_fd(), reader.as_fd()], None).expect("poll");
        assert_eq!(ready, [false, true]);
    }

    #[test]
    fn a_full_pipe_is_not_writable_and_an_empty_one_is() {
        let (_reader, writer) = process::pipe().expect("pipe");
        assert!(is_writable(&writer));
        while is_writable(&writer) {
            crate::fs::write_all(&writer, &[0; 4096]).expect("room");
        }
    }

    #[test]
    fn a_bell_rung_by_another_thread_ends_the_wait() {
        let bell = EventCounter::new().expect("eventfd");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                bell.signal();
            });
            assert_eq!(
                poll(&[bell.as_fd()], Some(Duration::from_secs(20))).expect("poll"),
                [true]
            );
        });
    }

    #[test]
    fn the_time_out_is_kept_and_a_huge_one_is_accepted() {
        let start = Instant::now();
        assert_eq!(
            poll(&[], Some(Duration::from_millis(30))).expect("poll"),
            [] as [bool; 0]
        );
        assert!(start.elapsed() >= Duration::from_millis(30));
        let bell = EventCounter::new().expect("eventfd");
        bell.signal();
        assert_eq!(poll(&[bell.as_fd()], Some(Duration::MAX)).expect("poll"), [true]);
    }
}
