//! One chunk, as the records of the local server bring it.

use shmeld::file::record::{Entry, Record};
use shmeld::file::{Client, Refusal, Status};

use crate::local::{Answer, Failure, payload};
use crate::wire::{CHUNK_BYTES, Head, Request};

/// What arrives of one chunk.
#[derive(Debug)]
pub(crate) struct Arriving {
    entry: Entry,
    identity: [u8; 32],
    len: usize,
    body: Vec<u8>,
    /// Zeros so far, not yet in `body`: a chunk of nothing else is not sent.
    zeros: usize,
    hasher: blake3::Hasher,
    end: Option<Refusal>,
}

impl Arriving {
    pub(crate) fn begin(client: &Client, record: &Record, request: Request) -> Result<Self, Failure> {
        let entry = record.entry(&payload(client, record))?;
        let identity = <[u8; 32]>::try_from(entry.text.as_slice())
            .map_err(|_| shmeld::Misbehaviour::Record("a part of a file without an identity"))?;
        let len = entry.size.saturating_sub(request.offset).min(CHUNK_BYTES) as usize;
        let entry = Entry {
            name: Vec::new(),
            text: Vec::new(),
            ..entry
        };
        Ok(Self {
            entry,
            identity,
            len,
            body: Vec::new(),
            zeros: 0,
            hasher: blake3::Hasher::new(),
            end: None,
        })
    }

    /// Takes bytes; hashed here, piece by piece, they are still in the processor's cache.
    pub(crate) fn data(&mut self, client: &Client, record: &Record) -> Result<(), Failure> {
        self.has_room(record.length as u64)?;
        if self.body.capacity() == 0 {
            self.body.reserve_exact(self.len);
        }
        let start = self.body.len();
        self.body.resize(start + std::mem::take(&mut self.zeros), 0);
        client.payload(record, &mut self.body);
        self.hasher.update(&self.body[start..]);
        Ok(())
    }

    pub(crate) fn hole(&mut self, record: &Record) -> Result<(), Failure> {
        self.has_room(record.extent)?;
        self.zeros += record.extent as usize;
        Ok(())
    }

    /// The file came to no good end.
    pub(crate) fn fails(&mut self, refusal: Refusal) {
        self.end = Some(refusal);
    }

    fn has_room(&self, bytes: u64) -> Result<(), Failure> {
        let there = self.body.len() + self.zeros;
        if bytes > (self.len - there) as u64 {
            return Err(shmeld::Misbehaviour::Record("more of a file than was asked for").into());
        }
        Ok(())
    }

    pub(crate) fn finish(mut self, request: Request) -> Result<Answer, Failure> {
        if let Some(refusal) = self.end.take() {
            return Err(refusal.into());
        }
        let is_zeros = self.body.is_empty() && self.zeros > 0;
        let start = self.body.len();
        if is_zeros {
            self.hasher.update(&vec![0; self.zeros]);
        } else {
            self.body.resize(start + self.zeros, 0);
            self.hasher.update(&self.body[start..]);
        }
        if self.body.len() != self.len && self.zeros != self.len {
            return Err(shmeld::Misbehaviour::Record("less of a file than was asked for").into());
        }
        let head = Head {
            status: Status::Ok,
            unable: false,
            zeros: is_zeros,
            offset: request.offset,
            len: self.len as u32,
            identity: self.identity,
            digest: self.hasher.finalize().into(),
            entry: self.entry,
        };
        let body = if request.digest_only {
            Vec::new()
        } else {
            self.body
        };
        Ok((head, body))
    }
}
