//! Where an output goes: a directory that was opened once, and whether what is there may be replaced.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shmeld_os::fs::{self, FileKind, Stat};
use shmeld_os::{Errno, Error};

use super::node::is_node;
use super::output::OutputOptions;

/// A directory to create names in, and its path for messages.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) path: PathBuf,
}

impl Place {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        Ok(Self {
            directory: Arc::new(fs::open_directory(path)?),
            path: path.to_owned(),
        })
    }

    pub(crate) fn join(&self, name: &[u8]) -> PathBuf {
        let name = OsStr::from_bytes(name);
        if name.is_empty() {
            self.path.clone()
        } else if self.path == Path::new(".") {
            PathBuf::from(name)
        } else {
            self.path.join(name)
        }
    }

    /// An error about `name`, told with the path that people know: the file itself has no name yet, or a hidden one.
    pub(super) fn error(&self, name: &[u8], error: &Error) -> Error {
        let path = self.join(name);
        Error::new(error.operation(), path.to_string_lossy(), error.errno())
    }
}

/// Whether a file may take the place of what is there.
pub(super) fn check_replaceable(
    place: &Place,
    name: &[u8],
    stat: &Stat,
    options: OutputOptions,
) -> Result<(), Error> {
    if options.no_clobber {
        return Err(refused(place, name, Errno::EXIST));
    }
    if stat.kind == FileKind::Directory {
        return Err(refused(place, name, Errno::ISDIR));
    }
    Ok(())
}

/// What a file that is fetched in parts will take the place of.
pub(super) fn replaceable(place: &Place, name: &[u8], options: OutputOptions) -> crate::Result<Option<Stat>> {
    let Some(stat) = fs::find_at(&place.directory, name)? else {
        return Ok(None);
    };
    let path = place.join(name);
    if is_node(&path, stat.kind) {
        return Err(crate::Error::Partial {
            path: path.to_string_lossy().into_owned(),
            why: "a device, FIFO or socket keeps nothing that could be gone on with",
            cure: "fetch without --resume",
        });
    }
    check_replaceable(place, name, &stat, options)?;
    Ok(Some(stat))
}

pub(super) fn refused(place: &Place, name: &[u8], errno: Errno) -> Error {
    Error::new("open", place.join(name).to_string_lossy(), errno)
}
