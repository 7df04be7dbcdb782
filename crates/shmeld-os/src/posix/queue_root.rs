//! The directory in which the kernel keeps the queues: what a confinement must allow so that a queue can be opened and made.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::mqueue::MessageQueue;
use crate::fs::stat;
use crate::{Error, ErrorKind, Result, listing};

impl MessageQueue {
    /// `open(O_PATH)` on a mounted message queue file system, or `fsopen("mqueue")` and `fsmount()` for one that is mounted nowhere: the
    /// directory that holds this queue. `None` if there is no such mount and we may not make one (without `CAP_SYS_ADMIN`); the mount
    /// that is made has no place in any tree and goes with the descriptor.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if there are no descriptors left; what the kernel says about the queue itself.
    ///
    /// See [mq_overview(7)](https://man7.org/linux/man-pages/man7/mq_overview.7.html) and
    /// [fsopen(2)](https://man7.org/linux/man-pages/man2/fsopen.2.html).
    #[doc(alias = "fsopen")]
    pub fn root(&self) -> Result<Option<OwnedFd>> {
        let device = self.stat()?.dev;
        // A mount can show the queues of another IPC namespace, or lie beneath another mount.
        let is_it = |root: &OwnedFd| stat(root).is_ok_and(|found| found.dev == device);
        let mounts = match listing::queue_mounts() {
            Ok(mounts) => mounts,
            Err(error) if error.kind() == ErrorKind::Limit => return Err(error),
            // /proc is missing.
            Err(_) => Vec::new(),
        };
        let mounted = mounts.iter().filter_map(|path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty())).ok()
        });
        if let Some(root) = { mounted }.find(is_it) {
            return Ok(Some(root));
        }
        match mount_nowhere() {
            Ok(root) => Ok(Some(root).filter(is_it)),
            Err(errno) if ErrorKind::of(errno) == ErrorKind::Limit => {
                Err(Error::new("fsopen", "mqueue", errno))
            }
            Err(_) => Ok(None),
        }
    }
}

/// A mount of this process's IPC namespace that has no place in any tree and goes with its descriptor.
pub(crate) fn mount_nowhere() -> Result<OwnedFd, Errno> {
    let context = fsopen("mqueue", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}
