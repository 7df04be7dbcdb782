//! Hostile peers, as processes: this program starts itself with `attack KIND NAME`, and is killed when it is enough.
//!
//! They know the protocol and break it. A region is changed through its file (`pwrite`, `ftruncate`, `fallocate` act on the same pages as
//! the server's mapping), because the attacker's own mapping vanishes with it.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::fcntl::{FallocateFlags, fallocate};
use shmeld_core::attach::Offer;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ObjectName, fs, futex};

use crate::chance::Chance;

/// What an attacker writes to standard error whenever an attack of its has reached the server: it is killed before it could count them.
const DEED: &str = "!";

/// How many attacks an attacker, by what it said, has carried out.
pub fn deeds(stderr: &str) -> usize {
    stderr.matches(DEED).count()
}

/// The ways to be hostile, and one that is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Does nothing, as fast as it can: what the others are compared with.
    Busy,
    /// Truncates its region to nothing and back.
    Truncate,
    /// Punches its region's memory out.
    Punch,
    /// Grows and re-extends its region.
    Grow,
    /// Random values in every word of the header.
    Scribble,
    /// Forged semaphores.
    Semaphores,
    /// Wakes the server for nothing.
    Wakes,
    /// Holds the server's byte, the rest of the file, and thousands of single bytes.
    Locks,
    /// Sends requests again, and changed in one place.
    Replay,
    /// Messages that mean nothing.
    Junk,
    /// Sound requests for regions that do not exist.
    Forged,
}

const REQUEST_BYTES: usize = 104;
const MESSAGE_BYTES_MAX: usize = 1024;
/// How long an attacker waits for the server to attach it before it tries again.
const ATTACH_PATIENCE: Duration = Duration::from_secs(1);
/// How many strikes between two looks at the lease and at the harness.
const STRIKES: u32 = 64;
const SEMAPHORES: [u64; 2] = [192, 256];
const WRITTEN: u64 = 64;
const READ: u64 = 128;
/// Where the words of the header end.
const WORDS_END: usize = 320;

/// Attacks until it is killed, or the harness has gone.
///
/// # Errors
/// The server's queue cannot be opened at all.
pub fn run(kind: Attack, name: &str) -> Result<(), String> {
    let parent = std::os::unix::process::parent_id();
    let mut chance = Chance::new(u64::from(std::process::id()), 0);
    let name = ObjectName::new(name).map_err(|error| error.to_string())?;
    while std::os::unix::process::parent_id() == parent {
        match kind {
            Attack::Busy => drop(chance.bytes(4096)),
            Attack::Junk | Attack::Forged => send_for_nothing(kind, &name, &mut chance)?,
            // A session that could not be begun is tried again.
            _ => drop(attack_once(kind, &name, &mut chance)),
        }
    }
    Ok(())
}

fn send_for_nothing(kind: Attack, name: &ObjectName, chance: &mut Chance) -> Result<(), String> {
    let queue = MessageQueue::open(name, Access::Send).map_err(|error| error.to_string())?;
    let mut sent = 0_u32;
    for _ in 0..STRIKES {
        let message = if kind == Attack::Junk {
            let len = chance.below(MESSAGE_BYTES_MAX + 1);
            chance.bytes(len)
        } else {
            request(&chance.bytes(32), 1, 4096, b"page")
        };
        // Blocking, as an honest sender does: that gets more through than polling.
        let result = queue.send(&message, PRIORITY_MAX, Some(Instant::now() + ATTACH_PATIENCE));
        sent += u32::from(result.is_ok());
    }
    if sent > 0 {
        eprint!("{DEED}");
    }
    Ok(())
}

/// A GET; `id_and_nonce` is 16 bytes of each.
fn request(id_and_nonce: &[u8], request_id: u64, region_bytes: u64, path: &[u8]) -> Vec<u8> {
    let path_bytes = u32::try_from(path.len()).unwrap_or_default();
    let mut message = Vec::with_capacity(REQUEST_BYTES + path.len());
    message.extend_from_slice(b"SHMR");
    message.extend_from_slice(&1_u16.to_le_bytes());
    message.extend_from_slice(&1_u16.to_le_bytes());
    message.extend_from_slice(&request_id.to_le_bytes());
    message.extend_from_slice(id_and_nonce);
    message.extend_from_slice(&region_bytes.to_le_bytes());
    message.extend_from_slice(&[0; 12]);
    message.extend_from_slice(&path_bytes.to_le_bytes());
    message.extend_from_slice(&[0; 32]);
    message.extend_from_slice(path);
    message
}

/// A session in the attacker's hands.
struct Foothold {
    offer: Offer,
    /// For its addresses alone: nothing is loaded or stored through it, since its pages vanish.
    addresses: Mapping,
    object: SharedMemory,
    queue: MessageQueue,
    message: Vec<u8>,
    region_bytes: u64,
}

/// One session: attach, strike until the server ends it.
fn attack_once(kind: Attack, name: &ObjectName, chance: &mut Chance) -> Result<(), String> {
    let explain = |error: shmeld_os::Error| error.to_string();
    let region_bytes = *chance.one_of(&[4096, 64 << 10, 1 << 20]);
    let mut offer = Offer::publish(region_bytes).map_err(|error| error.to_string())?;
    let object = SharedMemory::open(&offer.id().name(), true).map_err(explain)?;
    let queue = MessageQueue::open(name, Access::Send).map_err(explain)?;
    let id_and_nonce = [offer.id().0, offer.nonce()].concat();
    let message = request(&id_and_nonce, 1, region_bytes, b"large");
    if kind == Attack::Locks && chance.below(2) == 0 {
        // The server's byte, and all after it.
        let _ = lease::try_take(
            object.as_file(),
            Range { start: 1, len: 0 },
            Kind::Write,
            "region",
        );
    }
    let deadline = Instant::now() + ATTACH_PATIENCE;
    queue
        .send(&message, PRIORITY_MAX, Some(deadline))
        .map_err(explain)?;
    while !offer.server_leased().unwrap_or(false) {
        let mut state = [0; 4];
        let is_refused = object.read_at(&mut state, 12).is_ok() && state[0] > 1;
        if is_refused || Instant::now() > deadline {
            return Ok(());
        }
        std::thread::yield_now();
    }
    offer.remove_name();
    let addresses = Mapping::new(object.as_file(), 4096, "region").map_err(explain)?;
    let foothold = Foothold {
        offer,
        addresses,
        object,
        queue,
        message,
        region_bytes,
    };
    let mut has_struck = false;
    while foothold.offer.server_leased().unwrap_or(false) {
        let hits = foothold.strike(kind, chance)?;
        if hits > 0 && !has_struck {
            has_struck = true;
            eprint!("{DEED}");
        }
    }
    Ok(())
}

impl Foothold {
    /// Strikes some times, and returns how many of them the kernel let through.
    fn strike(&self, kind: Attack, chance: &mut Chance) -> Result<usize, String> {
        match kind {
            Attack::Wakes => return Ok((0..STRIKES).filter(|_| self.wake()).count()),
            Attack::Locks => return self.lock().map(|()| 0),
            // The server is attacked at its work, not only in its sleep.
            Attack::Truncate | Attack::Punch | Attack::Grow => self.release_all(),
            _ => {}
        }
        let mut hits = 0;
        for _ in 0..STRIKES {
            let is_hit = match kind {
                Attack::Truncate => {
                    self.resize(0)?;
                    self.resize(self.region_bytes)?;
                    true
                }
                Attack::Punch => self.punch().map(|()| true)?,
                Attack::Grow => {
                    let bytes = self.region_bytes + (chance.below(1 << 18) as u64) * 4096;
                    self.resize(bytes).map(|()| true)?
                }
                Attack::Scribble => self.write(chance.below(WORDS_END / 4) as u64 * 4, &chance.bytes(4)),
                Attack::Semaphores => {
                    let forged = [vec![0xff; 12], vec![1; 12], chance.bytes(12)];
                    let bytes: &Vec<u8> = chance.one_of(&forged);
                    self.write(*chance.one_of(&SEMAPHORES), bytes)
                }
                Attack::Replay => self.replay(chance),
                _ => false,
            };
            hits += usize::from(is_hit);
        }
        Ok(hits)
    }

    fn resize(&self, bytes: u64) -> Result<(), String> {
        fs::set_size(self.object.as_file(), bytes).map_err(|error| error.to_string())
    }

    fn punch(&self) -> Result<(), String> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let bytes = i64::try_from(self.region_bytes).unwrap_or_default();
        fallocate(self.object.as_file(), flags, 0, bytes).map_err(|errno| errno.to_string())
    }

    /// A store into the region; it is no failure of the attack if it is refused.
    fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        self.object.write_at(bytes, offset).is_ok()
    }

    /// Says that all slots have been read, and wakes the server.
    fn release_all(&self) {
        let mut written = [0; 4];
        if self.object.read_at(&mut written, WRITTEN).is_ok() {
            self.write(READ, &written);
            self.write(SEMAPHORES[1], &1_u32.to_le_bytes());
            self.wake();
        }
    }

    fn wake(&self) -> bool {
        let mut is_hit = false;
        for offset in SEMAPHORES {
            let offset = usize::try_from(offset).unwrap_or_default();
            let word = self.addresses.as_ptr().wrapping_add(offset).cast::<u32>();
            // The page is gone, often enough.
            is_hit |= futex::wake(word, 1).is_ok();
        }
        is_hit
    }

    /// Single bytes far from each other: each lock is a node of its own in the kernel.
    fn lock(&self) -> Result<(), String> {
        let number = |index: u64| Range::byte(2 + 2 * index);
        for index in 0..40_000 {
            let taken = lease::try_take(self.object.as_file(), number(index), Kind::Write, "region");
            let is_taken = taken.map_err(|error| error.to_string())?;
            if is_taken && index == 0 {
                // The others take longer than some attackers live.
                eprint!("{DEED}");
            }
            if index % 256 == 0 && !self.offer.server_leased().unwrap_or(false) {
                break;
            }
        }
        lease::release(self.object.as_file(), Range { start: 2, len: 0 }, "region")
            .map_err(|error| error.to_string())
    }

    fn replay(&self, chance: &mut Chance) -> bool {
        let mut message = self.message.clone();
        if chance.below(4) > 0 {
            let (byte, bit) = (chance.below(message.len()), chance.below(8));
            message[byte] ^= 1 << bit;
        }
        let deadline = Some(Instant::now() + ATTACH_PATIENCE);
        self.queue.send(&message, PRIORITY_MAX, deadline).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_of_the_protocol() {
        let message = request(&[7; 32], 3, 4096, b"ab");
        assert_eq!(message.len(), REQUEST_BYTES + 2);
        assert_eq!(&message[..8], b"SHMR\x01\0\x01\0");
        assert_eq!(message[8], 3);
        assert_eq!(&message[48..56], 4096_u64.to_le_bytes());
        assert_eq!(&message[68..72], 2_u32.to_le_bytes());
        assert_eq!(&message[104..], b"ab");
    }
}
