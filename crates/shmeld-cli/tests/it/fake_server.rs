//! A server that lies: it holds the lease that clients look for, takes their requests, and writes into their regions what a test wants.
//! Made of file calls alone, like `raw_region`.

use std::cell::Cell;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::wire::Request;
use shmeld_os::ObjectName;
use shmeld_os::fs::Time;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::outcome::Outcome;
use crate::processes::{PATIENCE, Running};
use crate::raw_region::{ATTACHED, FILLED, READ, STATE, WRITTEN, wake};
use crate::world::{World, eventually};

/// Where the one slot of a page lies.
pub const SLOT: u64 = 320;
pub const SLOT_BYTES: usize = 3776;
/// The clients of these tests ask for a file of this name; the fake one has this many bytes.
pub const NAME: &str = "file";
pub const SIZE: u64 = 100;

/// See the module.
pub struct FakeServer {
    queue: MessageQueue,
    gate: SharedMemory,
}

/// A client that has sent its first request.
pub struct Victim {
    pub memory: SharedMemory,
    pub request: Request,
    /// The message as it came.
    pub message: Vec<u8>,
    published: Cell<u32>,
}

impl FakeServer {
    /// Takes the place of a server of this world: gate and queue, so that sweeps of others leave them alone.
    pub fn start(world: &World) -> Self {
        let gate = SharedMemory::create_new(&world.gate_name(), 0o600).unwrap();
        assert!(lease::try_take(gate.as_file(), Range::WHOLE, Kind::Write, "gate").unwrap());
        let queue = MessageQueue::create_new(&world.queue_name(), 10, 1024, 0o600).unwrap();
        assert!(lease::try_take(&queue, Range::WHOLE, Kind::Read, "queue").unwrap());
        FakeServer { queue, gate }
    }

    /// Waits for a request that opens a session.
    #[track_caller]
    pub fn accept(&self) -> Victim {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.next_message(end);
            let request = Request::decode(&message).unwrap();
            // CLOSE of the client before, and requests of one that has gone.
            if let Ok(memory) = SharedMemory::open(&request.region_id.name(), true) {
                let published = Cell::new(0);
                return Victim {
                    memory,
                    request,
                    message,
                    published,
                };
            }
        }
    }

    #[track_caller]
    fn next_message(&self, end: Instant) -> Vec<u8> {
        let mut buffer = [0; 1024];
        let (len, _) = self.queue.receive(&mut buffer, Some(end)).unwrap();
        buffer[..len].to_vec()
    }

    /// Takes what is left in the queue.
    pub fn drain(&self) {
        let mut buffer = [0; 1024];
        let soon = || Some(Instant::now() + Duration::from_millis(1));
        while self.queue.receive(&mut buffer, soon()).is_ok() {}
    }

    /// Removes its objects.
    pub fn stop(self) {
        MessageQueue::unlink(self.queue.name()).unwrap();
        SharedMemory::unlink(&ObjectName::new(self.gate.label()).unwrap()).unwrap();
    }
}

impl Victim {
    pub fn put(&self, offset: u64, bytes: &[u8]) {
        self.memory.as_file().write_all_at(bytes, offset).unwrap();
    }

    pub fn set_word(&self, offset: u64, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }

    pub fn word(&self, offset: u64) -> u32 {
        let mut word = [0; 4];
        self.memory.read_at(&mut word, offset).unwrap();
        u32::from_le_bytes(word)
    }

    /// As a server does it: the lease, then the state.
    pub fn attach(&self) {
        assert!(lease::try_take(self.memory.as_file(), Range::byte(1), Kind::Write, "region").unwrap());
        self.set_word(STATE, ATTACHED);
    }

    /// As a server does it that dies.
    pub fn die(&self) {
        lease::release(self.memory.as_file(), Range::byte(1), "region").unwrap();
    }

    /// Waits until the client has given the slot back. False if it has gone.
    #[track_caller]
    pub fn wait_for_free(&self, is_gone: impl Fn() -> bool) -> bool {
        eventually("the slot is given back, or the client goes", || {
            self.word(READ) == self.published.get() || is_gone()
        });
        !is_gone()
    }

    /// Publishes a slot that begins with these bytes.
    pub fn publish(&self, bytes: &[u8]) {
        assert!(bytes.len() <= SLOT_BYTES);
        self.put(SLOT, bytes);
        if bytes.len() + 32 <= SLOT_BYTES {
            self.put(SLOT + bytes.len() as u64, &[0; 32]);
        }
        self.published.set(self.published.get() + 1);
        self.set_word(WRITTEN, self.published.get());
        self.ring();
    }

    /// `sem_post(filled)`, as far as a sleeper is concerned.
    pub fn ring(&self) {
        self.set_word(FILLED, 1);
        wake(&self.memory, FILLED);
    }
}

/// A record as section 4 of the protocol draws it, with its payload and padding.
pub fn record(kind: u16, status: u16, offset: u64, extent: u64, payload: &[u8]) -> Vec<u8> {
    raw_record(kind, status, payload.len() as u32, 1, offset, extent, payload)
}

/// The same with a length and a request that may be lies.
pub fn raw_record(
    kind: u16,
    status: u16,
    length: u32,
    request_id: u64,
    offset: u64,
    extent: u64,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(status.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    for word in [request_id, offset, extent] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// The payload of BEGIN or ENTRY.
pub fn entry(name: &str, size: u64) -> Vec<u8> {
    let entry = Entry {
        kind: EntryKind::File,
        mode: 0o644,
        size,
        modified: Time {
            seconds: 0,
            nanoseconds: 0,
        },
        uid: 0,
        gid: 0,
        name: name.as_bytes().to_vec(),
        text: Vec::new(),
    };
    let mut payload = Vec::new();
    entry.encode_to(&mut payload);
    payload
}

/// BEGIN of a file of this size, as an honest server writes it.
pub fn begin(size: u64) -> Vec<u8> {
    record(2, 0, 0, size, &entry(NAME, size))
}

pub fn data(offset: u64, bytes: &[u8]) -> Vec<u8> {
    record(3, 0, offset, 0, bytes)
}

pub fn hole(offset: u64, extent: u64) -> Vec<u8> {
    record(4, 0, offset, extent, b"")
}

pub fn end(size: u64) -> Vec<u8> {
    record(5, 0, size, 0, b"")
}

pub fn done() -> Vec<u8> {
    record(7, 0, 1, 0, b"")
}

/// What a server does after it has attached, and what the client says about it.
pub type Lie = (&'static str, fn(&Victim), &'static str);

/// What an honest server would send.
pub fn bytes() -> Vec<u8> {
    content::of(NAME, SIZE as usize)
}

/// One slot with all these records.
pub fn slot(victim: &Victim, records: &[Vec<u8>]) {
    victim.publish(&records.concat());
}

/// A client of a fake server meets `lie`; returns it when it has ended.
#[track_caller]
pub fn meet(
    world: &World,
    server: &FakeServer,
    options: &[&str],
    lie: impl FnOnce(&Victim, &Running),
) -> Outcome {
    let client = world
        .client()
        .args(options)
        .arg("-o")
        .arg(world.output(NAME))
        .arg(NAME)
        .start();
    let victim = server.accept();
    lie(&victim, &client);
    let outcome = client.finish();
    server.drain();
    outcome
}

/// Clients of a fake server meet one lie after the other; each ends with 4 and says so.
#[track_caller]
pub fn assert_all_are_noticed(what: &str, lies: &[Lie]) {
    let world = World::new(what);
    let server = FakeServer::start(&world);
    for (what, lie, said) in lies {
        let outcome = meet(&world, &server, &[], |victim, _| {
            victim.attach();
            lie(victim);
        });
        assert_eq!(outcome.code, Some(4), "{what}\n{}", outcome.stderr);
        assert!(
            outcome.stderr.contains(said),
            "{what}: no {said:?} in\n{}",
            outcome.stderr
        );
        world.assert_no_output();
    }
    // The same server, honest for once.
    let outcome = meet(&world, &server, &["--verify"], |victim, _| {
        victim.attach();
        let digest = blake3::hash(&bytes());
        slot(
            victim,
            &[
                begin(SIZE),
                data(0, &bytes()),
                record(5, 0, SIZE, 0, digest.as_bytes()),
                done(),
            ],
        );
    });
    outcome.expect_code(0);
    world.assert_output(NAME, &bytes());
    server.stop();
    world.finish();
}
