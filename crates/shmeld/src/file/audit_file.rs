//! The file behind the audit log: opened beneath its directory, written line by line, opened anew by name when somebody has rotated it.
//!
//! The directory is kept open, so that the file can be made again by a server that has confined itself to it. Each line is one `write` on
//! `O_APPEND`: lines of two servers on one file stay whole. A disk that is full costs lines, which are counted, and nothing else.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shmeld_core::counters::Counter;
use shmeld_os::fs::{self, FileKind, Stat};
use shmeld_os::name::escape;
use shmeld_os::{Errno, process};

use super::audit_line;
use crate::{Error, Result};

/// Mode of a new file. One that exists keeps its own.
const MODE: u32 = 0o600;
/// Bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// How often a file that cannot be written is complained about.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    directory: OwnedFd,
    state: Mutex<State>,
    pub(super) lines: Counter,
    pub(super) lost: Counter,
}

#[derive(Debug)]
struct State {
    file: OwnedFd,
    /// The file ends in a part of a line: a write was cut short, and what was left of it could not be written.
    is_torn: bool,
    /// Lines that could not be written and have not been reported in the file.
    unreported: u64,
    warned: Option<Instant>,
}

impl AuditFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let directory = fs::open_directory(directory)?;
        let file = open_in(&directory, path)?;
        Ok(Self {
            path: path.to_owned(),
            directory,
            state: Mutex::new(State {
                file,
                is_torn: false,
                unreported: 0,
                warned: None,
            }),
            lines: Counter::default(),
            lost: Counter::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens the file by its name again. Every line goes as a whole into the old file or into the new one.
    pub(super) fn reopen(&self) -> Result<()> {
        // Not under the lock: a disk may take its time.
        let file = open_in(&self.directory, &self.path)?;
        let mut state = self.state();
        (state.file, state.is_torn) = (file, false);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one line; if lines were lost before, that is said first. Held across the write is a lock that only other lines wait for.
    pub(super) fn append(&self, line: &[u8]) {
        let mut state = self.state();
        let outcome = state.report_lost().and_then(|()| state.write(line));
        match outcome {
            Ok(()) => self.lines.add(1),
            Err(errno) => {
                self.lost.add(1);
                state.unreported += 1;
                if state.may_warn() {
                    drop(state);
                    let error =
                        shmeld_os::Error::new("write", escape(self.path.as_os_str().as_bytes()), errno);
                    tracing::warn!(target: "shmeld::audit", "{error}; lines of the audit log are lost until it can be written again");
                }
            }
        }
    }

    /// Says how many lines were lost, if that can be written by now.
    pub(super) fn report_lost(&self) {
        // Whoever loses the next line is warned.
        let _ = self.state().report_lost();
    }
}

impl State {
    fn report_lost(&mut self) -> Result<(), Errno> {
        if self.unreported > 0 {
            self.write(&audit_line::lost(self.unreported))?;
            self.unreported = 0;
        }
        Ok(())
    }

    /// Writes one line, behind a newline if the file ends in a part of one.
    fn write(&mut self, line: &[u8]) -> Result<(), Errno> {
        let mended = [b"\n", line].concat();
        let bytes = if self.is_torn { &mended[..] } else { line };
        let mut done = 0;
        while done < bytes.len() {
            let written = match fs::write_once(&self.file, &bytes[done..]) {
                Ok(0) => Err(Errno::IO),
                written => written,
            };
            match written {
                Ok(written) => {
                    done += written;
                    self.is_torn = bytes[done - 1] != b'\n';
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn may_warn(&mut self) -> bool {
        let may = self.warned.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if may {
            self.warned = Some(Instant::now());
        }
        may
    }
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
    if stat.uid != uid && stat.uid != 0 {
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
    use shmeld_os::fs::Time;

    /// A device that is always full stands for a disk that was.
    #[test]
    fn lost_lines_are_told_where_they_are_missing() {
        let path = std::env::temp_dir().join(format!("shmeld-audit-{}", process::pid()));
        let log = AuditFile::open(&path).unwrap();
        log.append(b"{}\n");
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let file = std::mem::replace(&mut log.state().file, full.into());
        log.append(b"{\"lost\":1}\n");
        log.append(b"{\"lost\":2}\n");
        log.report_lost();
        log.state().file = file;
        log.append(b"{}\n");
        assert_eq!((log.lines.get(), log.lost.get()), (2, 2));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "{}", "{}"));
        assert!(lines[1].ends_with("\"event\":\"lost\",\"lines\":2}"), "{text}");
    }

    #[test]
    fn only_a_file_that_nobody_else_writes_is_fit() {
        let never = Time {
            seconds: 0,
            nanoseconds: 0,
        };
        let sound = Stat {
            dev: 1,
            ino: 2,
            mode: 0o640,
            kind: FileKind::File,
            uid: 1000,
            gid: 1000,
            links: 1,
            bytes: 0,
            blocks_512: 0,
            modified: never,
            changed: never,
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
