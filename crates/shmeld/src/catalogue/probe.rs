//! Looks at the leases of our objects, and at what semaphores hold. Opens objects for a moment, and changes nothing.

use std::os::fd::OwnedFd;
use std::path::Path;

use shmeld_core::attach::is_abandoned;
use shmeld_core::session::CLIENT_LEASE_BYTE;
use shmeld_os::lease::{self, Kind as Lock, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::{self, SharedMemory};
use shmeld_os::{ObjectName, fs};

use super::verdict::{Lease, RegionEvidence};
use crate::image::mark::Mark;

/// The directory of POSIX shared memory, for looking into files of any name.
pub(super) struct Files(Option<OwnedFd>);

impl Files {
    pub(super) fn open() -> Self {
        Self(fs::open_directory(Path::new(shm::DIRECTORY)).ok())
    }

    /// A file there, opened safely for reading; `None` if its mode hides it, or it is gone.
    pub(super) fn child(&self, name: &[u8]) -> Option<OwnedFd> {
        let child = fs::open_child(self.0.as_ref()?, name).ok()?;
        let is_file = fs::stat(&child).is_ok_and(|stat| stat.kind == fs::FileKind::File);
        is_file.then_some(child)
    }

    /// How many units a named semaphore has: the first word of its file, with the GNU C library and with musl.
    pub(super) fn semaphore_value(&self, name: &[u8]) -> Option<u32> {
        /// The bit in which musl says that somebody waits.
        const VALUE_BITS: u32 = 0x7fff_ffff;
        let file = self.child(name)?;
        let mut word = [0; 4];
        let count = fs::read_at(&file, &mut word, 0).ok()?;
        (count == word.len()).then(|| u32::from_ne_bytes(word) & VALUE_BITS)
    }

    /// Whether somebody holds a write lock anywhere on it.
    pub(super) fn lock(&self, name: &[u8]) -> Lease {
        match self.child(name) {
            Some(file) => lease_of(&file, Range::WHOLE, Lock::Read),
            None => Lease::Hidden,
        }
    }

    /// To which segments a semaphore of a channel of images belongs.
    pub(super) fn mark(&self, name: &[u8]) -> Option<Mark> {
        Mark::read(self.child(name)?)
    }

    /// Whether nobody but us has it open or mapped; `None` if that cannot be asked for.
    pub(super) fn is_alone(&self, name: &[u8]) -> Option<bool> {
        let file = self.child(name)?;
        let outcome = lease::while_alone(&file, "file", || ()).ok()?;
        Some(outcome.is_some())
    }
}

/// The same of a queue, if its name leads to it in our namespace.
pub(super) fn is_queue_alone(name: &[u8], identity: (u64, u64)) -> Option<bool> {
    let name = ObjectName::new(std::str::from_utf8(name).ok()?).ok()?;
    let queue = MessageQueue::open(&name, Access::Receive).ok()?;
    let stat = queue.stat().ok()?;
    ((stat.dev, stat.ino) == identity).then_some(())?;
    Some(lease::while_alone(&queue, "queue", || ()).ok()?.is_some())
}

fn lease_of(file: &OwnedFd, range: Range, kind: Lock) -> Lease {
    match lease::probe(file, range, kind, "object") {
        Ok(Some(_)) => Lease::Held,
        Ok(None) => Lease::Free,
        Err(_) => Lease::Hidden,
    }
}

/// What a region's leases say.
pub(super) fn region(name: &ObjectName) -> RegionEvidence {
    let client = match SharedMemory::open(name, false) {
        Ok(memory) => match lease::probe(&memory, Range::byte(CLIENT_LEASE_BYTE), Lock::Read, "region") {
            Ok(Some(_)) => Lease::Held,
            Ok(None) => Lease::Free,
            Err(_) => Lease::Hidden,
        },
        Err(_) => Lease::Hidden,
    };
    RegionEvidence {
        client,
        is_finished: client == Lease::Free && is_abandoned(name) == Some(true),
    }
}

/// Whether the lock of a gate is held.
pub(super) fn gate(files: &Files, name: &ObjectName) -> Lease {
    files.lock(name.as_str().as_bytes())
}
