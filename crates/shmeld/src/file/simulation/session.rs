//! One session on the simulated server: what `session.rs` and `Candidate::attach` do, step by step.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::layout::{Header, Word};
use shmeld_core::session::{State, is_on_offer};
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{Semaphore, Words, post};

use super::baton::{ActorId, Key, Me, Pid, Wakeup};
use super::words::SimWords;
use super::world::{Mutant, World};
use super::writer::Writer;
use crate::file::acceptor::Seat;
use crate::file::inbox::{Inbox, Pushed, must_flush};
use crate::file::session::End;
use crate::file::status::Status;
use crate::file::wire::{Op, Request};

/// How many slices of its own a session may need to notice that its client has died.
const SLICES_AFTER_DEATH: u32 = 2;

/// A session as the acceptor and its thread share it, and what the observer notes.
#[derive(Debug)]
pub struct SessionCard {
    pub region_id: [u8; 16],
    pub header: Header,
    pub object: usize,
    pub server: Pid,
    pub acceptor: ActorId,
    pub inbox: Inbox,
    pub abort: Option<Status>,
    /// Slots published, as the acceptor sees it.
    pub slots: u64,
    pub is_waiting_for_client: bool,
    pub has_probe: bool,
    pub seat: Seat,
    pub finished: Option<End>,
    pub is_reaped: bool,
    /// The observer's notes: the true sequence word, the last possible value of the client's, what must follow.
    pub published: u32,
    pub last_read: u32,
    pub must_misbehave: bool,
    pub is_evicted: bool,
    /// When its client last asked for something while it was idle, or gave back a slot that was needed.
    pub acted: Duration,
    pub client_died: bool,
    slices_after_death: u32,
    pub ticks_after_death: u32,
}

impl SessionCard {
    pub fn new(request: &Request, header: Header, object: usize, me: &Me, now: Instant) -> Self {
        Self {
            region_id: request.region_id.0,
            header,
            object,
            server: me.pid,
            acceptor: me.id,
            inbox: Inbox::default(),
            abort: None,
            slots: 0,
            is_waiting_for_client: false,
            has_probe: false,
            seat: Seat::new(now),
            finished: None,
            is_reaped: false,
            published: 0,
            last_read: 0,
            must_misbehave: false,
            is_evicted: false,
            acted: Duration::ZERO,
            client_died: false,
            slices_after_death: 0,
            ticks_after_death: 0,
        }
    }

    /// Why the acceptor wants this session to end.
    pub fn check(&self) -> Result<(), End> {
        match self.abort {
            None => Ok(()),
            Some(Status::Stalled) => Err(End::Stalled),
            Some(Status::Misbehaved) => Err(Misbehaviour::Flood.into()),
            Some(_) => Err(End::Stopping),
        }
    }
}

impl World {
    /// A slice of a session or of a client (`None`) is over.
    pub fn slice_over(&mut self, session: Option<usize>) {
        let Some(card) = session.map(|session| &mut self.sessions[session]) else {
            self.wake(Key::SliceEnd, usize::MAX, Wakeup::Woken);
            return;
        };
        if card.client_died {
            card.slices_after_death += 1;
            if card.slices_after_death > SLICES_AFTER_DEATH {
                self.fail(format!("session {session:?} outlives its client"));
            }
        }
    }

    /// What `Session::push` does.
    pub fn push(&mut self, session: usize, request: Request) {
        let is_mutant = self.mutant == Mutant::IdsNotIncreasing;
        let card = &mut self.sessions[session];
        if is_mutant {
            // An inbox that forgets what it has seen.
            card.inbox = Inbox::default();
            card.inbox.set_attached();
        }
        if card.inbox.is_idle() {
            card.acted = self.now;
        }
        if card.inbox.push(request) == Pushed::Flooded {
            card.abort = Some(Status::Misbehaved);
        }
        self.wake(Key::Inbox(session), 1, Wakeup::Woken);
    }
}

/// The life of a session.
pub fn live(me: &Me, session: usize) {
    let object = me.aside(|world| world.sessions[session].object);
    let words = SimWords::new(me, object, Some(session));
    let end = match join(me, session, object) {
        Ok(()) => {
            let end = serve(me, session, &words).err().unwrap_or(End::Closed);
            say_ended(me, &words, &end);
            me.step(format_args!("drop the server's lease"), |world| {
                world.kernel.regions[object]
                    .server_lease
                    .take_if(|holder| *holder == (me.pid, me.id))
            });
            end
        }
        Err(end) => {
            refuse(me, object, end.status());
            end
        }
    };
    let status = end.status();
    me.step(format_args!("the session ends: {status}"), |world| {
        let card = &mut world.sessions[session];
        let (acceptor, must_misbehave) = (card.acceptor, card.must_misbehave);
        if must_misbehave && !matches!(end, End::Misbehaved(_)) {
            world.fail(format!(
                "a session that saw an impossible word ended with {end:?}"
            ));
        }
        world.sessions[session].finished = Some(end);
        world.wake_actor(acceptor);
    });
}

fn join(me: &Me, session: usize, object: usize) -> Result<(), End> {
    let client_leased = me.step(format_args!("probe the client's lease"), |world| {
        world.kernel.regions[object].client_lease.is_some()
    });
    if !client_leased {
        me.step(
            format_args!("remove the name of a dead client's region"),
            |world| {
                let id = world.sessions[session].region_id;
                if world.kernel.regions[object].client_lease.is_none()
                    && world.kernel.names.get(&id) == Some(&object)
                {
                    world.kernel.names.remove(&id);
                }
            },
        );
        return Err(End::ClientGone);
    }
    let is_same = me.step(format_args!("open the region again"), |world| {
        world.kernel.names.get(&world.sessions[session].region_id) == Some(&object)
    });
    if !is_same {
        return Err(End::ClientGone);
    }
    let taken = me.step(format_args!("take the server's lease"), |world| {
        let region = &mut world.kernel.regions[object];
        let is_free = region.server_lease.is_none();
        if is_free {
            region.server_lease = Some((me.pid, me.id));
            region.last_server = Some(me.pid);
        }
        is_free
    });
    if taken {
        Ok(())
    } else {
        Err(Misbehaviour::Lease.into())
    }
}

/// Tells a client why it is not attached.
pub fn refuse(me: &Me, object: usize, status: Status) {
    let words = SimWords::new(me, object, None);
    me.aside(|world| world.kernel.regions[object].last_server = Some(me.pid));
    words.store(
        Word::State,
        State::Refused(status.code().into()).to_word(),
        Ordering::Release,
    );
    let _ = post(&words, Semaphore::Filled);
}

fn say_ended(me: &Me, words: &SimWords, end: &End) {
    words.store(
        Word::State,
        State::Ended(end.status().code().into()).to_word(),
        Ordering::Release,
    );
    let _ = post(words, Semaphore::Filled);
    me.aside(|world| world.count("sessions ended"));
}

fn serve(me: &Me, session: usize, words: &SimWords) -> Result<(), End> {
    let [state, written, read] =
        [Word::State, Word::Written, Word::Read].map(|word| words.load(word, Ordering::Acquire));
    if !is_on_offer(state, written, read) && !me.is(Mutant::OfferNotChecked) {
        return Err(Misbehaviour::Record("a region that is no longer on offer").into());
    }
    me.step(format_args!("attached"), |world| {
        let card = &mut world.sessions[session];
        card.inbox.set_attached();
        card.has_probe = true;
    });
    words.store(Word::State, State::Attached.to_word(), Ordering::Release);
    let mut writer = Writer::new(me, session, words);
    loop {
        let next = me.step(format_args!("look into the inbox"), |world| {
            world.sessions[session].inbox.take_next()
        });
        if must_flush(&next) {
            writer.flush()?;
        }
        let request = match next? {
            Some(request) => request,
            None => wait_next(me, session)?,
        };
        if request.op == Op::Close {
            return Ok(());
        }
        writer.check()?;
        writer.answer(&request)?;
    }
}

fn wait_next(me: &Me, session: usize) -> Result<Request, End> {
    loop {
        let next = me.step_or_wait(format_args!("wait for a request"), |world| {
            match world.sessions[session].inbox.take_next() {
                Ok(Some(request)) => Ok(Ok(request)),
                Ok(None) => Err((Key::Inbox(session), None)),
                Err(end) => Ok(Err(end)),
            }
        });
        if let Ok(next) = next {
            return next;
        }
    }
}
