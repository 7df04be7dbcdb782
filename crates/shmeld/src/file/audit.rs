//! The audit log: one JSON object a line for each end of a session and for each refused request, name and region; SECURITY.md, section
//! "The audit log", has the lines.
//!
//! Who did something is the owner of a region that has proven to be its sender's, as the kernel says; never what a message says. Lines
//! are made at the end of a session and at refusals only, so nothing of this lies on the way of data. Of one user, event and status at
//! most [`LINES_A_SECOND_MAX`](super::limiter::LINES_A_SECOND_MAX) lines are written in a second; the rest is summed up, so that the sums
//! of all lines stay exact. Whoever tells something adds a line to a queue and goes on; a thread of its own writes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shmeld_os::name::escape;

use super::account::{Account, Totals};
use super::audit_file::AuditFile;
use super::audit_line::{self, NotDelivered, Region, SessionEnd};
use super::audit_queue::{AuditQueue, QUEUE_LINES_MAX};
use super::audit_writer::AuditWriter;
use super::limiter::{LeftOut, Limiter, Sums, Topic, Who};
use super::session::End;
use super::status::{Refusal, Status};
use super::wire::Op;
use crate::{Result, ServerName};

/// The status of a region about which nothing was done: it has not been proven that the sender of the message made it.
const IGNORED: &str = "IGNORED";
/// How often messages that are no requests are told, all of them in one line.
const JUNK_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a server waits for lines to be written.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// The audit log of a server: a JSON object a line for each end of a session, and for each refused request, name and region. Given to it by
/// [`ServerOptions`](super::ServerOptions); SECURITY.md has the lines.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    directory: Arc<OwnedFd>,
    server: String,
    queue: Arc<AuditQueue>,
    /// Until the server serves.
    writer: Mutex<Option<AuditWriter>>,
    pace: Mutex<Pace>,
}

#[derive(Debug, Default)]
struct Pace {
    limiter: Limiter,
    junk_told: u64,
    junk_at: Option<Instant>,
}

impl Audit {
    /// Opens the file, which is made with mode 0600 if it is not there. Each line will have this server's name.
    ///
    /// # Errors
    /// The directory or the file cannot be opened; [`crate::Error::AuditFile`]: it is not a regular file of ours or root's with one name
    /// that only its owner may write.
    pub fn open(path: &Path, server: &ServerName) -> Result<Self> {
        let file = AuditFile::open(path)?;
        let directory = file.directory().clone();
        let queue = Arc::new(AuditQueue::default());
        let server = escape(server.to_string().as_bytes());
        let writer = AuditWriter::new(file, queue.clone(), server.clone());
        Ok(Self {
            path: path.to_owned(),
            directory,
            server,
            queue,
            writer: Mutex::new(Some(writer)),
            pace: Mutex::default(),
        })
    }

    /// Has the file opened by its name anew, after somebody has renamed the old one; waits for nothing. If that fails, lines go on into the
    /// old file, and it is said once.
    pub fn reopen(&self) {
        self.queue.push_reopen();
    }

    /// The file, as it was given to [`Audit::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory in which [`Audit::reopen`] opens or makes the file: a server that confines itself must allow itself that.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Lines written, and lines lost because the file could not be written.
    pub(super) fn lines_and_lost(&self) -> (u64, u64) {
        (self.queue.lines.get(), self.queue.lost.get())
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server begins to serve: the thread that writes inherits what the server has confined itself to by now.
    pub(super) fn begin(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return Ok(()) };
        self.push(audit_line::run(&self.server, "start"));
        writer.begin()
    }

    fn push(&self, line: Vec<u8>) {
        if self.queue.push(line) {
            let path = escape(self.path.as_os_str().as_bytes());
            tracing::warn!(
                target: "shmeld::audit",
                "write {path}: {QUEUE_LINES_MAX} lines wait for the disk; lines of the audit log are lost until it can be written again"
            );
        }
    }

    /// Adds a line, whose maker is told whether it is to be brief, or sums it up if there have been too many of its kind.
    fn put(&self, topic: Topic, totals: Totals, line: impl FnOnce(bool) -> Vec<u8>) {
        let noted = self.pace().limiter.note(topic, Sums::of(totals), Instant::now());
        if let Some(left_out) = noted.before {
            self.push(audit_line::suppressed(&self.server, &left_out));
        }
        if noted.is_written {
            self.push(line(noted.is_brief));
        }
    }

    /// The end of a session; told once, whoever tells it.
    pub(super) fn session_ended(&self, account: &Account, end: &End) {
        if !account.close() {
            return;
        }
        let (totals, status) = (account.totals(), end.status().name());
        let topic = topic(Who::Uid(account.uid), "session", status);
        self.put(topic, totals, |_| {
            let ended = SessionEnd {
                uid: account.uid,
                session: account.number,
                totals,
                status,
                reason: &end.reason(),
                lasted: account.lasted(),
            };
            ended.to_line(&self.server)
        });
    }

    /// A name or a request was refused.
    pub(super) fn refused(&self, account: &Account, op: Op, path: &[u8], refusal: &Refusal) {
        self.not_delivered("refused", account, op, path, refusal);
    }

    /// The client cancelled a request.
    pub(super) fn cancelled(&self, account: &Account, op: Op, path: &[u8]) {
        self.not_delivered("cancelled", account, op, path, &Status::Cancelled.into());
    }

    fn not_delivered(&self, event: &'static str, account: &Account, op: Op, path: &[u8], refusal: &Refusal) {
        let status = refusal.status.name();
        let topic = topic(Who::Uid(account.uid), event, status);
        self.put(topic, Totals::default(), |is_brief| {
            let line = NotDelivered {
                event,
                uid: account.uid,
                session: account.number,
                op,
                path,
                is_brief,
                status,
                reason: &refusal.text,
            };
            line.to_line(&self.server)
        });
    }

    /// A region was refused whose sender has proven to be `uid`.
    pub(super) fn region_refused(&self, uid: u32, status: Status, reason: &str) {
        let region = Region {
            uid: Some(uid),
            owner: Some(uid),
            status: status.name(),
            reason,
        };
        let topic = topic(Who::Uid(uid), "region", status.name());
        self.put(topic, Totals::default(), |_| region.to_line(&self.server));
    }

    /// A message about a region had no effect. Whose the region is, if it exists, does not say who sent the message.
    pub(super) fn region_ignored(&self, owner: Option<u32>, reason: &str) {
        let region = Region {
            uid: None,
            owner,
            status: IGNORED,
            reason,
        };
        let topic = topic(Who::Stranger, "region", IGNORED);
        self.put(topic, Totals::default(), |_| region.to_line(&self.server));
    }

    /// From time to time: what was left out in seconds that are over, and how many messages were no requests so far.
    pub(super) fn tick(&self, junk_messages: u64) {
        let now = Instant::now();
        let mut pace = self.pace();
        let left_out = pace.limiter.take_over(now);
        let is_junk_due = pace
            .junk_at
            .is_none_or(|last| now.duration_since(last) >= JUNK_EVERY);
        let junk = if is_junk_due {
            pace.junk_at = Some(now);
            pace.take_junk(junk_messages)
        } else {
            0
        };
        drop(pace);
        self.sum_up(&left_out, junk);
    }

    /// At the end of a server that has served: everything that was left out. Waits for the disk, but not for long.
    pub(super) fn finish(&self, junk_messages: u64) {
        if self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
        {
            return;
        }
        let mut pace = self.pace();
        let left_out = pace.limiter.take_all();
        let junk = pace.take_junk(junk_messages);
        drop(pace);
        self.sum_up(&left_out, junk);
        self.push(audit_line::run(&self.server, "stop"));
        let unwritten = self.queue.drain(FINISH_PATIENCE);
        if unwritten > 0 {
            let path = escape(self.path.as_os_str().as_bytes());
            tracing::warn!(target: "shmeld::audit", "write {path}: the disk does not answer; the last {unwritten} lines of the audit log are lost");
        }
    }

    fn sum_up(&self, left_out: &[LeftOut], junk: u64) {
        for left_out in left_out {
            self.push(audit_line::suppressed(&self.server, left_out));
        }
        if junk > 0 {
            self.push(audit_line::junk(&self.server, junk));
        }
        self.queue.push_mend();
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Pace {
    /// How many messages have become junk since that was told last.
    fn take_junk(&mut self, messages: u64) -> u64 {
        messages.saturating_sub(std::mem::replace(&mut self.junk_told, messages))
    }
}

fn topic(who: Who, event: &'static str, status: &'static str) -> Topic {
    Topic { who, event, status }
}
