//! Every system call of client and server, one after the other: killed there, stopped there, made to fail there.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use syscalls::Sysno;

use crate::errnos::errnos_of;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::scene::{self, Victim, Work};
use crate::tracer::{Deed, Point};
use crate::world::World;

/// How long a stopped side stands: longer than every spin and nap, shorter than a slice.
const STOP: Duration = Duration::from_millis(20);
/// A run can have some calls more than those that were watched; so many are tried beyond each thread's end.
const BEYOND: usize = 3;
/// How many runs are watched: their calls differ a little, since waits are short or long.
const WATCHED: usize = 3;
/// How many worlds share a processor where most of them only wait.
const IDLE_JOBS: usize = 10;
/// In the short form each sweep has so many points, spread evenly.
const SHORT_POINTS: usize = 24;

const WORKS: [Work; 5] = [Work::Get, Work::Replace, Work::Tree, Work::Resume, Work::Shutdown];

/// The rows of this file.
pub fn rows() -> [Row; 6] {
    let row = |name, about, run| Row { name, about, run };
    [
        row(
            "kill-client",
            "SIGKILL at every system call of the client",
            |setup| sweep(setup, Victim::Client, |_| vec![Deed::Kill]),
        ),
        row(
            "kill-server",
            "SIGKILL at every system call of the server",
            |setup| sweep(setup, Victim::Server, |_| vec![Deed::Kill]),
        ),
        row(
            "stop-client",
            "SIGSTOP, then SIGCONT, at every system call of the client",
            |setup| sweep(setup, Victim::Client, |_| vec![Deed::Stop(STOP)]),
        ),
        row(
            "stop-server",
            "SIGSTOP, then SIGCONT, at every system call of the server",
            |setup| sweep(setup, Victim::Server, |_| vec![Deed::Stop(STOP)]),
        ),
        row(
            "errno-client",
            "every system call of the client fails, with each errno of its table",
            |setup| sweep(setup, Victim::Client, fail),
        ),
        row(
            "errno-server",
            "every system call of the server fails, with each errno of its table",
            |setup| sweep(setup, Victim::Server, fail),
        ),
    ]
}

fn fail(call: Sysno) -> Vec<Deed> {
    errnos_of(call).map(|errno| Deed::Fail(errno as i32)).collect()
}

/// One thing to be done.
type Task = (Work, Point, Deed);

/// What the workers share.
#[derive(Default)]
struct Findings {
    tally: Tally,
    noticed: Vec<Duration>,
    /// The slowest of them, and where it was.
    slowest: Option<(Duration, String)>,
    /// The longest run, and where it was.
    longest: Option<(Duration, String)>,
    missed: u64,
}

fn sweep(setup: &Setup, victim: Victim, deeds: fn(Sysno) -> Vec<Deed>) -> Result<Tally, Obstacle> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Obstacle::Needs("x86-64"));
    }
    // A client whose request is lost waits for half a minute: that costs time and no processor.
    let may_wait = deeds(Sysno::read)
        .iter()
        .any(|deed| matches!(deed, Deed::Fail(_)));
    let worlds: Vec<World> = (0..setup.jobs * if may_wait { IDLE_JOBS } else { 1 })
        .map(|_| {
            let mut world = World::new(setup, "sweep")?;
            scene::furnish(&mut world)?;
            Ok(world)
        })
        .collect::<Result<_, String>>()?;
    let mut tasks = Vec::new();
    for work in WORKS {
        let points = watch(&worlds[0], work, victim)?;
        let all = points
            .iter()
            .flat_map(|(point, call)| deeds(*call).into_iter().map(|deed| (work, *point, deed)));
        tasks.extend(all);
    }
    let tasks = choose(setup, tasks);
    let (next, findings) = (AtomicUsize::new(0), Mutex::new(Findings::default()));
    std::thread::scope(|scope| {
        for world in &worlds {
            scope.spawn(|| work_off(world, victim, &tasks, &next, &findings));
        }
    });
    let Findings {
        mut tally,
        noticed,
        slowest,
        longest,
        missed,
    } = findings
        .into_inner()
        .map_err(|_| "a worker panicked".to_owned())?;
    if missed > 0 {
        tally.figures.push(("beyond the end", missed.to_string()));
    }
    // Two runs differ by some calls, never by a quarter of them.
    if missed * 4 > tally.points {
        tally
            .failures
            .push(format!("{missed} of {} points were never reached", tally.points));
    }
    tally
        .figures
        .extend(crate::figures::quantiles("noticed after", noticed));
    tally
        .figures
        .extend(slowest.map(|(_, place)| ("slowest at", place)));
    tally.figures.extend(longest.map(|(took, place)| {
        (
            "longest run",
            format!("{} at {place}", crate::figures::show(took)),
        )
    }));
    Ok(tally)
}

/// In the short form an even choice of all tasks, begun elsewhere by another seed.
fn choose(setup: &Setup, tasks: Vec<Task>) -> Vec<Task> {
    if let Some(only) = setup.only {
        return tasks.into_iter().filter(|(_, point, _)| *point == only).collect();
    }
    if setup.full {
        return tasks;
    }
    let stride = (tasks.len() / SHORT_POINTS).max(1);
    let first = usize::try_from(setup.seed).unwrap_or(0) % stride;
    tasks.into_iter().skip(first).step_by(stride).collect()
}

/// All points of a piece of work, with the call that was seen there.
fn watch(world: &World, work: Work, victim: Victim) -> Result<BTreeMap<Point, Sysno>, String> {
    let mut points = BTreeMap::new();
    for _ in 0..WATCHED {
        let nowhere = Point { thread: 0, call: 0 };
        let run = scene::run(world, work, victim, nowhere, Deed::Watch)
            .map_err(|what| format!("{work:?}, {victim:?}, unharmed: {what}"))?;
        for (thread, calls) in run.traced.calls.iter().enumerate() {
            let beyond = calls.last().into_iter().cycle().take(BEYOND);
            for (at, call) in calls.iter().chain(beyond).enumerate() {
                points.entry(Point { thread, call: at + 1 }).or_insert(*call);
            }
        }
    }
    Ok(points)
}

fn work_off(world: &World, victim: Victim, tasks: &[Task], next: &AtomicUsize, findings: &Mutex<Findings>) {
    while let Some((work, point, deed)) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
        let start = Instant::now();
        let result = scene::run(world, *work, victim, *point, *deed);
        let took = start.elapsed();
        let place = format!("{work:?} {}:{}", point.thread, point.call);
        let Ok(mut findings) = findings.lock() else { return };
        findings.longest = findings
            .longest
            .take()
            .max(Some((took, format!("{place}, {deed:?}"))));
        match &result {
            Ok(run) if run.traced.hit.is_none() => findings.missed += 1,
            Ok(run) => {
                findings.noticed.extend(run.noticed_after);
                let call = run.traced.hit.map_or("", |(call, _)| call.name());
                let here = run.noticed_after.map(|after| (after, format!("{place}, {call}")));
                findings.slowest = findings.slowest.take().max(here);
            }
            Err(_) => {}
        }
        let named = |what: String| format!("{place}, {victim:?}, {deed:?}: {what}");
        findings.tally.count(result.map(|_| ()).map_err(named));
    }
}
