//! Finding a live server: its queue, who owns it, and the lease that says it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmeld_os::ErrorKind;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};

use super::running::running_servers;
use super::users::Owner;
use crate::{Error, Result, ServerName};

/// How long to wait before looking for the server again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long a sleep may be before the caller's wish to stop is looked at.
const NAP_MAX: Duration = Duration::from_millis(50);

/// The caller's wish to stop, set by a signal handler or another thread, or asked for.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    wanted: Arc<AtomicBool>,
    noticed: Arc<AtomicBool>,
    question: Option<Question>,
}

/// What tells whether the caller wants to stop, where no flag does.
#[derive(Clone)]
struct Question(Arc<dyn Fn() -> bool + Send + Sync>);

impl std::fmt::Debug for Question {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Question")
    }
}

impl Interrupt {
    /// A wish that somebody else sets through this flag: a signal handler, for example.
    #[must_use]
    pub fn from_flag(wanted: Arc<AtomicBool>) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// A wish that has to be asked for, because signals are kept back until somebody looks: by an interpreter, for example. It is asked by the
    /// thread that waits, after each slice of a wait and between two pieces of work, so the answer should be cheap.
    #[must_use]
    pub fn from_question(question: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            question: Some(Question(Arc::new(question))),
            ..Self::default()
        }
    }

    /// Fails if the caller wants to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<()> {
        // Relaxed: the flags publish nothing but themselves.
        let asked = || self.question.as_ref().is_some_and(|question| (question.0)());
        if !self.wanted.load(Ordering::Relaxed) && !asked() {
            return Ok(());
        }
        self.noticed.store(true, Ordering::Relaxed);
        Err(Error::Interrupted)
    }

    /// Whether the caller wants to stop and nobody has noticed: the thread that should is blocked in the kernel.
    #[must_use]
    pub fn is_unnoticed(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && !self.noticed.load(Ordering::Relaxed)
    }

    /// Sleeps, but not past the wish to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub(crate) fn sleep(&self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        loop {
            self.check()?;
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(NAP_MAX));
        }
    }
}

/// What a look for a server found.
#[derive(Debug)]
pub(super) enum Found {
    /// A server that lives.
    Live(Connection),
    /// None yet; and why its queue cannot be opened, if there is one that does not let this user send.
    NotYet(Option<shmeld_os::Error>),
}

/// The queue of a live server, open for sending.
#[derive(Debug)]
pub(super) struct Connection {
    queue: MessageQueue,
    /// The user besides our own to whom a region must be opened for this server.
    pub(super) other_uid: Option<u32>,
}

impl Connection {
    /// Waits for the server until `deadline` (`None`: for ever). Says once that it waits.
    pub(super) fn find(
        name: &ServerName,
        uids: &[u32],
        deadline: Option<Instant>,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let start = Instant::now();
        let mut backoff = BACKOFF.0;
        loop {
            let closed = match Self::try_open(name, uids)? {
                Found::Live(connection) => return Ok(connection),
                Found::NotYet(closed) => closed,
            };
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if rest == Some(Duration::ZERO) {
                let waited = if deadline <= Some(start) {
                    Duration::ZERO
                } else {
                    start.elapsed()
                };
                return Err(Self::none(name, uids, waited, closed));
            }
            if backoff == BACKOFF.0 {
                tracing::info!(target: "shmeld::client", "waiting for server {name}");
            }
            interrupt.sleep(rest.map_or(backoff, |rest| rest.min(backoff)))?;
            backoff = (backoff * 2).min(BACKOFF.1);
        }
    }

    /// Opens the queue if a live server of an acceptable owner is behind it.
    pub(super) fn try_open(name: &ServerName, uids: &[u32]) -> Result<Found> {
        let queue = match MessageQueue::open(name.queue(), Access::Send) {
            Ok(queue) => queue,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::NotYet(None)),
            // It may be one whose server has not finished making it.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Ok(Found::NotYet(Some(error)));
            }
            Err(error) => return Err(error.into()),
        };
        let uid = queue.stat()?.uid;
        let other_uid = match Owner::judge(uid, uids) {
            Owner::Able => None,
            Owner::Other(uid) => Some(uid),
            Owner::Stranger => {
                return Err(Error::ForeignOwner {
                    operation: "mq_open",
                    object: name.to_string(),
                    uid: Some(uid),
                });
            }
        };
        let connection = Self { queue, other_uid };
        if connection.is_leased()? {
            return Ok(Found::Live(connection));
        }
        Ok(Found::NotYet(None))
    }

    /// The error that says that no server is there, and which ones are; or that one may be there and does not let this user send.
    pub(super) fn none(
        name: &ServerName,
        uids: &[u32],
        waited: Duration,
        closed: Option<shmeld_os::Error>,
    ) -> Error {
        if let Some(error) = closed {
            return error.into();
        }
        Error::NoServer {
            name: name.clone(),
            waited,
            others: running_servers(uids),
        }
    }

    /// Whether the queue still has its name.
    pub(super) fn is_linked(&self) -> Result<bool> {
        Ok(self.queue.stat()?.links > 0)
    }

    /// Whether the server has taken all requests.
    pub(super) fn is_drained(&self) -> Result<bool> {
        Ok(self.queue.attributes()?.messages == 0)
    }

    /// Whether a server lives behind the queue. Asking with a write lock reports read locks too, and only an answer of *read lock* counts:
    /// only a process that may read the queue can hold one.
    pub(super) fn is_leased(&self) -> Result<bool> {
        Ok(lease::probe(&self.queue, Range::WHOLE, Kind::Write, "queue")? == Some(Kind::Read))
    }

    /// Sends a request; `false` if the queue stayed full until `deadline`.
    ///
    /// Blocking in `mq_timedsend` beats polling: against a flooder a sender that waits in the kernel gets the next free place.
    pub(super) fn send(&self, message: &[u8], deadline: Instant) -> Result<bool> {
        match self.queue.send(message, PRIORITY_MAX, Some(deadline)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
