//! Message boards under random kills: posters and readers of one key, round after round; some of them die at any moment.
//!
//! A round begins on what the one before has left, which is nothing unless its poster was killed. Each round has its own message, so that
//! a reader that gets an old one is found out. At the end a round without kills must leave nothing at all.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shmeld_os::ErrorKind;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;

use crate::chance::Chance;
use crate::figures::quantiles;
use crate::program::{Ended, Program, Running};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::scene::{NOTICE_MAX, SLACK};
use crate::tracer::Exit;
use crate::world::World;

/// The patience of both sides in a round: a poster waits so long for a reader that was killed before it came in.
const WAIT: &str = "400ms";
/// Whoever has not ended by then hangs: all waits of a round one after the other, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const READERS_MAX: usize = 4;
/// The mean time from the start of a round to a kill: as long as an honest round takes.
const LIFE: Duration = Duration::from_millis(6);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "board-kills",
        about: "posters and readers of a message board are killed at random, round after round",
        run,
    }
}

#[derive(Default)]
struct Findings {
    failures: Vec<String>,
    /// Of readers: from the death of their poster to their end.
    noticed: Vec<Duration>,
    delivered: u64,
    posters_killed: u64,
    readers_killed: u64,
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let rounds: u64 = if setup.full { 1000 } else { 60 };
    let jobs = setup.jobs.clamp(1, 4) as u64;
    let all = Mutex::new(Findings::default());
    std::thread::scope(|scope| -> Result<(), Obstacle> {
        let workers: Vec<_> = (0..jobs)
            .map(|job| {
                let all = &all;
                scope.spawn(move || {
                    let mut board = Board::new(setup, job)?;
                    let outcome = board.rage(rounds.div_ceil(jobs));
                    board.clean();
                    let mut all = all.lock().map_err(|_| "a worker panicked".to_owned())?;
                    all.add(board.findings);
                    outcome
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked".to_owned())??;
        }
        Ok(())
    })?;
    let found = all.into_inner().map_err(|_| "a worker panicked".to_owned())?;
    let mut tally = Tally {
        points: rounds,
        failures: found.failures,
        ..Tally::default()
    };
    if found.delivered < rounds / 2 {
        let what = format!(
            "{} messages were delivered in {rounds} rounds: too few",
            found.delivered
        );
        tally.failures.push(what);
    }
    let killed = format!(
        "{} posters, {} readers",
        found.posters_killed, found.readers_killed
    );
    tally.figures.push(("killed", killed));
    tally.figures.push(("delivered", found.delivered.to_string()));
    tally.figures.extend(quantiles("readers noticed", found.noticed));
    Ok(tally)
}

impl Findings {
    fn add(&mut self, other: Self) {
        self.failures.extend(other.failures);
        self.noticed.extend(other.noticed);
        self.delivered += other.delivered;
        self.posters_killed += other.posters_killed;
        self.readers_killed += other.readers_killed;
    }
}

/// A board of its own.
struct Board {
    world: World,
    program: PathBuf,
    folder: PathBuf,
    key: Key,
    chance: Chance,
    /// Whether the last poster was killed: then its objects may be there still.
    is_orphaned: bool,
    findings: Findings,
}

/// Somebody in a round.
struct Player {
    running: Running,
    /// When it is killed, if it is.
    dies_at: Option<Instant>,
    output: PathBuf,
}

impl Board {
    fn new(setup: &Setup, job: u64) -> Result<Self, String> {
        let world = World::new(setup, "board")?;
        let key = 0x8000_0000 | (std::process::id() & 0x3f_ffff) << 8 | (job as u32 & 0xff);
        Ok(Self {
            program: setup.programs.join("shmeld"),
            folder: world.output(),
            world,
            key: Key::new(key),
            chance: Chance::new(setup.seed, 7000 + job),
            is_orphaned: false,
            findings: Findings::default(),
        })
    }

    fn rage(&mut self, rounds: u64) -> Result<(), String> {
        for round in 0..rounds {
            let result = self.round(round, true)?;
            self.fail(round, result);
        }
        // A reader that comes first would find a dead poster's board.
        let result = self.round(rounds, false)?;
        self.fail(rounds, result);
        Ok(())
    }

    fn fail(&mut self, round: u64, result: Result<(), String>) {
        let key = self.key;
        self.findings.failures.extend(
            result
                .err()
                .map(|what| format!("board {key}, round {round}: {what}")),
        );
    }

    /// One round; the inner result is what did not hold.
    fn round(&mut self, round: u64, with_kills: bool) -> Result<Result<(), String>, String> {
        let wanted = 1 + self.chance.below(READERS_MAX - 1);
        let readers = wanted + self.chance.below(READERS_MAX + 1 - wanted);
        let first = if with_kills {
            self.chance.below(readers + 1)
        } else {
            0
        };
        let len = *self.chance.one_of(&[5, 4096, 300_000]);
        let mut message = format!("{round} ").into_bytes();
        message.extend(self.chance.bytes(len));
        let mut players = Vec::new();
        for _ in 0..first {
            players.push(self.start("read", players.len(), &[], None)?);
        }
        let said = self.folder.join("message");
        std::fs::write(&said, &message).map_err(|error| format!("{}: {error}", said.display()))?;
        let count = wanted.to_string();
        let poster = self.start("post", READERS_MAX, &["--readers", &count], Some(&said))?;
        for _ in first..readers {
            players.push(self.start("read", players.len(), &[], None)?);
        }
        players.push(poster);
        let now = Instant::now();
        for player in players.iter_mut().filter(|_| with_kills) {
            let dies = self.chance.below(4) == 0;
            player.dies_at = dies.then(|| now + self.chance.around(LIFE));
        }
        kill_in_time(&mut players);
        let mut ended = Vec::new();
        let deadline = now + PATIENCE;
        for player in players {
            let (killed, output) = (player.dies_at, player.output);
            match player.running.finish(deadline) {
                Ok(end) => ended.push((end, killed, output)),
                Err(what) => return Ok(Err(format!("hangs: {what}"))),
            }
        }
        Ok(self.judge(&ended, wanted, &message))
    }

    fn start(
        &self,
        command: &str,
        number: usize,
        more: &[&str],
        input: Option<&PathBuf>,
    ) -> Result<Player, String> {
        let output = self.folder.join(format!("got-{number}"));
        let file = File::create(&output).map_err(|error| format!("{}: {error}", output.display()))?;
        let key = self.key.to_string();
        let arguments = [&["board", command, "--key", &key, "--timeout", WAIT], more].concat();
        let mut program = Program::new(&self.program, &arguments).stdout(Stdio::from(file));
        if let Some(input) = input {
            let file = File::open(input).map_err(|error| format!("{}: {error}", input.display()))?;
            program = program.stdin(Stdio::from(file));
        }
        Ok(Player {
            running: program.start(&self.world.said())?,
            dies_at: None,
            output,
        })
    }

    /// The last one is the poster.
    fn judge(
        &mut self,
        ended: &[(Ended, Option<Instant>, PathBuf)],
        wanted: usize,
        message: &[u8],
    ) -> Result<(), String> {
        let (poster, readers) = ended.split_last().ok_or("nobody was there")?;
        let was_orphaned = self.is_orphaned;
        self.is_orphaned = poster.0.exit == Exit::Signal(Signal::SIGKILL);
        self.findings.posters_killed += u64::from(self.is_orphaned);
        let mut finished = 0;
        for (end, killed_at, output) in readers {
            let said = &end.stderr;
            match &end.exit {
                Exit::Signal(Signal::SIGKILL) if killed_at.is_some() => {
                    self.findings.readers_killed += 1;
                    // It may have said that it had finished before.
                    finished += 1;
                }
                Exit::Code(0) => {
                    let got = std::fs::read(output).map_err(|error| error.to_string())?;
                    if got != message {
                        return Err(format!("a reader got {} other bytes", got.len()));
                    }
                    finished += 1;
                    self.findings.delivered += 1;
                }
                Exit::Code(1) if said.contains("closed before") => {}
                Exit::Code(3) if said.contains("no message") => {}
                Exit::Code(4) if said.contains("its poster died") && (was_orphaned || self.is_orphaned) => {
                    // Those whose poster had died before they came took their start for it.
                    if let Some(death) = poster.1.filter(|_| self.is_orphaned && !was_orphaned) {
                        self.findings
                            .noticed
                            .push(end.at.saturating_duration_since(death));
                    }
                }
                exit => return Err(format!("a reader ended with {exit:?}: {said}")),
            }
        }
        self.judge_poster(&poster.0, finished, wanted)?;
        if let Some(late) = self
            .findings
            .noticed
            .iter()
            .find(|time| **time > NOTICE_MAX + SLACK)
        {
            return Err(format!("the death of a poster was noticed after {late:?}"));
        }
        Ok(())
    }

    fn judge_poster(&self, poster: &Ended, finished: usize, wanted: usize) -> Result<(), String> {
        match &poster.exit {
            Exit::Signal(Signal::SIGKILL) => return Ok(()),
            Exit::Code(0) if finished >= wanted => {}
            Exit::Code(1) if poster.stderr.contains(" have the message") => {}
            Exit::Code(1) if poster.stderr.contains(" has the message") => {}
            exit => {
                return Err(format!(
                    "the poster ended with {exit:?} ({finished} of {wanted} finished): {}",
                    poster.stderr
                ));
            }
        }
        self.look_for_leftovers()
    }

    fn look_for_leftovers(&self) -> Result<(), String> {
        let is_gone = |looked: shmeld_os::Result<()>| matches!(looked, Err(error) if error.kind() == ErrorKind::NotFound);
        if !is_gone(SemaphoreSet::open(self.key, 0).map(drop)) {
            return Err("the set is left".to_owned());
        }
        if !is_gone(Segment::open(self.key, 0).map(drop)) {
            return Err("the segment is left".to_owned());
        }
        Ok(())
    }

    /// Removes what a failed row leaves.
    fn clean(&self) {
        let _ = Segment::open(self.key, 0).map(|segment| segment.remove());
        let _ = SemaphoreSet::open(self.key, 0).map(|set| set.remove());
    }
}

/// Kills everybody at his time. Who has ended before does not mind.
fn kill_in_time(players: &mut [Player]) {
    let mut order: Vec<_> = players
        .iter_mut()
        .filter(|player| player.dies_at.is_some())
        .collect();
    order.sort_by_key(|player| player.dies_at);
    for player in order {
        let Some(time) = player.dies_at else { continue };
        std::thread::sleep(time.saturating_duration_since(Instant::now()));
        if !player.running.is_over() {
            player.running.signal(Signal::SIGKILL);
            player.dies_at = Some(Instant::now());
        }
    }
}
