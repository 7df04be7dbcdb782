//! Slots that a server has filled once and for all, with whatever the input says: the memory of the target `record`.

use std::cell::Cell;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::Words;
use shmeld_os::Errno;
use shmeld_os::futex::{Faulted, Wake};

use super::super::incoming::Supply;
use super::super::slots::Slots;
use crate::{Error, Result};

/// See the module. The last slot is filled up with zeros: it ends there.
pub(in crate::file) struct Filled<'d> {
    bytes: &'d [u8],
    pub(super) slot_bytes: usize,
}

impl<'d> Filled<'d> {
    pub(in crate::file) fn new(bytes: &'d [u8], slot_bytes: usize) -> Self {
        Self { bytes, slot_bytes }
    }

    /// The payload of a record that has been found to lie in its slot.
    pub(super) fn payload(&self, slot: u32, at: usize, len: usize) -> Vec<u8> {
        let mut payload = vec![0; len];
        self.read(slot, at, &mut payload);
        payload
    }
}

impl Words for Filled<'_> {
    fn load(&self, word: Word, _: Ordering) -> u32 {
        if word == Word::Written {
            self.slot_count()
        } else {
            0
        }
    }
    fn store(&self, _: Word, _: u32, _: Ordering) {}
    fn swap(&self, _: Word, _: u32, _: Ordering) -> u32 {
        0
    }
    fn fetch_add(&self, _: Word, _: u32, _: Ordering) -> u32 {
        0
    }
    fn futex_wait(&self, _: Word, _: u32, _: Duration) -> Wake {
        Wake::TimedOut
    }
    fn futex_wake(&self, _: Word) -> Result<u32, Faulted> {
        Ok(0)
    }
    fn faulted(&self) -> bool {
        false
    }
}

impl Slots for Filled<'_> {
    fn slot_count(&self) -> u32 {
        self.bytes.len().div_ceil(self.slot_bytes).max(1) as u32
    }
    fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }
    fn read(&self, slot: u32, at: usize, bytes: &mut [u8]) {
        assert!(slot < self.slot_count() && at + bytes.len() <= self.slot_bytes);
        let start = (slot as usize * self.slot_bytes + at).min(self.bytes.len());
        let there = bytes.len().min(self.bytes.len() - start);
        bytes.fill(0);
        bytes[..there].copy_from_slice(&self.bytes[start..start + there]);
    }
    fn write(&self, _: u32, _: usize, _: &[u8]) {
        panic!("a client has nothing to write in a slot");
    }
    fn cancelled_up_to(&self) -> u64 {
        0
    }
}

/// The payload of the present record, and a caller who stops after some pieces.
pub(super) struct Present<'p> {
    pub(super) payload: &'p [u8],
    pub(super) pieces_left: Cell<u32>,
}

impl Supply for Present<'_> {
    fn copy_to(&self, target: &mut [u8]) {
        target.copy_from_slice(self.payload);
    }
    fn move_to(&self, _: usize, _: usize, _: BorrowedFd<'_>, _: Option<u64>) -> Result<usize, Errno> {
        panic!("there is no file to move bytes to");
    }
    fn go_on(&self) -> Result<()> {
        let left = self.pieces_left.get().checked_sub(1).ok_or(Error::Interrupted)?;
        self.pieces_left.set(left);
        Ok(())
    }
}
