//! Who a process is, and what of the others this one can see.

use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// A process that holds something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The user whose rights it has, if it is still there.
    pub uid: Option<u32>,
    /// What it calls itself: any bytes, at most 15 unless it is a thread of the kernel; `?` if that is hidden.
    pub command: Vec<u8>,
    /// Its IPC namespace, if we may know.
    pub ipc_namespace: Option<u64>,
}

/// The namespace that a process is in, as `/proc/PID/ns/KIND` shows it (`ipc:[4026531839]`); `self` is a process too.
fn namespace(pid: &str, kind: &str) -> Option<u64> {
    let link = rustix::fs::readlink(format!("/proc/{pid}/ns/{kind}"), Vec::new()).ok()?;
    let text = link.to_str().ok()?;
    text.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// Whether it is a program that runs: threads of the kernel hold nothing of what is looked for, and neither do the dead. What may not even be
/// asked for that (/proc with hidepid=1) may be one.
pub(super) fn has_memory(pid: u32) -> bool {
    match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => is_running_program(&stat),
        Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// `PID (COMMAND) STATE PPID PGRP SESSION TTY TPGID FLAGS …`, where the command can have any bytes.
fn is_running_program(stat: &[u8]) -> bool {
    /// `PF_KTHREAD` of the kernel.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    const FLAGS_FIELD: usize = 6;
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else {
        return false;
    };
    let rest = String::from_utf8_lossy(&stat[end + 1..]);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let flags: u64 = fields
        .get(FLAGS_FIELD)
        .and_then(|flags| flags.parse().ok())
        .unwrap_or_default();
    !matches!(fields.first(), None | Some(&("Z" | "X"))) && flags & KERNEL_THREAD == 0
}

/// `kill(pid, 0)`, `/proc/PID/comm` and `/proc/PID/status`: who a process is; `None` if there is none of this number. A /proc that hides
/// processes of others has nothing of one that is there.
#[doc(alias = "kill")]
#[must_use]
pub fn look_at_process(pid: u32) -> Option<Process> {
    let number = Pid::from_raw(pid.try_into().ok()?)?;
    match test_kill_process(number) {
        Err(Errno::SRCH) => None,
        _ => Some(describe(pid)),
    }
}

/// Where this process stands: its IPC namespace, and whether its /proc shows all processes of the machine. It does not in another PID
/// namespace than the first one, or where it is mounted to hide those of others.
#[must_use]
pub fn viewpoint() -> (Option<u64>, bool) {
    /// `PROC_PID_INIT_INO` of the kernel.
    const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
    let is_first = namespace("self", "pid") == Some(FIRST_PID_NAMESPACE);
    (
        namespace("self", "ipc"),
        is_first && Path::new("/proc/1").exists(),
    )
}

/// For a process that is there and may not be looked at.
const HIDDEN_COMMAND: &[u8] = b"?";

pub(super) fn describe(pid: u32) -> Process {
    let mut command = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or(HIDDEN_COMMAND.to_vec());
    if command.ends_with(b"\n") {
        command.pop();
    }
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    Process {
        uid: effective_uid(&String::from_utf8_lossy(&status)),
        command,
        ipc_namespace: namespace(&pid.to_string(), "ipc"),
    }
}

/// `Uid: REAL EFFECTIVE SAVED FILESYSTEM`.
fn effective_uid(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn threads_of_the_kernel_and_the_dead_hide_nothing() {
        assert!(is_running_program(b"7 (a) b) S 1 7 7 0 -1 4194560 1 2"));
        assert!(!is_running_program(b"7 (kthreadd) S 0 0 0 0 -1 2129984 0"));
        assert!(!is_running_program(b"7 (gone) Z 1 7 7 0 -1 4194560 1 2"));
        assert!(!is_running_program(b"7 (cut"));
        assert!(!is_running_program(b""));
    }

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5"), Some(2));
        assert_eq!(effective_uid("Name:\tx"), None);
    }

    #[test]
    fn a_process_that_is_there_is_known_by_its_number_and_in_a_namespace() {
        assert!(
            look_at_process(process::pid()).is_some_and(|found| found.uid == Some(process::effective_uid()))
        );
        // More than the kernel ever gives, and none.
        assert!(look_at_process(5_000_000).is_none() && look_at_process(0).is_none());
        assert!(look_at_process(u32::MAX).is_none());
        assert_eq!(
            namespace("self", "ipc"),
            namespace(&process::pid().to_string(), "ipc")
        );
        assert!(namespace("self", "ipc").is_some() && namespace("self", "none").is_none());
    }
}
