//! The side that comes in, copies the message, and goes.

use std::time::Duration;

use shmeld_os::users::is_own_uid;

use super::error::{BoardError, SEGMENT};
use super::layout::{self, HEADER_BYTES};
use super::owner::Owner;
use super::set::{Set, Step};
use super::standing::{Standing, State};
use super::{ReadOptions, check_user, segment};
use crate::patience::{POLL, Patience, SLICE};
use crate::{Error, Result};

/// A message that was read. The poster waits until it is finished or dropped.
#[derive(Debug)]
pub struct Reading {
    message: Vec<u8>,
    inside: Inside,
}

impl Reading {
    /// The message, in private memory.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Tells the poster that this reader has what it came for. Dropping it instead tells that it has not.
    ///
    /// # Errors
    /// None so far: a poster that is gone need not be told.
    pub fn finish(mut self) -> Result<()> {
        self.inside.has_finished = true;
        Ok(())
    }
}

#[cfg(test)]
impl Reading {
    /// What happens in a forked child.
    pub(super) fn dropped_by_child(mut self) {
        self.inside.owner = Owner::parent();
    }
}

/// Reads the message under a key, and waits for it if it is not there yet.
///
/// # Errors
/// [`BoardError::NoMessage`] if none came in time; [`BoardError::PosterDied`]; [`BoardError::Closed`] for those who are late;
/// [`BoardError::Foreign`], [`BoardError::OtherSet`], [`BoardError::Broken`] for what is no board, or lies; [`Error::Interrupted`].
pub fn read(options: ReadOptions) -> Result<Reading> {
    let patience = Patience::new(options.timeout, options.interrupt);
    let key = options.key;
    check_user(key)?;
    let none = || {
        let waited = patience.waited();
        Error::from(BoardError::NoMessage { key, waited })
    };
    let mut nap = POLL;
    let set = loop {
        if let Some(set) = Set::find(key)? {
            break set;
        }
        if patience.is_over() {
            return Err(none());
        }
        if nap == POLL {
            tracing::info!(target: "shmeld::board", "board {key}: waiting for a message");
        }
        patience.sleep(nap)?;
        nap = longer(nap);
    };
    loop {
        let step = match set.state()? {
            None => Step::Gone,
            Some(State::New) => {
                patience.sleep(POLL)?;
                Step::NotYet
            }
            Some(State::Board(_)) => set.enter(patience.slice()?)?,
        };
        match step {
            Step::Done => break,
            Step::Gone => return Err(BoardError::Closed { key }.into()),
            Step::NotYet => {}
        }
        match set.standing()? {
            Some(Standing::Died) => return Err(BoardError::PosterDied { key }.into()),
            Some(Standing::Wait) if patience.is_over() => return Err(none()),
            Some(Standing::Wait) => {}
            None => return Err(BoardError::Closed { key }.into()),
        }
    }
    let inside = Inside {
        set,
        has_finished: false,
        owner: Owner::this_process(),
    };
    let message = copy(&inside.set)?;
    Ok(Reading { message, inside })
}

/// Nothing tells a reader that a key has come into use.
fn longer(nap: Duration) -> Duration {
    (nap * 2).min(SLICE)
}

/// Copies the message out, once. The header is judged from its copy, by the size that the kernel says.
fn copy(set: &Set) -> Result<Vec<u8>> {
    let key = set.key();
    let found = match segment::find(key, is_own_uid)? {
        Some((segment, stat)) => {
            segment::check_mode(key, SEGMENT, stat.permissions)?;
            segment::attach(&segment, true)?
        }
        None => None,
    };
    // A poster that gives up removes the segment although we are inside.
    let memory = found.ok_or(BoardError::Closed { key })?;
    if memory.len() < HEADER_BYTES {
        return Err(set.broken(&format!("a {SEGMENT} of {} bytes", memory.len())));
    }
    let mut header = [0; HEADER_BYTES];
    memory.read(0, &mut header);
    let bytes = layout::message_bytes(&header, memory.len()).map_err(|what| set.broken(&what))?;
    let mut message = vec![0; bytes];
    memory.read(HEADER_BYTES, &mut message);
    memory.detach()?;
    Ok(message)
}

/// Being inside, which the poster waits for the end of.
#[derive(Debug)]
struct Inside {
    set: Set,
    has_finished: bool,
    owner: Owner,
}

impl Drop for Inside {
    fn drop(&mut self) {
        if self.owner.is_here() {
            self.set.leave(self.has_finished);
        }
    }
}
