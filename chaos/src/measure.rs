//! What can be seen of a process from outside, and what follows from many such looks.

use std::collections::HashSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::world::{PATIENCE, World};

/// The n-th hundredth of some times; there is none of nothing, lest it pass for a good one.
pub fn percentile(times: &[Duration], part: usize) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().checked_sub(1)?;
    sorted.get(last * part / 100).copied()
}

/// Jain's index of fairness: 1 if all shares are equal, 1/n if one has everything.
pub fn fairness(shares: &[f64]) -> f64 {
    let sum: f64 = shares.iter().sum();
    let squares: f64 = shares.iter().map(|share| share * share).sum();
    if squares > 0.0 {
        sum * sum / (shares.len() as f64 * squares)
    } else {
        0.0
    }
}

/// The inodes of all shared memory that a process has mapped for writing: its regions.
pub fn regions_mapped(pid: u32) -> HashSet<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let shared = maps
        .lines()
        .filter(|line| line.contains(" rw-s ") && line.contains("/dev/shm/"));
    shared
        .filter_map(|line| line.split_whitespace().nth(4)?.parse().ok())
        .collect()
}

/// The regions of killed clients that their server still has mapped, and how long it had the others.
#[derive(Default)]
pub struct Mourned {
    open: Vec<(u64, Instant)>,
    /// How many there were.
    pub all: u64,
    /// How long after the client's death each region left the server.
    pub noticed: Vec<Duration>,
    /// How many regions were with the server for too long.
    pub late: u64,
    /// How many the server had when it died itself: nobody knows whether it would have let them go.
    pub unseen: u64,
}

impl Mourned {
    /// A client was killed, and these regions of it were mapped by the server.
    pub fn add(&mut self, regions: HashSet<u64>, since: Instant) {
        self.all += regions.len() as u64;
        self.open
            .extend(regions.into_iter().map(|region| (region, since)));
    }

    /// The server dies.
    pub fn forget(&mut self) {
        self.unseen += self.open.drain(..).count() as u64;
    }

    /// Whether there is nothing to wait for.
    pub fn is_over(&self) -> bool {
        self.open.is_empty()
    }

    /// What a live server has mapped now; what it has for longer than `limit` is late.
    pub fn look(&mut self, mapped: &HashSet<u64>, now: Instant, limit: Duration) {
        for (region, since) in std::mem::take(&mut self.open) {
            let after = now.saturating_duration_since(since);
            let is_gone = !mapped.contains(&region);
            if is_gone {
                self.noticed.push(after);
            }
            if after > limit {
                self.late += 1;
            } else if !is_gone {
                self.open.push((region, since));
            }
        }
    }
}

/// How many threads a process has.
pub fn threads(pid: u32) -> usize {
    entries(&format!("/proc/{pid}/task"))
}

/// How many descriptors a process has open.
pub fn descriptors(pid: u32) -> usize {
    entries(&format!("/proc/{pid}/fd"))
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).map_or(0, |entries| entries.flatten().count())
}

/// Private memory of a process that is in use, in bytes: regions are shared and do not count.
pub fn private_bytes(pid: u32) -> u64 {
    status_kib(pid, "RssAnon:") * 1024
}

fn status_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

/// How long the living threads of a process have been on a CPU.
pub fn cpu_time(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanos = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// How many bytes a process has written so far, wherever to.
pub fn bytes_written(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("wchar:"))?;
    line.trim().parse().ok()
}

/// One of the numbers that a server tells about itself.
///
/// # Errors
/// It does not tell it.
pub fn server_counts(world: &World, field: &str) -> Result<u64, String> {
    let told = world.output().join("status");
    let file = fs::File::create(&told).map_err(|error| error.to_string())?;
    let status = world.command(&["status", "--json"]).stdout(Stdio::from(file));
    let ended = status.start(&world.said())?.finish(Instant::now() + PATIENCE)?;
    let text = fs::read_to_string(&told).map_err(|error| error.to_string())?;
    let told: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| format!("status: {error}: {text} {:?} {}", ended.exit, ended.stderr))?;
    told[field]
        .as_u64()
        .ok_or(format!("status has no {field}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_shares_are_fair_and_one_that_takes_all_is_not() {
        assert!((fairness(&[3.0; 8]) - 1.0).abs() < 1e-9);
        assert!((fairness(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
        assert!(fairness(&[]).abs() < 1e-9);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let pid = std::process::id();
        assert!(threads(pid) >= 1);
        assert!(descriptors(pid) >= 3);
        assert!(private_bytes(pid) > 4096);
        assert!(cpu_time(pid) > Duration::ZERO);
        assert!(bytes_written(pid).is_some());
    }

    #[test]
    fn a_percentile_is_one_of_the_times() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(99)));
        assert_eq!(percentile(&[], 99), None);
    }

    #[test]
    fn a_region_that_stays_with_the_server_is_late_and_one_of_a_dead_server_says_nothing() {
        let (second, mut mourned) = (Duration::from_secs(1), Mourned::default());
        let start = Instant::now();
        mourned.add(HashSet::from([1, 2]), start);
        mourned.look(&HashSet::from([2, 3]), start + second / 2, second);
        assert_eq!((mourned.noticed.len(), mourned.late), (1, 0));
        assert!(!mourned.is_over());
        mourned.look(&HashSet::from([2, 3]), start + second * 2, second);
        assert_eq!((mourned.noticed.len(), mourned.late), (1, 1));
        assert!(mourned.is_over());
        mourned.add(HashSet::from([4]), start);
        mourned.forget();
        assert_eq!((mourned.noticed.len(), mourned.late, mourned.unseen), (1, 1, 1));
        assert_eq!(mourned.all, 3);
        assert!(mourned.is_over());
    }
}
