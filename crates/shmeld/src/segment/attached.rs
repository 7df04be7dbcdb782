//! An attached System V segment whose bytes are read in order, without touching what nobody has touched.

use shmeld_core::Memory;
use shmeld_os::sysv::shared_memory as sysv;
use shmeld_os::sysv::{How, boundary_bytes};

use super::untouched::Untouched;
use crate::Result;

/// Of more pages than this (64 GiB of the usual size) nobody asks which are there: a byte comes back for each.
const PAGES_ASKED_MAX: usize = 1 << 24;

/// Of what nobody has touched this much is passed over at a time, before the next look.
const HOLE_BYTES_MAX: u64 = 1 << 30;

/// See the module.
pub(super) struct Attached<'s> {
    segment: &'s sysv::Segment,
    memory: Memory,
    untouched: Untouched,
}

impl<'s> Attached<'s> {
    pub(super) fn new(segment: &'s sysv::Segment, read_only: bool) -> Result<Self> {
        let how = How {
            read_only,
            ..How::default()
        };
        let mut attached = Self {
            segment,
            memory: Memory::from(segment.attach(how)?),
            untouched: Untouched::Unknown,
        };
        if read_only {
            attached.untouched = attached.look();
        }
        Ok(attached)
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether nobody has touched `at`, and up to where, at most `end`, the same is true.
    ///
    /// It is true now, and not only when the reading began: who has read here that something is ready must find it.
    pub(super) fn stretch(&mut self, at: u64, end: u64) -> (bool, u64) {
        let (is_hole, end) = self.untouched.stretch(at, end);
        if !is_hole {
            return (false, end);
        }
        let end = end.min(at.saturating_add(HOLE_BYTES_MAX));
        // In this order: see `Untouched::new`. Where nobody had touched any page the count alone tells whether that is still so.
        let seen = match self.untouched {
            Untouched::Pages { .. } => self.memory.pages_in_memory(position(at), position(end - at)).ok(),
            _ => None,
        };
        let still = self.untouched.still(at, end, seen, self.segment.occupied());
        still.unwrap_or_else(|| {
            self.untouched = self.look();
            self.untouched.stretch(at, end)
        })
    }

    fn look(&self) -> Untouched {
        let page_bytes = boundary_bytes();
        let is_asked = self.memory.len() / page_bytes < PAGES_ASKED_MAX;
        // In this order: see there.
        let seen = is_asked
            .then(|| self.memory.pages_in_memory(0, self.memory.len()).ok())
            .flatten();
        Untouched::new(seen, page_bytes as u64, self.segment.occupied())
    }
}

/// A place within an attached segment: it is memory, so its numbers fit.
pub(super) fn position(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
