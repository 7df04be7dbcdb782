//! Listing a directory, one entry at a time.

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Dir, DirEntry};
use rustix::io::Errno;

use super::label::fail_on;
use super::{FileKind, stat_at};
use crate::{Error, ErrorKind, Result};

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name: one component, any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What it is; a symbolic link is a link. Never [`FileKind::Unknown`] unless it vanished meanwhile.
    pub kind: FileKind,
}

/// `getdents64(directory)`: lists a directory, without `.` and `..`, in the order of the file system.
///
/// Nothing is sorted and nothing is collected, so a directory of a million names costs one buffer. Names
/// that are created or removed meanwhile may or may not appear.
///
/// # Errors
/// ENOTDIR for what is no directory, now or with the first entry.
///
/// See [readdir(3)](https://man7.org/linux/man-pages/man3/readdir.3.html).
#[doc(alias = "readdir")]
#[doc(alias = "getdents64")]
pub fn entries(directory: OwnedFd) -> Result<Entries> {
    let stream = Dir::new(directory).map_err(|errno| Error::new("fdopendir", "directory", errno));
    let mut stream = stream?;
    // A duplicate of a descriptor that was listed before stands where that listing ended.
    stream.rewind();
    Ok(Entries {
        stream,
        is_over: false,
    })
}

/// The entries of a directory, from [`entries`]. After an error it ends.
pub struct Entries {
    stream: Dir,
    is_over: bool,
}

impl Entries {
    /// The directory, for calls that leave the place in it where it is.
    ///
    /// # Errors
    /// Practically never.
    pub fn directory(&self) -> Result<BorrowedFd<'_>> {
        let directory = self.stream.fd();
        directory.map_err(|errno| Error::new("dirfd", "directory", errno))
    }
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if self.is_over {
            return None;
        }
        loop {
            let outcome = match self.stream.read()? {
                Ok(entry) if is_dots(&entry) => continue,
                Ok(entry) => complete(&self.stream, &entry),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(fail(&self.stream, errno)),
            };
            self.is_over = outcome.is_err();
            return Some(outcome);
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entries")
            .field("is_over", &self.is_over)
            .finish()
    }
}

fn is_dots(entry: &DirEntry) -> bool {
    matches!(entry.file_name().to_bytes(), b"." | b"..")
}

fn complete(stream: &Dir, entry: &DirEntry) -> Result<Entry> {
    let name = entry.file_name().to_bytes().to_vec();
    let mut kind = FileKind::from(entry.file_type());
    if kind == FileKind::Unknown {
        // Some file systems do not keep the kind beside the name.
        let directory = stream.fd().map_err(|errno| fail(stream, errno))?;
        kind = match stat_at(directory, &name) {
            Ok(stat) => stat.kind,
            Err(error) if error.kind() == ErrorKind::NotFound => FileKind::Unknown,
            Err(error) => return Err(error),
        };
    }
    Ok(Entry { name, kind })
}

fn fail(stream: &Dir, errno: Errno) -> Error {
    match stream.fd() {
        Ok(directory) => fail_on("getdents64", directory, errno),
        Err(_) => Error::new("getdents64", "directory", errno),
    }
}
