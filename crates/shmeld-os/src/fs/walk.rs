//! `open_beneath` without `openat2`: one component at a time.
//!
//! ```text
//! directories   the descriptors from the root of the walk down to where it is; `..` pops one
//! pending       the components still to go, nearest last; a symbolic link is replaced by those it holds
//! ```
//! Each directory is opened by its parent's descriptor with `O_NOFOLLOW`, so nobody can swap a link in; and
//! `..` never asks the kernel, so a directory that is moved away during the walk leads nowhere new.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::label::fail_at;
use super::open::READ_SAFELY;
use super::{Audience, FileKind, Links, Stat};
use crate::Result;

/// The kernel's own limit (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;

/// The kernel's limit for a path, its terminating NUL included (`PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// How deep a walk goes; each level holds a descriptor. The kernel has no such limit, but it has no
/// descriptors to run out of either.
const DEPTH_MAX: usize = 256;

/// How often a name may change its kind between two looks before somebody is playing with us.
const SWAPS_MAX: usize = 64;

/// `openat(…, O_NOFOLLOW)` for each component: what [`open_beneath`](super::open_beneath) does where the
/// kernel has no `openat2`.
///
/// # Errors
/// The same as [`open_beneath`](super::open_beneath); and ENAMETOOLONG deeper than 256 directories. A magic
/// link of /proc counts as the text that it shows.
pub fn open_beneath_by_walk(dir: impl AsFd, relative: &[u8], links: Links) -> Result<OwnedFd> {
    Walk::new(dir.as_fd(), links, None)
        .run(relative)
        .map_err(|errno| fail_at("openat", &dir, relative, errno))
}

/// The same for a path that is opened on behalf of others: `None` if a directory passed on the way is one that the audience may not search.
/// `dir` itself is not looked at; nor is what the path leads to, which is for the caller to judge by its descriptor. Of what is neither a
/// file nor a directory that is one of `O_PATH`: it is not opened.
///
/// # Errors
/// As for [`open_beneath_by_walk`].
pub fn open_beneath_for(
    audience: Audience,
    dir: impl AsFd,
    relative: &[u8],
    links: Links,
) -> Result<Option<OwnedFd>> {
    let mut walk = Walk::new(dir.as_fd(), links, Some(audience));
    match walk.run(relative) {
        Ok(opened) => Ok(Some(opened)),
        Err(_) if walk.is_hidden => Ok(None),
        Err(errno) => Err(fail_at("openat", &dir, relative, errno)),
    }
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    directories: Vec<OwnedFd>,
    pending: Vec<Vec<u8>>,
    links: Links,
    links_followed: usize,
    swaps: usize,
    audience: Option<Audience>,
    /// Whether the walk ended at a directory that the audience may not search.
    is_hidden: bool,
}

impl<'a> Walk<'a> {
    fn new(root: BorrowedFd<'a>, links: Links, audience: Option<Audience>) -> Self {
        Walk {
            root,
            directories: Vec::new(),
            pending: Vec::new(),
            links,
            links_followed: 0,
            swaps: 0,
            audience,
            is_hidden: false,
        }
    }

    fn run(&mut self, relative: &[u8]) -> Result<OwnedFd, Errno> {
        if relative.contains(&0) {
            return Err(Errno::INVAL);
        }
        if relative.is_empty() {
            return self.open_here();
        }
        self.push_path(relative)?;
        while let Some(component) = self.pending.pop() {
            let is_last = self.pending.is_empty();
            match component.as_slice() {
                b"." => {}
                b".." => {
                    // The kernel asks for search permission before it goes up, too.
                    self.open_path(b".")?;
                    // Popping the root of the walk would leave it.
                    self.directories.pop().ok_or(Errno::XDEV)?;
                }
                name if is_last => match self.open_last(name) {
                    Err(Errno::LOOP) => self.follow(name)?,
                    outcome => return outcome,
                },
                name => self.enter(name)?,
            }
        }
        self.open_here()
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.directories
            .last()
            .map_or(self.root, |directory| directory.as_fd())
    }

    /// Puts the components of a path before all others.
    fn push_path(&mut self, path: &[u8]) -> Result<(), Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        if path.len() >= PATH_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if path.starts_with(b"/") {
            return Err(Errno::XDEV);
        }
        if path.ends_with(b"/") {
            // A trailing slash demands a directory, and so does a component after it.
            self.pending.push(b".".to_vec());
        }
        for component in path
            .split(|byte| *byte == b'/')
            .rev()
            .filter(|component| !component.is_empty())
        {
            self.pending.push(component.to_vec());
        }
        Ok(())
    }

    /// Goes down into a directory, or follows the link of that name.
    fn enter(&mut self, name: &[u8]) -> Result<(), Errno> {
        let child = self.open_path(name)?;
        let stat = stat_of(&child)?;
        match stat.kind {
            FileKind::Directory if self.directories.len() >= DEPTH_MAX => Err(Errno::NAMETOOLONG),
            FileKind::Directory => {
                self.is_hidden = self
                    .audience
                    .is_some_and(|audience| !audience.may_search(&child, &stat));
                if self.is_hidden {
                    return Err(Errno::ACCESS);
                }
                self.directories.push(child);
                Ok(())
            }
            FileKind::Symlink => self.follow_link(&child),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Follows the last component, which refused to open because it is a link.
    fn follow(&mut self, name: &[u8]) -> Result<(), Errno> {
        let child = self.open_path(name)?;
        if stat_of(&child)?.kind == FileKind::Symlink {
            return self.follow_link(&child);
        }
        // It was a link a moment ago: look at the new one.
        self.swaps += 1;
        if self.swaps > SWAPS_MAX {
            return Err(Errno::LOOP);
        }
        self.pending.push(name.to_vec());
        Ok(())
    }

    fn follow_link(&mut self, link: &OwnedFd) -> Result<(), Errno> {
        self.links_followed += 1;
        if self.links == Links::Refuse || self.links_followed > LINKS_MAX {
            return Err(Errno::LOOP);
        }
        let target = retry_on_intr(|| rustix::fs::readlinkat(link, "", Vec::new()))?;
        self.push_path(target.as_bytes())
    }

    /// Opens what the path leads to. On behalf of others only files and directories: to open a FIFO would let go whoever waits to write into
    /// it, and a device may do anything. All else comes back as a descriptor of O_PATH, which shows its kind and nothing more.
    fn open_last(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        if self.audience.is_some() {
            let child = self.open_path(name)?;
            match stat_of(&child)?.kind {
                FileKind::File | FileKind::Directory => {}
                FileKind::Symlink => return Err(Errno::LOOP),
                _ => return Ok(child),
            }
        }
        self.open_for_reading(name)
    }

    fn open_path(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)
    }

    fn open_for_reading(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(name, READ_SAFELY | OFlags::NOFOLLOW)
    }

    fn open_here(&self) -> Result<OwnedFd, Errno> {
        self.open_at(b".", READ_SAFELY)
    }

    fn open_at(&self, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        retry_on_intr(|| rustix::fs::openat(self.here(), name, flags, Mode::empty()))
    }
}

fn stat_of(descriptor: &OwnedFd) -> Result<Stat, Errno> {
    Ok(retry_on_intr(|| rustix::fs::fstat(descriptor))?.into())
}
