//! The two processes of `demo meld`: each a straight line of calls, told one by one.
//!
//! Who waits looks at the turn word again and again, and at the other's lease: nobody rings here. Bells are what `demo transfer` has.

use std::io::stdin;
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use shmeld::file::Interrupt;
use shmeld::os::event::poll;
use shmeld::os::fs::Stat;
use shmeld::os::mapping::Mapping;
use shmeld::os::name::escape;
use shmeld::os::posix::shm::SharedMemory;
use shmeld::os::{Error, ObjectName, explain};
use shmeld::{Misbehaviour, Offset, Shared, field};

use super::demo_meld_layout::{BYTES, Meld, PLACES, Thought, turn};
use super::demo_meld_object as object;
use super::demo_meld_wait::{Deadline, NAP, Wait};
use crate::args_demo::{DemoArgs, DemoRole};
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit};

/// Why a process did not get to its end.
#[derive(Debug)]
pub enum Failure {
    /// What the library says.
    Library(shmeld::Error),
    /// What this demonstration says.
    Told {
        code: u8,
        message: String,
        hint: Option<String>,
    },
}

impl Failure {
    #[must_use]
    pub fn system(message: String) -> Self {
        Self::told(3, message)
    }

    pub fn told(code: u8, message: String) -> Self {
        Self::Told {
            code,
            message,
            hint: None,
        }
    }

    #[must_use]
    pub fn with_hint(self, hint: &str) -> Self {
        let (code, message) = match self {
            Self::Library(error) => (error.exit_code(), error.to_string()),
            Self::Told { code, message, .. } => (code, message),
        };
        Self::Told {
            code,
            message,
            hint: Some(hint.to_owned()),
        }
    }

    /// Prints it; the exit code.
    #[must_use]
    pub fn tell(&self, program: &Program) -> u8 {
        match self {
            Self::Library(error) => program.fail(error),
            Self::Told { code, message, hint } => {
                program.complain(message, hint.as_deref());
                *code
            }
        }
    }
}

impl<E: Into<shmeld::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(error.into())
    }
}

/// Runs one of the two processes.
#[must_use]
pub fn run(program: &Program, role: DemoRole, args: &DemoArgs) -> u8 {
    let mut program = program.clone();
    program.name = match role {
        DemoRole::A => "meld A",
        _ => "meld B",
    };
    narrate::install(program.name, Loudness::Explain);
    let meeting = Meeting {
        args,
        name: &args.object,
        interrupt: program.interrupt_and_clean_up(),
        patience: args.wait.0,
    };
    let outcome = object::check_user(meeting.name).and_then(|()| match role {
        DemoRole::A => meeting.play_a(),
        _ => meeting.play_b(),
    });
    match outcome {
        Ok(()) => exit::DONE,
        Err(failure) => failure.tell(&program),
    }
}

/// Where both meet, and for how long each waits there.
#[derive(Debug)]
pub struct Meeting<'a> {
    pub args: &'a DemoArgs,
    pub name: &'a ObjectName,
    pub interrupt: Interrupt,
    /// `None` is for ever.
    pub patience: Option<Duration>,
}

/// The object with its name, removed once: by A, however A ends.
struct Published<'a> {
    name: &'a ObjectName,
    object: &'a SharedMemory,
}

impl Published<'_> {
    /// Whoever else removed the name, or took it, keeps what he has done.
    fn unlink(&self) -> Result<(), Error> {
        if object::is_name_of(self.name, self.object)? {
            SharedMemory::unlink(self.name)?;
        }
        Ok(())
    }
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        // Done already, or something else is told.
        let _ = self.unlink();
    }
}

impl Meeting<'_> {
    /// Makes the memory, speaks first, removes the name.
    fn play_a(&self) -> Result<(), Failure> {
        let object = SharedMemory::create_unnamed()?;
        object.set_mode(0o600)?;
        object.reserve(BYTES as u64)?;
        let shared = self.map(&object)?;
        self.think(
            &shared,
            PLACES[0],
            "I am A: I see what you write the moment you write it.",
        )?;
        self.store_place("of_a", PLACES[0]);
        shared.store(field!(Meld, of_a), PLACES[0]);
        shared.store(field!(Meld, turn), turn::A_HAS_SPOKEN);
        explain!(
            "store",
            format_args!("{} turn = 1", self.name),
            "last, and with release: who sees the 1 sees all that was written before"
        );
        object::take(&object, object::A)?;
        explain!(
            "fcntl(F_OFD_SETLK)",
            format_args!("{} byte 0", self.name),
            "A's lease: the kernel drops it when A dies, and so B knows"
        );
        object::publish(&object, self.name)?;
        let published = Published {
            name: self.name,
            object: &object,
        };
        explain!(
            "wait",
            self.name,
            format_args!("for B, in another terminal: {}", self.args.meld_command("b"))
        );
        let wait = Wait::of_a(self, &object, &shared);
        wait.until(turn::A_HAS_SPOKEN, turn::B_HAS_ANSWERED, false)?;
        self.tell_load("turn = 2", "B has answered");
        self.hear(&shared, "of_b", shared.load(field!(Meld, of_b)))?;
        self.tell_store("turn = 3", "A has read it");
        shared.store(field!(Meld, turn), turn::A_HAS_READ);
        wait.until(turn::A_HAS_READ, turn::B_LETS_GO, true)?;
        wait.until_left()?;
        self.tell_load(
            "turn = 4",
            "B lets go, and its lease is free: it uses the memory no more",
        );
        shared.into_memory().detach()?;
        published.unlink()?;
        Ok(())
    }

    /// Finds the memory, answers, leaves the name to A.
    fn play_b(&self) -> Result<(), Failure> {
        let object = self.find()?;
        if !object::take(&object, object::B)? {
            let message = format!("shm_open {}: another process B is at work here", self.name);
            return Err(Failure::system(message).with_hint("wait for its end, or choose another --object"));
        }
        explain!(
            "fcntl(F_OFD_SETLK)",
            format_args!("{} byte 1", self.name),
            "B's lease: the kernel drops it when B dies, and so A knows"
        );
        let shared = self.map(&object)?;
        let wait = Wait::of_b(self, &object, &shared);
        wait.until(0, turn::A_HAS_SPOKEN, true)?;
        self.tell_load("turn = 1", "with acquire: what A wrote before it can be seen");
        self.hear(&shared, "of_a", shared.load(field!(Meld, of_a)))?;
        self.think(
            &shared,
            PLACES[1],
            "I am B: and no kernel call carries it to you.",
        )?;
        self.store_place("of_b", PLACES[1]);
        shared.store(field!(Meld, of_b), PLACES[1]);
        self.tell_store("turn = 2", "B has answered");
        shared.store(field!(Meld, turn), turn::B_HAS_ANSWERED);
        wait.until(turn::B_HAS_ANSWERED, turn::A_HAS_READ, true)?;
        self.tell_load("turn = 3", "A has read it");
        self.tell_store(
            "turn = 4",
            "B lets go; the name is A's to remove: exactly one unlinks",
        );
        shared.store(field!(Meld, turn), turn::B_LETS_GO);
        shared.into_memory().detach()?;
        Ok(())
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// We were told to stop, or who started us has given up or died.
    pub fn check(&self) -> Result<(), Failure> {
        self.interrupt.check()?;
        if self.args.until_stdin_closes && poll(&[stdin().as_fd()], Some(Duration::ZERO))?[0] {
            let message = format!("{}: the demonstration is over before its end", self.name);
            return Err(Failure::told(exit::PEER, message));
        }
        Ok(())
    }

    /// What can be done about a process that does not come.
    pub fn cure(&self, role: &str) -> String {
        format!("start it: {}; or --wait forever", self.args.meld_command(role))
    }

    /// Waits for an object that a live A has finished.
    fn find(&self) -> Result<SharedMemory, Failure> {
        let deadline = Deadline::new(self.patience);
        let mut is_told = false;
        let mut stale = None;
        loop {
            // What was found without a lease never gets one: no need to open it again.
            let named = SharedMemory::stat_name(self.name).ok();
            let is_stale = named
                .zip(stale)
                .is_some_and(|(named, stale): (Stat, Stat)| named.is_same_file(&stale));
            if !is_stale && let Some(object) = object::open_own(self.name)? {
                if object::lives(&object, object::A)? {
                    return Ok(object);
                }
                stale = Some(object.stat()?);
            }
            if !is_told {
                let why = if stale.is_some() {
                    "what is there has no lease, so its A is dead: for A to make it anew"
                } else {
                    "for A to make it"
                };
                explain!(
                    "wait",
                    self.name,
                    format_args!("{why}: {}", self.args.meld_command("a"))
                );
                is_told = true;
            }
            self.check()?;
            if deadline.is_over() {
                let message = format!("shm_open {}: A did not come{}", self.name, deadline.text());
                return Err(Failure::system(message).with_hint(&self.cure("a")));
            }
            thread::sleep(NAP);
        }
    }

    /// Copies a thought into the room.
    fn think(&self, shared: &Shared<Meld>, place: Offset<Thought>, text: &str) -> Result<(), Failure> {
        shared.write_at(place, &Thought::new(text))?;
        explain!(
            "write",
            format_args!("{} bytes at {}", self.name, place.bytes()),
            format_args!("{text:?} as plain bytes: no system call")
        );
        Ok(())
    }

    /// Copies the other's thought out, and believes nothing of it.
    fn hear(&self, shared: &Shared<Meld>, field: &str, place: Offset<Thought>) -> Result<(), Failure> {
        self.tell_load(
            &format!("{field} = {}", place.bytes()),
            "a number from the other process: checked to lie inside",
        );
        let thought = shared.read_at(place)?;
        if shared.faulted() {
            return Err(Misbehaviour::Vanished.into());
        }
        let text = thought
            .text()
            .ok_or(Misbehaviour::Record("the length of a thought"))?;
        explain!(
            "read",
            format_args!("{} bytes at {}", self.name, place.bytes()),
            format_args!("\"{}\"", escape(text))
        );
        Ok(())
    }

    /// Maps the object as what both know to lie in it.
    fn map(&self, object: &SharedMemory) -> Result<Shared<Meld>, Failure> {
        let shared = Shared::<Meld>::new(Mapping::new(object, BYTES, &self.name.to_string())?)?;
        explain!(
            "address",
            format_args!("{:#x}", shared.memory().address()),
            "here; elsewhere in the other process, so offsets stand inside and never pointers"
        );
        Ok(shared)
    }

    fn store_place(&self, field: &str, place: Offset<Thought>) {
        self.tell_store(
            &format!("{field} = {}", place.bytes()),
            "where the thought lies, from the start of the memory",
        );
    }

    fn tell_store(&self, what: &str, why: &str) {
        explain!("store", format_args!("{} {what}", self.name), why);
    }

    fn tell_load(&self, what: &str, why: &str) {
        explain!("load", format_args!("{} {what}", self.name), why);
    }
}
