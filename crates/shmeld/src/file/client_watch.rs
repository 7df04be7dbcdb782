//! What a client does while nothing comes: it looks at the state word, at leases, at the queue's name and at the clock.
//!
//! The decisions are those of `shmeld_core::session`; here they are fed and carried out.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::attach::Offer;
use shmeld_core::layout::Word;
use shmeld_core::session::{OfferStep, OfferView, SliceStep, SliceView, State, offer_step, slice_step};
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{SLICE, Waited, Words};
use shmeld_os::explain;

use super::client::Client;
use super::connection::Connection;
use super::slot_reader::SlotReader;
use super::status::Status;
use crate::{Error, Result};

/// How long a blocking send waits before the client looks whether the server still lives.
const SEND_SLICE: Duration = Duration::from_millis(100);
/// How long a client waits before it offers itself again to a server that is busy.
const BUSY_NAP: Duration = Duration::from_millis(200);

/// How long an attached client waits for a queue that lost its name.
const REPUBLISH_PATIENCE: Duration = Duration::from_secs(5);

impl Client {
    /// Blocks in the kernel until the queue takes the message, as long as a server lives behind it.
    pub(super) fn send_patiently(&mut self, message: &[u8]) -> Result<bool> {
        let start = Instant::now();
        loop {
            self.options.interrupt.check()?;
            if !self.connection.is_linked()? || !self.connection.is_leased()? {
                self.find_again()?;
            }
            if self.connection.send(message, Instant::now() + SEND_SLICE)? {
                return Ok(true);
            }
            if start.elapsed() >= self.options.silence_max {
                return Err(Error::NotDraining {
                    name: self.options.name.clone(),
                    after: start.elapsed(),
                });
            }
        }
    }

    fn find_again(&mut self) -> Result<()> {
        let options = &self.options;
        if self.attached && !self.offer.server_leased()? {
            return Err(Error::ServerDied {
                name: options.name.clone(),
            });
        }
        // A live server that lost its queue makes it again within a second or two, however long ago `wait` ended.
        let patience = self.attached.then(|| Instant::now() + REPUBLISH_PATIENCE);
        let (name, deadline) = (&options.name, patience.or(self.deadline));
        self.connection = Connection::find(name, &options.server_uids, deadline, &options.interrupt)?;
        Ok(())
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
        match self
            .reader
            .consumer
            .wait_filled(region, Instant::now() + SLICE, state_changed)?
        {
            Waited::Faulted => Err(Misbehaviour::Vanished.into()),
            Waited::Ready | Waited::SliceOver if self.attached => self.look_at_session(),
            Waited::Ready | Waited::SliceOver => self.look_at_offer(),
        }
    }

    fn look_at_offer(&mut self) -> Result<()> {
        let view = OfferView {
            state: self.state(),
            queue_linked: self.connection.is_linked()?,
            queue_leased: self.connection.is_leased()?,
        };
        match offer_step(view) {
            OfferStep::Wait if self.owed_since.elapsed() >= self.options.silence_max => Err(self.silent()),
            OfferStep::Wait => Ok(()),
            OfferStep::Attached => {
                let why = "ATTACHED: the server answers; the name can go, so that a crash of either side leaves nothing";
                explain!("load", "state word of the region", why);
                self.offer.remove_name();
                self.attached = true;
                Ok(())
            }
            OfferStep::Ended(_) => {
                self.attached = true;
                Ok(())
            }
            OfferStep::Reconnect => {
                self.find_again()?;
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

    /// A busy server is asked again with a new region while `wait` lasts.
    fn refused(&mut self, code: u32) -> Result<()> {
        let busy = code == u32::from(Status::Busy.code());
        if !busy || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::Refused {
                name: self.options.name.clone(),
                code,
            });
        }
        self.options.interrupt.sleep(BUSY_NAP)?;
        self.offer = Offer::publish(self.options.region_bytes)?;
        self.reader = SlotReader::new(self.offer.region());
        self.owed_since = Instant::now();
        self.resend()
    }

    fn silent(&self) -> Error {
        Error::Silent {
            name: self.options.name.clone(),
            after: self.owed_since.elapsed(),
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
        let owed_for = self.owed_since.elapsed();
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
        let options = &self.options;
        match Connection::find(
            &options.name,
            &options.server_uids,
            Some(Instant::now()),
            &options.interrupt,
        ) {
            Ok(connection) => {
                self.connection = connection;
                self.resend()
            }
            Err(Error::NoServer { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
