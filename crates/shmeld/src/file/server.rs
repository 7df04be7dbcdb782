//! The server: one acceptor thread, which reads the queue and decides, and one thread for each session.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld_core::attach::{Candidate, RegionId};
use shmeld_core::counters::Counters;
use shmeld_core::layout::{Geometry, Header, SLOT_BYTES_MIN, SLOTS_OFFSET_IN_PAGE, Word};
use shmeld_core::session::State;
use shmeld_core::sync::Ordering as WordOrdering;
use shmeld_core::wait::{Semaphore, Words, post};
use shmeld_os::event::{EventCounter, poll};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::{ErrorKind, explain, process};
use std::os::fd::AsFd;

use super::admission::{Policy, Verdict, judge};
use super::context::Context;
use super::gate::{Gate, sweep};
use super::session::{self, End, Session};
use super::source::Source;
use super::staging::StagingPool;
use super::status::Status;
use super::wire::{MESSAGE_BYTES_MAX, Op, Request};
use crate::{Result, ServerName};

/// How many messages the acceptor takes before it looks at signals, sessions and the clock again.
const MESSAGES_PER_TURN: usize = 10;
/// How often the acceptor looks whether its queue still has its name and whether idle clients live.
const TICK: Duration = Duration::from_secs(1);
/// How long sessions at work may go on when the server is asked to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long the server then waits for their threads.
const ABORT_GRACE: Duration = Duration::from_secs(2);
/// A client that has done nothing for this long loses its place if somebody else needs it.
const EVICT_AFTER: Duration = Duration::from_secs(5);
/// Stack of a session's thread: enough for the deepest call with a wide margin, and only touched pages count.
const STACK_BYTES: usize = 256 * 1024;

/// What a server admits and how long it waits.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The name under which clients find it.
    pub name: ServerName,
    /// End when the first session that made a GET or TREE ends.
    pub once: bool,
    /// The most sessions at once.
    pub sessions_max: usize,
    /// The largest region that is attached.
    pub region_bytes_max: u64,
    /// How long a client may owe its next step.
    pub stall: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            name: ServerName::default(),
            once: false,
            sessions_max: 1024,
            region_bytes_max: 64 << 20,
            stall: Duration::from_secs(600),
        }
    }
}

/// How a server's run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop.
    Stopped,
    /// `once`: the session ended with CLOSE.
    OnceClosed,
    /// `once`: the session's client died or broke the protocol.
    OnceFailed,
}

/// Asks a running server to stop, from any thread.
#[derive(Debug, Clone)]
pub struct Stopper {
    wake: Arc<EventCounter>,
    stop: Arc<AtomicBool>,
}

impl Stopper {
    /// Lets sessions at work finish for a few seconds, then ends the server.
    pub fn stop(&self) {
        // Release: pairs with the Acquire load in the acceptor's loop.
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
    }
}

struct Handle {
    session: Arc<Session>,
    thread: JoinHandle<End>,
    /// How many slots it had published when the acceptor last looked, and since when that has not changed.
    progress: (u64, Instant),
}

/// A server that owns its name; [`Server::run`] serves until it is stopped. Dropping it removes what it made.
pub struct Server {
    options: ServerOptions,
    policy: Policy,
    context: Arc<Context>,
    queue: MessageQueue,
    gate: Gate,
    sessions: HashMap<RegionId, Handle>,
    ended: (mpsc::Sender<RegionId>, mpsc::Receiver<RegionId>),
    stopper: Stopper,
    once: Option<RegionId>,
    ending: Option<Ending>,
    next_tick: Instant,
}

impl Server {
    /// Takes the name, sweeps what crashes left, and makes the queue: from then on clients can send.
    ///
    /// # Errors
    /// The name is taken (by a live server or another user), or the kernel refuses (a limit of message queues, for example).
    pub fn start(source: Arc<dyn Source>, options: ServerOptions) -> Result<Self> {
        let gate = Gate::take(&options.name)?;
        sweep(&options.name);
        let wake = Arc::new(EventCounter::new()?);
        let queue = gate.make_queue().inspect_err(|_| gate.remove())?;
        let context = Arc::new(Context {
            name: options.name.clone(),
            source,
            counters: Counters::default(),
            staging: StagingPool::default(),
            started: Instant::now(),
            sessions_now: AtomicUsize::new(0),
            sessions_max: options.sessions_max,
        });
        let policy = Policy {
            uid: process::effective_uid(),
            region_bytes_max: options.region_bytes_max,
        };
        Ok(Self {
            options,
            policy,
            context,
            queue,
            gate,
            sessions: HashMap::new(),
            ended: mpsc::channel(),
            stopper: Stopper {
                wake,
                stop: Arc::default(),
            },
            once: None,
            ending: None,
            next_tick: Instant::now() + TICK,
        })
    }

    /// A handle that stops this server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until [`Stopper::stop`], or with `once` until the session is over.
    ///
    /// # Errors
    /// The queue was lost and cannot be made again.
    pub fn run(mut self) -> Result<Ending> {
        while self.ending.is_none() && !self.stopper.stop.load(Ordering::Acquire) {
            let until_tick = self.next_tick.saturating_duration_since(Instant::now());
            let ready = poll(&[self.queue.as_fd(), self.stopper.wake.as_fd()], Some(until_tick))?;
            if ready[1] {
                self.stopper.wake.drain();
            }
            self.reap();
            let drained = !ready[0] || self.take_messages();
            if Instant::now() >= self.next_tick {
                self.tick(drained)?;
            }
        }
        self.shut_down();
        Ok(self.ending.unwrap_or(Ending::Stopped))
    }

    /// Takes at most [`MESSAGES_PER_TURN`] messages; returns whether the queue was found empty.
    fn take_messages(&mut self) -> bool {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        for _ in 0..MESSAGES_PER_TURN {
            // A deadline in the past: never wait here.
            match self.queue.receive(&mut buffer, Some(self.context.started)) {
                Ok((len, _priority)) => self.take_message(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::TimedOut => return true,
                Err(error) => {
                    tracing::warn!(target: "shmeld::server", "{error}");
                    return true;
                }
            }
        }
        false
    }

    fn take_message(&mut self, message: &[u8]) {
        let request = match Request::decode(message) {
            Ok(request) => request,
            Err(error) => {
                self.context.counters.junk_messages.add(1);
                tracing::debug!(target: "shmeld::server", "dropped a message: {error}");
                return;
            }
        };
        match self.sessions.get(&request.region_id) {
            // The nonce is compared in every message before anything is done with it: an id can be seen in /dev/shm, a nonce cannot.
            Some(handle)
                if handle.session.nonce != request.nonce
                    || handle.session.region_bytes != request.region_bytes =>
            {
                self.ignore(&request, "its nonce or size is not that of the session");
            }
            Some(handle) => handle.session.push(request),
            None => self.attach(request),
        }
    }

    fn ignore(&self, request: &Request, reason: &str) {
        self.context.counters.refused_regions.add(1);
        tracing::debug!(target: "shmeld::server", "ignored a request for region {}: {reason}", request.region_id);
    }

    /// The first request of a region: look at the object, decide, start a session.
    fn attach(&mut self, request: Request) {
        let looked = Candidate::open(request.region_id).and_then(|found| Ok((found.raw_header()?, found)));
        let (raw, candidate) = match looked {
            Ok(looked) => looked,
            // Gone: the client died or gave up; its request in the queue has no effect.
            Err(error) => return self.ignore(&request, &error.to_string()),
        };
        let header = match judge(&request, candidate.stat(), &raw, &self.policy) {
            Verdict::Attach(header) => header,
            Verdict::Refuse(status) => return self.refuse(&request, &candidate, status),
            Verdict::Ignore(reason) => return self.ignore(&request, reason),
        };
        let device_and_inode = (candidate.stat().dev, candidate.stat().ino);
        if self
            .sessions
            .values()
            .any(|handle| handle.session.device_and_inode == device_and_inode)
        {
            return self.ignore(&request, "the object is attached under another name");
        }
        if self.options.once && self.once.is_some() {
            return self.refuse(&request, &candidate, Status::Busy);
        }
        if self.sessions.len() >= self.options.sessions_max {
            self.evict_the_most_stalled();
            return self.refuse(&request, &candidate, Status::Busy);
        }
        self.start_session(request, candidate, header, device_and_inode);
    }

    fn start_session(
        &mut self,
        request: Request,
        candidate: Candidate,
        header: Header,
        device_and_inode: (u64, u64),
    ) {
        let region_id = request.region_id;
        let asks_for_files = matches!(request.op, Op::Get | Op::Tree);
        let session = Arc::new(Session::new(&header, device_and_inode, self.options.stall));
        session.push(request);
        let (context, ended, wake) = (
            self.context.clone(),
            self.ended.0.clone(),
            self.stopper.wake.clone(),
        );
        let shared = session.clone();
        let life = move || {
            // A panic ends this session only: the session's own state is dropped here and the acceptor counts it.
            let run = std::panic::AssertUnwindSafe(|| session::run(candidate, &header, &shared, &context));
            let end = std::panic::catch_unwind(run).unwrap_or(End::Panicked);
            // The acceptor may have gone already.
            let _ = ended.send(region_id);
            wake.signal();
            end
        };
        match std::thread::Builder::new()
            .name("session".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(life)
        {
            Ok(thread) => {
                if self.options.once && asks_for_files {
                    self.once = Some(region_id);
                }
                self.sessions.insert(
                    region_id,
                    Handle {
                        session,
                        thread,
                        progress: (0, Instant::now()),
                    },
                );
                self.context
                    .sessions_now
                    .store(self.sessions.len(), Ordering::Relaxed);
            }
            Err(error) => {
                self.context.counters.refused_regions.add(1);
                tracing::warn!(target: "shmeld::server", "thread for a session: {error}");
            }
        }
    }

    /// Tells a client that has proven to own its region why it is not attached.
    fn refuse(&self, request: &Request, candidate: &Candidate, status: Status) {
        self.ignore(request, status.text());
        let whole = Geometry::new(candidate.stat().bytes, SLOTS_OFFSET_IN_PAGE, SLOT_BYTES_MIN, 1);
        let Ok(Ok(region)) = whole.map(|geometry| candidate.map(geometry)) else {
            return;
        };
        explain!(
            "store",
            format_args!("state word of region {}", request.region_id),
            format_args!("REFUSED: {status}")
        );
        let state = State::Refused(u32::from(status.code()));
        // Release: pairs with the client's Acquire load of the state word.
        region.store(Word::State, state.to_word(), WordOrdering::Release);
        // A region that vanished in this moment has nobody to wake.
        let _ = post(&region, Semaphore::Filled);
    }

    /// Takes the place of the client that has owed its next step for longest.
    fn evict_the_most_stalled(&self) {
        let stalled = |handle: &&Handle| {
            handle.session.pulse.is_waiting_for_client() && handle.progress.1.elapsed() >= EVICT_AFTER
        };
        if let Some(handle) = self
            .sessions
            .values()
            .filter(stalled)
            .min_by_key(|handle| handle.progress.1)
        {
            tracing::info!(target: "shmeld::server", "ending a stalled session because its place is needed");
            handle.session.abort(End::Stalled);
        }
    }

    /// Once a second: the queue's name, the clients of idle sessions, and who makes progress.
    fn tick(&mut self, queue_drained: bool) -> Result<()> {
        self.next_tick = Instant::now() + TICK;
        if self.queue.stat()?.links == 0 {
            self.republish()?;
        }
        for handle in self.sessions.values_mut() {
            let slots = handle.session.pulse.slots();
            if slots != handle.progress.0 {
                handle.progress = (slots, Instant::now());
            }
            // A CLOSE may still be in the queue behind other messages; a client that sent it has not died.
            if queue_drained && handle.session.is_abandoned() {
                handle.session.close(End::ClientGone);
            }
        }
        Ok(())
    }

    /// Makes the queue again after somebody unlinked it, taking up what was sent to the old one first.
    fn republish(&mut self) -> Result<()> {
        tracing::warn!(target: "shmeld::server", "the queue {} lost its name; making it again", self.options.name);
        self.take_messages();
        self.queue = self.gate.make_queue()?;
        Ok(())
    }

    /// Takes the threads of sessions that have ended.
    fn reap(&mut self) {
        while let Ok(region_id) = self.ended.1.try_recv() {
            let Some(handle) = self.sessions.remove(&region_id) else {
                continue;
            };
            let counts = handle.session.counts_for_once();
            let end = handle.thread.join().unwrap_or(End::Panicked);
            self.context
                .sessions_now
                .store(self.sessions.len(), Ordering::Relaxed);
            self.account(&end);
            if self.once == Some(region_id) || (self.options.once && counts) {
                self.once = None;
                if counts {
                    let clean = matches!(end, End::Closed);
                    self.ending = Some(if clean {
                        Ending::OnceClosed
                    } else {
                        Ending::OnceFailed
                    });
                }
            }
        }
    }

    fn account(&self, end: &End) {
        let counters = &self.context.counters;
        match end {
            End::ClientGone => counters.died.add(1),
            End::Misbehaved(_) => counters.misbehaved.add(1),
            End::Panicked => counters.panics.add(1),
            _ => {}
        }
        match end {
            End::Closed => tracing::debug!(target: "shmeld::server", "session closed"),
            End::Misbehaved(how) => {
                tracing::warn!(target: "shmeld::server", "ended a session: the client broke the protocol: {how}")
            }
            End::Os(error) => tracing::warn!(target: "shmeld::server", "ended a session: {error}"),
            other => tracing::info!(target: "shmeld::server", "ended a session: {}", other.status().text()),
        }
    }

    /// Stops accepting, lets sessions at work finish for a while, removes the queue and then the gate.
    fn shut_down(&mut self) {
        self.remove_queue();
        for handle in self.sessions.values() {
            if handle.session.is_idle() {
                handle.session.abort(End::Stopping);
            } else {
                handle.session.close(End::Stopping);
            }
        }
        self.wait_for_sessions(GRACE);
        for handle in self.sessions.values() {
            handle.session.abort(End::Stopping);
        }
        self.wait_for_sessions(ABORT_GRACE);
        self.gate.remove();
    }

    fn wait_for_sessions(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while !self.sessions.is_empty() && Instant::now() < deadline {
            let rest = deadline.saturating_duration_since(Instant::now());
            if poll(&[self.stopper.wake.as_fd()], Some(rest)).is_err() {
                return;
            }
            self.stopper.wake.drain();
            self.reap();
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
