//! The server is restarted again and again, by request and by force, while requests wait in its queue.
//!
//! Before each restart the server is stopped (SIGSTOP) for a moment, so that there surely are requests which it has not taken.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::chance::Chance;
use crate::figures::quantiles;
use crate::honest::{Honest, enough_served, furnish};
use crate::program::Running;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const CLIENTS: usize = 8;
/// How long the server lives, and then stands still while requests gather, on the average.
const LIFE: Duration = Duration::from_millis(30);
const STILL: Duration = Duration::from_millis(15);

/// Sessions at work have five seconds, their threads two; and one more.
const END_MAX: Duration = Duration::from_secs(8);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "restarts",
        about: "the server is restarted, by SIGTERM or SIGKILL, with requests in its queue",
        run,
    }
}

#[derive(Default)]
struct Findings {
    is_over: AtomicBool,
    ended: AtomicU64,
    served: AtomicU64,
    times: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let restarts = if setup.full { 500 } else { 20 };
    let mut world = World::new(setup, "restarts")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let server = world.serving()?;
    let findings = Findings::default();
    let server = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let chance = Chance::new(setup.seed, 1 + number as u64);
            let (world, findings) = (&world, &findings);
            scope.spawn(move || {
                if let Err(what) = be_honest(world, number, chance, findings) {
                    fail(findings, what);
                }
            });
        }
        let server = restart(&world, server, Chance::new(setup.seed, 100), restarts, &findings);
        // The last server serves those that are waiting; they begin nothing new.
        findings.is_over.store(true, Ordering::Relaxed);
        server
    })?;
    server.signal(Signal::SIGTERM);
    let ended = server.finish(Instant::now() + PATIENCE)?;
    judge_server(&ended.exit, &ended.stderr, Exit::Code(0), &findings);
    let lost = |_| Obstacle::Broken("a worker panicked".to_owned());
    let mut tally = Tally {
        points: restarts,
        failures: findings.failures.into_inner().map_err(lost)?,
        ..Tally::default()
    };
    let (ended, served) = (findings.ended.into_inner(), findings.served.into_inner());
    let clients = format!("{ended} ({served} got their files)");
    tally.figures.push(("clients", clients));
    tally.failures.extend(enough_served(ended, served).err());
    let times = findings
        .times
        .into_inner()
        .map_err(|_| "a worker panicked".to_owned())?;
    tally.figures.extend(quantiles("each", times));
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn fail(findings: &Findings, what: String) {
    if let Ok(mut failures) = findings.failures.lock() {
        failures.push(what);
    }
}

fn judge_server(exit: &Exit, stderr: &str, expected: Exit, findings: &Findings) {
    if *exit != expected || stderr.contains("panicked") {
        fail(findings, format!("the server ended with {exit:?}: {stderr}"));
    }
}

fn restart(
    world: &World,
    mut server: Running,
    mut chance: Chance,
    restarts: u64,
    findings: &Findings,
) -> Result<Running, String> {
    for _ in 0..restarts {
        std::thread::sleep(chance.around(LIFE));
        server.signal(Signal::SIGSTOP);
        std::thread::sleep(chance.around(STILL));
        let expected = if chance.below(2) == 0 {
            server.signal(Signal::SIGTERM);
            server.signal(Signal::SIGCONT);
            Exit::Code(0)
        } else {
            server.signal(Signal::SIGKILL);
            Exit::Signal(Signal::SIGKILL)
        };
        let asked_at = Instant::now();
        let ended = server.finish(asked_at + PATIENCE)?;
        judge_server(&ended.exit, &ended.stderr, expected, findings);
        let took = ended.at.duration_since(asked_at);
        if took > END_MAX {
            fail(
                findings,
                format!("the server ended {took:?} after it was asked to"),
            );
        }
        server = world.serving()?;
    }
    Ok(server)
}

fn be_honest(world: &World, number: usize, chance: Chance, findings: &Findings) -> Result<(), String> {
    let mut honest = Honest::new(world, number, chance)?;
    while !findings.is_over.load(Ordering::Relaxed) {
        let (asked, program) = honest.choose().split();
        let start = Instant::now();
        let ended = program.start(honest.said())?.finish(start + PATIENCE)?;
        findings.ended.fetch_add(1, Ordering::Relaxed);
        if ended.exit == Exit::Code(0) && !asked.is_empty() {
            findings.served.fetch_add(1, Ordering::Relaxed);
        }
        if let Ok(mut times) = findings.times.lock() {
            times.push(ended.at.duration_since(start));
        }
        if let Err(what) = honest.judge(&asked, &ended, &[0, 4]) {
            fail(findings, what);
        }
    }
    Ok(())
}
