//! The four objects of a channel, open.

use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
use shmeld_os::{ErrorKind, ObjectName};

use super::segment::Segment;
use super::{ChannelName, ImageError, hold};
use crate::{Error, Result};

/// See the module.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) request: KernelSemaphore,
    pub(super) answer: KernelSemaphore,
    pub(super) head: Segment,
    pub(super) data: Segment,
}

impl Objects {
    /// Whether all four still have a name: whoever replaces a channel unlinks what was there.
    pub(super) fn are_named(&self) -> Result<bool> {
        Ok(self.is_request_named()? && self.answer.stat()?.links > 0 && self.are_segments_named()?)
    }

    pub(super) fn is_request_named(&self) -> Result<bool> {
        Ok(self.request.stat()?.links > 0)
    }

    pub(super) fn are_segments_named(&self) -> Result<bool> {
        Ok(self.head.stat()?.links > 0 && self.data.stat()?.links > 0)
    }

    /// The provider of ours that serves the channel.
    pub(super) fn provider(&self, channel: &ChannelName) -> Result<Option<u64>> {
        hold::provider(&self.answer, channel.answer().as_str())
    }

    /// How many of ours have come to serve it.
    pub(super) fn providers(&self, channel: &ChannelName) -> Result<u64> {
        hold::providers(&self.answer, channel.answer().as_str())
    }

    /// Removes those of the names that still are these objects.
    pub(super) fn remove_names(&self, channel: &ChannelName) {
        let stats = [
            self.request.stat().ok(),
            self.answer.stat().ok(),
            self.data.stat().ok(),
            self.head.stat().ok(),
        ];
        for (name, stat) in channel.objects().into_iter().zip(stats) {
            let is_ours = |found: &shmeld_os::fs::Stat| stat.is_some_and(|stat| stat.is_same_file(found));
            if Named::stat(name).is_ok_and(|found| found.as_ref().is_some_and(is_ours)) {
                // Whoever was faster has done the same.
                let _ = Named::unlink(name);
            }
        }
    }
}

/// Names in /dev/shm, of which somebody else may be faster to remove one.
pub(super) struct Named;

impl Named {
    /// What has this name; `None` if nothing has.
    pub(super) fn stat(name: &ObjectName) -> Result<Option<shmeld_os::fs::Stat>> {
        absent_is_none(shmeld_os::posix::shm::SharedMemory::stat_name(name).map_err(Error::from))
    }

    /// Removes a name that may be gone already.
    pub(super) fn unlink(name: &ObjectName) -> Result<()> {
        absent_is_none(shmeld_os::posix::shm::SharedMemory::unlink(name).map_err(Error::from)).map(drop)
    }
}

/// An object that is not there is no error of whoever looks for it.
pub(super) fn absent_is_none<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(Error::Os(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same of one that the catalogue has for itself at this moment: it is there, or gone, at the next look.
pub(super) fn out_of_reach_is_none<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Err(Error::Os(error)) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        outcome => absent_is_none(outcome),
    }
}

/// A semaphore whose memory is gone is the peer's doing.
pub(super) fn blame(channel: &ChannelName, error: shmeld_os::Error) -> Error {
    if error.kind() != ErrorKind::Fault {
        return error.into();
    }
    broken(
        channel,
        format!("the semaphore {} was made shorter", error.object()),
    )
}

pub(super) fn broken(channel: &ChannelName, what: String) -> Error {
    ImageError::Broken {
        channel: channel.to_string(),
        what,
    }
    .into()
}
