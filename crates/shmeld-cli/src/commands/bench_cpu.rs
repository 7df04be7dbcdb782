//! What processes cost: seconds of a CPU, from /proc.
//!
//! /proc/PID/schedstat counts nanoseconds, but those of one thread that lives; a session's thread is gone before the client has ended.
//! So these are ticks, and means over many runs. Who can ask the kernel for clocks of processes brings finer [`Meters`].

use std::fs;

use shmeld::os::process;

/// `USER_HZ`: the unit of times in /proc on every machine this is built for, whatever the kernel's own clock is.
const TICKS_PER_SECOND: f64 = 100.0;
/// Fields of /proc/PID/stat behind the name, which is in parentheses: `utime stime cutime cstime` are 14 to 17, counted from 1.
const FIRST_TIME_FIELD: usize = 14 - 3;

/// Seconds that a process has used, and those of its children that ended and were waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CpuTime {
    pub own: f64,
    pub children: f64,
}

/// How CPU seconds are found out.
#[derive(Debug, Clone, Copy)]
pub struct Meters {
    /// What a running process has used so far.
    pub process: fn(u32) -> f64,
    /// What our children used that have ended and were waited for.
    pub children: fn() -> f64,
}

impl Meters {
    /// From /proc/PID/stat, in steps of 10 ms.
    pub const TICKS: Self = Self {
        process: |pid| of_process(pid).own,
        children: || of_process(process::pid()).children,
    };
}

/// Reads them; zero if the process is gone.
#[must_use]
pub fn of_process(pid: u32) -> CpuTime {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| parse(&stat))
        .unwrap_or_default()
}

fn parse(stat: &str) -> Option<CpuTime> {
    // The name may contain blanks and parentheses; only the last one closes it.
    let (_, fields) = stat.rsplit_once(')')?;
    let times: Vec<f64> = fields
        .split_ascii_whitespace()
        .skip(FIRST_TIME_FIELD)
        .take(4)
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, system, children_user, children_system] = times[..] else {
        return None;
    };
    Some(CpuTime {
        own: (user + system) / TICKS_PER_SECOND,
        children: (children_user + children_system) / TICKS_PER_SECOND,
    })
}

/// A row during which others kept more CPUs busy than this is disturbed: two processes suffer from a third on two CPUs, one does not.
pub const OTHERS_CPUS_MAX: f64 = 0.1;

/// What everybody used since the machine started, all CPUs together, in steps of 10 ms; time that a hypervisor gave to others included.
#[must_use]
pub fn everybodys_seconds() -> f64 {
    fs::read_to_string("/proc/stat").map_or(0.0, |stat| busy_ticks(&stat) as f64 / TICKS_PER_SECOND)
}

/// `cpu  user nice system idle iowait irq softirq steal ...`
fn busy_ticks(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace();
    let ticks: Vec<u64> = fields
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, interrupt, soft_interrupt, steal] = ticks[..] else {
        return 0;
    };
    user + nice + system + interrupt + soft_interrupt + steal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_that_looks_like_fields() {
        let stat = "42 (a) R 1 (b) S 1 42 42 0 -1 4194304 100 200 3 4 150 50 1000 25 20 0 1 0 99";
        let found = parse(stat).expect("a line of the kernel");
        assert_eq!((found.own, found.children), (2.0, 10.25));
        assert_eq!(parse("42 (short) S 1"), None);
    }

    #[test]
    fn this_process_can_be_read_and_one_that_is_gone_is_zero() {
        let own = fs::read_to_string("/proc/self/stat").expect("/proc");
        assert!(parse(&own).is_some());
        assert_eq!(of_process(u32::MAX), CpuTime::default());
    }

    #[test]
    fn waiting_is_not_being_busy() {
        let stat = "cpu  1 2 4 1000 2000 8 16 32 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(
            (busy_ticks(stat), busy_ticks("cpu 1 2"), busy_ticks("")),
            (63, 0, 0)
        );
        assert!(everybodys_seconds() > 0.0);
    }
}
