//! POSIX message queues: short messages, kept in order by the kernel, from anybody who may write.
//!
//! On Linux a queue is a file: it can be polled, locked, `fstat`ed and `fchmod`ed. Three things surprise:
//! the umask narrows the mode of `mq_open`, so the mode is set again afterwards; the sender chooses the
//! priority, so a priority means nothing; and time-outs are wall-clock times, which [`send`] and [`receive`]
//! hide behind monotonic deadlines.
//!
//! A sender blocks in the kernel rather than polling: against others that flood a queue a blocked sender is
//! served in turn, a polling one starves. A receiver polls, which costs it nothing and makes it immune to
//! a wall clock that is set back.
//!
//! [`send`]: MessageQueue::send
//! [`receive`]: MessageQueue::receive
//!
//! ```
//! use shmeld_os::{ObjectName, posix::mqueue::MessageQueue};
//!
//! let name = ObjectName::new(&format!("/shmeld-example-{}", std::process::id()))?;
//! let queue = MessageQueue::create_new(&name, 10, 64, 0o600)?;
//! MessageQueue::unlink(&name)?; // it lives on while it is open
//! queue.send(b"hello", 0, None)?;
//! let mut buffer = [0; 64];
//! assert_eq!(queue.receive(&mut buffer, None)?, (5, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // rustix has no message queues

use std::ffi::CStr;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Gid, Uid};

use crate::fs::Stat;
use crate::{Error, ObjectName, Result, clock, event, explain, sys};

/// The highest priority of a message (`MQ_PRIO_MAX - 1`).
pub const PRIORITY_MAX: u32 = 32767;

/// What a queue is opened for. The mode of the queue decides whether it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `O_WRONLY`.
    Send,
    /// `O_RDONLY`.
    Receive,
    /// `O_RDWR`.
    Both,
}

/// `struct mq_attr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// How many messages fit; fixed at creation.
    pub messages_max: usize,
    /// How many bytes a message may have; fixed at creation.
    pub message_bytes_max: usize,
    /// How many messages wait just now.
    pub messages: usize,
    /// Whether [`MessageQueue::send`] and [`MessageQueue::receive`] through this description refuse to wait.
    pub nonblocking: bool,
}

/// An open message queue. Closed on drop; its name stays until it is [unlinked](MessageQueue::unlink).
#[derive(Debug)]
pub struct MessageQueue {
    descriptor: OwnedFd,
    name: ObjectName,
}

impl MessageQueue {
    /// `mq_open(name, O_CREAT|O_EXCL|O_RDWR, mode, attributes)`, then `fchmod(mode)`, because the umask
    /// narrows the mode of the first call: creates a queue that did not exist.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); EINVAL, EMFILE or ENOSPC for the limits
    /// that the [hint](Error::hint) explains.
    ///
    /// See [mq_open(3)](https://man7.org/linux/man-pages/man3/mq_open.3.html).
    #[doc(alias = "mq_open")]
    pub fn create_new(
        name: &ObjectName,
        messages_max: usize,
        message_bytes_max: usize,
        mode: u32,
    ) -> Result<Self> {
        let too_large = |_| Error::new("mq_open", name.to_string(), Errno::INVAL);
        // SAFETY: all bytes zero is a valid `mq_attr`: it consists of integers.
        let mut attributes: libc::mq_attr = unsafe { mem::zeroed() };
        attributes.mq_maxmsg = messages_max.try_into().map_err(too_large)?;
        attributes.mq_msgsize = message_bytes_max.try_into().map_err(too_large)?;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        // Closed to others until the mode is set below.
        let descriptor = open(&name.with_slash(), flags, mode & 0o700, &attributes)
            .map_err(|errno| Error::new("mq_open", name.to_string(), errno))?;
        let queue = MessageQueue {
            descriptor,
            name: name.clone(),
        };
        explain!(
            "mq_open(O_CREAT|O_EXCL)",
            name,
            format_args!("a new queue of {messages_max} messages of {message_bytes_max} bytes")
        );
        if let Err(error) = queue.set_mode(mode) {
            // Ours, new, and of no use to anybody.
            let _ = Self::unlink(name);
            return Err(error);
        }
        Ok(queue)
    }

    /// `mq_open(name, …)`: opens a queue that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound);
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied).
    ///
    /// See [mq_open(3)](https://man7.org/linux/man-pages/man3/mq_open.3.html).
    #[doc(alias = "mq_open")]
    pub fn open(name: &ObjectName, access: Access) -> Result<Self> {
        let (flags, why) = match access {
            Access::Send => (libc::O_WRONLY, "open the queue to send"),
            Access::Receive => (libc::O_RDONLY, "open the queue to receive"),
            Access::Both => (libc::O_RDWR, "open the queue to send and receive"),
        };
        // SAFETY: all bytes zero is a valid `mq_attr`. Without O_CREAT the kernel does not look at it.
        let ignored: libc::mq_attr = unsafe { mem::zeroed() };
        let descriptor = open(&name.with_slash(), flags, 0, &ignored)
            .map_err(|errno| Error::new("mq_open", name.to_string(), errno))?;
        explain!("mq_open", name, why);
        Ok(MessageQueue {
            descriptor,
            name: name.clone(),
        })
    }

    /// `mq_unlink(name)`: removes a name. Those who have the queue open go on; nobody else finds it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound);
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) for queues of others.
    ///
    /// See [mq_unlink(3)](https://man7.org/linux/man-pages/man3/mq_unlink.3.html).
    #[doc(alias = "mq_unlink")]
    pub fn unlink(name: &ObjectName) -> Result<()> {
        let path = name.with_slash();
        // SAFETY: `path` is a valid C string for the call.
        sys::retry(|| unsafe { libc::mq_unlink(path.as_ptr()) })
            .map_err(|errno| Error::new("mq_unlink", name.to_string(), errno))?;
        explain!(
            "mq_unlink",
            name,
            "remove the name; nobody new can find the queue"
        );
        Ok(())
    }

    /// The name it was opened by.
    pub fn name(&self) -> &ObjectName {
        &self.name
    }

    /// `mq_timedsend(queue, message, priority, deadline)`: sends one message, waiting for room until
    /// `deadline`.
    ///
    /// `None` waits for ever; a deadline in the past does not wait at all. The receiver gets higher
    /// priorities first, equal ones in order. Should somebody set the wall clock back during the wait, the
    /// wait may last longer by that step; forward steps do no harm. The caller narrates it: it knows what the message says.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): not sent. EMSGSIZE: longer than the queue allows.
    /// EINVAL: a priority above [`PRIORITY_MAX`]. EBADF: opened to receive. EAGAIN if the queue is
    /// [non-blocking](MessageQueue::set_nonblocking).
    ///
    /// See [mq_send(3)](https://man7.org/linux/man-pages/man3/mq_send.3.html).
    #[doc(alias = "mq_timedsend")]
    #[doc(alias = "mq_send")]
    pub fn send(&self, message: &[u8], priority: u32, deadline: Option<Instant>) -> Result<()> {
        loop {
            let left = clock::left(deadline);
            let slice_end = left.map(clock::slice_end);
            let end = slice_end.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: `message` is valid for its length, `end` is null or valid; the queue is open.
            let outcome = sys::check(unsafe {
                libc::mq_timedsend(self.raw(), message.as_ptr().cast(), message.len(), priority, end)
            });
            match outcome {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                // The end of a slice only; the deadline is looked at again.
                Err(Errno::TIMEDOUT) if left.is_some_and(|left| !left.is_zero()) => {}
                Err(errno) => return Err(self.fail("mq_timedsend", errno)),
            }
        }
        Ok(())
    }

    /// `mq_timedreceive(queue, buffer, deadline)`: takes the next message, waiting for it until `deadline`;
    /// returns its length and its priority.
    ///
    /// `None` waits for ever; a deadline in the past does not wait at all. `buffer` has room for the longest
    /// message that the queue allows, see [`attributes`](MessageQueue::attributes).
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): nothing came. EMSGSIZE: the buffer is too short
    /// for this queue, whatever the message. EBADF: opened to send. EAGAIN if the queue is
    /// [non-blocking](MessageQueue::set_nonblocking).
    ///
    /// See [mq_receive(3)](https://man7.org/linux/man-pages/man3/mq_receive.3.html).
    #[doc(alias = "mq_timedreceive")]
    #[doc(alias = "mq_receive")]
    pub fn receive(&self, buffer: &mut [u8], deadline: Option<Instant>) -> Result<(usize, u32)> {
        let long_past = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let end = if deadline.is_some() {
            &raw const long_past
        } else {
            ptr::null()
        };
        let mut priority = 0;
        let count = loop {
            let left = clock::left(deadline);
            // SAFETY: `buffer` is valid and exclusive for its length, `priority` likewise; `end` is null or
            // valid; the queue is open.
            let outcome = sys::check(unsafe {
                libc::mq_timedreceive(
                    self.raw(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    &raw mut priority,
                    end,
                )
            });
            match (outcome, left) {
                (Ok(count), _) => break count,
                (Err(Errno::INTR), _) => {}
                (Err(Errno::TIMEDOUT), Some(left)) if !left.is_zero() => {
                    let mut watched = [PollFd::new(&self.descriptor, PollFlags::IN)];
                    event::poll_until(&mut watched, Some(left)).map_err(|errno| self.fail("poll", errno))?;
                }
                (Err(errno), _) => return Err(self.fail("mq_timedreceive", errno)),
            }
        };
        let count = count.unsigned_abs();
        Ok((count, priority))
    }

    /// `mq_getattr(queue)`: sizes, and how many messages wait.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [mq_getattr(3)](https://man7.org/linux/man-pages/man3/mq_getattr.3.html).
    #[doc(alias = "mq_getattr")]
    pub fn attributes(&self) -> Result<Attributes> {
        attributes_of(self.as_fd()).map_err(|errno| self.fail("mq_getattr", errno))
    }

    /// `mq_setattr(queue, O_NONBLOCK)`: decides whether [`send`](MessageQueue::send) and
    /// [`receive`](MessageQueue::receive) may wait. Counts for this open description only.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [mq_setattr(3)](https://man7.org/linux/man-pages/man3/mq_setattr.3.html).
    #[doc(alias = "mq_setattr")]
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        // SAFETY: all bytes zero is a valid `mq_attr`; the kernel looks at the flags only.
        let mut raw: libc::mq_attr = unsafe { mem::zeroed() };
        raw.mq_flags = nonblocking_flag(nonblocking);
        // SAFETY: `raw` is valid; the old attributes are not asked for; the queue is open.
        sys::retry(|| unsafe { libc::mq_setattr(self.raw(), &raw const raw, ptr::null_mut()) })
            .map_err(|errno| self.fail("mq_setattr", errno))?;
        Ok(())
    }

    /// `fstat(queue)`: owner, mode and links; no links mean that somebody unlinked it.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [fstat(2)](https://man7.org/linux/man-pages/man2/fstat.2.html).
    #[doc(alias = "fstat")]
    pub fn stat(&self) -> Result<Stat> {
        let raw = retry_on_intr(|| rustix::fs::fstat(&self.descriptor))
            .map_err(|errno| self.fail("fstat", errno))?;
        Ok(raw.into())
    }

    /// `fchmod(queue, mode)`: who may send (`w`) and who may receive (`r`), whatever the umask is.
    ///
    /// # Errors
    /// EPERM for queues of others.
    ///
    /// See [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html).
    #[doc(alias = "fchmod")]
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        retry_on_intr(|| rustix::fs::fchmod(&self.descriptor, Mode::from_raw_mode(mode)))
            .map_err(|errno| self.fail("fchmod", errno))?;
        explain!(
            "fchmod",
            self.name,
            format_args!("exactly mode {mode:04o}, whatever the umask says")
        );
        Ok(())
    }

    /// `fchown(queue, uid, gid)`: gives the queue to another user or group; `None` leaves it.
    ///
    /// # Errors
    /// EPERM: only root gives to another user, and only members to a group. EINVAL for the number that
    /// means "leave it" in C.
    ///
    /// See [fchown(2)](https://man7.org/linux/man-pages/man2/fchown.2.html).
    #[doc(alias = "fchown")]
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        // C's -1 would silently mean "leave it".
        if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
            return Err(self.fail("fchown", Errno::INVAL));
        }
        retry_on_intr(|| {
            rustix::fs::fchown(&self.descriptor, uid.map(Uid::from_raw), gid.map(Gid::from_raw))
        })
        .map_err(|errno| self.fail("fchown", errno))?;
        explain!(
            "fchown",
            self.name,
            "the queue belongs to the right group before its mode admits it"
        );
        Ok(())
    }

    pub(super) fn raw(&self) -> libc::mqd_t {
        self.descriptor.as_raw_fd()
    }

    pub(super) fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.name.to_string(), errno)
    }
}

impl AsFd for MessageQueue {
    /// On Linux a queue is a descriptor: it can be polled and locked.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// `mq_getattr` of any descriptor of a queue.
pub(crate) fn attributes_of(queue: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    // SAFETY: all bytes zero is a valid `mq_attr`.
    let mut raw: libc::mq_attr = unsafe { mem::zeroed() };
    // SAFETY: `raw` is valid and exclusive; the descriptor is open.
    sys::retry(|| unsafe { libc::mq_getattr(queue.as_raw_fd(), &raw mut raw) })?;
    Ok(Attributes {
        messages_max: usize::try_from(raw.mq_maxmsg).unwrap_or(0),
        message_bytes_max: usize::try_from(raw.mq_msgsize).unwrap_or(0),
        messages: usize::try_from(raw.mq_curmsgs).unwrap_or(0),
        nonblocking: raw.mq_flags & nonblocking_flag(true) != 0,
    })
}

// `mq_flags` has a type of its own on some machines.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
fn nonblocking_flag(nonblocking: bool) -> libc::c_long {
    if nonblocking {
        libc::O_NONBLOCK as libc::c_long
    } else {
        0
    }
}

fn open(name: &CStr, flags: libc::c_int, mode: u32, attributes: &libc::mq_attr) -> Result<OwnedFd, Errno> {
    let flags = flags | libc::O_CLOEXEC;
    let raw = sys::retry(|| {
        // SAFETY: `name` is a valid C string; with O_CREAT mq_open takes two more arguments of these types,
        // without it, it looks at neither.
        unsafe {
            libc::mq_open(
                name.as_ptr(),
                flags,
                mode as libc::mode_t,
                ptr::from_ref(attributes),
            )
        }
    })?;
    // SAFETY: on Linux a queue descriptor is a file descriptor; this one is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
