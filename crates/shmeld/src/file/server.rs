//! The server: one acceptor thread, which reads the queue and decides, and one thread for each session.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use shmeld_core::attach::{Candidate, RegionId};
use shmeld_core::counters::Counters;
use shmeld_core::layout::Header;
use shmeld_os::event::{EventCounter, poll};
use shmeld_os::name::escape;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::{ErrorKind, explain};

use super::acceptor::{Admission, Among, Pace, Places, Route, admit, route};
use super::admission::{Facts, Policy, Verdict, judge};
use super::confined::{Confined, Needs, confine};
use super::context::Context;
use super::gate::{Gate, sweep};
use super::server_options::ServerOptions;
use super::session::End;
use super::session_log::SessionLog;
use super::sessions::{Sessions, refuse};
use super::source::Source;
use super::staging::StagingPool;
use super::status::Status;
use super::stopper::{Ending, Stopper};
use super::users::Users;
use super::wire::{MESSAGE_BYTES_MAX, Op, Request};
use crate::{Error, Result};

/// How many messages the acceptor takes before it looks at signals, sessions and the clock again.
const MESSAGES_PER_TURN: usize = 10;
/// How often the acceptor looks whether its queue still has its name and whether idle clients live. With the second look the death of an
/// idle client is noticed within a second, and of one that was at work a moment ago within half of one. All quiet means two wake-ups a
/// second at most.
const TICK_QUIET: Duration = Duration::from_millis(800);
const TICK_LIVELY: Duration = Duration::from_millis(400);
/// How soon it looks again if a client seems dead.
const TICK_DOUBTFUL: Duration = Duration::from_millis(50);
/// How long sessions at work may go on when the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long the server then waits for their threads.
const ABORT_GRACE: Duration = Duration::from_secs(2);

/// A server that owns its name; [`Server::run`] serves until it is stopped. Dropping it removes what it made.
pub struct Server {
    options: ServerOptions,
    policy: Policy,
    context: Arc<Context>,
    queue: MessageQueue,
    gate: Gate,
    sessions: Sessions,
    log: SessionLog,
    stopper: Stopper,
    once: Option<RegionId>,
    ending: Option<Ending>,
    next_tick: Instant,
    /// Whether the queue can be made again if it loses its name.
    can_republish: bool,
    /// A descriptor held in reserve: see [`Server::refuse_with_the_spare_descriptor`].
    spare: Option<EventCounter>,
}

impl Server {
    /// Takes the name, sweeps what crashes left, and makes the queue: from then on clients can send.
    ///
    /// # Errors
    /// The name is taken (by a live server or another user), or the kernel refuses (a limit of message queues, for example).
    pub fn start(source: Arc<dyn Source>, options: ServerOptions) -> Result<Self> {
        // First what can fail without leaving anything.
        options.check()?;
        let wake = Arc::new(EventCounter::new()?);
        let users = Users::look(options.allow_unmapped);
        let gate = Gate::take(&options.name, users)?;
        sweep(&options.name, users);
        let queue = gate.make_queue(options.audience).inspect_err(|_| gate.remove())?;
        let context = Arc::new(Context {
            name: options.name.clone(),
            source,
            counters: Counters::default(),
            staging: StagingPool::default(),
            started: Instant::now(),
            sessions_now: AtomicUsize::new(0),
            sessions_max: options.sessions_max,
            audit: options.audit.clone(),
        });
        let policy = Policy {
            users,
            serves_others: options.audience.is_some(),
            region_bytes_max: options.region_bytes_max,
        };
        let sessions = Sessions::new(context.clone(), wake.clone(), options.stall);
        Ok(Self {
            options,
            policy,
            context,
            queue,
            gate,
            sessions,
            log: SessionLog::default(),
            stopper: Stopper::new(wake),
            once: None,
            ending: None,
            next_tick: Instant::now() + TICK_QUIET,
            can_republish: true,
            spare: EventCounter::new().ok(),
        })
    }

    /// A handle that stops this server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Confines this thread, for good, to what serving needs: to read what is exported, to use and remove regions, to have the queue, and
    /// to write logs. What this thread starts later, the threads of sessions too, inherits that; threads that run already do not. Best
    /// effort: a kernel without landlock confines nothing, which is no error.
    ///
    /// # Errors
    /// The kernel has landlock and refuses to use it.
    pub fn confine(&mut self, needs: Needs<'_>) -> Result<Confined> {
        let confined = confine(&self.queue, needs)?;
        self.can_republish = confined.can_make_queue_again;
        Ok(confined)
    }

    /// Serves until [`Stopper::stop`], or with `once` until the session is over; then lets sessions at work finish.
    ///
    /// # Errors
    /// The queue was lost and cannot be made again.
    pub fn run(mut self) -> Result<Ending> {
        let served = self.serve();
        // Also after an error of our own: sessions at work finish, and clients hear that the server stops.
        let ending = self.end();
        served.map(|()| ending)
    }

    /// The first half of [`Server::run`], for those who have something to say before the second, [`Server::end`].
    ///
    /// # Errors
    /// There is no thread to write the audit log, or the queue was lost and cannot be made again.
    pub fn serve(&mut self) -> Result<()> {
        if let Some(audit) = &self.context.audit {
            audit.begin()?;
        }
        while self.ending.is_none() && !self.stopper.is_stopping() {
            let until_tick = self.next_tick.saturating_duration_since(Instant::now());
            let ready = poll(&[self.queue.as_fd(), self.stopper.wake.as_fd()], Some(until_tick))?;
            if ready[1] {
                self.stopper.wake.drain();
            }
            self.reap();
            if ready[0] {
                self.take_messages();
            }
            if Instant::now() >= self.next_tick {
                self.tick()?;
            }
        }
        Ok(())
    }

    /// Takes at most [`MESSAGES_PER_TURN`] messages.
    fn take_messages(&mut self) {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        for _ in 0..MESSAGES_PER_TURN {
            // A deadline in the past: never wait here.
            match self.queue.receive(&mut buffer, Some(self.context.started)) {
                Ok((len, _priority)) => self.take_message(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::TimedOut => return,
                Err(error) => {
                    tracing::warn!(target: "shmeld::server", "{error}");
                    return;
                }
            }
        }
    }

    fn take_message(&mut self, message: &[u8]) {
        let request = match Request::decode(message) {
            Ok(request) => request,
            Err(error) => {
                self.context.count_junk(error);
                tracing::debug!(target: "shmeld::server", "dropped a message: {error}");
                return;
            }
        };
        explain!(
            "mq_timedreceive",
            self.options.name,
            format_args!(
                "request {}: {:?} {}",
                request.request_id,
                request.op,
                escape(&request.path)
            ),
        );
        let session = self.sessions.get(&request.region_id);
        let known = session.map(|session| (&session.nonce, session.region_bytes));
        match (route(&request, known), session) {
            (Route::Session, Some(session)) => session.push(request),
            (Route::Session | Route::Region, _) => self.attach(request),
            (Route::Ignore(reason), _) => self.ignore(&request, None, reason),
        }
    }

    /// Does nothing about a request; `owner` is whose region it names, whoever sent it.
    fn ignore(&self, request: &Request, owner: Option<u32>, reason: &str) {
        if let Some(audit) = &self.context.audit {
            audit.region_ignored(owner, reason);
        }
        self.count_refused(request, reason);
    }

    fn count_refused(&self, request: &Request, reason: &str) {
        self.context.counters.refused_regions.add(1);
        tracing::debug!(target: "shmeld::server", "ignored a request for region {}: {reason}", request.region_id);
    }

    /// Looks at the object that a request names, and whether it may be attached.
    fn look(&self, request: &Request) -> shmeld_core::Result<(Candidate, Verdict)> {
        let candidate = Candidate::open(request.region_id)?;
        let facts = Facts {
            stat: candidate.stat(),
            is_open_to_others: candidate.is_open_to_others(self.policy.users.own)?,
            raw: &candidate.raw_header()?,
        };
        let verdict = judge(request, facts, &self.policy);
        Ok((candidate, verdict))
    }

    /// The first request of a region: look at the object, decide, start a session.
    fn attach(&mut self, request: Request) {
        let (candidate, verdict) = match self.look(&request) {
            Ok(looked) => looked,
            // Gone: the client died or gave up; its request in the queue has no effect.
            Err(shmeld_core::Error::Os(error)) if error.kind() == ErrorKind::Limit => {
                return self.refuse_with_the_spare_descriptor(&request);
            }
            Err(error) => return self.ignore(&request, None, &error.to_string()),
        };
        let places = Places {
            is_held: self.sessions.holds((candidate.stat().dev, candidate.stat().ino)),
            once_taken: self.options.once && self.once.is_some(),
            sessions: self.sessions.len(),
            sessions_max: self.options.sessions_max,
            sessions_of_user: self.sessions.of_user(candidate.stat().uid),
            sessions_of_user_max: (candidate.stat().uid != self.policy.users.own)
                .then(|| self.options.sessions_of_user_max()),
        };
        match admit(verdict, places) {
            Admission::Start(header) => self.start_session(request, candidate, header),
            Admission::Refuse(status) => self.refuse(&request, &candidate, status),
            Admission::RefuseAndEvict(among) => {
                let of_user = (among == Among::SameUser).then_some(candidate.stat().uid);
                self.sessions.evict_the_most_stalled(of_user);
                self.refuse(&request, &candidate, Status::Busy);
            }
            Admission::Ignore(reason) => self.ignore(&request, Some(candidate.stat().uid), reason),
        }
    }

    fn start_session(&mut self, request: Request, candidate: Candidate, header: Header) {
        let asks_for_files = matches!(request.op, Op::Get | Op::Tree);
        let refused = request.clone();
        // The tick may have been set when all was quiet.
        self.next_tick = self.next_tick.min(Instant::now() + TICK_LIVELY);
        match self.sessions.start(request, candidate, header) {
            Ok(()) if self.options.once && asks_for_files => self.once = Some(refused.region_id),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(target: "shmeld::server", "thread for a session: {error}");
                if let Ok(candidate) = Candidate::open(refused.region_id) {
                    self.refuse(&refused, &candidate, Status::Busy);
                }
            }
        }
    }

    fn refuse(&self, request: &Request, candidate: &Candidate, status: Status) {
        if let Some(audit) = &self.context.audit {
            audit.region_refused(candidate.stat().uid, status, status.text());
        }
        self.count_refused(request, status.text());
        refuse(candidate, status);
    }

    /// Out of descriptors: gives the spare one up for a moment, so that the client hears BUSY instead of nothing.
    fn refuse_with_the_spare_descriptor(&mut self, request: &Request) {
        self.spare = None;
        if let Ok((candidate, verdict)) = self.look(request)
            && !matches!(verdict, Verdict::Ignore(_))
        {
            self.refuse(request, &candidate, Status::Busy);
        }
        self.spare = EventCounter::new().ok();
    }

    /// At each tick: the queue's name, the clients of idle sessions, and who makes progress.
    fn tick(&mut self) -> Result<()> {
        self.log.tick();
        if let Some(audit) = &self.context.audit {
            audit.tick(self.context.counters.junk_messages.get());
        }
        if self.queue.stat()?.links == 0 {
            self.republish()?;
        }
        self.next_tick = Instant::now()
            + match self.sessions.tick() {
                Pace::Doubtful => TICK_DOUBTFUL,
                Pace::Lively => TICK_LIVELY,
                Pace::Quiet => TICK_QUIET,
            };
        Ok(())
    }

    /// Makes the queue again after somebody unlinked it, taking up what was sent to the old one first.
    fn republish(&mut self) -> Result<()> {
        if !self.can_republish {
            // Not even tried: the kernel would make the queue and then refuse to open it.
            return Err(Error::QueueLost {
                name: self.options.name.clone(),
            });
        }
        tracing::warn!(target: "shmeld::server", "the queue {} lost its name; making it again", self.options.name);
        self.take_messages();
        self.queue = self.gate.make_queue(self.options.audience)?;
        Ok(())
    }

    /// Takes sessions whose threads have ended. With `once` the first that counts ends the server.
    fn reap(&mut self) {
        while let Some(ended) = self.sessions.reap() {
            self.account(ended.uid, &ended.end);
            if self.once == Some(ended.region_id) {
                self.once = None;
            }
            if self.options.once && ended.counts_for_once {
                let clean = matches!(ended.end, End::Closed);
                self.ending = Some(if clean {
                    Ending::OnceClosed
                } else {
                    Ending::OnceFailed
                });
            }
        }
    }

    fn account(&mut self, uid: u32, end: &End) {
        let counters = &self.context.counters;
        match end {
            End::ClientGone => counters.died.add(1),
            End::Misbehaved(_) => counters.misbehaved.add(1),
            End::Panicked => counters.panics.add(1),
            _ => {}
        }
        self.log.session_ended(uid, end);
    }

    /// Stops accepting, lets sessions at work finish for a while, removes the queue and then the gate.
    pub fn end(mut self) -> Ending {
        self.remove_queue();
        self.sessions.end_all(false);
        self.wait_for_sessions(GRACE);
        self.sessions.end_all(true);
        self.wait_for_sessions(ABORT_GRACE);
        self.sessions.give_up();
        self.log.finish();
        if let Some(audit) = &self.context.audit {
            audit.finish(self.context.counters.junk_messages.get());
        }
        self.gate.remove();
        self.ending.unwrap_or(Ending::Stopped)
    }

    fn wait_for_sessions(&mut self, grace: Duration) {
        for ended in self.sessions.wait(grace) {
            self.account(ended.uid, &ended.end);
        }
    }

    fn remove_queue(&self) {
        // The queue may have lost its name already; if the name is somebody else's by now it must stay.
        if self.queue.stat().is_ok_and(|stat| stat.links > 0) {
            let _ = MessageQueue::unlink(self.options.name.queue());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.remove_queue();
        self.gate.remove();
    }
}
