//! The channel as its provider has it: found, judged and leased.

use shmeld_os::posix::kernel_semaphore::KernelSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::users::ROOT;
use shmeld_os::{ErrorKind, ObjectName, process};

use super::hold::{self, Hold};
use super::objects::{Objects, out_of_reach_is_none};
use super::segment::Segment;
use super::{ChannelName, ImageError};
use crate::{Error, Result};

/// See the module.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) objects: Objects,
    _hold: Hold,
    /// Users whose segments are accepted when they are replaced.
    uids: Vec<u32>,
    requester: Requester,
}

/// What was seen of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Requester {
    /// It holds no lease: not one of ours.
    Naive,
    Alive,
    Dead,
}

impl Joined {
    /// Opens all four objects, REQ first; `None` if they are not there yet, are being replaced, or are served by somebody else.
    pub(super) fn open(channel: &ChannelName, uids: &[u32], has_told: &mut bool) -> Result<Option<Self>> {
        let Some(objects) = out_of_reach_is_none(open_all(channel))? else {
            return Ok(None);
        };
        let semaphores = [
            (channel.request(), objects.request.stat()?),
            (channel.answer(), objects.answer.stat()?),
        ];
        let segments = [
            (channel.head(), objects.head.stat()?),
            (channel.data(), objects.data.stat()?),
        ];
        for (name, stat) in semaphores.into_iter().chain(segments) {
            check_owner(channel, name, stat.uid, uids)?;
        }
        // What REQ belongs to was made before it and is removed after it.
        if !objects.are_named()? {
            return Ok(None);
        }
        let Some(description) =
            out_of_reach_is_none(SharedMemory::open(channel.answer(), true).map_err(Error::from))?
        else {
            return Ok(None);
        };
        if !description.stat()?.is_same_file(&objects.answer.stat()?) {
            return Ok(None);
        }
        let Some(hold) = Hold::of_provider(&description, channel.answer().as_str())? else {
            if !std::mem::replace(has_told, true) {
                tracing::info!("channel {channel}: another provider serves it; waiting until that one ends");
            }
            return Ok(None);
        };
        *has_told = false;
        let requester = if hold::has_requester(objects.head.memory())? {
            Requester::Alive
        } else {
            Requester::Naive
        };
        Ok(Some(Self {
            objects,
            _hold: hold,
            uids: uids.to_vec(),
            requester,
        }))
    }

    /// Opens the segments again if they were replaced alone; `false` if they are not there.
    pub(super) fn follow(&mut self, channel: &ChannelName) -> Result<bool> {
        if self.objects.are_segments_named()? {
            return Ok(true);
        }
        let segments = || Ok((Segment::open(channel.head())?, Segment::open(channel.data())?));
        let Some((head, data)) = out_of_reach_is_none(segments())? else {
            return Ok(false);
        };
        check_owner(channel, channel.head(), head.stat()?.uid, &self.uids)?;
        check_owner(channel, channel.data(), data.stat()?.uid, &self.uids)?;
        self.objects.head = head;
        self.objects.data = data;
        self.objects.are_named()
    }

    /// Notices the death of a requester of ours. Its successor makes the channel anew, which is noticed too: nothing else is to be done.
    pub(super) fn watch_requester(&mut self, channel: &ChannelName) -> Result<()> {
        let is_leased = hold::has_requester(self.objects.head.memory())?;
        self.requester = match (self.requester, is_leased) {
            (_, true) => Requester::Alive,
            (Requester::Alive, false) => {
                tracing::info!("channel {channel}: its requester died; waiting for the next one");
                Requester::Dead
            }
            (seen, false) => seen,
        };
        Ok(())
    }

    /// Removes the names of a requester that died: nobody else will before the next one comes.
    pub(super) fn remove_after_death(&self, channel: &ChannelName) {
        let is_leased = hold::has_requester(self.objects.head.memory());
        if self.requester != Requester::Naive && is_leased.is_ok_and(|leased| !leased) {
            // Objects of others stay: the kernel refuses.
            self.objects.remove_names(channel);
        }
    }
}

fn open_all(channel: &ChannelName) -> Result<Objects> {
    let request = KernelSemaphore::open(channel.request()).map_err(explained)?;
    Ok(Objects {
        request,
        answer: KernelSemaphore::open(channel.answer()).map_err(explained)?,
        head: Segment::open(channel.head())?,
        data: Segment::open(channel.data())?,
    })
}

fn explained(error: shmeld_os::Error) -> shmeld_os::Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return error;
    }
    error.with_hint(
        "only its own user may use this channel: start the requester with --public to let others provide"
            .to_owned(),
    )
}

fn check_owner(channel: &ChannelName, object: &ObjectName, uid: u32, uids: &[u32]) -> Result<()> {
    if uid == process::effective_uid() || uid == ROOT || uids.contains(&uid) {
        return Ok(());
    }
    Err(ImageError::Foreign {
        channel: channel.to_string(),
        object: object.clone(),
        uid,
    }
    .into())
}
