//! One of the two segments. A peer may make it shorter at any moment, so it is read and written through its descriptor; or, what is long, by
//! copies of our own from and into a mapping, if the guard against vanishing memory is installed, as our programs do: that is three times as fast
//! as the system calls, which look up every page. The mapping is kept until more is needed.

use std::sync::{Mutex, PoisonError};

use shmeld_core::Memory;
use shmeld_os::fs::Stat;
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ObjectName, explain, fs, sigbus};

use crate::Result;

/// From here on a mapping pays.
const MAPPED_BYTES_MIN: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    memory: SharedMemory,
    /// Never held while anything is waited for; what a panic leaves in it is still a mapping.
    mapped: Mutex<Option<Memory>>,
}

impl Segment {
    /// What has this name now. Its owner is for the caller to judge.
    pub(super) fn open(name: &ObjectName) -> Result<Self> {
        let memory = SharedMemory::open(name, true)?;
        Ok(Self {
            memory,
            mapped: Mutex::default(),
        })
    }

    pub(super) fn stat(&self) -> Result<Stat> {
        Ok(self.memory.stat()?)
    }

    pub(super) fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Reads the whole of `buffer` from the start; how much came if the segment is shorter.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Result<(), usize>> {
        if self.copy(buffer.len(), |mapped| mapped.read(0, buffer))? {
            return Ok(Ok(()));
        }
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
        if self.copy(bytes.len(), |mapped| mapped.write(0, bytes))? {
            return Ok(());
        }
        let fail = |errno: Errno| shmeld_os::Error::new("pwrite", self.memory.label(), errno);
        Ok(fs::write_all_at(&self.memory, bytes, 0).map_err(fail)?)
    }

    /// Copies the first `len` bytes by way of the mapping; `false` if that cannot be: the system calls do it then, or say why not.
    fn copy(&self, len: usize, through: impl FnOnce(&Memory)) -> Result<bool> {
        if len < MAPPED_BYTES_MIN || !sigbus::is_installed() {
            return Ok(false);
        }
        // Beyond its end memory faults. What is cut off after this look is the guard's.
        if self.stat()?.bytes < len as u64 {
            return Ok(false);
        }
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        if mapped.as_ref().is_none_or(|mapped| mapped.len() < len) {
            explain!(
                "mmap",
                self.memory.label(),
                "mapped once and kept: copying into it costs no system call"
            );
            *mapped = Mapping::new(&self.memory, len, self.memory.label())
                .ok()
                .map(Memory::from);
        }
        let Some(memory) = mapped.as_ref() else {
            return Ok(false);
        };
        through(memory);
        let is_sound = !memory.faulted();
        if !is_sound {
            *mapped = None;
        }
        Ok(is_sound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name in /dev/shm that goes with the test.
    struct Named(ObjectName);

    impl Drop for Named {
        fn drop(&mut self) {
            let _ = SharedMemory::unlink(&self.0);
        }
    }

    fn segment(what: &str) -> (Named, Segment) {
        sigbus::install().unwrap();
        let name = ObjectName::new(&format!("shmeld-segment-{}-{what}", std::process::id())).unwrap();
        SharedMemory::create_new(&name, 0o600).unwrap();
        let segment = Segment::open(&name).unwrap();
        (Named(name), segment)
    }

    #[test]
    fn what_is_long_goes_through_one_mapping_and_comes_out_the_same() {
        let (_named, segment) = segment("long");
        let image = |seed: usize, len: usize| (0..len).map(|at| (at * seed) as u8).collect::<Vec<u8>>();
        for (seed, len) in [
            (1, 1 << 20),
            (3, 1 << 20),
            (5, MAPPED_BYTES_MIN),
            (7, (1 << 20) + 77),
            (9, 5),
        ] {
            let written = image(seed, len);
            segment.write(&written).unwrap();
            let mut read = vec![0; len];
            segment.read(&mut read).unwrap().unwrap();
            assert!(read == written, "{len} bytes");
        }
        let mapped = segment.mapped.lock().unwrap().as_ref().map(Memory::len);
        assert_eq!(mapped, Some((1 << 20) + 77));
    }

    /// The other side cuts the segment off after we looked how long it is.
    #[test]
    fn memory_that_vanishes_under_a_copy_is_a_short_segment_and_no_signal() {
        let (_named, segment) = segment("cut");
        let len = 1 << 20;
        segment.write(&vec![7; len]).unwrap();
        let mut read = vec![0; len];
        segment.read(&mut read).unwrap().unwrap();
        let cut_and_read = |mapped: &Memory| {
            fs::set_size(segment.memory(), 5000).unwrap();
            mapped.read(0, &mut read);
        };
        assert!(
            !segment.copy(len, cut_and_read).unwrap(),
            "what was copied is not believed"
        );
        assert_eq!(segment.read(&mut read).unwrap(), Err(5000));
        segment.write(&vec![8; len]).unwrap();
        segment.read(&mut read).unwrap().unwrap();
        assert!(read.iter().all(|byte| *byte == 8));
    }
}
