//! A client made of public pieces, which says and writes whatever a test wants: requests in any order, ids used twice, words of its
//! region that are none of its business, a death without a farewell.
//!
//! It never reads an answer as an honest client would; what a slot holds can be looked at.

use std::time::{Duration, Instant};

use shmeld::ServerName;
use shmeld::file::wire::{Op, Request};
use shmeld::os::ErrorKind;
use shmeld::os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};
use shmeld::os::posix::shm::SharedMemory;
use shmeld_core::attach::{Offer, RegionId};
use shmeld_core::layout::{PAGE_BYTES, Word};
use shmeld_core::session::State;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{Semaphore, Words, post};

/// Long enough for a loaded machine; nothing that works ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(1);

/// See the module.
pub struct RawPeer {
    /// `None` once it is dead.
    offer: Option<Offer>,
    queue: MessageQueue,
    id: RegionId,
    nonce: [u8; 16],
    region_bytes: u64,
}

impl RawPeer {
    /// A region of one page on offer; nothing has been said yet.
    pub fn new(server: &ServerName) -> Self {
        Self::with_region(server, PAGE_BYTES)
    }

    pub fn with_region(server: &ServerName, region_bytes: u64) -> Self {
        let offer = Offer::publish(region_bytes).unwrap();
        Self {
            queue: MessageQueue::open(server.queue(), Access::Send).unwrap(),
            id: offer.id(),
            nonce: offer.nonce(),
            region_bytes,
            offer: Some(offer),
        }
    }

    /// Sends a request with this id, whatever ids were used before.
    pub fn send(&self, op: Op, request_id: u64, path: &str) {
        let request = Request {
            op,
            request_id,
            region_id: self.id,
            nonce: self.nonce,
            region_bytes: self.region_bytes,
            offset: 0,
            flags: 0,
            prefix_digest: [0; 32],
            path: path.as_bytes().to_vec(),
        };
        let end = Instant::now() + PATIENCE;
        self.queue
            .send(&request.encode(), PRIORITY_MAX, Some(end))
            .unwrap();
    }

    fn offer(&self) -> &Offer {
        self.offer.as_ref().expect("a peer that lives")
    }

    pub fn load(&self, word: Word) -> u32 {
        self.offer().region().load(word, Ordering::Acquire)
    }

    pub fn store(&self, word: Word, value: u32) {
        self.offer().region().store(word, value, Ordering::Release);
    }

    /// The name of its region, as long as the server has not opened it.
    pub fn region_name(&self) -> String {
        self.id.name().to_string()
    }

    pub fn state(&self) -> Option<State> {
        State::from_word(self.load(Word::State))
    }

    /// The bytes of the first slot, as they are now.
    pub fn slot(&self) -> Vec<u8> {
        let slot = self.offer().region().slot(0);
        let mut bytes = vec![0; slot.len()];
        slot.read(0, &mut bytes);
        bytes
    }

    /// Waits until the server has filled so many slots.
    #[track_caller]
    pub fn wait_for_slots(&self, count: u32) {
        eventually("the slots are filled", || self.load(Word::Written) >= count);
    }

    /// Gives slots back unread until the server says something other than ATTACHED.
    #[track_caller]
    pub fn drain_until_ended(&self) -> Option<State> {
        eventually("the session ends", || {
            self.store(Word::Read, self.load(Word::Written));
            post(self.offer().region(), Semaphore::Free).unwrap();
            self.state() != Some(State::Attached)
        });
        self.state()
    }

    /// Lets the kernel drop the lease, as it does when a process dies.
    pub fn die(&mut self) {
        self.offer = None;
    }
}

impl Drop for RawPeer {
    fn drop(&mut self) {
        self.die();
        let left = SharedMemory::stat_name(&self.id.name()).map(drop);
        let is_gone = left.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        assert!(
            std::thread::panicking() || is_gone,
            "region {} is left",
            self.id.name()
        );
    }
}

/// Waits until something is true; panics when it never becomes so.
#[track_caller]
pub fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(POLL);
    }
}
