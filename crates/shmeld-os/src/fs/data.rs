//! Bytes of files: reading, writing, holes, reservation.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};

use super::label::fail_on;
use crate::{Result, sys};

/// `pread(fd, buffer, offset)`: reads at a position, up to the length of `buffer`. 0 is the end of the file.
///
/// # Errors
/// The bare reason; EIO and ESTALE come from the device, the rest from wrong use.
///
/// See [pread(2)](https://man7.org/linux/man-pages/man2/pread.2.html).
#[doc(alias = "pread")]
pub fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    retry_on_intr(|| rustix::io::pread(&fd, &mut *buffer, offset))
}

/// `pwrite(fd, bytes, offset)`: writes all of `bytes` at a position, in as many calls as it takes.
///
/// # Errors
/// The bare reason; some of the bytes may have been written. ENOSPC and EDQUOT: no room. EFBIG: beyond
/// `RLIMIT_FSIZE`, if [SIGXFSZ is ignored](crate::process::ignore_broken_pipe_and_file_size).
///
/// See [pwrite(2)](https://man7.org/linux/man-pages/man2/pwrite.2.html).
#[doc(alias = "pwrite")]
pub fn write_all_at(fd: impl AsFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        let position = offset.checked_add(done as u64).ok_or(Errno::FBIG)?;
        match retry_on_intr(|| rustix::io::pwrite(&fd, &bytes[done..], position))? {
            // No error and no progress: a device that gives up. Do not spin on it.
            0 => return Err(Errno::IO),
            written => done += written,
        }
    }
    Ok(())
}

/// `write(fd, bytes)`: writes all of `bytes` where the descriptor stands, for pipes and devices.
///
/// Somebody else may have made the pipe non-blocking; then this waits for room instead.
///
/// # Errors
/// The bare reason. EPIPE: nobody reads any more, if
/// [SIGPIPE is ignored](crate::process::ignore_broken_pipe_and_file_size).
///
/// See [write(2)](https://man7.org/linux/man-pages/man2/write.2.html).
#[doc(alias = "write")]
pub fn write_all(fd: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match retry_on_intr(|| rustix::io::write(&fd, &bytes[done..])) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => done += written,
            Err(Errno::AGAIN) => wait_until_writable(&fd)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// `write(fd, bytes)`: one call, so that what it writes to a file opened with `O_APPEND` is in one piece. Returns how many bytes were
/// written; on a disk that is nearly full not all.
///
/// # Errors
/// The bare reason, as for [`write_all_at`].
///
/// See [write(2)](https://man7.org/linux/man-pages/man2/write.2.html).
#[doc(alias = "write")]
pub fn write_once(fd: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    retry_on_intr(|| rustix::io::write(&fd, bytes))
}

/// Waits as a blocking `write` would.
pub(crate) fn wait_until_writable(fd: impl AsFd) -> Result<(), Errno> {
    retry_on_intr(|| rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None))?;
    Ok(())
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// Bytes from `start` up to, not including, `end`.
    Data {
        /// The offset that was asked for.
        start: u64,
        /// Where the stretch ends.
        end: u64,
    },
    /// Nothing is stored from `start` up to, not including, `end`; it reads as zeros.
    Hole {
        /// The offset that was asked for.
        start: u64,
        /// Where the stretch ends.
        end: u64,
    },
    /// The offset is at or beyond the end.
    End,
}

/// The last 2 MiB of all offsets. In the page there that an offset cannot reach the end of, Linux 6.18 takes data on tmpfs for a hole: its
/// sum overflows. 2 MiB, because it may be a large page.
const BLIND_FROM: u64 = (1 << 63) - (2 << 20);

/// `lseek(fd, offset, SEEK_DATA)`, `SEEK_HOLE`: what is stored at `offset` of a file of `bytes` bytes, and
/// up to where.
///
/// The stretch begins at `offset` and never ends beyond `bytes`. A file system that does not know holes has
/// data everywhere; so has the end of a file of nearly 8 EiB. This moves the position of the descriptor.
///
/// # Errors
/// ESPIPE for something that is no file; EIO.
///
/// See [lseek(2)](https://man7.org/linux/man-pages/man2/lseek.2.html).
#[doc(alias = "lseek")]
#[doc(alias = "SEEK_HOLE")]
#[doc(alias = "SEEK_DATA")]
pub fn span_at(fd: impl AsFd, offset: u64, bytes: u64) -> Result<Span> {
    if offset >= bytes {
        return Ok(Span::End);
    }
    if offset >= BLIND_FROM {
        return Ok(Span::Data {
            start: offset,
            end: bytes,
        });
    }
    let bytes = bytes.min(BLIND_FROM);
    let data = match retry_on_intr(|| rustix::fs::seek(&fd, SeekFrom::Data(offset))) {
        Ok(data) => data,
        // No data from here on, or the file has shrunk meanwhile: either way it reads as nothing.
        Err(Errno::NXIO) => {
            return Ok(Span::Hole {
                start: offset,
                end: bytes,
            });
        }
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
            return Ok(Span::Data {
                start: offset,
                end: bytes,
            });
        }
        Err(errno) => return Err(fail_on("lseek", &fd, errno)),
    };
    if data > offset {
        return Ok(Span::Hole {
            start: offset,
            end: data.min(bytes),
        });
    }
    match retry_on_intr(|| rustix::fs::seek(&fd, SeekFrom::Hole(offset))) {
        Ok(hole) if hole > offset => Ok(Span::Data {
            start: offset,
            end: hole.min(bytes),
        }),
        // A hole was punched, or the end cut off, since the call before: reading it as data is right too.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL) => Ok(Span::Data {
            start: offset,
            end: bytes,
        }),
        Err(errno) => Err(fail_on("lseek", &fd, errno)),
    }
}

/// `fallocate(fd, mode, offset, len)`: reserves storage for a stretch of a file, so that writing there
/// cannot run out of space.
///
/// With `keep_size` the length of the file stays; else it grows to the end of the stretch. Nothing that
/// is in the file changes. A `len` of 0 does nothing.
///
/// # Errors
/// [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace);
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the file system cannot reserve.
///
/// See [fallocate(2)](https://man7.org/linux/man-pages/man2/fallocate.2.html).
#[doc(alias = "fallocate")]
pub fn allocate(fd: impl AsFd, offset: u64, len: u64, keep_size: bool) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    let flags = if keep_size {
        FallocateFlags::KEEP_SIZE
    } else {
        FallocateFlags::empty()
    };
    retry_on_intr(|| rustix::fs::fallocate(&fd, flags, offset, len))
        .map_err(|errno| fail_on("fallocate", &fd, errno))
}

/// `ftruncate(fd, bytes)`: gives a file its length. What is added reads as zeros and takes no room; what was reserved beyond is given
/// back, also if the length does not change.
///
/// # Errors
/// EFBIG; EINVAL for what is no regular file.
///
/// See [ftruncate(2)](https://man7.org/linux/man-pages/man2/ftruncate.2.html).
#[doc(alias = "ftruncate")]
pub fn set_size(fd: impl AsFd, bytes: u64) -> Result<()> {
    retry_on_intr(|| rustix::fs::ftruncate(&fd, bytes)).map_err(|errno| fail_on("ftruncate", &fd, errno))
}

/// `fsync(fd)`: returns when a file, or the names in a directory, would survive a power cut.
///
/// # Errors
/// EIO, ENOSPC, EDQUOT: something written earlier did not reach the disk.
///
/// See [fsync(2)](https://man7.org/linux/man-pages/man2/fsync.2.html).
#[doc(alias = "fsync")]
pub fn sync(fd: impl AsFd) -> Result<()> {
    retry_on_intr(|| rustix::fs::fsync(&fd)).map_err(|errno| fail_on("fsync", &fd, errno))
}

/// `close(dup(fd))`: writes what the file system has held back until a descriptor is closed, and tells whether it took it.
///
/// NFS, FUSE and their like say only then that there is no room, or that a quota is used up. Others have nothing to do.
///
/// # Errors
/// ENOSPC, EDQUOT, EIO: something written earlier was refused. EMFILE.
///
/// See [close(2)](https://man7.org/linux/man-pages/man2/close.2.html).
#[doc(alias = "close")]
pub fn flush(fd: impl AsFd) -> Result<()> {
    loop {
        let duplicate = retry_on_intr(|| rustix::io::fcntl_dupfd_cloexec(&fd, 0))
            .map_err(|errno| fail_on("fcntl(F_DUPFD_CLOEXEC)", &fd, errno))?;
        match sys::close(duplicate) {
            Ok(()) => return Ok(()),
            // The descriptor is gone and nothing was told: ask once more.
            Err(Errno::INTR) => {}
            Err(errno) => return Err(fail_on("close", &fd, errno)),
        }
    }
}
