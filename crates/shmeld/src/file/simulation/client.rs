//! An honest simulated client: what `client.rs`, `client_watch.rs` and `connection.rs` do, step by step, and whether its answers are right.

use std::collections::VecDeque;
use std::time::Duration;

use shmeld_core::attach::RegionId;
use shmeld_core::layout::{Geometry, Header, Word};
use shmeld_core::ring::Consumer;
use shmeld_core::session::State;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{SLICE, Waited, Words};

use super::baton::{Fallible, Me};
use super::client_queue::{REOPEN_NAP, send, try_open};
use super::kernel::{Item, RegionObject};
use super::words::SimWords;
use super::world::{Mutant, Outcome};
use super::writer::{content, far_future};
use crate::file::client::Query;
use crate::file::client_state::{Outstanding, may_fill_slots};
use crate::file::inbox::UNANSWERED_MAX;
use crate::file::sample;
use crate::file::wire::{Op, Request};

const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A region of this many slots, and its header.
pub fn new_header(nonce: [u8; 16], slots: u32) -> Header {
    let geometry = match slots {
        1 => Geometry::for_region(4096),
        slots => Geometry::new(65536, 4096, 4096, slots),
    };
    Header {
        nonce,
        geometry: geometry.expect("a sound geometry"),
    }
}

/// Makes a region and gives it a name: object and id.
pub fn publish(me: &Me, header: &Header, is_hostile: bool) -> (usize, RegionId) {
    let object = me.step(format_args!("make a region and lease it"), |world| {
        world
            .kernel
            .regions
            .push(RegionObject::new(header, me.pid, is_hostile));
        world.kernel.regions.len() - 1
    });
    let id = me.step(format_args!("link region {object}"), |world| {
        let id = world.random.bytes();
        world.kernel.names.insert(id, object);
        id
    });
    (object, RegionId(id))
}

/// See the module.
pub struct Client<'m> {
    pub(super) me: &'m Me,
    pub(super) card: usize,
    pub(super) slot_count: u32,
    pub(super) queue: usize,
    pub(super) queue_number: u64,
    pub(super) header: Header,
    pub(super) id: RegionId,
    pub(super) words: SimWords,
    pub(super) consumer: Consumer,
    slot: VecDeque<Item>,
    pub(super) attached: bool,
    pub(super) outstanding: Outstanding,
    pub(super) owed_for: Duration,
}

/// The life of a client with these requests (how many values each answer has).
pub fn live(me: &Me, card: usize, slot_count: u32, requests: &[u64], think_us: u64) {
    let outcome = fetch(me, card, slot_count, requests, think_us)
        .err()
        .unwrap_or(Outcome::Done);
    // Dropping its offer removes the name, and the exit frees the lease.
    me.step(format_args!("remove the name"), |world| {
        let object = world.clients[card].object;
        world.kernel.names.retain(|_, named| *named != object);
    });
    me.step(format_args!("the client ends: {outcome:?}"), |world| {
        world.judge_client(card, &outcome);
        world.clients[card].outcome = Some(outcome.clone());
        world.process_died(me.pid);
    });
}

fn fetch(me: &Me, card: usize, slot_count: u32, requests: &[u64], think_us: u64) -> Fallible<()> {
    let queue = loop {
        if let Some(queue) = try_open(me) {
            break queue;
        }
        me.sleep(REOPEN_NAP);
    };
    let header = new_header(me.aside(|world| world.random.bytes()), slot_count);
    let (object, id) = publish(me, &header, false);
    me.aside(|world| world.clients[card].object = object);
    let mut client = Client {
        me,
        card,
        slot_count,
        queue,
        queue_number: 0,
        header,
        id,
        words: SimWords::new(me, object, None),
        consumer: Consumer::new(slot_count),
        slot: VecDeque::new(),
        attached: false,
        outstanding: Outstanding::default(),
        owed_for: Duration::ZERO,
    };
    client.work_off(requests, think_us)?;
    client.close();
    Ok(())
}

impl Client<'_> {
    fn work_off(&mut self, requests: &[u64], think_us: u64) -> Fallible<()> {
        let mut paths = VecDeque::new();
        let mut jobs: VecDeque<(usize, u64)> = requests.iter().copied().enumerate().collect();
        let mut may_send = true;
        while !jobs.is_empty() || !paths.is_empty() {
            while let (true, Some((number, values))) = (may_send, jobs.front()) {
                let path = format!("{}:{number}:{values}", self.card).into_bytes();
                may_send = self.submit(path.clone())?;
                if may_send {
                    paths.push_back(path);
                    jobs.pop_front();
                }
            }
            let Some(path) = paths.pop_front() else { continue };
            self.read_answer(&path)?;
            may_send = true;
            let thought = self.me.aside(|world| world.random.below(think_us));
            if thought > 0 {
                self.me.sleep(Duration::from_micros(thought));
            }
        }
        Ok(())
    }

    fn submit(&mut self, path: Vec<u8>) -> Fallible<bool> {
        let may_send = self.outstanding.may_send_on(self.queue_number);
        let overtakes = self.me.is(Mutant::NewRequestOvertakes) && self.outstanding.len() < UNANSWERED_MAX;
        if !may_send && !overtakes {
            return Ok(false);
        }
        let query = Query::new(Op::Get, path);
        let id = self.outstanding.next_id();
        let message = self.message(id, &query);
        let sent = if self.outstanding.is_empty() {
            self.send_patiently(id, &message)?
        } else {
            self.send(id, &message, Duration::ZERO)
        };
        if sent {
            if self.outstanding.is_empty() {
                self.owed_for = Duration::ZERO;
            }
            self.outstanding.sent(query, self.queue_number);
        }
        Ok(sent)
    }

    pub(super) fn message(&self, request_id: u64, query: &Query) -> Vec<u8> {
        let request = Request {
            request_id,
            region_id: self.id,
            nonce: self.header.nonce,
            region_bytes: self.header.geometry.region_bytes(),
            flags: query.flags,
            ..sample::request(query.op, &query.path)
        };
        request.encode()
    }

    pub(super) fn send(&self, request_id: u64, message: &[u8], deadline: Duration) -> bool {
        let sent = send(self.me, self.queue, message, deadline);
        if sent {
            self.me.aside(|world| {
                if !world.sent.insert((self.words.object, request_id, self.queue)) {
                    world.fail(format!(
                        "request {request_id} was sent twice on queue {}",
                        self.queue
                    ));
                }
            });
        }
        sent
    }

    /// Reads the answer to the oldest request and compares it with what the source has.
    fn read_answer(&mut self, path: &[u8]) -> Fallible<()> {
        let mut expected: VecDeque<u64> = content(path).into();
        loop {
            let item = self.next_record()?;
            match item.value {
                Some(value) if expected.pop_front() == Some(value) => self.finish(),
                None if expected.is_empty() => {
                    self.finish();
                    self.outstanding.answered();
                    return Ok(());
                }
                value => self.me.fail(format!(
                    "wrong answer: {value:?} in the answer to {}",
                    String::from_utf8_lossy(path)
                )),
            }
        }
    }

    fn next_record(&mut self) -> Fallible<Item> {
        loop {
            if let Some(item) = self.peek()? {
                if !self.attached {
                    if !may_fill_slots(self.state()) {
                        return Err(Outcome::Misbehaved("slots without ATTACHED"));
                    }
                    self.set_attached();
                }
                self.owed_for = Duration::ZERO;
                if !self.outstanding.expects(item.request_id) {
                    return Err(Outcome::Misbehaved("an answer that nobody asked for"));
                }
                return Ok(item);
            }
            self.wait()?;
        }
    }

    fn peek(&mut self) -> Fallible<Option<Item>> {
        if self.slot.is_empty() {
            let is_filled = self.consumer.is_filled(&self.words);
            if !is_filled.map_err(|_| Outcome::Misbehaved("a sequence word"))? {
                return Ok(None);
            }
            let index = self.consumer.index() as usize;
            let items = self.me.step(format_args!("read slot {index}"), |world| {
                world.kernel.regions[self.words.object].slots[index].clone()
            });
            self.slot = items.into();
        }
        Ok(self.slot.front().copied())
    }

    fn finish(&mut self) {
        self.slot.pop_front();
        if self.slot.is_empty() {
            // The memory of an honest client does not vanish.
            let _ = self.consumer.release(&self.words);
        }
    }

    pub(super) fn state(&self) -> Option<State> {
        State::from_word(self.words.load(Word::State, Ordering::Acquire))
    }

    pub(super) fn set_attached(&mut self) {
        self.me.step(format_args!("remove the region's name"), |world| {
            world.kernel.names.remove(&self.id.0)
        });
        self.attached = true;
    }

    fn wait(&mut self) -> Fallible<()> {
        let expected = if self.attached {
            State::Attached
        } else {
            State::Offered
        }
        .to_word();
        let words = &self.words;
        let state_changed = || words.load(Word::State, Ordering::Acquire) != expected;
        let start = self.me.now();
        let waited = self.consumer.wait_filled(words, far_future(), state_changed);
        let waited = waited.map_err(|_| Outcome::Misbehaved("a sequence word"))?;
        if waited == Waited::Ready && self.peek()?.is_some() {
            return Ok(());
        }
        self.owed_for += (self.me.now() - start).min(2 * SLICE);
        match waited {
            Waited::Faulted => Err(Outcome::Misbehaved("vanished")),
            _ if self.attached => self.look_at_session(),
            _ => self.look_at_offer(),
        }
    }

    /// After BUSY: another region, which is told everything.
    pub(super) fn offer_again(&mut self) -> Fallible<()> {
        self.me
            .step(format_args!("remove the refused region's name"), |world| {
                world.kernel.names.remove(&self.id.0)
            });
        self.header = new_header(self.me.aside(|world| world.random.bytes()), self.slot_count);
        let (object, id) = publish(self.me, &self.header, false);
        self.id = id;
        self.me.aside(|world| {
            world.kernel.regions[self.words.object].client_lease = None;
            world.clients[self.card].object = object;
            world.count("offered again");
        });
        self.words = SimWords::new(self.me, object, None);
        self.consumer = Consumer::new(self.slot_count);
        self.owed_for = Duration::ZERO;
        self.outstanding.begin_anew();
        self.resend()
    }

    pub(super) fn silence_max() -> Duration {
        SILENCE_MAX
    }
}
