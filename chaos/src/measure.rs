//! What can be seen of a process from outside, and what follows from many such looks.

use std::collections::HashSet;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::world::{PATIENCE, World};

/// The n-th hundredth of some times; nothing of none is no time.
pub fn percentile(times: &[Duration], part: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * part / 100).copied().unwrap_or_default()
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
        assert_eq!(percentile(&times, 99), Duration::from_millis(99));
        assert_eq!(percentile(&[], 99), Duration::ZERO);
    }
}
