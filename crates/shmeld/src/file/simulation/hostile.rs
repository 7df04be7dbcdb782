//! A hostile client: it writes whatever it likes into its own region, and sends what it has seen of others, changed or once more. It
//! knows every region's id (they can be seen in /dev/shm) and no nonce but its own.

use std::time::Duration;

use shmeld_core::attach::RegionId;
use shmeld_core::layout::{Header, Word};

use super::baton::{Key, Me, Wakeup};
use super::client::{new_header, publish};
use super::client_queue::send;
use super::world::World;
use crate::file::sample;
use crate::file::wire::{Op, Request};

const WORDS: [Word; 7] = [
    Word::State,
    Word::Written,
    Word::Read,
    Word::FilledValue,
    Word::FilledWaiters,
    Word::FreeValue,
    Word::FreeWaiters,
];
const PATIENCE: Duration = Duration::from_millis(100);

struct Hostile<'m> {
    me: &'m Me,
    header: Header,
    object: usize,
    id: RegionId,
    last_id: u64,
}

/// The life of a hostile client of so many deeds.
pub fn live(me: &Me, deeds: u64) {
    let slots = me.aside(|world| world.random.within(1, 3)) as u32;
    let header = new_header(me.aside(|world| world.random.bytes()), slots);
    let (object, id) = publish(me, &header, true);
    let mut hostile = Hostile {
        me,
        header,
        object,
        id,
        last_id: 0,
    };
    for _ in 0..deeds {
        hostile.deed();
    }
    me.step(format_args!("go without a word"), |world| {
        world.process_died(me.pid)
    });
}

impl Hostile<'_> {
    fn deed(&mut self) {
        let object = self.object;
        match self.me.aside(|world| world.random.below(16)) {
            0..=3 => self.request(),
            4..=6 => self.scribble(),
            7 | 8 => self.release_honestly(),
            9 => {
                self.me
                    .step(format_args!("wake whoever sleeps on its region"), |world| {
                        world.wake(Key::Futex(object, Word::FreeValue), 1, Wakeup::Woken)
                    });
            }
            10 => self.forge(),
            11 => self.replay(),
            12 => self.rename(),
            13 => {
                let nap = self.me.aside(|world| world.random.below(400));
                self.me.sleep(Duration::from_millis(nap));
            }
            14 if self.me.aside(|world| world.random.permille(100)) => {
                self.me.step(format_args!("truncate its region"), |world| {
                    world.kernel.regions[object].has_vanished = true;
                    for word in [Word::FilledValue, Word::FreeValue] {
                        world.wake(Key::Futex(object, word), 9, Wakeup::Woken);
                    }
                });
            }
            _ => {
                self.me
                    .step(format_args!("take the server's byte of its region"), |world| {
                        let region = &mut world.kernel.regions[object];
                        if region.server_lease.is_none() && world.random.permille(200) {
                            region.server_lease = Some((self.me.pid, self.me.id));
                        }
                    });
            }
        }
    }

    fn send(&self, message: &[u8]) {
        if let Some(queue) = self
            .me
            .step(format_args!("mq_open"), |world| world.kernel.queue_name)
        {
            send(self.me, queue, message, self.me.now() + PATIENCE);
        }
    }

    fn request(&mut self) {
        self.last_id += self.me.aside(|world| world.random.below(3));
        let values = self.me.aside(|world| world.random.below(20));
        let request = self.message_for(self.id, self.header.nonce, Op::Get, self.last_id, values);
        self.send(&request);
    }

    fn message_for(&self, id: RegionId, nonce: [u8; 16], op: Op, request_id: u64, values: u64) -> Vec<u8> {
        let request = Request {
            request_id,
            region_id: id,
            nonce,
            region_bytes: self.header.geometry.region_bytes(),
            ..sample::request(op, format!("666:{request_id}:{values}").as_bytes())
        };
        request.encode()
    }

    /// A request for somebody else's region. Its size is easily seen, its nonce not.
    fn forge(&self) {
        let victim = self.me.aside(|world| {
            let ids: Vec<([u8; 16], usize)> = world
                .kernel
                .names
                .iter()
                .map(|(id, object)| (*id, *object))
                .collect();
            // Also of regions that have lost their name meanwhile.
            let attached: Vec<([u8; 16], usize)> = world
                .sessions
                .iter()
                .map(|card| (card.region_id, card.object))
                .collect();
            let all = [ids, attached].concat();
            let (id, object) = all[world
                .random
                .index(all.len().max(1))
                .min(all.len().checked_sub(1)?)];
            let op = if world.random.permille(500) {
                Op::Close
            } else {
                Op::Get
            };
            Some((
                RegionId(id),
                world.kernel.regions[object].header.region_bytes.get(),
                op,
            ))
        });
        let Some((id, bytes, op)) = victim else { return };
        let mut message = self.message_for(id, self.header.nonce, op, 1 << 40, 3);
        message[48..56].copy_from_slice(&bytes.to_le_bytes());
        if id != self.id {
            self.send(&message);
        }
    }

    /// Something that was in the present queue, once more: as it was, or changed where it proves whose it is.
    fn replay(&self) {
        let seen = self.me.aside(|world: &mut World| {
            let queue = world.kernel.queue_name?;
            let history = &world.kernel.queues[queue].history;
            let len = history.len();
            (len > 0).then(|| {
                let mut message = history[world.random.index(len)].clone();
                if world.random.permille(500) && message.len() > 47 {
                    let at = world.random.within(32, 47) as usize;
                    message[at] ^= 1 << world.random.below(8);
                } else if world.random.permille(200) {
                    let at = world.random.index(message.len() + 1);
                    message.truncate(at);
                }
                (queue, message)
            })
        });
        if let Some((queue, message)) = seen {
            send(self.me, queue, &message, self.me.now() + PATIENCE);
        }
    }

    /// The same object under another name.
    fn rename(&mut self) {
        let id = RegionId(self.me.aside(|world| world.random.bytes()));
        self.me.step(format_args!("link its region once more"), |world| {
            world.kernel.names.insert(id.0, self.object)
        });
        if self.me.aside(|world| world.random.permille(700)) {
            self.me.step(format_args!("unlink the first name"), |world| {
                world.kernel.names.remove(&self.id.0)
            });
            (self.id, self.last_id) = (id, 0);
        }
    }

    fn scribble(&self) {
        self.me.step(format_args!("scribble"), |world| {
            let word = WORDS[world.random.index(WORDS.len())];
            let near = [Word::Written, Word::Read][world.random.index(2)];
            let near = world.kernel.regions[self.object].load(near);
            let value = match world.random.below(4) {
                0 => world.random.next() as u32,
                1 => near.wrapping_add(1),
                2 => near.wrapping_sub(1),
                _ => world.random.below(4) as u32,
            };
            world.kernel.regions[self.object].store(word, value);
            (word, value)
        });
    }

    /// Gives all slots back and rings, as a client that is in no hurry does.
    fn release_honestly(&self) {
        self.me.step(format_args!("release everything"), |world| {
            let written = world.kernel.regions[self.object].load(Word::Written);
            world.kernel.regions[self.object].store(Word::Read, written);
            world.kernel.regions[self.object].store(Word::FreeValue, 1);
            world.wake(Key::Futex(self.object, Word::FreeValue), 1, Wakeup::Woken)
        });
    }
}
