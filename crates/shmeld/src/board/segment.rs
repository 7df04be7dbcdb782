//! The segment of a board: found and judged, or made anew.

use std::ops::Range;
use std::time::{Duration, Instant};

use shmeld_core::Memory;
use shmeld_os::ErrorKind;
use shmeld_os::sysv::shared_memory::{Segment, SegmentStat};
use shmeld_os::sysv::{How, Key, Permissions};
use shmeld_os::users::{ROOT, is_own_uid};

use super::MODE;
use super::error::{BoardError, SEGMENT};
use super::layout::{self, BLANK_BYTES_MAX, Content, MARK_BYTES, SEGMENT_BYTES_MIN};
use super::set::is_gone;
use crate::Result;
use crate::patience::{POLL, Patience};

/// How long a segment may stay attached whose users are dead: somebody looks at their memory through /proc. And how long one may stay empty
/// whose maker lives.
const LINGER: Duration = Duration::from_secs(1);
/// How often a key may be taken again in the moment in which we have freed it.
const TRIES: u32 = 8;
/// How much of a segment is looked at together.
const BLOCK_BYTES: usize = 4096;

/// Makes the segment; one that a dead poster left goes first. To be called by whoever has the board, or knows that there is none.
///
/// # Errors
/// The key is another user's, another program's, or in use; a limit.
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

/// Removes what is there under the key, if a poster of our user made it and nobody has it attached. What another program left may be all that
/// there is of its work: only its user can know that nobody wants it.
pub(super) fn remove_stale(key: Key, patience: &Patience) -> Result<()> {
    let end = Instant::now() + LINGER;
    loop {
        let Some((segment, stat)) = find(key, is_own_uid)? else {
            return Ok(());
        };
        let is_late = Instant::now() >= end;
        let is_used = stat.attached > 0;
        match if is_used { None } else { content(&segment, &stat)? } {
            Some(Content::Other) => {
                let bytes = stat.bytes;
                return Err(BoardError::OtherSegment { key, bytes }.into());
            }
            Some(Content::Blank) if !is_late => {}
            Some(_) => {
                tracing::info!(target: "shmeld::board", "board {key}: a segment of {} bytes that a dead poster left is replaced", stat.bytes);
                return unless_gone(segment.remove());
            }
            None if is_late => {
                let attached = stat.attached.max(1);
                return Err(BoardError::SegmentInUse { key, attached }.into());
            }
            None => {}
        }
        patience.sleep(POLL)?;
    }
}

/// What a segment was made for; `None` if it is gone, or somebody attached it since `stat`. A poster makes it with one mode, a page at least, and
/// writes the marks first.
fn content(segment: &Segment, stat: &SegmentStat) -> Result<Option<Content>> {
    if stat.permissions.mode != MODE || stat.bytes < SEGMENT_BYTES_MIN as u64 {
        return Ok(Some(Content::Other));
    }
    let Some(memory) = attach(segment, true)? else {
        return Ok(None);
    };
    let last_at = layout::text_mark_at(memory.len());
    let between = MARK_BYTES..last_at;
    let behind = last_at + MARK_BYTES..memory.len();
    let is_zero = || memory.len() <= BLANK_BYTES_MAX && is_zero(&memory, between) && is_zero(&memory, behind);
    let content = layout::content(mark(&memory, 0), mark(&memory, last_at), is_zero);
    // After the look: who wrote the mark that we saw, and lives, has it attached as we have.
    let is_ours_alone = segment.stat().is_ok_and(|stat| stat.attached == 1);
    memory.detach()?;
    Ok(is_ours_alone.then_some(content))
}

/// Whether a message for readers with semaphores is in it.
pub(super) fn is_message(memory: &Memory) -> bool {
    memory.len() >= MARK_BYTES && layout::is_message(&mark(memory, 0))
}

/// Whether the key has a segment that a reader without semaphores could have been meant for. For a hint.
pub(super) fn is_for_textbook(key: Key) -> bool {
    let found = find(key, |uid| is_own_uid(uid) || uid == ROOT).ok().flatten();
    let memory = found.and_then(|(segment, _)| attach(&segment, true).ok().flatten());
    memory.is_some_and(|memory| !is_message(&memory))
}

fn mark(memory: &Memory, at: usize) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    memory.read(at, &mut mark);
    mark
}

fn is_zero(memory: &Memory, range: Range<usize>) -> bool {
    let mut block = [0; BLOCK_BYTES];
    range.clone().step_by(BLOCK_BYTES).all(|at| {
        let block = &mut block[..BLOCK_BYTES.min(range.end - at)];
        memory.read(at, block);
        block.iter().all(|byte| *byte == 0)
    })
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
    match segment.stat_of_any() {
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

/// Where others than its user are admitted, what stands in an object may be theirs.
///
/// # Errors
/// The mode is not the one that a poster gives.
pub(super) fn check_mode(key: Key, what: &'static str, permissions: Permissions) -> Result<()> {
    let mode = permissions.mode;
    if mode == MODE {
        return Ok(());
    }
    Err(BoardError::OtherMode { key, what, mode }.into())
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

#[cfg(test)]
mod tests {
    use shmeld_os::process;

    use super::*;

    /// Of two posters that began together, one looked at the number of attachments, the other attached and wrote, the first one saw the mark of
    /// a dead poster and removed what was posted. (Strace can make either as slow as it takes.)
    #[test]
    fn segment_that_somebody_attached_meanwhile_is_not_that_of_a_dead_poster() {
        let key = Key::new(0x5400_0000 | process::pid() & 0xff_ffff);
        let segment = Segment::create_new(key, SEGMENT_BYTES_MIN, MODE).expect("a segment");
        let before = segment.stat().expect("there");
        let user = attach(&segment, false).expect("attached").expect("there");
        user.write(layout::text_mark_at(user.len()), &layout::TEXT_MARK);
        let while_used = content(&segment, &before);
        drop(user);
        let afterwards = content(&segment, &before);
        segment.remove().expect("removed");
        assert_eq!(while_used.expect("looked at"), None);
        assert_eq!(afterwards.expect("looked at"), Some(Content::Text));
    }
}
