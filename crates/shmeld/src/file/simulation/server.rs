//! The simulated server's acceptor: what `server.rs`, `sessions.rs` and `gate.rs` do, step by step.

use std::time::Duration;

use shmeld_os::ErrorKind;

use super::baton::{Key, Me, Wakeup};
use super::kernel::{Queue, SERVERS_UID};
use super::session::{self, SessionCard};
use super::world::{Mutant, World};
use crate::file::acceptor::{Admission, Places, Route, admit, route, seat_to_take};
use crate::file::admission::{Facts, Policy, judge};
use crate::file::session::End;
use crate::file::status::Status;
use crate::file::users::Users;
use crate::file::wire::Request;

const TICK: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(5);
const ABORT_GRACE: Duration = Duration::from_secs(2);
const MESSAGES_PER_TURN: usize = 10;
/// How many ticks the session of a dead client may last.
const TICKS_AFTER_DEATH: u32 = 4;
const POLICY: Policy = Policy {
    users: Users {
        own: SERVERS_UID,
        unmapped: None,
    },
    serves_others: false,
    region_bytes_max: 1 << 20,
};

struct Acceptor<'m> {
    me: &'m Me,
    queue: usize,
    sessions_max: usize,
    next_tick: Duration,
}

/// The life of a server. It ends at once if another one has the name.
pub fn live(me: &Me, sessions_max: usize) {
    if !take_gate(me) {
        return gone(me);
    }
    let Some(queue) = make_queue(me) else {
        return gone(me);
    };
    let mut acceptor = Acceptor {
        me,
        queue,
        sessions_max,
        next_tick: me.now() + TICK,
    };
    acceptor.accept();
    acceptor.shut_down();
    gone(me);
}

/// The process exits.
fn gone(me: &Me) {
    me.step(format_args!("exit"), |world| world.process_died(me.pid));
}

fn take_gate(me: &Me) -> bool {
    me.step(format_args!("lock the gate"), |world| {
        let is_free = world.kernel.gate.is_none();
        if is_free {
            world.kernel.gate = Some(me.pid);
        }
        is_free
    })
}

/// Replaces what a dead server left. `None` if a live one has it.
fn make_queue(me: &Me) -> Option<usize> {
    let old = me.step(format_args!("open the old queue"), |world| {
        world.kernel.queue_name
    });
    if let Some(old) = old {
        let is_leased = me.step(format_args!("probe its lease"), |world| {
            world.kernel.queues[old].lease.is_some()
        });
        if is_leased {
            return None;
        }
        me.step(format_args!("unlink the old queue"), |world| {
            world.kernel.queue_name = None
        });
    }
    let queue = me.step(format_args!("mq_open(O_EXCL)"), |world| {
        if world.kernel.queue_name.is_some() {
            return None;
        }
        world.kernel.queues.push(Queue::default());
        world.kernel.queue_name = Some(world.kernel.queues.len() - 1);
        world.kernel.queue_name
    })?;
    me.step(format_args!("take the queue's lease"), |world| {
        let others = world.kernel.queue_name.filter(|named| *named != queue);
        if others.is_some_and(|other| world.kernel.queues[other].lease.is_some()) {
            world.fail("two servers hold one name");
        }
        world.kernel.queues[queue].lease = Some(me.pid);
    });
    Some(queue)
}

impl Acceptor<'_> {
    fn accept(&mut self) {
        loop {
            let (queue, until) = (self.queue, self.next_tick);
            let ready = self.me.step_or_wait(format_args!("poll"), |world| {
                let has_message = !world.kernel.queues[queue].messages.is_empty();
                let stop_wanted = world.processes[self.me.pid].stop_wanted;
                if has_message || stop_wanted || world.unreaped(self.me.pid).is_some() {
                    Ok((has_message, stop_wanted))
                } else {
                    Err((Key::Message(queue), Some(until)))
                }
            });
            if matches!(ready, Ok((_, true))) {
                return;
            }
            while self.reap() {}
            if matches!(ready, Ok((true, _))) {
                self.take_messages();
            }
            if self.me.now() >= self.next_tick {
                self.tick();
            }
        }
    }

    fn take_messages(&mut self) {
        let queue = self.queue;
        for _ in 0..MESSAGES_PER_TURN {
            let message = self.me.step(format_args!("mq_timedreceive"), |world| {
                let message = world.kernel.queues[queue].messages.pop_front();
                if message.is_some() {
                    world.wake(Key::Room(queue), usize::MAX, Wakeup::Woken);
                }
                message
            });
            let Some(message) = message else { return };
            if let Ok(request) = Request::decode(&message) {
                self.take_request(request);
            }
        }
    }

    fn take_request(&mut self, mut request: Request) {
        let id = request.region_id.0;
        let session = self.me.aside(|world| {
            let known = world
                .live_sessions(self.me.pid)
                .find(|index| world.sessions[*index].region_id == id);
            known.map(|index| (index, world.sessions[index].header))
        });
        if let (Mutant::NonceNotCompared, Some((_, header))) = (self.mutant(), session) {
            request.nonce = header.nonce;
        }
        let known = session
            .as_ref()
            .map(|(_, header)| (&header.nonce, header.geometry.region_bytes()));
        match (route(&request, known), session) {
            (Route::Session, Some((session, _))) => {
                let id = request.request_id;
                self.me.step(format_args!("push request {id}"), |world| {
                    world.push(session, request)
                });
            }
            (Route::Region, _) => self.attach(request),
            _ => self.me.aside(|world| world.count("ignored")),
        }
    }

    fn mutant(&self) -> Mutant {
        self.me.aside(|world| world.mutant)
    }

    fn attach(&mut self, request: Request) {
        let found = self.me.step(
            format_args!("open region of request {}", request.request_id),
            |world| {
                let object = *world
                    .kernel
                    .names
                    .get(&request.region_id.0)
                    .ok_or(ErrorKind::NotFound)?;
                Ok::<_, ErrorKind>((object, world.kernel.stat(object)))
            },
        );
        let Ok((object, stat)) = found else { return };
        let mut raw = self.me.step(format_args!("pread its header"), |world| {
            world.kernel.regions[object].raw_header()
        });
        if self.me.is(Mutant::OfferNotChecked) {
            raw.state = 0.into();
        }
        let facts = Facts {
            stat: &stat,
            is_open_to_others: false,
            raw: &raw,
        };
        let verdict = judge(&request, facts, &POLICY);
        let places = self.me.aside(|world| {
            let mut live = world.live_sessions(self.me.pid);
            Places {
                is_held: live.any(|index| world.sessions[index].object == object),
                once_taken: false,
                sessions: world.live_sessions(self.me.pid).count(),
                sessions_max: self.sessions_max,
                sessions_of_user: 0,
                sessions_of_user_max: None,
            }
        });
        match admit(verdict, places) {
            Admission::Start(header) => {
                let now = self.me.instant();
                let session = self.me.step(format_args!("start a session"), |world| {
                    world.count("sessions");
                    world
                        .sessions
                        .push(SessionCard::new(&request, header, object, self.me, now));
                    let session = world.sessions.len() - 1;
                    world.sessions[session].client_died =
                        !world.processes[world.kernel.regions[object].owner].is_alive;
                    world.push(session, request);
                    session
                });
                self.me
                    .spawn(&format!("session {session}"), self.me.pid, move |me| {
                        session::live(me, session)
                    });
            }
            Admission::Refuse(status) => session::refuse(self.me, object, status),
            Admission::RefuseAndEvict(_) => {
                self.evict();
                session::refuse(self.me, object, Status::Busy);
            }
            Admission::Ignore(_) => self.me.aside(|world| world.count("ignored")),
        }
    }

    fn evict(&self) {
        let now = self.me.instant();
        self.me.step(format_args!("evict the most stalled"), |world| {
            let live: Vec<usize> = world.live_sessions(self.me.pid).collect();
            for index in &live {
                let card = &mut world.sessions[*index];
                card.seat.note(card.slots, now);
            }
            let seats = live.iter().map(|index| {
                let card = &world.sessions[*index];
                (
                    *index,
                    0,
                    card.seat,
                    card.is_waiting_for_client || card.inbox.is_idle(),
                )
            });
            let taken = seat_to_take(seats, None, now);
            if let Some(index) = taken {
                world.count("evictions");
                world.judge_eviction(index);
                world.sessions[index].seat.evict();
                world.end_session(index, End::Stalled, true);
            }
            taken
        });
    }

    fn tick(&mut self) {
        self.next_tick = self.me.now() + TICK;
        let queue = self.queue;
        let is_linked = self.me.step(format_args!("fstat the queue"), |world| {
            world.kernel.queue_name == Some(queue)
        });
        if !is_linked {
            self.take_messages();
            if let Some(queue) = make_queue(self.me) {
                self.queue = queue;
            }
        }
        let now = self.me.instant();
        let live: Vec<usize> = self.me.aside(|world| world.live_sessions(self.me.pid).collect());
        for index in live {
            self.me.step(format_args!("look after session {index}"), |world| {
                world.look_after(index, now)
            });
        }
    }

    /// Takes one session that has ended.
    fn reap(&mut self) -> bool {
        self.me.step(format_args!("reap"), |world| {
            let Some(index) = world.unreaped(self.me.pid) else {
                return false;
            };
            world.sessions[index].is_reaped = true;
            true
        })
    }

    fn shut_down(&mut self) {
        let queue = self.queue;
        self.me.step(format_args!("unlink the queue"), |world| {
            world.kernel.queue_name.take_if(|named| *named == queue);
        });
        for (abort, grace) in [(false, GRACE), (true, ABORT_GRACE)] {
            let live: Vec<usize> = self.me.aside(|world| world.live_sessions(self.me.pid).collect());
            for index in live {
                self.me.step(format_args!("end session {index}"), |world| {
                    let abort = abort || world.sessions[index].inbox.is_idle();
                    world.end_session(index, End::Stopping, abort);
                });
            }
            let deadline = self.me.now() + grace;
            while self.me.now() < deadline
                && self
                    .me
                    .aside(|world| world.live_sessions(self.me.pid).next().is_some())
            {
                while self.reap() {}
                let _ = self.me.step_or_wait(format_args!("wait for sessions"), |world| {
                    let is_over = world.live_sessions(self.me.pid).next().is_none();
                    if is_over || world.unreaped(self.me.pid).is_some() {
                        Ok(())
                    } else {
                        Err((Key::Time, Some(deadline)))
                    }
                });
            }
        }
        self.me.step(format_args!("remove the gate"), |world| {
            let left = world.live_sessions(self.me.pid).count();
            if left > 0 && !world.processes[self.me.pid].was_stopped {
                world.fail(format!("{left} sessions outlive their server's patience"));
            }
            world.kernel.gate.take_if(|holder| *holder == self.me.pid)
        });
    }
}

impl World {
    /// The sessions in a server's table.
    pub fn live_sessions(&self, server: usize) -> impl Iterator<Item = usize> + '_ {
        let is_live = move |index: &usize| {
            let card = &self.sessions[*index];
            card.server == server && !card.is_reaped
        };
        (0..self.sessions.len()).filter(is_live)
    }

    fn unreaped(&self, server: usize) -> Option<usize> {
        self.live_sessions(server)
            .find(|index| self.sessions[*index].finished.is_some())
    }

    /// `Session::abort`, or `Session::close`.
    fn end_session(&mut self, index: usize, end: End, abort: bool) {
        let card = &mut self.sessions[index];
        if abort {
            card.abort = Some(end.status());
        }
        card.inbox.end(end);
        self.wake(Key::Inbox(index), 1, Wakeup::Woken);
    }

    /// One session at a tick.
    fn look_after(&mut self, index: usize, now: std::time::Instant) {
        let object = self.sessions[index].object;
        let is_dead = self.kernel.regions[object].client_lease.is_none();
        let is_mutant = self.mutant == Mutant::DeadAfterOneTick;
        let card = &mut self.sessions[index];
        let is_abandoned = card.inbox.is_idle() && card.has_probe && is_dead;
        if is_dead && card.finished.is_none() {
            card.ticks_after_death += 1;
            if card.ticks_after_death > TICKS_AFTER_DEATH {
                self.fail(format!("session {index} outlives its client"));
                return;
            }
        }
        let slots = card.slots;
        if card.seat.tick(slots, is_abandoned, now) || is_abandoned && is_mutant {
            self.count_death(index);
            self.end_session(index, End::ClientGone, false);
        }
    }

    /// The observer's word on a death that a server sees: a client that said CLOSE to this server and went has not died.
    fn count_death(&mut self, index: usize) {
        let card = &self.sessions[index];
        let client = self.clients.iter().find(|client| client.object == card.object);
        let closed_on = client.and_then(|client| client.closed_on);
        if closed_on.is_some() && closed_on == self.kernel.queue_name {
            self.fail("a client that closed and went was called dead");
        }
    }
}
