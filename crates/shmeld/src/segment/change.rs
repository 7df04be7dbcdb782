//! Size, mode and owner of a segment, and its end.

use std::cmp::Ordering;

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::shared_memory::SegmentStat;
use shmeld_os::{Errno, Error as OsError, ErrorKind, explain, fs, limits};

use super::open::{Object, open_sysv};
use super::{Address, Segment, SegmentError};
use crate::file::Interrupt;
use crate::{Error, Result};

/// What removing a segment has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Removal {
    /// Nothing.
    Gone,
    /// A System V segment without a key, which goes with the last of this many attachments.
    Marked {
        /// How many.
        attached: u64,
    },
    /// A System V segment that goes with its last attachment, if it is not gone: this kernel lets its mode hide it from its owner.
    Unseen,
    /// A POSIX segment without a name, if it is open or mapped anywhere.
    Unnamed,
}

impl Segment {
    /// `posix_fallocate` or `ftruncate`: makes a POSIX segment longer, with memory behind what is new, or shorter.
    ///
    /// Whoever has mapped what is cut off gets SIGBUS at the next touch of it. If there is no room to grow, or `interrupt` comes, the size is
    /// what it was, or what somebody else has made of it meanwhile.
    ///
    /// # Errors
    /// [`SegmentError::NotPossible`] for a System V segment; ENOSPC, with the bytes needed and free; [`Error::Interrupted`].
    pub fn resize(&self, bytes: u64, interrupt: &Interrupt) -> Result<()> {
        let Object::Posix(memory) = &self.object else {
            return Err(SegmentError::NotPossible {
                operation: "resize",
                address: self.address.clone(),
                reason: "the size of a System V segment is fixed when it is made",
                instead: "create another one under another key, copy (shmeld ipc read, write), and remove this one",
            }
            .into());
        };
        let present = memory.stat()?.bytes;
        match bytes.cmp(&present) {
            // Not even a call: it would cut off what somebody else adds at this moment.
            Ordering::Equal => {}
            Ordering::Greater => {
                check_room(memory.label(), bytes - present)?;
                let grown = memory.grow(bytes, || interrupt.check().is_ok());
                grown.map_err(|error| interrupt.check().err().unwrap_or(Error::Os(error)))?;
            }
            Ordering::Less => {
                fs::set_size(memory, bytes)?;
                explain!(
                    "ftruncate",
                    self.address,
                    format_args!(
                        "from {present} to {bytes} bytes; who has the rest mapped gets SIGBUS there"
                    )
                );
            }
        }
        Ok(())
    }

    /// `shmctl(IPC_SET)` or `fchmod`: sets the nine permission bits.
    ///
    /// # Errors
    /// EPERM unless we are owner, creator or root.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        match &self.object {
            Object::Sysv(segment) => segment.set_mode(mode)?,
            Object::Posix(memory) => memory.set_mode(mode)?,
        }
        Ok(())
    }

    /// `shmctl(IPC_SET)` or `fchown`: gives it to another user or group; `None` leaves it.
    ///
    /// # Errors
    /// As for [`Segment::set_mode`]. Only root gives a POSIX segment to another user; owner and creator may give a System V segment away.
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        match &self.object {
            Object::Sysv(segment) => segment.set_owner(uid, gid)?,
            Object::Posix(memory) => {
                fs::set_owner(memory, uid, gid)?;
                explain!("fchown", self.address, "another owner");
            }
        }
        Ok(())
    }

    /// `shmctl(IPC_RMID)` or `shm_unlink`: takes the key or name of a segment away; it goes with its last user.
    ///
    /// A POSIX segment is not opened for it, and so can have any mode.
    ///
    /// # Errors
    /// EPERM unless we are owner, creator or root; EACCES for a POSIX segment of another user; EINVAL, ENOENT if it is gone.
    pub fn remove(address: &Address) -> Result<Removal> {
        match address {
            Address::Posix(name) => {
                SharedMemory::unlink(name)?;
                Ok(Removal::Unnamed)
            }
            Address::Sysv(place) => {
                let segment = open_sysv(place, 0)?;
                segment.remove()?;
                Ok(after_removal(&segment.stat_of_any()))
            }
        }
    }
}

/// What cannot be had is refused before it is tried: trying fills the shared memory of everybody up to its end, if only for a moment.
pub(super) fn check_room(label: &str, needed: u64) -> Result<()> {
    match limits::shared_memory_space() {
        Ok((_, free)) if needed > free => {
            let object = format!("{label} ({needed} bytes needed, {free} free)");
            Err(OsError::new("posix_fallocate", object, Errno::NOSPC).into())
        }
        // The attempt itself says what else is wrong.
        _ => Ok(()),
    }
}

/// A segment that is still there after IPC_RMID is marked; one that is not is another one, under the same number.
fn after_removal(stat: &shmeld_os::Result<SegmentStat>) -> Removal {
    match stat {
        Ok(stat) if !stat.is_marked => Removal::Gone,
        Ok(stat) => Removal::Marked {
            attached: stat.attached,
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Removal::Unseen,
        Err(_) => Removal::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_cannot_be_seen_any_more_is_gone_or_hidden() {
        let refused = |errno| Err(OsError::new("shmctl(IPC_STAT)", "#1", errno));
        assert_eq!(after_removal(&refused(Errno::INVAL)), Removal::Gone);
        assert_eq!(after_removal(&refused(Errno::IDRM)), Removal::Gone);
        assert_eq!(after_removal(&refused(Errno::ACCESS)), Removal::Unseen);
    }
}
