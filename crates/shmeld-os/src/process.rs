//! This process: its identity, its CPUs, its signals, and two things every process needs.
//!
//! ```
//! use std::{fs::File, io::Read};
//! use shmeld_os::{fs, process};
//!
//! let id: [u8; 16] = process::random_bytes()?;
//! let (reader, writer) = process::pipe()?;
//! fs::write_all(&writer, &id)?;
//! let mut arrived = [0; 16];
//! File::from(reader).read_exact(&mut arrived)?;
//! assert_eq!(arrived, id);
//!
//! assert!(process::cpus_allowed_list().contains(&process::current_cpu()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![allow(unsafe_code)] // signal(2) has no safe wrapper in rustix

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::{Error, Result, sys};

/// `umask(mask)`: sets the bits that new files never get, and returns the previous ones. It counts for
/// every thread of the process.
///
/// See [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html).
#[doc(alias = "umask")]
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(Mode::from_raw_mode(mask)).as_raw_mode()
}

/// `sched_getcpu()`: the CPU that runs this thread just now. Costs a few nanoseconds, no system call.
///
/// See [sched_getcpu(3)](https://man7.org/linux/man-pages/man3/sched_getcpu.3.html).
#[doc(alias = "sched_getcpu")]
pub fn current_cpu() -> u32 {
    u32::try_from(sched_getcpu()).unwrap_or(u32::MAX)
}

/// `geteuid()`: the user whose rights this process has.
///
/// See [geteuid(2)](https://man7.org/linux/man-pages/man2/geteuid.2.html).
#[doc(alias = "geteuid")]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `getegid()`: the group whose rights this process has.
///
/// See [getegid(2)](https://man7.org/linux/man-pages/man2/getegid.2.html).
#[doc(alias = "getegid")]
pub fn effective_gid() -> u32 {
    rustix::process::getegid().as_raw()
}

/// `getpid()`: the number of this process in its own PID namespace. For messages and unique names of
/// tests; never a proof of anything to anybody else.
///
/// See [getpid(2)](https://man7.org/linux/man-pages/man2/getpid.2.html).
#[doc(alias = "getpid")]
pub fn pid() -> u32 {
    std::process::id()
}

/// `signal(SIGPIPE, SIG_IGN)` and `signal(SIGXFSZ, SIG_IGN)`: a closed pipe and a file beyond
/// `RLIMIT_FSIZE` become the errors EPIPE and EFBIG instead of death without cleaning up.
///
/// For binaries; a library leaves signals to its host.
///
/// See [signal(2)](https://man7.org/linux/man-pages/man2/signal.2.html).
#[doc(alias = "SIGPIPE")]
#[doc(alias = "SIGXFSZ")]
pub fn ignore_broken_pipe_and_file_size() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: SIG_IGN runs no code of ours, and both signal numbers are valid. The result is not
        // used: the call fails only for invalid numbers.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// `sigaction(signal, NULL, &old)`: whether a signal is ignored, as `nohup` arranges it for SIGHUP before it starts a program.
///
/// See [sigaction(2)](https://man7.org/linux/man-pages/man2/sigaction.2.html).
#[doc(alias = "sigaction")]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zero is a sound sigaction: no flags, an empty mask, the default action.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: no new action is set, and `old` is ours and writable. An invalid signal is an error, which leaves `old` as it is.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) };
    asked == 0 && old.sa_sigaction == libc::SIG_IGN
}

/// `kill(0, SIGTSTP)` with its default action: stops this process and its group, as a terminal does at Ctrl-Z, and returns when a shell
/// continues them. A group that no shell looks after is not stopped, because nobody would continue it: the kernel sees to that.
///
/// To be called by the thread that the process began with, which the kernel stops first.
///
/// # Errors
/// Practically never.
///
/// See [credentials(7)](https://man7.org/linux/man-pages/man7/credentials.7.html) and [setpgid(2)](https://man7.org/linux/man-pages/man2/setpgid.2.html)
/// on orphaned process groups.
#[doc(alias = "SIGTSTP")]
pub fn stop_group() -> Result<()> {
    // SAFETY: all zero is a sound sigaction: no flags, an empty mask, the default action.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    let mut old = default;
    // SAFETY: the default action runs no code of ours, and `old` is ours and writable. The call fails only for invalid numbers.
    unsafe { libc::sigaction(libc::SIGTSTP, &raw const default, &raw mut old) };
    let stopped = rustix::process::kill_current_process_group(Signal::TSTP);
    // SAFETY: the action is the one that was set before.
    unsafe { libc::sigaction(libc::SIGTSTP, &raw const old, std::ptr::null_mut()) };
    stopped.map_err(|errno| Error::new("kill", "SIGTSTP", errno))
}

/// `tgkill(pid, pid, signal)`: sends a signal to the thread that the process began with. A system call in which that thread waits returns;
/// where the handler was set with `SA_RESTART`, the kernel begins it anew.
///
/// # Errors
/// EINVAL for a number that is no signal.
///
/// See [tgkill(2)](https://man7.org/linux/man-pages/man2/tgkill.2.html).
#[doc(alias = "tgkill")]
pub fn signal_main_thread(signal: i32) -> Result<()> {
    let pid = libc::c_long::from(std::process::id());
    // SAFETY: the call takes three numbers and no memory of ours.
    let outcome = unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::c_long::from(signal)) };
    sys::check(outcome)
        .map(drop)
        .map_err(|errno| Error::new("tgkill", format!("signal {signal}"), errno))
}

/// `dup2(open("/dev/null"), 0)`, and the same for 1 and 2: standard input is at its end, and what is written to standard output and error
/// goes nowhere and never waits. For good. A call that waits on one of them goes on doing so until a signal comes
/// ([`signal_main_thread`]).
///
/// # Errors
/// There is no `/dev/null`, or no descriptor left.
///
/// See [dup(2)](https://man7.org/linux/man-pages/man2/dup.2.html).
#[doc(alias = "dup2")]
pub fn silence_standard_streams() -> Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::new("open", "/dev/null", errno))?;
    for replace in [
        rustix::stdio::dup2_stdin,
        rustix::stdio::dup2_stdout,
        rustix::stdio::dup2_stderr,
    ] {
        replace(&null).map_err(|errno| Error::new("dup2", "/dev/null", errno))?;
    }
    Ok(())
}

/// `sched_setaffinity(0, allowed - {cpu})`, then back to what was allowed: makes the scheduler move this thread to another CPU, if it may
/// run on one. Where the thread goes later is the scheduler's business again. What was allowed is from then on the thread's own wish: a
/// cpuset that becomes wider does not widen it, and a `taskset` at the very same moment is undone.
///
/// Returns whether there was another CPU to move to.
///
/// See [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
#[doc(alias = "sched_setaffinity")]
pub fn leave_cpu(cpu: u32) -> bool {
    let Ok(allowed) = sched_getaffinity(None) else {
        return false;
    };
    let mut others = allowed;
    let cpu = cpu as usize;
    if cpu >= CpuSet::MAX_CPU || !allowed.is_set(cpu) || allowed.count() < 2 {
        return false;
    }
    others.unset(cpu);
    let moved = sched_setaffinity(None, &others).is_ok();
    // If this fails, the thread may run on all CPUs but one, which hurts less than the error would help.
    let _ = sched_setaffinity(None, &allowed);
    moved
}

/// `sched_setaffinity(0, {cpu})`: keeps this thread, and the threads it starts, on one CPU. For measurements.
///
/// # Errors
/// EINVAL if there is no such CPU, or this process may not use it.
///
/// See [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
#[doc(alias = "sched_setaffinity")]
pub fn restrict_to_cpu(cpu: u32) -> Result<()> {
    let fail = |errno| Error::new("sched_setaffinity", format!("CPU {cpu}"), errno);
    let number = usize::try_from(cpu).unwrap_or(usize::MAX);
    if number >= CpuSet::MAX_CPU {
        return Err(fail(Errno::INVAL));
    }
    let mut cpus = CpuSet::new();
    cpus.set(number);
    sched_setaffinity(None, &cpus).map_err(fail)
}

/// `sched_getaffinity(0)`: how many CPUs this thread may use; at least 1.
///
/// See [sched_getaffinity(2)](https://man7.org/linux/man-pages/man2/sched_getaffinity.2.html).
#[doc(alias = "sched_getaffinity")]
pub fn cpus_allowed() -> usize {
    cpus_allowed_list().len().max(1)
}

/// `sched_getaffinity(0)`: the numbers of the CPUs this thread may use, in order. Empty only if the kernel
/// does not say.
///
/// See [sched_getaffinity(2)](https://man7.org/linux/man-pages/man2/sched_getaffinity.2.html).
#[doc(alias = "sched_getaffinity")]
pub fn cpus_allowed_list() -> Vec<u32> {
    let Ok(cpus) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0u32..)
        .take(CpuSet::MAX_CPU)
        .filter(|cpu| cpus.is_set(*cpu as usize))
        .collect()
}

/// `prctl(PR_SET_NO_NEW_PRIVS)`: no program that this thread, or one it starts, executes gets more rights than it has: no set-user-ID, no
/// file capabilities. For good.
///
/// # Errors
/// Only a filter of system calls can be a reason.
///
/// See [PR_SET_NO_NEW_PRIVS(2const)](https://man7.org/linux/man-pages/man2/PR_SET_NO_NEW_PRIVS.2const.html).
#[doc(alias = "PR_SET_NO_NEW_PRIVS")]
pub fn forbid_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true)
        .map_err(|errno| Error::new("prctl(PR_SET_NO_NEW_PRIVS)", "", errno))
}

/// `prctl(PR_GET_NO_NEW_PRIVS)`: whether [`forbid_new_privileges`] holds for this thread.
///
/// See [PR_GET_NO_NEW_PRIVS(2const)](https://man7.org/linux/man-pages/man2/PR_GET_NO_NEW_PRIVS.2const.html).
#[doc(alias = "PR_GET_NO_NEW_PRIVS")]
pub fn are_new_privileges_forbidden() -> bool {
    rustix::thread::no_new_privs().unwrap_or(false)
}

/// `getrandom()`: `N` bytes that nobody can guess.
///
/// # Errors
/// The kernel has none for us, for which only a filter of system calls is a reason. Nothing is made up
/// instead: names that can be guessed would break every promise that rests on them.
///
/// See [getrandom(2)](https://man7.org/linux/man-pages/man2/getrandom.2.html).
#[doc(alias = "getrandom")]
pub fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => {
            let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
            Err(Error::new("getrandom", "random bytes", errno))
        }
    }
}

/// `pipe2(O_CLOEXEC)`: a pipe as (read end, write end). A read end becomes readable when the last write end
/// closes, however its holder ends.
///
/// # Errors
/// [`ErrorKind::Limit`](crate::ErrorKind::Limit) if there are no descriptors left.
///
/// See [pipe(2)](https://man7.org/linux/man-pages/man2/pipe.2.html).
#[doc(alias = "pipe2")]
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Error::new("pipe2", "", errno))
}

/// `ioctl(fd, TIOCGWINSZ)`: how many columns a terminal has; `None` if it is none, or does not know.
///
/// See [TIOCGWINSZ(2const)](https://man7.org/linux/man-pages/man2/TIOCGWINSZ.2const.html).
#[doc(alias = "TIOCGWINSZ")]
pub fn terminal_columns(fd: impl AsFd) -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_differ_each_time() {
        assert_ne!(random_bytes::<16>().unwrap(), random_bytes::<16>().unwrap());
        assert_eq!(random_bytes::<0>().unwrap(), []);
    }

    #[test]
    fn a_thread_without_new_privileges_says_so() {
        let thread = std::thread::spawn(|| {
            forbid_new_privileges().expect("no filter");
            are_new_privileges_forbidden()
        });
        assert!(thread.join().expect("thread"));
    }

    #[test]
    fn signals_that_are_ignored_are_known() {
        // The runtime of Rust ignores the first, nobody the second.
        let signals = [libc::SIGPIPE, libc::SIGWINCH, -1];
        assert_eq!(signals.map(is_ignored), [true, false, false]);
    }

    #[test]
    fn the_main_thread_gets_the_signal_that_was_named() {
        // SIGWINCH is ignored by default: it hurts nobody here.
        assert!(signal_main_thread(libc::SIGWINCH).is_ok());
        let error = signal_main_thread(-1).expect_err("no signal");
        assert_eq!(error.errno(), Errno::INVAL);
    }

    #[test]
    fn a_thread_leaves_its_cpu_if_it_may_and_may_come_back() {
        let allowed = cpus_allowed_list();
        let thread = std::thread::spawn(move || {
            // Pinned, there is nowhere to go, and pinned it stays.
            restrict_to_cpu(allowed[0]).expect("allowed");
            assert!(!leave_cpu(allowed[0]));
            assert_eq!(cpus_allowed_list(), [allowed[0]]);
        });
        thread.join().expect("thread");
        let before = cpus_allowed_list();
        assert_eq!(leave_cpu(current_cpu()), before.len() > 1);
        assert_eq!(cpus_allowed_list(), before);
    }

    #[test]
    fn a_thread_can_be_kept_on_each_cpu_it_may_use() {
        let cpus = cpus_allowed_list();
        assert_eq!(cpus.len(), cpus_allowed());
        for cpu in cpus {
            let ran_on = std::thread::spawn(move || {
                restrict_to_cpu(cpu).expect("allowed");
                current_cpu()
            });
            assert_eq!(ran_on.join().expect("thread"), cpu);
        }
        let error = restrict_to_cpu(1_000_000).expect_err("no such CPU");
        assert_eq!(error.errno(), Errno::INVAL);
    }
}
