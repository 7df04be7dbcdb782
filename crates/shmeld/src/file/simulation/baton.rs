//! The baton: of all actors exactly one runs at a time, and every access to the simulated world hands the baton to whom the seed picks.
//! So the real loops run unchanged, each on a thread of its own, and a seed replays exactly.
//!
//! An actor that is killed unwinds at its next step, without running another line of what it did: what it held is the kernel's to free.

use std::any::Any;
use std::fmt::{Arguments, Debug};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::world::{Mutant, Outcome, World};

pub type ActorId = usize;
pub type Pid = usize;

/// Enough for the deepest call of an actor, unoptimised.
const STACK_BYTES: usize = 512 * 1024;

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A futex word: object and place.
    Futex(usize, shmeld_core::layout::Word),
    /// The inbox of a session.
    Inbox(usize),
    /// A message in a queue.
    Message(usize),
    /// Room in a queue.
    Room(usize),
    /// The end of a slice in which a client got nothing: the moment in which it concludes something.
    SliceEnd,
    /// A slot that is published.
    Published,
    /// Only time.
    Time,
}

/// Why an actor runs again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    Woken,
    TimedOut,
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Ready(Wakeup),
    Blocked(Key, Option<Duration>),
    Gone,
}

#[derive(Debug)]
pub struct Actor {
    pub name: String,
    pub pid: Pid,
    pub run: Run,
    /// It was killed, or the simulation is over: it unwinds.
    doomed: bool,
    bell: Arc<Condvar>,
}

/// The payload with which a killed actor unwinds.
struct Doomed;

/// One simulation.
#[derive(Debug)]
pub struct Sim {
    world: Mutex<World>,
    over: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Sim {
    /// Runs `director` and everything it starts until it is done, and says what went wrong.
    pub fn run(world: World, director: impl FnOnce(&Me) + Send + 'static) -> World {
        let sim = Arc::new(Self {
            world: Mutex::new(world),
            over: Condvar::new(),
            threads: Mutex::default(),
        });
        let first = {
            let mut world = sim.lock();
            let pid = world.new_process("director");
            sim.spawn(&mut world, "director", pid, director)
        };
        let mut world = sim.lock();
        world.turn = Some(first);
        world.actors[first].bell.notify_one();
        while !world.is_over {
            world = sim.over.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        drop(world);
        loop {
            let thread = sim.threads.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = thread else { break };
            thread
                .join()
                .unwrap_or_else(|_| unreachable!("actors catch their panics"));
        }
        let sim = Arc::into_inner(sim).unwrap_or_else(|| unreachable!("all actors have ended"));
        sim.world.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an actor; it runs when the seed picks it.
    fn spawn(
        self: &Arc<Self>,
        world: &mut World,
        name: &str,
        pid: Pid,
        life: impl FnOnce(&Me) + Send + 'static,
    ) -> ActorId {
        let id = world.actors.len();
        let bell = Arc::new(Condvar::new());
        world.actors.push(Actor {
            name: name.to_owned(),
            pid,
            run: Run::Ready(Wakeup::Woken),
            doomed: false,
            bell: bell.clone(),
        });
        let me = Me {
            sim: self.clone(),
            id,
            pid,
            bell,
            mutant: world.mutant,
        };
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    drop(me.wait_for_turn(me.sim.lock()));
                    life(&me);
                }));
                me.leave(outcome.err());
            });
        let thread = thread.expect("a thread for an actor");
        self.threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(thread);
        id
    }
}

/// An actor's handle on the world.
#[derive(Debug, Clone)]
pub struct Me {
    sim: Arc<Sim>,
    pub id: ActorId,
    pub pid: Pid,
    bell: Arc<Condvar>,
    mutant: Mutant,
}

impl Me {
    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == mutant
    }

    /// Hands the baton on and waits until it comes back.
    fn turn(&self) -> MutexGuard<'_, World> {
        let mut world = self.sim.lock();
        if !world.actors[self.id].doomed {
            match world.pick(self.id) {
                Some(next) if next == self.id => return world,
                Some(next) => hand_to(&mut world, next),
                None => self.end(&mut world),
            }
        } else if world.turn == Some(self.id) {
            // It killed itself.
            match world.pick(self.id) {
                Some(next) => hand_to(&mut world, next),
                None => self.end(&mut world),
            }
        }
        self.wait_for_turn(world)
    }

    fn wait_for_turn<'w>(&self, mut world: MutexGuard<'w, World>) -> MutexGuard<'w, World> {
        while world.turn != Some(self.id) && !world.actors[self.id].doomed {
            world = self.bell.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        if world.actors[self.id].doomed {
            drop(world);
            resume_unwind(Box::new(Doomed));
        }
        world
    }

    /// One access to the world, after whatever the seed lets happen first.
    pub fn step<R: Debug>(&self, what: Arguments<'_>, access: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.turn();
        let result = access(&mut world);
        world.note(self.id, what, &result);
        self.stop_if_failed(world);
        result
    }

    /// One access that may find that it has to wait: then it sleeps until it is woken or its time has come.
    pub fn step_or_wait<R: Debug>(
        &self,
        what: Arguments<'_>,
        access: impl FnOnce(&mut World) -> Result<R, (Key, Option<Duration>)>,
    ) -> Result<R, Wakeup> {
        let mut world = self.turn();
        let result = access(&mut world);
        world.note(self.id, what, &result);
        let (key, wake_at) = match result {
            Ok(result) => {
                self.stop_if_failed(world);
                return Ok(result);
            }
            Err(wait) => wait,
        };
        world.actors[self.id].run = Run::Blocked(key, wake_at);
        match world.pick(self.id) {
            Some(next) if next == self.id => {}
            Some(next) => {
                hand_to(&mut world, next);
                world = self.wait_for_turn(world);
            }
            None => {
                self.end(&mut world);
                world = self.wait_for_turn(world);
            }
        }
        match world.actors[self.id].run {
            Run::Ready(wakeup) => Err(wakeup),
            run => unreachable!("{run:?} runs"),
        }
    }

    pub fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            let _ = self.step_or_wait(format_args!("sleep"), |_| Err::<(), _>((Key::Time, Some(until))));
        }
    }

    /// The clock. No step: nobody can see when it is read.
    pub fn now(&self) -> Duration {
        self.sim.lock().now
    }

    /// The clock as the real code wants it.
    pub fn instant(&self) -> Instant {
        let world = self.sim.lock();
        world.base + world.now
    }

    /// A look at the world, or a note in it, that is no step of the simulated program.
    pub fn aside<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.sim.lock();
        let result = look(&mut world);
        self.stop_if_failed(world);
        result
    }

    pub fn fail(&self, what: impl Into<String>) {
        self.aside(|world| world.fail(what));
    }

    /// Starts another actor.
    pub fn spawn(&self, name: &str, pid: Pid, life: impl FnOnce(&Me) + Send + 'static) -> ActorId {
        let mut world = self.sim.lock();
        self.sim.spawn(&mut world, name, pid, life)
    }

    /// SIGKILL.
    pub fn kill(&self, pid: Pid) {
        self.step(format_args!("kill process {pid}"), |world| {
            for actor in &mut world.actors {
                if actor.pid == pid && actor.run != Run::Gone {
                    (actor.doomed, actor.run) = (true, Run::Gone);
                    actor.bell.notify_one();
                }
            }
            world.process_died(pid);
        });
    }

    /// The simulation is over.
    pub fn finish(&self) {
        let mut world = self.sim.lock();
        self.end(&mut world);
    }

    fn end(&self, world: &mut World) {
        world.is_over = true;
        for actor in &mut world.actors {
            actor.doomed = true;
            actor.bell.notify_one();
        }
        self.sim.over.notify_one();
    }

    fn stop_if_failed(&self, mut world: MutexGuard<'_, World>) {
        if world.failure.is_some() && !world.is_over {
            self.end(&mut world);
            drop(self.wait_for_turn(world));
        }
    }

    /// The end of an actor's thread.
    fn leave(&self, panic: Option<Box<dyn Any + Send>>) {
        let mut world = self.sim.lock();
        if let Some(panic) = panic.filter(|panic| !panic.is::<Doomed>()) {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let name = world.actors[self.id].name.clone();
            world.fail(format!("{name} panicked: {}", text.unwrap_or_default()));
            self.end(&mut world);
        }
        world.actors[self.id].run = Run::Gone;
        // Killed by somebody else, it has no baton to hand on.
        if world.is_over || world.turn != Some(self.id) {
            return;
        }
        match world.pick(self.id) {
            Some(next) => hand_to(&mut world, next),
            None => self.end(&mut world),
        }
    }
}

fn hand_to(world: &mut World, next: ActorId) {
    world.turn = Some(next);
    world.actors[next].bell.notify_one();
}

/// How a client ended, for `?`.
pub type Fallible<T> = Result<T, Outcome>;
