//! Where every byte of a region lies. docs/PROTOCOL.md section 2 draws the same picture; the assertions below keep both equal.
//!
//! Not here: how the words are used (`ring`, `wait`, `session`), or what a slot holds (`shmeld::file::record`).
//!
//! ```
//! use shmeld_core::layout::{Geometry, Header, LayoutError};
//!
//! let geometry = Geometry::for_region(4096)?;
//! assert_eq!((geometry.slot_count(), geometry.slot_offset(0), geometry.slot_bytes()), (1, 320, 3776));
//!
//! let mut raw = Header { nonce: [7; 16], geometry }.to_raw(); // what a client writes
//! assert_eq!(Header::check(&raw, 4096)?.geometry, geometry);
//! raw.slot_count = 2.into(); // what a liar writes: the second slot would lie outside
//! assert_eq!(Header::check(&raw, 4096), Err(LayoutError::Slots));
//! # Ok::<(), LayoutError>(())
//! ```

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The size of a page, and of the smallest region.
pub const PAGE_BYTES: u64 = 4096;
/// The largest region this library makes or accepts, whatever a server's `--region-max` says.
pub const REGION_BYTES_MAX: u64 = 1 << 30;
/// `SHMELD1` and a byte that is not text.
pub const MAGIC: [u8; 8] = *b"SHMELD1\x01";
/// The version of the layout behind the first 64 bytes.
pub const VERSION: u32 = 1;
/// Where the slots begin in a region of one page.
pub const SLOTS_OFFSET_IN_PAGE: u32 = 320;
/// The smallest slot: what is left of one page. BEGIN with the longest name and text fits.
pub const SLOT_BYTES_MIN: u32 = 3776;
/// Slots begin on cache lines.
pub const SLOT_ALIGN_BYTES: u32 = 64;
/// The slot size that larger regions aim at: big enough to forget the system call, small enough that four stay in a second-level cache.
pub const SLOT_BYTES_PREFERRED: u32 = 256 * 1024;
/// How many slots a region of middling size is divided into.
pub const SLOTS_PREFERRED: u32 = 4;
/// The most slots a region may have.
pub const SLOT_COUNT_MAX: u32 = 65_535;
/// Where `cancel_up_to` lies, the only 64-bit control word.
pub const CANCEL_OFFSET: usize = 136;

/// The 32-bit control words of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// The session's state, written by the server.
    State,
    /// Slots published, written by the server.
    Written,
    /// CPU number + 1 of the server.
    ServerCpu,
    /// Slots released, written by the client.
    Read,
    /// CPU number + 1 of the client.
    ClientCpu,
    /// Units in the semaphore `filled`.
    FilledValue,
    /// Whether the client sleeps on `filled`.
    FilledWaiters,
    /// Units in the semaphore `free`.
    FreeValue,
    /// Whether the server sleeps on `free`.
    FreeWaiters,
}

impl Word {
    /// Bytes from the start of the region; always a multiple of four.
    #[must_use]
    pub const fn offset(self) -> usize {
        match self {
            Self::State => 12,
            Self::Written => 64,
            Self::ServerCpu => 68,
            Self::Read => 128,
            Self::ClientCpu => 132,
            Self::FilledValue => 192,
            Self::FilledWaiters => 196,
            Self::FreeValue => 256,
            Self::FreeWaiters => 260,
        }
    }
}

/// The first 64 bytes as found in shared memory: an allegation until [`Header::check`] accepts it.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RawHeader {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// The state word; live, so its copy here means nothing.
    pub state: U32,
    /// Size of the object.
    pub region_bytes: U64,
    /// 16 random bytes that every request must repeat.
    pub nonce: [u8; 16],
    /// Where the first slot begins.
    pub slots_offset: U32,
    /// Size of one slot.
    pub slot_bytes: U32,
    /// Number of slots.
    pub slot_count: U32,
    /// Zero.
    pub reserved: [u8; 12],
}

/// One semaphore as found in shared memory, in the layout of glibc's 64-bit `sem_t`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct RawSemaphore {
    /// Units not yet consumed.
    pub value: U32,
    /// 0 when nobody sleeps.
    pub waiters: U32,
    /// [`SEMAPHORE_SHARED`], for the sake of peers that use libc.
    pub shared: U32,
    /// Zero.
    pub padding: [u8; 20],
}

/// What glibc stores in a process-shared `sem_t`.
pub const SEMAPHORE_SHARED: u32 = 128;
/// Where the semaphores `filled` and `free` lie.
pub const SEMAPHORE_OFFSETS: [usize; 2] = [192, 256];

const _: () = {
    assert!(size_of::<RawHeader>() == 64);
    assert!(std::mem::offset_of!(RawHeader, state) == Word::State.offset());
    assert!(std::mem::offset_of!(RawHeader, nonce) == 24);
    assert!(std::mem::offset_of!(RawHeader, slots_offset) == 40);
    assert!(size_of::<RawSemaphore>() == 32);
    assert!(
        SEMAPHORE_OFFSETS[0] == Word::FilledValue.offset()
            && SEMAPHORE_OFFSETS[1] == Word::FreeValue.offset()
    );
    assert!(
        Word::FilledWaiters.offset()
            == Word::FilledValue.offset() + std::mem::offset_of!(RawSemaphore, waiters)
    );
    assert!(
        Word::FreeWaiters.offset() == Word::FreeValue.offset() + std::mem::offset_of!(RawSemaphore, waiters)
    );
    assert!(SLOTS_OFFSET_IN_PAGE as u64 + SLOT_BYTES_MIN as u64 == PAGE_BYTES);
    assert!(
        SLOT_BYTES_MIN.is_multiple_of(SLOT_ALIGN_BYTES)
            && SLOTS_OFFSET_IN_PAGE.is_multiple_of(SLOT_ALIGN_BYTES)
    );
    assert!(CANCEL_OFFSET.is_multiple_of(8));
};

pub use crate::geometry::Geometry;

/// Why an object is not a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Does not begin with [`MAGIC`].
    #[error("it does not begin with the magic of a region")]
    Magic,
    /// Another version.
    #[error("it has version {found}, this program speaks version {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// The size is no multiple of a page, too small or too large.
    #[error(
        "a size of {bytes} bytes is not a multiple of {PAGE_BYTES} between {PAGE_BYTES} and {REGION_BYTES_MAX}"
    )]
    Size {
        /// The size found.
        bytes: u64,
    },
    /// The header names another size than the object has.
    #[error("its header says {header} bytes, the object has {object}")]
    SizesDiffer {
        /// What the header says.
        header: u64,
        /// What the kernel says.
        object: u64,
    },
    /// Slots outside the region, too small, misaligned, or none.
    #[error("its slots do not fit")]
    Slots,
    /// A reserved byte is not zero.
    #[error("a reserved byte is not zero")]
    Reserved,
}

/// A header that has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Repeated by every request for this region.
    pub nonce: [u8; 16],
    /// How the region is divided.
    pub geometry: Geometry,
}

impl Header {
    /// Checks a private copy of the first 64 bytes against the size that the kernel reports for the object.
    ///
    /// # Errors
    /// [`LayoutError`]: the first thing found wrong.
    pub fn check(raw: &RawHeader, object_bytes: u64) -> Result<Self, LayoutError> {
        if raw.magic != MAGIC {
            return Err(LayoutError::Magic);
        }
        if raw.version.get() != VERSION {
            return Err(LayoutError::Version {
                found: raw.version.get(),
            });
        }
        if raw.region_bytes.get() != object_bytes {
            return Err(LayoutError::SizesDiffer {
                header: raw.region_bytes.get(),
                object: object_bytes,
            });
        }
        if raw.reserved != [0; 12] {
            return Err(LayoutError::Reserved);
        }
        let geometry = Geometry::new(
            object_bytes,
            raw.slots_offset.get(),
            raw.slot_bytes.get(),
            raw.slot_count.get(),
        )?;
        Ok(Self {
            nonce: raw.nonce,
            geometry,
        })
    }

    /// The bytes a client writes, with state OFFERED.
    #[must_use]
    pub fn to_raw(&self) -> RawHeader {
        RawHeader {
            magic: MAGIC,
            version: VERSION.into(),
            state: 0.into(),
            region_bytes: self.geometry.region_bytes().into(),
            nonce: self.nonce,
            slots_offset: self.geometry.slots_offset().into(),
            slot_bytes: (self.geometry.slot_bytes() as u32).into(),
            slot_count: self.geometry.slot_count().into(),
            reserved: [0; 12],
        }
    }
}

impl RawSemaphore {
    /// A process-shared semaphore with `value` units.
    #[must_use]
    pub fn new(value: u32) -> Self {
        Self {
            value: value.into(),
            waiters: 0.into(),
            shared: SEMAPHORE_SHARED.into(),
            padding: [0; 20],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_survives_its_bytes(pages in 1u64..=(REGION_BYTES_MAX / PAGE_BYTES), nonce in any::<[u8; 16]>()) {
            let header = Header { nonce, geometry: Geometry::for_region(pages * PAGE_BYTES).unwrap() };
            prop_assert_eq!(Header::check(&header.to_raw(), pages * PAGE_BYTES), Ok(header));
        }

        #[test]
        fn every_flipped_bit_of_a_header_but_nonce_and_state_is_noticed_or_harmless(bit in 0usize..512) {
            let header = Header { nonce: [9; 16], geometry: Geometry::for_region(1 << 20).unwrap() };
            let mut bytes: [u8; 64] = header.to_raw().as_bytes().try_into().unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let raw = RawHeader::read_from_bytes(&bytes).unwrap();
            match bit / 8 {
                12..16 => prop_assert_eq!(Header::check(&raw, 1 << 20), Ok(header)),
                24..40 => prop_assert_ne!(Header::check(&raw, 1 << 20), Ok(header)),
                // A flipped slot field may name another sound geometry, never one that leaves the region.
                40..52 => if let Ok(other) = Header::check(&raw, 1 << 20) {
                    let geometry = other.geometry;
                    prop_assert!(geometry.slot_offset(geometry.slot_count() - 1) + geometry.slot_bytes() <= 1 << 20);
                },
                _ => prop_assert!(Header::check(&raw, 1 << 20).is_err()),
            }
        }
    }
}
