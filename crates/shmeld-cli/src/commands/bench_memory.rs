//! How much memory processes took at most, watched from outside while they ran.
//!
//! `ru_maxrss` will not do: a child starts with the peak of whoever started it. /proc/PID/status belongs to the program, but is lost when
//! the process ends: so it is read every millisecond, which disturbs, and therefore never during a timed run. `VmHWM` is the kernel's own
//! peak of all that was resident; it keeps none without shared memory, so that is the largest `VmRSS` - `RssShmem` that was seen.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use shmeld::os::process;

use super::bench_numbers::{Memory, Peak};

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(1);

/// What a process has now, and its peak; `None` if it is gone.
fn memory_of(pid: u32) -> Option<Memory> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse(status: &str) -> Option<Memory> {
    let now = status_bytes(status, "VmRSS")?;
    Some(Memory {
        resident: status_bytes(status, "VmHWM")?,
        beyond_regions: now.saturating_sub(status_bytes(status, "RssShmem")?),
    })
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
            let children = children.split_ascii_whitespace();
            unseen.extend(children.filter_map(|child| child.parse::<u32>().ok()));
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
    thread: Option<JoinHandle<BTreeMap<u32, Memory>>>,
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
                    if let Some(memory) = memory_of(pid) {
                        note(&mut peaks, pid, memory);
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
            thread: std::thread::Builder::new()
                .name("memory".to_owned())
                .spawn(look)
                .ok(),
        }
    }

    /// What the processes that began since took at most, and the server.
    #[must_use]
    pub fn end(mut self) -> Peak {
        self.done.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(JoinHandle::join);
        let peaks = joined.and_then(Result::ok).unwrap_or_default();
        let server = peaks.get(&self.server).copied().unwrap_or_default();
        let clients = peaks.iter().filter(|(pid, _)| !self.others.contains(pid));
        clients.fold(
            Peak {
                server: server.max(memory_of(self.server).unwrap_or_default()),
                ..Peak::default()
            },
            |peak, (_, memory)| Peak {
                clients: peak.clients + *memory,
                largest_client: peak.largest_client.max(*memory),
                ..peak
            },
        )
    }
}

/// Keeps the peaks. The kernel's own goes down only when a child becomes its program: before, it has the memory of its parent.
fn note(peaks: &mut BTreeMap<u32, Memory>, pid: u32, seen: Memory) {
    let peak = peaks.entry(pid).or_default();
    if seen.resident < peak.resident {
        *peak = Memory::default();
    }
    *peak = peak.max(seen);
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
        assert!(memory_of(process::pid()).is_some_and(|memory| memory.resident > 100_000));
        assert_eq!(memory_of(u32::MAX), None);
    }

    #[test]
    fn shared_memory_is_not_beyond_the_region() {
        let status = "VmHWM:\t 900 kB\nVmRSS:\t 800 kB\nRssAnon:\t 100 kB\nRssShmem:\t 300 kB\n";
        let expected = Memory {
            resident: 900 << 10,
            beyond_regions: 500 << 10,
        };
        assert_eq!(parse(status), Some(expected));
    }

    #[test]
    fn what_a_child_had_before_it_became_its_program_is_forgotten() {
        let memory = |resident, beyond_regions| Memory {
            resident,
            beyond_regions,
        };
        let mut peaks = BTreeMap::new();
        for seen in [memory(900, 900), memory(100, 80), memory(300, 60)] {
            note(&mut peaks, 7, seen);
        }
        assert_eq!(peaks[&7], memory(300, 80));
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
        assert!(watch.end().server.resident > 0);
        drop(child.stdin.take());
        child.wait().expect("ended");
    }
}
