//! System V message queues: messages of a type, taken in order or by type.
//!
//! The project's own protocol uses POSIX queues; these are here because a machine's objects are, and programs that use them have peers.
//!
//! ```
//! use shmeld_os::sysv::{Key, message_queue::{MessageQueue, Which}};
//!
//! let queue = MessageQueue::create_new(Key::PRIVATE, 0o600)?;
//! queue.send(7, b"hello", None)?;
//! let mut buffer = [0; 64];
//! assert_eq!(queue.receive(Which::Oldest, &mut buffer, None)?, (5, 7));
//! queue.remove()?;
//! # Ok::<(), shmeld_os::Error>(())
//! ```
#![allow(unsafe_code)] // rustix has no System V

use std::time::{Duration, Instant};
use std::{mem, ptr};

use rustix::io::Errno;

use super::permissions::{label, mode_bits, owner_to_set};
use super::shared_memory::{time, time_unless_never};
use super::stat_any::unless_allowed;
use super::{Key, Permissions, refusal};
use crate::fs::Time;
use crate::{Error, Result, clock, explain, sys};

/// These calls know no time-out: a wait with a deadline asks again and again, after naps that grow to this.
const NAP_MAX: Duration = Duration::from_millis(10);
const NAP_MIN: Duration = Duration::from_micros(100);

/// Which message to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one that waits longest.
    Oldest,
    /// The oldest of this type, which is greater than zero.
    Type(i64),
    /// The oldest of the lowest type that is at most this, which is greater than zero.
    UpTo(i64),
}

impl Which {
    /// As C passes it; the type itself if it is none, which would mean something else to the kernel: 0 the oldest, -5 at most 5.
    fn raw(self) -> Result<i64, i64> {
        match self {
            Self::Oldest => Ok(0),
            Self::Type(kind) if kind >= 1 => Ok(kind),
            Self::UpTo(kind) if kind >= 1 => Ok(-kind),
            Self::Type(kind) | Self::UpTo(kind) => Err(kind),
        }
    }
}

/// `MSG_STAT_ANY`, which the libc crate does not name: of the queue at a place of the kernel's table, what /proc/sysvipc/msg shows to everybody.
const MSG_STAT_ANY: libc::c_int = 13;

/// What the kernel says about a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueStat {
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// How many messages wait.
    pub messages: u64,
    /// How many bytes all waiting messages together may have.
    pub bytes_max: u64,
    /// Process that sent last; 0 if none did.
    pub last_sender_pid: u32,
    /// Process that received last; 0 if none did.
    pub last_receiver_pid: u32,
    /// When somebody sent last; `None` if nobody did.
    pub send_time: Option<Time>,
    /// When somebody received last; `None` if nobody did.
    pub receive_time: Option<Time>,
    /// When it was made, or its owner, mode or size set.
    pub change_time: Time,
}

/// A queue by its number. Nothing is held open: dropping this does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageQueue {
    id: libc::c_int,
    label: String,
}

impl MessageQueue {
    /// `msgget(key, IPC_CREAT|IPC_EXCL|mode)`: makes a queue that did not exist.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); ENOSPC for more than `kernel.msgmni` queues.
    ///
    /// See [msgget(2)](https://man7.org/linux/man-pages/man2/msgget.2.html).
    #[doc(alias = "msgget")]
    pub fn create_new(key: Key, mode: u32) -> Result<Self> {
        let queue = Self::get(key, libc::IPC_CREAT | libc::IPC_EXCL | mode_bits(mode))?;
        explain!(
            "msgget(IPC_CREAT|IPC_EXCL)",
            queue.label,
            format_args!("a new queue, mode {mode:04o}, number {}", queue.id)
        );
        Ok(queue)
    }

    /// `msgget(key, 0)`: finds a queue.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); EACCES if its mode does not admit us at all.
    ///
    /// See [msgget(2)](https://man7.org/linux/man-pages/man2/msgget.2.html).
    #[doc(alias = "msgget")]
    pub fn open(key: Key) -> Result<Self> {
        if key.is_private() {
            // The kernel would make a new one.
            return Err(Error::new("msgget", key.to_string(), Errno::NOENT));
        }
        let queue = Self::get(key, 0)?;
        explain!(
            "msgget",
            queue.label,
            format_args!("the queue's number is {}", queue.id)
        );
        Ok(queue)
    }

    /// `msgget(key, IPC_CREAT|mode)`: finds a queue, or makes it. Whose it is if it was there, [`MessageQueue::stat`] says.
    ///
    /// # Errors
    /// As for [`MessageQueue::create_new`] and [`MessageQueue::open`].
    ///
    /// See [msgget(2)](https://man7.org/linux/man-pages/man2/msgget.2.html).
    #[doc(alias = "msgget")]
    pub fn open_or_create(key: Key, mode: u32) -> Result<Self> {
        let queue = Self::get(key, libc::IPC_CREAT | mode_bits(mode))?;
        explain!(
            "msgget(IPC_CREAT)",
            queue.label,
            format_args!(
                "the queue, made with mode {mode:04o} if it was not there; number {}",
                queue.id
            )
        );
        Ok(queue)
    }

    /// The queue with this number, whether it exists or not.
    #[must_use]
    pub fn from_id(id: i32) -> Self {
        Self {
            id,
            label: label(Key::PRIVATE, id),
        }
    }

    fn get(key: Key, flags: libc::c_int) -> Result<Self> {
        // SAFETY: takes numbers only.
        let id = sys::check(unsafe { libc::msgget(key.raw(), flags) })
            .map_err(|errno| Error::new("msgget", key.to_string(), errno))?;
        Ok(Self {
            id,
            label: label(key, id),
        })
    }

    /// The number.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// `msgsnd(id, {kind, message})`: sends one message, waiting for room until `deadline`.
    ///
    /// `None` waits for ever; a deadline in the past does not wait at all.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): not sent. EINVAL: a type below 1, a message longer than `kernel.msgmax`, or a
    /// queue that is gone; EIDRM if it was removed while we waited; EACCES.
    ///
    /// See [msgop(2)](https://man7.org/linux/man-pages/man2/msgop.2.html).
    #[doc(alias = "msgsnd")]
    pub fn send(&self, kind: i64, message: &[u8], deadline: Option<Instant>) -> Result<()> {
        let raw_kind = libc::c_long::try_from(kind).map_err(|_| self.fail("msgsnd", Errno::INVAL))?;
        let mut raw = raw_kind.to_ne_bytes().to_vec();
        raw.extend_from_slice(message);
        self.patiently("msgsnd", Errno::AGAIN, deadline, |flags| {
            // SAFETY: `raw` holds the type and as many bytes after it as the length says.
            sys::check(unsafe { libc::msgsnd(self.id, raw.as_ptr().cast(), message.len(), flags) })
        })
        .map_err(|error| refusal::of_msgsnd(error, self, kind, message.len()))?;
        Ok(())
    }

    /// `msgrcv(id, buffer, which)`: takes a message, waiting for it until `deadline`; returns its length and its type.
    ///
    /// `None` waits for ever; a deadline in the past does not wait at all.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): nothing came. E2BIG: it is longer than `buffer`, and stays. EIDRM if the queue was
    /// removed while we waited, EINVAL if before, or for a type below 1; EACCES.
    ///
    /// See [msgop(2)](https://man7.org/linux/man-pages/man2/msgop.2.html).
    #[doc(alias = "msgrcv")]
    pub fn receive(
        &self,
        which: Which,
        buffer: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<(usize, i64)> {
        let raw_which = which
            .raw()
            .map_err(|kind| refusal::of_type("msgrcv", &self.label, kind))?;
        let which = libc::c_long::try_from(raw_which).map_err(|_| self.fail("msgrcv", Errno::INVAL))?;
        let mut raw = vec![0u8; size_of::<libc::c_long>() + buffer.len()];
        let count = self.patiently("msgrcv", Errno::NOMSG, deadline, |flags| {
            // SAFETY: `raw` has room for a type and for as many bytes after it as the length says.
            sys::check(unsafe { libc::msgrcv(self.id, raw.as_mut_ptr().cast(), buffer.len(), which, flags) })
        })?;
        let (kind, text) = raw.split_at(size_of::<libc::c_long>());
        let count = count.unsigned_abs();
        buffer[..count].copy_from_slice(&text[..count]);
        // As wide as a register: not the same type everywhere.
        #[allow(clippy::useless_conversion)]
        let kind = kind.try_into().map_or(0, libc::c_long::from_ne_bytes).into();
        Ok((count, kind))
    }

    /// Calls until it succeeds, fails for good, or the time is over. `not_yet` is what the call says if it would have to wait.
    fn patiently<T>(
        &self,
        operation: &'static str,
        not_yet: Errno,
        deadline: Option<Instant>,
        mut call: impl FnMut(libc::c_int) -> Result<T, Errno>,
    ) -> Result<T> {
        let flags = if deadline.is_some() { libc::IPC_NOWAIT } else { 0 };
        let mut nap = NAP_MIN;
        loop {
            match call(flags) {
                Ok(outcome) => return Ok(outcome),
                Err(Errno::INTR) => {}
                Err(errno) if errno == not_yet && deadline.is_some() => {
                    let left = clock::left(deadline).unwrap_or_default();
                    if left.is_zero() {
                        return Err(self.fail(operation, Errno::TIMEDOUT));
                    }
                    std::thread::sleep(nap.min(left));
                    nap = (nap * 2).min(NAP_MAX);
                }
                Err(errno) => return Err(self.fail(operation, errno)),
            }
        }
    }

    /// `msgctl(id, IPC_STAT)`: what the kernel knows about it.
    ///
    /// # Errors
    /// EINVAL if it is gone; EIDRM if it goes at this moment; EACCES if its mode does not let us read.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    #[doc(alias = "msgctl")]
    pub fn stat(&self) -> Result<QueueStat> {
        let raw = self.raw_stat()?;
        Ok(QueueStat::from(&raw))
    }

    /// The same, and `msgctl(place, MSG_STAT_ANY)` where the mode does not let us read: what `ipcs` shows to everybody.
    ///
    /// # Errors
    /// As for [`MessageQueue::stat`]; EACCES only from kernels before 4.17, or if a security module says so.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    #[doc(alias = "MSG_STAT_ANY")]
    pub fn stat_of_any(&self) -> Result<QueueStat> {
        let raw = self.raw_stat_of_any()?;
        Ok(QueueStat::from(&raw))
    }

    /// `msgctl(id, IPC_SET)`: gives it to another user or group; `None` leaves it.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone, or for a user that this namespace does not know; EOVERFLOW
    /// if one of both is to stay that it does not know.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    #[doc(alias = "IPC_SET")]
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.msg_perm.uid, raw.msg_perm.gid) =
            owner_to_set("msgctl(IPC_SET)", &self.label, &raw.msg_perm, uid, gid)?;
        self.control("msgctl(IPC_SET)", libc::IPC_SET, &mut raw)
            .map_err(|error| refusal::of_owner(error, uid, gid))?;
        explain!("msgctl(IPC_SET)", self.label, "another owner; the creator stays");
        Ok(())
    }

    /// `msgctl(id, IPC_SET)`: sets the nine permission bits.
    ///
    /// # Errors
    /// As for [`MessageQueue::set_owner`].
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    #[doc(alias = "IPC_SET")]
    // The type of a mode differs in width from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.msg_perm.uid, raw.msg_perm.gid) =
            owner_to_set("msgctl(IPC_SET)", &self.label, &raw.msg_perm, None, None)?;
        raw.msg_perm.mode = (mode & 0o777) as _;
        self.control("msgctl(IPC_SET)", libc::IPC_SET, &mut raw)?;
        explain!(
            "msgctl(IPC_SET)",
            self.label,
            format_args!("exactly mode {mode:04o}")
        );
        Ok(())
    }

    /// `msgctl(id, IPC_RMID)`: removes the queue and what waits in it, at once. Whoever waits on it is woken with EIDRM.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone.
    ///
    /// See [msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html).
    #[doc(alias = "IPC_RMID")]
    pub fn remove(&self) -> Result<()> {
        self.control("msgctl(IPC_RMID)", libc::IPC_RMID, ptr::null_mut())?;
        explain!("msgctl(IPC_RMID)", self.label, "removed with what waited in it");
        Ok(())
    }

    fn raw_stat(&self) -> Result<libc::msqid_ds> {
        // SAFETY: all bytes zero is a valid `msqid_ds`: it consists of integers.
        let mut raw: libc::msqid_ds = unsafe { mem::zeroed() };
        self.control("msgctl(IPC_STAT)", libc::IPC_STAT, &mut raw)?;
        Ok(raw)
    }

    /// The same where the mode lets nobody read, its owner included: IPC_SET sets owner and mode together, so the other one must be known.
    fn raw_stat_of_any(&self) -> Result<libc::msqid_ds> {
        unless_allowed(self.raw_stat(), self.id, |place| {
            // SAFETY: as in `raw_stat`.
            let mut raw: libc::msqid_ds = unsafe { mem::zeroed() };
            // SAFETY: `raw` is valid and exclusive.
            let found = sys::check(unsafe { libc::msgctl(place, MSG_STAT_ANY, &mut raw) })?;
            Ok((found, raw))
        })
    }

    fn control(&self, operation: &'static str, command: libc::c_int, raw: *mut libc::msqid_ds) -> Result<()> {
        // SAFETY: `raw` is null for the one command that ignores it, else valid and exclusive.
        sys::check(unsafe { libc::msgctl(self.id, command, raw) })
            .map_err(|errno| self.fail(operation, errno))?;
        Ok(())
    }

    fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.label.clone(), errno)
    }
}

// The field types differ in width from machine to machine.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<&libc::msqid_ds> for QueueStat {
    fn from(raw: &libc::msqid_ds) -> Self {
        Self {
            permissions: Permissions::from(&raw.msg_perm),
            messages: raw.msg_qnum as u64,
            bytes_max: raw.msg_qbytes as u64,
            last_sender_pid: raw.msg_lspid.unsigned_abs(),
            last_receiver_pid: raw.msg_lrpid.unsigned_abs(),
            send_time: time_unless_never(raw.msg_stime as i64),
            receive_time: time_unless_never(raw.msg_rtime as i64),
            change_time: time(raw.msg_ctime as i64),
        }
    }
}
