//! Honest clients beside hostile ones, compared with the same clients beside processes that are only busy.
//!
//! The two take turns of a few seconds, so that the noise of the machine meets both.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::attack::{Attack, deeds};
use crate::chance::Chance;
use crate::figures::show;
use crate::honest::{Honest, furnish};
use crate::measure::{descriptors, percentile, private_bytes, server_counts, threads};
use crate::program::{Program, Running};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const HONEST: usize = 4;
/// How long the server may take to end the sessions of killed clients, idle ones included.
const SETTLE: Duration = Duration::from_secs(5);
/// What a server may keep of its private memory: allocators do not give all of it back.
const KEPT_BYTES_MAX: u64 = 4 << 20;
/// Times of the p99 beside busy processes.
const SLOWDOWN_MAX: f64 = 2.0;
/// Part of the throughput beside busy processes.
const THROUGHPUT_MIN: f64 = 0.8;
/// In the short form the 99th percentile is that of the slowest one or two of some dozens: it fails only if it is far off.
const SHORT_SLACK: f64 = 2.0;

const HOSTILE: [Attack; 8] = [
    Attack::Punch,
    Attack::Grow,
    Attack::Scribble,
    Attack::Semaphores,
    Attack::Wakes,
    Attack::Locks,
    Attack::Replay,
    Attack::Junk,
];

/// The rows of this file.
pub fn rows() -> [Row; 2] {
    [
        Row {
            name: "truncator",
            about: "a client truncates its region to nothing and back, again and again",
            run: |setup| duel(setup, &[Attack::Truncate]),
        },
        Row {
            name: "hostile-peers",
            about: "eight hostile clients: holes, growth, scribbles, semaphores, wakes, locks, replays, junk",
            run: |setup| duel(setup, &HOSTILE),
        },
    ]
}

/// What the honest clients saw beside one kind of company.
#[derive(Default)]
struct Beside {
    times: Vec<Duration>,
    failures: Vec<String>,
    spent: Duration,
    /// How many attacks each of its attackers has carried out.
    deeds: Vec<usize>,
}

impl Beside {
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.spent.as_secs_f64().max(0.001)
    }
}

fn duel(setup: &Setup, attackers: &[Attack]) -> Result<Tally, Obstacle> {
    let mut world = World::new(setup, "duel")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let mut server = world.serving()?;
    let mut tally = Tally::default();
    let fought = fight(setup, &world, &mut server, attackers, &mut tally);
    if server.is_over() {
        tally.failures.push("the server did not live".to_owned());
    }
    server.signal(Signal::SIGTERM);
    let ended = server.finish(Instant::now() + PATIENCE)?;
    if ended.exit != Exit::Code(0) || ended.stderr.contains("panicked") {
        tally
            .failures
            .push(format!("the server ended with {:?}", ended.exit));
    }
    fought?;
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn fight(
    setup: &Setup,
    world: &World,
    server: &mut Running,
    attackers: &[Attack],
    tally: &mut Tally,
) -> Result<(), String> {
    let (turns, turn) = if setup.full { (10, 3000) } else { (4, 400) };
    let busy = vec![Attack::Busy; attackers.len()];
    let (mut hostile, mut harmless) = (Beside::default(), Beside::default());
    let mut before = State::of(server.pid());
    // The first clients touch what the server keeps: stacks of threads, the allocator's arenas.
    take_turn(
        setup,
        world,
        &[],
        Duration::from_millis(400),
        &mut Beside::default(),
        0,
    )?;
    before.private_bytes = before.settled(server.pid()).private_bytes;
    for number in 0..turns {
        let turn = Duration::from_millis(turn);
        take_turn(setup, world, attackers, turn, &mut hostile, 2 * number + 1)?;
        take_turn(setup, world, &busy, turn, &mut harmless, 2 * number + 2)?;
        if server.is_over() {
            return Ok(());
        }
    }
    let after = before.settled(server.pid());
    tally.failures.extend(after.judge(&before).err());
    tally.points = hostile.times.len() as u64;
    compare(setup, tally, &hostile, &harmless);
    judge_attackers(attackers, &hostile.deeds, tally);
    // Proof that the attackers were there.
    let ended = server_counts(world, "misbehaved_total")?;
    let refused = server_counts(world, "refused_regions_total")?;
    let attacks = format!("{ended} sessions ended, {refused} requests refused");
    tally.figures.push(("attacks", attacks));
    if ended == 0 {
        tally
            .failures
            .push("no attack was noticed: nothing was attacked".to_owned());
    }
    let kept = format!("{} KiB", after.kept(&before) / 1024);
    tally.figures.push(("server keeps", kept));
    let failures = hostile.failures.into_iter().chain(harmless.failures);
    tally.failures.extend(failures);
    Ok(())
}

/// An attacker that did nothing proves nothing.
fn judge_attackers(attackers: &[Attack], deeds: &[usize], tally: &mut Tally) {
    let mut told = Vec::new();
    for (number, attack) in attackers.iter().enumerate() {
        let done = deeds.get(number).copied().unwrap_or_default();
        if done == 0 {
            tally
                .failures
                .push(format!("the attacker {attack:?} did nothing"));
        }
        told.push(format!("{attack:?} {done}"));
    }
    tally.figures.push(("carried out", told.join(" ")));
}

fn compare(setup: &Setup, tally: &mut Tally, hostile: &Beside, harmless: &Beside) {
    if hostile.times.is_empty() || harmless.times.is_empty() {
        tally
            .failures
            .push("no client has ended: there is nothing to compare".to_owned());
    }
    let p99 = |beside: &Beside| percentile(&beside.times, 99).unwrap_or_default();
    let slowdown = p99(hostile).as_secs_f64() / p99(harmless).as_secs_f64().max(0.001);
    let throughput = hostile.rate() / harmless.rate().max(0.001);
    let slack = if setup.full { 1.0 } else { SHORT_SLACK };
    if slowdown > SLOWDOWN_MAX * slack {
        let failure = format!("p99 is {slowdown:.2} times that beside busy processes");
        tally.failures.push(failure);
    }
    if throughput < THROUGHPUT_MIN / slack {
        let failure = format!("throughput is {throughput:.2} times that beside busy processes");
        tally.failures.push(failure);
    }
    let compared = format!(
        "{} ({slowdown:.2} of busy's {})",
        show(p99(hostile)),
        show(p99(harmless))
    );
    tally.figures.push(("p99", compared));
    let compared = format!("{throughput:.2} of busy's {:.0}/s", harmless.rate());
    tally.figures.push(("throughput", compared));
}

/// What a server has in use.
struct State {
    threads: usize,
    descriptors: usize,
    private_bytes: u64,
}

impl State {
    fn of(pid: u32) -> Self {
        Self {
            threads: threads(pid),
            descriptors: descriptors(pid),
            private_bytes: private_bytes(pid),
        }
    }

    /// The state once the server has no more threads and descriptors than in this one, or after as long as it may take.
    fn settled(&self, pid: u32) -> Self {
        let deadline = Instant::now() + SETTLE;
        loop {
            let state = Self::of(pid);
            let is_settled = state.threads <= self.threads && state.descriptors <= self.descriptors;
            if is_settled || Instant::now() > deadline {
                return state;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn kept(&self, before: &State) -> u64 {
        self.private_bytes.saturating_sub(before.private_bytes)
    }

    fn judge(&self, before: &State) -> Result<(), String> {
        if (self.threads, self.descriptors) != (before.threads, before.descriptors) {
            return Err(format!(
                "the server has {} threads and {} descriptors, before {} and {}",
                self.threads, self.descriptors, before.threads, before.descriptors
            ));
        }
        if self.kept(before) > KEPT_BYTES_MAX {
            return Err(format!(
                "the server keeps {} KiB more than before",
                self.kept(before) / 1024
            ));
        }
        Ok(())
    }
}

fn take_turn(
    setup: &Setup,
    world: &World,
    attackers: &[Attack],
    turn: Duration,
    beside: &mut Beside,
    number: u64,
) -> Result<(), String> {
    let crowd = start(world, attackers)?;
    let is_over = AtomicBool::new(false);
    let found = Mutex::new(Beside::default());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..HONEST {
            let chance = Chance::new(setup.seed, number * 100 + worker as u64);
            let (is_over, found) = (&is_over, &found);
            scope.spawn(move || {
                if let Err(what) = be_honest(world, worker, chance, is_over, found)
                    && let Ok(mut found) = found.lock()
                {
                    found.failures.push(what);
                }
            });
        }
        std::thread::sleep(turn);
        is_over.store(true, Ordering::Relaxed);
    });
    beside.spent += start.elapsed();
    beside.deeds.resize(crowd.len(), 0);
    for (attacker, done) in crowd.into_iter().zip(&mut beside.deeds) {
        attacker.signal(Signal::SIGKILL);
        let ended = attacker.finish(Instant::now() + PATIENCE)?;
        if ended.exit != Exit::Signal(Signal::SIGKILL) {
            return Err(format!(
                "an attacker ended with {:?}: {}",
                ended.exit, ended.stderr
            ));
        }
        *done += deeds(&ended.stderr);
    }
    let found = found.into_inner().map_err(|_| "a worker panicked".to_owned())?;
    beside.times.extend(found.times);
    beside.failures.extend(found.failures);
    Ok(())
}

fn start(world: &World, attackers: &[Attack]) -> Result<Vec<Running>, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let start = |(number, attack): (usize, &Attack)| {
        let said = world.output().join(format!("attacker-{number}"));
        Program::new(
            &own,
            &["attack", &format!("{attack:?}").to_lowercase(), world.name()],
        )
        .start(&said)
    };
    attackers.iter().enumerate().map(start).collect()
}

fn be_honest(
    world: &World,
    number: usize,
    chance: Chance,
    is_over: &AtomicBool,
    found: &Mutex<Beside>,
) -> Result<(), String> {
    let mut honest = Honest::new(world, number, chance)?;
    while !is_over.load(Ordering::Relaxed) {
        let (asked, program) = honest.choose().split();
        let start = Instant::now();
        let ended = program.start(honest.said())?.finish(start + PATIENCE)?;
        let took = ended.at.duration_since(start);
        let judged = honest.judge(&asked, &ended, &[0]);
        let mut found = found.lock().map_err(|_| "a worker panicked".to_owned())?;
        found.times.push(took);
        found.failures.extend(judged.err());
    }
    Ok(())
}
