//! System V shared memory: segments of a size that is fixed when they are made.
//!
//! ```
//! use shmeld_os::sysv::{How, Key, shared_memory::Segment};
//!
//! let segment = Segment::create_new(Key::PRIVATE, 27, 0o600)?;
//! let memory = segment.attach(How::default())?;
//! assert_eq!((memory.len(), segment.stat()?.attached), (27, 1));
//! segment.remove()?; // marked: the memory lives as long as it is attached
//! assert!(segment.stat()?.is_marked);
//! drop(memory);
//! assert!(segment.stat().is_err());
//! # Ok::<(), shmeld_os::Error>(())
//! ```
#![allow(unsafe_code)] // rustix has no System V

use std::{mem, ptr};

use rustix::io::Errno;

use super::attach::{How, attach};
use super::permissions::{label, mode_bits, owner_to_set};
use super::stat_any::unless_allowed;
use super::{Key, Permissions, refusal};
use crate::fs::Time;
use crate::mapping::Mapping;
use crate::{Error, Result, explain, sys};

/// The segment is marked for removal (`SHM_DEST`): it has lost its key and goes with its last attachment.
pub(crate) const MARKED: u32 = 0o1000;

/// `SHM_STAT_ANY`, which the libc crate does not name: of the segment at an index of the kernel's table, what /proc/sysvipc/shm shows to everybody.
const SHM_STAT_ANY: libc::c_int = 15;

/// What the kernel says about a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentStat {
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// Size as it was asked for; memory comes in whole pages.
    pub bytes: u64,
    /// How many attachments there are.
    pub attached: u64,
    /// Process that made it.
    pub creator_pid: u32,
    /// Process that attached or detached last; 0 if none did.
    pub last_pid: u32,
    /// When somebody attached it last; `None` if nobody did.
    pub attach_time: Option<Time>,
    /// When somebody detached it last; `None` if nobody did.
    pub detach_time: Option<Time>,
    /// When it was made, or its owner or mode set.
    pub change_time: Time,
    /// Whether it goes with its last attachment.
    pub is_marked: bool,
}

/// A segment by its number. Nothing is held open: dropping this does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    id: libc::c_int,
    label: String,
}

impl Segment {
    /// `shmget(key, bytes, IPC_CREAT|IPC_EXCL|mode)`: makes a segment that did not exist, filled with zeros.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); EINVAL for 0 bytes or more than `kernel.shmmax`; ENOSPC for more than
    /// `kernel.shmmni` segments or `kernel.shmall` pages; ENOMEM.
    ///
    /// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
    #[doc(alias = "shmget")]
    pub fn create_new(key: Key, bytes: usize, mode: u32) -> Result<Self> {
        let flags = libc::IPC_CREAT | libc::IPC_EXCL | mode_bits(mode);
        let segment = Self::get(key, bytes, flags)?;
        explain!(
            "shmget(IPC_CREAT|IPC_EXCL)",
            segment.label,
            format_args!(
                "a new segment of {bytes} bytes, mode {mode:04o}, number {}",
                segment.id
            )
        );
        Ok(segment)
    }

    /// `shmget(key, bytes, 0)`: finds a segment of at least `bytes` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); EINVAL if it is smaller; EACCES if its mode does not admit us at all.
    ///
    /// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
    #[doc(alias = "shmget")]
    pub fn open(key: Key, bytes: usize) -> Result<Self> {
        if key.is_private() {
            // The kernel would make a new one.
            return Err(Error::new("shmget", key.to_string(), Errno::NOENT));
        }
        let segment = Self::get(key, bytes, 0)?;
        explain!(
            "shmget",
            segment.label,
            format_args!("the segment's number is {}", segment.id)
        );
        Ok(segment)
    }

    /// `shmget(key, bytes, IPC_CREAT|mode)`: finds a segment, or makes it. Whose it is if it was there, [`Segment::stat`] says.
    ///
    /// # Errors
    /// As for [`Segment::create_new`] and [`Segment::open`].
    ///
    /// See [shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html).
    #[doc(alias = "shmget")]
    pub fn open_or_create(key: Key, bytes: usize, mode: u32) -> Result<Self> {
        let segment = Self::get(key, bytes, libc::IPC_CREAT | mode_bits(mode))?;
        explain!(
            "shmget(IPC_CREAT)",
            segment.label,
            format_args!(
                "the segment, made with mode {mode:04o} if it was not there; number {}",
                segment.id
            )
        );
        Ok(segment)
    }

    /// The segment with this number, whether it exists or not.
    #[must_use]
    pub fn from_id(id: i32) -> Self {
        Self {
            id,
            label: label(Key::PRIVATE, id),
        }
    }

    fn get(key: Key, bytes: usize, flags: libc::c_int) -> Result<Self> {
        let id = raw_get(key, bytes, flags).map_err(|errno| refusal::of_shmget(key, bytes, errno))?;
        Ok(Self {
            id,
            label: label(key, id),
        })
    }

    /// The size of what has this key now, without a story.
    pub(super) fn bytes_of(key: Key) -> Option<u64> {
        let id = (!key.is_private()).then(|| raw_get(key, 0, 0).ok()).flatten()?;
        Self::from_id(id).stat_of_any().ok().map(|stat| stat.bytes)
    }

    /// The number.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// `shmat(id)`: makes the segment memory of this process. A forked child does not get it: its attachment would keep the segment.
    ///
    /// # Errors
    /// EACCES if its mode does not admit us; EINVAL if it is gone, or the address cannot be; ENOMEM; EPERM for an address that is too low.
    ///
    /// See [shmop(2)](https://man7.org/linux/man-pages/man2/shmop.2.html).
    #[doc(alias = "shmat")]
    pub fn attach(&self, how: How) -> Result<Mapping> {
        attach(self, how, &self.label)
    }

    /// `shmctl(id, IPC_STAT)`: what the kernel knows about it.
    ///
    /// # Errors
    /// EINVAL if it is gone; EIDRM if it goes at this moment; EACCES if its mode does not let us read.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    #[doc(alias = "shmctl")]
    #[doc(alias = "IPC_STAT")]
    pub fn stat(&self) -> Result<SegmentStat> {
        let raw = self.raw_stat()?;
        Ok(SegmentStat::from(&raw))
    }

    /// The same, and `shmctl(place, SHM_STAT_ANY)` where the mode does not let us read: what `ipcs` shows to everybody.
    ///
    /// # Errors
    /// As for [`Segment::stat`]; EACCES only from kernels before 4.17, or if a security module says so.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    #[doc(alias = "SHM_STAT_ANY")]
    pub fn stat_of_any(&self) -> Result<SegmentStat> {
        let raw = self.raw_stat_of_any()?;
        Ok(SegmentStat::from(&raw))
    }

    /// `shmctl(id, IPC_SET)`: gives it to another user or group; `None` leaves it.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone, or for a user that this namespace does not know; EOVERFLOW
    /// if one of both is to stay that it does not know.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    #[doc(alias = "IPC_SET")]
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.shm_perm.uid, raw.shm_perm.gid) =
            owner_to_set("shmctl(IPC_SET)", &self.label, &raw.shm_perm, uid, gid)?;
        self.control("shmctl(IPC_SET)", libc::IPC_SET, &mut raw)
            .map_err(|error| refusal::of_owner(error, uid, gid))?;
        explain!("shmctl(IPC_SET)", self.label, "another owner; the creator stays");
        Ok(())
    }

    /// `shmctl(id, IPC_SET)`: sets the nine permission bits. Attachments that exist keep what they may do.
    ///
    /// # Errors
    /// As for [`Segment::set_owner`].
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    #[doc(alias = "IPC_SET")]
    // The type of a mode differs in width from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.shm_perm.uid, raw.shm_perm.gid) =
            owner_to_set("shmctl(IPC_SET)", &self.label, &raw.shm_perm, None, None)?;
        raw.shm_perm.mode = (mode & 0o777) as _;
        self.control("shmctl(IPC_SET)", libc::IPC_SET, &mut raw)?;
        explain!(
            "shmctl(IPC_SET)",
            self.label,
            format_args!("exactly mode {mode:04o}")
        );
        Ok(())
    }

    /// `shmctl(id, IPC_RMID)`: marks it for removal. Nobody finds it by its key any more; it goes with its last attachment.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone.
    ///
    /// See [shmctl(2)](https://man7.org/linux/man-pages/man2/shmctl.2.html).
    #[doc(alias = "IPC_RMID")]
    pub fn remove(&self) -> Result<()> {
        self.control("shmctl(IPC_RMID)", libc::IPC_RMID, ptr::null_mut())?;
        explain!(
            "shmctl(IPC_RMID)",
            self.label,
            "marked: it goes when nobody has it attached any more"
        );
        Ok(())
    }

    fn raw_stat(&self) -> Result<libc::shmid_ds> {
        // SAFETY: all bytes zero is a valid `shmid_ds`: it consists of integers.
        let mut raw: libc::shmid_ds = unsafe { mem::zeroed() };
        self.control("shmctl(IPC_STAT)", libc::IPC_STAT, &mut raw)?;
        Ok(raw)
    }

    /// The same where the mode lets nobody read, its owner included: IPC_SET sets owner and mode together, so the other one must be known.
    fn raw_stat_of_any(&self) -> Result<libc::shmid_ds> {
        unless_allowed(self.raw_stat(), self.id, |place| {
            // SAFETY: as in `raw_stat`.
            let mut raw: libc::shmid_ds = unsafe { mem::zeroed() };
            // SAFETY: `raw` is valid and exclusive.
            let found = sys::check(unsafe { libc::shmctl(place, SHM_STAT_ANY, &mut raw) })?;
            Ok((found, raw))
        })
    }

    fn control(&self, operation: &'static str, command: libc::c_int, raw: *mut libc::shmid_ds) -> Result<()> {
        // SAFETY: `raw` is null for the one command that ignores it, else valid and exclusive.
        sys::check(unsafe { libc::shmctl(self.id, command, raw) })
            .map_err(|errno| self.fail(operation, errno))?;
        Ok(())
    }

    fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.label.clone(), errno)
    }
}

fn raw_get(key: Key, bytes: usize, flags: libc::c_int) -> Result<libc::c_int, Errno> {
    // SAFETY: takes numbers only.
    sys::check(unsafe { libc::shmget(key.raw(), bytes, flags) })
}

// The field types differ in width from machine to machine.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<&libc::shmid_ds> for SegmentStat {
    fn from(raw: &libc::shmid_ds) -> Self {
        Self {
            permissions: Permissions::from(&raw.shm_perm),
            bytes: raw.shm_segsz as u64,
            attached: raw.shm_nattch as u64,
            creator_pid: raw.shm_cpid.unsigned_abs(),
            last_pid: raw.shm_lpid.unsigned_abs(),
            attach_time: time_unless_never(raw.shm_atime as i64),
            detach_time: time_unless_never(raw.shm_dtime as i64),
            change_time: time(raw.shm_ctime as i64),
            is_marked: raw.shm_perm.mode as u32 & MARKED != 0,
        }
    }
}

/// The kernel counts whole seconds here.
pub(super) fn time(seconds: i64) -> Time {
    Time {
        seconds,
        nanoseconds: 0,
    }
}

/// Zero stands for "never".
pub(super) fn time_unless_never(seconds: i64) -> Option<Time> {
    (seconds != 0).then(|| time(seconds))
}
