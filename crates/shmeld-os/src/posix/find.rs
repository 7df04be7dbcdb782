//! Shared memory that is looked at and changed from outside, whatever its mode is.

use rustix::fs::{Mode, OFlags};

use super::shm::{SharedMemory, open};
use crate::{ObjectName, Result, explain};

impl SharedMemory {
    /// `open("/dev/shm/name", O_PATH)`: finds an object whatever its mode is, to look at it and to change mode and owner. It cannot be read,
    /// written or mapped: EBADF.
    ///
    /// # Errors
    /// As for [`open`](SharedMemory::open), but for the mode.
    ///
    /// See [open(2)](https://man7.org/linux/man-pages/man2/open.2.html).
    #[doc(alias = "O_PATH")]
    pub fn find(name: &ObjectName) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(name, flags, Mode::empty())?;
        let memory = Self::checked(descriptor, name.to_string())?;
        explain!(
            "open(O_PATH)",
            name,
            "find shared memory, whatever its mode lets us do"
        );
        Ok(memory)
    }
}
