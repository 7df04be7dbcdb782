//! How the processes of `demo meld` wait for each other: by looking again and again, at the turn word and at the other's lease.

use std::thread;
use std::time::{Duration, Instant};

use shmeld::os::posix::shm::SharedMemory;
use shmeld::{Misbehaviour, Shared, field};

use super::demo_meld_layout::{Meld, Verdict, judge};
use super::demo_meld_object as object;
use super::demo_meld_role::{Failure, Meeting};
use crate::program::exit;

/// How long a process sleeps between two looks.
pub const NAP: Duration = Duration::from_millis(2);

/// What a process watches while it waits.
#[derive(Debug)]
pub struct Wait<'a> {
    meeting: &'a Meeting<'a>,
    object: &'a SharedMemory,
    shared: &'a Shared<Meld>,
    /// The other one: its letter, its lease.
    other: (char, u64),
}

impl<'a> Wait<'a> {
    /// A's, which waits for B.
    #[must_use]
    pub fn of_a(meeting: &'a Meeting<'a>, object: &'a SharedMemory, shared: &'a Shared<Meld>) -> Self {
        Self {
            meeting,
            object,
            shared,
            other: ('B', object::B),
        }
    }

    /// B's, which waits for A.
    #[must_use]
    pub fn of_b(meeting: &'a Meeting<'a>, object: &'a SharedMemory, shared: &'a Shared<Meld>) -> Self {
        Self {
            other: ('A', object::A),
            ..Self::of_a(meeting, object, shared)
        }
    }

    /// Waits until the turn word goes from `mine` to `wanted`.
    ///
    /// # Errors
    /// The other process did not come, died, was silent or lied; or we were told to stop.
    pub fn until(&self, mine: u32, wanted: u32, mut was_there: bool) -> Result<(), Failure> {
        let deadline = Deadline::new(self.meeting.patience);
        loop {
            let mut word = self.shared.load(field!(Meld, turn));
            let is_there = object::lives(self.object, self.other.1)?;
            if !is_there {
                // Once more: what was stored before a death counts.
                word = self.shared.load(field!(Meld, turn));
            }
            if self.shared.faulted() {
                return Err(Misbehaviour::Vanished.into());
            }
            match judge(word, mine, wanted, was_there, is_there) {
                Verdict::Go => return Ok(()),
                Verdict::Wait => {}
                Verdict::Died => return Err(self.blame("died")),
                Verdict::Lies => return Err(self.blame("stored a turn that is not its turn")),
            }
            was_there |= is_there;
            self.sleep(&deadline, was_there)?;
        }
    }

    /// Waits until the other has given up its lease.
    ///
    /// # Errors
    /// It did not, or we were told to stop.
    pub fn until_left(&self) -> Result<(), Failure> {
        let deadline = Deadline::new(self.meeting.patience);
        while object::lives(self.object, self.other.1)? {
            self.sleep(&deadline, true)?;
        }
        Ok(())
    }

    fn sleep(&self, deadline: &Deadline, was_there: bool) -> Result<(), Failure> {
        self.meeting.check()?;
        if deadline.is_over() {
            return Err(if was_there {
                self.blame(&format!("is alive, but has done nothing{}", deadline.text()))
            } else {
                let (name, other) = (self.meeting.name, self.other.0);
                Failure::system(format!(
                    "shm_open {name}: {other} did not come{}",
                    deadline.text()
                ))
                .with_hint(&self.meeting.cure("b"))
            });
        }
        thread::sleep(NAP);
        Ok(())
    }

    fn blame(&self, what: &str) -> Failure {
        Failure::told(
            exit::PEER,
            format!("{}: {} {what}", self.meeting.name, self.other.0),
        )
    }
}

/// The end of a patience.
#[derive(Debug)]
pub struct Deadline {
    start: Instant,
    patience: Option<Duration>,
}

impl Deadline {
    /// It runs from now on.
    #[must_use]
    pub fn new(patience: Option<Duration>) -> Self {
        Self {
            start: Instant::now(),
            patience,
        }
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.patience
            .is_some_and(|patience| self.start.elapsed() >= patience)
    }

    /// For messages.
    #[must_use]
    pub fn text(&self) -> String {
        format!(" (waited {:.1} s)", self.start.elapsed().as_secs_f64())
    }
}
