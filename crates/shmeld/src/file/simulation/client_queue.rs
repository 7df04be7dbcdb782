//! How a simulated client finds a queue, sends, and sends again, as `connection.rs` and `client_watch.rs` do.

use std::time::Duration;

use shmeld_core::session::State;

use super::baton::{Fallible, Key, Me, Wakeup};
use super::client::Client;
use super::world::{Mutant, Outcome};
use crate::file::client::Query;
use crate::file::client_state::{Reopened, gives_up_looking};
use crate::file::wire::Op;

const SEND_SLICE: Duration = Duration::from_millis(100);
pub const REOPEN_NAP: Duration = Duration::from_millis(50);
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// Puts a message into a queue, waiting for room until `deadline`.
pub fn send(me: &Me, queue: usize, message: &[u8], deadline: Duration) -> bool {
    loop {
        let sent = me.step_or_wait(format_args!("mq_timedsend to queue {queue}"), |world| {
            if !world.kernel.queues[queue].is_full() {
                let queue_now = &mut world.kernel.queues[queue];
                queue_now.messages.push_back(message.to_vec());
                queue_now.history.push(message.to_vec());
                world.wake(Key::Message(queue), 1, Wakeup::Woken);
                return Ok(true);
            }
            if world.now >= deadline {
                Ok(false)
            } else {
                Err((Key::Room(queue), Some(deadline)))
            }
        });
        if let Ok(sent) = sent {
            return sent;
        }
    }
}

/// A live server's queue.
pub fn try_open(me: &Me) -> Option<usize> {
    let queue = me.step(format_args!("mq_open"), |world| world.kernel.queue_name)?;
    let is_leased = me.step(format_args!("probe the lease of queue {queue}"), |world| {
        world.kernel.queues[queue].lease.is_some()
    });
    is_leased.then_some(queue)
}

impl Client<'_> {
    pub(super) fn is_linked(&self) -> bool {
        self.me.step(format_args!("fstat queue {}", self.queue), |world| {
            world.kernel.queue_name == Some(self.queue)
        })
    }

    pub(super) fn is_leased(&self) -> bool {
        self.me
            .step(format_args!("probe the lease of queue {}", self.queue), |world| {
                world.kernel.queues[self.queue].lease.is_some()
            })
    }

    pub(super) fn server_leased(&self) -> bool {
        self.me.step(format_args!("probe the server's lease"), |world| {
            world.kernel.regions[self.words.object].server_lease.is_some()
        })
    }

    pub(super) fn connect_to(&mut self, queue: usize) {
        self.queue = queue;
        self.queue_number += 1;
    }

    pub(super) fn reopen(&mut self, lost: Duration) -> Fallible<Reopened> {
        if self.attached && !self.server_leased() && !self.me.is(Mutant::ResendAfterAttached) {
            return Ok(Reopened::SessionOver);
        }
        if let Some(queue) = try_open(self.me) {
            self.connect_to(queue);
            return Ok(Reopened::Connected);
        }
        if gives_up_looking(self.attached, self.me.now() - lost, None) {
            return Err(Outcome::NoServer);
        }
        Ok(Reopened::NotYet)
    }

    pub(super) fn stay_connected(&mut self, start: Duration) -> Fallible<Reopened> {
        if self.is_linked() && self.is_leased() {
            return Ok(Reopened::Connected);
        }
        let reopened = self.reopen(start)?;
        if reopened == Reopened::NotYet {
            self.me.sleep(REOPEN_NAP);
        }
        Ok(reopened)
    }

    pub(super) fn session_over(&self) -> Outcome {
        match self.state() {
            Some(State::Ended(code)) => Outcome::Ended(code),
            _ => Outcome::ServerDied,
        }
    }

    pub(super) fn send_for_a_slice(
        &self,
        request_id: u64,
        message: &[u8],
        start: Duration,
    ) -> Fallible<bool> {
        if self.send(request_id, message, self.me.now() + SEND_SLICE) {
            return Ok(true);
        }
        if self.me.now() - start >= Self::silence_max() {
            Err(Outcome::NotDraining)
        } else {
            Ok(false)
        }
    }

    pub(super) fn send_patiently(&mut self, request_id: u64, message: &[u8]) -> Fallible<bool> {
        let start = self.me.now();
        loop {
            match self.stay_connected(start)? {
                Reopened::Connected if self.send_for_a_slice(request_id, message, start)? => return Ok(true),
                Reopened::Connected | Reopened::NotYet => {}
                Reopened::SessionOver => return Err(self.session_over()),
            }
        }
    }

    pub(super) fn resend(&mut self) -> Fallible<()> {
        if self.me.is(Mutant::NoResend) {
            return Ok(());
        }
        if self.me.is(Mutant::ResendGoesOn) {
            return self.resend_and_go_on();
        }
        let mut start = self.me.now();
        while self.outstanding.unsent_on(self.queue_number).is_some() {
            if self.stay_connected(start)? != Reopened::Connected {
                break;
            }
            let Some((id, query)) = self.outstanding.unsent_on(self.queue_number) else {
                break;
            };
            let message = self.message(id, query);
            if self.send_for_a_slice(id, &message, start)? {
                self.me.aside(|world| world.count("sent again"));
                self.outstanding.sent_again(id, self.queue_number);
                start = self.me.now();
            }
        }
        Ok(())
    }

    /// MUTANT, and how it was once: a queue that is lost meanwhile is followed, but not told what the one before had been sent.
    fn resend_and_go_on(&mut self) -> Fallible<()> {
        const TOLD: u64 = u64::MAX;
        while let Some((id, query)) = self.outstanding.unsent_on(TOLD) {
            let message = self.message(id, query);
            self.send_patiently(id, &message)?;
            self.outstanding.sent_again(id, TOLD);
        }
        for id in 1..self.outstanding.next_id() {
            self.outstanding.sent_again(id, self.queue_number);
        }
        Ok(())
    }

    pub(super) fn close(&mut self) {
        let query = Query::new(Op::Close, "");
        let message = self.message(self.outstanding.next_id(), &query);
        if send(self.me, self.queue, &message, self.me.now() + CLOSE_PATIENCE) {
            self.me
                .aside(|world| world.clients[self.card].closed_on = Some(self.queue));
        }
    }
}
