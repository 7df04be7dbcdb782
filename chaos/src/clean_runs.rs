//! `shmeld ipc clean` again and again beside neighbours of every kind, which are at work or hold what they have.
//!
//! In a mount and an IPC namespace of its own: whatever is stale there was put there by this row, and nobody else's leftovers are touched.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key, message_queue};
use shmeld_os::{ObjectName, fs, mapping::Mapping};

use crate::chance::Chance;
use crate::honest::{Honest, furnish};
use crate::program::Program;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const HONEST: usize = 2;
const BOARD: &str = "0x5a5a";
/// A region whose client is dead: the first bytes of one, and no lease.
const DEAD: &str = "/dev/shm/shmeld.00000000000000000000000000000000";
/// What our own neighbours are called.
const HELD: &str = "/held";

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "clean-runs",
        about: "shmeld ipc clean, 1,000 times (60 in the short form), beside neighbours of every kind at work: they live on",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    if shmeld_os::process::effective_uid() != 0 {
        return Err(Obstacle::Needs("root"));
    }
    std::thread::scope(|scope| {
        // Namespaces are a property of a thread until it starts others.
        let thread = scope.spawn(|| match enter_own_machine()? {
            true => among_neighbours(setup).map(Some),
            false => Ok(None),
        });
        let lost = |_| Err("a worker panicked".to_owned());
        thread.join().unwrap_or_else(lost)
    })?
    .ok_or(Obstacle::Needs("a mount and an IPC namespace of its own"))
}

fn enter_own_machine() -> Result<bool, String> {
    if unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC).is_err() {
        return Ok(false);
    }
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let (tmpfs, empty) = (Some("tmpfs"), MsFlags::empty());
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .and_then(|()| mount(tmpfs, "/dev/shm", tmpfs, empty, Some("mode=1777")))
        .map(|()| true)
        .map_err(|errno| format!("mount: {errno}"))
}

fn among_neighbours(setup: &Setup) -> Result<Tally, String> {
    let mut world = World::new(setup, "clean")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let mut server = world.serving()?;
    let held = Held::new().map_err(|error| error.to_string())?;
    let (is_over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let rounds: u64 = if setup.full { 1000 } else { 60 };
    let mut tally = Tally::default();
    std::thread::scope(|scope| -> Result<(), String> {
        let (world, is_over, served) = (&world, &is_over, &served);
        let mut workers = vec![scope.spawn(move || post_and_read(setup, world, is_over, served))];
        workers.push(scope.spawn(move || ask_for_images(setup, world, is_over, served)));
        for number in 0..HONEST {
            let chance = Chance::new(setup.seed, 1 + number as u64);
            workers.push(scope.spawn(move || fetch(world, number, chance, is_over, served)));
        }
        for round in 0..rounds {
            let result = clean(setup, world, round, &held).and_then(|()| held.check());
            tally.count(result.map_err(|what| format!("round {round}: {what}")));
        }
        is_over.store(true, Ordering::Relaxed);
        for worker in workers {
            let outcome = worker.join().map_err(|_| "a worker panicked".to_owned())?;
            tally.failures.extend(outcome.err());
        }
        Ok(())
    })?;
    tally
        .figures
        .push(("work of neighbours", served.load(Ordering::Relaxed).to_string()));
    if served.load(Ordering::Relaxed) == 0 {
        tally.failures.push("the neighbours did nothing".to_owned());
    }
    if server.is_over() {
        tally
            .failures
            .push(format!("the server did not live: {}", server.stderr()));
    }
    server.signal(Signal::SIGTERM);
    server.finish(Instant::now() + PATIENCE)?;
    Ok(tally)
}

/// One run of the cleaner, which finds something to do. Every other one also asks for what other programs left, and must name no neighbour.
fn clean(setup: &Setup, world: &World, round: u64, held: &Held) -> Result<(), String> {
    std::fs::write(DEAD, b"SHMELD1\x01").map_err(|error| format!("{DEAD}: {error}"))?;
    if round.is_multiple_of(2) {
        let would = ipc(
            setup,
            world,
            &["clean", "--any-stale", "--dry-run", "--older", "0"],
        )?;
        let neighbour = would
            .lines()
            .find(|line| line.contains(HELD) || line.contains(world.name()) || held.is_said_in(line));
        if let Some(line) = neighbour {
            return Err(format!("a neighbour: {line}"));
        }
    }
    let said = ipc(setup, world, &["clean"])?;
    let is_gone = !Path::new(DEAD).exists();
    if said.lines().count() == 1 && is_gone {
        return Ok(());
    }
    Err(format!("not exactly the dead region was removed: {said}"))
}

/// What `shmeld ipc` prints.
fn ipc(setup: &Setup, world: &World, words: &[&str]) -> Result<String, String> {
    let path = world.output().join("cleaned");
    let file = std::fs::File::create(&path).map_err(|error| error.to_string())?;
    let program = Program::new(&setup.programs.join("shmeld"), &[&["ipc"], words].concat());
    let said = world.output().join("said-cleaner");
    let running = program.stdout(Stdio::from(file)).start(&said)?;
    let ended = running.finish(Instant::now() + PATIENCE)?;
    if ended.exit != Exit::Code(0) {
        return Err(format!("{words:?} ended with {:?}: {}", ended.exit, ended.stderr));
    }
    std::fs::read_to_string(&path).map_err(|error| error.to_string())
}

fn fetch(
    world: &World,
    number: usize,
    chance: Chance,
    is_over: &AtomicBool,
    served: &AtomicU64,
) -> Result<(), String> {
    let mut honest = Honest::new(world, number, chance)?;
    while !is_over.load(Ordering::Relaxed) {
        let (asked, program) = honest.choose().split();
        let ended = program.start(honest.said())?.finish(Instant::now() + PATIENCE)?;
        honest.judge(&asked, &ended, &[0])?;
        served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A message for one reader, again and again, so that cleaners meet boards in all their states.
fn post_and_read(
    setup: &Setup,
    world: &World,
    is_over: &AtomicBool,
    served: &AtomicU64,
) -> Result<(), String> {
    let start = |words: &[&str]| {
        let words = [&["board"], words, &["--key", BOARD]].concat();
        let said = world.output().join(format!("said-{}", words[1]));
        Program::new(&setup.programs.join("shmeld"), &words).start(&said)
    };
    while !is_over.load(Ordering::Relaxed) {
        let poster = start(&["post", "a message", "--readers", "1", "--timeout", "20s"])?;
        let reader = start(&["read", "--timeout", "20s"])?;
        for (who, one) in [("reader", reader), ("poster", poster)] {
            let ended = one.finish(Instant::now() + PATIENCE)?;
            if ended.exit != Exit::Code(0) {
                return Err(format!("the {who} ended with {:?}: {}", ended.exit, ended.stderr));
            }
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A few images and the end, again and again: the channel is made and removed all the time, and its provider is the same.
fn ask_for_images(
    setup: &Setup,
    world: &World,
    is_over: &AtomicBool,
    served: &AtomicU64,
) -> Result<(), String> {
    let pictures = world.output().join("pictures");
    let put = |name: &str, bytes: &[u8]| std::fs::write(pictures.join(name), bytes);
    std::fs::create_dir_all(&pictures)
        .and_then(|()| put("dot.raw", b"rgb"))
        .and_then(|()| {
            put(
                "dot.raw.json",
                br#"{"bytes":3,"width":1,"height":1,"channels":3}"#,
            )
        })
        .map_err(|error| format!("{}: {error}", pictures.display()))?;
    let channel = &world.name()[1..];
    let start = |words: &[&str]| {
        let said = world.output().join(format!("said-{}", words[0]));
        Program::new(&setup.programs.join("shmeld"), &[&["image"], words].concat()).start(&said)
    };
    let mut provider = start(&["provide", channel, &pictures.to_string_lossy(), "-q"])?;
    while !is_over.load(Ordering::Relaxed) {
        let requester = start(&[
            "request",
            channel,
            "dot",
            "-n",
            "20",
            "--print",
            "--timeout",
            "20s",
        ])?;
        let ended = requester.finish(Instant::now() + PATIENCE)?;
        if ended.exit != Exit::Code(0) {
            return Err(format!(
                "the requester ended with {:?}: {}",
                ended.exit, ended.stderr
            ));
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
    if provider.is_over() {
        return Err(format!("the provider did not live: {}", provider.stderr()));
    }
    provider.signal(Signal::SIGTERM);
    provider.finish(Instant::now() + PATIENCE).map(drop)
}

/// Objects of each kind that this process has.
struct Held {
    _memory: Mapping,
    queue: MessageQueue,
    semaphore: NamedSemaphore,
    segment: Segment,
    _attached: Mapping,
    set: SemaphoreSet,
    messages: message_queue::MessageQueue,
}

impl Held {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        const BYTES: usize = 4096;
        let name = ObjectName::new(HELD)?;
        let memory = SharedMemory::create_new(&name, 0o600)?;
        memory.reserve(BYTES as u64)?;
        let segment = Segment::create_new(Key::PRIVATE, BYTES, 0o600)?;
        let set = SemaphoreSet::create_new(Key::PRIVATE, 1, 0o600)?;
        set.operate(&[Operation::add(0, 1)], None)?;
        let messages = message_queue::MessageQueue::create_new(Key::PRIVATE, 0o600)?;
        messages.send(1, b"held", None)?;
        Ok(Self {
            _memory: Mapping::new(&memory, BYTES, "held")?,
            queue: MessageQueue::create_new(&name, 1, 64, 0o600)?,
            semaphore: NamedSemaphore::create_new(&name, 0o600, 1)?,
            _attached: segment.attach(How::default())?,
            segment,
            set,
            messages,
        })
    }

    /// Whether a line of the cleaner is about one that has a number: `would remove sysv:#17: …`.
    fn is_said_in(&self, line: &str) -> bool {
        let addresses = [
            format!(" sysv:#{}:", self.segment.id()),
            format!(" sysv-sem:#{}:", self.set.id()),
            format!(" sysv-msg:#{}:", self.messages.id()),
        ];
        addresses.iter().any(|address| line.contains(address))
    }

    /// All have their names and numbers still.
    fn check(&self) -> Result<(), String> {
        let names = [format!("/dev/shm{HELD}"), format!("/dev/shm/sem.{}", &HELD[1..])];
        for name in &names {
            fs::stat_path(Path::new(name)).map_err(|error| format!("a neighbour is gone: {error}"))?;
        }
        let gone = |error: shmeld_os::Error| format!("a neighbour is gone: {error}");
        if self.queue.stat().map_err(gone)?.links == 0 {
            return Err("the queue of a neighbour is gone".to_owned());
        }
        self.semaphore.value().map_err(gone)?;
        if self.segment.stat().map_err(gone)?.is_marked {
            return Err("the segment of a neighbour is marked".to_owned());
        }
        self.set.stat().map_err(gone)?;
        self.messages.stat().map_err(gone)?;
        Ok(())
    }
}
