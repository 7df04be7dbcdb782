//! A crowd of clients at once: all served, with equal shares, and the server is afterwards what it was before.
//!
//! Starting a thousand processes takes far longer than serving one of them. So each client is stopped (SIGSTOP) as soon as it is attached,
//! and when all are they go on together: all are attached, all want the same. Fairness is Jain's index of the times that they then need.
//! The index of their rates is shown beside it: a few pairs that the scheduler likes are served several times as fast as the rest, which
//! hurts nobody; a client that is served late does, and it shows in the times.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use crate::figures::{quantiles, show};
use crate::measure::{bytes_written, descriptors, fairness, private_bytes, threads};
use crate::program::{Running, send_signal};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

/// Every so many clients one writes into a file, which is compared; the others throw away what they get. All check its digest.
const COMPARED: usize = 20;
const FILE: &str = "wanted";
const FAIRNESS_MIN: f64 = 0.9;
/// Private memory of the server beyond what it had.
const MEMORY_MAX: u64 = 64 << 20;
/// How long the server may take to end all sessions.
const SETTLE: Duration = Duration::from_secs(5);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "thousand-clients",
        about: "1,000 clients at once (60 in the short form): all served, in about the same time, in bounded memory",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    // Two sides that happen to run at the same time move some megabytes before the scheduler looks again: a file is several of these.
    let (clients, megabytes) = if setup.full { (1000, 8) } else { (60, 16) };
    let mut world = World::new(setup, "crowd")?;
    world.offer(FILE, megabytes << 20)?;
    let server = world.serving()?;
    let mut tally = Tally::default();
    let crowded = crowd(&world, server.pid(), clients, &mut tally);
    tally.end(server)?;
    crowded?;
    tally.failures.extend(world.check_objects(true).err());
    Ok(tally)
}

fn crowd(world: &World, server: u32, clients: usize, tally: &mut Tally) -> Result<(), String> {
    let before = (threads(server), descriptors(server));
    let private_before = private_bytes(server);
    let mut waiting = Vec::with_capacity(clients);
    let gathered = (0..clients).try_for_each(|number| -> Result<(), String> {
        waiting.push(Client::attached(world, number, server, before.0 + number + 1)?);
        Ok(())
    });
    // The clients wait for the server, until one call lets all of them go on: the first of a thousand signals would be an advantage.
    send_signal(server, Signal::SIGSTOP);
    for client in &waiting {
        client.running.signal(Signal::SIGCONT);
    }
    std::thread::sleep(Duration::from_millis(100));
    send_signal(server, Signal::SIGCONT);
    let start = Instant::now();
    let private_most = serve(&mut waiting, (server, world.offered(FILE).len()), start, tally);
    for client in waiting {
        tally.count(client.judge(world));
    }
    gathered?;
    let used = private_most.saturating_sub(private_before);
    tally
        .figures
        .push(("server's memory", format!("{} MiB", used >> 20)));
    if used > MEMORY_MAX {
        let failure = format!("the server used {} MiB of its own", used >> 20);
        tally.failures.push(failure);
    }
    settle(server, before)
}

/// Looks on until all are served; returns how much private memory the server had at most.
fn serve(
    clients: &mut [Client],
    (server, file_bytes): (u32, usize),
    start: Instant,
    tally: &mut Tally,
) -> u64 {
    let mut private_most = 0;
    let mut next_look = start;
    let mut running: HashMap<u32, &mut Client> = clients
        .iter_mut()
        .map(|client| (client.running.pid(), client))
        .collect();
    while !running.is_empty() && start.elapsed() < 3 * PATIENCE {
        // Asks for any child that has ended: to look at a thousand takes so long on a busy machine that all would seem to end together.
        let ended = waitid(
            Id::All,
            WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG,
        );
        let pid = ended.ok().and_then(|status| status.pid());
        if let Some(client) = pid.and_then(|pid| running.remove(&pid.as_raw().cast_unsigned())) {
            client.ended_after = Some(start.elapsed());
            client.running.is_over();
            continue;
        }
        if Instant::now() >= next_look {
            private_most = private_most.max(private_bytes(server));
            next_look = Instant::now() + Duration::from_millis(100);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    if !running.is_empty() {
        tally
            .failures
            .push(format!("{} clients were not served in time", running.len()));
    }
    let times = clients.iter().filter_map(|client| client.ended_after).collect();
    tally.figures.extend(quantiles("served after", times));
    // Equal work only: a file on a disk is more work than nothing.
    let rates: Vec<f64> = clients
        .iter()
        .filter(|client| client.output.is_none())
        .filter_map(|client| client.rate(file_bytes))
        .collect();
    let seconds: Vec<f64> = clients
        .iter()
        .filter_map(|client| Some(client.ended_after?.as_secs_f64()))
        .collect();
    let index = fairness(&seconds);
    let both = format!("{index:.3} by times, {:.3} by rates", fairness(&rates));
    tally.figures.push(("fairness", both));
    let first = clients.iter().filter_map(|client| client.ended_after).min();
    tally
        .figures
        .extend(first.map(|first| ("the first after", show(first))));
    if index < FAIRNESS_MIN {
        tally
            .failures
            .push(format!("Jain's index is {index:.3}: less than {FAIRNESS_MIN}"));
    }
    private_most
}

fn settle(server: u32, before: (usize, usize)) -> Result<(), String> {
    let deadline = Instant::now() + SETTLE;
    loop {
        let now = (threads(server), descriptors(server));
        if now == before {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "threads and descriptors of the server: {now:?}, before {before:?}"
            ));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

struct Client {
    running: Running,
    /// What it had received when it was stopped.
    received: u64,
    ended_after: Option<Duration>,
    /// Where its bytes go, if they are compared.
    output: Option<PathBuf>,
}

impl Client {
    /// A client that has been stopped when its session was there: when the server had so many threads.
    fn attached(world: &World, number: usize, server: u32, threads_expected: usize) -> Result<Self, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut client = Self::start(world, number)?;
            while threads(server) < threads_expected && !client.running.is_over() && Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_micros(200));
            }
            client.running.signal(Signal::SIGSTOP);
            client.received = bytes_written(client.running.pid()).unwrap_or(u64::MAX);
            if client.received < world.offered(FILE).len() as u64 / 4 {
                return Ok(client);
            }
            // It was all but served before this process had its turn again: its session goes, and the next one comes instead.
            client.running.signal(Signal::SIGCONT);
            client.judge(world)?;
            while threads(server) >= threads_expected && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Err("a client could not be attached and stopped".to_owned())
    }

    fn start(world: &World, number: usize) -> Result<Self, String> {
        let said = world.output().join(format!("said-{number}"));
        let output = number
            .is_multiple_of(COMPARED)
            .then(|| world.output().join(format!("file-{number}")));
        let program = match &output {
            Some(path) => world.client(&["--verify", "-o", &path.to_string_lossy(), FILE]),
            None => world.client(&["--verify", "-o", "/dev/null", FILE]),
        };
        Ok(Self {
            running: program.start(&said)?,
            received: 0,
            ended_after: None,
            output,
        })
    }

    /// Bytes a second from the common start on.
    fn rate(&self, file_bytes: usize) -> Option<f64> {
        let rest = (file_bytes as u64).saturating_sub(self.received);
        Some(rest as f64 / self.ended_after?.as_secs_f64())
    }

    fn judge(self, world: &World) -> Result<(), String> {
        let ended = self.running.finish(Instant::now() + PATIENCE)?;
        if ended.exit != Exit::Code(0) {
            return Err(format!("a client ended with {:?}: {}", ended.exit, ended.stderr));
        }
        let Some(path) = self.output else { return Ok(()) };
        match std::fs::read(&path) {
            Ok(bytes) if bytes == world.offered(FILE) => Ok(()),
            other => Err(format!(
                "{}: wrong or missing ({:?})",
                path.display(),
                other.map(|bytes| bytes.len())
            )),
        }
    }
}
