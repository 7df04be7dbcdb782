//! What is in `/dev/shm`: segments and named semaphores are files there.

use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::retry_on_intr;

use crate::Result;
use crate::fs::{FileKind, Stat, Time, entries, find_at, open_directory};
use crate::posix::shm;

/// A file in `/dev/shm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemoryFile {
    /// Its name there: any bytes but `/` and NUL. Those of semaphores begin with `sem.`.
    pub name: Vec<u8>,
    /// What the kernel says about it.
    pub stat: Stat,
    /// When it was made, if the file system keeps that.
    pub made: Option<Time>,
}

/// `getdents64("/dev/shm")`, `fstatat` and `statx` of each: the regular files there, without opening any, sorted by name.
///
/// What is made or removed meanwhile may be among them or not.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such directory.
///
/// See [shm_overview(7)](https://man7.org/linux/man-pages/man7/shm_overview.7.html).
pub fn shared_memory_files() -> Result<Vec<SharedMemoryFile>> {
    let mut listed = entries(open_directory(Path::new(shm::DIRECTORY))?)?;
    let mut files = Vec::new();
    while let Some(entry) = listed.next().transpose()? {
        let directory = listed.directory()?;
        let Some(stat) = find_at(directory, &entry.name)?.filter(|stat| stat.kind == FileKind::File) else {
            continue;
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let born = retry_on_intr(|| statx(directory, entry.name.as_slice(), flags, StatxFlags::BTIME));
        let made = born
            .ok()
            .filter(|born| born.stx_mask & StatxFlags::BTIME.bits() != 0);
        files.push(SharedMemoryFile {
            made: made.map(|born| Time {
                seconds: born.stx_btime.tv_sec,
                nanoseconds: born.stx_btime.tv_nsec,
            }),
            name: entry.name,
            stat,
        });
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}
