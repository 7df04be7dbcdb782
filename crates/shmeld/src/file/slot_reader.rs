//! The client's side of the ring as a stream of records. Every header is copied out once and checked before anything follows from it.

use shmeld_core::ring::Consumer;
use shmeld_core::{Misbehaviour, Region, Window};
use shmeld_os::explain;
use zerocopy::FromBytes;

use super::record::{Kind, RECORD_BYTES, RawRecord, Record};
use super::slots::Slots;

/// A stream of records out of the region of one session.
#[derive(Debug)]
pub(super) struct SlotReader {
    pub(super) consumer: Consumer,
    /// Whether a slot is being read, and where its next record begins.
    is_in_slot: bool,
    at: usize,
    /// Whether a slot has been given back already: only the first one is narrated.
    has_released: bool,
}

impl SlotReader {
    pub(super) fn new(slots: &impl Slots) -> Self {
        Self {
            consumer: Consumer::new(slots.slot_count()),
            is_in_slot: false,
            at: 0,
            has_released: false,
        }
    }

    /// Whether a record can be read without waiting.
    pub(super) fn is_ready(&mut self, slots: &impl Slots) -> Result<bool, Misbehaviour> {
        Ok(self.is_in_slot || self.consumer.is_filled(slots)?)
    }

    /// The next record, if a slot is ready. [`SlotReader::finish`] must follow before the next one.
    ///
    /// A slot without a record is given back and ends the look: a server could publish such slots without end, and the caller must get the
    /// chance to stop.
    pub(super) fn next(&mut self, slots: &impl Slots) -> Result<Option<Record>, Misbehaviour> {
        if !self.is_in_slot {
            if !self.consumer.is_filled(slots)? {
                return Ok(None);
            }
            (self.is_in_slot, self.at) = (true, 0);
        }
        loop {
            match self.header(slots)? {
                Some(record) if record.kind == Kind::Pad => self.at += RECORD_BYTES + record.stride(),
                Some(record) => return Ok(Some(record)),
                None => return self.release(slots).map(|()| None),
            }
        }
    }

    /// The record at the present position; `None` at the slot's end.
    fn header(&self, slots: &impl Slots) -> Result<Option<Record>, Misbehaviour> {
        let left = slots.slot_bytes().saturating_sub(self.at);
        if left < RECORD_BYTES {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_BYTES];
        slots.read(self.consumer.index(), self.at, &mut bytes);
        let raw =
            RawRecord::read_from_bytes(&bytes[..]).unwrap_or_else(|_| unreachable!("the sizes are equal"));
        let record = Record::check(&raw, left - RECORD_BYTES)?;
        Ok((record.kind != Kind::Stop).then_some(record))
    }

    /// The slot that holds the payload of the record last returned, and where in it the payload begins.
    pub(super) fn payload<'r>(&self, region: &'r Region) -> (Window<'r>, usize) {
        let (slot, at) = self.payload_place();
        (region.slot(slot), at)
    }

    /// The number of that slot, and where in it the payload begins.
    pub(super) fn payload_place(&self) -> (u32, usize) {
        (self.consumer.index(), self.at + RECORD_BYTES)
    }

    /// Goes past a record. A slot that is used up goes back to the server at once.
    pub(super) fn finish(&mut self, slots: &impl Slots, record: &Record) -> Result<(), Misbehaviour> {
        self.at += RECORD_BYTES + record.stride();
        if self.header(slots)?.is_none() {
            self.release(slots)
        } else {
            Ok(())
        }
    }

    fn release(&mut self, slots: &impl Slots) -> Result<(), Misbehaviour> {
        self.is_in_slot = false;
        if !std::mem::replace(&mut self.has_released, true) {
            let why =
                "read = 1, then a post: the first slot is empty again (told once; so it goes for every slot)";
            explain!("sem_post", "semaphore free", why);
        }
        if slots.faulted() {
            return Err(Misbehaviour::Vanished);
        }
        self.consumer.release(slots).map_err(|_| Misbehaviour::Vanished)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::filled::Filled;
    use super::*;

    /// A server that published one slot after the other without a record in it kept the client in a single look for as long as it liked:
    /// no slice ended, nobody looked at leases, at clocks, or at the user's wish to stop.
    #[test]
    fn a_slot_without_a_record_is_given_back_and_ends_the_look() {
        const SLOTS: usize = 3;
        const SLOT_BYTES: usize = 192;
        let memory = Filled::new(&[0; SLOTS * SLOT_BYTES], SLOT_BYTES);
        let mut reader = SlotReader::new(&memory);
        for used in 1..=SLOTS {
            assert_eq!(reader.is_ready(&memory), Ok(true));
            assert_eq!(reader.next(&memory), Ok(None));
            assert_eq!(reader.payload_place().0 as usize, used % SLOTS);
        }
        assert_eq!(reader.is_ready(&memory), Ok(false));
    }
}
