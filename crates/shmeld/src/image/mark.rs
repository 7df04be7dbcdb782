//! Which segments a semaphore of a channel belongs to. A requester of ours notes it in both of its semaphores before they have names, behind
//! the bytes that glibc uses; a program that knows nothing of it leaves zeros there. So four objects of which this is true were made by one of
//! ours, and none of them has been replaced since.

use std::os::fd::AsFd;

use shmeld_os::fs::{self, Stat};
use shmeld_os::posix::kernel_semaphore::{NOTE_BYTES, NOTE_OFFSET};

/// The last bytes of the semaphore's file: before them providers count themselves.
const BYTES: usize = 8;
const OFFSET: usize = NOTE_OFFSET + NOTE_BYTES - BYTES;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark([u8; BYTES]);

impl Mark {
    /// Of what belongs to these two segments: the low halves of their numbers.
    pub(crate) fn of(head: &Stat, data: &Stat) -> Self {
        let low_half = |stat: &Stat| (stat.ino & u64::from(u32::MAX)).to_le_bytes();
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&low_half(head)[..4]);
        bytes[4..].copy_from_slice(&low_half(data)[..4]);
        Self(bytes)
    }

    /// As it stands in the file of a semaphore; `None` if there is none.
    pub(crate) fn read(semaphore: impl AsFd) -> Option<Self> {
        let mut bytes = [0; BYTES];
        let count = fs::read_at(semaphore, &mut bytes, OFFSET as u64).ok()?;
        (count == BYTES && bytes != [0; BYTES]).then_some(Self(bytes))
    }

    /// For a semaphore that is about to be made.
    pub(super) fn as_note(self) -> [u8; NOTE_BYTES] {
        let mut note = [0; NOTE_BYTES];
        note[OFFSET - NOTE_OFFSET..].copy_from_slice(&self.0);
        note
    }
}
