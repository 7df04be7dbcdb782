//! The file behind the audit log: opened beneath its directory, written line by line, opened anew by name when somebody has rotated it.
//!
//! The directory is kept open, so that the file can be made again by a server that has confined itself to it. Each line is one `write` on
//! `O_APPEND`: lines of two servers on one file stay whole. Only the thread of `audit_writer` uses it: a disk may take its time.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shmeld_os::fs::{self, FileKind, Stat};
use shmeld_os::users::ROOT;
use shmeld_os::{Errno, process};

use crate::{Error, Result};

/// Mode of a new file. One that exists keeps its own.
const MODE: u32 = 0o600;
/// Bits that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// See the module.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    directory: Arc<OwnedFd>,
    file: OwnedFd,
    /// The file ends in a part of a line: a write was cut short, here or in an earlier run, and what was left of it could not be written.
    is_torn: bool,
}

impl AuditFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = Arc::new(fs::open_directory(directory)?);
        let file = open_in(&directory, path)?;
        let is_torn = last_byte(&directory, path, &fs::stat(&file)?).is_some_and(|last| last != b'\n');
        Ok(Self {
            path: path.to_owned(),
            directory,
            file,
            is_torn,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Arc<OwnedFd> {
        &self.directory
    }

    /// Opens the file by its name again. If nobody has renamed it, it is the same, and so is its end.
    pub(super) fn reopen(&mut self) -> Result<()> {
        let file = open_in(&self.directory, &self.path)?;
        let (old, new) = (fs::stat(&self.file)?, fs::stat(&file)?);
        let is_same = (old.dev, old.ino) == (new.dev, new.ino) && new.bytes > 0;
        self.is_torn &= is_same;
        self.file = file;
        Ok(())
    }

    /// Writes one line, behind a newline if the file ends in a part of one.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), Errno> {
        let mended = [b"\n", line].concat();
        let bytes = if self.is_torn { &mended[..] } else { line };
        let mut done = 0;
        while done < bytes.len() {
            match fs::write_once(&self.file, &bytes[done..])? {
                0 => return Err(Errno::IO),
                written => done += written,
            }
            self.is_torn = bytes[done - 1] != b'\n';
        }
        Ok(())
    }

    /// Writes into another file from now on.
    #[cfg(test)]
    pub(super) fn exchange(&mut self, file: OwnedFd) -> OwnedFd {
        std::mem::replace(&mut self.file, file)
    }
}

/// The last byte of this file, which earlier runs may have left in the middle of a line. One that we may write and not read tells nothing.
fn last_byte(directory: &OwnedFd, path: &Path, stat: &Stat) -> Option<u8> {
    let file = fs::open_child(directory, path.file_name()?.as_bytes()).ok()?;
    let found = fs::stat(&file).ok()?;
    let mut last = [0];
    let is_same = (found.dev, found.ino) == (stat.dev, stat.ino);
    let is_read = is_same && fs::read_at(&file, &mut last, found.bytes.checked_sub(1)?) == Ok(1);
    is_read.then_some(last[0])
}

fn open_in(directory: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    let name = path.file_name().unwrap_or(OsStr::new("."));
    let refuse = |reason: &str| Error::AuditFile {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let file = fs::open_append(directory, name.as_bytes(), MODE).map_err(|error| match error.errno() {
        Errno::LOOP => refuse("it is a symbolic link (ELOOP)"),
        Errno::ISDIR => refuse("it is a directory (EISDIR)"),
        Errno::NXIO => refuse("it is a FIFO or a socket (ENXIO)"),
        _ => error.into(),
    })?;
    match unfit(&fs::stat(&file)?, process::effective_uid()) {
        None => Ok(file),
        Some(reason) => Err(refuse(&reason)),
    }
}

/// Why a file cannot hold the audit log of a server of this user: somebody else could read, forge or remove what is written there.
fn unfit(stat: &Stat, uid: u32) -> Option<String> {
    if stat.kind != FileKind::File {
        return Some("it is not a regular file".to_owned());
    }
    if stat.uid != uid && stat.uid != ROOT {
        return Some(format!("it belongs to uid {}", stat.uid));
    }
    if stat.links != 1 {
        return Some(format!("it has {} names", stat.links));
    }
    if stat.mode & OTHERS_WRITE != 0 {
        return Some(format!("others may write it (mode {:04o})", stat.mode));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample;

    /// A line that a killed server or a full disk has cut short costs itself and not the next one; nor does a hangup forget it.
    #[test]
    fn half_a_line_stays_one_and_the_next_is_whole() {
        let path = std::env::temp_dir().join(format!("shmeld-audit-torn-{}", process::pid()));
        std::fs::write(&path, b"{}\n{\"half").unwrap();
        let mut log = AuditFile::open(&path).unwrap();
        log.write(b"{\"next\":1}\n").unwrap();
        log.is_torn = true;
        log.reopen().unwrap();
        assert!(log.is_torn);
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        log.reopen().unwrap();
        log.write(b"{}\n").unwrap();
        let texts = [path.with_extension("old"), path].map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            text
        });
        assert_eq!(texts, ["{}\n{\"half\n{\"next\":1}\n", "{}\n"]);
    }

    #[test]
    fn only_a_file_that_nobody_else_writes_is_fit() {
        let sound = Stat {
            mode: 0o640,
            ..sample::stat()
        };
        assert_eq!(unfit(&sound, 1000), None);
        assert_eq!(unfit(&Stat { uid: 0, ..sound }, 1000), None);
        let others = [
            Stat {
                kind: FileKind::Fifo,
                ..sound
            },
            Stat { uid: 1001, ..sound },
            Stat { links: 2, ..sound },
            Stat { links: 0, ..sound },
            Stat { mode: 0o660, ..sound },
            Stat { mode: 0o602, ..sound },
        ];
        for stat in others {
            assert!(unfit(&stat, 1000).is_some(), "{stat:?}");
        }
    }
}
