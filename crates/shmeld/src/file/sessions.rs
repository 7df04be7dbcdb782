//! The acceptor's table of sessions: starts their threads, sees who makes progress, takes the ended ones away.

use std::collections::BTreeMap;
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

use super::acceptor::{Pace, Seat, seat_to_take};
use super::account::Account;
use super::context::Context;
use super::session::{self, End, Session};
use super::status::Status;
use super::wire::Request;

/// Stack of a session's thread: enough for the deepest call with a wide margin, and only touched pages count.
const STACK_BYTES: usize = 256 * 1024;

struct Handle {
    /// Which start of a session this is: a region's id can come again, and a bell of an earlier start means nothing then.
    number: u64,
    /// The owner of the region.
    uid: u32,
    session: Arc<Session>,
    thread: JoinHandle<End>,
    seat: Seat,
}

/// A session that has ended.
pub(super) struct Ended {
    pub(super) region_id: RegionId,
    pub(super) uid: u32,
    /// It was attached and asked for files: `--once` waits for such a one.
    pub(super) counts_for_once: bool,
    pub(super) end: End,
}

/// See the module.
pub(super) struct Sessions {
    table: BTreeMap<RegionId, Handle>,
    ended: (mpsc::Sender<Ringing>, mpsc::Receiver<Ringing>),
    started: u64,
    wake: Arc<EventCounter>,
    context: Arc<Context>,
    stall: Duration,
}

impl Sessions {
    pub(super) fn new(context: Arc<Context>, wake: Arc<EventCounter>, stall: Duration) -> Self {
        Self {
            table: BTreeMap::new(),
            ended: mpsc::channel(),
            started: 0,
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

    /// How many sessions one user has.
    pub(super) fn of_user(&self, uid: u32) -> usize {
        self.table.values().filter(|handle| handle.uid == uid).count()
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
        let uid = candidate.stat().uid;
        self.started += 1;
        let number = self.started;
        let account = Account::new(uid, number);
        let session = Arc::new(Session::new(&header, device_and_inode, self.stall, account));
        session.push(request);
        let (context, shared) = (self.context.clone(), session.clone());
        let bell = Bell {
            ended: self.ended.0.clone(),
            wake: self.wake.clone(),
            ringing: (region_id, number),
        };
        let life = move || {
            let _bell = bell;
            let end = session::run(candidate, &header, &shared, &context).unwrap_or_else(|not_attached| {
                let end = End::from(not_attached.error);
                refuse(&not_attached.candidate, end.status());
                end
            });
            tell_end(&shared, &end, &context);
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
        let seat = Seat::new(Instant::now());
        let handle = Handle {
            number,
            uid,
            session,
            thread,
            seat,
        };
        self.table.insert(region_id, handle);
        self.publish_count();
        Ok(())
    }

    fn publish_count(&self) {
        self.context
            .sessions_now
            .store(self.table.len(), Ordering::Relaxed);
    }

    /// Takes the place of the client that has done nothing for longest, of all or of this user's; one at a time.
    pub(super) fn evict_the_most_stalled(&mut self, of_user: Option<u32>) {
        let now = Instant::now();
        let seats = self.table.iter_mut().map(|(region_id, handle)| {
            let session = &handle.session;
            let owes = session.pulse.is_waiting_for_client() || session.is_idle();
            // Whoever has done something since the last tick has not been still.
            handle.seat.note(session.pulse.slots(), now);
            (*region_id, handle.uid, handle.seat, owes)
        });
        let Some(region_id) = seat_to_take(seats, of_user, now) else {
            return;
        };
        if let Some(handle) = self.table.get_mut(&region_id) {
            tracing::info!(target: "shmeld::server", "ending a stalled session because its place is needed");
            handle.seat.evict();
            handle.session.abort(End::Stalled);
        }
    }

    /// Ends idle sessions whose clients are dead, once that has been seen twice. Returns how soon to look again.
    pub(super) fn tick(&mut self) -> Pace {
        let now = Instant::now();
        let mut pace = Pace::Quiet;
        for Handle { session, seat, .. } in self.table.values_mut() {
            let is_abandoned = session.is_abandoned();
            if seat.tick(session.pulse.slots(), is_abandoned, now) {
                session.close(End::ClientGone);
            } else {
                pace = pace.max(seat.pace(is_abandoned, now));
            }
        }
        pace
    }

    /// Takes one session whose thread has ended.
    pub(super) fn reap(&mut self) -> Option<Ended> {
        loop {
            let (region_id, number) = self.ended.1.try_recv().ok()?;
            // A thread that could not be started rings as well. To join another one of the same region would be to wait for ever.
            if self
                .table
                .get(&region_id)
                .is_none_or(|handle| handle.number != number)
            {
                continue;
            }
            let Some(handle) = self.table.remove(&region_id) else {
                continue;
            };
            let counts_for_once = handle.session.counts_for_once();
            let end = handle.thread.join().unwrap_or_else(|_| {
                // It never began: the standard library panics where a thread gets no signal stack. Its client may try again.
                if let Ok(candidate) = Candidate::open(region_id) {
                    refuse(&candidate, Status::Busy);
                }
                tell_end(&handle.session, &End::Panicked, &self.context);
                End::Panicked
            });
            self.publish_count();
            return Some(Ended {
                region_id,
                uid: handle.session.account.uid,
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

    /// Waits until all sessions have ended, at most for `grace`. Returns those that have.
    pub(super) fn wait(&mut self, grace: Duration) -> Vec<Ended> {
        let mut ended = Vec::new();
        let deadline = Instant::now() + grace;
        while !self.table.is_empty() && Instant::now() < deadline {
            let rest = deadline.saturating_duration_since(Instant::now());
            if poll(&[self.wake.as_fd()], Some(rest)).is_err() {
                break;
            }
            self.wake.drain();
            ended.extend(std::iter::from_fn(|| self.reap()));
        }
        ended
    }

    /// Accounts for sessions whose threads have not ended when the server does: they hang in a read of their source.
    pub(super) fn give_up(&self) {
        for handle in self.table.values() {
            tell_end(&handle.session, &End::Stopping, &self.context);
        }
    }
}

/// Writes the end of a session into the audit log, or why it did not come to one.
fn tell_end(session: &Session, end: &End, context: &Context) {
    let Some(audit) = &context.audit else { return };
    let account = &session.account;
    if session.is_attached() {
        audit.session_ended(account, end);
    } else if account.close() {
        audit.region_refused(account.uid, end.status(), &end.reason());
    }
}

/// Whose thread is over: a region, and which start of a session that was.
type Ringing = (RegionId, u64);

/// Tells the acceptor when a session's thread is over, however it ends: also if it cannot begin.
struct Bell {
    ended: mpsc::Sender<Ringing>,
    wake: Arc<EventCounter>,
    ringing: Ringing,
}

impl Drop for Bell {
    fn drop(&mut self) {
        // The acceptor may have gone already.
        let _ = self.ended.send(self.ringing);
        self.wake.signal();
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
    // Another server may have answered since: it holds its lease, and its word stands.
    if State::from_word(region.load(Word::State, Ordering::Acquire)) != Some(State::Offered) {
        return;
    }
    // Release: pairs with the client's Acquire load of the state word.
    region.store(
        Word::State,
        State::Refused(u32::from(status.code())).to_word(),
        Ordering::Release,
    );
    // A region that vanished in this moment has nobody to wake.
    let _ = post(&region, Semaphore::Filled);
}
