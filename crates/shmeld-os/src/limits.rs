//! The limits that decide whether a queue, a region or a descriptor can be made, and raising one of them.
//!
//! ```
//! use shmeld_os::limits;
//!
//! let needed_bytes = limits::queue_bytes_charged(10, 1024);
//! assert_eq!(needed_bytes, 11_200); // what this user's queues may have in all: `message_queue_rlimit`
//!
//! let (bytes, bytes_free) = limits::shared_memory_space()?;
//! assert!(bytes_free <= bytes);
//!
//! limits::raise_open_files_to_hard()?;
//! let (soft, hard) = limits::open_files();
//! assert_eq!(soft, hard);
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use std::path::Path;
use std::str::FromStr;

use rustix::io::retry_on_intr;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fs::label::fail_path;
use crate::posix::shm;
use crate::{Error, Result};

/// `/proc/sys/fs/mqueue/msg_max`: how many messages a queue of an unprivileged process may hold. `None` if
/// the kernel has no message queues, or /proc is missing.
///
/// See [mq_overview(7)](https://man7.org/linux/man-pages/man7/mq_overview.7.html).
pub fn queue_messages_max() -> Option<u64> {
    setting("fs/mqueue/msg_max")
}

/// `/proc/sys/fs/mqueue/msgsize_max`: how many bytes a message of an unprivileged process may have. `None`
/// as for [`queue_messages_max`].
pub fn queue_message_bytes_max() -> Option<u64> {
    setting("fs/mqueue/msgsize_max")
}

/// `/proc/sys/fs/mqueue/queues_max`: how many queues there may be in this IPC namespace. `None` as for
/// [`queue_messages_max`].
pub fn queues_max() -> Option<u64> {
    setting("fs/mqueue/queues_max")
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    text_of(name)?.trim().parse().ok()
}

fn text_of(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()
}

/// `/proc/sys/kernel/shmmax`: how many bytes a System V segment may have. `None` if the kernel has no System V objects, or /proc is missing.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
#[doc(alias = "SHMMAX")]
pub fn segment_bytes_max() -> Option<u64> {
    setting("kernel/shmmax")
}

/// `/proc/sys/kernel/shmall`: how many pages all System V segments of this IPC namespace together may have. `None` as for
/// [`segment_bytes_max`].
#[doc(alias = "SHMALL")]
pub fn segment_pages_max() -> Option<u64> {
    setting("kernel/shmall")
}

/// `/proc/sys/kernel/shmmni`: how many System V segments there may be in this IPC namespace. `None` as for [`segment_bytes_max`].
#[doc(alias = "SHMMNI")]
pub fn segments_max() -> Option<u64> {
    setting("kernel/shmmni")
}

/// `/proc/sys/kernel/shm_rmid_forced`: whether a segment goes once its maker has ended and nobody has it attached. `false` as well if that
/// cannot be read.
///
/// See [proc_sys_kernel(5)](https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html).
pub fn segments_end_with_their_makers() -> bool {
    setting("kernel/shm_rmid_forced").is_some_and(|forced: u64| forced != 0)
}

/// How many System V semaphores there may be: the four numbers of `/proc/sys/kernel/sem`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SemaphoreLimits {
    /// SEMMSL: semaphores in a set.
    pub in_set: u64,
    /// SEMMNS: semaphores in all sets of this IPC namespace together.
    pub in_all_sets: u64,
    /// SEMOPM: operations in one call.
    pub operations: u64,
    /// SEMMNI: sets in this IPC namespace.
    pub sets: u64,
}

/// `/proc/sys/kernel/sem`. `None` as for [`segment_bytes_max`].
///
/// See [semget(2)](https://man7.org/linux/man-pages/man2/semget.2.html).
pub fn semaphores() -> Option<SemaphoreLimits> {
    let text = text_of("kernel/sem")?;
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(SemaphoreLimits {
        in_set: next()?,
        in_all_sets: next()?,
        operations: next()?,
        sets: next()?,
    })
}

/// `/proc/sys/kernel/msgmax`: how many bytes a message of a System V queue may have. `None` as for [`segment_bytes_max`].
#[doc(alias = "MSGMAX")]
pub fn message_bytes_max() -> Option<u64> {
    setting("kernel/msgmax")
}

/// `/proc/sys/kernel/msgmnb`: how many bytes all messages of a new System V queue together may have. `None` as for [`segment_bytes_max`].
#[doc(alias = "MSGMNB")]
pub fn message_queue_bytes_max() -> Option<u64> {
    setting("kernel/msgmnb")
}

/// `/proc/sys/kernel/msgmni`: how many System V queues there may be in this IPC namespace. `None` as for [`segment_bytes_max`].
#[doc(alias = "MSGMNI")]
pub fn message_queues_max() -> Option<u64> {
    setting("kernel/msgmni")
}

/// `getrlimit(RLIMIT_MSGQUEUE)`: the bytes that all queues of this user may take, as (soft, hard); `None`
/// is unlimited. Root without `CAP_SYS_RESOURCE` is limited like anyone.
///
/// See [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
#[doc(alias = "RLIMIT_MSGQUEUE")]
pub fn message_queue_rlimit() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Msgqueue);
    (limit.current, limit.maximum)
}

/// What one queue counts against [`message_queue_rlimit`]: its messages at full length, and for each the
/// kernel's two records of bookkeeping.
pub fn queue_bytes_charged(messages_max: u64, message_bytes_max: u64) -> u64 {
    /// `struct msg_msg` and `struct posix_msg_tree_node` of a 64-bit kernel: 48 bytes each.
    const BOOKKEEPING_BYTES: u64 = 48 + 48;
    messages_max.saturating_mul(message_bytes_max.saturating_add(BOOKKEEPING_BYTES))
}

/// `getrlimit(RLIMIT_NOFILE)`: how many descriptors this process may have, as (soft, hard); `None` is
/// unlimited.
///
/// See [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
#[doc(alias = "RLIMIT_NOFILE")]
pub fn open_files() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    (limit.current, limit.maximum)
}

/// `setrlimit(RLIMIT_NOFILE)`: raises the soft limit of descriptors to the hard one, as a server wants it.
///
/// Not for programs that use `select`, whose sets end at 1024.
///
/// # Errors
/// Practically never: raising the soft limit needs no privilege.
///
/// See [setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html).
#[doc(alias = "setrlimit")]
pub fn raise_open_files_to_hard() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|errno| Error::new("setrlimit", "RLIMIT_NOFILE", errno))
}

/// The most that a process without core dumps may write of one. Not 0: to a handler that core_pattern pipes to (systemd-coredump, apport)
/// the kernel gives the whole memory whatever the limit is, except for a limit of exactly 1.
const NO_CORE_BYTES: u64 = 1;

/// `setrlimit(RLIMIT_CORE, 1)`, soft and hard: a crash writes no memory to any disk, for good. Where the hard limit is 0 already it stays 0
/// (only a privileged process may raise it): that keeps dumps from files, and not from a handler.
///
/// `prctl(PR_SET_DUMPABLE, 0)` would do it too, but it gives /proc/PID of this process to root: its own user could no longer see which
/// objects it has open, nor trace it.
///
/// # Errors
/// Practically never: lowering a limit needs no privilege.
///
/// See [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html) and
/// [core(5)](https://man7.org/linux/man-pages/man5/core.5.html).
#[doc(alias = "RLIMIT_CORE")]
pub fn forbid_core_dumps() -> Result<()> {
    let bytes = core_bytes_max()
        .1
        .map_or(NO_CORE_BYTES, |hard| hard.min(NO_CORE_BYTES));
    let none = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::Core, none).map_err(|errno| Error::new("setrlimit", "RLIMIT_CORE", errno))
}

/// `getrlimit(RLIMIT_CORE)`: how long a core dump of this process may be, as (soft, hard); `None` is unlimited.
///
/// See [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
#[doc(alias = "RLIMIT_CORE")]
pub fn core_bytes_max() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Core);
    (limit.current, limit.maximum)
}

/// `getrlimit(RLIMIT_FSIZE)`: how long a file, and so a region, may be for this process; `None` is
/// unlimited.
///
/// See [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html).
#[doc(alias = "RLIMIT_FSIZE")]
pub fn file_bytes_max() -> Option<u64> {
    file_bytes().0
}

/// The same as (soft, hard).
pub fn file_bytes() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Fsize);
    (limit.current, limit.maximum)
}

/// `statvfs("/dev/shm")`: the bytes that shared memory has in all, and the bytes that are free. `u64::MAX` both if it was mounted without a
/// limit (`size=0`): then what the machine or the control group has is all there is.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if nothing is mounted there.
///
/// See [statvfs(3)](https://man7.org/linux/man-pages/man3/statvfs.3.html).
#[doc(alias = "statvfs")]
pub fn shared_memory_space() -> Result<(u64, u64)> {
    let path = Path::new(shm::DIRECTORY);
    let space =
        retry_on_intr(|| rustix::fs::statvfs(path)).map_err(|errno| fail_path("statvfs", path, errno))?;
    if space.f_blocks == 0 {
        // tmpfs does not count what it does not limit.
        return Ok((u64::MAX, u64::MAX));
    }
    let total = space.f_blocks.saturating_mul(space.f_frsize);
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    Ok((total, free))
}

/// `statvfs("/dev/shm")`: how many objects shared memory may have in all, and how many more there may be; both 0 if they are not counted.
///
/// # Errors
/// As [`shared_memory_space`].
///
/// See [statvfs(3)](https://man7.org/linux/man-pages/man3/statvfs.3.html).
pub fn shared_memory_inodes() -> Result<(u64, u64)> {
    let path = Path::new(shm::DIRECTORY);
    let space =
        retry_on_intr(|| rustix::fs::statvfs(path)).map_err(|errno| fail_path("statvfs", path, errno))?;
    Ok((space.f_files, space.f_favail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_queues_and_shared_memory() {
        assert!(queue_messages_max().is_some_and(|messages| messages >= 1));
        assert!(queue_message_bytes_max().is_some_and(|bytes| bytes >= 128));
        assert!(queues_max().is_some());
        let (total, free) = shared_memory_space().expect("/dev/shm");
        assert!(free <= total && total > 0);
    }

    #[test]
    fn this_machine_has_system_v_objects() {
        assert!(segment_bytes_max().is_some_and(|bytes| bytes >= 4096));
        assert!(segment_pages_max().is_some() && segments_max().is_some());
        assert!(semaphores().is_some_and(|limits| limits.in_set >= 1 && limits.operations >= 1));
        assert!(message_bytes_max().is_some() && message_queue_bytes_max().is_some());
        assert!(message_queues_max().is_some());
    }

    #[test]
    fn the_default_limit_is_enough_for_nine_queues_of_the_default_size() {
        // Counted on Linux 6.18: 819,200 bytes are the default limit, the tenth queue of 10 times 8192 fails.
        assert_eq!(819_200 / queue_bytes_charged(10, 8192), 9);
        assert_eq!(queue_bytes_charged(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn raising_open_files_reaches_the_hard_limit() {
        raise_open_files_to_hard().expect("setrlimit");
        let (soft, hard) = open_files();
        assert_eq!(soft, hard);
    }
}
