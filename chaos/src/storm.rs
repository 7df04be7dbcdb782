//! Random kills under load: sixteen clients at work, and again and again one of them, the server, or both are gone.
//!
//! What must hold is judged by inode: a client whose region the server had mapped when it was killed was attached, so it must end, if
//! it had not got everything by then (every client that is not attached looks for the next server instead); and a dead client's session
//! is over when its region has left the server's map of memory. Both can be seen in /proc without asking either side. Since the server
//! mostly dies too soon to show whether it would have noticed, it is left alive now and then until it has.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::chance::Chance;
use crate::figures::quantiles;
use crate::honest::{Honest, enough_served, furnish};
use crate::measure::{Mourned, percentile, regions_mapped};
use crate::program::{Running, send_signal};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::{PATIENCE, World};

const CLIENTS: usize = 16;
/// The mean pause between two kills.
const PAUSE: Duration = Duration::from_millis(8);
/// After so many kills everything is stopped, and nothing may be left.
const KILLS_PER_ROUND: u64 = 500;
/// After so many, and after the last one, the server lives until it has noticed that its clients are dead.
const KILLS_PER_VIGIL: u64 = 200;
/// So many are killed then while they are attached, which takes no longer than that.
const ATTACHED_PER_VIGIL: u64 = 10;
const VIGIL: Duration = Duration::from_secs(10);
/// The death of a peer is noticed within this time in 99 of 100 cases (9 of 10 in the short form, which sees few deaths) ...
const NOTICED_MOSTLY: Duration = Duration::from_millis(500);
/// ... and always within this time.
const NOTICED_MAX: Duration = Duration::from_secs(1);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "random-kills",
        about: "16 clients at work; clients, the server or both are killed at random",
        run,
    }
}

/// A running client, as the killer sees it.
struct Seat {
    pid: u32,
    /// When the server that had attached it was killed.
    orphaned_at: Option<Instant>,
    killed: bool,
}

struct Storm<'a> {
    world: &'a World,
    seats: Vec<Mutex<Option<Seat>>>,
    is_over: AtomicBool,
    /// The server's process id, or 0: it is about to be killed.
    server: AtomicU32,
    clients_ended: AtomicU64,
    successes: AtomicU64,
    mourned: Mutex<Mourned>,
    findings: Mutex<Findings>,
}

#[derive(Default)]
struct Findings {
    failures: Vec<String>,
    client_noticed: Vec<Duration>,
    server_noticed: Vec<Duration>,
    unseen: u64,
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let (rounds, kills, part) = if setup.full {
        (20, KILLS_PER_ROUND, 99)
    } else {
        (1, 100, 90)
    };
    let mut world = World::new(setup, "storm")?;
    furnish(&mut world, &mut Chance::new(setup.seed, 0))?;
    let start = Instant::now();
    let mut tally = Tally::default();
    let mut all = Findings::default();
    let (mut ended, mut successes) = (0, 0);
    for round in 0..rounds {
        let storm = Storm::new(&world);
        storm.rage(setup.seed, round, kills)?;
        tally.points += kills;
        ended += storm.clients_ended.load(Ordering::Relaxed);
        successes += storm.successes.load(Ordering::Relaxed);
        let findings = storm.into_findings()?;
        let named = |what| format!("seed {}, round {round}: {what}", setup.seed);
        all.failures.extend(findings.failures.into_iter().map(named));
        all.client_noticed.extend(findings.client_noticed);
        all.server_noticed.extend(findings.server_noticed);
        all.unseen += findings.unseen;
        if let Err(what) = world.check_objects(true) {
            all.failures
                .push(format!("seed {}, round {round}: {what}", setup.seed));
            world.mop_up();
        }
    }
    let rate = tally.points as f64 / start.elapsed().as_secs_f64();
    tally.failures = all.failures;
    let noticed = [
        ("clients noticed", all.client_noticed),
        ("server noticed", all.server_noticed),
    ];
    tally.figures.push(("seed", setup.seed.to_string()));
    tally.figures.push(("kills/s", format!("{rate:.0}")));
    let clients = format!("{ended} ({successes} got their files)");
    tally.figures.push(("clients", clients));
    tally.failures.extend(enough_served(ended, successes).err());
    for (who, times) in noticed {
        let failure = match percentile(&times, part) {
            None => format!("{who} nothing: no death was seen through"),
            Some(time) if time > NOTICED_MOSTLY => format!("{who} after p{part} {time:?}: too late"),
            Some(_) => String::new(),
        };
        tally.failures.extend((!failure.is_empty()).then_some(failure));
        tally.figures.extend(quantiles(who, times));
    }
    let unseen = format!("{} sessions of dead clients", all.unseen);
    tally.figures.push(("lost with their server", unseen));
    Ok(tally)
}

impl<'a> Storm<'a> {
    fn new(world: &'a World) -> Self {
        Self {
            world,
            seats: (0..CLIENTS).map(|_| Mutex::new(None)).collect(),
            is_over: AtomicBool::new(false),
            server: AtomicU32::new(0),
            clients_ended: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            mourned: Mutex::default(),
            findings: Mutex::default(),
        }
    }

    fn into_findings(self) -> Result<Findings, String> {
        let lost = |_| "a worker panicked".to_owned();
        let mut findings = self.findings.into_inner().map_err(lost)?;
        let mourned = self.mourned.into_inner().map_err(|_| "a worker panicked")?;
        if mourned.late > 0 {
            let late = format!("{} dead clients for more than {NOTICED_MAX:?}", mourned.late);
            findings
                .failures
                .push(format!("the server had the regions of {late}"));
        }
        findings.server_noticed = mourned.noticed;
        findings.unseen = mourned.unseen;
        Ok(findings)
    }

    fn fail(&self, what: String) {
        if let Ok(mut findings) = self.findings.lock() {
            findings.failures.push(what);
        }
    }

    /// One round: from a new server to one that is asked to stop.
    fn rage(&self, seed: u64, round: u64, kills: u64) -> Result<(), String> {
        let part = |number: usize| round * 100 + u64::try_from(number).unwrap_or_default();
        let server = self.world.serving()?;
        self.server.store(server.pid(), Ordering::Relaxed);
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let chance = Chance::new(seed, part(number));
                scope.spawn(move || {
                    if let Err(what) = self.be_honest(number, chance) {
                        self.fail(what);
                    }
                });
            }
            scope.spawn(|| self.watch_sessions());
            let server = self.kill(server, Chance::new(seed, part(CLIENTS)), kills);
            self.is_over.store(true, Ordering::Relaxed);
            // The last clients still need a server; it takes time to end only as they do.
            let patience = Instant::now() + PATIENCE;
            let is_taken = |seat: &Mutex<Option<Seat>>| seat.lock().is_ok_and(|seat| seat.is_some());
            while self.seats.iter().any(is_taken) && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            let server = server?;
            server.signal(Signal::SIGTERM);
            let ended = server.finish(Instant::now() + PATIENCE)?;
            if ended.exit != Exit::Code(0) || ended.stderr.contains("panicked") {
                self.fail(format!(
                    "the last server ended with {:?}: {}",
                    ended.exit, ended.stderr
                ));
            }
            Ok(())
        })
    }

    /// One honest client after the other.
    fn be_honest(&self, number: usize, chance: Chance) -> Result<(), String> {
        let mut honest = Honest::new(self.world, number, chance)?;
        while !self.is_over.load(Ordering::Relaxed) {
            let (asked, program) = honest.choose().split();
            let client = program.start(honest.said())?;
            let Some((ended, seat)) = self.sit(number, client)? else {
                self.fail("a client that was not killed ran for too long".to_owned());
                continue;
            };
            self.clients_ended.fetch_add(1, Ordering::Relaxed);
            if ended.exit == Exit::Code(0) && !asked.is_empty() {
                self.successes.fetch_add(1, Ordering::Relaxed);
            }
            if let Err(what) = honest.judge(&asked, &ended, &[0, 4]) {
                self.fail(what);
            }
            if ended.exit == Exit::Signal(Signal::SIGKILL) && !seat.killed {
                self.fail("a client was killed, and not by us".to_owned());
            }
            // One that had everything ends well; so does one whose server died before it could say ATTACHED: it finds the next one.
            let noticed = ended.exit == Exit::Code(4) && !seat.killed;
            if let (Some(orphaned_at), true) = (seat.orphaned_at, noticed) {
                self.note_orphan(ended.at.saturating_duration_since(orphaned_at), &ended.stderr);
            }
        }
        Ok(())
    }

    /// Waits for a client's end while it can be killed; nothing if it is late.
    fn sit(
        &self,
        number: usize,
        mut client: Running,
    ) -> Result<Option<(crate::program::Ended, Seat)>, String> {
        let deadline = Instant::now() + PATIENCE;
        let lock = || {
            self.seats[number]
                .lock()
                .map_err(|_| "a worker panicked".to_owned())
        };
        *lock()? = Some(Seat {
            pid: client.pid(),
            orphaned_at: None,
            killed: false,
        });
        loop {
            let mut place = lock()?;
            // Reaped only while its place is locked: afterwards its number may be somebody else's.
            if client.is_over() {
                let seat = place.take();
                drop(place);
                let ended = client.finish(Instant::now())?;
                return Ok(seat.map(|seat| (ended, seat)));
            }
            if Instant::now() > deadline {
                *place = None;
                // Kills it.
                drop(client.finish(Instant::now()));
                return Ok(None);
            }
            drop(place);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn note_orphan(&self, after: Duration, stderr: &str) {
        let Ok(mut findings) = self.findings.lock() else {
            return;
        };
        findings.client_noticed.push(after);
        if after > NOTICED_MAX {
            let what = format!("a client ended {after:?} after its server's death");
            findings.failures.push(format!("{what}: {}", stderr.trim_end()));
        }
    }

    /// Kills and restarts, until it is enough; returns the server that lives then.
    fn kill(&self, mut server: Running, mut chance: Chance, kills: u64) -> Result<Running, String> {
        let (mut done, mut next_vigil) = (0, KILLS_PER_VIGIL);
        while done < kills {
            if done >= next_vigil {
                next_vigil += KILLS_PER_VIGIL;
                done += self.keep_vigil(&mut chance);
            }
            std::thread::sleep(chance.around(PAUSE));
            let choice = chance.below(10);
            if choice < 7 {
                done += u64::from(self.kill_client(chance.below(CLIENTS)));
                continue;
            }
            if server.is_over() {
                let said = server.stderr();
                return Err(format!("the server ended by itself: {said}"));
            }
            self.kill_server(server.pid());
            done += 1;
            if choice == 9 {
                done += u64::from(self.kill_client(chance.below(CLIENTS)));
            }
            let ended = server.finish(Instant::now() + PATIENCE)?;
            if ended.exit != Exit::Signal(Signal::SIGKILL) || ended.stderr.contains("panicked") {
                self.fail(format!(
                    "the server ended with {:?}: {}",
                    ended.exit, ended.stderr
                ));
            }
            server = self.world.server(&[]).start(&self.world.said())?;
            self.server.store(server.pid(), Ordering::Relaxed);
        }
        self.keep_vigil(&mut chance);
        Ok(server)
    }

    /// Kills clients until some were attached, and leaves the server alive until it has noticed. Returns how many were killed.
    fn keep_vigil(&self, chance: &mut Chance) -> u64 {
        let all_and_over = || {
            let mourned = self.mourned.lock();
            mourned.map_or((0, true), |mourned| (mourned.all, mourned.is_over()))
        };
        let enough = all_and_over().0 + ATTACHED_PER_VIGIL;
        let patience = Instant::now() + VIGIL;
        let mut killed = 0;
        while all_and_over().0 < enough {
            if Instant::now() > patience {
                self.fail(format!("too few clients were attached in {VIGIL:?}"));
                break;
            }
            std::thread::sleep(chance.around(PAUSE));
            killed += u64::from(self.kill_client(chance.below(CLIENTS)));
        }
        // The watcher takes out what is late.
        while !all_and_over().1 && Instant::now() < patience + NOTICED_MAX * 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        killed
    }

    fn kill_client(&self, number: usize) -> bool {
        let server = self.server.load(Ordering::Relaxed);
        let Ok(mut place) = self.seats[number].lock() else {
            return false;
        };
        let Some(seat) = place.as_mut().filter(|seat| !seat.killed) else {
            return false;
        };
        let regions = regions_mapped(seat.pid);
        let attached = &regions_mapped(server) & &regions;
        let since = Instant::now();
        send_signal(seat.pid, Signal::SIGKILL);
        seat.killed = true;
        if let Ok(mut mourned) = self.mourned.lock() {
            mourned.add(attached, since);
        }
        true
    }

    fn kill_server(&self, pid: u32) {
        let regions_of = |place: &Mutex<Option<Seat>>| {
            let pid = place.lock().ok()?.as_ref()?.pid;
            Some((pid, regions_mapped(pid)))
        };
        let clients: Vec<Option<(u32, HashSet<u64>)>> = self.seats.iter().map(regions_of).collect();
        let attached = regions_mapped(pid);
        // Before it is killed, and not while the watcher looks: the empty map of a dead server would pass for one that let all go.
        if let Ok(mut mourned) = self.mourned.lock() {
            self.server.store(0, Ordering::Relaxed);
            mourned.forget();
        }
        let now = Instant::now();
        send_signal(pid, Signal::SIGKILL);
        for (place, client) in self.seats.iter().zip(clients) {
            let Some((pid, regions)) = client else { continue };
            if let Ok(mut place) = place.lock()
                && let Some(seat) = place.as_mut().filter(|seat| seat.pid == pid)
                && !regions.is_disjoint(&attached)
            {
                seat.orphaned_at.get_or_insert(now);
            }
        }
    }

    /// Looks when the regions of killed clients leave the server.
    fn watch_sessions(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(4));
            let Ok(mut mourned) = self.mourned.lock() else {
                return;
            };
            // While this is locked, the server is not killed.
            if !mourned.is_over() {
                let mapped = regions_mapped(self.server.load(Ordering::Relaxed));
                mourned.look(&mapped, Instant::now(), NOTICED_MAX);
            }
        }
    }
}
