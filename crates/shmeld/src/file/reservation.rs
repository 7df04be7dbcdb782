//! Storage of an output file, reserved ahead of the bytes where that makes writing faster.

use std::os::fd::AsFd;

use shmeld_os::fs;

/// Files shorter than this are not worth the call: measured on ext4, where it pays from about 256 KiB on.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// How much is reserved at once. Only what the next bytes justify: the announced size is the server's word, and a lie must not fill a disk.
const AHEAD_BYTES: u64 = 64 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Reservation {
    /// How long the file is said to become.
    size: u64,
    /// Up to where storage has been asked for.
    end: u64,
    /// `None` until the file system has been asked.
    pays: Option<bool>,
}

impl Reservation {
    /// For a file that will have `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self {
            size,
            end: 0,
            pays: (size < FILE_BYTES_MIN).then_some(false),
        }
    }

    /// Nothing is ever reserved.
    pub(super) fn none() -> Self {
        Self::new(0)
    }

    /// Called before bytes from `start` on are written. A refusal is no error here: the write will say what is wrong.
    #[inline]
    pub(super) fn reserve(&mut self, file: impl AsFd, start: u64) {
        if self.pays == Some(false) || start < self.end || start >= self.size {
            return;
        }
        let pays = self.pays.is_some() || fs::is_faster_reserved(&file).unwrap_or(false);
        let len = AHEAD_BYTES.min(self.size - start);
        let reserved = pays && fs::allocate(&file, start, len, true).is_ok();
        if pays && !reserved {
            // A full disk or quota keeps what it had room for. The file ends at `start`: it has no holes yet, and grows by its bytes only.
            let _ = fs::set_size(&file, start);
        }
        self.pays = Some(reserved);
        self.end = start + len;
    }

    /// The file has holes: what was reserved beyond `end` is given back, and no more is reserved.
    pub(super) fn abandon(&mut self, file: impl AsFd, end: u64) -> shmeld_os::Result<()> {
        let reserved = self.pays.replace(false) == Some(true) && self.end > end;
        if reserved { fs::set_size(file, end) } else { Ok(()) }
    }
}
