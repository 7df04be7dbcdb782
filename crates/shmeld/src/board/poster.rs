//! The side that has the message, makes everything and removes it.

use std::time::Instant;

use shmeld_core::Memory;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::shared_memory::Segment;

use super::error::{BoardError, SEGMENT, SET};
use super::layout::{self, HEADER_BYTES, MESSAGE_BYTES_MAX};
use super::owner::Owner;
use super::set::{Set, Step};
use super::standing::State;
use super::{PostOptions, check_user, segment};
use crate::patience::{Patience, SLICE};
use crate::{Error, Result};

/// A message that readers can come to. Dropping it removes everything, whoever is inside.
#[derive(Debug)]
pub struct Posted {
    board: Board,
    readers: Option<u32>,
    patience: Patience,
    segment_bytes: usize,
}

/// How many got the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// For how many readers the poster was to wait.
    pub readers: Option<u32>,
    /// How many came in.
    pub arrived: u64,
    /// How many of them finished.
    pub done: u64,
}

impl Delivery {
    /// Whether as many finished as should.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.readers.is_none_or(|readers| self.done >= u64::from(readers))
    }
}

/// Posts a message: from here on readers can come in.
///
/// # Errors
/// [`BoardError`] says who or what has the key; [`Error::Usage`] for a message that does not fit; [`Error::Os`] for limits.
pub fn post(message: &[u8], options: PostOptions) -> Result<Posted> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Error::Usage(format!(
            "a message has at most {MESSAGE_BYTES_MAX} bytes, and this one {}",
            message.len()
        )));
    }
    let segment_bytes = layout::segment_bytes(HEADER_BYTES + message.len(), options.segment_bytes)?;
    let patience = Patience::new(options.timeout, options.interrupt);
    check_user(options.key)?;
    let mut board = Board::claim(options.key, &patience)?;
    board.wait_until_empty(&patience)?;
    board.fill(message, segment_bytes, &patience)?;
    if board.set.open()? != Step::Done {
        return Err(board.removed(SET));
    }
    board.is_open = true;
    Ok(Posted {
        board,
        readers: options.readers,
        patience,
        segment_bytes,
    })
}

impl Posted {
    /// The size of the segment.
    #[must_use]
    pub fn segment_bytes(&self) -> usize {
        self.segment_bytes
    }

    /// Waits until as many readers have come as should, and all who came have finished or died; or until the time is up. Then removes the
    /// segment and the set.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; [`BoardError`] if somebody else removed or changed what is ours. Everything is removed then, too.
    pub fn wait(mut self) -> Result<Delivery> {
        let mut delivery = Delivery {
            readers: self.readers,
            arrived: 0,
            done: 0,
        };
        while self
            .readers
            .is_none_or(|readers| delivery.arrived < u64::from(readers))
        {
            match self.board.set.await_arrival(self.patience.slice()?)? {
                Step::Done => delivery.arrived += 1,
                Step::NotYet => self.board.check_whole()?,
                Step::Gone => return Err(self.board.removed(SET)),
            }
            // Without a number of readers it would run over some day.
            delivery.done += self.board.set.drain_done()?;
            // However many arrive: the time is up.
            if self.patience.is_over() {
                break;
            }
        }
        self.close()?;
        delivery.arrived += self.board.set.drain_arrived()?;
        delivery.done += self.board.set.drain_done()?;
        self.board.remove()?;
        Ok(delivery)
    }

    /// Lets nobody in any more: were it open until nobody is inside, readers could keep it so for ever. Then waits for those inside; when the
    /// time is up they have one more slice.
    fn close(&mut self) -> Result<()> {
        match self.board.set.close()? {
            Step::Done => self.board.is_open = false,
            // It was open, and only we close it.
            Step::NotYet => self.board.check_whole()?,
            Step::Gone => return Err(self.board.removed(SET)),
        }
        loop {
            match self.board.set.wait_until_left(self.patience.grace()?)? {
                Step::Done => return Ok(()),
                Step::NotYet if self.patience.is_over() => return Ok(()),
                Step::NotYet => self.board.check_whole()?,
                Step::Gone => return Err(self.board.removed(SET)),
            }
        }
    }
}

/// What a poster has, and removes however it ends. If it is killed, the next poster does it.
#[derive(Debug)]
struct Board {
    set: Set,
    segment: Option<Segment>,
    memory: Option<Memory>,
    /// Whether readers of an earlier poster may be inside: until they are not, its set and segment are theirs.
    is_others: bool,
    is_open: bool,
    is_removed: bool,
    owner: Owner,
}

impl Board {
    fn claim(key: Key, patience: &Patience) -> Result<Self> {
        loop {
            if let Some(set) = Set::find_or_make(key)?
                && let Some(found) = set.claim()?
            {
                return Ok(Self {
                    set,
                    segment: None,
                    memory: None,
                    is_others: found != State::New,
                    is_open: false,
                    is_removed: false,
                    owner: Owner::this_process(),
                });
            }
            // An earlier poster removed it this moment; or somebody does so all the time.
            patience.slice()?;
            if patience.is_over() {
                let what = SET;
                return Err(BoardError::Removed { key, what }.into());
            }
        }
    }

    /// Readers of a poster that died may still be inside; what they say is none of ours.
    fn wait_until_empty(&mut self, patience: &Patience) -> Result<()> {
        let mut has_told = false;
        loop {
            match self.set.wait_until_empty(patience.slice()?)? {
                Step::Done => break,
                Step::NotYet if patience.is_over() => {
                    return Err(BoardError::StillInside {
                        key: self.set.key(),
                        inside: self.set.inside(),
                        waited: patience.waited(),
                    }
                    .into());
                }
                Step::NotYet if has_told => {}
                Step::NotYet => {
                    has_told = true;
                    let (key, inside) = (self.set.key(), self.set.inside());
                    tracing::info!(target: "shmeld::board", "board {key}: waiting for readers of an earlier message: {inside} inside");
                }
                Step::Gone => return Err(self.removed(SET)),
            }
        }
        self.is_others = false;
        self.set.drain_arrived()?;
        self.set.drain_done()?;
        Ok(())
    }

    fn fill(&mut self, message: &[u8], segment_bytes: usize, patience: &Patience) -> Result<()> {
        let segment = self
            .segment
            .insert(segment::make(self.set.key(), segment_bytes, patience)?);
        let Some(memory) = segment::attach(segment, false)? else {
            return Err(self.removed(SEGMENT));
        };
        // Nobody looks before the board is open.
        memory.write(0, &layout::header(message.len()));
        memory.write(HEADER_BYTES, message);
        self.memory = Some(memory);
        Ok(())
    }

    /// Whether readers can still find the message, and come in if they should.
    fn check_whole(&self) -> Result<()> {
        self.set.check_posted(self.is_open)?;
        let stat = self.segment.as_ref().map(Segment::stat);
        match stat {
            Some(Ok(stat)) if stat.is_marked => Err(self.removed(SEGMENT)),
            Some(Err(_)) => Err(self.removed(SEGMENT)),
            _ => Ok(()),
        }
    }

    fn removed(&self, what: &'static str) -> Error {
        let key = self.set.key();
        BoardError::Removed { key, what }.into()
    }

    /// The segment first: as long as the set is there, no other poster gets the key.
    fn remove(&mut self) -> Result<()> {
        self.is_removed = true;
        let detached = self.memory.take().map_or(Ok(()), Memory::detach);
        let segment = self.segment.take();
        let segment = segment.map_or(Ok(()), |segment| segment::unless_gone(segment.remove()));
        self.set.remove()?;
        segment?;
        Ok(detached?)
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            // There is no attachment to be ended, and by now something else may be at its address.
            std::mem::forget(self.memory.take());
            return;
        }
        if self.is_removed {
            return;
        }
        if self.is_others {
            self.set.give_back();
            return;
        }
        // What cannot be closed at once is removed. Those who are inside have a slice to make their copy.
        let _ = self.set.close();
        let _ = self.set.wait_until_empty(Instant::now() + SLICE);
        let _ = self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;
    use crate::board::{ReadOptions, read, textbook};
    use crate::file::Interrupt;

    /// Told to stop before it had begun, a poster gave a set back that it had just made, as if others were inside: the set stayed.
    #[test]
    fn poster_that_is_stopped_early_leaves_no_set_that_it_has_made() {
        let options = options(1);
        let wish = Arc::new(AtomicBool::new(true));
        let stopped = PostOptions {
            interrupt: Interrupt::from_flag(wish),
            ..options.clone()
        };
        let outcome = post(b"hello", stopped.clone());
        assert!(matches!(outcome, Err(Error::Interrupted)), "{outcome:?}");
        assert!(Set::find(options.key).expect("ours").is_none(), "a set is left");
        // What a dead poster left is given back as it was.
        let set = Set::find_or_make(options.key).expect("made").expect("there");
        assert_eq!(set.claim().expect("free"), Some(State::New));
        set.give_back();
        assert!(matches!(post(b"hello", stopped), Err(Error::Interrupted)));
        assert!(Set::find(options.key).expect("ours").is_some());
        set.remove().expect("removed");
    }

    fn options(number: u32) -> PostOptions {
        PostOptions {
            readers: Some(1),
            timeout: Some(Duration::from_secs(20)),
            ..PostOptions::new(Key::new(
                0x5300_0000 | (std::process::id() & 0xffff) << 8 | number,
            ))
        }
    }

    /// A program that forks while it has a board, as Python's multiprocessing does: when the child ended, it removed the board of its parent, or
    /// took a reader's place away.
    #[test]
    fn forked_child_that_drops_its_copy_changes_nothing() {
        let mut options = options(0);
        let mut posted = post(b"hello", options.clone()).expect("posted");
        posted.board.owner = Owner::parent();
        let memory = posted.board.memory.take();
        drop(posted);
        let reading = read(ReadOptions::new(options.key)).expect("the board is there");
        assert_eq!(reading.message(), b"hello");
        let set = Set::find(options.key).expect("ours").expect("there");
        assert_eq!(set.inside(), 1);
        reading.dropped_by_child();
        assert_eq!(set.inside(), 1, "its parent is inside");
        drop(memory);
        let left = [
            set.remove(),
            segment::find(options.key, |_| true).map(|found| {
                let _ = found.map(|(segment, _)| segment.remove());
            }),
        ];
        assert!(left.iter().all(|outcome| outcome.is_ok()), "{left:?}");
        options.timeout = Some(Duration::ZERO);
        let mut posted = textbook::post(b"hello", b'*', options.clone()).expect("posted");
        posted.become_child();
        drop(posted);
        let (segment, _) = segment::find(options.key, |_| true)
            .expect("ours")
            .expect("there");
        segment.remove().expect("removed");
    }
}
