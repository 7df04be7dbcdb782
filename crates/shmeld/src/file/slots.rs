//! What the two ends of a stream of records need from the other side: slots with the words of their ring, and a sign of life.
//!
//! In a session that is a region and its leases. A fuzz target puts a memory in their place that changes between every two accesses.

use shmeld_core::Region;
use shmeld_core::attach::Attached;
use shmeld_core::wait::Words;

/// The slots of a ring, beside its words. A range outside of a slot is our own bug and panics.
pub(super) trait Slots: Words {
    /// How many slots there are.
    fn slot_count(&self) -> u32;
    /// Size of each.
    fn slot_bytes(&self) -> usize;
    /// Copies bytes of a slot out, once.
    fn read(&self, slot: u32, at: usize, bytes: &mut [u8]);
    /// Copies bytes into a slot.
    fn write(&self, slot: u32, at: usize, bytes: &[u8]);
    /// The highest request id that the client has cancelled; 0 for none.
    fn cancelled_up_to(&self) -> u64;
}

impl Slots for Region {
    #[inline]
    fn slot_count(&self) -> u32 {
        self.geometry().slot_count()
    }
    #[inline]
    fn slot_bytes(&self) -> usize {
        self.geometry().slot_bytes()
    }
    #[inline]
    fn read(&self, slot: u32, at: usize, bytes: &mut [u8]) {
        self.slot(slot).read(at, bytes);
    }
    #[inline]
    fn write(&self, slot: u32, at: usize, bytes: &[u8]) {
        self.slot(slot).write(at, bytes);
    }
    #[inline]
    fn cancelled_up_to(&self) -> u64 {
        self.cancel_up_to()
    }
}

/// A client as its session on the server sees it.
pub(super) trait Peer {
    /// What both sides write.
    type Memory: Slots;
    /// The memory that both sides write.
    fn memory(&self) -> &Self::Memory;
    /// Whether the client lives: the kernel's word, not the client's.
    fn is_alive(&self) -> shmeld_core::Result<bool>;
}

impl Peer for Attached {
    type Memory = Region;
    #[inline]
    fn memory(&self) -> &Region {
        self.region()
    }
    fn is_alive(&self) -> shmeld_core::Result<bool> {
        self.client_leased()
    }
}
