//! How a simulated session answers: what `answer.rs` and `slot_writer.rs` do, step by step, with records instead of bytes.

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::ring::Producer;
use shmeld_core::session::{SliceStep, SliceView, slice_step};
use shmeld_core::wait::{SLICE, Waited, Words};

use super::baton::{Key, Me, Wakeup};
use super::kernel::Item;
use super::words::SimWords;
use super::world::Mutant;
use crate::file::session::End;
use crate::file::wire::Request;

/// How many records a slot takes.
const ITEMS_PER_SLOT: usize = 3;
/// How long a client may owe the next step.
const STALL: Duration = Duration::from_secs(60);

/// What the source has under a path: `CLIENT:NUMBER:VALUES`.
pub fn content(path: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(path);
    let numbers: Vec<u64> = text.split(':').filter_map(|number| number.parse().ok()).collect();
    let [client, number, values] = numbers[..] else {
        return Vec::new();
    };
    (0..values)
        .map(|value| client * 1_000_000 + number * 1000 + value)
        .collect()
}

/// See the module.
pub struct Writer<'s> {
    me: &'s Me,
    session: usize,
    words: &'s SimWords,
    producer: Producer,
    pending: Vec<Item>,
    is_claimed: bool,
}

impl<'s> Writer<'s> {
    pub fn new(me: &'s Me, session: usize, words: &'s SimWords) -> Self {
        let slot_count = me.aside(|world| world.sessions[session].header.geometry.slot_count());
        Self {
            me,
            session,
            words,
            producer: Producer::new(slot_count),
            pending: Vec::new(),
            is_claimed: false,
        }
    }

    pub fn answer(&mut self, request: &Request) -> Result<(), End> {
        let is_honest = self.me.aside(|world| {
            let is_honest = !world.kernel.regions[self.words.object].is_hostile;
            if is_honest && !world.begun.insert(request.path.clone()) {
                let path = String::from_utf8_lossy(&request.path).into_owned();
                world.fail(format!(
                    "request {} ({path}) is answered twice",
                    request.request_id
                ));
            }
            is_honest
        });
        let request_id = request.request_id;
        for value in content(&request.path) {
            self.work()?;
            self.item(Item {
                request_id,
                value: Some(value),
            })?;
        }
        self.work()?;
        self.item(Item {
            request_id,
            value: None,
        })?;
        self.me
            .aside(|world| world.count(if is_honest { "answers" } else { "hostile answers" }));
        Ok(())
    }

    /// A source that is slow now and then, often until a client looks around because it got nothing for a slice: then one side publishes
    /// while the other one looks. Meanwhile the session does what `SlotWriter::keep_alive` does.
    fn work(&mut self) -> Result<(), End> {
        let nap = self.me.aside(|world| {
            let is_slow = world.random.permille(world.slowness);
            is_slow.then(|| (world.random.permille(700), world.random.below(600)))
        });
        let Some((is_bad_moment, nap_ms)) = nap else {
            return Ok(());
        };
        let key = if is_bad_moment { Key::SliceEnd } else { Key::Time };
        let until = self.me.now() + Duration::from_millis(nap_ms);
        let _ = self.me.step_or_wait(format_args!("wait for the source"), |_| {
            Err::<(), _>((key, Some(until)))
        });
        self.check()?;
        if !self.is_client_leased() {
            return Err(End::ClientGone);
        }
        self.flush()
    }

    pub fn check(&self) -> Result<(), End> {
        self.me.step(format_args!("check the pulse"), |world| {
            world.sessions[self.session].check()
        })
    }

    fn is_client_leased(&self) -> bool {
        let object = self.words.object;
        self.me.step(format_args!("probe the client's lease"), |world| {
            world.kernel.regions[object].client_lease.is_some()
        })
    }

    fn item(&mut self, item: Item) -> Result<(), End> {
        // A full slot is published when the next record needs room, or by the flush after the look into the inbox: the client must not see
        // DONE, and send another request, while the inbox still counts the one that is done.
        if self.pending.len() == ITEMS_PER_SLOT {
            self.flush()?;
        }
        if !self.is_claimed {
            self.claim()?;
        }
        self.pending.push(item);
        if item.value.is_none() && self.me.is(Mutant::DoneBeforeInbox) {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub fn flush(&mut self) -> Result<(), End> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(&mut self.pending);
        let (index, object) = (self.producer.index(), self.words.object);
        self.me.step(format_args!("fill slot {index}"), |world| {
            world.kernel.regions[object].slots[index as usize] = items;
        });
        if self.words.faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        self.producer
            .publish(self.words)
            .map_err(|_| Misbehaviour::Vanished)?;
        self.is_claimed = false;
        self.me.aside(|world| {
            world.sessions[self.session].slots += 1;
            world.sessions[self.session].acted = world.now;
            world.wake(Key::Published, 1, Wakeup::Woken);
        });
        Ok(())
    }

    fn claim(&mut self) -> Result<(), End> {
        let mut owed_for = Duration::ZERO;
        while !self.producer.is_free(self.words)? {
            self.set_waiting(true);
            let start = self.me.now();
            match self.producer.wait_free(self.words, far_future())? {
                Waited::Ready => {}
                Waited::Faulted => return Err(Misbehaviour::Vanished.into()),
                Waited::SliceOver => {
                    owed_for += (self.me.now() - start).min(2 * SLICE);
                    self.look(owed_for)?;
                }
            }
        }
        if self.words.faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        self.set_waiting(false);
        self.is_claimed = true;
        Ok(())
    }

    fn set_waiting(&self, is_waiting: bool) {
        self.me
            .aside(|world| world.sessions[self.session].is_waiting_for_client = is_waiting);
    }

    fn look(&mut self, owed_for: Duration) -> Result<(), End> {
        self.check()?;
        let peer_leased = self.is_client_leased();
        let view = SliceView {
            peer_leased,
            work_after_lease: self.producer.free_slots(self.words)? > 0,
            owed_for,
            stall: STALL,
        };
        match slice_step(view) {
            SliceStep::Work if peer_leased => Ok(()),
            SliceStep::Wait => Ok(()),
            SliceStep::Work | SliceStep::PeerGone => Err(End::ClientGone),
            SliceStep::Stalled => Err(End::Stalled),
        }
    }
}

/// The simulation's clock ends slices, never the real one.
pub fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(24 * 60 * 60)
}
