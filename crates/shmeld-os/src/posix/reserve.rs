//! Memory behind an object of shared memory: reserved as a whole, so that no later access finds it missing.

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

use super::shm::SharedMemory;
use crate::{Error, Result, explain, fs, limits};

/// One `fallocate` reserves at most this much. A signal makes the kernel undo the whole call; small
/// calls get done between the ticks of a profiler's timer.
const RESERVE_BYTES_MAX: u64 = 8 << 20;

impl SharedMemory {
    /// `posix_fallocate(fd, 0, bytes)`: makes the object at least `bytes` long, with memory behind every
    /// page, so that touching it cannot fail. Calling it again is cheap.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`](crate::ErrorKind::NoSpace), naming the bytes needed and free; the part that was reserved stays until the
    /// object goes. [`ErrorKind::Limit`](crate::ErrorKind::Limit) beyond `RLIMIT_FSIZE`, if
    /// [SIGXFSZ is ignored](crate::process::ignore_broken_pipe_and_file_size).
    ///
    /// See [posix_fallocate(3)](https://man7.org/linux/man-pages/man3/posix_fallocate.3.html).
    #[doc(alias = "posix_fallocate")]
    pub fn reserve(&self, bytes: u64) -> Result<()> {
        self.reserve_steps(0, bytes, || true)
            .map_err(|(error, _)| error)?;
        explain!(
            "posix_fallocate",
            self.label(),
            format_args!("reserve {bytes} bytes now, so that no later access finds the memory missing"),
        );
        Ok(())
    }

    /// `posix_fallocate(fd, size, bytes - size)`: makes the object `bytes` long if it is shorter, with
    /// memory behind what is new; never shrinks it. Before each step `go_on` is asked.
    ///
    /// If it does not get that far, what it has added is cut off again, unless somebody else has changed the
    /// size meanwhile: then the size stays. (Linux has no call that cuts only if the size is still the same; between the look and
    /// the cut are microseconds.)
    ///
    /// # Errors
    /// As for [`reserve`](SharedMemory::reserve); [`ErrorKind::Interrupted`](crate::ErrorKind::Interrupted) if `go_on` says no.
    ///
    /// See [posix_fallocate(3)](https://man7.org/linux/man-pages/man3/posix_fallocate.3.html).
    #[doc(alias = "posix_fallocate")]
    pub fn grow(&self, bytes: u64, go_on: impl FnMut() -> bool) -> Result<()> {
        let present = self.stat()?.bytes;
        if present >= bytes {
            return Ok(());
        }
        if let Err((error, reached)) = self.reserve_steps(present, bytes, go_on) {
            if reached > present && self.stat()?.bytes == reached {
                // The first error says why; this one could say nothing more.
                let _ = fs::set_size(self, present);
            }
            return Err(error);
        }
        explain!(
            "posix_fallocate",
            self.label(),
            format_args!("grow from {present} to {bytes} bytes")
        );
        Ok(())
    }

    /// With the error comes how far it got.
    fn reserve_steps(
        &self,
        start: u64,
        end: u64,
        mut go_on: impl FnMut() -> bool,
    ) -> Result<(), (Error, u64)> {
        let mut position = start;
        while position < end {
            let step = (end - position).min(RESERVE_BYTES_MAX);
            let outcome = if go_on() {
                retry_on_intr(|| rustix::fs::fallocate(self, FallocateFlags::empty(), position, step))
            } else {
                Err(Errno::INTR)
            };
            outcome.map_err(|errno| {
                (
                    self.fail_to_reserve(end - start, position - start, errno),
                    position,
                )
            })?;
            position += step;
        }
        Ok(())
    }

    fn fail_to_reserve(&self, needed: u64, reserved: u64, errno: Errno) -> Error {
        let label = match limits::shared_memory_space() {
            Ok((_, free)) if errno == Errno::NOSPC && free < u64::MAX => {
                format!(
                    "{} ({needed} bytes needed, {} free)",
                    self.label(),
                    free.saturating_add(reserved)
                )
            }
            _ => self.label().to_owned(),
        };
        Error::new("posix_fallocate", label, errno)
    }
}
