//! The thread that writes the audit log: the only one that touches the file, so that a disk that hangs stops no other.

use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use shmeld_os::Errno;
use shmeld_os::name::escape;

use super::audit_file::AuditFile;
use super::audit_line;
use super::audit_queue::{AuditQueue, Job};
use crate::Result;

/// See the module.
#[derive(Debug)]
pub(super) struct AuditWriter {
    file: AuditFile,
    queue: Arc<AuditQueue>,
    /// The name of the server whose log it is.
    server: String,
    /// Opening the file anew has failed, and that has been said.
    is_stale: bool,
}

impl AuditWriter {
    pub(super) fn new(file: AuditFile, queue: Arc<AuditQueue>, server: String) -> Self {
        Self {
            file,
            queue,
            server,
            is_stale: false,
        }
    }

    /// Begins the thread, which inherits the confinement of the one that begins it. It ends after the queue was closed.
    pub(super) fn begin(self) -> Result<()> {
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let begun = thread.spawn(move || self.run());
        begun
            .map(drop)
            .map_err(|error| shmeld_os::Error::of_io("pthread_create", "audit log", &error).into())
    }

    fn run(mut self) {
        while let Some(job) = self.queue.take() {
            match job {
                Job::Line(line) => self.append(&line),
                Job::Reopen => self.reopen(),
                // Whoever loses the next line is warned.
                Job::Mend => drop(self.tell_lost()),
            }
        }
    }

    /// Adds one line; if lines were lost before, that is said first.
    fn append(&mut self, line: &[u8]) {
        match self.tell_lost().and_then(|()| self.file.write(line)) {
            Ok(()) => self.queue.lines.add(1),
            Err(errno) => {
                if self.queue.lose_one() {
                    let object = escape(self.file.path().as_os_str().as_bytes());
                    let error = shmeld_os::Error::new("write", object, errno);
                    tracing::warn!(target: "shmeld::audit", "{error}; lines of the audit log are lost until it can be written again");
                }
            }
        }
    }

    fn tell_lost(&mut self) -> Result<(), Errno> {
        let lines = self.queue.unreported();
        if lines > 0 {
            self.file.write(&audit_line::lost(&self.server, lines))?;
            self.queue.reported(lines);
        }
        Ok(())
    }

    /// If that fails, lines go on into the old file, and it is said once.
    fn reopen(&mut self) {
        match self.file.reopen() {
            Ok(()) => self.is_stale = false,
            Err(error) => {
                if !std::mem::replace(&mut self.is_stale, true) {
                    tracing::warn!(target: "shmeld::audit", "{error}; the audit log stays in the old file");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that is always full stands for a disk that was.
    #[test]
    fn lost_lines_are_told_where_they_are_missing() {
        let path = std::env::temp_dir().join(format!("shmeld-audit-{}", shmeld_os::process::pid()));
        let file = AuditFile::open(&path).unwrap();
        let mut writer = AuditWriter::new(file, Arc::default(), "/name".to_owned());
        writer.append(b"{}\n");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let file = writer.file.exchange(full.into());
        writer.append(b"{\"lost\":1}\n");
        writer.append(b"{\"lost\":2}\n");
        writer.file.exchange(file);
        writer.append(b"{}\n");
        assert_eq!((writer.queue.lines.get(), writer.queue.lost.get()), (2, 2));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (3, "{}", "{}"));
        assert!(lines[1].ends_with("\"event\":\"lost\",\"lines\":2}"), "{text}");
    }
}
