//! What a simulated client does while nothing comes, as `client_watch.rs` does; and whether its conclusions are true.

use std::time::Duration;

use shmeld_core::layout::Word;
use shmeld_core::session::{
    AttachedStep, AttachedView, OfferStep, OfferView, SliceView, State, attached_step, offer_step,
};

use super::baton::Fallible;
use super::client::Client;
use super::client_queue::try_open;
use super::world::{Mutant, Outcome, World};
use crate::file::acceptor::EVICT_AFTER;
use crate::file::client_state::{RefusalStep, Reopened, refusal_step};
use crate::file::status::Status;

const BUSY_NAP: Duration = Duration::from_millis(200);

impl Client<'_> {
    pub(super) fn look_at_offer(&mut self) -> Fallible<()> {
        let view = OfferView::look(
            || Ok::<_, Outcome>((self.is_linked(), self.is_leased())),
            || self.state(),
        )?;
        match offer_step(view) {
            OfferStep::Wait if self.owed_for >= Self::silence_max() => Err(Outcome::Silent),
            OfferStep::Wait => Ok(()),
            OfferStep::Attached | OfferStep::Ended(_) => {
                self.set_attached();
                Ok(())
            }
            OfferStep::Reconnect if self.reopen(self.me.now())? != Reopened::Connected => Ok(()),
            OfferStep::Reconnect => {
                self.owed_for = Duration::ZERO;
                self.resend()
            }
            OfferStep::Refused(code) => match refusal_step(code, false, None) {
                RefusalStep::OfferLater => {
                    self.me.sleep(BUSY_NAP);
                    self.offer_again()
                }
                _ => Err(Outcome::Refused(code)),
            },
            OfferStep::Misbehaved => Err(Outcome::Misbehaved("an impossible state word")),
        }
    }

    pub(super) fn look_at_session(&mut self) -> Fallible<()> {
        let view = self.attached_view()?;
        if let (Some(State::Ended(code)), true) = (view.state, self.me.is(Mutant::EndedBeforeDraining)) {
            return Err(Outcome::Ended(code));
        }
        if view.slice.work_after_lease && !view.slice.peer_leased {
            self.me.aside(|world| world.count("published before the end"));
        }
        match attached_step(view) {
            AttachedStep::Work => Ok(()),
            AttachedStep::PeerGone if self.me.is(Mutant::ResendAfterAttached) => {
                if self.reopen(self.me.now())? == Reopened::Connected {
                    self.resend()
                } else {
                    Ok(())
                }
            }
            AttachedStep::PeerGone => Err(Outcome::ServerDied),
            AttachedStep::Ended(code) => Err(Outcome::Ended(code)),
            AttachedStep::Stalled => Err(Outcome::Silent),
            AttachedStep::Misbehaved => Err(Outcome::Misbehaved("an impossible state word")),
            AttachedStep::Wait if self.is_linked() => Ok(()),
            AttachedStep::Wait => match try_open(self.me) {
                Some(queue) => {
                    self.connect_to(queue);
                    self.resend()
                }
                None => Ok(()),
            },
        }
    }

    fn attached_view(&mut self) -> Fallible<AttachedView> {
        let impossible = |_| Outcome::Misbehaved("a sequence word");
        let (owed_for, stall) = (self.owed_for, Self::silence_max());
        let slice = |peer_leased, work_after_lease| SliceView {
            peer_leased,
            work_after_lease,
            owed_for,
            stall,
        };
        let me = self.me;
        if me.is(Mutant::WorkBeforeLease) {
            let work = self.consumer.filled_slots(&self.words).map_err(impossible)? > 0;
            let leased = self.server_leased();
            let state = self.state();
            return Ok(AttachedView {
                state,
                slice: slice(leased, work),
            });
        }
        let mut consumer = std::mem::replace(&mut self.consumer, shmeld_core::ring::Consumer::new(1));
        let view = AttachedView::look(
            || Ok(self.server_leased()),
            || self.state(),
            || Ok(consumer.filled_slots(&self.words).map_err(impossible)? > 0),
            owed_for,
            stall,
        );
        self.consumer = consumer;
        view
    }
}

impl World {
    /// Who loses its place must have done nothing for long, as far as the server can see: slots that a client gives back while nothing
    /// waits for them are seen by nobody.
    pub fn judge_eviction(&mut self, session: usize) {
        let card = &mut self.sessions[session];
        card.is_evicted = true;
        let still_for = self.now - card.acted;
        if still_for < EVICT_AFTER {
            self.fail(format!(
                "a client lost its place that had acted {still_for:?} ago"
            ));
        }
    }

    /// The observer, who sees everything, compares what a client concluded with what is true.
    pub fn judge_client(&mut self, card: usize, outcome: &Outcome) {
        let client = &self.clients[card];
        let region = &self.kernel.regions[client.object];
        let server = region.last_server.map(|pid| &self.processes[pid]);
        let unread = region.load(Word::Written).wrapping_sub(region.load(Word::Read));
        let disturbed = server.is_some_and(|server| server.was_disturbed);
        let any_stopped = self
            .processes
            .iter()
            .any(|process| process.name == "server" && process.was_disturbed);
        let is_true = match outcome {
            Outcome::Done => true,
            Outcome::ServerDied => server.is_some_and(|server| !server.is_alive) && disturbed && unread == 0,
            Outcome::Ended(code) if *code == u32::from(Status::Stopping.code()) => {
                server.is_some_and(|server| server.stop_wanted) && unread == 0
            }
            Outcome::Ended(code) if *code == u32::from(Status::Stalled.code()) => {
                unread == 0
                    && self
                        .sessions
                        .iter()
                        .any(|card| card.object == client.object && card.is_evicted)
            }
            Outcome::NoServer | Outcome::NotDraining | Outcome::Silent => any_stopped,
            Outcome::Ended(_) | Outcome::Refused(_) | Outcome::Misbehaved(_) => false,
        };
        if !is_true {
            let name = &self.processes[self.clients[card].pid].name;
            let what = format!("{name} ended with {outcome:?}, {unread} slots unread: not true");
            self.fail(what);
        }
    }
}
