//! Opening a path that a stranger chose, without ever leaving the directory it is meant for.
//!
//! The kernel can do this in one call, `openat2` with `RESOLVE_BENEATH`, also against somebody who renames
//! directories and symbolic links at the same time. Where that call is missing, or a container's filter
//! forbids it, [`open_beneath_by_walk`] does the same step by step.
//!
//! ```
//! use shmeld_os::{Errno, fs::{self, Links}};
//!
//! let proc = fs::open_directory("/proc".as_ref())?;
//! assert!(fs::open_beneath(&proc, b"sys/../version", Links::Follow).is_ok());
//! let escape = fs::open_beneath(&proc, b"sys/../../etc/passwd", Links::Follow);
//! assert_eq!(escape.map_err(|error| error.errno()).err(), Some(Errno::XDEV));
//! # Ok::<(), shmeld_os::Error>(())
//! ```

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::label::fail_at;
use super::open::READ_SAFELY;
use super::open_beneath_by_walk;
use crate::Result;

/// What to do with symbolic links on the way and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Links {
    /// Follow those that stay beneath the directory.
    Follow,
    /// Refuse all with ELOOP.
    Refuse,
}

/// How often `openat2` is repeated when it could not prove, because of a rename at the same moment, that
/// the path stayed beneath. Each try is a fresh race; losing this many means that somebody tries hard,
/// and the walk, which needs no such proof, takes over.
const RACE_TRIES_MAX: usize = 64;

/// `openat2(dir, relative, O_RDONLY|O_NONBLOCK, RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS)`: opens a path
/// beneath a directory for reading. `""` is the directory itself.
///
/// `..` and symbolic links are fine as long as they stay beneath `dir`. FIFOs and devices are opened
/// without waiting: look at [`stat`](super::stat()) before reading.
///
/// # Errors
/// EXDEV if the path is absolute or would leave the directory; ELOOP for a refused link, a magic link of
/// /proc or more than 40 links; and what every open can say.
///
/// See [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html).
#[doc(alias = "openat2")]
pub fn open_beneath(dir: impl AsFd, relative: &[u8], links: Links) -> Result<OwnedFd> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let path = if relative.is_empty() { b"." } else { relative };
    for _ in 0..RACE_TRIES_MAX {
        let opened = retry_on_intr(|| rustix::fs::openat2(&dir, path, READ_SAFELY, Mode::empty(), resolve));
        match opened {
            Ok(descriptor) => return Ok(descriptor),
            // A race with a rename; or a file lease, which the walk below will report.
            Err(Errno::AGAIN) => {}
            // Missing before Linux 5.6; EPERM is how container filters say the same.
            Err(Errno::NOSYS | Errno::PERM) => break,
            Err(errno) => return Err(fail_at("openat2", &dir, relative, errno)),
        }
    }
    open_beneath_by_walk(dir, relative, links)
}
