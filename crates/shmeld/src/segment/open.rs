//! A segment that is there: finding it, and what the kernel knows about it.

use shmeld_os::fs::Stat;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::shared_memory::{self as sysv, SegmentStat};
use shmeld_os::sysv::{Key, Occupied};

use super::{Address, SegmentError, SysvAddress};
use crate::Result;

/// A segment of either family.
#[derive(Debug)]
pub struct Segment {
    pub(super) address: Address,
    pub(super) object: Object,
}

#[derive(Debug)]
pub(super) enum Object {
    Sysv(sysv::Segment),
    Posix(SharedMemory),
}

/// What the kernel knows about a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Description {
    /// Of a System V segment.
    Sysv {
        /// Its number.
        id: i32,
        /// What `IPC_STAT` says.
        stat: SegmentStat,
        /// How much of it is stored; `None` if the kernel does not say.
        occupied: Option<Occupied>,
    },
    /// Of a POSIX segment.
    Posix {
        /// What `fstat` says.
        stat: Stat,
    },
}

impl Description {
    /// Size in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Sysv { stat, .. } => stat.bytes,
            Self::Posix { stat } => stat.bytes,
        }
    }

    /// The nine permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        match self {
            Self::Sysv { stat, .. } => stat.permissions.mode,
            Self::Posix { stat } => stat.mode & 0o777,
        }
    }

    /// Who made it, as far as the kernel knows: of a POSIX segment it knows the owner.
    #[must_use]
    pub fn creator_uid(&self) -> u32 {
        match self {
            Self::Sysv { stat, .. } => stat.permissions.creator_uid,
            Self::Posix { stat } => stat.uid,
        }
    }

    /// How many attachments there are; `None` for a POSIX segment, of which the kernel does not say it.
    #[must_use]
    pub fn attached(&self) -> Option<u64> {
        match self {
            Self::Sysv { stat, .. } => Some(stat.attached),
            Self::Posix { .. } => None,
        }
    }
}

impl Segment {
    /// `shmget` or `shm_open`: finds a segment of at least `bytes` bytes.
    ///
    /// A System V segment is not held open by that, and only that its mode lets us read is looked at; a POSIX one is, for writing too if
    /// `writable`.
    ///
    /// # Errors
    /// What the kernel says; [`SegmentError::TooSmall`], but EINVAL from `shmget` by key, which looks at the size itself.
    pub fn open(address: &Address, bytes: u64, writable: bool) -> Result<Self> {
        let segment = Self {
            address: address.clone(),
            object: match address {
                Address::Sysv(place) => {
                    let segment = open_sysv(place, bytes)?;
                    // Finding it asks for no right.
                    segment.stat()?;
                    Object::Sysv(segment)
                }
                Address::Posix(name) => Object::Posix(SharedMemory::open(name, writable)?),
            },
        };
        // A number finds a segment of any size, and so does a name.
        if bytes > 0 {
            segment.check_size("open", bytes)?;
        }
        Ok(segment)
    }

    /// `shmget` or `open(O_PATH)`: finds a segment whatever its mode is, to describe it and to change its mode and owner.
    ///
    /// # Errors
    /// As for [`Segment::open`]; a POSIX segment that is found so cannot be read, written, attached or resized: EBADF.
    pub fn find(address: &Address) -> Result<Self> {
        Ok(Self {
            address: address.clone(),
            object: match address {
                Address::Sysv(place) => Object::Sysv(open_sysv(place, 0)?),
                Address::Posix(name) => Object::Posix(SharedMemory::find(name)?),
            },
        })
    }

    pub(super) fn check_size(&self, operation: &'static str, wanted: u64) -> Result<()> {
        let size = self.describe()?.bytes();
        if size < wanted {
            let address = self.address.clone();
            return Err(SegmentError::TooSmall {
                operation,
                address,
                wanted,
                size,
            }
            .into());
        }
        Ok(())
    }

    /// The address by which it was found.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The address that leads to this segment and never to a successor: its number. Of a POSIX segment its name, which has no such promise.
    #[must_use]
    pub fn lasting_address(&self) -> Address {
        match &self.object {
            Object::Sysv(segment) => Address::Sysv(SysvAddress::Id(segment.id())),
            Object::Posix(_) => self.address.clone(),
        }
    }

    /// `shmctl(IPC_STAT)`, or SHM_STAT_ANY where the mode does not let us read, or `fstat`: what the kernel knows about it.
    ///
    /// # Errors
    /// EINVAL for a System V segment that is gone. What `ipcs` shows to everybody needs no right to read.
    pub fn describe(&self) -> Result<Description> {
        Ok(match &self.object {
            Object::Sysv(segment) => Description::Sysv {
                id: segment.id(),
                stat: segment.stat_of_any()?,
                occupied: segment.occupied(),
            },
            Object::Posix(memory) => Description::Posix { stat: memory.stat()? },
        })
    }
}

pub(super) fn open_sysv(place: &SysvAddress, bytes: u64) -> Result<sysv::Segment> {
    if let SysvAddress::Id(id) = place {
        return Ok(sysv::Segment::from_id(*id));
    }
    let key = key_of(place)?;
    if key.is_private() {
        return Err(SegmentError::NotPossible {
            operation: "open",
            address: Address::Sysv(place.clone()),
            reason: "0 is no key, and a segment without a key is found by its number only",
            instead: "give the number, as its creation printed it: sysv:#ID; ipcs -m lists all",
        }
        .into());
    }
    Ok(sysv::Segment::open(key, size(bytes))?)
}

/// The key under which a segment is found; none for a number.
pub(super) fn key_of(place: &SysvAddress) -> Result<Key> {
    Ok(match place {
        SysvAddress::Key(key) => *key,
        SysvAddress::File(file) => file.key()?,
        SysvAddress::Id(_) => Key::PRIVATE,
    })
}

/// More than this machine has addresses for is more than any limit too.
pub(super) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
