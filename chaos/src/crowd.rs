//! A crowd of clients at once: all served, with equal shares, and the server is afterwards what it was before.
//!
//! Starting a thousand processes takes far longer than serving one of them, so the server is stopped (SIGSTOP) until all of them wait at
//! its door, and then goes on: all ask for the same file at the same moment. Fairness is that of the bytes which each client receives
//! in a window of time in which all are attached and none has finished; it does not depend on who came first.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::figures::{quantiles, show};
use crate::measure::{bytes_written, descriptors, fairness, private_bytes, threads};
use crate::program::Running;
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

/// Every so many clients one writes into a file, which is compared; the others check a digest of what they throw away.
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
        about: "1,000 clients at once (60 in the short form): all served, with equal shares, in bounded memory",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let (clients, file_bytes) = if setup.full {
        (1000, 8 << 20)
    } else {
        (60, 16 << 20)
    };
    let mut world = World::new(setup, "crowd")?;
    world.offer(FILE, file_bytes)?;
    let server = world.serving()?;
    let mut tally = Tally::default();
    let crowded = crowd(&world, server.pid(), clients, &mut tally);
    server.signal(Signal::SIGCONT);
    server.signal(Signal::SIGTERM);
    let ended = server.finish(Instant::now() + PATIENCE)?;
    if ended.exit != Exit::Code(0) || ended.stderr.contains("panicked") {
        let failure = format!("the server ended with {:?}: {}", ended.exit, ended.stderr);
        tally.failures.push(failure);
    }
    crowded?;
    tally.failures.extend(world.check_objects().err());
    Ok(tally)
}

fn crowd(world: &World, server: u32, clients: usize, tally: &mut Tally) -> Result<(), String> {
    let before = (threads(server), descriptors(server));
    let private_before = private_bytes(server);
    nix_stop(server);
    let mut waiting = Vec::with_capacity(clients);
    for number in 0..clients {
        waiting.push(Client::start(world, number)?);
    }
    // They wait as soon as they have made their region; the last ones need a moment.
    std::thread::sleep(Duration::from_millis(200));
    crate::program::send_signal(server, Signal::SIGCONT);
    let start = Instant::now();
    let deadline = start + 3 * PATIENCE;
    let mut shares = Shares::default();
    let mut private_most = 0;
    while waiting.iter().any(|client| client.ended_after.is_none()) {
        let over = waiting.iter_mut().filter_map(|client| client.look(start)).count();
        private_most = private_most.max(private_bytes(server));
        let all_attached = threads(server) >= before.0 + clients;
        shares.look(&waiting, all_attached, over > 0, start);
        if Instant::now() > deadline {
            tally
                .failures
                .push("not all clients were served in time".to_owned());
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let times = waiting.iter().filter_map(|client| client.ended_after).collect();
    tally.figures.extend(quantiles("served after", times));
    for client in waiting {
        tally.count(client.judge(world));
    }
    shares.judge(tally);
    let used = private_most.saturating_sub(private_before);
    tally
        .figures
        .push(("server's memory", format!("{} MiB", used >> 20)));
    if used > MEMORY_MAX {
        tally
            .failures
            .push(format!("the server used {} MiB of its own", used >> 20));
    }
    settle(server, before)
}

fn nix_stop(pid: u32) {
    crate::program::send_signal(pid, Signal::SIGSTOP);
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
    ended_after: Option<Duration>,
    /// Where its bytes go, if they are compared.
    output: Option<PathBuf>,
}

impl Client {
    fn start(world: &World, number: usize) -> Result<Self, String> {
        let said = world.output().join(format!("said-{number}"));
        let output = (number % COMPARED == 0).then(|| world.output().join(format!("file-{number}")));
        let program = match &output {
            Some(path) => world.client(&["-o", &path.to_string_lossy(), FILE]),
            None => world.client(&["--verify", "-o", "/dev/null", FILE]),
        };
        Ok(Self {
            running: program.start(&said)?,
            ended_after: None,
            output,
        })
    }

    /// Notes its end; something if it has ended.
    fn look(&mut self, start: Instant) -> Option<()> {
        if self.ended_after.is_none() && self.running.is_over() {
            self.ended_after = Some(start.elapsed());
        }
        self.ended_after.map(drop)
    }

    fn judge(self, world: &World) -> Result<(), String> {
        let ended = self.running.finish(Instant::now())?;
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

/// How much each client had received at the begin of the window, and at its end so far.
#[derive(Default)]
struct Shares {
    first: Option<(Duration, Vec<u64>)>,
    last: Option<(Duration, Vec<u64>)>,
    is_over: bool,
}

impl Shares {
    fn look(&mut self, clients: &[Client], all_attached: bool, some_ended: bool, start: Instant) {
        self.is_over |= some_ended;
        if self.is_over || !all_attached && self.first.is_none() {
            return;
        }
        let pids = clients.iter().map(|client| client.running.pid());
        let received: Option<Vec<u64>> = pids.map(bytes_written).collect();
        // One that has ended while the others were looked at ends the window.
        let Some(received) = received else { return };
        let now = Some((start.elapsed(), received));
        if self.first.is_none() {
            self.first = now;
        } else {
            self.last = now;
        }
    }

    fn judge(&self, tally: &mut Tally) {
        let (Some((begin, first)), Some((end, last))) = (&self.first, &self.last) else {
            tally
                .failures
                .push("there was no moment in which all were attached: larger files are needed".to_owned());
            return;
        };
        let received: Vec<f64> = last
            .iter()
            .zip(first)
            .map(|(last, first)| (last - first) as f64)
            .collect();
        let index = fairness(&received);
        let window = show(*end - *begin);
        tally
            .figures
            .push(("fairness", format!("{index:.3} in a window of {window}")));
        if index < FAIRNESS_MIN {
            tally
                .failures
                .push(format!("Jain's index is {index:.3}: less than {FAIRNESS_MIN}"));
        }
    }
}
