//! What is counted and not raced: wake-ups of processes that have nothing to do, and memory.

use std::fs;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shmeld_cli::commands::bench_arena::Arena;
use shmeld_cli::commands::bench_memory::MemoryWatch;
use shmeld_cli::commands::bench_race::Race;
use shmeld_cli::commands::demo_process::{Owned, Trouble, spawn};

use crate::grounds::{Ground, Grounds};

/// How many clients are attached and idle.
pub const IDLE_CLIENTS: usize = 8;
/// After this everybody has come to rest.
const REST: Duration = Duration::from_secs(1);
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(5);
/// How often memory is measured.
const MEMORY_RUNS: usize = 3;
const REGION_BYTES: u64 = 1 << 20;
/// How long a client may take.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Who is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Server,
    /// The one of the clients with the most.
    Client,
}

/// Wake-ups a second while nobody wants anything.
pub fn idle(grounds: &Grounds<'_>, who: Who) -> Result<Vec<f64>, Trouble> {
    let arena = grounds.arena(Ground::Tmpfs)?;
    let small = grounds.small(arena)?;
    let race = Race::prepare(arena, grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu()))?;
    let mut clients = Vec::new();
    for _ in 0..IDLE_CLIENTS {
        clients.push(start_idle_client(arena, small)?);
    }
    let pids: Vec<u32> = match who {
        Who::Server => vec![race.server_pid()],
        Who::Client => clients.iter().map(|client| client.0.id()).collect(),
    };
    rest(arena, REST)?;
    let start = Instant::now();
    let before: Vec<u64> = pids.iter().map(|pid| context_switches(*pid)).collect();
    rest(arena, COUNTED)?;
    let seconds = start.elapsed().as_secs_f64();
    let switches = pids
        .iter()
        .zip(before)
        .map(|(pid, before)| context_switches(*pid) - before);
    let most = switches.max().unwrap_or_default();
    for mut client in clients {
        drop(client.0.stdin.take());
        client.wait(COUNTED)?;
    }
    Ok(vec![most as f64 / seconds])
}

/// A client that has fetched something and stays attached until its standard input is closed.
fn start_idle_client(arena: &Arena<'_>, file: &str) -> Result<Owned, Trouble> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["role", "idle", &arena.server_name().to_string(), file]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Owned(spawn(&mut command, None)?.0);
    let ready = client
        .0
        .stdout
        .take()
        .map(|stdout| BufReader::new(stdout).read_exact(&mut [0]));
    match ready {
        Some(Ok(())) => Ok(client),
        _ => Err(Trouble::Failed(
            "a client that does nothing did not start".to_owned(),
        )),
    }
}

fn rest(arena: &Arena<'_>, duration: Duration) -> Result<(), Trouble> {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        arena.check_interrupt()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// How often the threads of a process left a CPU, willingly or not: so often they were woken.
fn context_switches(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    threads
        .flatten()
        .map(|thread| fs::read_to_string(thread.path().join("status")).unwrap_or_default())
        .map(|status| switches_of_thread(&status))
        .sum()
}

fn switches_of_thread(status: &str) -> u64 {
    let keys = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
    let value = |line: &str| {
        let rest = keys.iter().find_map(|key| line.strip_prefix(key))?;
        rest.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(value).sum()
}

/// MiB beyond the region: of a client, or of a server with so many sessions at once.
pub fn memory(grounds: &Grounds<'_>, who: Who, sessions: usize) -> Result<Vec<f64>, Trouble> {
    let arena = grounds.arena(Ground::Tmpfs)?;
    let mut values = Vec::new();
    for _ in 0..MEMORY_RUNS {
        let race = Race::prepare(arena, grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu()))?;
        let watch = MemoryWatch::begin(race.server_pid());
        let done = match who {
            Who::Client => fetch_into_file(&race, arena),
            Who::Server => fetch_at_once(&race, sessions),
        };
        let peak = watch.end();
        done?;
        arena.check_interrupt()?;
        let memory = match who {
            Who::Client => peak.largest_client,
            Who::Server => peak.server,
        };
        values.push(memory.beyond_regions as f64 / f64::from(1 << 20));
    }
    Ok(values)
}

fn fetch_into_file(race: &Race<'_>, arena: &Arena<'_>) -> Result<(), Trouble> {
    fetch(&race.get(Arena::SOURCE, &arena.output()), 1)?;
    arena.remove_output()?;
    Ok(())
}

/// Nothing is stored, so that all take long enough to be there together.
fn fetch_at_once(race: &Race<'_>, sessions: usize) -> Result<(), Trouble> {
    fetch(&race.get(Arena::SOURCE, Path::new("/dev/null")), sessions)
}

fn fetch(command: &Command, sessions: usize) -> Result<(), Trouble> {
    let start = |_| {
        let mut another = Command::new(command.get_program());
        another
            .args(command.get_args())
            .args(["--region", &REGION_BYTES.to_string()]);
        spawn(&mut another, None).map(|(child, _)| Owned(child))
    };
    let started: Result<Vec<Owned>, String> = (0..sessions).map(start).collect();
    for mut client in started? {
        let status = client.wait(RUN_LIMIT)?;
        if !status.success() {
            return Err(Trouble::Failed(format!("a client: {status}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_context_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t30\n";
        assert_eq!(switches_of_thread(status), 42);
        assert_eq!(switches_of_thread(""), 0);
        assert_eq!(context_switches(u32::MAX), 0);
        assert!(context_switches(std::process::id()) > 0);
    }
}
