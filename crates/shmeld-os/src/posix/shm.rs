//! POSIX shared memory: regular files on the tmpfs of `/dev/shm`.
//!
//! `shm_open` is `open` in that directory, and its dangers are those of a directory where everybody may
//! create names: a FIFO under an expected name makes a plain open hang, a symbolic link leads elsewhere,
//! `ftruncate` promises memory that is not there (the first touch then raises SIGBUS). So
//! [`SharedMemory::open`] refuses everything that is not a regular file on tmpfs, and
//! [`SharedMemory::reserve`] allocates.
//!
//! Two ways to create:
//! ```text
//! create_new       shm_open(O_CREAT|O_EXCL), fchmod: what textbooks do. A crash before the object has its
//!                  size leaves an empty name.
//! create_unnamed   O_TMPFILE; then reserve, fill, take leases; publish (linkat) gives the name to a
//!                  finished object. A crash at any step leaves nothing.
//! ```
//!
//! ```
//! use shmeld_os::{ObjectName, posix::shm::SharedMemory};
//!
//! let name = ObjectName::new(&format!("/shmeld-example-{}", std::process::id()))?;
//! let memory = SharedMemory::create_unnamed()?;
//! memory.reserve(4096)?;
//! memory.write_at(b"hello", 0)?;
//! memory.publish(&name)?;
//!
//! let seen = SharedMemory::open(&name, false)?;
//! SharedMemory::unlink(&name)?;
//! let mut text = [0; 5];
//! seen.read_at(&mut text, 0)?;
//! assert_eq!(&text, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::fs::{self, FileKind, Stat};
use crate::{Error, ErrorKind, ObjectName, Result, explain};

/// Where POSIX shared memory lives on Linux.
pub const DIRECTORY: &str = "/dev/shm";

/// Opening what a stranger may have put there: no hang on a FIFO, no link, no terminal, no inheritance.
const OPEN_SAFELY: OFlags = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// How often creating and opening may alternate when others create and remove the name meanwhile.
const RACE_TRIES_MAX: usize = 100;

/// An open shared memory object. Closed on drop; its name, if it has one, stays.
#[derive(Debug)]
pub struct SharedMemory {
    file: File,
    /// For messages: the name as users write it.
    label: String,
}

impl SharedMemory {
    /// `open("/dev/shm", O_TMPFILE|O_RDWR, 0600)`: creates an object without a name, which vanishes with
    /// its last descriptor and mapping unless it is [published](SharedMemory::publish).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is no tmpfs on `/dev/shm`.
    ///
    /// See [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
    #[doc(alias = "O_TMPFILE")]
    pub fn create_unnamed() -> Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let descriptor = retry_on_intr(|| rustix::fs::open(DIRECTORY, flags, Mode::RUSR | Mode::WUSR))
            .map_err(|errno| match errno {
                // What kernels and file systems without O_TMPFILE say.
                Errno::ISDIR => Error::new("shm_open", DIRECTORY, Errno::OPNOTSUPP),
                errno => Error::new("shm_open", DIRECTORY, errno),
            })?;
        explain!(
            "open(O_TMPFILE)",
            DIRECTORY,
            "create shared memory without a name: if this process dies now, nothing is left behind",
        );
        Self::checked(descriptor, format!("{DIRECTORY} (no name yet)"))
    }

    /// `shm_open(name, O_CREAT|O_EXCL|O_RDWR, mode)`, then `fchmod(mode)`, because the umask narrows the
    /// mode of the first call: creates an empty object that did not exist.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if anything has that name.
    ///
    /// See [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html).
    #[doc(alias = "shm_open")]
    pub fn create_new(name: &ObjectName, mode: u32) -> Result<Self> {
        let flags = OPEN_SAFELY | OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let descriptor = open(name, flags, Mode::from_raw_mode(mode & 0o700))?;
        explain!(
            "shm_open(O_CREAT|O_EXCL)",
            name,
            "create shared memory; it must not exist yet"
        );
        let made = Self::checked(descriptor, name.to_string()).and_then(|memory| {
            memory.set_mode(mode)?;
            Ok(memory)
        });
        if made.is_err() {
            // Ours, new, and of no use to anybody.
            let _ = Self::unlink(name);
        }
        made
    }

    /// `shm_open(name, O_CREAT|O_RDWR, mode)`: opens an object, or creates it empty with exactly `mode`.
    ///
    /// Whoever else could have created it is not checked: look at [`stat`](SharedMemory::stat).
    ///
    /// # Errors
    /// As for [`open`](SharedMemory::open).
    ///
    /// See [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html).
    #[doc(alias = "shm_open")]
    pub fn open_or_create(name: &ObjectName, mode: u32) -> Result<Self> {
        // Two exclusive steps instead of one vague one: this way it is known who created it, the mode is
        // exact, and fs.protected_regular does not turn the open of another's object into a riddle.
        for _ in 0..RACE_TRIES_MAX {
            match Self::open(name, true) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                outcome => return outcome,
            }
            match Self::create_new(name, mode) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                outcome => return outcome,
            }
        }
        Err(Error::new("shm_open", name.to_string(), Errno::AGAIN))
    }

    /// `shm_open(name, O_RDWR or O_RDONLY)`: opens an object that exists.
    ///
    /// With `O_NOFOLLOW` and `O_NONBLOCK`; what opens is checked to be a regular file on tmpfs before
    /// anything is done with it. Owner, mode, size and number of links are for the caller to judge, on
    /// [`stat`](SharedMemory::stat) of this descriptor.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::PermissionDenied`]; [`ErrorKind::Invalid`] if it is a symbolic
    /// link, a FIFO, a directory or the like; [`ErrorKind::Unsupported`] if it does not lie on tmpfs.
    ///
    /// See [shm_open(3)](https://man7.org/linux/man-pages/man3/shm_open.3.html).
    #[doc(alias = "shm_open")]
    pub fn open(name: &ObjectName, writable: bool) -> Result<Self> {
        let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let descriptor = open(name, OPEN_SAFELY | access, Mode::empty())?;
        let memory = Self::checked(descriptor, name.to_string())?;
        explain!(
            "shm_open",
            name,
            "open shared memory that somebody else made; it is a regular file on tmpfs"
        );
        Ok(memory)
    }

    /// `open("/dev/shm/name", O_PATH)`: finds an object whatever its mode is, to look at it and to change mode and owner. It cannot be read,
    /// written or mapped: EBADF.
    ///
    /// # Errors
    /// As for [`open`](SharedMemory::open), but for the mode.
    ///
    /// See [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
    #[doc(alias = "O_PATH")]
    pub fn find(name: &ObjectName) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(name, flags, Mode::empty())?;
        let memory = Self::checked(descriptor, name.to_string())?;
        explain!(
            "open(O_PATH)",
            name,
            "find shared memory, whatever its mode lets us do"
        );
        Ok(memory)
    }

    fn checked(descriptor: OwnedFd, label: String) -> Result<Self> {
        let memory = SharedMemory {
            file: File::from(descriptor),
            label,
        };
        if memory.stat()?.kind != FileKind::File {
            return Err(memory.fail("shm_open", Errno::INVAL));
        }
        if !fs::is_tmpfs(&memory)? {
            return Err(memory.fail("shm_open", Errno::OPNOTSUPP));
        }
        Ok(memory)
    }

    /// `linkat(fd, "", "/dev/shm", name, AT_EMPTY_PATH)`: gives an [unnamed](SharedMemory::create_unnamed)
    /// object its name. Who opens the name finds the object as it is now; nothing is ever replaced.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if anything has that name.
    ///
    /// See [linkat(2)](https://man7.org/linux/man-pages/man2/linkat.2.html).
    #[doc(alias = "linkat")]
    pub fn publish(&self, name: &ObjectName) -> Result<()> {
        publish(self.as_fd(), name.as_str())
            .map_err(|errno| Error::new("linkat", name.to_string(), errno))?;
        explain!(
            "linkat",
            name,
            "the finished object gets its name: nobody ever sees it half made"
        );
        Ok(())
    }

    /// `fstat(fd)`: owner, mode, length, reserved storage and number of names.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [fstat(2)](https://man7.org/linux/man-pages/man2/fstat.2.html).
    #[doc(alias = "fstat")]
    pub fn stat(&self) -> Result<Stat> {
        let raw =
            retry_on_intr(|| rustix::fs::fstat(&self.file)).map_err(|errno| self.fail("fstat", errno))?;
        Ok(raw.into())
    }

    /// `fchmod(fd, mode)`: sets the permission bits, whatever the umask is.
    ///
    /// # Errors
    /// EPERM for objects of others.
    ///
    /// See [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html).
    #[doc(alias = "fchmod")]
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        fs::change_mode(self.as_fd(), mode).map_err(|errno| self.fail("fchmod", errno))?;
        explain!(
            "fchmod",
            self.label,
            format_args!("exactly mode {mode:04o}, whatever the umask says")
        );
        Ok(())
    }

    /// `pread(fd, buffer, offset)`: reads up to the length of `buffer`; 0 is the end of the object.
    ///
    /// # Errors
    /// Practically never.
    ///
    /// See [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html).
    #[doc(alias = "pread")]
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        fs::read_at(&self.file, buffer, offset).map_err(|errno| self.fail("pread", errno))
    }

    /// `pwrite(fd, bytes, offset)`: writes; returns how many bytes went.
    ///
    /// Beyond the end it makes the object longer, at this process's expense. Who must not do that writes
    /// through a mapping.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`]; EBADF if it was opened for reading.
    ///
    /// See [pwrite(2)](https://man7.org/linux/man-pages/man2/pwrite.2.html).
    #[doc(alias = "pwrite")]
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        retry_on_intr(|| rustix::io::pwrite(&self.file, bytes, offset))
            .map_err(|errno| self.fail("pwrite", errno))
    }

    /// `shm_unlink(name)`: removes a name. The object lives on while it is open or mapped anywhere.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::PermissionDenied`] for objects of others, since the directory is
    /// sticky.
    ///
    /// See [shm_unlink(3)](https://man7.org/linux/man-pages/man3/shm_unlink.3.html).
    #[doc(alias = "shm_unlink")]
    pub fn unlink(name: &ObjectName) -> Result<()> {
        retry_on_intr(|| rustix::fs::unlink(path_of(name.as_str())))
            .map_err(|errno| Error::new("shm_unlink", name.to_string(), errno))?;
        explain!(
            "shm_unlink",
            name,
            "remove the name; the memory is freed when its last user lets go"
        );
        Ok(())
    }

    /// `lstat("/dev/shm/name")`: what has that name now, without opening it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    ///
    /// See [lstat(2)](https://man7.org/linux/man-pages/man2/lstat.2.html).
    #[doc(alias = "lstat")]
    pub fn stat_name(name: &ObjectName) -> Result<Stat> {
        let raw = retry_on_intr(|| rustix::fs::lstat(path_of(name.as_str())))
            .map_err(|errno| Error::new("lstat", name.to_string(), errno))?;
        Ok(raw.into())
    }

    /// The object as a file of the standard library.
    pub fn as_file(&self) -> &File {
        &self.file
    }

    /// The object as a file of the standard library, without its label.
    pub fn into_file(self) -> File {
        self.file
    }

    /// The name for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    fn fail(&self, operation: &'static str, errno: Errno) -> Error {
        Error::new(operation, self.label.clone(), errno)
    }
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Gives an unnamed file a name in the directory of shared memory.
pub(super) fn publish(file: BorrowedFd<'_>, file_name: &str) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = retry_on_intr(|| rustix::fs::open(DIRECTORY, flags, Mode::empty()))?;
    fs::link_by_descriptor(file, directory.as_fd(), file_name.as_bytes())
}

/// Where a name of an object lies in the file system.
pub(super) fn path_of(file_name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(file_name)
}

fn open(name: &ObjectName, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    retry_on_intr(|| rustix::fs::open(path_of(name.as_str()), flags, mode))
        .map_err(|errno| Error::new("shm_open", name.to_string(), errno))
}
