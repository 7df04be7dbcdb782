//! How much memory processes took at most, watched from outside while they ran.
//!
//! `ru_maxrss` will not do: a child starts with the peak of whoever started it. `VmHWM` of /proc/PID/status belongs to the program, only
//! grows, and is lost when the process ends: so it is read every millisecond, which disturbs, and therefore never during a timed run.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use shmeld::os::process;

use super::bench_numbers::Peak;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(1);

/// The most that a process had resident until now, files and shared memory that it mapped included; `None` if it is gone.
#[must_use]
pub fn peak_bytes(pid: u32) -> Option<u64> {
    status_bytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmHWM")
}

/// A line such as `VmHWM:     5120 kB`.
fn status_bytes(status: &str, key: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

/// Every process below `pid`. Empty where the kernel does not tell.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut unseen = vec![pid];
    while let Some(pid) = unseen.pop() {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children
                .split_ascii_whitespace()
                .filter_map(|child| child.parse().ok());
            unseen.extend(children);
        }
        found.push(pid);
    }
    found.remove(0);
    found
}

/// Watches everything that this process starts.
#[derive(Debug)]
pub struct MemoryWatch {
    server: u32,
    others: Vec<u32>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<BTreeMap<u32, u64>>>,
}

impl MemoryWatch {
    /// Begins to watch; `server` runs already.
    #[must_use]
    pub fn begin(server: u32) -> Self {
        let others = descendants(process::pid());
        let done = Arc::new(AtomicBool::new(false));
        let seen_by_thread = done.clone();
        let look = move || {
            let mut peaks = BTreeMap::new();
            while !seen_by_thread.load(Ordering::Relaxed) {
                for pid in descendants(process::pid()) {
                    // The last value is the peak. It is no maximum: before it becomes its program a child has the memory of its parent.
                    if let Some(bytes) = peak_bytes(pid) {
                        peaks.insert(pid, bytes);
                    }
                }
                std::thread::sleep(INTERVAL);
            }
            peaks
        };
        Self {
            server,
            others,
            done,
            thread: std::thread::Builder::new().name("memory".to_owned()).spawn(look).ok(),
        }
    }

    /// What the processes that began since took at most, and the server.
    #[must_use]
    pub fn end(mut self) -> Peak {
        self.done.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        let peaks = joined.and_then(std::result::Result::ok).unwrap_or_default();
        let clients: Vec<u64> = peaks
            .iter()
            .filter(|(pid, _)| !self.others.contains(pid))
            .map(|(_, bytes)| *bytes)
            .collect();
        Peak {
            clients: clients.iter().sum(),
            largest_client: clients.iter().copied().max().unwrap_or_default(),
            server: peak_bytes(self.server).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn peak_is_read_in_bytes_and_absent_lines_are_none() {
        let status = "Name:\tx VmHWM: 7 kB\nVmHWM:\t    5120 kB\nRssAnon:\t 12 kB\n";
        assert_eq!(status_bytes(status, "VmHWM"), Some(5120 * 1024));
        assert_eq!(status_bytes(status, "VmRSS"), None);
        assert_eq!(status_bytes("VmHWM:\tmany", "VmHWM"), None);
        assert!(peak_bytes(process::pid()).is_some_and(|bytes| bytes > 100_000));
        assert_eq!(peak_bytes(u32::MAX), None);
    }

    #[test]
    fn child_is_seen_while_it_runs() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("cat");
        let watch = MemoryWatch::begin(child.id());
        assert!(watch.others.contains(&child.id()));
        assert!(watch.end().server > 0);
        drop(child.stdin.take());
        child.wait().expect("ended");
    }
}
