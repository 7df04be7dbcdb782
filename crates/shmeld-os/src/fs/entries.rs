//! Listing a directory, one entry at a time.

use std::fmt;
use std::os::fd::OwnedFd;

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
/// See [readdir(3)](https://man7.org/linux/man-pages/man3/readdir.3.html).
#[doc(alias = "readdir")]
#[doc(alias = "getdents64")]
pub fn entries(directory: OwnedFd) -> Entries {
    match Dir::new(directory) {
        Ok(mut stream) => {
            // A duplicate of a descriptor that was listed before stands where that listing ended.
            stream.rewind();
            Entries {
                stream: Some(stream),
                refused: None,
            }
        }
        Err(errno) => Entries {
            stream: None,
            refused: Some(Error::new("fdopendir", "directory", errno)),
        },
    }
}

/// The entries of a directory, from [`entries`]. After an error it ends.
pub struct Entries {
    stream: Option<Dir>,
    refused: Option<Error>,
}

impl Iterator for Entries {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        let stream = self.stream.as_mut()?;
        loop {
            let outcome = match stream.read()? {
                Ok(entry) if is_dots(&entry) => continue,
                Ok(entry) => complete(stream, &entry),
                Err(Errno::INTR) => continue,
                Err(errno) => Err(fail(stream, errno)),
            };
            if outcome.is_err() {
                self.stream = None;
            }
            return Some(outcome);
        }
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Entries")
            .field("is_open", &self.stream.is_some())
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
