//! The five semaphores of a board, as operations with names.
//!
//! A new set is all zero on Linux, and all zero is the state in which nobody was here: nothing is ever initialised. `SETVAL` is not used at
//! all, because it makes every process forget what the kernel should take back for it.
//!
//! The first poster adds [`MARK`] to `DONE` in the step in which it takes the board, and it stays there. Whoever changes a set asks for it in
//! the same step: a set of another program stays as it is.

use std::time::Instant;

use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::users::is_own_uid;
use shmeld_os::{Errno, ErrorKind, explain};

use super::error::{BoardError, SET};
use super::standing::{MARK, Standing, State, Values};
use super::{MODE, segment};
use crate::{Error, Result};

const POSTER: u16 = 0;
const OPEN: u16 = 1;
const INSIDE: u16 = 2;
const ARRIVED: u16 = 3;
const DONE: u16 = 4;
const SEMAPHORES: u16 = 5;

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// All of it was done.
    Done,
    /// Nothing was done, and the time is up.
    NotYet,
    /// The set is removed.
    Gone,
}

/// The set under a key, made by whom it should be.
#[derive(Debug)]
pub(super) struct Set {
    set: SemaphoreSet,
    key: Key,
}

impl Set {
    /// For a reader: the set if it is there.
    ///
    /// # Errors
    /// It is not our user's, or no board's.
    pub(super) fn find(key: Key) -> Result<Option<Self>> {
        let set = match SemaphoreSet::open(key, 0) {
            Ok(set) => set,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Self::checked(set, key)
    }

    /// For a poster: the set, made if it is not there; `None` if somebody has removed it this moment.
    ///
    /// # Errors
    /// It is not our user's, or no board's; a limit.
    pub(super) fn find_or_make(key: Key) -> Result<Option<Self>> {
        let set = match SemaphoreSet::open(key, 0) {
            Err(error) if is_gone(&error) => SemaphoreSet::open_or_create(key, SEMAPHORES, MODE)?,
            set => set?,
        };
        Self::checked(set, key)
    }

    fn checked(set: SemaphoreSet, key: Key) -> Result<Option<Self>> {
        let what = SET;
        let stat = match set.stat_of_any() {
            Ok(stat) => stat,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return Err(BoardError::Foreign { key, what, uid: None }.into());
            }
            Err(error) => return Err(error.into()),
        };
        let creator_uid = stat.permissions.creator_uid;
        if !is_own_uid(creator_uid) {
            let uid = Some(creator_uid);
            return Err(BoardError::Foreign { key, what, uid }.into());
        }
        if stat.semaphores != u64::from(SEMAPHORES) {
            let semaphores = stat.semaphores;
            return Err(BoardError::OtherSet { key, semaphores }.into());
        }
        segment::check_mode(key, what, stat.permissions)?;
        Ok(Some(Self { set, key }))
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Poster: takes the board if nobody has it. What it was before; `None` if it is gone, or became another one this moment.
    ///
    /// # Errors
    /// Somebody has it.
    pub(super) fn claim(&self) -> Result<Option<State>> {
        let claim = [
            Operation::zero(POSTER).at_once(),
            Operation::add(POSTER, 1).undone(),
        ];
        let Some(state) = self.state()? else {
            return Ok(None);
        };
        let step = match state {
            State::New => {
                let unused = [OPEN, INSIDE, ARRIVED, DONE].map(|index| Operation::zero(index).at_once());
                let mark = [Operation::add(DONE, MARK)];
                self.operate(&[&unused[..], &mark, &claim].concat(), None)?
            }
            State::Board(_) => {
                let closed = [Operation::zero(OPEN).at_once()];
                self.operate(&[&marked()[..], &closed, &claim].concat(), None)?
            }
        };
        match step {
            Step::Done => {
                self.tell("POSTER from 0 to 1: ours until we end; the kernel takes it back if we die");
                return Ok(Some(state));
            }
            Step::NotYet => self.check_unposted()?,
            Step::Gone => {}
        }
        Ok(None)
    }

    /// Why the board could not be taken; if it can by now, nothing.
    fn check_unposted(&self) -> Result<()> {
        match self.state()? {
            Some(State::Board(values)) if values.poster > 0 => {
                // The kernel says 0 for a process that our namespace does not see, and kill 0 means all of our own group.
                let pid = self.set.last_pid(POSTER).ok().filter(|pid| *pid != 0);
                Err(BoardError::AlreadyPosted { key: self.key, pid }.into())
            }
            Some(State::Board(values)) if values.open > 0 => {
                Err(self.broken("the board is open, and nobody has posted"))
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody waits for one of its semaphores: a reader for a message.
    pub(super) fn is_awaited(&self) -> bool {
        (0..SEMAPHORES).any(|index| self.set.waiting(index).is_ok_and(|waiting| waiting != (0, 0)))
    }

    /// Poster: waits until nobody is inside.
    pub(super) fn wait_until_empty(&self, end: Instant) -> Result<Step> {
        self.operate(&[Operation::zero(INSIDE)], Some(end))
    }

    /// Poster: the same at the end, which is told.
    pub(super) fn wait_until_left(&self, end: Instant) -> Result<Step> {
        let step = self.wait_until_empty(end)?;
        if step == Step::Done {
            self.tell("INSIDE is 0: all who came in have finished or died");
        }
        Ok(step)
    }

    /// Poster: lets readers in.
    pub(super) fn open(&self) -> Result<Step> {
        let step = self.operate(&[Operation::add(OPEN, 1).undone()], None)?;
        if step == Step::Done {
            self.tell("OPEN from 0 to 1: readers may come in");
        }
        Ok(step)
    }

    /// Poster: waits for one more arrival.
    pub(super) fn await_arrival(&self, end: Instant) -> Result<Step> {
        let step = self.operate(&[Operation::take(ARRIVED, 1)], Some(end))?;
        if step == Step::Done {
            self.tell("ARRIVED 1 less: a reader has come in");
        }
        Ok(step)
    }

    /// Poster: lets nobody in any more, whoever is inside.
    pub(super) fn close(&self) -> Result<Step> {
        let step = self.operate(&[Operation::take(OPEN, 1).undone().at_once()], None)?;
        if step == Step::Done {
            self.tell("OPEN from 1 to 0: nobody comes in any more");
        }
        Ok(step)
    }

    /// Poster: gives the board back, with all that is there. The next one finds what a dead one would have left.
    pub(super) fn give_back(&self) {
        let step = self.operate(&[Operation::take(POSTER, 1).undone().at_once()], None);
        if matches!(step, Ok(Step::Done)) {
            self.tell("POSTER from 1 to 0: not ours any more");
        }
    }

    /// Poster: takes out what ARRIVED holds.
    pub(super) fn drain_arrived(&self) -> Result<u64> {
        self.drain(ARRIVED, 0)
    }

    /// Poster: takes out what DONE holds.
    pub(super) fn drain_done(&self) -> Result<u64> {
        self.drain(DONE, MARK)
    }

    fn drain(&self, index: u16, stays: u16) -> Result<u64> {
        let held = match self.set.value(index) {
            Ok(held) => held.saturating_sub(stays),
            Err(error) if is_gone(&error) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        if held == 0 {
            return Ok(0);
        }
        // Only the poster takes units out; if somebody else did meanwhile, none of them counts.
        let step = self.operate(&[Operation::take(index, held).at_once()], None)?;
        Ok(if step == Step::Done { u64::from(held) } else { 0 })
    }

    /// Reader: comes in once the board is open. If the reader dies inside, the kernel takes INSIDE back, and ARRIVED stays.
    ///
    /// Not to be called on a new set: when somebody ends who would have had something to undo, the kernel takes that for an operation, and
    /// the poster would not know its set again.
    pub(super) fn enter(&self, end: Instant) -> Result<Step> {
        let [has_mark, keeps_mark] = marked();
        let enter = [
            has_mark,
            keeps_mark,
            Operation::take(OPEN, 1),
            Operation::add(OPEN, 1),
            Operation::add(ARRIVED, 1),
            Operation::add(INSIDE, 1).undone(),
        ];
        let step = self.operate(&enter, Some(end))?;
        if step == Step::Done {
            self.tell(
                "OPEN is 1; ARRIVED and INSIDE one more, in one step: we are in, the poster waits for us",
            );
        }
        Ok(step)
    }

    /// Reader: goes out, and says that it has finished. Never waits: if the set is gone or changed by others there is nobody to tell.
    pub(super) fn leave(&self, has_finished: bool) {
        let out = Operation::take(INSIDE, 1).undone().at_once();
        if has_finished
            && matches!(
                self.operate(&[out, Operation::add(DONE, 1)], None),
                Ok(Step::Done)
            )
        {
            self.tell("INSIDE one less, DONE one more, in one step: we have finished");
            return;
        }
        let _ = self.operate(&[out], None);
    }

    /// How things stand for a reader that could not come in.
    pub(super) fn standing(&self) -> Result<Option<Standing>> {
        match self.state()? {
            None => Ok(None),
            Some(State::New) => Ok(Some(Standing::Wait)),
            Some(State::Board(values)) => Ok(Some(values.standing())),
        }
    }

    /// What the set is; `None` if it is gone.
    ///
    /// # Errors
    /// It is another program's.
    pub(super) fn state(&self) -> Result<Option<State>> {
        // In this order: if an operation was seen first and no poster after it, the poster's operation has been taken back.
        let looked = self.set.stat().and_then(|stat| Ok((stat, self.set.values()?)));
        match looked {
            Ok((stat, values)) => {
                let values = Values::from_all(&values).unwrap_or_default();
                let state = State::of(values, stat.operate_time.is_some());
                state.map(Some).ok_or_else(|| self.other(values))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a poster still finds the board as it left it: open or closed.
    ///
    /// # Errors
    /// Somebody else changed the poster's semaphores.
    pub(super) fn check_posted(&self, is_open: bool) -> Result<()> {
        let values = match self.set.values() {
            Ok(values) => values,
            // The next operation says so.
            Err(error) if is_gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if Values::from_all(&values).is_some_and(|values| values.is_posted(is_open)) {
            return Ok(());
        }
        Err(self.broken(&format!("it changed the poster's semaphores: {values:?}")))
    }

    /// How many are inside, for a message.
    pub(super) fn inside(&self) -> u16 {
        self.set.value(INSIDE).unwrap_or_default()
    }

    /// Removes the set; whoever waits for it is told so.
    ///
    /// # Errors
    /// It is not ours to remove. That it is gone is no error.
    pub(super) fn remove(&self) -> Result<()> {
        segment::unless_gone(self.set.remove())
    }

    pub(super) fn broken(&self, what: &str) -> Error {
        let what = what.to_owned();
        BoardError::Broken { key: self.key, what }.into()
    }

    fn other(&self, values: Values) -> Error {
        let values = values.to_all();
        BoardError::OtherValues {
            key: self.key,
            values,
        }
        .into()
    }

    fn operate(&self, operations: &[Operation], deadline: Option<Instant>) -> Result<Step> {
        match self.set.operate(operations, deadline) {
            Ok(()) => Ok(Step::Done),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                Ok(Step::NotYet)
            }
            Err(error) if is_gone(&error) => Ok(Step::Gone),
            // Honest readers and a poster that counts them never get a semaphore so far.
            Err(error) if error.errno() == Errno::RANGE => {
                Err(self.broken("a semaphore is at its largest value"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tell(&self, why: &str) {
        explain!("semop", self.key, why);
    }
}

/// For one step with others: waits unless the mark is there, which stays.
fn marked() -> [Operation; 2] {
    [Operation::take(DONE, MARK).at_once(), Operation::add(DONE, MARK)]
}

/// An object that was removed is found out by EIDRM if the call was waiting or its number is another one's by now, else by EINVAL.
pub(super) fn is_gone(error: &shmeld_os::Error) -> bool {
    matches!(error.errno(), Errno::IDRM | Errno::INVAL | Errno::NOENT)
}
