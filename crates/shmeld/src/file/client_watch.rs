//! What a client does while nothing comes: it looks at the state word, at leases, at the queue's name and at the clock.
//!
//! The decisions are those of `shmeld_core::session` and `client_state`; here they are fed and carried out.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::layout::{PAGE_BYTES, Word};
use shmeld_core::session::{
    AttachedStep, AttachedView, OfferStep, OfferView, State, attached_step, offer_step,
};
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{SLICE, Waited, Words};
use shmeld_os::explain;

use super::client::{Client, Query, publish};
use super::client_state::{RefusalStep, Reopened, gives_up_looking, may_fill_slots, refusal_step};
use super::connection::{Connection, Found};
use super::slot_reader::SlotReader;
use crate::error::gate_is_elsewhere;
use crate::{Error, Result};

/// How long a blocking send waits before the client looks whether the server still lives.
const SEND_SLICE: Duration = Duration::from_millis(100);
/// How long a client waits before it offers itself again to a server that is busy.
const BUSY_NAP: Duration = Duration::from_millis(200);
/// How long to wait before looking for a lost server again.
const REOPEN_NAP: Duration = Duration::from_millis(50);
/// When a client whose server has its request and has not come, and whose gate is not to be seen, says that they may have two /dev/shm.
const ELSEWHERE_AFTER: Duration = Duration::from_secs(2);

impl Client {
    /// Blocks in the kernel until the queue takes the message, as long as a server lives behind it.
    pub(super) fn send_patiently(&mut self, request_id: u64, query: &Query) -> Result<bool> {
        let start = Instant::now();
        loop {
            match self.stay_connected(start)? {
                // The message names the region, which can be another one after each look.
                Reopened::Connected if self.send_for_a_slice(&self.message(request_id, query), start)? => {
                    return Ok(true);
                }
                Reopened::Connected | Reopened::NotYet => {}
                // Nothing is asked for, so nothing is left to read.
                Reopened::SessionOver => return Err(self.session_over()),
            }
        }
    }

    /// What is said in a queue without a name nobody hears: its server makes it again, and listens there.
    pub(super) fn follow_lost_queue(&mut self, patience: Duration) {
        let start = Instant::now();
        // Who has all that was asked for waits for no server: one that stops unlinks its queue as well.
        self.has_told_waiting = true;
        while self.is_attached && start.elapsed() < patience && !self.connection.is_linked().unwrap_or(true) {
            if !matches!(
                self.stay_connected(start),
                Ok(Reopened::Connected | Reopened::NotYet)
            ) {
                break;
            }
        }
    }

    /// Makes sure that a server lives behind the queue; if not, looks once for another one, and naps if there is none.
    fn stay_connected(&mut self, start: Instant) -> Result<Reopened> {
        self.options.interrupt.check()?;
        if self.connection.is_linked()? && self.connection.is_leased()? {
            return Ok(Reopened::Connected);
        }
        let reopened = self.reopen(start)?;
        if reopened == Reopened::NotYet {
            self.options.interrupt.sleep(REOPEN_NAP)?;
        }
        Ok(reopened)
    }

    /// Why the session of a server without a lease is over: it says ENDED before it gives its lease up, unless it died.
    fn session_over(&self) -> Error {
        let name = self.options.name.clone();
        match self.state() {
            Some(State::Ended(code)) => Error::Ended { name, code },
            _ => Error::ServerDied { name },
        }
    }

    fn send_for_a_slice(&self, message: &[u8], start: Instant) -> Result<bool> {
        if self.connection.send(message, Instant::now() + SEND_SLICE)? {
            return Ok(true);
        }
        if start.elapsed() >= self.options.silence_max {
            let (name, after) = (self.options.name.clone(), start.elapsed());
            return Err(Error::NotDraining { name, after });
        }
        Ok(false)
    }

    /// Tries once to find the server again; the time that is left is counted from `lost`.
    fn reopen(&mut self, lost: Instant) -> Result<Reopened> {
        let options = &self.options;
        if self.is_attached && !self.offer.server_leased()? {
            return Ok(Reopened::SessionOver);
        }
        let closed = match Connection::try_open(&options.name, &options.server_uids)? {
            Found::Live(connection) => {
                self.connect_to(connection)?;
                return Ok(Reopened::Connected);
            }
            Found::NotYet(closed) => closed,
        };
        let options = &self.options;
        if gives_up_looking(self.is_attached, lost.elapsed(), self.wait_is_over()) {
            return Err(Connection::none(
                &options.name,
                &options.server_uids,
                lost.elapsed(),
                closed,
            ));
        }
        if !std::mem::replace(&mut self.has_told_waiting, true) {
            tracing::info!(target: "shmeld::client", "waiting for server {}", options.name);
        }
        Ok(Reopened::NotYet)
    }

    /// A region that is on offer was opened to the old queue's owner. If the new one is of somebody else, it gets a region of its own; what
    /// is unanswered is unsent then. An attached region has its server.
    fn connect_to(&mut self, connection: Connection) -> Result<()> {
        self.connection = connection;
        self.queue += 1;
        if !self.is_attached && self.connection.other_uid != self.offer.other_uid() {
            self.make_another_region()?;
        }
        Ok(())
    }

    /// Whether the time to wait for a server or for a place on it has passed; `None` if there is no such time.
    fn wait_is_over(&self) -> Option<bool> {
        self.deadline.map(|deadline| Instant::now() >= deadline)
    }

    fn state(&self) -> Option<State> {
        // Acquire: pairs with the server's Release store; what it did before, its lease and its slots, is visible.
        State::from_word(self.region().load(Word::State, Ordering::Acquire))
    }

    /// Waits for one slice and looks at the world.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.options.interrupt.check()?;
        let (region, attached) = (self.offer.region(), self.is_attached);
        let expected_state = if attached { State::Attached } else { State::Offered }.to_word();
        let state_changed = || region.load(Word::State, Ordering::Acquire) != expected_state;
        let start = Instant::now();
        let waited = self
            .reader
            .consumer
            .wait_filled(region, start + SLICE, state_changed)?;
        // The usual case must stay cheap: a look at the lease is a system call, and the page comes round every microsecond.
        if waited == Waited::Ready && self.is_ready()? {
            return Ok(());
        }
        // A slice that lasted much longer is one in which this process itself did not run (Ctrl-Z, a suspended machine).
        self.owed_for += start.elapsed().min(2 * SLICE);
        match waited {
            Waited::Faulted => Err(Misbehaviour::Vanished.into()),
            Waited::Ready | Waited::SliceOver if self.is_attached => self.look_at_session(),
            Waited::Ready | Waited::SliceOver => self.look_at_offer(),
        }
    }

    /// A slot has come before the state word was looked at: whoever fills slots has attached.
    pub(super) fn confirm_attached(&mut self) -> Result<()> {
        if !may_fill_slots(self.state()) {
            return Err(Misbehaviour::Record("slots without ATTACHED").into());
        }
        self.set_attached();
        Ok(())
    }

    fn set_attached(&mut self) {
        let why =
            "ATTACHED: the server answers; the name can go, so that a crash of either side leaves nothing";
        explain!("load", "state word of the region", why);
        self.offer.remove_name();
        self.is_attached = true;
    }

    fn look_at_offer(&mut self) -> Result<()> {
        let queue = || Ok::<_, Error>((self.connection.is_linked()?, self.connection.is_leased()?));
        let view = OfferView::look(queue, || self.state())?;
        match offer_step(view) {
            OfferStep::Wait if self.is_sought_elsewhere()? => self.wait_elsewhere(),
            OfferStep::Wait if self.owed_for >= self.options.silence_max => Err(self.silent()),
            OfferStep::Wait if self.cannot_be_found()? => {
                tracing::info!(target: "shmeld::client", "somebody removed the region's name: offering another region");
                self.offer_again()
            }
            OfferStep::Wait => Ok(()),
            OfferStep::Attached | OfferStep::Ended(_) => {
                self.set_attached();
                Ok(())
            }
            // Not there yet: the next slice looks at the state word again, because the old server may still answer.
            OfferStep::Reconnect if self.reopen(Instant::now())? != Reopened::Connected => Ok(()),
            OfferStep::Reconnect => {
                self.owed_for = Duration::ZERO;
                self.resend()
            }
            OfferStep::Refused(code) => self.refused(code),
            OfferStep::Misbehaved => Err(Misbehaviour::Record("an impossible state word").into()),
        }
    }

    /// Sends everything unanswered again that this queue has not been sent: the server drops what it has seen, because ids strictly
    /// increase. If this queue is lost as well meanwhile, the next one is sent everything, from the oldest on. If there is none, or the
    /// session is over, whatever comes is read first: the look after each slice leads back here, or says what became of the server.
    fn resend(&mut self) -> Result<()> {
        let mut start = Instant::now();
        while self.outstanding.unsent_on(self.queue).is_some() {
            if self.stay_connected(start)? != Reopened::Connected {
                break;
            }
            let Some((id, query)) = self.outstanding.unsent_on(self.queue) else {
                break;
            };
            if self.send_for_a_slice(&self.message(id, query), start)? {
                self.outstanding.sent_again(id, self.queue);
                start = Instant::now();
            }
        }
        Ok(())
    }

    /// A busy server is asked again with a new region while `wait` lasts, one that admits no such region with a page.
    fn refused(&mut self, code: u32) -> Result<()> {
        let options = &self.options;
        let may_use_one_page = options.or_one_page && options.region_bytes > PAGE_BYTES;
        match refusal_step(code, may_use_one_page, self.wait_is_over()) {
            RefusalStep::GiveUp => {
                let name = self.options.name.clone();
                return Err(Error::Refused { name, code });
            }
            RefusalStep::OfferLater => self.options.interrupt.sleep(BUSY_NAP)?,
            RefusalStep::OfferOnePage => {
                let options = &mut self.options;
                tracing::info!(
                    target: "shmeld::client",
                    "server {} admits no region of {} bytes: using one of one page instead",
                    options.name,
                    options.region_bytes,
                );
                options.region_bytes = PAGE_BYTES;
            }
        }
        self.owed_for = Duration::ZERO;
        self.offer_again()
    }

    /// Whether the region lost its name (`rm /dev/shm/*`) before a server came. One that holds its lease has come, and one that has the
    /// region open may be about to take it: that is waited for.
    fn cannot_be_found(&self) -> Result<bool> {
        Ok(self.owed_for >= 2 * SLICE && !self.offer.is_linked()? && !self.offer.server_leased()?)
    }

    /// Whether the server looks for the region in another directory than ours: its gate is not here, it has taken the request and not come.
    /// A gate that somebody has removed keeps no server from coming; one that is stopped leaves the request where it is.
    fn is_sought_elsewhere(&self) -> Result<bool> {
        Ok(self.owed_for >= ELSEWHERE_AFTER
            && gate_is_elsewhere(&self.options.name)
            && self.connection.is_drained()?
            && self.offer.is_linked()?
            && !self.offer.server_leased()?)
    }

    /// That is no proof: a server needs no gate to be one, and can be slow. It is said at once, and believed when the time to wait is over.
    fn wait_elsewhere(&mut self) -> Result<()> {
        let name = self.options.name.clone();
        if self.wait_is_over() == Some(true) || self.owed_for >= self.options.silence_max {
            return Err(Error::Elsewhere { name });
        }
        if !std::mem::replace(&mut self.has_told_elsewhere, true) {
            tracing::info!(
                target: "shmeld::client",
                "server {name} has the request and does not come: it may have another /dev/shm; waiting"
            );
        }
        Ok(())
    }

    fn offer_again(&mut self) -> Result<()> {
        self.make_another_region()?;
        self.resend()
    }

    fn make_another_region(&mut self) -> Result<()> {
        self.offer = publish(&mut self.options, self.connection.other_uid)?;
        self.reader = SlotReader::new(self.offer.region());
        self.outstanding.begin_anew();
        Ok(())
    }

    fn silent(&self) -> Error {
        Error::Silent {
            name: self.options.name.clone(),
            after: self.owed_for,
        }
    }

    fn look_at_session(&mut self) -> Result<()> {
        let region = self.offer.region();
        // Acquire: as in `state`.
        let state = || State::from_word(region.load(Word::State, Ordering::Acquire));
        let consumer = &mut self.reader.consumer;
        let view = AttachedView::look(
            || Ok::<_, Error>(self.offer.server_leased()?),
            state,
            || Ok(consumer.filled_slots(region)? > 0),
            self.owed_for,
            self.options.silence_max,
        )?;
        let name = self.options.name.clone();
        match attached_step(view) {
            AttachedStep::Work => Ok(()),
            AttachedStep::PeerGone => Err(Error::ServerDied { name }),
            AttachedStep::Ended(code) => Err(Error::Ended { name, code }),
            AttachedStep::Stalled => Err(self.silent()),
            AttachedStep::Misbehaved => Err(Misbehaviour::Record("an impossible state word").into()),
            AttachedStep::Wait if self.connection.is_linked()? => Ok(()),
            AttachedStep::Wait => self.follow_queue(),
        }
    }

    /// The queue was unlinked under a live session. If its server has made it again, requests that were still in the old one are sent again.
    fn follow_queue(&mut self) -> Result<()> {
        match Connection::try_open(&self.options.name, &self.options.server_uids)? {
            Found::Live(connection) => {
                self.connect_to(connection)?;
                self.resend()
            }
            Found::NotYet(_) => Ok(()),
        }
    }
}
