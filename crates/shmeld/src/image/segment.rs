//! One of the two segments: read and written through its descriptor, because a peer may make it shorter at any moment.

use shmeld_os::fs::Stat;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ObjectName, fs};

use crate::Result;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    memory: SharedMemory,
}

impl Segment {
    /// What has this name now. Its owner is for the caller to judge.
    pub(super) fn open(name: &ObjectName) -> Result<Self> {
        let memory = SharedMemory::open(name, true)?;
        Ok(Self { memory })
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        Ok(self.memory.stat()?)
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Reads the whole of `buffer` from the start; how much came if the segment is shorter.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Result<(), usize>> {
        let mut done = 0;
        while done < buffer.len() {
            match self.memory.read_at(&mut buffer[done..], done as u64)? {
                0 => return Ok(Err(done)),
                count => done += count,
            }
        }
        Ok(Ok(()))
    }

    /// Writes all of `bytes` to the start. The segment grows if it is shorter, and never shrinks.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        let fail = |errno: Errno| shmeld_os::Error::new("pwrite", self.memory.label(), errno);
        Ok(fs::write_all_at(&self.memory, bytes, 0).map_err(fail)?)
    }
}
