//! One file as it arrives at the client: its bytes in order, moved to where they belong, and the check at its end.
//!
//! From large slots the kernel writes straight into the file. From small slots the bytes are collected first, because a system call for
//! each 3,744 bytes would cost more than the copy.

use std::os::fd::BorrowedFd;

use shmeld_core::Misbehaviour;
use shmeld_os::{Errno, Error as OsError};

use super::client::Client;
use super::collected::Collected;
use super::output::OutputFile;
use super::prefix::Start;
use super::record::{DIRECT_SLOT_BYTES_MIN, Entry, Record};
use crate::{Error, Result};

/// Where the payload of the present record is had from, and the caller's wish to stop be heard of: a session, or a fuzz target.
pub(super) trait Supply {
    /// Copies as much of the payload out as `target` takes.
    fn copy_to(&self, target: &mut [u8]);
    /// Moves a part of the payload to a file, kernel to kernel. `EFAULT` blames the server.
    fn move_to(
        &self,
        skip: usize,
        len: usize,
        file: BorrowedFd<'_>,
        position: Option<u64>,
    ) -> Result<usize, Errno>;
    /// Fails if the caller wants to stop.
    fn go_on(&self) -> Result<()>;
}

impl Supply for Client {
    fn copy_to(&self, target: &mut [u8]) {
        self.payload_into(target);
    }
    fn move_to(
        &self,
        skip: usize,
        len: usize,
        file: BorrowedFd<'_>,
        position: Option<u64>,
    ) -> Result<usize, Errno> {
        self.drain(skip, len, file, position)
    }
    fn go_on(&self) -> Result<()> {
        self.check_interrupt()
    }
}

/// Where the bytes go.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file or stream.
    Output(OutputFile),
    /// The caller; here is what it has not fetched yet.
    Caller(Vec<u8>),
    /// Nowhere.
    Nowhere,
    /// Nowhere, because what it belongs to cannot be stored: that has been said already.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Incoming {
    name: Vec<u8>,
    entry: Entry,
    sink: Sink,
    /// Position of the next byte expected.
    position: u64,
    hasher: Option<Box<blake3::Hasher>>,
    slot_bytes: usize,
    is_direct: bool,
    error: Option<Error>,
    has_failed: bool,
}

impl Incoming {
    pub(super) fn new(
        name: Vec<u8>,
        entry: Entry,
        sink: Sink,
        start: Start,
        slot_bytes: usize,
        error: Option<Error>,
    ) -> Self {
        let Start { position, hasher } = start;
        // Bytes that are to be hashed are hashed in private memory: in the region they could change afterwards.
        let is_file = !matches!(sink, Sink::Caller(_));
        let is_direct = is_file && slot_bytes >= DIRECT_SLOT_BYTES_MIN && hasher.is_none();
        let has_failed = matches!(sink, Sink::Failed) || error.is_some();
        Self {
            name,
            entry,
            sink,
            position,
            hasher,
            slot_bytes,
            is_direct,
            error,
            has_failed,
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }
    pub(super) fn size(&self) -> u64 {
        self.entry.size
    }
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }
    /// The failure, once.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.error.take()
    }

    /// What has come for the caller since the last time.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        match &mut self.sink {
            Sink::Caller(bytes) => std::mem::take(bytes),
            _ => Vec::new(),
        }
    }
    pub(super) fn is_for_caller(&self) -> bool {
        matches!(self.sink, Sink::Caller(_))
    }

    fn fail(&mut self, errno: Errno) {
        let object = match &self.sink {
            Sink::Output(output) => output.label(),
            _ => shmeld_os::name::escape(&self.name),
        };
        let error = OsError::new("write", object, errno);
        (self.error, self.has_failed) = (Some(error.into()), true);
        // Dropping the output removes what there is of it.
        self.sink = Sink::Nowhere;
    }

    fn advance(&mut self, record: &Record, len: u64) -> Result<u64> {
        let start = self.position;
        let end = start.checked_add(len).filter(|end| *end <= self.entry.size);
        match end {
            Some(end) if record.offset == start => {
                self.position = end;
                Ok(start)
            }
            _ => Err(Misbehaviour::Record("bytes out of order or beyond the size").into()),
        }
    }

    /// Takes the bytes of a DATA record, the next after what `collected` holds. Returns how many bytes got where they belong.
    pub(super) fn data(
        &mut self,
        supply: &impl Supply,
        collected: &mut Collected,
        record: &Record,
    ) -> Result<u64> {
        let start = self.advance(record, record.length as u64)?;
        if self.has_failed || matches!(self.sink, Sink::Nowhere) && self.hasher.is_none() {
            return Ok(record.length as u64);
        }
        if self.is_direct {
            self.drain(supply, record, start)?;
            return Ok(record.length as u64);
        }
        if let (Sink::Caller(bytes), None, []) = (&mut self.sink, &self.hasher, collected.bytes())
            && record.length >= DIRECT_SLOT_BYTES_MIN
        {
            // Once copied, not twice.
            let old = bytes.len();
            bytes.resize(old + record.length, 0);
            supply.copy_to(&mut bytes[old..]);
            return Ok(record.length as u64);
        }
        supply.copy_to(collected.extend(record.length));
        Ok(0)
    }

    /// Kernel to kernel. A short write is repeated for the rest: only that tells a lost page from a full disk.
    fn drain(&mut self, supply: &impl Supply, record: &Record, start: u64) -> Result<()> {
        let mut moved = 0;
        while moved < record.length {
            let Sink::Output(output) = &mut self.sink else {
                return Ok(());
            };
            let (file, position) = output.target(start + moved as u64);
            match supply.move_to(moved, record.length - moved, file, position) {
                Ok(0) => self.fail(Errno::IO),
                Ok(bytes) => {
                    moved += bytes;
                    output.written_to(start + moved as u64);
                }
                Err(Errno::FAULT) => return Err(Misbehaviour::Vanished.into()),
                Err(errno) => self.fail(errno),
            }
        }
        Ok(())
    }

    /// Writes what has been collected, if it is time; returns how many bytes that was. Called when the slot has gone back to the server,
    /// which then reads on meanwhile.
    pub(super) fn settle(&mut self, collected: &mut Collected) -> u64 {
        if !collected.is_due(self.position, self.slot_bytes) {
            return 0;
        }
        let bytes = collected.bytes().len() as u64;
        self.write(collected);
        bytes
    }

    /// The same whether it is time or not.
    pub(super) fn settle_all(&mut self, collected: &mut Collected) {
        self.write(collected);
    }

    fn write(&mut self, collected: &mut Collected) {
        let bytes = collected.bytes();
        if bytes.is_empty() {
            return;
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        let start = self.position - bytes.len() as u64;
        match &mut self.sink {
            Sink::Output(output) => {
                if let Err(errno) = output.write(start, bytes) {
                    self.fail(errno);
                }
            }
            Sink::Caller(taken) => taken.extend_from_slice(bytes),
            Sink::Nowhere | Sink::Failed => {}
        }
        collected.clear();
    }

    /// Takes a run of zeros.
    pub(super) fn hole(
        &mut self,
        supply: &impl Supply,
        collected: &mut Collected,
        record: &Record,
    ) -> Result<()> {
        self.write(collected);
        self.advance(record, record.extent)?;
        if let Some(hasher) = &mut self.hasher {
            super::digest::hash_zeros(hasher, record.extent, || supply.go_on().map(|()| true))?;
        }
        if let Sink::Output(output) = &mut self.sink
            && let Err(errno) = output.hole(record.extent, || supply.go_on().is_ok())
        {
            // An interrupted stream lacks bytes: the transfer ends here and is not reported as delivered.
            supply.go_on()?;
            self.fail(errno);
        }
        Ok(())
    }

    /// The file has ended well on the server's side: checks that all of it arrived, and lets it appear. What has come for the caller has been
    /// [settled](Incoming::settle_all) and taken before.
    pub(super) fn complete(
        mut self,
        collected: &mut Collected,
        record: &Record,
        digest: &[u8],
    ) -> Result<Result<(), Error>> {
        self.write(collected);
        if let Some(error) = self.error.take() {
            return Ok(Err(error));
        }
        if self.position != self.entry.size || record.offset != self.entry.size {
            return Err(Misbehaviour::Record("an END before the end").into());
        }
        if let Some(hasher) = &self.hasher
            && hasher.finalize().as_bytes() != digest
        {
            if let Sink::Output(output) = self.sink {
                output.discard();
            }
            return Ok(Err(Error::Digest));
        }
        match self.sink {
            Sink::Output(output) => Ok(output.finish(&self.entry)),
            Sink::Caller(_) | Sink::Nowhere | Sink::Failed => Ok(Ok(())),
        }
    }
}
