//! Devices, FIFOs and sockets that stand where an output shall go.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use shmeld_os::fs::{self, FileKind};
use shmeld_os::{Errno, Error};

/// Whether what stands at `path` is, symbolic links followed, a device, FIFO or socket: such a node is written into and never replaced. Links
/// in /dev and /proc stand for open descriptors and are written into as well.
pub(super) fn is_node(path: &Path, kind: FileKind) -> bool {
    match kind {
        FileKind::File | FileKind::Directory => false,
        FileKind::Symlink => {
            stands_for_descriptor(path)
                || std::fs::metadata(path).is_ok_and(|found| {
                    let kind = found.file_type();
                    kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()
                })
        }
        _ => true,
    }
}

fn stands_for_descriptor(path: &Path) -> bool {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    let parent = parent.unwrap_or_default();
    (parent.starts_with("/dev") && !parent.starts_with("/dev/shm")) || parent.starts_with("/proc")
}

/// Opens what stands at `path` for writing if it is a node.
pub(super) fn open_node(path: &Path, kind: FileKind) -> Result<Option<OwnedFd>, Error> {
    if !is_node(path, kind) {
        return Ok(None);
    }
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| Error::of_io("open", path.to_string_lossy(), &error))?;
    // Whoever may rename here could have put a link to another file in its place meanwhile, which would be written into.
    if !stands_for_descriptor(path) && fs::stat(&file)?.kind == FileKind::File {
        return Err(Error::new("open", path.to_string_lossy(), Errno::EXIST));
    }
    Ok(Some(file.into()))
}
