//! The channel as its requester has it: made, leased, and removed in the end.

use std::time::Duration;

use shmeld_os::mappers::processes_mapping;
use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
use shmeld_os::posix::shm::{self, SharedMemory};
use shmeld_os::{Errno, ErrorKind, ObjectName, explain, process};

use super::hold::{self, Hold};
use super::mark::Mark;
use super::objects::{Named, Objects, absent_is_none};
use super::segment::Segment;
use super::standing::{self, Head, Plan};
use super::{ChannelName, ImageError};
use crate::{Error, Result};

/// How often making a channel begins anew when others make and remove the same names meanwhile.
const RACE_TRIES_MAX: usize = 100;
/// How long to wait for the catalogue, which has what it looks at for itself for a moment.
const LOOK_NAP: Duration = Duration::from_millis(5);

/// See the module. The names are removed on drop, as far as they still are these objects.
#[derive(Debug)]
pub(super) struct Owned {
    channel: ChannelName,
    pub(super) objects: Objects,
    _hold: Hold,
}

impl Owned {
    /// Makes the four objects, HEAD first and REQ last; what a dead requester left is removed before, and with `force` what a living one has.
    pub(super) fn make(channel: &ChannelName, mode: u32, force: bool) -> Result<Self> {
        for _ in 0..RACE_TRIES_MAX {
            match Self::try_make(channel, mode, force) {
                Ok(Some(owned)) => return Ok(owned),
                Ok(None) => {}
                Err(Error::Os(error)) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(Error::Os(error)) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(LOOK_NAP);
                }
                Err(error) => return Err(error),
            }
        }
        Err(changed(channel.head()))
    }

    /// `None` if somebody else is about to remove what is there.
    fn try_make(channel: &ChannelName, mode: u32, force: bool) -> Result<Option<Self>> {
        let (head, has_data) = look(channel)?;
        let plan = standing::plan(head, has_data, force);
        match plan {
            Plan::Refuse => return Err(in_use(channel, head)),
            Plan::Replace if !remove(channel, head)? => return Ok(None),
            Plan::Join | Plan::Replace => {}
        }
        Self::create(channel, mode, plan == Plan::Join).map(Some)
    }

    fn create(channel: &ChannelName, mode: u32, may_join: bool) -> Result<Self> {
        let (head, hold) = create_head(channel.head(), mode)?;
        let others = || -> Result<_> {
            let data = create_data(channel.data(), mode)?;
            let mark = Mark::of(&head.stat()?, &data.stat()?);
            let answer = semaphore(channel.answer(), mode, mark, may_join)?;
            Ok((data, answer, semaphore(channel.request(), mode, mark, may_join)?))
        };
        let (data, answer, request) = others().inspect_err(|_| {
            // HEAD is ours as long as its lease is: so is what goes with it, and it is of no use to anybody.
            for name in channel.objects() {
                let _ = Named::unlink(name);
            }
        })?;
        Ok(Self {
            channel: channel.clone(),
            objects: Objects {
                request,
                answer,
                head,
                data,
            },
            _hold: hold,
        })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.objects.remove_names(&self.channel);
    }
}

/// What is there. Objects of others are never replaced, whatever they are.
fn look(channel: &ChannelName) -> Result<(Head, bool)> {
    let mut has_data = false;
    for name in channel.objects() {
        let Some(stat) = Named::stat(name)? else { continue };
        if stat.uid != process::effective_uid() {
            return Err(ImageError::Foreign {
                channel: channel.to_string(),
                object: name.clone(),
                uid: stat.uid,
            }
            .into());
        }
        has_data |= name == channel.data();
    }
    let Some(head) = absent_is_none(Segment::open(channel.head()).map_err(with_cure))? else {
        return Ok((Head::Absent, has_data));
    };
    let head = if hold::has_requester(head.memory())? {
        Head::Leased
    } else if processes_mapping(&head.stat()?)?.is_empty() {
        Head::Stale
    } else {
        Head::Mapped
    };
    Ok((head, has_data))
}

/// A FIFO, a link or a directory under the name of a segment is of our own user, and still not ours to remove.
fn with_cure(error: Error) -> Error {
    match error {
        Error::Os(error) if error.kind() == ErrorKind::Invalid => {
            let object = error.object().trim_start_matches('/').to_owned();
            let cure = format!(
                "something else has that name: choose another channel, or remove it: rm {}/{object}",
                shm::DIRECTORY
            );
            error.with_hint(cure).into()
        }
        error => error,
    }
}

/// Removes all names, HEAD last; `false` if somebody else is about to do that or has done it.
fn remove(channel: &ChannelName, head: Head) -> Result<bool> {
    let mut holds = None;
    if head == Head::Stale {
        // Of several who find the same leftover, the one with its lease removes it: the others would remove what that one makes next.
        let Some(leftover) = absent_is_none(Segment::open(channel.head()))? else {
            return Ok(false);
        };
        // The lease wants a description of its own; the one that asks sees whether it is still the leftover that was found.
        let Some(description) =
            absent_is_none(SharedMemory::open(channel.head(), true).map_err(Error::from))?
        else {
            return Ok(false);
        };
        let hold = Hold::of_requester(&description, channel.head().as_str())?;
        let is_found = description.stat()?.is_same_file(&leftover.stat()?);
        if hold.is_none() || !is_found || leftover.stat()?.links == 0 {
            return Ok(false);
        }
        tracing::info!(
            "channel {channel}: removing what a requester left that is gone (its lease is free, and nobody has it mapped)"
        );
        holds = hold;
    }
    channel.objects().into_iter().try_for_each(Named::unlink)?;
    drop(holds);
    Ok(true)
}

fn in_use(channel: &ChannelName, head: Head) -> Error {
    let holder = match head {
        Head::Leased => "a requester that lives (its lease is held)",
        _ => "a process that has its segment mapped",
    };
    ImageError::InUse {
        channel: channel.to_string(),
        holder: holder.to_owned(),
    }
    .into()
}

/// HEAD, leased before it gets its name, and the lease.
fn create_head(name: &ObjectName, mode: u32) -> Result<(Segment, Hold)> {
    let memory = SharedMemory::create_unnamed()?;
    memory.set_mode(mode)?;
    // The lease keeps this description; what is read and written goes through another one, which a child may inherit.
    let hold = Hold::of_requester(&memory, name.as_str())?;
    let hold = hold.ok_or_else(|| changed(name))?;
    memory.publish(name)?;
    Ok((reopen(name, &memory)?, hold))
}

fn create_data(name: &ObjectName, mode: u32) -> Result<Segment> {
    let memory = SharedMemory::create_unnamed()?;
    memory.set_mode(mode)?;
    memory.publish(name)?;
    reopen(name, &memory)
}

fn reopen(name: &ObjectName, memory: &SharedMemory) -> Result<Segment> {
    let segment = Segment::open(name)?;
    if segment.stat()?.is_same_file(&memory.stat()?) {
        Ok(segment)
    } else {
        Err(changed(name))
    }
}

/// A new semaphore; or the one that is there, if somebody sleeps on it who came first.
fn semaphore(name: &ObjectName, mode: u32, mark: Mark, may_join: bool) -> Result<KernelSemaphore> {
    for _ in 0..RACE_TRIES_MAX {
        match KernelSemaphore::create_noted(name, mode, 0, mark.as_note()) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => return Ok(outcome?),
        }
        if may_join && let Some(semaphore) = joined(name)? {
            return Ok(semaphore);
        }
        Named::unlink(name)?;
    }
    Err(changed(name))
}

/// A semaphore of our user with 0 units that somebody has open: a program that was started before its requester, and made it.
fn joined(name: &ObjectName) -> Result<Option<KernelSemaphore>> {
    let Ok(semaphore) = KernelSemaphore::open(name) else {
        return Ok(None);
    };
    let stat = semaphore.stat()?;
    // We have it mapped ourselves by now.
    let others = processes_mapping(&stat)?
        .into_iter()
        .any(|pid| pid != process::pid());
    if stat.uid != process::effective_uid() || stat.links != 1 || !others || semaphore.value()? != 0 {
        return Ok(None);
    }
    explain!(
        "sem_open",
        name,
        "somebody made this semaphore and waits already: it is used as it is"
    );
    Ok(Some(semaphore))
}

fn changed(name: &ObjectName) -> Error {
    shmeld_os::Error::new("shm_open", name.to_string(), Errno::AGAIN).into()
}
