//! The client's side of the ring as a stream of records. Every header is copied out once and checked before anything follows from it.

use shmeld_core::ring::Consumer;
use shmeld_core::{Misbehaviour, Region, Window};
use shmeld_os::explain;
use zerocopy::FromBytes;

use super::record::{Kind, RECORD_BYTES, RawRecord, Record};

/// A stream of records out of the region of one session.
#[derive(Debug)]
pub(super) struct SlotReader {
    pub(super) consumer: Consumer,
    /// Whether a slot is being read, and where its next record begins.
    in_slot: bool,
    at: usize,
    /// Whether a slot has been given back already: only the first one is narrated.
    has_released: bool,
}

impl SlotReader {
    pub(super) fn new(region: &Region) -> Self {
        Self {
            consumer: Consumer::new(region.geometry().slot_count()),
            in_slot: false,
            at: 0,
            has_released: false,
        }
    }

    /// Whether a record can be read without waiting.
    pub(super) fn is_ready(&mut self, region: &Region) -> Result<bool, Misbehaviour> {
        Ok(self.in_slot || self.consumer.is_filled(region)?)
    }

    /// The next record, if a slot is ready. [`SlotReader::finish`] must follow before the next one.
    pub(super) fn next(&mut self, region: &Region) -> Result<Option<Record>, Misbehaviour> {
        loop {
            if !self.in_slot {
                if !self.consumer.is_filled(region)? {
                    return Ok(None);
                }
                (self.in_slot, self.at) = (true, 0);
            }
            match self.header(region)? {
                Some(record) if record.kind == Kind::Pad => self.at += RECORD_BYTES + record.stride(),
                Some(record) => return Ok(Some(record)),
                None => self.release(region)?,
            }
        }
    }

    /// The record at the present position; `None` at the slot's end.
    fn header(&self, region: &Region) -> Result<Option<Record>, Misbehaviour> {
        let window = self.window(region);
        if window.len().saturating_sub(self.at) < RECORD_BYTES {
            return Ok(None);
        }
        let mut bytes = [0; RECORD_BYTES];
        window.read(self.at, &mut bytes);
        let raw =
            RawRecord::read_from_bytes(&bytes[..]).unwrap_or_else(|_| unreachable!("the sizes are equal"));
        let record = Record::check(&raw, window.len() - self.at - RECORD_BYTES)?;
        Ok((record.kind != Kind::Stop).then_some(record))
    }

    fn window<'r>(&self, region: &'r Region) -> Window<'r> {
        region.slot(self.consumer.index())
    }

    /// The slot that holds the payload of the record last returned, and where in it the payload begins.
    pub(super) fn payload<'r>(&self, region: &'r Region) -> (Window<'r>, usize) {
        (self.window(region), self.at + RECORD_BYTES)
    }

    /// Goes past a record. A slot that is used up goes back to the server at once.
    pub(super) fn finish(&mut self, region: &Region, record: &Record) -> Result<(), Misbehaviour> {
        self.at += RECORD_BYTES + record.stride();
        if self.header(region)?.is_none() {
            self.release(region)
        } else {
            Ok(())
        }
    }

    fn release(&mut self, region: &Region) -> Result<(), Misbehaviour> {
        self.in_slot = false;
        if !std::mem::replace(&mut self.has_released, true) {
            let why =
                "read = 1, then a post: the first slot is empty again (told once; so it goes for every slot)";
            explain!("sem_post", "semaphore free", why);
        }
        if region.faulted() {
            return Err(Misbehaviour::Vanished);
        }
        self.consumer.release(region).map_err(|_| Misbehaviour::Vanished)
    }
}
