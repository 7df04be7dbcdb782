//! What a poster left that was killed: the next one under the same key takes it over, and the catalogue removes it.

use shmeld_core::Memory;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key};
use shmeld_os::users::is_own_uid;

use super::layout::{HEADER_BYTES, message_bytes};
use super::segment::{find, remove_stale};
use super::set::Set;
use super::standing::{State, Values};
use crate::Result;
use crate::file::Interrupt;
use crate::patience::Patience;

/// What five values say to somebody who has nothing to do with the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// A poster has the board, or lets readers in.
    pub(crate) has_poster: bool,
    /// How many readers are inside.
    pub(crate) inside: u64,
    /// It holds nothing but a poster's mark: there was no message yet, or there is none any more.
    pub(crate) is_bare: bool,
}

impl Standing {
    /// Of the five values of a set; others are no board's. Neither are those of a set that nobody has operated on, which may be a poster's that is
    /// about to, and many another program's.
    pub(crate) fn from_values(values: &[u32]) -> Option<Self> {
        let values: Option<Vec<u16>> = values.iter().map(|value| u16::try_from(*value).ok()).collect();
        match State::of(Values::from_all(&values?)?, true)? {
            State::New => None,
            State::Board(values) => Some(Self {
                has_poster: values.poster > 0 || values.open > 0,
                inside: u64::from(values.inside),
                is_bare: values.is_bare(),
            }),
        }
    }
}

/// Whether a segment begins as that of a board does. It is attached for the look, read-only.
pub(crate) fn has_message(id: i32) -> bool {
    is_message(&Segment::from_id(id)).unwrap_or(false)
}

fn is_message(segment: &Segment) -> Result<bool> {
    let how = How {
        read_only: true,
        ..How::default()
    };
    let memory = Memory::from(segment.attach(how)?);
    let mut header = [0; HEADER_BYTES];
    if memory.len() < header.len() {
        return Ok(false);
    }
    memory.read(0, &mut header);
    Ok(message_bytes(&header, memory.len()).is_ok())
}

/// Removes a dead poster's board: takes it as the next poster would, so that no other poster can, and looks at all of it once more.
/// `false` if somebody needs it.
///
/// # Errors
/// It is not our user's; what the kernel says.
pub(crate) fn remove(key: Key) -> Result<bool> {
    let Some(set) = Set::find(key)? else {
        return Ok(false);
    };
    if set.is_awaited() {
        return Ok(false);
    }
    match claim(&set) {
        Ok(true) => {}
        // Another poster was faster, or it is gone, or another program's.
        Ok(false) | Err(crate::Error::Board(_)) => return Ok(false),
        Err(error) => return Err(error),
    }
    let outcome = remove_claimed(&set, key);
    if !matches!(outcome, Ok(true)) {
        set.give_back();
    }
    outcome
}

/// A set that no poster has marked is another program's, or a living poster's that has not come to its next step: it is not touched.
fn claim(set: &Set) -> Result<bool> {
    Ok(matches!(set.state()?, Some(State::Board(_))) && set.claim()?.is_some())
}

fn remove_claimed(set: &Set, key: Key) -> Result<bool> {
    let Some(State::Board(values)) = set.state()? else {
        return Ok(false);
    };
    if set.is_awaited() || values.inside > 0 {
        return Ok(false);
    }
    // Another user's is none of ours, and in nobody's way.
    let segment = match find(key, is_own_uid) {
        Err(crate::Error::Board(_)) => None,
        outcome => outcome?,
    };
    match segment {
        // As the next poster would.
        Some(_) => match remove_stale(key, &Patience::new(None, Interrupt::default())) {
            Err(crate::Error::Board(_)) => return Ok(false),
            outcome => outcome?,
        },
        None if Values { poster: 0, ..values }.is_bare() => {}
        None => return Ok(false),
    }
    set.remove()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_board_say_whether_somebody_has_it() {
        let mark = u32::from(super::super::standing::MARK);
        let standing = |values: &[u32]| {
            Standing::from_values(values).map(|found| (found.has_poster, found.inside, found.is_bare))
        };
        assert_eq!(standing(&[0, 0, 0, 9, mark + 9]), Some((false, 0, false)));
        assert_eq!(standing(&[0, 0, 2, 0, mark]), Some((false, 2, false)));
        assert_eq!(standing(&[1, 0, 0, 0, mark]), Some((true, 0, false)));
        assert_eq!(standing(&[0, 1, 0, 0, mark]), Some((true, 0, false)));
        assert_eq!(standing(&[0, 0, 0, 9, mark - 1]), None);
        assert_eq!(standing(&[0; 5]), None);
        assert_eq!(standing(&[0, 0, 0, 0, mark]), Some((false, 0, true)));
        assert_eq!((standing(&[0; 4]), standing(&[0, 0, 0, 0, 70_000])), (None, None));
    }
}
