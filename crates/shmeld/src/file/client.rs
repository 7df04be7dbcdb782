//! The client's end of a session: finds the server, offers a region, sends requests, and hands out the records of the answers.
//!
//! Not here: what is done with the bytes (`transfer`).

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use shmeld_core::attach::Offer;
use shmeld_core::counters::Ticks;
use shmeld_core::layout::PAGE_BYTES;
use shmeld_core::{Misbehaviour, Region};
use shmeld_os::name::escape;
use shmeld_os::{Errno, ErrorKind, explain};

use super::client_state::Outstanding;
use super::connection::{Connection, Interrupt};
use super::prefix::Prefix;
use super::record::{Kind, Record};
use super::slot_reader::SlotReader;
use super::wire::{FLAG_RANGE, FLAG_RESUME, Op, PATH_BYTES_MAX, Request};
use crate::{Error, Result, ServerName};

/// How long the client tries to say CLOSE; its lease says the same when it goes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long it waits for a queue that was unlinked during the session: its server, which looks once a second, makes it again.
const LOST_QUEUE_PATIENCE: Duration = Duration::from_secs(3);
/// How long a server may be alive and silent before the client gives it up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The server's name.
    pub name: ServerName,
    /// How long to wait for the server, or for a place on it; `None` is for ever.
    pub wait: Option<Duration>,
    /// Owners of the queue that are accepted besides this process's user and root.
    pub server_uids: Vec<u32>,
    /// Size of the region.
    pub region_bytes: u64,
    /// Take a region of one page instead, if the shared memory has no room for that one or the server does not admit it.
    pub or_one_page: bool,
    /// How long a live server may be silent while it owes an answer.
    pub silence_max: Duration,
    /// The caller's wish to stop.
    pub interrupt: Interrupt,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            name: ServerName::default(),
            wait: Some(Duration::from_secs(30)),
            server_uids: Vec::new(),
            region_bytes: PAGE_BYTES,
            or_one_page: false,
            silence_max: SILENCE_MAX,
            interrupt: Interrupt::default(),
        }
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// What is asked for.
    pub op: Op,
    /// Relative to the exported directory.
    pub path: Vec<u8>,
    /// `FLAG_*` of [`super::wire`], but for the one of `resume`.
    pub flags: u32,
    /// GET: the beginning of the file that is there already; with `FLAG_RANGE` the part that is wanted ([`super::Range`]).
    pub resume: Option<Prefix>,
}

impl Query {
    /// Asks for all of a path, without flags.
    #[must_use]
    pub fn new(op: Op, path: impl Into<Vec<u8>>) -> Self {
        Self {
            op,
            path: path.into(),
            flags: 0,
            resume: None,
        }
    }
}

/// One client's session. Requests are answered in their order.
#[derive(Debug)]
pub struct Client {
    pub(super) options: ClientOptions,
    pub(super) deadline: Option<Instant>,
    pub(super) connection: Connection,
    /// How many connections there have been before this one: the number of the queue.
    pub(super) queue: u64,
    pub(super) offer: Offer,
    pub(super) reader: SlotReader,
    pub(super) is_attached: bool,
    pub(super) outstanding: Outstanding,
    /// How long this client has waited for the server's next step. Not a difference of two clocks: time in which this process did not run
    /// is not the server's fault.
    pub(super) owed_for: Duration,
    pub(super) has_told_waiting: bool,
    pub(super) has_told_elsewhere: bool,
    started: Instant,
}

impl Client {
    /// Waits for the server and makes a region for it. The first request attaches it.
    ///
    /// # Errors
    /// No server within `wait`, a foreign one, or the kernel refuses the region.
    pub fn connect(mut options: ClientOptions) -> Result<Self> {
        let deadline = options.wait.and_then(|wait| Instant::now().checked_add(wait));
        let connection = Connection::find(&options.name, &options.server_uids, deadline, &options.interrupt)?;
        let offer = publish(&mut options, connection.other_uid)?;
        let reader = SlotReader::new(offer.region());
        Ok(Self {
            options,
            deadline,
            connection,
            queue: 0,
            offer,
            reader,
            is_attached: false,
            outstanding: Outstanding::default(),
            owed_for: Duration::ZERO,
            has_told_waiting: false,
            has_told_elsewhere: false,
            started: Instant::now(),
        })
    }

    /// Size of the region as it is.
    #[must_use]
    pub fn region_bytes(&self) -> u64 {
        self.options.region_bytes
    }

    /// Size of one slot of the region.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.offer.region().geometry().slot_bytes()
    }

    /// What waiting for slots has cost this side so far.
    #[must_use]
    pub fn ticks(&self) -> &Ticks {
        self.offer.region().ticks()
    }

    /// How many files, entries and refusals of the oldest unanswered request are finished with.
    pub(super) fn items(&self) -> u64 {
        self.outstanding.items()
    }

    /// How many requests are sent and not yet answered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Sends a request and returns its id. `None` if the query has to wait: as many as allowed are unanswered, or the queue is full while
    /// answers are under way. Then records should be read first.
    ///
    /// # Errors
    /// The path is too long or has a NUL, or the server is gone or does not drain its queue.
    pub fn submit(&mut self, query: &Query) -> Result<Option<u64>> {
        if query.path.len() > PATH_BYTES_MAX {
            return Err(Error::Usage(format!(
                "a path of {} bytes; at most {PATH_BYTES_MAX} can be asked for",
                query.path.len()
            )));
        }
        if query.path.contains(&0) {
            return Err(Error::Usage("a path with a NUL byte".to_owned()));
        }
        if !self.outstanding.may_send_on(self.queue) {
            return Ok(None);
        }
        let next_id = self.outstanding.next_id();
        if next_id == 1 {
            // What the caller did since the server was found was no waiting for it.
            let busy_for = self.started.elapsed();
            self.deadline = self.deadline.and_then(|deadline| deadline.checked_add(busy_for));
        }
        let sent = if self.outstanding.is_empty() {
            self.send_patiently(next_id, query)?
        } else {
            // A deadline in the past: answers are under way, so do not wait but read them.
            self.connection
                .send(&self.message(next_id, query), self.started)?
        };
        if !sent {
            return Ok(None);
        }
        explain!(
            "mq_timedsend",
            self.options.name,
            format_args!("request {next_id}: {:?} {}", query.op, escape(&query.path)),
        );
        if self.outstanding.is_empty() {
            self.owed_for = Duration::ZERO;
        }
        Ok(Some(self.outstanding.sent(query.clone(), self.queue)))
    }

    pub(super) fn message(&self, request_id: u64, query: &Query) -> Vec<u8> {
        let request = Request {
            op: query.op,
            request_id,
            region_id: self.offer.id(),
            nonce: self.offer.nonce(),
            region_bytes: self.options.region_bytes,
            offset: query.resume.map_or(0, |prefix| prefix.bytes),
            flags: match query.resume {
                Some(_) if query.flags & FLAG_RANGE == 0 => query.flags | FLAG_RESUME,
                _ => query.flags,
            },
            prefix_digest: query.resume.map_or([0; 32], |prefix| prefix.digest),
            path: query.path.clone(),
        };
        request.encode()
    }

    /// The next record of the oldest unanswered request. [`Client::finish`] must follow before the next one.
    ///
    /// # Errors
    /// The server died, is silent, ended the session, refused it, or broke the protocol; or the caller wants to stop.
    pub fn next_record(&mut self) -> Result<Record> {
        loop {
            while let Some(record) = self.reader.next(self.offer.region())? {
                if !self.is_attached {
                    self.confirm_attached()?;
                }
                self.owed_for = Duration::ZERO;
                if !self.outstanding.expects(record.request_id) {
                    return Err(Misbehaviour::Record("an answer that nobody asked for").into());
                }
                if record.kind == Kind::Done && !self.outstanding.agrees_with(&record) {
                    return Err(Misbehaviour::Record("a DONE that counts other items than came").into());
                }
                if record.kind != Kind::Wait {
                    return Ok(record);
                }
                self.finish(&record)?;
                // A server can send WAIT for as long as it likes.
                self.check_interrupt()?;
            }
            self.wait()?;
        }
    }

    /// Whether a record can be had without waiting.
    ///
    /// # Errors
    /// The server broke the protocol.
    pub fn is_ready(&mut self) -> Result<bool> {
        Ok(self.reader.is_ready(self.offer.region())?)
    }

    pub(super) fn region(&self) -> &Region {
        self.offer.region()
    }

    /// Copies the payload of the record out, behind what `target` holds.
    pub fn payload(&self, record: &Record, target: &mut Vec<u8>) {
        let start = target.len();
        target.resize(start + record.length, 0);
        self.payload_into(&mut target[start..]);
    }

    /// Copies as much of the payload of the record out as `target` takes.
    pub(super) fn payload_into(&self, target: &mut [u8]) {
        let (slot, at) = self.reader.payload(self.region());
        slot.read(at, target);
    }

    /// Moves a part of the payload of the record to a file, kernel to kernel. Returns the number of bytes.
    ///
    /// # Errors
    /// `EFAULT` blames the server (it took the memory away), any other errno the file.
    pub fn drain(
        &self,
        skip: usize,
        len: usize,
        file: BorrowedFd<'_>,
        position: Option<u64>,
    ) -> Result<usize, Errno> {
        let (slot, at) = self.reader.payload(self.region());
        slot.drain_to(at + skip, len, file, position)
    }

    /// Fails if the caller wants to stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check_interrupt(&self) -> Result<()> {
        self.options.interrupt.check()
    }

    /// Goes past a record. DONE ends the oldest request.
    ///
    /// # Errors
    /// The server broke the protocol.
    pub fn finish(&mut self, record: &Record) -> Result<()> {
        self.reader.finish(self.offer.region(), record)?;
        if self.region().faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        match record.kind {
            Kind::Done => self.outstanding.answered(),
            _ => self.outstanding.count(record),
        }
        Ok(())
    }

    /// Tells the server that requests up to this one need no further answer. Their DONE still comes.
    pub fn cancel_up_to(&self, request_id: u64) {
        self.region().set_cancel_up_to(request_id);
    }

    /// Says CLOSE. Dropping a client without this ends the session too, but counts as its death.
    pub fn close(mut self) {
        self.follow_lost_queue(LOST_QUEUE_PATIENCE);
        let query = Query::new(Op::Close, "");
        let message = self.message(self.outstanding.next_id(), &query);
        explain!(
            "mq_timedsend",
            self.options.name,
            "CLOSE: the session is over, the server may let go of the region"
        );
        // If the queue is full or gone the lease says the same as soon as this process ends.
        let _ = self.connection.send(&message, Instant::now() + CLOSE_PATIENCE);
    }
}

/// Makes a region of the size wanted, or of a page if memory or RLIMIT_FSIZE have no room and a page will do; the options say which it
/// became. It is opened to the server's user, if that is another one.
pub(super) fn publish(options: &mut ClientOptions, other_uid: Option<u32>) -> Result<Offer> {
    match Offer::publish_for(options.region_bytes, other_uid) {
        Err(shmeld_core::Error::Os(error))
            if (error.kind() == ErrorKind::NoSpace || error.errno() == Errno::FBIG)
                && options.or_one_page
                && options.region_bytes > PAGE_BYTES =>
        {
            tracing::info!(target: "shmeld::client", "{error}: using a region of one page instead");
            options.region_bytes = PAGE_BYTES;
            Ok(Offer::publish_for(PAGE_BYTES, other_uid)?)
        }
        other => Ok(other?),
    }
}
