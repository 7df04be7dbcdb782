//! Names and metadata: giving, moving and removing names, modes and times.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{AtFlags, CWD, Mode, RenameFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Gid, Uid};

use super::Time;
use super::label::{fail_at, fail_on, of_name};
use crate::{Result, explain};

/// `mkdirat(dir, name, mode)`: makes a directory. `mode` is narrowed by the umask.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if anything has that name.
///
/// See [mkdirat(2)](https://man7.org/linux/man-pages/man2/mkdirat.2.html).
#[doc(alias = "mkdirat")]
pub fn make_directory(dir: impl AsFd, name: &[u8], mode: u32) -> Result<()> {
    retry_on_intr(|| rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(mode)))
        .map_err(|errno| fail_at("mkdirat", &dir, name, errno))
}

/// `symlinkat(target, dir, name)`: makes a symbolic link that holds `target` as it is.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if anything has that name.
///
/// See [symlinkat(2)](https://man7.org/linux/man-pages/man2/symlinkat.2.html).
#[doc(alias = "symlinkat")]
pub fn make_symlink(target: &[u8], dir: impl AsFd, name: &[u8]) -> Result<()> {
    retry_on_intr(|| rustix::fs::symlinkat(target, &dir, name))
        .map_err(|errno| fail_at("symlinkat", &dir, name, errno))
}

/// `linkat(fd, "", dir, name, AT_EMPTY_PATH)`: gives a file from [`create_unnamed`](super::create_unnamed)
/// its name. The name appears at once and complete; nothing is ever replaced.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if anything has that name.
///
/// See [linkat(2)](https://man7.org/linux/man-pages/man2/linkat.2.html).
#[doc(alias = "linkat")]
pub fn link_unnamed(fd: impl AsFd, dir: impl AsFd, name: &[u8]) -> Result<()> {
    link_by_descriptor(fd.as_fd(), dir.as_fd(), name)
        .map_err(|errno| fail_at("linkat", &dir, name, errno))?;
    explain!(
        "linkat",
        of_name(dir.as_fd(), name),
        "the finished file gets its name, all at once"
    );
    Ok(())
}

/// The two ways to link by a descriptor: directly, which older kernels allow only with a capability
/// (they say ENOENT without it), and through the descriptor's entry in /proc.
pub(crate) fn link_by_descriptor(
    file: BorrowedFd<'_>,
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> Result<(), Errno> {
    match retry_on_intr(|| rustix::fs::linkat(file, "", dir, name, AtFlags::EMPTY_PATH)) {
        Err(Errno::NOENT | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
            let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
            retry_on_intr(|| rustix::fs::linkat(CWD, entry.as_str(), dir, name, AtFlags::SYMLINK_FOLLOW))
        }
        outcome => outcome,
    }
}

/// `renameat(from_dir, from, to_dir, to)`: moves a name; what had the new name is replaced in the same
/// instant.
///
/// # Errors
/// EXDEV across file systems; EISDIR, ENOTDIR or ENOTEMPTY where directories are involved. The error
/// names the destination.
///
/// See [rename(2)](https://man7.org/linux/man-pages/man2/rename.2.html).
#[doc(alias = "renameat")]
pub fn rename(from_dir: impl AsFd, from: &[u8], to_dir: impl AsFd, to: &[u8]) -> Result<()> {
    retry_on_intr(|| rustix::fs::renameat(&from_dir, from, &to_dir, to))
        .map_err(|errno| fail_at("renameat", &to_dir, to, errno))
}

/// `renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE)`: moves a name where nothing has the new one.
///
/// A file system without this operation gets `linkat` and `unlinkat` instead: as safe for the destination,
/// but not for directories, and a crash between the two leaves both names.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) if anything has the new name. The error
/// names the destination.
///
/// See [rename(2)](https://man7.org/linux/man-pages/man2/rename.2.html).
#[doc(alias = "renameat2")]
pub fn rename_noreplace(from_dir: impl AsFd, from: &[u8], to_dir: impl AsFd, to: &[u8]) -> Result<()> {
    let outcome =
        retry_on_intr(|| rustix::fs::renameat_with(&from_dir, from, &to_dir, to, RenameFlags::NOREPLACE));
    let outcome = match outcome {
        Err(unsupported @ (Errno::INVAL | Errno::NOSYS)) => {
            match retry_on_intr(|| rustix::fs::linkat(&from_dir, from, &to_dir, to, AtFlags::empty())) {
                Ok(()) => retry_on_intr(|| rustix::fs::unlinkat(&from_dir, from, AtFlags::empty())),
                // A directory, or no links here either: the first answer says more.
                Err(Errno::PERM | Errno::OPNOTSUPP) => Err(unsupported),
                Err(errno) => Err(errno),
            }
        }
        outcome => outcome,
    };
    outcome.map_err(|errno| fail_at("renameat2", &to_dir, to, errno))
}

/// `unlinkat(dir, name)`: removes a name that is no directory.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it is not there; EISDIR for a directory.
///
/// See [unlinkat(2)](https://man7.org/linux/man-pages/man2/unlinkat.2.html).
#[doc(alias = "unlinkat")]
pub fn unlink(dir: impl AsFd, name: &[u8]) -> Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(&dir, name, AtFlags::empty()))
        .map_err(|errno| fail_at("unlinkat", &dir, name, errno))
}

/// `unlinkat(dir, name, AT_REMOVEDIR)`: removes an empty directory.
///
/// # Errors
/// ENOTEMPTY (of kind [`AlreadyExists`](crate::ErrorKind::AlreadyExists)) if something is in it.
///
/// See [unlinkat(2)](https://man7.org/linux/man-pages/man2/unlinkat.2.html).
#[doc(alias = "unlinkat")]
#[doc(alias = "rmdir")]
pub fn remove_directory(dir: impl AsFd, name: &[u8]) -> Result<()> {
    retry_on_intr(|| rustix::fs::unlinkat(&dir, name, AtFlags::REMOVEDIR))
        .map_err(|errno| fail_at("unlinkat", &dir, name, errno))
}

/// `fchmod(fd, mode)`: sets the twelve permission bits. The umask has no say.
///
/// # Errors
/// EPERM for files of others.
///
/// See [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html).
#[doc(alias = "fchmod")]
pub fn set_mode(fd: impl AsFd, mode: u32) -> Result<()> {
    change_mode(fd.as_fd(), mode).map_err(|errno| fail_on("fchmod", &fd, errno))
}

/// The two ways to change by a descriptor: directly, and where it is one of `O_PATH`, through its entry in /proc.
pub(crate) fn change_mode(file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(mode);
    match retry_on_intr(|| rustix::fs::fchmod(file, mode)) {
        Err(Errno::BADF) => {
            let entry = format!("/proc/self/fd/{}", file.as_raw_fd());
            retry_on_intr(|| rustix::fs::chmod(entry.as_str(), mode))
        }
        outcome => outcome,
    }
}

/// `fchownat(fd, "", uid, gid, AT_EMPTY_PATH)`, which is `fchown` for descriptors of `O_PATH` too: gives a file to another user or group;
/// `None` leaves it.
///
/// # Errors
/// EPERM unless we are root, or its owner and a member of that group; EINVAL for a number that this user namespace does not know.
///
/// See [fchown(2)](https://man7.org/linux/man-pages/man2/fchown.2.html).
#[doc(alias = "fchown")]
pub fn set_owner(fd: impl AsFd, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    retry_on_intr(|| rustix::fs::chownat(&fd, "", uid, gid, AtFlags::EMPTY_PATH))
        .map_err(|errno| fail_on("fchown", &fd, errno))
}

/// `futimens(fd, {UTIME_OMIT, modified})`: sets the modification time; the access time stays.
///
/// # Errors
/// EPERM for files of others; EINVAL for nanoseconds beyond a second.
///
/// See [futimens(3)](https://man7.org/linux/man-pages/man3/futimens.3.html).
#[doc(alias = "futimens")]
pub fn set_times(fd: impl AsFd, modified: Time) -> Result<()> {
    retry_on_intr(|| rustix::fs::futimens(&fd, &only_modified(modified)))
        .map_err(|errno| fail_on("futimens", &fd, errno))
}

/// `utimensat(dir, name, {UTIME_OMIT, modified}, AT_SYMLINK_NOFOLLOW)`: the same for a name; a symbolic
/// link gets the time itself.
///
/// # Errors
/// As for [`set_times`].
///
/// See [utimensat(2)](https://man7.org/linux/man-pages/man2/utimensat.2.html).
#[doc(alias = "utimensat")]
pub fn set_times_at(dir: impl AsFd, name: &[u8], modified: Time) -> Result<()> {
    let times = only_modified(modified);
    retry_on_intr(|| rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW))
        .map_err(|errno| fail_at("utimensat", &dir, name, errno))
}

fn only_modified(modified: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: modified.seconds,
            tv_nsec: modified.nanoseconds.into(),
        },
    }
}
