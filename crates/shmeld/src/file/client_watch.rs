//! What a client does while nothing comes: it looks at the state word, at leases, at the queue's name and at the clock.
//!
//! The decisions are those of `shmeld_core::session`; here they are fed and carried out.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::layout::{PAGE_BYTES, Word};
use shmeld_core::session::{OfferStep, OfferView, SliceStep, SliceView, State, offer_step, slice_step};
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{SLICE, Waited, Words};
use shmeld_os::explain;

use super::client::{Client, publish};
use super::connection::Connection;
use super::slot_reader::SlotReader;
use super::status::Status;
use crate::{Error, Result};

/// How long a blocking send waits before the client looks whether the server still lives.
const SEND_SLICE: Duration = Duration::from_millis(100);
/// How long a client waits before it offers itself again to a server that is busy.
const BUSY_NAP: Duration = Duration::from_millis(200);

/// How long to wait before looking for a lost server again.
const REOPEN_NAP: Duration = Duration::from_millis(50);
/// How long an attached client waits for a queue that lost its name.
const REPUBLISH_PATIENCE: Duration = Duration::from_secs(5);

impl Client {
    /// Blocks in the kernel until the queue takes the message, as long as a server lives behind it.
    pub(super) fn send_patiently(&mut self, message: &[u8]) -> Result<bool> {
        let start = Instant::now();
        loop {
            self.options.interrupt.check()?;
            let is_live = self.connection.is_linked()? && self.connection.is_leased()?;
            if !is_live && !self.reopen(start)? {
                self.options.interrupt.sleep(REOPEN_NAP)?;
                continue;
            }
            if self.connection.send(message, Instant::now() + SEND_SLICE)? {
                return Ok(true);
            }
            if start.elapsed() >= self.options.silence_max {
                let (name, after) = (self.options.name.clone(), start.elapsed());
                return Err(Error::NotDraining { name, after });
            }
        }
    }

    /// Tries once to find the server again; `false` if it is not there yet and there is time left, counted from `lost`.
    fn reopen(&mut self, lost: Instant) -> Result<bool> {
        let options = &self.options;
        if self.attached && !self.offer.server_leased()? {
            return Err(Error::ServerDied {
                name: options.name.clone(),
            });
        }
        if let Some(connection) = Connection::try_open(&options.name, &options.server_uids)? {
            self.connection = connection;
            return Ok(true);
        }
        // A live server that lost its queue makes it again within a second or two, however long ago `wait` ended.
        let is_over = match self.deadline {
            _ if self.attached => lost.elapsed() >= REPUBLISH_PATIENCE,
            Some(deadline) => Instant::now() >= deadline,
            None => false,
        };
        if is_over {
            return Err(Connection::none(&options.name, lost.elapsed()));
        }
        if !std::mem::replace(&mut self.has_told_waiting, true) {
            tracing::info!(target: "shmeld::client", "waiting for server {}", options.name);
        }
        Ok(false)
    }

    fn state(&self) -> Option<State> {
        // Acquire: pairs with the server's Release store; what it did before, its lease and its slots, is visible.
        State::from_word(self.region().load(Word::State, Ordering::Acquire))
    }

    /// Waits for one slice and looks at the world.
    pub(super) fn wait(&mut self) -> Result<()> {
        self.options.interrupt.check()?;
        let (region, attached) = (self.offer.region(), self.attached);
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
            Waited::Ready | Waited::SliceOver if self.attached => self.look_at_session(),
            Waited::Ready | Waited::SliceOver => self.look_at_offer(),
        }
    }

    /// A slot has come before the state word was looked at: whoever fills slots has attached.
    pub(super) fn confirm_attached(&mut self) -> Result<()> {
        match self.state() {
            Some(State::Attached | State::Ended(_)) => {
                self.set_attached();
                Ok(())
            }
            _ => Err(Misbehaviour::Record("slots without ATTACHED").into()),
        }
    }

    fn set_attached(&mut self) {
        let why =
            "ATTACHED: the server answers; the name can go, so that a crash of either side leaves nothing";
        explain!("load", "state word of the region", why);
        self.offer.remove_name();
        self.attached = true;
    }

    fn look_at_offer(&mut self) -> Result<()> {
        let view = OfferView {
            state: self.state(),
            queue_linked: self.connection.is_linked()?,
            queue_leased: self.connection.is_leased()?,
        };
        match offer_step(view) {
            OfferStep::Wait if self.owed_for >= self.options.silence_max => Err(self.silent()),
            OfferStep::Wait => Ok(()),
            OfferStep::Attached | OfferStep::Ended(_) => {
                self.set_attached();
                Ok(())
            }
            // Not there yet: the next slice looks at the state word again, because the old server may still answer.
            OfferStep::Reconnect if !self.reopen(Instant::now())? => Ok(()),
            OfferStep::Reconnect => {
                self.owed_for = Duration::ZERO;
                self.resend()
            }
            OfferStep::Refused(code) => self.refused(code),
            OfferStep::Misbehaved => Err(Misbehaviour::Record("an impossible state word").into()),
        }
    }

    /// Sends everything unanswered again: the server drops what it has seen, because ids strictly increase.
    fn resend(&mut self) -> Result<()> {
        let messages: Vec<Vec<u8>> = self
            .outstanding
            .iter()
            .map(|(id, query)| self.message(*id, query))
            .collect();
        for message in messages {
            self.send_patiently(&message)?;
        }
        Ok(())
    }

    /// A busy server is asked again with a new region while `wait` lasts, one that admits no such region with a page.
    fn refused(&mut self, code: u32) -> Result<()> {
        if code == u32::from(Status::BadRegion.code())
            && self.options.or_one_page
            && self.options.region_bytes > PAGE_BYTES
        {
            tracing::info!(
                target: "shmeld::client",
                "server {} admits no region of {} bytes: using one of one page instead",
                self.options.name,
                self.options.region_bytes,
            );
            self.options.region_bytes = PAGE_BYTES;
            return self.offer_again();
        }
        let busy = code == u32::from(Status::Busy.code());
        if !busy || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::Refused {
                name: self.options.name.clone(),
                code,
            });
        }
        self.options.interrupt.sleep(BUSY_NAP)?;
        self.offer_again()
    }

    fn offer_again(&mut self) -> Result<()> {
        self.offer = publish(&mut self.options)?;
        self.reader = SlotReader::new(self.offer.region());
        self.owed_for = Duration::ZERO;
        self.resend()
    }

    fn silent(&self) -> Error {
        Error::Silent {
            name: self.options.name.clone(),
            after: self.owed_for,
        }
    }

    fn look_at_session(&mut self) -> Result<()> {
        let name = &self.options.name;
        let ended = match self.state() {
            Some(State::Attached) => None,
            Some(State::Ended(code)) => Some(code),
            _ => return Err(Misbehaviour::Record("an impossible state word").into()),
        };
        // The order matters: first the lease, then the sequence word. What was published before a death is valid.
        let peer_leased = self.offer.server_leased()?;
        let work_after_lease = self.reader.consumer.filled_slots(self.offer.region())? > 0;
        if let (Some(code), false) = (ended, work_after_lease) {
            return Err(Error::Ended {
                name: name.clone(),
                code,
            });
        }
        let owed_for = self.owed_for;
        match slice_step(SliceView {
            peer_leased,
            work_after_lease,
            owed_for,
            stall: self.options.silence_max,
        }) {
            SliceStep::Work => Ok(()),
            SliceStep::PeerGone => Err(Error::ServerDied { name: name.clone() }),
            SliceStep::Stalled => Err(self.silent()),
            SliceStep::Wait if self.connection.is_linked()? => Ok(()),
            SliceStep::Wait => self.follow_queue(),
        }
    }

    /// The queue was unlinked under a live session. If its server has made it again, requests that were still in the old one are sent again.
    fn follow_queue(&mut self) -> Result<()> {
        match Connection::try_open(&self.options.name, &self.options.server_uids)? {
            Some(connection) => {
                self.connection = connection;
                self.resend()
            }
            None => Ok(()),
        }
    }
}
