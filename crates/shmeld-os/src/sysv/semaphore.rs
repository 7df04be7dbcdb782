//! System V semaphores: sets of counters that change together or not at all.
//!
//! A set is all zero when it is made (Linux guarantees it), so a protocol whose start is all zero needs no initialisation and has no race
//! about who does it. [`SemaphoreSet::set_value`] wipes what every process would undo at its end: use it before anybody else can have
//! come, if at all.
//!
//! ```
//! use shmeld_os::sysv::{Key, semaphore::{Operation, SemaphoreSet}};
//!
//! let set = SemaphoreSet::create_new(Key::PRIVATE, 2, 0o600)?;
//! set.operate(&[Operation::zero(0).at_once(), Operation::add(0, 1).undone()], None)?; // a lock that dies with its holder
//! assert_eq!(set.values()?, [1, 0]);
//! set.remove()?;
//! # Ok::<(), shmeld_os::Error>(())
//! ```
#![allow(unsafe_code)] // rustix has no System V

use std::time::Instant;
use std::{mem, ptr};

use rustix::io::Errno;

pub use super::operation::{Operation, VALUE_MAX};
use super::permissions::{label, mode_bits, owner_to_set};
use super::shared_memory::{time, time_unless_never};
use super::stat_any::unless_allowed;
use super::{Key, Permissions, refusal};
use crate::fs::Time;
use crate::{Error, Result, clock, explain, sys};

unsafe extern "C" {
    /// In glibc and musl alike; the libc crate does not name it.
    fn semtimedop(
        id: libc::c_int,
        operations: *mut libc::sembuf,
        count: libc::size_t,
        limit: *const libc::timespec,
    ) -> libc::c_int;
}

/// `SEM_STAT_ANY`, which the libc crate does not name: of the set at a place of the kernel's table, what /proc/sysvipc/sem shows to everybody.
const SEM_STAT_ANY: libc::c_int = 20;

/// What the kernel says about a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetStat {
    /// Who made it, whom it belongs to, whom it admits.
    pub permissions: Permissions,
    /// How many semaphores it has.
    pub semaphores: u64,
    /// When it was operated on last; `None` if never.
    pub operate_time: Option<Time>,
    /// When it was made, or a value, its owner or its mode set.
    pub change_time: Time,
}

/// A set by its number. Nothing is held open: dropping this does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemaphoreSet {
    id: libc::c_int,
    label: String,
}

impl SemaphoreSet {
    /// `semget(key, semaphores, IPC_CREAT|IPC_EXCL|mode)`: makes a set that did not exist, all zero.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists); EINVAL for no or too many semaphores; ENOSPC for too many sets or
    /// semaphores (`kernel.sem`).
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
    #[doc(alias = "semget")]
    pub fn create_new(key: Key, semaphores: u16, mode: u32) -> Result<Self> {
        let set = Self::get(
            key,
            semaphores,
            libc::IPC_CREAT | libc::IPC_EXCL | mode_bits(mode),
        )?;
        explain!(
            "semget(IPC_CREAT|IPC_EXCL)",
            set.label,
            format_args!(
                "a new set of {semaphores} semaphores, all zero, mode {mode:04o}, number {}",
                set.id
            )
        );
        Ok(set)
    }

    /// `semget(key, semaphores, 0)`: finds a set of at least so many semaphores; 0 for any.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); EINVAL if it has fewer; EACCES if its mode does not admit us at all.
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
    #[doc(alias = "semget")]
    pub fn open(key: Key, semaphores: u16) -> Result<Self> {
        if key.is_private() {
            // The kernel would make a new one.
            return Err(Error::new("semget", key.to_string(), Errno::NOENT));
        }
        let set = Self::get(key, semaphores, 0)?;
        explain!(
            "semget",
            set.label,
            format_args!("the set's number is {}", set.id)
        );
        Ok(set)
    }

    /// `semget(key, semaphores, IPC_CREAT|mode)`: finds a set, or makes it. Whose it is if it was there, [`SemaphoreSet::stat`] says.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::create_new`] and [`SemaphoreSet::open`].
    ///
    /// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
    #[doc(alias = "semget")]
    pub fn open_or_create(key: Key, semaphores: u16, mode: u32) -> Result<Self> {
        let set = Self::get(key, semaphores, libc::IPC_CREAT | mode_bits(mode))?;
        explain!(
            "semget(IPC_CREAT)",
            set.label,
            format_args!(
                "the set, made with mode {mode:04o} if it was not there; number {}",
                set.id
            )
        );
        Ok(set)
    }

    /// The set with this number, whether it exists or not.
    #[must_use]
    pub fn from_id(id: i32) -> Self {
        Self {
            id,
            label: label(Key::PRIVATE, id),
        }
    }

    fn get(key: Key, semaphores: u16, flags: libc::c_int) -> Result<Self> {
        let id =
            raw_get(key, semaphores, flags).map_err(|errno| refusal::of_semget(key, semaphores, errno))?;
        Ok(Self {
            id,
            label: label(key, id),
        })
    }

    /// How many semaphores has what has this key now, without a story.
    pub(super) fn semaphores_of(key: Key) -> Option<u64> {
        let id = (!key.is_private()).then(|| raw_get(key, 0, 0).ok()).flatten()?;
        Self::from_id(id).stat_of_any().ok().map(|stat| stat.semaphores)
    }

    /// The number.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// `semtimedop(id, operations, what is left until deadline)`: does all operations at once, or none, waiting for them until
    /// `deadline`. The time is monotonic; signals do not end the wait. `None` waits for ever; a deadline in the past does not wait at all.
    ///
    /// The caller narrates it: it knows what the change means.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut): nothing was done. EAGAIN: an operation that was to be done
    /// [at once](Operation::at_once) could not. [`ErrorKind::Gone`](crate::ErrorKind::Gone): somebody removed the set while we waited;
    /// EINVAL if before. EACCES; EFBIG for an index beyond the set; ERANGE beyond [`VALUE_MAX`]; E2BIG for too many operations.
    ///
    /// See [semop(2)](https://man7.org/linux/man-pages/man2/semop.2.html).
    #[doc(alias = "semop")]
    #[doc(alias = "semtimedop")]
    pub fn operate(&self, operations: &[Operation], deadline: Option<Instant>) -> Result<()> {
        let mut raw: Vec<libc::sembuf> = operations.iter().map(|operation| operation.raw()).collect();
        let may_fail_at_once = operations.iter().any(|operation| operation.is_at_once());
        loop {
            let left = clock::left(deadline);
            let limit = left.map(clock::timespec);
            let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: `raw` is valid and exclusive for its length; `limit` is null or valid.
            let outcome = sys::check(unsafe { semtimedop(self.id, raw.as_mut_ptr(), raw.len(), limit) });
            match outcome {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                // The kernel says EAGAIN for the end of the time as well.
                Err(Errno::AGAIN) if !may_fail_at_once && left.is_some() => {
                    if clock::left(deadline).is_some_and(|left| left.is_zero()) {
                        return Err(self.fail("semtimedop", Errno::TIMEDOUT));
                    }
                }
                Err(errno) => return Err(self.fail("semtimedop", errno)),
            }
        }
    }

    /// `semctl(id, IPC_STAT)`: what the kernel knows about it.
    ///
    /// # Errors
    /// EINVAL if it is gone; EIDRM if it goes at this moment; EACCES if its mode does not let us read.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "semctl")]
    pub fn stat(&self) -> Result<SetStat> {
        let raw = self.raw_stat()?;
        Ok(SetStat::from(&raw))
    }

    /// The same, and `semctl(place, SEM_STAT_ANY)` where the mode does not let us read: what `ipcs` shows to everybody.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::stat`]; EACCES only from kernels before 4.17, or if a security module says so.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "SEM_STAT_ANY")]
    pub fn stat_of_any(&self) -> Result<SetStat> {
        let raw = self.raw_stat_of_any()?;
        Ok(SetStat::from(&raw))
    }

    /// `semctl(id, IPC_SET)`: gives it to another user or group; `None` leaves it.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone, or for a user that this namespace does not know; EOVERFLOW
    /// if one of both is to stay that it does not know.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "IPC_SET")]
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.sem_perm.uid, raw.sem_perm.gid) =
            owner_to_set("semctl(IPC_SET)", &self.label, &raw.sem_perm, uid, gid)?;
        self.control("semctl(IPC_SET)", libc::IPC_SET, &mut raw)
            .map_err(|error| refusal::of_owner(error, uid, gid))?;
        explain!("semctl(IPC_SET)", self.label, "another owner; the creator stays");
        Ok(())
    }

    /// `semctl(id, IPC_SET)`: sets the nine permission bits.
    ///
    /// # Errors
    /// As for [`SemaphoreSet::set_owner`].
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "IPC_SET")]
    // The type of a mode differs in width from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        let mut raw = self.raw_stat_of_any()?;
        (raw.sem_perm.uid, raw.sem_perm.gid) =
            owner_to_set("semctl(IPC_SET)", &self.label, &raw.sem_perm, None, None)?;
        raw.sem_perm.mode = (mode & 0o777) as _;
        self.control("semctl(IPC_SET)", libc::IPC_SET, &mut raw)?;
        explain!(
            "semctl(IPC_SET)",
            self.label,
            format_args!("exactly mode {mode:04o}")
        );
        Ok(())
    }

    /// `semctl(id, IPC_RMID)`: removes the set at once. Whoever waits on it is woken with EIDRM.
    ///
    /// # Errors
    /// EPERM unless we are its owner, its creator or root; EINVAL if it is gone.
    ///
    /// See [semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html).
    #[doc(alias = "IPC_RMID")]
    pub fn remove(&self) -> Result<()> {
        self.control("semctl(IPC_RMID)", libc::IPC_RMID, ptr::null_mut())?;
        explain!(
            "semctl(IPC_RMID)",
            self.label,
            "removed; whoever waits on it is told so"
        );
        Ok(())
    }

    fn raw_stat(&self) -> Result<libc::semid_ds> {
        // SAFETY: all bytes zero is a valid `semid_ds`: it consists of integers.
        let mut raw: libc::semid_ds = unsafe { mem::zeroed() };
        self.control("semctl(IPC_STAT)", libc::IPC_STAT, &mut raw)?;
        Ok(raw)
    }

    /// The same where the mode lets nobody read, its owner included: IPC_SET sets owner and mode together, so the other one must be known.
    fn raw_stat_of_any(&self) -> Result<libc::semid_ds> {
        unless_allowed(self.raw_stat(), self.id, |place| {
            // SAFETY: as in `raw_stat`.
            let mut raw: libc::semid_ds = unsafe { mem::zeroed() };
            // SAFETY: `raw` is valid and exclusive.
            let found = sys::check(unsafe { libc::semctl(place, 0, SEM_STAT_ANY, &raw mut raw) })?;
            Ok((found, raw))
        })
    }

    fn control(&self, operation: &'static str, command: libc::c_int, raw: *mut libc::semid_ds) -> Result<()> {
        // SAFETY: `raw` is null for the one command that ignores it, else valid and exclusive.
        sys::check(unsafe { libc::semctl(self.id, 0, command, raw) })
            .map_err(|errno| self.fail(operation, errno))?;
        Ok(())
    }

    /// What messages call it.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.label.clone(), errno)
    }
}

fn raw_get(key: Key, semaphores: u16, flags: libc::c_int) -> Result<libc::c_int, Errno> {
    // SAFETY: takes numbers only.
    sys::check(unsafe { libc::semget(key.raw(), semaphores.into(), flags) })
}

// The field types differ in width from machine to machine.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
impl From<&libc::semid_ds> for SetStat {
    fn from(raw: &libc::semid_ds) -> Self {
        Self {
            permissions: Permissions::from(&raw.sem_perm),
            semaphores: raw.sem_nsems as u64,
            operate_time: time_unless_never(raw.sem_otime as i64),
            change_time: time(raw.sem_ctime as i64),
        }
    }
}
