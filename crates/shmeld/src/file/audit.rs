//! The audit log: one JSON object a line for each end of a session and for each refused request, name and region; SECURITY.md, section
//! "The audit log", has the lines.
//!
//! Who did something is the owner of a region that has proven to be its sender's, as the kernel says; never what a message says. Lines
//! are made at the end of a session and at refusals only, so nothing of this lies on the way of data. Of one user, event and status at
//! most [`LINES_A_SECOND_MAX`](super::limiter::LINES_A_SECOND_MAX) lines are written in a second; the rest is summed up, so that the sums
//! of all lines stay exact.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::account::{Account, Totals};
use super::audit_file::AuditFile;
use super::audit_line::{self, NotDelivered, Region, SessionEnd};
use super::limiter::{Limiter, Sums, Topic, Who};
use super::session::End;
use super::status::{Refusal, Status};
use super::wire::Op;
use crate::Result;

/// The status of a region about which nothing was done: it has not been proven that the sender of the message made it.
const IGNORED: &str = "IGNORED";
/// How often messages that are no requests are told, all of them in one line.
const JUNK_EVERY: Duration = Duration::from_secs(1);

/// The audit log of a server: see the module. Given to it by [`ServerOptions`](super::ServerOptions).
#[derive(Debug)]
pub struct Audit {
    file: AuditFile,
    pace: Mutex<Pace>,
    /// Opening the file anew has failed, and that has been said.
    is_stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Pace {
    limiter: Limiter,
    junk_told: u64,
    junk_at: Option<Instant>,
}

impl Audit {
    /// Opens the file, which is made with mode 0600 if it is not there.
    ///
    /// # Errors
    /// The directory or the file cannot be opened; [`crate::Error::AuditFile`]: it is not a regular file of ours or root's with one name
    /// that only its owner may write.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            file: AuditFile::open(path)?,
            pace: Mutex::default(),
            is_stale: AtomicBool::new(false),
        })
    }

    /// Opens the file by its name anew, after somebody has renamed the old one. If that fails, lines go on into the old file, and it is
    /// said once.
    pub fn reopen(&self) {
        match self.file.reopen() {
            Ok(()) => self.is_stale.store(false, Ordering::Relaxed),
            Err(error) => {
                if !self.is_stale.swap(true, Ordering::Relaxed) {
                    tracing::warn!(target: "shmeld::audit", "{error}; the audit log stays in the old file");
                }
            }
        }
    }

    /// The file, as it was given to [`Audit::open`].
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The directory in which [`Audit::reopen`] opens or makes the file: a server that confines itself must allow itself that.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.file.directory()
    }

    /// Lines written, and lines lost because the file could not be written.
    pub(super) fn lines_and_lost(&self) -> (u64, u64) {
        (self.file.lines.get(), self.file.lost.get())
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a line, or sums it up if there have been too many of its kind. The lock of the pace is not held while it is written.
    fn put(&self, topic: Topic, totals: Totals, line: impl FnOnce() -> Vec<u8>) {
        let noted = self.pace().limiter.note(topic, Sums::of(totals), Instant::now());
        if let Some(left_out) = noted.before {
            self.file.append(&audit_line::suppressed(&left_out));
        }
        if noted.is_written {
            self.file.append(&line());
        }
    }

    /// The end of a session; told once, whoever tells it.
    pub(super) fn session_ended(&self, account: &Account, end: &End) {
        if !account.close() {
            return;
        }
        let (totals, status) = (account.totals(), end.status().name());
        let topic = topic(Who::Uid(account.uid), "session", status);
        self.put(topic, totals, || {
            let ended = SessionEnd {
                uid: account.uid,
                session: account.number,
                totals,
                status,
                reason: &end.reason(),
                lasted: account.lasted(),
            };
            ended.to_line()
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
        self.put(topic, Totals::default(), || {
            let line = NotDelivered {
                event,
                uid: account.uid,
                session: account.number,
                op,
                path,
                status,
                reason: &refusal.text,
            };
            line.to_line()
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
        self.put(topic, Totals::default(), || region.to_line());
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
        self.put(topic, Totals::default(), || region.to_line());
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

    /// At the end: everything that was left out.
    pub(super) fn finish(&self, junk_messages: u64) {
        let mut pace = self.pace();
        let left_out = pace.limiter.take_all();
        let junk = pace.take_junk(junk_messages);
        drop(pace);
        self.sum_up(&left_out, junk);
    }

    fn sum_up(&self, left_out: &[super::limiter::LeftOut], junk: u64) {
        for left_out in left_out {
            self.file.append(&audit_line::suppressed(left_out));
        }
        if junk > 0 {
            self.file.append(&audit_line::junk(junk));
        }
        self.file.report_lost();
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
