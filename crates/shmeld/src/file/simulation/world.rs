//! The simulated machine: its clock, its processes, whose turn it is, and what an observer who sees everything notes and compares.

use std::collections::{HashMap, HashSet};
use std::fmt::{Arguments, Debug};
use std::time::{Duration, Instant};

use shmeld_core::layout::Word;
use shmeld_core::session::State;

use super::baton::{Actor, ActorId, Key, Pid, Run, Wakeup};
use super::kernel::Kernel;
use super::random::Random;
use super::session::SessionCard;

/// How long one access takes.
const STEP: Duration = Duration::from_micros(20);
/// The longest time that passes without anybody running.
const JUMP_MS_MAX: u64 = 100;

/// What is broken on purpose, in the adapters of this simulation or by leaving a decision out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// The sequence word is looked at before the lease.
    WorkBeforeLease,
    /// ENDED is believed before the ring is empty.
    EndedBeforeDraining,
    /// An attached client whose server died looks for another one.
    ResendAfterAttached,
    /// Requests are sent again where the client was when the queue was lost, not from the oldest on.
    ResendGoesOn,
    /// A new request is sent before all old ones have been sent again.
    NewRequestOvertakes,
    /// What was sent is not sent again on another queue.
    NoResend,
    /// The nonce of a message is not compared.
    NonceNotCompared,
    /// Impossible values of `read` are taken for the last possible one.
    CapacityNotChecked,
    /// Request ids need not increase.
    IdsNotIncreasing,
    /// A post does not wake.
    NoWake,
    /// One look at a free lease is enough to call an idle client dead.
    DeadAfterOneTick,
    /// DONE is published before the session looks into its inbox again.
    DoneBeforeInbox,
    /// A region that is no longer on offer is attached.
    OfferNotChecked,
}

/// How a client ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With all its answers.
    Done,
    ServerDied,
    Ended(u32),
    Refused(u32),
    Silent,
    NotDraining,
    NoServer,
    Misbehaved(&'static str),
}

#[derive(Debug)]
pub struct Process {
    pub name: String,
    pub is_alive: bool,
    /// SIGSTOP, until then.
    pub stopped_until: Option<Duration>,
    /// It has been stopped or killed or asked to stop at some time.
    pub was_disturbed: bool,
    /// By SIGSTOP: then none of its patience counts.
    pub was_stopped: bool,
    /// A server that was asked to stop.
    pub stop_wanted: bool,
}

/// What the observer knows of an honest client.
#[derive(Debug)]
pub struct ClientCard {
    pub pid: Pid,
    pub outcome: Option<Outcome>,
    /// The region that it offers.
    pub object: usize,
    /// The queue that took its CLOSE.
    pub closed_on: Option<usize>,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    pub mutant: Mutant,
    pub random: Random,
    pub now: Duration,
    pub base: Instant,
    pub steps: u64,
    steps_max: u64,
    /// How often, of a thousand times, whoever runs goes on; and how often time passes.
    sticky: u64,
    jumps: u64,
    /// How often, of a thousand times, a source needs a while for what comes next.
    pub slowness: u64,
    pub actors: Vec<Actor>,
    pub processes: Vec<Process>,
    pub turn: Option<ActorId>,
    pub is_over: bool,
    pub failure: Option<String>,
    pub trace: Option<Vec<String>>,
    pub kernel: Kernel,
    pub sessions: Vec<SessionCard>,
    pub clients: Vec<ClientCard>,
    /// Requests whose answer has begun, by path; and what was sent where: region object, request, queue.
    pub begun: HashSet<Vec<u8>>,
    pub sent: HashSet<(usize, u64, usize)>,
    pub counts: HashMap<&'static str, u64>,
}

impl World {
    pub fn new(seed: u64, mutant: Mutant, with_trace: bool) -> Self {
        let mut random = Random::new(seed);
        let sticky = [0, 300, 700, 900][random.index(4)];
        let jumps = [0, 2, 10][random.index(3)];
        let slowness = [0, 20, 200, 400][random.index(4)];
        Self {
            mutant,
            random,
            now: Duration::ZERO,
            base: Instant::now(),
            steps: 0,
            steps_max: 400_000,
            sticky,
            jumps,
            slowness,
            actors: Vec::new(),
            processes: Vec::new(),
            turn: None,
            is_over: false,
            failure: None,
            trace: with_trace.then(Vec::new),
            kernel: Kernel::default(),
            sessions: Vec::new(),
            clients: Vec::new(),
            begun: HashSet::new(),
            sent: HashSet::new(),
            counts: HashMap::new(),
        }
    }

    pub fn new_process(&mut self, name: &str) -> Pid {
        self.processes.push(Process {
            name: name.to_owned(),
            is_alive: true,
            stopped_until: None,
            was_disturbed: false,
            was_stopped: false,
            stop_wanted: false,
        });
        self.processes.len() - 1
    }

    /// What the kernel does when a process has gone, and what the observer notes.
    pub fn process_died(&mut self, pid: Pid) {
        self.processes[pid].is_alive = false;
        self.processes[pid].stopped_until = None;
        self.kernel.release_all(pid);
        // Whoever sent to its queue or waits for room there goes on waiting; leases wake nobody.
        for session in &mut self.sessions {
            session.client_died |= self.kernel.regions[session.object].owner == pid;
        }
    }

    pub fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.failure.get_or_insert(what);
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn note<R: Debug>(&mut self, actor: ActorId, what: Arguments<'_>, result: &R) {
        if let Some(trace) = &mut self.trace {
            let name = &self.actors[actor].name;
            trace.push(format!(
                "{:6} {:>10.6} {name}: {what} -> {result:?}",
                self.steps,
                self.now.as_secs_f64()
            ));
        }
    }

    /// Wakes at most `most` of those who wait for `key`.
    pub fn wake(&mut self, key: Key, most: usize, why: Wakeup) -> usize {
        let waiting = self
            .actors
            .iter_mut()
            .filter(|actor| matches!(actor.run, Run::Blocked(for_what, _) if for_what == key));
        waiting
            .take(most)
            .map(|actor| actor.run = Run::Ready(why))
            .count()
    }

    pub fn wake_actor(&mut self, actor: ActorId) {
        let run = &mut self.actors[actor].run;
        if matches!(run, Run::Blocked(..)) {
            *run = Run::Ready(Wakeup::Woken);
        }
    }

    fn is_stopped(&self, pid: Pid) -> bool {
        self.processes[pid]
            .stopped_until
            .is_some_and(|until| until > self.now)
    }

    /// Who runs next. `None` if nobody ever will, or if they run for ever.
    pub fn pick(&mut self, last: ActorId) -> Option<ActorId> {
        self.steps += 1;
        if self.steps > self.steps_max {
            let who = self.describe();
            self.fail(format!("no end after {} steps: {who}", self.steps_max));
            return None;
        }
        self.now += STEP;
        if self.random.permille(self.jumps) {
            self.now += Duration::from_millis(self.random.within(1, JUMP_MS_MAX));
        }
        loop {
            self.fire_timers();
            let ready: Vec<ActorId> = (0..self.actors.len())
                .filter(|id| {
                    matches!(self.actors[*id].run, Run::Ready(_)) && !self.is_stopped(self.actors[*id].pid)
                })
                .collect();
            if ready.contains(&last) && self.random.permille(self.sticky) {
                return Some(last);
            }
            if !ready.is_empty() {
                return Some(ready[self.random.index(ready.len())]);
            }
            if let Some(problem) = self.sleeper_beside_work() {
                self.fail(problem);
                return None;
            }
            let Some(next) = self.next_time() else {
                let who = self.describe();
                self.fail(format!("nobody can go on: {who}"));
                return None;
            };
            self.now = self.now.max(next);
        }
    }

    fn fire_timers(&mut self) {
        for actor in &mut self.actors {
            if matches!(actor.run, Run::Blocked(_, Some(at)) if at <= self.now) {
                actor.run = Run::Ready(Wakeup::TimedOut);
            }
        }
    }

    fn next_time(&self) -> Option<Duration> {
        let timers = self.actors.iter().filter_map(|actor| match actor.run {
            Run::Blocked(_, at) if !self.is_stopped(actor.pid) => at,
            _ => None,
        });
        let stops = self.processes.iter().filter_map(|process| process.stopped_until);
        timers.chain(stops).filter(|at| *at > self.now).min()
    }

    /// A lost wake: when nobody runs, nobody sleeps on a semaphore beside something to do, unless its peer is stopped or dead and may have
    /// been about to ring.
    fn sleeper_beside_work(&self) -> Option<String> {
        self.actors.iter().find_map(|actor| {
            let Run::Blocked(Key::Futex(object, word), _) = actor.run else {
                return None;
            };
            let region = &self.kernel.regions[object];
            let may_ring = |pid: Pid| self.processes[pid].is_alive && !self.is_stopped(pid);
            let in_flight = region.load(Word::Written).wrapping_sub(region.load(Word::Read));
            let has_work = match word {
                Word::FilledValue => {
                    let is_over = matches!(
                        State::from_word(region.load(Word::State)),
                        Some(State::Ended(_) | State::Refused(_))
                    );
                    region.last_server.is_some_and(may_ring) && (in_flight > 0 || is_over)
                }
                _ => may_ring(region.owner) && in_flight < region.slots.len() as u32,
            };
            let problem = || format!("a lost wake: {} sleeps on {word:?} beside work", actor.name);
            (has_work && !region.is_hostile && !self.is_stopped(actor.pid)).then(problem)
        })
    }

    fn describe(&self) -> String {
        let alive = self.actors.iter().filter(|actor| actor.run != Run::Gone);
        let lines: Vec<String> = alive
            .map(|actor| format!("{} {:?}", actor.name, actor.run))
            .collect();
        lines.join("; ")
    }
}
