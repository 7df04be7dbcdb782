//! Opening directories, their children, and new files.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::retry_on_intr;

use super::label::{fail_at, fail_path};
use crate::{Result, explain};

/// For reading whatever a stranger put there: never hang on a FIFO or a file lease, never acquire a
/// controlling terminal, never survive an exec.
pub(super) const READ_SAFELY: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// `open(path, O_DIRECTORY)`: opens a directory that the user named; symbolic links are followed.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), permission, or that it is no directory.
///
/// See [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
#[doc(alias = "open")]
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()))
        .map_err(|errno| fail_path("open", path, errno))
}

/// `openat(dir, name, O_DIRECTORY|O_NOFOLLOW)`: opens a directory in a directory; a symbolic link is
/// refused (ENOTDIR), wherever it points.
///
/// # Errors
/// As for [`open_directory`].
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
pub fn open_directory_at(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    open_at(&dir, name, DIRECTORY | OFlags::NOFOLLOW, 0)
}

/// `openat(dir, name, O_RDONLY|O_NOFOLLOW|O_NONBLOCK)`: opens one child for reading, without following a
/// symbolic link and without waiting.
///
/// A FIFO opens at once, whether anybody writes to it or not: look at [`stat`](super::stat()) before reading.
///
/// # Errors
/// ELOOP for a symbolic link, ENXIO for a socket, EAGAIN for a file whose holder has a lease on it, and
/// what every open can say.
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
pub fn open_child(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    open_at(&dir, name, READ_SAFELY | OFlags::NOFOLLOW, 0)
}

/// `openat(dir, name, O_RDWR|O_NOFOLLOW|O_NONBLOCK)`: opens one child for reading and writing, without following a symbolic link and
/// without waiting.
///
/// # Errors
/// As for [`open_child`]; EISDIR for a directory.
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
pub fn open_child_to_write(dir: impl AsFd, name: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    open_at(&dir, name, flags, 0)
}

/// `openat(dir, name, O_CREAT|O_EXCL|O_WRONLY)`: creates a file that did not exist.
///
/// `mode` is narrowed by the umask.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if anything has that name, even a dangling
/// link.
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
pub fn create_new(dir: impl AsFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_at(&dir, name, flags, mode)
}

/// `openat(dir, name, O_WRONLY|O_APPEND|O_CREAT|O_NOFOLLOW|O_NONBLOCK)`: opens a file to which lines are added, made if it is not there.
///
/// `mode` is that of a new file, narrowed by the umask. Nothing is waited for, so a FIFO that somebody reads opens too, and so does a
/// file of anybody: look at [`stat`](super::stat()) before writing.
///
/// # Errors
/// ELOOP for a symbolic link, ENXIO for a socket or a FIFO that nobody reads, EISDIR, and what every open can say.
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
#[doc(alias = "O_APPEND")]
pub fn open_append(dir: impl AsFd, name: &[u8], mode: u32) -> Result<OwnedFd> {
    let for_lines = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
    let harmless = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open_at(&dir, name, for_lines | harmless, mode)
}

/// `openat(dir, ".", O_TMPFILE|O_RDWR)`: creates a file without a name on the file system of `dir`. It
/// vanishes with its last descriptor, unless [`link_unnamed`](super::link_unnamed) gives it a name.
///
/// `mode` is narrowed by the umask.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) (EOPNOTSUPP, or EISDIR from old kernels, whose
/// kind is `Invalid`) where the file system has no unnamed files.
///
/// See [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html).
#[doc(alias = "openat")]
#[doc(alias = "O_TMPFILE")]
pub fn create_unnamed(dir: impl AsFd, mode: u32) -> Result<OwnedFd> {
    let descriptor = open_at(&dir, b".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
    explain!(
        "openat(O_TMPFILE)",
        super::label::of_descriptor(dir.as_fd()),
        "a file without a name: if this process dies now, nothing is left behind",
    );
    Ok(descriptor)
}

/// `readlinkat(dir, name)`: where a symbolic link points, as written in it.
///
/// # Errors
/// EINVAL if it is no symbolic link.
///
/// See [readlinkat(2)](https://man7.org/linux/man-pages/man2/readlinkat.2.html).
#[doc(alias = "readlinkat")]
pub fn read_link(dir: impl AsFd, name: &[u8]) -> Result<Vec<u8>> {
    let target = retry_on_intr(|| rustix::fs::readlinkat(&dir, name, Vec::new()))
        .map_err(|errno| fail_at("readlinkat", &dir, name, errno))?;
    Ok(target.into_bytes())
}

fn open_at(dir: impl AsFd, name: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(mode)))
        .map_err(|errno| fail_at("openat", &dir, name, errno))
}
