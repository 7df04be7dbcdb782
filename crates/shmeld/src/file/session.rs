//! One client's session on the server: the thread that joins its region and answers its requests, and what the acceptor sees of it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use shmeld_core::attach::{Attached, Candidate, ClientProbe, NotAttached};
use shmeld_core::counters::{Counters, Tick};
use shmeld_core::layout::{Header, Word};
use shmeld_core::session::{State, is_on_offer};
use shmeld_core::sync::Ordering as WordOrdering;
use shmeld_core::wait::{Semaphore, Words, post};
use shmeld_core::{Misbehaviour, Region};
use shmeld_os::explain;

use super::account::Account;
use super::answer::Answerer;
use super::context::Context;
use super::inbox::{Inbox, Pushed, must_flush};
use super::slot_writer::SlotWriter;
use super::status::Status;
use super::wire::{Op, Request};

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client said CLOSE.
    Closed,
    /// The client's lease was found free.
    ClientGone,
    /// The client broke the protocol.
    Misbehaved(Misbehaviour),
    /// The client did not do its next step for too long.
    Stalled,
    /// The server is shutting down.
    Stopping,
    /// The kernel refused something to us.
    Os(shmeld_os::Error),
    /// A thread of ours panicked.
    Panicked,
}

impl End {
    /// The code that the client finds in its state word.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Closed => Status::Ok,
            Self::ClientGone => Status::Cancelled,
            Self::Misbehaved(_) => Status::Misbehaved,
            Self::Stalled => Status::Stalled,
            Self::Stopping => Status::Stopping,
            Self::Os(error) if error.kind() == shmeld_os::ErrorKind::Limit => Status::Busy,
            Self::Os(_) | Self::Panicked => Status::Io,
        }
    }

    /// The reason in words, for logs.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Closed => "closed".to_owned(),
            Self::ClientGone => "the client died".to_owned(),
            Self::Misbehaved(how) => format!("the client broke the protocol: {how}"),
            Self::Stalled => "the client did nothing for too long".to_owned(),
            Self::Stopping => "the server is shutting down".to_owned(),
            Self::Os(error) => error.to_string(),
            Self::Panicked => "a thread of the server panicked".to_owned(),
        }
    }
}

impl From<Misbehaviour> for End {
    fn from(misbehaviour: Misbehaviour) -> Self {
        Self::Misbehaved(misbehaviour)
    }
}

impl From<shmeld_core::Error> for End {
    fn from(error: shmeld_core::Error) -> Self {
        match error {
            shmeld_core::Error::Os(error) => Self::Os(error),
            shmeld_core::Error::PeerGone => Self::ClientGone,
            shmeld_core::Error::Peer(misbehaviour) => Self::Misbehaved(misbehaviour),
            _ => Self::Misbehaved(Misbehaviour::Record("a region that changed its layout")),
        }
    }
}

/// What the session's thread tells the acceptor while it works, and the other way round. Atomics of our own process; each word stands for
/// itself and publishes nothing else, so Relaxed suffices throughout.
#[derive(Debug)]
pub(super) struct Pulse {
    stall: Duration,
    slots: AtomicU64,
    waiting_for_client: AtomicBool,
    abort: AtomicU8,
}

const ABORT_STOPPING: u8 = 1;
const ABORT_STALLED: u8 = 2;
const ABORT_MISBEHAVED: u8 = 3;

impl Pulse {
    fn new(stall: Duration) -> Self {
        Self {
            stall,
            slots: AtomicU64::new(0),
            waiting_for_client: AtomicBool::new(false),
            abort: AtomicU8::new(0),
        }
    }
    pub(super) fn stall(&self) -> Duration {
        self.stall
    }
    pub(super) fn progressed(&self) {
        self.slots.fetch_add(1, Ordering::Relaxed);
    }
    pub(super) fn slots(&self) -> u64 {
        self.slots.load(Ordering::Relaxed)
    }
    pub(super) fn set_waiting_for_client(&self, waiting: bool) {
        self.waiting_for_client.store(waiting, Ordering::Relaxed);
    }
    pub(super) fn is_waiting_for_client(&self) -> bool {
        self.waiting_for_client.load(Ordering::Relaxed)
    }
    /// Whether the acceptor wants this session to end.
    pub(super) fn check(&self) -> Result<(), End> {
        match self.abort.load(Ordering::Relaxed) {
            0 => Ok(()),
            ABORT_STALLED => Err(End::Stalled),
            ABORT_MISBEHAVED => Err(Misbehaviour::Flood.into()),
            _ => Err(End::Stopping),
        }
    }
}

/// A session as the acceptor and its thread share it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) nonce: [u8; 16],
    pub(super) region_bytes: u64,
    pub(super) device_and_inode: (u64, u64),
    pub(super) pulse: Pulse,
    pub(super) account: Account,
    inbox: Mutex<Inbox>,
    ready: Condvar,
    /// A look at the client's lease, once the region has been joined.
    probe: OnceLock<ClientProbe>,
}

impl Session {
    pub(super) fn new(
        header: &Header,
        device_and_inode: (u64, u64),
        stall: Duration,
        account: Account,
    ) -> Self {
        Self {
            nonce: header.nonce,
            region_bytes: header.geometry.region_bytes(),
            device_and_inode,
            pulse: Pulse::new(stall),
            account,
            inbox: Mutex::default(),
            ready: Condvar::new(),
            probe: OnceLock::new(),
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // A session whose thread panicked is ended anyway; the acceptor must live.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request to the session's thread. A repeated or older id is dropped; one request too many ends the session.
    pub(super) fn push(&self, request: Request) {
        let pushed = self.inbox().push(request);
        if pushed == Pushed::Flooded {
            self.pulse.abort.store(ABORT_MISBEHAVED, Ordering::Relaxed);
        }
        if pushed != Pushed::Dropped {
            self.ready.notify_one();
        }
    }

    /// Ends the session: at once if it is idle, at its next look if it is at work.
    pub(super) fn abort(&self, end: End) {
        let flag = if matches!(end, End::Stalled) {
            ABORT_STALLED
        } else {
            ABORT_STOPPING
        };
        self.pulse.abort.store(flag, Ordering::Relaxed);
        self.close(end);
    }

    /// Ends the session as soon as it is idle.
    pub(super) fn close(&self, end: End) {
        self.inbox().end(end);
        self.ready.notify_one();
    }

    /// Whether nothing is asked for at the moment.
    pub(super) fn is_idle(&self) -> bool {
        self.inbox().is_idle()
    }

    /// Whether this session is one that `--once` waits for: it was attached and asked for a file.
    pub(super) fn counts_for_once(&self) -> bool {
        self.inbox().counts_for_once()
    }

    /// Whether the region has been joined.
    pub(super) fn is_attached(&self) -> bool {
        self.probe.get().is_some()
    }

    /// Whether the client of an idle session has died. A session at work looks itself.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_idle() && self.probe.get().is_some_and(|probe| !probe.client_leased())
    }

    fn set_attached(&self, probe: ClientProbe) {
        // Set once: a session joins one region.
        let _ = self.probe.set(probe);
        self.inbox().set_attached();
    }

    /// The next request, if one is there.
    fn try_next(&self) -> Result<Option<Request>, End> {
        self.inbox().take_next()
    }

    /// Sleeps until there is a request, without any time-out: an idle session costs nothing.
    fn wait_next(&self) -> Result<Request, End> {
        let mut inbox = self.inbox();
        loop {
            if let Some(request) = inbox.take_next()? {
                return Ok(request);
            }
            inbox = self.ready.wait(inbox).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The life of a session, on a thread of its own. A region that could not be joined comes back with the reason.
pub(super) fn run(
    candidate: Candidate,
    header: &Header,
    session: &Session,
    context: &Arc<Context>,
) -> Result<End, Box<NotAttached>> {
    let attached = candidate.attach(header.geometry)?;
    // A panic ends this session only, and its client hears of it. What the closure borrows is dropped right after.
    let serve = std::panic::AssertUnwindSafe(|| serve(&attached, session, context));
    let end = match std::panic::catch_unwind(serve) {
        Ok(Ok(())) => End::Closed,
        Ok(Err(end)) => end,
        Err(_) => End::Panicked,
    };
    say_ended(&attached, &end);
    if matches!(end, End::ClientGone) {
        attached.remove_dead();
    }
    Ok(end)
}

fn serve(attached: &Attached, session: &Session, context: &Arc<Context>) -> Result<(), End> {
    let region = attached.region();
    // Looked at under the lease: another server may have attached or refused this region since it was admitted.
    let words = [Word::State, Word::Written, Word::Read].map(|word| region.load(word, WordOrdering::Acquire));
    let [state, written, read] = words;
    if !is_on_offer(state, written, read) {
        return Err(Misbehaviour::Record("a region that is no longer on offer").into());
    }
    session.set_attached(attached.client_probe()?);
    context.counters.sessions.add(1);
    explain!(
        "store",
        "state word of the region",
        "ATTACHED: the server holds its lease and will answer"
    );
    // Release: pairs with the client's Acquire load; whoever sees ATTACHED also finds our lease taken.
    region.store(Word::State, State::Attached.to_word(), WordOrdering::Release);
    let writer = SlotWriter::new(attached, &session.pulse);
    let mut answerer = Answerer::new(writer, context, &session.account);
    let mut told = [0; 5];
    let tell = || tell_ticks(region, &context.counters, &mut told);
    let outcome = answer_all(&mut answerer, session, tell);
    tell_ticks(region, &context.counters, &mut told);
    outcome
}

/// Answers one request after the other until CLOSE; `between` is called before each.
fn answer_all(answerer: &mut Answerer<'_>, session: &Session, mut between: impl FnMut()) -> Result<(), End> {
    loop {
        between();
        let next = session.try_next();
        if must_flush(&next) {
            // What has been answered must not wait in a slot that is only partly filled.
            answerer.flush()?;
        }
        let request = match next? {
            Some(request) => request,
            None => session.wait_next()?,
        };
        if request.op == Op::Close {
            explain!(
                "store",
                "state word of the region",
                "ENDED: the client said CLOSE"
            );
            return Ok(());
        }
        session.pulse.check()?;
        answerer.answer(&request)?;
    }
}

/// Adds what the ring cost since `told` to the server's counters.
fn tell_ticks(region: &Region, counters: &Counters, told: &mut [u64; 5]) {
    let totals = [
        (Tick::Slot, &counters.slots),
        (Tick::Spin, &counters.spins),
        (Tick::Sleep, &counters.sleeps),
        (Tick::SpuriousWake, &counters.spurious_wakes),
        (Tick::Wake, &counters.wakes),
    ];
    for ((tick, total), told) in totals.into_iter().zip(told) {
        let now = region.ticks().get(tick);
        total.add(now - std::mem::replace(told, now));
    }
}

/// Writes ENDED and rings, before the lease goes with the mapping.
fn say_ended(attached: &Attached, end: &End) {
    let region = attached.region();
    let code = u32::from(end.status().code());
    // Release: pairs with the client's Acquire load; slots published before are visible to whoever sees ENDED.
    region.store(Word::State, State::Ended(code).to_word(), WordOrdering::Release);
    // A client that took its memory away does not hear the bell; it is being ended for that.
    let _ = post(region, Semaphore::Filled);
}
