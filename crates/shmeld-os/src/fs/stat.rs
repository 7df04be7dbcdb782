//! What a file is.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType};
use rustix::io::{Errno, retry_on_intr};

use super::label::{fail_at, fail_on, fail_path};
use crate::Result;

/// What kind of file a name or a descriptor leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link itself, not what it points to.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device such as `/dev/null`.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// The file system did not say.
    Unknown,
}

impl From<FileType> for FileKind {
    fn from(file_type: FileType) -> Self {
        match file_type {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Directory,
            FileType::Symlink => FileKind::Symlink,
            FileType::Fifo => FileKind::Fifo,
            FileType::Socket => FileKind::Socket,
            FileType::CharacterDevice => FileKind::CharDevice,
            FileType::BlockDevice => FileKind::BlockDevice,
            FileType::Unknown => FileKind::Unknown,
        }
    }
}

/// A moment as file systems record it: time since 1970 in UTC. Before 1970 the seconds are negative and
/// the nanoseconds still count upwards. The default is the beginning of 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What `fstat` says, in types of one width on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The file system; with [`ino`](Stat::ino) the identity of the file.
    pub dev: u64,
    /// The file's number in its file system. Reused after the last link and descriptor are gone.
    pub ino: u64,
    /// The twelve permission bits: set-uid, set-gid, sticky, and three times read, write, execute.
    pub mode: u32,
    /// What kind of file it is.
    pub kind: FileKind,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The number of names. 0: removed, and alive only through descriptors and mappings.
    pub links: u64,
    /// The length in bytes.
    pub bytes: u64,
    /// Storage in use in units of 512 bytes, whatever the file system's own unit is.
    pub blocks_512: u64,
    /// When the contents changed last. Anybody who may write can forge it.
    pub modified: Time,
    /// When contents or metadata changed last. Cannot be set.
    pub changed: Time,
}

impl Stat {
    /// Whether both describe the same file: the same number in the same file system.
    pub fn is_same_file(&self, other: &Stat) -> bool {
        self.dev == other.dev && self.ino == other.ino
    }
}

/// The twelve bits that `chmod` can change.
const PERMISSION_BITS: u32 = 0o7777;

impl From<rustix::fs::Stat> for Stat {
    // The widths of these fields differ from machine to machine: a cast that is needed on one is the
    // identity on another.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn from(raw: rustix::fs::Stat) -> Self {
        Stat {
            dev: raw.st_dev as u64,
            ino: raw.st_ino as u64,
            mode: raw.st_mode as u32 & PERMISSION_BITS,
            kind: FileType::from_raw_mode(raw.st_mode).into(),
            uid: raw.st_uid,
            gid: raw.st_gid,
            links: raw.st_nlink as u64,
            bytes: u64::try_from(raw.st_size).unwrap_or(0),
            blocks_512: raw.st_blocks as u64,
            modified: Time {
                seconds: raw.st_mtime as i64,
                nanoseconds: raw.st_mtime_nsec as u32,
            },
            changed: Time {
                seconds: raw.st_ctime as i64,
                nanoseconds: raw.st_ctime_nsec as u32,
            },
        }
    }
}

/// `major(dev)` and `minor(dev)`: the two numbers by which /proc names a device.
#[doc(alias = "major")]
#[doc(alias = "minor")]
pub fn device_numbers(dev: u64) -> (u32, u32) {
    (rustix::fs::major(dev), rustix::fs::minor(dev))
}

/// `fstat(fd)`: describes what a descriptor refers to.
///
/// # Errors
/// Practically never: only file systems whose server is gone refuse it.
///
/// See [fstat(2)](https://man7.org/linux/man-pages/man2/fstat.2.html).
#[doc(alias = "fstat")]
pub fn stat(fd: impl AsFd) -> Result<Stat> {
    let raw = retry_on_intr(|| rustix::fs::fstat(&fd)).map_err(|errno| fail_on("fstat", &fd, errno))?;
    Ok(raw.into())
}

/// `fstatat(dir, name, AT_SYMLINK_NOFOLLOW)`: describes a name in a directory; a symbolic link describes
/// itself.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if there is no such name; permission of the directory.
///
/// See [fstatat(2)](https://man7.org/linux/man-pages/man2/fstatat.2.html).
#[doc(alias = "fstatat")]
pub fn stat_at(dir: impl AsFd, name: &[u8]) -> Result<Stat> {
    let raw = retry_on_intr(|| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW))
        .map_err(|errno| fail_at("fstatat", &dir, name, errno))?;
    Ok(raw.into())
}

/// As [`stat_at`], for a name that often does not exist: then `None`, which costs no error with the path in it.
///
/// # Errors
/// As there, but for the name that does not exist.
pub fn find_at(dir: impl AsFd, name: &[u8]) -> Result<Option<Stat>> {
    match retry_on_intr(|| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(raw) => Ok(Some(raw.into())),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(fail_at("fstatat", &dir, name, errno)),
    }
}

/// `stat(path)`: describes what a path leads to, symbolic links followed.
///
/// # Errors
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) if it leads nowhere; permission on the way.
///
/// See [stat(2)](https://man7.org/linux/man-pages/man2/stat.2.html).
pub fn stat_path(path: &Path) -> Result<Stat> {
    let raw = retry_on_intr(|| rustix::fs::stat(path)).map_err(|errno| fail_path("stat", path, errno))?;
    Ok(raw.into())
}

/// `statvfs(path)`: the bytes that an unprivileged user can still write on the file system of `path`; `u64::MAX` if that does not count them,
/// as a tmpfs without a limit.
///
/// # Errors
/// As for [`stat_path`].
///
/// See [statvfs(3)](https://man7.org/linux/man-pages/man3/statvfs.3.html).
#[doc(alias = "statvfs")]
pub fn space_free(path: &Path) -> Result<u64> {
    let space =
        retry_on_intr(|| rustix::fs::statvfs(path)).map_err(|errno| fail_path("statvfs", path, errno))?;
    if space.f_blocks == 0 {
        return Ok(u64::MAX);
    }
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

/// File systems whose regular files are made up by the kernel while they are read: their sizes are lies
/// and reading can have effects. Numbers from `linux/magic.h`.
const PSEUDO_MAGICS: &[u64] = &[
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x6165_676c, // pstore
    0x1980_0202, // mqueue
    0x6e73_6673, // nsfs
    0x4249_4e4d, // binfmt_misc
];

/// In-memory file system of `/dev/shm`, from `linux/magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// ext4 and its ancestors, which cannot reserve; the attempt says so.
const EXT4_MAGIC: u64 = 0xef53;

/// `fstatfs(fd)`: whether a file that is going to be written from start to end gets there faster if its storage is reserved beforehand.
///
/// Measured: on ext4 a reserved file of 4 MiB and more is written in 0.6 to 0.66 of the time, because its pages come in large folios;
/// on tmpfs the reservation costs what it saves. No other file system has been measured, so none is in the list.
///
/// # Errors
/// Whatever the kernel says about the descriptor.
///
/// See [fstatfs(2)](https://man7.org/linux/man-pages/man2/fstatfs.2.html).
#[doc(alias = "fstatfs")]
pub fn is_faster_reserved(fd: impl AsFd) -> Result<bool> {
    Ok(file_system_magic(fd)? == EXT4_MAGIC)
}

/// `fstatfs(fd)`: whether a descriptor lies on a file system of made-up files (proc, sysfs, cgroup,
/// debugfs, tracefs, securityfs, bpf, configfs, efivarfs and their like).
///
/// # Errors
/// Practically never.
///
/// See [fstatfs(2)](https://man7.org/linux/man-pages/man2/fstatfs.2.html).
#[doc(alias = "fstatfs")]
pub fn is_pseudo(fd: impl AsFd) -> Result<bool> {
    Ok(PSEUDO_MAGICS.contains(&file_system_magic(fd)?))
}

/// Whether a descriptor lies on tmpfs, where POSIX shared memory belongs.
pub(crate) fn is_tmpfs(fd: impl AsFd) -> Result<bool> {
    Ok(file_system_magic(fd)? == TMPFS_MAGIC)
}

fn file_system_magic(fd: impl AsFd) -> Result<u64> {
    let statistics =
        retry_on_intr(|| rustix::fs::fstatfs(&fd)).map_err(|errno| fail_on("fstatfs", &fd, errno))?;
    // The field is signed on some machines and of 32 bits on others; magic numbers have 32 bits.
    Ok(statistics.f_type as u64 & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_files_are_recognised_and_real_ones_are_not() {
        let proc = std::fs::File::open("/proc/self/status").expect("proc");
        assert!(is_pseudo(&proc).expect("fstatfs"));
        let real = std::fs::File::open("/dev/shm").expect("shm");
        assert!(!is_pseudo(&real).expect("fstatfs"));
        assert!(is_tmpfs(&real).expect("fstatfs"));
        assert!(!is_tmpfs(&proc).expect("fstatfs"));
    }

    #[test]
    fn a_stat_has_twelve_permission_bits_and_a_kind() {
        let shm = stat_path(Path::new("/dev/shm")).expect("stat");
        assert_eq!((shm.kind, shm.mode), (FileKind::Directory, 0o1777));
        let null = stat_path(Path::new("/dev/null")).expect("stat");
        assert_eq!(null.kind, FileKind::CharDevice);
        let root = open_root();
        assert_eq!(stat_at(&root, b"proc").expect("stat").kind, FileKind::Directory);
        assert!(
            stat(&root)
                .expect("stat")
                .is_same_file(&stat_path(Path::new("/")).expect("stat"))
        );
    }

    fn open_root() -> std::fs::File {
        std::fs::File::open("/").expect("root")
    }

    #[test]
    fn an_error_names_the_whole_path_with_control_bytes_escaped() {
        let error = stat_at(open_root(), b"no\nsuch").expect_err("missing");
        assert_eq!(
            error.to_string(),
            "fstatat /no\\nsuch: no such file or directory (ENOENT)"
        );
        let error = stat_path(Path::new("/no/such")).expect_err("missing");
        assert_eq!(error.object(), "/no/such");
    }

    #[test]
    fn free_space_is_a_number_of_bytes() {
        assert!(space_free(Path::new("/dev/shm")).expect("statvfs") > 4096);
    }
}
