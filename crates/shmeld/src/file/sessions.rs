//! The acceptor's table of sessions: starts their threads, sees who makes progress, takes the ended ones away.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld_core::attach::{Candidate, RegionId};
use shmeld_core::layout::Header;
use shmeld_os::event::{EventCounter, poll};
use std::os::fd::AsFd;

use super::context::Context;
use super::session::{self, End, Session};
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
        Self { table: HashMap::new(), ended: mpsc::channel(), wake, context, stall }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, region_id: &RegionId) -> Option<&Session> {
        self.table.get(region_id).map(|handle| &*handle.session)
    }

    /// Whether the object is attached already, under whatever name.
    pub(super) fn holds(&self, device_and_inode: (u64, u64)) -> bool {
        self.table.values().any(|handle| handle.session.device_and_inode == device_and_inode)
    }

    /// Starts a session for a region that was admitted, with its first request.
    pub(super) fn start(&mut self, request: Request, candidate: Candidate, header: Header) -> std::io::Result<()> {
        let region_id = request.region_id;
        let device_and_inode = (candidate.stat().dev, candidate.stat().ino);
        let session = Arc::new(Session::new(&header, device_and_inode, self.stall));
        session.push(request);
        let (context, ended, wake) = (self.context.clone(), self.ended.0.clone(), self.wake.clone());
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
        let builder = std::thread::Builder::new().name("session".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(life)?;
        self.table.insert(region_id, Handle { session, thread, progress: (0, Instant::now()) });
        self.publish_count();
        Ok(())
    }

    fn publish_count(&self) {
        self.context.sessions_now.store(self.table.len(), Ordering::Relaxed);
    }

    /// Takes the place of the client that has owed its next step for longest.
    pub(super) fn evict_the_most_stalled(&self) {
        let stalled = |handle: &&Handle| {
            handle.session.pulse.is_waiting_for_client() && handle.progress.1.elapsed() >= EVICT_AFTER
        };
        if let Some(handle) = self.table.values().filter(stalled).min_by_key(|handle| handle.progress.1) {
            tracing::info!(target: "shmeld::server", "ending a stalled session because its place is needed");
            handle.session.abort(End::Stalled);
        }
    }

    /// Notes who makes progress, and ends idle sessions whose client has died if `look_at_leases`.
    pub(super) fn tick(&mut self, look_at_leases: bool) {
        for handle in self.table.values_mut() {
            let slots = handle.session.pulse.slots();
            if slots != handle.progress.0 {
                handle.progress = (slots, Instant::now());
            }
            if look_at_leases && handle.session.is_abandoned() {
                handle.session.close(End::ClientGone);
            }
        }
    }

    /// Takes one session whose thread has ended.
    pub(super) fn reap(&mut self) -> Option<Ended> {
        loop {
            let region_id = self.ended.1.try_recv().ok()?;
            let Some(handle) = self.table.remove(&region_id) else { continue };
            let counts_for_once = handle.session.counts_for_once();
            let end = handle.thread.join().unwrap_or(End::Panicked);
            self.publish_count();
            return Some(Ended { region_id, counts_for_once, end });
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
