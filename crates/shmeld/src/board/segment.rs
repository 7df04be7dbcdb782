//! The segment of a board: found and judged, or made anew.

use std::time::{Duration, Instant};

use shmeld_core::Memory;
use shmeld_os::ErrorKind;
use shmeld_os::sysv::shared_memory::{Segment, SegmentStat};
use shmeld_os::sysv::{How, Key};
use shmeld_os::users::is_own_uid;

use super::MODE;
use super::error::{BoardError, SEGMENT};
use super::patience::{POLL, Patience};
use super::set::is_gone;
use crate::Result;

/// How long a segment may stay attached whose users are dead: somebody looks at their memory through /proc.
const LINGER: Duration = Duration::from_secs(1);
/// How often a key may be taken again in the moment in which we have freed it.
const TRIES: u32 = 8;

/// Makes the segment; one that a dead poster left goes first. To be called by whoever has the board, or knows that there is none.
///
/// # Errors
/// The key is another user's, or in use; a limit.
pub(super) fn make(key: Key, bytes: usize, patience: &Patience) -> Result<Segment> {
    let mut tries = 0;
    loop {
        match Segment::create_new(key, bytes, MODE) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            outcome => return Ok(outcome?),
        }
        remove_stale(key, patience)?;
    }
}

/// Removes what is there under the key, if it is ours and nobody has it attached.
fn remove_stale(key: Key, patience: &Patience) -> Result<()> {
    let end = Instant::now() + LINGER;
    loop {
        let Some((segment, stat)) = find(key, is_own_uid)? else {
            return Ok(());
        };
        if stat.attached == 0 {
            tracing::info!(target: "shmeld::board", "board {key}: a segment of {} bytes that nobody has attached is replaced", stat.bytes);
            return unless_gone(segment.remove());
        }
        if Instant::now() >= end {
            let attached = stat.attached;
            return Err(BoardError::SegmentInUse { key, attached }.into());
        }
        patience.sleep(POLL)?;
    }
}

/// The segment under a key, if it is there, and what the kernel says about it.
///
/// # Errors
/// It was made by a user who is not trusted.
pub(super) fn find(key: Key, is_trusted: impl Fn(u32) -> bool) -> Result<Option<(Segment, SegmentStat)>> {
    let segment = match Segment::open(key, 0) {
        Ok(segment) => segment,
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let what = SEGMENT;
    match segment.stat() {
        Ok(stat) if is_trusted(stat.permissions.creator_uid) => Ok(Some((segment, stat))),
        Ok(stat) => {
            let uid = Some(stat.permissions.creator_uid);
            Err(BoardError::Foreign { key, what, uid }.into())
        }
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(BoardError::Foreign { key, what, uid: None }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Attaches a segment; `None` if it is gone.
pub(super) fn attach(segment: &Segment, read_only: bool) -> Result<Option<Memory>> {
    let how = How {
        read_only,
        ..How::default()
    };
    match segment.attach(how) {
        Ok(mapping) => Ok(Some(Memory::from(mapping))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A removal of what somebody else has removed already is done.
pub(super) fn unless_gone(outcome: shmeld_os::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if !is_gone(&error) => Err(error.into()),
        _ => Ok(()),
    }
}
