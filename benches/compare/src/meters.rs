//! CPU seconds in nanoseconds and microseconds, from the clocks that the kernel keeps for processes.

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::ClockId;
use nix::unistd::Pid;
use shmeld_cli::commands::bench_cpu::Meters;

/// `clock_gettime` of the process's clock counts threads that have ended too; `getrusage` counts the children that were waited for.
pub const PRECISE: Meters = Meters {
    process: |pid| process_seconds(pid).unwrap_or_default(),
    children: || {
        getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0.0, |usage| {
            let (user, system) = (usage.user_time(), usage.system_time());
            (user.tv_sec() + system.tv_sec()) as f64 + (user.tv_usec() + system.tv_usec()) as f64 / 1e6
        })
    },
};

/// What this process, its children that have ended, and the servers that run have used.
pub fn ours_seconds(servers: &[u32]) -> f64 {
    let servers: f64 = servers.iter().map(|pid| (PRECISE.process)(*pid)).sum();
    (PRECISE.process)(std::process::id()) + (PRECISE.children)() + servers
}

/// `None` if the process is gone.
fn process_seconds(pid: u32) -> Option<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let time = clock.now().ok()?;
    Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_have_ended_count_too() {
        let pid = std::process::id();
        let before = (PRECISE.process)(pid);
        let work =
            || (0..30_000_000_u64).fold(1_u64, |sum, next| std::hint::black_box(sum ^ next.rotate_left(7)));
        std::thread::spawn(work).join().expect("no panic");
        assert!((PRECISE.process)(pid) > before + 0.000_5);
        assert_eq!(process_seconds(u32::MAX), None);
    }
}
