//! Commands told to end: by which signals, how often, and how long that may take.

use std::fs;
use std::time::{Duration, Instant};

use crate::processes::Running;
use crate::world::eventually;

/// What can end a command, with the exit code.
pub const SIGNALS: [(&str, i32); 3] = [("HUP", 129), ("INT", 130), ("TERM", 143)];
/// What is cleaned up takes less: a second until it is noticed that a command is blocked, a slice of a wait, and a loaded machine.
pub const SOON: Duration = Duration::from_secs(8);

/// So many signals, at a distance in which the first one has begun to work. What the process printed until then.
#[track_caller]
pub fn tell(process: &Running, signal: &str, times: usize, code: i32) -> String {
    let start = Instant::now();
    process.signal(signal);
    for _ in 1..times {
        std::thread::sleep(Duration::from_millis(15));
        // It may have ended, and waits to be asked how.
        process.signal(signal);
    }
    let outcome = process.finish().expect_code(code);
    assert!(start.elapsed() < SOON, "{signal}: {:?}", start.elapsed());
    outcome.stdout_text()
}

/// Waits until a process is blocked on its standard output.
#[track_caller]
pub fn await_blocked(process: &Running) {
    let path = format!("/proc/{}/syscall", process.pid());
    // write(1, ...), proc_pid_syscall(5).
    let is_blocked = || fs::read_to_string(&path).is_ok_and(|call| call.starts_with("1 0x1 "));
    eventually("the process is blocked", is_blocked);
}
