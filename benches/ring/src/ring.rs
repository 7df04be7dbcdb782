//! Ours: two regions of shmeld-core, one for each direction, used as a user of the library must.
//!
//! The regions have no name and so leave nothing behind: the peer opens them by the number of our
//! descriptor. What `Offer` and `Candidate` add, leases and the state word, is not touched by a message.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::time::Instant;

use shmeld_core::layout::Geometry;
use shmeld_core::ring::{Consumer, Producer};
use shmeld_core::wait::{SLICE, Waited};
use shmeld_core::{Misbehaviour, Region};
use shmeld_os::posix::shm::SharedMemory;

use crate::channel::{Channel, Outcome};

/// As many as a region that the library divides has.
const SLOTS: u64 = 4;
const PAGE_BYTES: u64 = 4096;

/// An unnamed object that both processes map.
pub struct Memory {
    file: File,
    bytes: u64,
}

impl Memory {
    /// A new one, every page of it allocated.
    pub fn create(bytes: u64) -> Outcome<Self> {
        let memory = SharedMemory::create_unnamed()?;
        memory.reserve(bytes)?;
        Ok(Self {
            file: memory.into_file(),
            bytes,
        })
    }

    /// The peer's, found by the path that it passed.
    pub fn open(path: &str) -> Outcome<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// Where the peer finds it while this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Its descriptor.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How large a region must be for four slots that hold a message of `message_bytes`.
pub fn region_bytes(message_bytes: usize) -> u64 {
    PAGE_BYTES + SLOTS * (message_bytes as u64).next_multiple_of(PAGE_BYTES)
}

/// One process's end of both rings.
pub struct RingEnd {
    outgoing: Region,
    incoming: Region,
    producer: Producer,
    consumer: Consumer,
    /// A message was copied out whose slot has not been given back.
    is_taken: bool,
    /// Renewed when it is over, not for each message: a look at the clock takes as long as a line needs from
    /// CPU to CPU.
    slice_end: Instant,
}

impl RingEnd {
    /// Maps both regions.
    pub fn new(outgoing: &Memory, incoming: &Memory) -> Outcome<Self> {
        let map = |memory: &Memory| -> Outcome<Region> {
            let geometry = Geometry::for_region(memory.bytes())?;
            Ok(Region::map(memory.file(), geometry, "the benchmark's region")?)
        };
        let (outgoing, incoming) = (map(outgoing)?, map(incoming)?);
        Ok(Self {
            producer: Producer::new(outgoing.geometry().slot_count()),
            consumer: Consumer::new(incoming.geometry().slot_count()),
            outgoing,
            incoming,
            is_taken: false,
            slice_end: Instant::now() + SLICE,
        })
    }
}

/// What a user's loop does between two waits: here it only takes the next slice.
fn next_slice(waited: Waited, slice_end: Instant) -> Outcome<Instant> {
    match waited {
        Waited::Ready => Ok(slice_end),
        Waited::SliceOver => Ok(Instant::now() + SLICE),
        Waited::Faulted => Err(Misbehaviour::Vanished.into()),
    }
}

impl Channel for RingEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Outcome<()> {
        while !self.producer.is_free(&self.outgoing)? {
            let waited = self.producer.wait_free(&self.outgoing, self.slice_end)?;
            self.slice_end = next_slice(waited, self.slice_end)?;
        }
        self.outgoing.slot(self.producer.index()).write(0, message);
        self.producer.publish(&self.outgoing)?;
        self.give_back()
    }

    #[inline]
    fn receive(&mut self, message: &mut [u8]) -> Outcome<()> {
        self.give_back()?;
        while !self.consumer.is_filled(&self.incoming)? {
            let waited = self
                .consumer
                .wait_filled(&self.incoming, self.slice_end, || false)?;
            self.slice_end = next_slice(waited, self.slice_end)?;
        }
        self.incoming.slot(self.consumer.index()).read(0, message);
        // Bytes are believed only if the memory was there while they were copied.
        if self.incoming.faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        self.is_taken = true;
        Ok(())
    }
}

impl RingEnd {
    /// Gives the slot read last back: after the answer, because the post waits until our store has reached
    /// the peer's CPU.
    #[inline]
    fn give_back(&mut self) -> Outcome<()> {
        if std::mem::take(&mut self.is_taken) {
            self.consumer.release(&self.incoming)?;
        }
        Ok(())
    }
}
