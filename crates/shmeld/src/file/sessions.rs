//! The acceptor's table of sessions: starts their threads, sees who makes progress, takes the ended ones away.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld_core::attach::{Candidate, RegionId};
use shmeld_core::layout::{Geometry, Header, SLOT_BYTES_MIN, SLOTS_OFFSET_IN_PAGE, Word};
use shmeld_core::session::State;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{Semaphore, Words, post};
use shmeld_os::event::{EventCounter, poll};
use shmeld_os::explain;

use super::context::Context;
use super::session::{self, End, Session};
use super::status::Status;
use super::wire::Request;

/// A client that has done nothing for this long loses its place if somebody else needs it.
const EVICT_AFTER: Duration = Duration::from_secs(5);
/// Stack of a session's thread: enough for the deepest call with a wide margin, and only touched pages count.
const STACK_BYTES: usize = 256 * 1024;

struct Handle {
    session: Arc<Session>,
    thread: JoinHandle<End>,
    /// How many slots it had published when the acceptor last looked, and since when that has not changed.
    progress: (u64, Instant),
    /// For how many ticks in a row its client has been dead.
    dead_ticks: u32,
    is_evicted: bool,
}

/// A session that has ended.
pub(super) struct Ended {
    pub(super) region_id: RegionId,
    /// It was attached and asked for files: `--once` waits for such a one.
    pub(super) counts_for_once: bool,
    pub(super) end: End,
}

/// See the module.
pub(super) struct Sessions {
    table: HashMap<RegionId, Handle>,
    ended: (mpsc::Sender<RegionId>, mpsc::Receiver<RegionId>),
    wake: Arc<EventCounter>,
    context: Arc<Context>,
    stall: Duration,
}

impl Sessions {
    pub(super) fn new(context: Arc<Context>, wake: Arc<EventCounter>, stall: Duration) -> Self {
        Self {
            table: HashMap::new(),
            ended: mpsc::channel(),
            wake,
            context,
            stall,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, region_id: &RegionId) -> Option<&Session> {
        self.table.get(region_id).map(|handle| &*handle.session)
    }

    /// Whether the object is attached already, under whatever name.
    pub(super) fn holds(&self, device_and_inode: (u64, u64)) -> bool {
        self.table
            .values()
            .any(|handle| handle.session.device_and_inode == device_and_inode)
    }

    /// Starts a session for a region that was admitted, with its first request.
    pub(super) fn start(
        &mut self,
        request: Request,
        candidate: Candidate,
        header: Header,
    ) -> std::io::Result<()> {
        let region_id = request.region_id;
        let device_and_inode = (candidate.stat().dev, candidate.stat().ino);
        let session = Arc::new(Session::new(&header, device_and_inode, self.stall));
        session.push(request);
        let (context, ended, wake) = (self.context.clone(), self.ended.0.clone(), self.wake.clone());
        let shared = session.clone();
        let life = move || {
            let end = session::run(candidate, &header, &shared, &context).unwrap_or_else(|not_attached| {
                let end = End::from(not_attached.error);
                refuse(&not_attached.candidate, end.status());
                end
            });
            // The acceptor may have gone already.
            let _ = ended.send(region_id);
            wake.signal();
            end
        };
        let builder = std::thread::Builder::new()
            .name("session".to_owned())
            .stack_size(STACK_BYTES);
        // Before it runs: a session that asks for the status counts itself.
        self.context
            .sessions_now
            .store(self.table.len() + 1, Ordering::Relaxed);
        let thread = builder.spawn(life).inspect_err(|_| self.publish_count())?;
        let progress = (0, Instant::now());
        self.table.insert(
            region_id,
            Handle {
                session,
                thread,
                progress,
                dead_ticks: 0,
                is_evicted: false,
            },
        );
        self.publish_count();
        Ok(())
    }

    fn publish_count(&self) {
        self.context
            .sessions_now
            .store(self.table.len(), Ordering::Relaxed);
    }

    /// Takes the place of the client that has done nothing for longest; one at a time.
    pub(super) fn evict_the_most_stalled(&mut self) {
        if self.table.values().any(|handle| handle.is_evicted) {
            return;
        }
        let stalled = |handle: &&mut Handle| {
            let owes = handle.session.pulse.is_waiting_for_client() || handle.session.is_idle();
            owes && handle.progress.1.elapsed() >= EVICT_AFTER
        };
        if let Some(handle) = self
            .table
            .values_mut()
            .filter(stalled)
            .min_by_key(|handle| handle.progress.1)
        {
            tracing::info!(target: "shmeld::server", "ending a stalled session because its place is needed");
            handle.is_evicted = true;
            handle.session.abort(End::Stalled);
        }
    }

    /// Notes who makes progress, and ends idle sessions whose client has died. Two ticks in a row, because a client that says CLOSE and
    /// goes is not dead: its message is in the queue and is taken before the second one.
    pub(super) fn tick(&mut self) {
        for handle in self.table.values_mut() {
            let slots = handle.session.pulse.slots();
            if slots != handle.progress.0 {
                handle.progress = (slots, Instant::now());
            }
            handle.dead_ticks = if handle.session.is_abandoned() {
                handle.dead_ticks + 1
            } else {
                0
            };
            if handle.dead_ticks >= 2 {
                handle.session.close(End::ClientGone);
            }
        }
    }

    /// Takes one session whose thread has ended.
    pub(super) fn reap(&mut self) -> Option<Ended> {
        loop {
            let region_id = self.ended.1.try_recv().ok()?;
            let Some(handle) = self.table.remove(&region_id) else {
                continue;
            };
            let counts_for_once = handle.session.counts_for_once();
            let end = handle.thread.join().unwrap_or(End::Panicked);
            self.publish_count();
            return Some(Ended {
                region_id,
                counts_for_once,
                end,
            });
        }
    }

    /// Ends idle sessions at once; the others end when they become idle, or at their next look if `abort`.
    pub(super) fn end_all(&self, abort: bool) {
        for handle in self.table.values() {
            if abort || handle.session.is_idle() {
                handle.session.abort(End::Stopping);
            } else {
                handle.session.close(End::Stopping);
            }
        }
    }

    /// Waits until all sessions have ended, at most for `grace`.
    pub(super) fn wait(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while !self.table.is_empty() && Instant::now() < deadline {
            let rest = deadline.saturating_duration_since(Instant::now());
            if poll(&[self.wake.as_fd()], Some(rest)).is_err() {
                return;
            }
            self.wake.drain();
            while self.reap().is_some() {}
        }
    }
}

/// Tells a client that has proven to own its region why it is not attached.
pub(super) fn refuse(candidate: &Candidate, status: Status) {
    let whole = Geometry::new(candidate.stat().bytes, SLOTS_OFFSET_IN_PAGE, SLOT_BYTES_MIN, 1);
    let Ok(Ok(region)) = whole.map(|geometry| candidate.map(geometry)) else {
        return;
    };
    explain!(
        "store",
        "state word of the region",
        format_args!("REFUSED: {status}")
    );
    // Release: pairs with the client's Acquire load of the state word.
    region.store(
        Word::State,
        State::Refused(u32::from(status.code())).to_word(),
        Ordering::Release,
    );
    // A region that vanished in this moment has nobody to wake.
    let _ = post(&region, Semaphore::Filled);
}
