//! Two mappings of one region, as a client and a server have them, and a transfer of records that can be foreseen.
//!
//! Not here: what a hostile peer does meanwhile (`hostile_peer`).

use std::sync::Once;
use std::time::{Duration, Instant};

use shmeld_core::attach::{Attached, Candidate, Offer};
use shmeld_core::layout::{Geometry, Header, Word};
use shmeld_core::ring::{Consumer, Cursor, Producer};
use shmeld_core::wait::{Waited, Words};
use shmeld_core::{Misbehaviour, Region, Window};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, sigbus};
use std::sync::atomic::{AtomicBool, Ordering};

/// No transfer of these tests takes so long unless it hangs.
const TRANSFER_MAX: Duration = Duration::from_secs(60);
/// Each slot begins with the length of what follows.
const LENGTH_BYTES: usize = 4;

/// Installs the SIGBUS guard in this process, which also runs loom: its generators take SIGBUS for themselves when the first model
/// runs, and abort at a fault that is none of theirs. So they come first, and the guard hands on to them what is none of ours.
pub fn install_guard() {
    static BOTH: Once = Once::new();
    BOTH.call_once(|| {
        loom::model::Builder::new().check(|| {});
        sigbus::install().expect("the guard can be installed");
    });
}

/// A region that a client offered and a server joined. Its name is gone already: nothing can be left behind.
pub struct Pair {
    pub client: Offer,
    pub server: Attached,
    /// A third description of the same object, for whoever wants to truncate it.
    pub memory: SharedMemory,
    pub geometry: Geometry,
}

impl Pair {
    pub fn new(region_bytes: u64) -> Self {
        install_guard();
        let mut client = Offer::publish(region_bytes).expect("a region can be made");
        let candidate = Candidate::open(client.id()).expect("the region has a name");
        let raw = candidate.raw_header().expect("the region can be read");
        let header = Header::check(&raw, candidate.stat().bytes).expect("the region is of our format");
        assert_eq!(header.nonce, client.nonce());
        let memory = SharedMemory::open(&client.id().name(), true).expect("the region still has its name");
        let server = candidate
            .attach(header.geometry)
            .expect("the region can be joined");
        client.remove_name();
        assert!(
            client.server_leased().expect("leases can be probed"),
            "the client sees that the server lives"
        );
        assert!(
            server.client_leased().expect("leases can be probed"),
            "the server sees that the client lives"
        );
        Self {
            client,
            server,
            memory,
            geometry: header.geometry,
        }
    }

    /// A further mapping, which the pair knows nothing of.
    pub fn third_mapping(&self) -> Region {
        Region::map(self.memory.as_file(), self.geometry, "region").expect("the region can be mapped again")
    }
}

/// Why a side gave up.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// The region vanished under a load or store, a `post` or a wait.
    Faulted,
    /// The region vanished under a system call.
    Efault,
    /// A sequence word was impossible.
    Misbehaved(Misbehaviour),
    /// The other side gave up, and nothing is left to do: what a free lease tells in earnest.
    PeerEnded,
}

/// Records that both sides know beforehand, one slot each, sent and received by turns with our own copy and with the kernel's.
pub struct Transfer {
    seed: u64,
    records: u32,
    start: u32,
    slice: Duration,
    someone_ended: AtomicBool,
}

impl Transfer {
    pub fn new(seed: u64, records: u32) -> Self {
        let slice = Duration::from_millis(250);
        Self {
            seed,
            records,
            start: 0,
            slice,
            someone_ended: AtomicBool::new(false),
        }
    }

    /// What both sequence words begin with; see also [`Transfer::set_start`].
    pub fn starting_at(self, start: u32) -> Self {
        Self { start, ..self }
    }

    /// How long a side sleeps before it looks whether the other one gave up.
    pub fn in_slices_of(self, slice: Duration) -> Self {
        Self { slice, ..self }
    }

    /// Puts both sequence words where this transfer starts. Before both sides begin.
    pub fn set_start(&self, region: &Region) {
        region.store(Word::Written, self.start, Ordering::Relaxed);
        region.store(Word::Read, self.start, Ordering::Relaxed);
    }

    /// The server's side: fills slots.
    pub fn send(&self, region: &Region) -> Result<(), End> {
        let _ending = Ending(&self.someone_ended);
        let capacity = region.geometry().slot_count();
        let mut producer = Producer::with_cursor(Cursor::new(capacity, capacity).starting_at(self.start));
        let scratch = scratch_file();
        for number in 0..self.records {
            let record = Record::new(self.seed, number, region.geometry().slot_bytes() - LENGTH_BYTES);
            self.wait(|slice_end| {
                let waited = producer.wait_free(region, slice_end);
                waited.map(|waited| (waited, producer.free_slots(region)))
            })?;
            record.write(region.slot(producer.index()), &scratch)?;
            unless_faulted(region)?;
            producer.publish(region).map_err(|_| End::Faulted)?;
            unless_faulted(region)?;
        }
        Ok(())
    }

    /// The client's side: empties slots.
    ///
    /// # Panics
    /// If anything else comes out than what was sent.
    pub fn receive(&self, region: &Region) -> Result<(), End> {
        let _ending = Ending(&self.someone_ended);
        let capacity = region.geometry().slot_count();
        let mut consumer = Consumer::with_cursor(Cursor::new(capacity, 0).starting_at(self.start));
        let scratch = scratch_file();
        for number in 0..self.records {
            let record = Record::new(self.seed, number, region.geometry().slot_bytes() - LENGTH_BYTES);
            self.wait(|slice_end| {
                let waited = consumer.wait_filled(region, slice_end, || false);
                waited.map(|waited| (waited, consumer.filled_slots(region)))
            })?;
            let found = record.read(region.slot(consumer.index()), &scratch)?;
            unless_faulted(region)?;
            assert!(
                found == record.bytes,
                "record {number} of {} bytes is not what was sent",
                record.bytes.len()
            );
            consumer.release(region).map_err(|_| End::Faulted)?;
            unless_faulted(region)?;
        }
        Ok(())
    }

    /// Waits slice by slice; `wait` also tells how many slots are ready after its slice.
    fn wait(
        &self,
        mut wait: impl FnMut(Instant) -> Result<(Waited, Result<u32, Misbehaviour>), Misbehaviour>,
    ) -> Result<(), End> {
        let give_up = Instant::now() + TRANSFER_MAX;
        loop {
            // Acquire: pairs with the Release in `Ending`. What the other side published before it ended is seen by the wait below.
            let is_last_look = self.someone_ended.load(Ordering::Acquire);
            match wait(Instant::now() + self.slice).map_err(End::Misbehaved)? {
                (Waited::Ready, _) => return Ok(()),
                (Waited::Faulted, _) => return Err(End::Faulted),
                (Waited::SliceOver, Ok(0)) if is_last_look => return Err(End::PeerEnded),
                (Waited::SliceOver, Err(misbehaviour)) => return Err(End::Misbehaved(misbehaviour)),
                (Waited::SliceOver, Ok(_)) => assert!(Instant::now() < give_up, "this transfer hangs"),
            }
        }
    }
}

/// Tells the other side that this one is over, however it came to that.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn unless_faulted(region: &Region) -> Result<(), End> {
    if region.faulted() {
        Err(End::Faulted)
    } else {
        Ok(())
    }
}

fn scratch_file() -> SharedMemory {
    SharedMemory::create_unnamed().expect("a file without a name can be made")
}

/// One record, made from its number.
struct Record {
    bytes: Vec<u8>,
    sent_by_kernel: bool,
    received_by_kernel: bool,
}

impl Record {
    fn new(seed: u64, number: u32, len_max: usize) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x1_0000_0001).wrapping_add(u64::from(number)));
        let choices = random.next();
        // The edges come often; otherwise all lengths are equally likely.
        let len = match choices % 8 {
            0 => 0,
            1 => 1,
            2 => len_max,
            3 => len_max - 1,
            _ => random.below(len_max + 1),
        };
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&random.next().to_le_bytes());
        }
        bytes.truncate(len);
        Self {
            bytes,
            sent_by_kernel: choices & 0x100 != 0,
            received_by_kernel: choices & 0x200 != 0,
        }
    }

    fn write(&self, slot: Window<'_>, scratch: &SharedMemory) -> Result<(), End> {
        let len = u32::try_from(self.bytes.len()).expect("a slot is smaller than 4 GiB");
        slot.write(0, &len.to_le_bytes());
        if !self.sent_by_kernel {
            slot.write(LENGTH_BYTES, &self.bytes);
            return Ok(());
        }
        scratch
            .write_at(&self.bytes, 0)
            .expect("a scratch file can be written");
        move_all(self.bytes.len(), |done, left| {
            slot.fill_from(LENGTH_BYTES + done, left, scratch.as_file(), done as u64)
        })
    }

    /// What the slot holds, as long as its length is the one expected.
    fn read(&self, slot: Window<'_>, scratch: &SharedMemory) -> Result<Vec<u8>, End> {
        let mut len = [0; LENGTH_BYTES];
        slot.read(0, &mut len);
        let mut bytes = vec![0; self.bytes.len()];
        if u32::from_le_bytes(len) as usize != bytes.len() {
            return Ok(Vec::new());
        }
        if !self.received_by_kernel {
            slot.read(LENGTH_BYTES, &mut bytes);
            return Ok(bytes);
        }
        move_all(bytes.len(), |done, left| {
            slot.drain_to(LENGTH_BYTES + done, left, scratch.as_file(), Some(done as u64))
        })?;
        scratch
            .read_at(&mut bytes, 0)
            .expect("a scratch file can be read");
        Ok(bytes)
    }
}

/// Repeats a system call that may do less than asked until all is done.
fn move_all(len: usize, mut step: impl FnMut(usize, usize) -> Result<usize, Errno>) -> Result<(), End> {
    let mut done = 0;
    while done < len {
        match step(done, len - done) {
            Ok(count) => done += count,
            Err(Errno::FAULT) => return Err(End::Efault),
            Err(errno) => panic!("only the region may fail, not the file: {errno}"),
        }
    }
    Ok(())
}

/// A generator of the xorshift family: the same numbers each time, on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed ^ 0x9e37_79b9_7f4a_7c15);
        random.next();
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.max(1);
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}
