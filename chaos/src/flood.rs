//! Four processes of another user send as fast as they can to a queue that lets others send. The honest clients are of the server's user.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::attack::Attack;
use crate::chance::Chance;
use crate::figures::quantiles;
use crate::honest::{Honest, furnish};
use crate::measure::{cpu_time, server_counts};
use crate::program::{Program, Running};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const FLOODERS: usize = 4;
const HONEST: usize = 4;
/// A user that owns nothing.
const NOBODY: &str = "65534";
/// An honest request is taken within this time, in 99 of 100 cases.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);
/// What a message for nothing may cost the server.
const JUNK_COST_MAX: Duration = Duration::from_micros(50);
/// With fewer messages than that, nothing was flooded and no cost can be told.
const MESSAGES_MIN: u64 = 100;

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "flood",
        about: "four flooders of another user on a queue that lets others send",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    if shmeld_os::process::effective_uid() != 0 {
        return Err(Obstacle::Needs("root"));
    }
    let mut world = World::new(setup, "flood")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let flooder = copy_of_this_program(&world)?;
    // What the modes of the harness's files show is another matter.
    let server = world.serving_with(&["--public", "--serve-private"])?;
    let mut tally = Tally::default();
    let flooded = flood(setup, &world, &flooder, server.pid(), &mut tally);
    stop_server(server, &mut tally)?;
    flooded?;
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn flood(setup: &Setup, world: &World, flooder: &Path, server: u32, tally: &mut Tally) -> Result<(), String> {
    let requests = if setup.full { 2000 } else { 60 };
    let mixed: Vec<_> = [Attack::Junk, Attack::Forged]
        .into_iter()
        .cycle()
        .take(FLOODERS)
        .collect();
    let crowd = start(world, flooder, &mixed)?;
    let before = messages_for_nothing(world);
    let times = ask(setup, world, requests, tally);
    let after = messages_for_nothing(world);
    stop(crowd)?;
    let (times, messages) = (times?, after?.saturating_sub(before?));
    if messages < MESSAGES_MIN {
        let failure = format!("only {messages} messages for nothing came beside the honest ones");
        tally.failures.push(failure);
    }
    let late = times.iter().filter(|time| **time > TAKEN_WITHIN).count();
    if late * 100 > times.len() {
        let failure = format!(
            "{late} of {} requests took more than {TAKEN_WITHIN:?}",
            times.len()
        );
        tally.failures.push(failure);
    }
    tally.figures.extend(quantiles("answered", times));
    for (name, attack) in [("junk", Attack::Junk), ("forged", Attack::Forged)] {
        let (messages, cost) = cost_of(setup, world, flooder, attack, server)?;
        if cost > JUNK_COST_MAX {
            let failure = format!("a message of the kind {attack:?} costs the server {cost:?}");
            tally.failures.push(failure);
        }
        let figure = format!("{messages} at {:.1} us", cost.as_secs_f64() * 1e6);
        tally.figures.push((name, figure));
    }
    Ok(())
}

/// A copy that the other user may execute: the folder of the original can be closed to others.
fn copy_of_this_program(world: &World) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let copy = world.output().join("flooder");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let copied = std::fs::copy(own, &copy).map(drop);
    let opened = copied.and_then(|()| {
        // From the world's folders up to the one for temporary files, which is everybody's.
        let folders = copy.ancestors().skip(1).take(3);
        let mut all = std::iter::once(copy.as_path()).chain(folders);
        all.try_for_each(|path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)))
    });
    opened.map_err(|error| format!("{}: {error}", copy.display()))?;
    Ok(copy)
}

fn start(world: &World, flooder: &Path, attacks: &[Attack]) -> Result<Vec<Running>, String> {
    let start = |(number, attack): (usize, &Attack)| {
        let said = world.output().join(format!("flooder-{number}"));
        let program = flooder.to_string_lossy();
        let kind = format!("{attack:?}").to_lowercase();
        let identity = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
        let arguments = [&identity[..], &[&program, "attack", &kind, world.name()]].concat();
        Program::new(Path::new("setpriv"), &arguments).start(&said)
    };
    attacks.iter().enumerate().map(start).collect()
}

fn stop(crowd: Vec<Running>) -> Result<(), String> {
    for flooder in crowd {
        flooder.signal(Signal::SIGKILL);
        let ended = flooder.finish(Instant::now() + PATIENCE)?;
        if ended.exit != Exit::Signal(Signal::SIGKILL) {
            return Err(format!("a flooder ended with {:?}: {}", ended.exit, ended.stderr));
        }
    }
    Ok(())
}

fn stop_server(mut server: Running, tally: &mut Tally) -> Result<(), String> {
    if server.is_over() {
        tally.failures.push("the server did not live".to_owned());
    }
    tally.end(server)
}

/// Honest clients, each with one request of its own. The time is that from the client's start to its end, which contains the one in question.
fn ask(setup: &Setup, world: &World, requests: usize, tally: &mut Tally) -> Result<Vec<Duration>, String> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = |number: usize| -> Result<(), String> {
        let honest = Honest::new(world, number, Chance::new(setup.seed, number as u64))?;
        while next.fetch_add(1, Ordering::Relaxed) < requests {
            let (asked, program) = honest.get("4096", "page").split();
            let start = Instant::now();
            let ended = program.start(honest.said())?.finish(start + PATIENCE)?;
            let took = ended.at.duration_since(start);
            let judged = honest.judge(&asked, &ended, &[0]);
            found
                .lock()
                .map_err(|_| "a worker panicked")?
                .push((took, judged));
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..HONEST)
            .map(|number| scope.spawn(move || work(number)))
            .collect();
        let lost = |_| Err("a worker panicked".to_owned());
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(lost))
    })?;
    let found = found.into_inner().map_err(|_| "a worker panicked".to_owned())?;
    Ok(found
        .into_iter()
        .map(|(took, judged)| {
            tally.count(judged);
            took
        })
        .collect())
}

/// How many messages of one kind the server took in a while, and what each cost.
fn cost_of(
    setup: &Setup,
    world: &World,
    flooder: &Path,
    attack: Attack,
    server: u32,
) -> Result<(u64, Duration), String> {
    let crowd = start(world, flooder, &[attack; FLOODERS])?;
    std::thread::sleep(Duration::from_millis(100));
    let look = || messages_for_nothing(world).map(|messages| (messages, cpu_time(server)));
    let before = look();
    std::thread::sleep(Duration::from_millis(if setup.full { 5000 } else { 400 }));
    let after = look();
    stop(crowd)?;
    let ((messages_before, cpu_before), (messages, cpu)) = (before?, after?);
    let messages = messages.saturating_sub(messages_before);
    if messages < MESSAGES_MIN {
        return Err(format!(
            "the server counted only {messages} messages of the kind {attack:?}"
        ));
    }
    // Threads that ended took their time with them.
    let spent = cpu.saturating_sub(cpu_before);
    if spent.is_zero() {
        return Err(format!("{messages} messages, and no CPU time of the server"));
    }
    let nanos = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
    Ok((messages, Duration::from_nanos(nanos / messages)))
}

/// What the server has dropped so far, as it says itself.
fn messages_for_nothing(world: &World) -> Result<u64, String> {
    Ok(server_counts(world, "junk_messages_total")? + server_counts(world, "refused_regions_total")?)
}
