//! A client that does as it likes with a region of its own: made of file calls alone, so that nothing it does to its memory can end
//! the process of the test. It says what a test wants, when the test wants it, and can also read an answer as it should be read.

use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use shmeld::ServerName;
use shmeld::file::{Client, ClientOptions, fetch_status};
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ObjectName, futex, process};

use crate::processes::PATIENCE;
use crate::world::{World, eventually};

pub const PAGE: u64 = 4096;
pub const GET: u16 = 1;
pub const CLOSE: u16 = 5;

/// Where the control words of a region lie: docs/PROTOCOL.md, section 2.1.
pub const STATE: u64 = 12;
/// REFUSED, DENIED.
pub const REFUSED_DENIED: u32 = 3 | 2 << 8;
pub const WRITTEN: u64 = 64;
pub const READ: u64 = 128;
pub const FILLED: u64 = 192;
pub const FREE: u64 = 256;

/// State words.
pub const ATTACHED: u32 = 1;
pub const MISBEHAVED: u32 = 12 << 8;
pub const REFUSED_BAD_REGION: u32 = 15 << 8 | 3;

/// Kinds of records.
pub const BEGIN: u16 = 2;
pub const DATA: u16 = 3;
pub const END: u16 = 5;
pub const DONE: u16 = 7;

const RECORD_BYTES: usize = 32;

/// How a region is divided.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    pub offset: u32,
    pub bytes: u32,
    pub count: u32,
}

/// One slot that fills the rest of a page.
pub const ONE_SLOT: Slots = Slots {
    offset: 320,
    bytes: 3776,
    count: 1,
};

/// Fifteen of them in sixteen pages.
pub const SMALL_SLOTS: Slots = Slots {
    offset: 4096,
    bytes: 4096,
    count: 15,
};

/// See the module.
pub struct RawRegion {
    pub memory: SharedMemory,
    pub id: [u8; 16],
    pub nonce: [u8; 16],
    pub bytes: u64,
    slots: Slots,
    pub queue: MessageQueue,
    next_id: AtomicU64,
    taken: AtomicU32,
}

/// The 64 bytes at the start of a region.
pub fn header(bytes: u64, nonce: &[u8; 16], slots: Slots) -> Vec<u8> {
    let mut header = b"SHMELD1\x01".to_vec();
    header.extend(1_u32.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    header.extend(bytes.to_le_bytes());
    header.extend(nonce);
    for word in [slots.offset, slots.bytes, slots.count] {
        header.extend(word.to_le_bytes());
    }
    header.resize(64, 0);
    header
}

/// The name of the region with this id.
pub fn name_of(id: &[u8; 16]) -> ObjectName {
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    ObjectName::new(&format!("/shmeld.{digits}")).unwrap()
}

/// A request as section 3 of the protocol draws it.
pub fn message(op: u16, request_id: u64, id: &[u8; 16], nonce: &[u8; 16], bytes: u64, path: &str) -> Vec<u8> {
    let mut message = b"SHMR\x01\0".to_vec();
    message.extend(op.to_le_bytes());
    message.extend(request_id.to_le_bytes());
    message.extend(id);
    message.extend(nonce);
    message.extend(bytes.to_le_bytes());
    message.extend([0; 12]);
    message.extend((path.len() as u32).to_le_bytes());
    message.extend([0; 32]);
    message.extend(path.as_bytes());
    message
}

/// Sends what may be a request to a server.
pub fn send(queue: &MessageQueue, message: &[u8]) {
    let end = Instant::now() + PATIENCE;
    queue.send(message, PRIORITY_MAX, Some(end)).unwrap();
}

impl RawRegion {
    /// An honest region of one page, leased and named; nothing has been said yet.
    pub fn new(world: &World) -> Self {
        Self::shaped(world, PAGE, ONE_SLOT)
    }

    /// An honest region of any size.
    pub fn shaped(world: &World, bytes: u64, slots: Slots) -> Self {
        let region = Self::unnamed(world, bytes, slots);
        region.memory.reserve(bytes).unwrap();
        region.initialise();
        region.publish();
        region
    }

    /// An empty object without a name: the rest is the test's.
    pub fn unnamed(world: &World, bytes: u64, slots: Slots) -> Self {
        let memory = SharedMemory::create_unnamed().unwrap();
        memory.set_mode(0o600).unwrap();
        RawRegion {
            memory,
            id: process::random_bytes().unwrap(),
            nonce: process::random_bytes().unwrap(),
            bytes,
            slots,
            queue: MessageQueue::open(&world.queue_name(), Access::Send).unwrap(),
            next_id: AtomicU64::new(1),
            taken: AtomicU32::new(0),
        }
    }

    /// Writes the header and both semaphores.
    pub fn initialise(&self) {
        self.put(0, &header(self.bytes, &self.nonce, self.slots));
        self.put(FILLED, &[0, 0, 128].map(u32::to_le_bytes).concat());
        self.put(FREE, &[self.slots.count, 0, 128].map(u32::to_le_bytes).concat());
    }

    /// Takes the client's lease and gives the region its name.
    pub fn publish(&self) {
        assert!(lease::try_take(self.memory.as_file(), Range::byte(0), Kind::Write, "region").unwrap());
        self.memory.publish(&self.name()).unwrap();
    }

    pub fn name(&self) -> ObjectName {
        name_of(&self.id)
    }

    pub fn put(&self, offset: u64, bytes: &[u8]) {
        self.memory.as_file().write_all_at(bytes, offset).unwrap();
    }

    /// Zero where the object has been truncated.
    pub fn word(&self, offset: u64) -> u32 {
        let mut word = [0; 4];
        self.memory.read_at(&mut word, offset).unwrap();
        u32::from_le_bytes(word)
    }

    pub fn set_word(&self, offset: u64, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    /// Sends the next request for this region.
    pub fn send(&self, op: u16, path: &str) {
        self.send_as(op, self.next_id.fetch_add(1, Ordering::Relaxed), path);
    }

    /// Sends a request with any id.
    pub fn send_as(&self, op: u16, request_id: u64, path: &str) {
        let message = message(op, request_id, &self.id, &self.nonce, self.bytes, path);
        send(&self.queue, &message);
    }

    /// Waits until the state word is this.
    #[track_caller]
    pub fn wait_for_state(&self, state: u32) {
        eventually(&format!("the state becomes {state:#x}"), || {
            self.word(STATE) == state
        });
    }

    /// Waits until the server has ended the session for breaking the protocol.
    #[track_caller]
    pub fn wait_until_misbehaved(&self) {
        self.wait_for_state(MISBEHAVED | 2);
    }

    /// Waits until a slot is full.
    #[track_caller]
    pub fn wait_for_slot(&self) {
        let taken = self.taken.load(Ordering::Relaxed);
        eventually(&format!("slot {taken} is full"), || self.word(WRITTEN) != taken);
    }

    /// What is in the slot whose turn it is.
    pub fn slot(&self) -> Vec<u8> {
        let index = u64::from(self.taken.load(Ordering::Relaxed) % self.slots.count);
        let start = u64::from(self.slots.offset) + index * u64::from(self.slots.bytes);
        let mut bytes = vec![0; self.slots.bytes as usize];
        self.memory.as_file().read_exact_at(&mut bytes, start).unwrap();
        bytes
    }

    /// Gives the slot back and wakes the server.
    pub fn release(&self) {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.set_word(READ, taken);
        self.ring();
    }

    /// `sem_post(free)`, as far as a sleeper is concerned.
    pub fn ring(&self) {
        self.set_word(FREE, 1);
        wake(&self.memory, FREE);
    }

    /// Waits for a full slot, copies it out and gives it back.
    #[track_caller]
    pub fn take_slot(&self) -> Vec<u8> {
        self.wait_for_slot();
        let bytes = self.slot();
        self.release();
        bytes
    }

    /// The file bytes of an answer, read to its DONE as it should be; `between` is called before each slot.
    #[track_caller]
    pub fn answer(&self, mut between: impl FnMut(&Self)) -> Vec<u8> {
        let mut found = Vec::new();
        loop {
            between(self);
            for (kind, _, payload) in records(&self.take_slot()) {
                match kind {
                    DATA => found.extend(payload),
                    DONE => return found,
                    _ => {}
                }
            }
        }
    }
}

impl Drop for RawRegion {
    fn drop(&mut self) {
        // A server, or the test, may have removed it.
        let _ = SharedMemory::unlink(&self.name());
    }
}

/// `futex(FUTEX_WAKE)` on a word of an object.
pub fn wake(memory: &SharedMemory, offset: u64) {
    Bell::of(memory, offset).ring();
}

/// The same for whoever does it often.
pub struct Bell {
    mapping: Mapping,
    offset: usize,
}

impl Bell {
    pub fn of(memory: &SharedMemory, offset: u64) -> Self {
        Bell {
            mapping: Mapping::new(memory.as_file(), PAGE as usize, "region").unwrap(),
            offset: offset as usize,
        }
    }

    pub fn ring(&self) {
        let word = self.mapping.as_ptr().wrapping_add(self.offset).cast();
        // Whoever truncated the object wakes nobody.
        let _ = futex::wake(word, u32::MAX);
    }
}

/// The records of a slot: kind, where it begins, payload.
pub fn records(slot: &[u8]) -> Vec<(u16, usize, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + RECORD_BYTES <= slot.len() {
        let kind = u16::from_le_bytes([slot[at], slot[at + 1]]);
        if kind == 0 {
            break;
        }
        let length = u32::from_le_bytes(std::array::from_fn(|index| slot[at + 4 + index])) as usize;
        found.push((kind, at, slot[at + RECORD_BYTES..][..length].to_vec()));
        at += RECORD_BYTES + length.next_multiple_of(8);
    }
    found
}

/// Does `disturb` again and again on another thread until `act` has returned, or has panicked.
pub fn meanwhile<T>(mut disturb: impl FnMut() + Send, act: impl FnOnce() -> T) -> T {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let _over = Over(&is_over);
        act()
    })
}

/// A number in the server's status, asked for from within this process: it is asked for often.
#[track_caller]
pub fn count(world: &World, name: &str) -> u64 {
    let options = ClientOptions {
        name: ServerName::new(world.name()).unwrap(),
        ..ClientOptions::default()
    };
    let status = fetch_status(Client::connect(options).unwrap()).unwrap();
    let status = serde_json::to_value(status).unwrap();
    status[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {status}"))
}

/// An honest transfer in between: exact, and nothing of it stays.
#[track_caller]
pub fn assert_served(world: &World, name: &str, bytes: &[u8]) {
    let output = world.output(name);
    let client = world.client().arg("-o").arg(&output).arg(name);
    client.run().expect_code(0);
    world.assert_output(name, bytes);
    std::fs::remove_file(output).unwrap();
}
