//! What the requester of a channel left that was killed: the next one replaces it, and the catalogue removes it.

use shmeld_os::fs::Stat;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::users::ROOT;
use shmeld_os::{ErrorKind, ObjectName, explain, process};

use super::ChannelName;
use super::mark::Mark;
use super::objects::Named;
use crate::{Error, Result};

/// The objects of a channel, each open once: whoever removes them must be their only user.
#[derive(Debug)]
pub(crate) struct Remains {
    channel: ChannelName,
    head: SharedMemory,
    data: SharedMemory,
    answer: SharedMemory,
    /// Who was killed while it made or removed the channel has none.
    request: Option<SharedMemory>,
}

impl Remains {
    /// What has the names now; `None` if that is not a whole channel, or somebody is looking at it.
    pub(crate) fn open(channel: &ChannelName) -> Result<Option<Self>> {
        let (head, data) = (open(channel.head())?, open(channel.data())?);
        let (answer, request) = (open(channel.answer())?, open(channel.request())?);
        Ok(match (head, data, answer) {
            (Some(head), Some(data), Some(answer)) => Some(Self {
                channel: channel.clone(),
                head,
                data,
                answer,
                request,
            }),
            _ => None,
        })
    }

    /// All of them, HEAD first.
    pub(crate) fn files(&self) -> Vec<&SharedMemory> {
        let three = [&self.head, &self.data, &self.answer];
        three.into_iter().chain(&self.request).collect()
    }

    /// Removes the names, HEAD's last, if all of it belongs to one dead requester; `false` if somebody has it, or it is not proven ours.
    pub(crate) fn remove(&self) -> Result<bool> {
        let is_removed = self.take_leases()? && self.is_proven()?;
        if is_removed {
            self.channel.objects().into_iter().try_for_each(Named::unlink)?;
        }
        for file in self.files() {
            lease::release(file, Range::WHOLE, file.label())?;
        }
        Ok(is_removed)
    }

    /// HEAD's first: as long as it is taken, no requester of ours makes the channel anew.
    fn take_leases(&self) -> Result<bool> {
        for file in self.files() {
            if !lease::try_take(file, Range::WHOLE, Kind::Write, file.label())? {
                return Ok(false);
            }
            explain!(
                "fcntl(F_OFD_SETLK)",
                file.label(),
                "all leases on it are free: nobody of ours has it"
            );
        }
        Ok(true)
    }

    fn is_proven(&self) -> Result<bool> {
        let (head, data) = (self.head.stat()?, self.data.stat()?);
        let (answer, mark) = (self.answer.stat()?, Mark::of(&head, &data));
        let is_its = |semaphore: &SharedMemory| Mark::read(semaphore) == Some(mark);
        let is_request = match &self.request {
            Some(request) => is_its(request) && has_name(self.channel.request(), &request.stat()?)?,
            None => Named::stat(self.channel.request())?.is_none(),
        };
        Ok(is_its(&self.answer)
            && is_request
            && has_name(self.channel.answer(), &answer)?
            && has_name(self.channel.data(), &data)?
            && has_name(self.channel.head(), &head)?
            && self.is_of_one_user()?)
    }

    /// Only our own user's; as root, anybody's.
    fn is_of_one_user(&self) -> Result<bool> {
        let owner = self.head.stat()?.uid;
        for file in self.files() {
            if file.stat()?.uid != owner {
                return Ok(false);
            }
        }
        Ok([owner, ROOT].contains(&process::effective_uid()))
    }
}

fn open(name: &ObjectName) -> Result<Option<SharedMemory>> {
    match SharedMemory::open(name, true) {
        Ok(memory) => Ok(Some(memory)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(Error::from(error)),
    }
}

fn has_name(name: &ObjectName, stat: &Stat) -> Result<bool> {
    Ok(Named::stat(name)?.is_some_and(|named| named.is_same_file(stat)))
}
