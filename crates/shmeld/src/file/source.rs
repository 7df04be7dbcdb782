//! What a server offers: a trait, so that a server can offer a directory (`directory`), or files that are somewhere else.
//!
//! ```
//! use shmeld::file::source::{Source, Span};
//! use shmeld::file::{Directory, DirectoryOptions, Status};
//!
//! let here = std::env::temp_dir().join(format!("shmeld-example-source-{}", std::process::id()));
//! std::fs::create_dir(&here)?;
//! std::fs::write(here.join("a.txt"), "hello")?;
//! let source = Directory::open(&here, DirectoryOptions::default())?;
//!
//! let file = source.open(b"a.txt").map_err(|refusal| refusal.text)?;
//! assert_eq!((file.entry().size, file.span_at(0)), (5, Ok(Span::Data { end: 5 })));
//! let mut bytes = [0; 8];
//! assert_eq!(file.read_at(&mut bytes, 1), Ok(4));
//! let refusal = source.open(b"../etc/passwd").err().ok_or("it was opened")?;
//! assert_eq!(refusal.status, Status::Denied);
//! # std::fs::remove_dir_all(here)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use shmeld_core::Window;
use shmeld_os::Errno;

use super::record::Entry;
use super::status::{Refusal, Status};

/// A collection of files that a server offers. Paths are bytes, relative, as a client sent them: nothing about them has been checked.
pub trait Source: Send + Sync + 'static {
    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal>;

    /// Begins a walk at a directory, or at a file, which is then the only item. The empty path is the whole collection.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn walk(&self, path: &[u8], levels_max: usize) -> Result<Box<dyn Walk>, Refusal>;
}

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Bytes up to this position have to be read.
    Data {
        /// Position of the first byte after the run.
        end: u64,
    },
    /// Bytes up to this position are zero.
    Hole {
        /// Position of the first byte after the run.
        end: u64,
    },
}

/// Why a slot could not be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FillError {
    /// The client took the slot's memory away.
    PeerTookMemory,
    /// The file could not be read.
    File(Refusal),
}

impl From<Refusal> for FillError {
    fn from(refusal: Refusal) -> Self {
        Self::File(refusal)
    }
}

/// An open file of a [`Source`].
pub trait SourceFile: Send {
    /// What was known when it was opened. The name is the path asked for. Not asked for before [`SourceFile::is_ready`] has said yes once.
    fn entry(&self) -> &Entry;

    /// Whether [`SourceFile::entry`] is known and bytes at `position` can be read without waiting; the other methods are called there only
    /// then. A source that fetches them from elsewhere waits for them here, but for some 20 ms at most: between two such looks the server
    /// sees to its client. This is also where a file that cannot be opened after all is refused.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn is_ready(&self, position: u64) -> Result<bool, Refusal> {
        let _ = position;
        Ok(true)
    }

    /// Something that differs as soon as the name stands for another file, or the file for other bytes: two parts of it that were read at
    /// different times belong together only if this was the same.
    fn identity(&self) -> [u8; 32] {
        let Entry { size, modified, .. } = self.entry();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&size.to_le_bytes());
        hasher.update(&modified.seconds.to_le_bytes());
        hasher.update(&modified.nanoseconds.to_le_bytes());
        hasher.finalize().into()
    }

    /// Reads bytes at a position into private memory; 0 at the end of the file.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal>;

    /// Reads bytes at a position straight into a slot; 0 at the end of the file.
    ///
    /// # Errors
    /// [`FillError`] tells whose fault it is.
    fn fill(&self, slot: &Window<'_>, at: usize, len: usize, position: u64) -> Result<usize, FillError> {
        let mut buffer = vec![0; len];
        let got = self.read_at(&mut buffer, position)?;
        slot.write(at, &buffer[..got]);
        Ok(got)
    }

    /// The run of data or zeros that begins at `position`, which is below the file's size.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn span_at(&self, position: u64) -> Result<Span, Refusal> {
        let _ = position;
        Ok(Span::Data {
            end: self.entry().size,
        })
    }

    /// Whether the file is still what it was when it was opened.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn is_unchanged(&self) -> Result<bool, Refusal>;
}

/// One thing met on a walk.
#[derive(Debug)]
pub struct WalkItem {
    /// What it is; its name is relative to where the walk began, `.` for that itself. A link's target is in `text`.
    pub entry: Entry,
    /// Why it cannot be looked at or descended into.
    pub refusal: Option<Refusal>,
}

/// A walk through a part of a [`Source`], directories before what they hold.
pub trait Walk: Send {
    /// Whether the next item can be had without waiting; as with [`SourceFile::is_ready`], it is waited for here, a little at a time.
    ///
    /// # Errors
    /// The walk is over: the [`Refusal`] of the whole that the client will see.
    fn is_ready(&mut self) -> Result<bool, Refusal> {
        Ok(true)
    }

    /// The next item, or `None` at the end.
    fn next_item(&mut self) -> Option<WalkItem>;

    /// Says that all files will be opened: then a walk may open each at once instead of looking at it first.
    fn will_open_files(&mut self) {}

    /// Opens the file that was the last item.
    ///
    /// # Errors
    /// The [`Refusal`] that the client will see.
    fn open_last(&mut self) -> Result<Box<dyn SourceFile>, Refusal>;
}

/// The refusal that an errno of opening or reading means to a client.
#[must_use]
pub fn refusal_of(errno: Errno) -> Refusal {
    let (status, text) = match errno {
        Errno::NOENT => (Status::Fnf, "no such file"),
        Errno::NOTDIR => (Status::Fnf, "no such file: a part of its path is not a directory"),
        Errno::XDEV => (Status::Denied, "the path leaves the exported directory"),
        Errno::LOOP => (
            Status::Denied,
            "symbolic links are not followed here, or form a loop",
        ),
        Errno::ACCESS | Errno::PERM => (Status::Denied, "the server has no permission to read it"),
        Errno::NAMETOOLONG => (
            Status::NameTooLong,
            "a component of the name is longer than 255 bytes",
        ),
        Errno::NXIO | Errno::NODEV | Errno::ISDIR => (Status::NotAFile, "not a regular file"),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => {
            (Status::Busy, "the server is out of descriptors or memory")
        }
        other => {
            return Refusal::new(
                Status::Io,
                format!("reading failed: {}", shmeld_os::error::errno_text(other)),
            );
        }
    };
    Refusal::new(status, text)
}
