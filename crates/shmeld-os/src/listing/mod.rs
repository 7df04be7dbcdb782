//! Which objects exist, and who has them, as the kernel shows it. What follows from that is for others to judge.
//!
//! | room | what is in it |
//! |---|---|
//! | here | names in `/dev/shm`, for those who then open them |
//! | `files` | what is in `/dev/shm`: [`shared_memory_files`] |
//! | `queues` | POSIX message queues, mounted or not: [`QueueDirectory`] |
//! | `sysv_tables` | System V objects of all users: [`sysv_segments`], [`sysv_sets`], [`sysv_queues`] |
//! | `processes`, `maps` | who has what open or mapped, by one pass over /proc: [`look_at_processes`] |
//! | `identity` | who a process is: [`look_at_process`] |
//!
//! ```
//! use shmeld_os::{ObjectName, listing, posix::shm::SharedMemory};
//! use shmeld_os::sysv::{Key, shared_memory::Segment};
//!
//! let prefix = format!("shmeld-example-listing-{}", std::process::id());
//! let name = ObjectName::new(&format!("{prefix}-frames"))?;
//! let segment = Segment::create_new(Key::PRIVATE, 8192, 0o600)?;
//! let memory = SharedMemory::create_new(&name, 0o600)?;
//!
//! let (rows, names) = (listing::sysv_segments()?, listing::shared_memory_names(&prefix)?);
//! segment.remove()?;
//! SharedMemory::unlink(&name)?;
//! assert!(rows.iter().any(|row| row.id == segment.id() && row.bytes == 8192));
//! assert_eq!(names, [name.as_str().as_bytes()]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod files;
mod identity;
mod maps;
mod processes;
mod queues;
mod sysv_tables;

pub use files::{SharedMemoryFile, shared_memory_files};
pub use identity::{Process, look_at_process, viewpoint};
pub use processes::{Devices, How, Processes, Use, look_at_processes};
pub use queues::{QueueDetails, QueueDirectory, QueueFile, queue_of_name};
pub use sysv_tables::{SysvQueueRow, SysvSegmentRow, SysvSetRow, sysv_queues, sysv_segments, sysv_sets};

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::fs::{entries, open_directory};
use crate::posix::shm;
use crate::{Error, Result};

/// `readdir("/dev/shm")`: the names there that begin with `prefix`, sorted.
///
/// Semaphores are files there too, under `sem.` and their name.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such directory.
///
/// See [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html).
pub fn shared_memory_names(prefix: &str) -> Result<Vec<Vec<u8>>> {
    // Not by the standard library, whose listing ends the process if the directory cannot be closed.
    let found =
        entries(open_directory(Path::new(shm::DIRECTORY))?)?.map(|entry| entry.map(|entry| entry.name));
    let mut names = found.collect::<Result<Vec<_>>>()?;
    names.retain(|name| name.starts_with(prefix.as_bytes()));
    names.sort_unstable();
    Ok(names)
}

/// `/proc/self/mountinfo`: where message queue file systems are mounted, `/dev/mqueue` first.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if /proc is missing.
pub(crate) fn queue_mounts() -> Result<Vec<PathBuf>> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mounts = fs::read(MOUNTS).map_err(|error| Error::of_io("open", MOUNTS, &error))?;
    Ok(queue_directories(&mounts))
}

/// `/proc/sysvipc/KIND`: how many System V objects of a kind (`shm`, `sem` or `msg`) this IPC namespace has. `None` if /proc is missing.
///
/// See [sysvipc(7)](https://man7.org/linux/man-pages/man7/sysvipc.7.html).
pub(crate) fn sysv_count(kind: &str) -> Option<u64> {
    let text = fs::read_to_string(Path::new("/proc/sysvipc").join(kind)).ok()?;
    // The first line is the heading.
    text.lines().skip(1).count().try_into().ok()
}

/// The mount points of type mqueue, `/dev/mqueue` first.
///
/// A line is `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [FIELDS…] - TYPE SOURCE SUPER-OPTIONS`.
fn queue_directories(mounts: &[u8]) -> Vec<PathBuf> {
    const MOUNT_POINT_FIELD: usize = 4;
    let mut directories: Vec<PathBuf> = mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ');
            let mount_point = fields.nth(MOUNT_POINT_FIELD)?;
            fields.find(|field| *field == b"-")?;
            let is_queues = fields.next()? == b"mqueue";
            is_queues.then(|| PathBuf::from(std::ffi::OsStr::from_bytes(&unescape(mount_point))))
        })
        .collect();
    directories.sort_by_key(|directory| directory != Path::new("/dev/mqueue"));
    directories
}

/// Undoes the octal escapes (`\040` for a space) of the kernel's mount table.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_mounts_are_found_wherever_they_are() {
        let mounts = b"22 1 0:20 / /proc rw - proc proc rw\n\
            31 22 0:17 / /my\\040queues rw,nosuid shared:9 master:1 - mqueue mqueue rw\n\
            32 22 0:17 / /dev/mqueue rw - mqueue none rw\n\
            33 22 0:18 / /mqueue rw - tmpfs mqueue rw\n\
            a broken line\n";
        assert_eq!(
            queue_directories(mounts),
            [Path::new("/dev/mqueue"), Path::new("/my queues")]
        );
        assert!(queue_directories(b"").is_empty());
    }

    #[test]
    fn octal_escapes_are_undone_and_nothing_else() {
        assert_eq!(unescape(b"a\\040b\\134\\011"), b"a b\\\t");
        assert_eq!(unescape(b"\\9\\04\\400"), b"\\9\\04\\400");
    }
}
