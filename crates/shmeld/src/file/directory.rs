//! A directory as the source of files: every path is resolved beneath its root by the kernel, never by looking at the text.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use shmeld_core::Window;
use shmeld_os::fs::{self, Audience, FileKind, Links, Stat};
use shmeld_os::{Errno, explain, name::escape};

use super::record::{Entry, NAME_BYTES_MAX};
use super::source::{FillError, Source, SourceFile, Span, Walk, refusal_of};
use super::status::{Refusal, Status};
use super::walk::DirectoryWalk;

/// How a [`Directory`] treats what it finds.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryOptions {
    /// Follow symbolic links that stay beneath the root.
    pub links: Links,
    /// The largest file that is served.
    pub file_bytes_max: u64,
    /// Serve only what the modes of a file and of each directory below the root show to these users; `None` is whatever the server may read.
    pub audience: Option<Audience>,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            links: Links::Follow,
            file_bytes_max: u64::MAX,
            audience: None,
        }
    }
}

/// The files beneath a directory.
#[derive(Debug)]
pub struct Directory {
    root: OwnedFd,
    options: DirectoryOptions,
    /// Devices that were found to be real file systems, so that one `fstatfs` a device is enough.
    real_devices: Mutex<BTreeSet<u64>>,
}

/// What every open file needs to know of its [`Directory`].
pub(super) struct Rules<'d> {
    pub options: DirectoryOptions,
    pub real_devices: &'d Mutex<BTreeSet<u64>>,
}

impl Directory {
    /// Opens the directory that is to be offered.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(root: &Path, options: DirectoryOptions) -> Result<Self, shmeld_os::Error> {
        let root = fs::open_directory(root)?;
        Ok(Self {
            root,
            options,
            real_devices: Mutex::default(),
        })
    }

    fn open_path(&self, path: &[u8]) -> Result<(OwnedFd, Stat), Refusal> {
        let file = match self.options.audience {
            None => self.open_for_us(path)?,
            Some(audience) => self.open_for(audience, path)?,
        };
        let stat = fs::stat(&file).map_err(|error| refusal_of(error.errno()))?;
        Ok((file, stat))
    }

    fn open_for_us(&self, path: &[u8]) -> Result<OwnedFd, Refusal> {
        explain!(
            "openat2(RESOLVE_BENEATH)",
            escape(path),
            "the kernel itself refuses every path that leaves the root"
        );
        fs::open_beneath(&self.root, path, self.options.links).map_err(|error| refusal_of(error.errno()))
    }

    fn open_for(&self, audience: Audience, path: &[u8]) -> Result<OwnedFd, Refusal> {
        explain!(
            "openat(O_NOFOLLOW)",
            escape(path),
            "one directory after the other, with a look at what the mode of each shows to others"
        );
        fs::open_beneath_for(audience, &self.root, path, self.options.links)
            .map_err(|error| refusal_of(error.errno()))?
            .ok_or_else(|| hidden(audience, "search a directory on the way to it"))
    }

    /// Whether a directory below the root may be listed for those whom this server serves.
    pub(super) fn may_list(&self, directory: &OwnedFd, stat: &Stat) -> Result<(), Refusal> {
        match self.options.audience {
            Some(audience) if !audience.may_list(directory, stat) => {
                Err(hidden(audience, "list it and search it"))
            }
            _ => Ok(()),
        }
    }

    /// Whether its descendants' modes have to be looked at.
    pub(super) fn has_audience(&self) -> bool {
        self.options.audience.is_some()
    }

    fn is_root(&self, stat: &Stat) -> Result<bool, Refusal> {
        let root = fs::stat(&self.root).map_err(|error| refusal_of(error.errno()))?;
        Ok(root.is_same_file(stat))
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            options: self.options,
            real_devices: &self.real_devices,
        }
    }
}

/// The root, for [`Server::confine`](super::Server::confine).
impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn check_path(path: &[u8]) -> Result<(), Refusal> {
    if path.is_empty() || path.contains(&0) {
        return Err(Status::BadName.into());
    }
    if path.len() > NAME_BYTES_MAX {
        return Err(Status::NameTooLong.into());
    }
    Ok(())
}

impl Source for Directory {
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        check_path(path)?;
        let (file, stat) = self.open_path(path)?;
        self.rules().admit(file, stat, path.to_vec())
    }

    fn walk(&self, path: &[u8], levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        let path = if path.is_empty() { b"." } else { path };
        check_path(path)?;
        let (start, stat) = self.open_path(path)?;
        match self.options.audience {
            Some(audience) if stat.kind == FileKind::File => check_readable(audience, &start, &stat)?,
            // What is offered is the root itself: who offers it has decided that.
            Some(_) if stat.kind == FileKind::Directory && !self.is_root(&stat)? => {
                self.may_list(&start, &stat)?
            }
            _ => {}
        }
        let root = self.root.try_clone().map_err(|_| Refusal::from(Status::Busy))?;
        let walk_of = Self {
            root,
            options: self.options,
            real_devices: Mutex::default(),
        };
        Ok(Box::new(DirectoryWalk::new(walk_of, start, stat, levels_max)))
    }
}

impl Directory {
    /// The rules by which files met on a walk are admitted.
    pub(super) fn admit(
        &self,
        file: OwnedFd,
        stat: Stat,
        name: Vec<u8>,
    ) -> Result<Box<dyn SourceFile>, Refusal> {
        self.rules().admit(file, stat, name)
    }
}

impl Rules<'_> {
    /// Accepts an open file, or says why it is not served. Everything is asked of the descriptor, not of the name.
    fn admit(&self, file: OwnedFd, stat: Stat, name: Vec<u8>) -> Result<Box<dyn SourceFile>, Refusal> {
        if stat.kind != FileKind::File {
            return Err(Refusal::new(Status::NotAFile, describe(stat.kind)));
        }
        if let Some(audience) = self.options.audience {
            check_readable(audience, &file, &stat)?;
        }
        if stat.bytes > self.options.file_bytes_max {
            return Err(Status::TooLarge.into());
        }
        if !self.is_real(&file, stat.dev)? {
            return Err(Refusal::new(
                Status::NotAFile,
                "a file of the kernel (proc, sys), not of a disk",
            ));
        }
        Ok(Box::new(DirectoryFile {
            file,
            opened: stat,
            entry: Entry::from_stat(&stat, name),
        }))
    }

    fn is_real(&self, file: &OwnedFd, device: u64) -> Result<bool, Refusal> {
        // A poisoned set still holds what was found out before.
        let known = |set: &Mutex<BTreeSet<u64>>| {
            set.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(&device)
        };
        if known(self.real_devices) {
            return Ok(true);
        }
        if fs::is_pseudo(file).map_err(|error| refusal_of(error.errno()))? {
            return Ok(false);
        }
        self.real_devices
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(device);
        Ok(true)
    }
}

fn check_readable(audience: Audience, file: &OwnedFd, stat: &Stat) -> Result<(), Refusal> {
    if audience.may_read(file, stat) {
        Ok(())
    } else {
        Err(hidden(audience, "read it"))
    }
}

/// The refusal of what the server may read and the audience may not.
fn hidden(audience: Audience, what: &str) -> Refusal {
    let who = match audience {
        Audience::Group(gid) => format!("group {gid}"),
        Audience::Others => "others".to_owned(),
    };
    let text = format!("{who} may not {what}, and this server shows only what {who} may read");
    Refusal::new(Status::Denied, text)
}

/// What to call a thing that is not a regular file.
pub(super) fn describe(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Directory => "a directory, not a file",
        FileKind::Symlink => "a symbolic link",
        FileKind::Fifo => "a FIFO, not a file",
        FileKind::Socket => "a socket, not a file",
        FileKind::CharDevice | FileKind::BlockDevice => "a device, not a file",
        _ => "not a regular file",
    }
}

struct DirectoryFile {
    file: OwnedFd,
    opened: Stat,
    entry: Entry,
}

impl SourceFile for DirectoryFile {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        fs::read_at(&self.file, buffer, position).map_err(refusal_of)
    }

    fn fill(&self, slot: &Window<'_>, at: usize, len: usize, position: u64) -> Result<usize, FillError> {
        let mut got = 0;
        while got < len {
            match slot.fill_from(at + got, len - got, self.file.as_fd(), position + got as u64) {
                Ok(0) => break,
                Ok(bytes) => got += bytes,
                // The kernel could not write where the slot lies: the client's doing. Short reads are repeated above for the same
                // reason: only the repetition tells a lost page from the end of the file.
                Err(Errno::FAULT) => return Err(FillError::PeerTookMemory),
                Err(errno) => return Err(refusal_of(errno).into()),
            }
        }
        Ok(got)
    }

    fn identity(&self) -> [u8; 32] {
        let stat = &self.opened;
        let mut hasher = blake3::Hasher::new();
        for number in [stat.dev, stat.ino, stat.bytes] {
            hasher.update(&number.to_le_bytes());
        }
        for time in [stat.modified, stat.changed] {
            hasher.update(&time.seconds.to_le_bytes());
            hasher.update(&time.nanoseconds.to_le_bytes());
        }
        hasher.finalize().into()
    }

    fn span_at(&self, position: u64) -> Result<Span, Refusal> {
        let size = self.opened.bytes;
        // A file with all its blocks has no holes: no system call to find that out.
        if self.opened.blocks_512.saturating_mul(512) >= size {
            return Ok(Span::Data { end: size });
        }
        match fs::span_at(&self.file, position, size).map_err(|error| refusal_of(error.errno()))? {
            fs::Span::Data { end, .. } => Ok(Span::Data { end: end.min(size) }),
            fs::Span::Hole { end, .. } => Ok(Span::Hole { end: end.min(size) }),
            fs::Span::End => Ok(Span::Hole { end: size }),
        }
    }

    fn is_unchanged(&self) -> Result<bool, Refusal> {
        let now = fs::stat(&self.file).map_err(|error| refusal_of(error.errno()))?;
        let same = |a: &Stat, b: &Stat| (a.bytes, a.modified) == (b.bytes, b.modified);
        // The status-change time also moves when a link or mode changes, which does not concern the content; but a writer that sets the
        // modification time back cannot set that one, so it counts whenever the number of links is the same.
        Ok(same(&now, &self.opened)
            && (now.changed == self.opened.changed
                || now.links != self.opened.links
                || now.mode != self.opened.mode))
    }
}
