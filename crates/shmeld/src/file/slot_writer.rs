//! The server's side of the ring as a stream of records: claims slots, packs records into them, publishes them.
//!
//! Small slots are fed from a private staging buffer that is filled by large reads; into large slots the kernel reads straight from the
//! page cache. Not here: which records an answer consists of (`answer`).

use std::time::{Duration, Instant};

use shmeld_core::Misbehaviour;
use shmeld_core::attach::Attached;
use shmeld_core::ring::Producer;
use shmeld_core::session::{SliceStep, SliceView, slice_step};
use shmeld_core::wait::Words;
use shmeld_core::wait::{SLICE, Waited};
use shmeld_os::explain;
use zerocopy::IntoBytes;

use super::record::{DIRECT_SLOT_BYTES_MIN, Kind, RECORD_ALIGN_BYTES, RECORD_BYTES, Record};
use super::session::{End, Pulse};
use super::slots::{Peer, Slots};
use super::source::{FillError, SourceFile};
use super::status::Refusal;

/// When file bytes go on in the next slot, the piece is a multiple of this, so that reads and writes stay aligned to pages.
const PIECE_ALIGN_BYTES: usize = 4096;
/// A slot that is only partly filled is published after this long, so that the client does not wait for a slow source.
const LINGER: Duration = Duration::from_millis(20);
/// The server says that it is alive at least this often.
const WAIT_EVERY: Duration = Duration::from_secs(5);

/// A stream of records into the region of one session.
pub(super) struct SlotWriter<'s, P: Peer = Attached> {
    client: &'s P,
    producer: Producer,
    pulse: &'s Pulse,
    /// Bytes used in the slot being filled; 0 if none has been claimed.
    used: usize,
    has_slot: bool,
    /// Slots published so far, and what that was when [`SlotWriter::keep_alive`] last saw it change: no clock is read for each slot.
    published: u64,
    seen: (u64, Instant),
    /// When [`SlotWriter::keep_alive`] last looked at the client's lease.
    looked: Instant,
    scratch: Vec<u8>,
}

impl<'s, P: Peer> SlotWriter<'s, P> {
    pub(super) fn new(client: &'s P, pulse: &'s Pulse) -> Self {
        Self {
            client,
            producer: Producer::new(client.memory().slot_count()),
            pulse,
            used: 0,
            has_slot: false,
            published: 0,
            seen: (0, Instant::now()),
            looked: Instant::now(),
            scratch: Vec::new(),
        }
    }

    fn memory(&self) -> &'s P::Memory {
        self.client.memory()
    }

    /// Bytes left in the current slot.
    fn room(&self) -> usize {
        self.memory().slot_bytes() - self.used
    }

    /// Writes into the current slot, behind what is used of it.
    fn write(&self, behind: usize, bytes: &[u8]) {
        self.memory()
            .write(self.producer.index(), self.used + behind, bytes);
    }

    /// Whether slots are large enough for the kernel to read straight into them.
    pub(super) fn is_direct(&self) -> bool {
        self.memory().slot_bytes() >= DIRECT_SLOT_BYTES_MIN
    }

    /// Whether the client has cancelled this request.
    pub(super) fn is_cancelled(&self, request_id: u64) -> bool {
        self.memory().cancelled_up_to() >= request_id
    }

    /// Makes room for `bytes` in the current slot, or begins a new one.
    fn make_room(&mut self, bytes: usize) -> Result<(), End> {
        if self.has_slot && self.room() < bytes {
            self.publish()?;
        }
        if !self.has_slot {
            self.claim()?;
        }
        Ok(())
    }

    /// Waits for a free slot. Each slice looks at the client's lease, the clock and the server's own end.
    fn claim(&mut self) -> Result<(), End> {
        let mut owed_for = Duration::ZERO;
        while !self.producer.is_free(self.memory())? {
            self.pulse.set_waiting_for_client(true);
            let start = Instant::now();
            match self.producer.wait_free(self.memory(), start + SLICE)? {
                Waited::Ready => {}
                Waited::Faulted => return Err(Misbehaviour::Vanished.into()),
                Waited::SliceOver => {
                    // A slice that lasted much longer is one in which this process itself did not run.
                    owed_for += start.elapsed().min(2 * SLICE);
                    self.look(owed_for)?;
                }
            }
        }
        self.pulse.set_waiting_for_client(false);
        (self.has_slot, self.used) = (true, 0);
        Ok(())
    }

    fn look(&mut self, owed_for: Duration) -> Result<(), End> {
        self.pulse.check()?;
        let peer_leased = self.client.is_alive()?;
        let view = SliceView {
            peer_leased,
            work_after_lease: self.producer.free_slots(self.memory())? > 0,
            owed_for,
            stall: self.pulse.stall(),
        };
        match slice_step(view) {
            // A free slot is of no use to a client that is gone.
            SliceStep::Work if peer_leased => Ok(()),
            SliceStep::Wait => Ok(()),
            SliceStep::Work | SliceStep::PeerGone => Err(End::ClientGone),
            SliceStep::Stalled => Err(End::Stalled),
        }
    }

    fn publish(&mut self) -> Result<(), End> {
        if self.room() >= RECORD_BYTES {
            self.write(0, Record::new(Kind::Stop, 0).to_raw().as_bytes());
        }
        if self.memory().faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        self.producer
            .publish(self.memory())
            .map_err(|_| Misbehaviour::Vanished)?;
        self.has_slot = false;
        self.published += 1;
        if self.published == 1 {
            let why =
                "written = 1, then a post: the first slot is full (told once; so it goes for every slot)";
            explain!("sem_post", "semaphore filled", why);
        }
        self.pulse.progressed();
        Ok(())
    }

    /// Publishes what has been written so far.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        if self.has_slot && self.used > 0 {
            self.publish()
        } else {
            Ok(())
        }
    }

    /// Called between pieces of work that may take long without filling a slot: the client may die or cancel meanwhile, and must hear
    /// that the server is alive.
    pub(super) fn keep_alive(&mut self, request_id: u64) -> Result<(), End> {
        let now = Instant::now();
        if now.duration_since(self.looked) >= SLICE {
            self.looked = now;
            self.pulse.check()?;
            if !self.client.is_alive()? {
                return Err(End::ClientGone);
            }
        }
        if self.seen.0 != self.published {
            self.seen = (self.published, now);
            return Ok(());
        }
        let silent_for = now.duration_since(self.seen.1);
        if silent_for > WAIT_EVERY {
            self.record(&Record::new(Kind::Wait, request_id), |_| {})?;
        }
        if silent_for > LINGER { self.flush() } else { Ok(()) }
    }

    /// Writes one record whose payload `encode` appends.
    pub(super) fn record(&mut self, record: &Record, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), End> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.resize(RECORD_BYTES, 0);
        encode(&mut bytes);
        let record = Record {
            length: bytes.len() - RECORD_BYTES,
            ..*record
        };
        bytes[..RECORD_BYTES].copy_from_slice(record.to_raw().as_bytes());
        self.make_room(bytes.len())?;
        self.write(0, &bytes);
        self.advance(bytes.len());
        self.scratch = bytes;
        Ok(())
    }

    /// Writes bytes from private memory as DATA records, as many slots as it takes.
    pub(super) fn data(&mut self, record: &Record, mut bytes: &[u8]) -> Result<(), End> {
        let mut record = *record;
        while !bytes.is_empty() {
            self.make_room(RECORD_BYTES + 1)?;
            let room = self.room() - RECORD_BYTES;
            let (piece, rest) = bytes.split_at(bytes.len().min(room));
            record.length = piece.len();
            self.write(0, record.to_raw().as_bytes());
            self.write(RECORD_BYTES, piece);
            self.advance(RECORD_BYTES + piece.len());
            record.offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// How many bytes of a file the current slot can take in one record.
    pub(super) fn fits_current_slot(&self, len: u64) -> bool {
        let room = if self.has_slot {
            self.room()
        } else {
            self.memory().slot_bytes()
        };
        len <= room.saturating_sub(RECORD_BYTES) as u64
    }

    fn advance(&mut self, bytes: usize) {
        self.used = (self.used + bytes)
            .next_multiple_of(RECORD_ALIGN_BYTES)
            .min(self.memory().slot_bytes());
    }
}

impl SlotWriter<'_> {
    /// Reads at most `len` bytes of the file straight into the current slot as one DATA record; returns how many, 0 at the end of the file.
    pub(super) fn data_from(
        &mut self,
        record: &Record,
        file: &dyn SourceFile,
        len: u64,
    ) -> Result<Result<usize, Refusal>, End> {
        let worthwhile = usize::try_from(len).unwrap_or(usize::MAX).min(PIECE_ALIGN_BYTES);
        self.make_room(RECORD_BYTES + worthwhile)?;
        let room = self.room() - RECORD_BYTES;
        let piece = match usize::try_from(len) {
            Ok(len) if len <= room => len,
            _ => room / PIECE_ALIGN_BYTES * PIECE_ALIGN_BYTES,
        };
        let window = self.memory().slot(self.producer.index());
        let got = match file.fill(&window, self.used + RECORD_BYTES, piece, record.offset) {
            Ok(got) => got,
            Err(FillError::PeerTookMemory) => return Err(Misbehaviour::Vanished.into()),
            Err(FillError::File(refusal)) => return Ok(Err(refusal)),
        };
        if got > 0 {
            let record = Record {
                length: got,
                ..*record
            };
            self.write(0, record.to_raw().as_bytes());
            self.advance(RECORD_BYTES + got);
        }
        Ok(Ok(got))
    }
}
