//! A region's name, the leases that tell who is alive, and whether a region belongs to nobody any more. `offer` makes a region and gives it
//! its name (the client), `candidate` finds it and joins it (the server).
//!
//! A lease belongs to an open file description that lives only in the mapping: its descriptor is closed, the mapping is not inherited by
//! a fork. Each side looks at the other's lease through a second description, because a description never conflicts with itself.
//!
//! ```
//! use shmeld_core::attach::{Candidate, Offer};
//! use shmeld_core::layout::Header;
//!
//! let mut offer = Offer::publish(4096)?; // the client; its request carries the region's id and nonce
//! let candidate = Candidate::open(offer.id())?; // the server, in another process
//! let header = Header::check(&candidate.raw_header()?, candidate.stat().bytes)?;
//! assert_eq!(header.nonce, offer.nonce());
//! let attached = candidate.attach(header.geometry).map_err(|refused| refused.error)?;
//! offer.remove_name(); // from here on a crash of either side leaves nothing
//! assert!(offer.server_leased()? && attached.client_leased()?);
//!
//! drop(offer); // as the client's death would
//! assert!(!attached.client_leased()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ObjectName, explain};

pub use crate::candidate::{Attached, Candidate, ClientProbe, NotAttached};
use crate::error::{Misbehaviour, Result};
use crate::layout::MAGIC;
pub use crate::offer::Offer;
use crate::session::CLIENT_LEASE_BYTE;

/// What every name of ours in /dev/shm begins with.
pub const NAME_PREFIX: &str = "shmeld.";

/// The 16 random bytes that name a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub [u8; 16]);

impl RegionId {
    /// `/shmeld.` and 32 hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        let name = format!("{NAME_PREFIX}{self}");
        ObjectName::new(&name).unwrap_or_else(|_| unreachable!("hexadecimal digits make a sound name"))
    }

    /// The id in an object's name; `None` if that is no region's name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let digits = name.strip_prefix(NAME_PREFIX.as_bytes())?;
        if digits.len() != 32 {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: u8| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            };
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for RegionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RegionId({self})")
    }
}

/// Whether somebody else holds a write lease on `byte`. Asking with a read lock reports write locks only, so a reader cannot fake life.
pub(crate) fn is_leased(memory: &SharedMemory, byte: u64) -> Result<bool> {
    Ok(lease::probe(memory.as_file(), Range::byte(byte), Kind::Read, "region")?.is_some())
}

pub(crate) fn take_lease(memory: &SharedMemory, byte: u64, why: &str) -> Result<()> {
    explain!(
        "fcntl(F_OFD_SETLK)",
        format_args!("byte {byte} of the region"),
        why
    );
    if lease::try_take(memory.as_file(), Range::byte(byte), Kind::Write, "region")? {
        Ok(())
    } else {
        Err(Misbehaviour::Lease.into())
    }
}

/// How old an object without the magic must be before it counts as abandoned: a client that makes its region in the textbook order
/// needs a moment between its name and its lease.
const UNFINISHED_AGE_MIN: Duration = Duration::from_secs(60);

/// Whether the region of this name belongs to nobody any more: its client is dead. `None` if it cannot be looked at.
#[must_use]
pub fn is_abandoned(name: &ObjectName) -> Option<bool> {
    let memory = SharedMemory::open(name, false).ok()?;
    if is_leased(&memory, CLIENT_LEASE_BYTE).ok()? {
        return Some(false);
    }
    let mut magic = [0; MAGIC.len()];
    let has_magic = memory.read_at(&mut magic, 0).ok()? == magic.len() && magic == MAGIC;
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(memory.stat().ok()?.changed.seconds).ok()?);
    let is_old = changed.elapsed().is_ok_and(|age| age >= UNFINISHED_AGE_MIN);
    Some(has_magic || is_old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_name() {
        let id = RegionId(*b"\x00\x01\xfe\xff0123456789ab");
        assert_eq!(RegionId::from_name(id.name().as_str().as_bytes()), Some(id));
    }

    #[test]
    fn names_that_are_no_region_are_recognised() {
        for name in [
            "shmeld.",
            "shmeld.shmeld.gate",
            "shmeld.0123456789ABCDEF0123456789abcdef",
            "sem.shmeld",
            "shmeld.00",
        ] {
            assert_eq!(RegionId::from_name(name.as_bytes()), None, "{name}");
        }
    }
}
