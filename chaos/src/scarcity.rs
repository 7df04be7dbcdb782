//! Too little of everything: a /dev/shm that is full again and again, and limits of processes that are too small.

use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

use crate::attack::{Attack, deeds};
use crate::chance::Chance;
use crate::honest::{Honest, furnish};
use crate::program::Program;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{Expected, PATIENCE, World};

const HONEST: usize = 4;
const SPACE_BYTES: usize = 256 << 10;
/// The mean time between two changes of what is free.
const CHANGE: Duration = Duration::from_millis(5);
const FILLER: &str = "/dev/shm/filler";

/// The rows of this file.
pub fn rows() -> [Row; 2] {
    [
        Row {
            name: "small-shm",
            about: "a /dev/shm of 256 KiB that is filled and emptied while a client punches holes",
            run: small_shm,
        },
        Row {
            name: "rlimits",
            about: "limits of descriptors, file sizes and queues that are too small, for client and server",
            run: rlimits,
        },
    ]
}

fn small_shm(setup: &Setup) -> Result<Tally, Obstacle> {
    if shmeld_os::process::effective_uid() != 0 {
        return Err(Obstacle::Needs("root"));
    }
    // Mounts are a property of a thread until it starts others: the rest of the harness keeps its own.
    let inside = || {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if !enter_small_world()? {
                    return Ok(None);
                }
                crowd_into(setup).map(Some)
            });
            thread
                .join()
                .unwrap_or_else(|_| Err("a worker panicked".to_owned()))
        })
    };
    inside()?.ok_or(Obstacle::Needs("a mount namespace of its own"))
}

fn enter_small_world() -> Result<bool, String> {
    if unshare(CloneFlags::CLONE_NEWNS).is_err() {
        return Ok(false);
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let size = format!("size={SPACE_BYTES},mode=1777");
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .and_then(|()| {
            mount(
                Some("tmpfs"),
                "/dev/shm",
                Some("tmpfs"),
                MsFlags::empty(),
                Some(size.as_str()),
            )
        })
        .map(|()| true)
        .map_err(|errno| format!("mount: {errno}"))
}

#[derive(Default)]
struct Scarcity {
    is_over: AtomicBool,
    /// Clients that got everything, and clients that found no room; or what went wrong.
    ended: Mutex<Vec<Result<bool, String>>>,
}

fn crowd_into(setup: &Setup) -> Result<Tally, String> {
    let mut world = World::new(setup, "scarcity")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let mut server = world.serving()?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let punch = format!("{:?}", Attack::Punch).to_lowercase();
    let puncher = Program::new(&own, &["attack", &punch, world.name()]).start(&world.said())?;
    let scarcity = Scarcity::default();
    std::thread::scope(|scope| {
        for number in 0..HONEST {
            let chance = Chance::new(setup.seed, 1 + number as u64);
            let (world, scarcity) = (&world, &scarcity);
            scope.spawn(move || {
                let result = be_honest(world, number, chance, scarcity);
                if let (Err(what), Ok(mut ended)) = (result, scarcity.ended.lock()) {
                    ended.push(Err(what));
                }
            });
        }
        let filled = fill(
            Chance::new(setup.seed, 100),
            Duration::from_secs(if setup.full { 60 } else { 3 }),
        );
        scarcity.is_over.store(true, Ordering::Relaxed);
        filled
    })?;
    puncher.signal(Signal::SIGKILL);
    let puncher = puncher.finish(Instant::now() + PATIENCE)?;
    let mut tally = Tally::default();
    if deeds(&puncher.stderr) == 0 {
        tally.failures.push("the attacker did nothing".to_owned());
    }
    if puncher.exit != Exit::Signal(Signal::SIGKILL) {
        tally.failures.push(format!(
            "the attacker ended with {:?}: {}",
            puncher.exit, puncher.stderr
        ));
    }
    if server.is_over() {
        let failure = format!("the server did not live: {}", server.stderr());
        tally.failures.push(failure);
    }
    tally.end(server)?;
    let ended = scarcity.ended.into_inner().map_err(|_| "a worker panicked")?;
    let served = ended.iter().filter(|result| matches!(result, Ok(true))).count();
    let refused = ended.iter().filter(|result| matches!(result, Ok(false))).count();
    tally.figures.push(("served", served.to_string()));
    tally.figures.push(("no room", refused.to_string()));
    ended.into_iter().for_each(|result| tally.count(result.map(drop)));
    if served == 0 || refused == 0 {
        tally.failures.push(format!(
            "{served} served, {refused} without room: it was not scarce"
        ));
    }
    tally.failures.extend(world.check_objects(true).err());
    let left: Vec<_> = crate::world::files_below("/dev/shm".as_ref());
    if !left.is_empty() {
        tally
            .failures
            .push(format!("left in the small /dev/shm: {left:?}"));
    }
    Ok(tally)
}

/// Takes a random part of the space, all of it now and then, again and again.
fn fill(mut chance: Chance, for_how_long: Duration) -> Result<(), String> {
    let explain = |error: std::io::Error| format!("{FILLER}: {error}");
    let filler = std::fs::File::create(FILLER).map_err(explain)?;
    let end = Instant::now() + for_how_long;
    while Instant::now() < end {
        filler.set_len(0).map_err(explain)?;
        // What does not fit any more is not written: that is the point.
        let _ = filler.write_all_at(&vec![1; chance.below(SPACE_BYTES * 4 / 3)], 0);
        std::thread::sleep(chance.around(CHANGE));
    }
    std::fs::remove_file(FILLER).map_err(explain)
}

fn be_honest(world: &World, number: usize, chance: Chance, scarcity: &Scarcity) -> Result<(), String> {
    let mut honest = Honest::new(world, number, chance)?;
    while !scarcity.is_over.load(Ordering::Relaxed) {
        let (asked, program) = honest.choose().split();
        let ended = program.start(honest.said())?.finish(Instant::now() + PATIENCE)?;
        let mut judged = honest.judge(&asked, &ended, &[0, 3]);
        let was_served = ended.exit == Exit::Code(0);
        if judged.is_ok() && !was_served && !ended.stderr.contains("(ENOSPC)") {
            judged = Err(format!("no clear reason: {:?} {}", ended.exit, ended.stderr));
        }
        let mut all = scarcity.ended.lock().map_err(|_| "a worker panicked")?;
        all.push(judged.map(|()| was_served));
    }
    Ok(())
}

/// `prlimit` by its options: each value is tried, and with the last one all must work. A file size below 1000 would only keep the
/// programs from saying what is wrong.
const LIMITS: [(&str, &[u64]); 3] = [
    (
        "nofile",
        &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25],
    ),
    ("fsize", &[1000, 4095, 4096, 8192, 60_000, 1 << 20, 4 << 20]),
    ("msgqueue", &[0, 1000, 10_000, 11_000, 20_000, 800_000]),
];
const ASKED: [&str; 3] = ["tiny", "medium", "large"];

fn rlimits(setup: &Setup) -> Result<Tally, Obstacle> {
    let mut world = World::new(setup, "rlimits")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let mut tally = Tally::default();
    // In the short form every third value, begun elsewhere by another seed.
    let (first, stride) = if setup.full {
        (0, 1)
    } else {
        (usize::try_from(setup.seed % 3).unwrap_or(0), 3)
    };
    for (limit, values) in LIMITS {
        let chosen = |index: usize| index >= first && (index - first).is_multiple_of(stride);
        for (index, value) in values.iter().enumerate() {
            let is_enough = index + 1 == values.len();
            if !is_enough && !chosen(index) {
                continue;
            }
            let limit = format!("--{limit}={value}");
            let named = |who: &str, what: String| format!("{who} under prlimit {limit}: {what}");
            for region in ["4096", "1MiB"] {
                let result = limited_client(&world, &limit, region, is_enough);
                tally.count(result.map_err(|what| named("client", what)));
            }
            let result = limited_server(&world, &limit, is_enough);
            if result.is_err() {
                world.mop_up();
            }
            tally.count(result.map_err(|what| named("server", what)));
        }
    }
    Ok(tally)
}

fn get(world: &World, region: &str) -> Program {
    let output = format!("{}/", world.output().display());
    world.client(&[&["--region", region, "--wait", "5s", "-o", &output], &ASKED[..]].concat())
}

/// A client that lacks something says so, and leaves nothing; the next one without a limit is served, and so is one whose limit is wide.
fn limited_client(world: &World, limit: &str, region: &str, is_enough: bool) -> Result<(), String> {
    let server = world.serving()?;
    let codes = if is_enough { &[0][..] } else { &[0, 1, 3, 127] };
    let limited = run_client(world, get(world, region).under(&["prlimit", limit]), codes);
    let free = run_client(world, get(world, region), &[0]);
    server.signal(Signal::SIGTERM);
    let ended = server.finish(Instant::now() + PATIENCE)?;
    limited?;
    free.map_err(|what| format!("the next client: {what}"))?;
    if ended.exit != Exit::Code(0) {
        return Err(format!(
            "the server ended with {:?}: {}",
            ended.exit, ended.stderr
        ));
    }
    world.check_objects(true)
}

fn run_client(world: &World, program: Program, codes: &[i32]) -> Result<(), String> {
    world.clear_output(&[])?;
    let ended = program.start(&world.said())?.finish(Instant::now() + PATIENCE)?;
    let succeeded = ended.exit == Exit::Code(0);
    let expected = if succeeded {
        Expected::All
    } else {
        Expected::WholeOrNothing
    };
    let result = world.check_output(expected, &ASKED, &[]).and_then(|unfinished| {
        if !codes.iter().any(|&code| ended.exit == Exit::Code(code)) || ended.stderr.contains("panicked") {
            Err(format!("ended with {:?}", ended.exit))
        } else if !unfinished.is_empty() {
            Err(format!("unfinished outputs are left: {unfinished:?}"))
        } else if !succeeded && ended.stderr.trim().is_empty() {
            Err(format!("ended with {:?} and no word", ended.exit))
        } else {
            Ok(())
        }
    });
    result.map_err(|what| format!("{what}: {}", ended.stderr))
}

/// A server that lacks something does not start and says why, or serves what it can; it ends when it is asked to. One
/// whose limit is wide serves everything.
fn limited_server(world: &World, limit: &str, is_enough: bool) -> Result<(), String> {
    let server = world.server(&[]).under(&["prlimit", limit]);
    let mut server = server.start(&world.said())?;
    let serves = server.wait_until_it_says("serving", Instant::now() + PATIENCE)?;
    let mut clients = Ok(());
    if serves {
        let codes = if is_enough { &[0][..] } else { &[0, 1, 3, 4] };
        for _ in 0..2 {
            clients = clients.and(run_client(world, get(world, "4096"), codes));
        }
        server.signal(Signal::SIGTERM);
    }
    let ended = server.finish(Instant::now() + PATIENCE)?;
    clients.map_err(|what| format!("its client: {what}; it said: {}", ended.stderr))?;
    if is_enough && !serves {
        return Err(format!("it did not start: {}", ended.stderr));
    }
    let expected = if serves { &[0][..] } else { &[3, 127] };
    if !expected.iter().any(|&code| ended.exit == Exit::Code(code)) || ended.stderr.trim().is_empty() {
        return Err(format!("ended with {:?}: {}", ended.exit, ended.stderr));
    }
    world.check_objects(true)
}
