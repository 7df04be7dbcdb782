//! Does one thing to a program at one exact system call of one exact thread: kills it, stops it for a while, or makes the call fail.
//!
//! Why not strace: its `when=K` counts for each thread by itself and cannot say which thread, so the K-th call of a session's thread is out
//! of reach whenever the acceptor makes K such calls too. Here threads are numbered in the order of their birth and calls in the order of
//! each thread. The program is traced from its `execve` on and is otherwise as it was built.

use std::collections::HashMap;
use std::path::Path;
use std::process::{ChildStdout, Command};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use syscalls::Sysno;

use crate::errnos::errnos_of;

/// The first call of every program of ours.
const FIRST_CALL: Sysno = Sysno::umask;
/// How often a stopped program is looked at.
const POLL: Duration = Duration::from_micros(500);

/// What is done at the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing: the calls are only counted.
    Watch,
    /// SIGKILL before the call is carried out.
    Kill,
    /// SIGSTOP at the call, SIGCONT after this time.
    Stop(Duration),
    /// The call is not carried out and returns this errno.
    Fail(i32),
}

impl Deed {
    /// Whether it can be done to this call. Runs differ a little, so the call at a point may be another than the one that was seen there.
    fn is_for(self, call: Sysno) -> bool {
        match self {
            Self::Watch => false,
            Self::Kill | Self::Stop(_) => true,
            Self::Fail(errno) => errnos_of(call).any(|known| known as i32 == errno),
        }
    }
}

/// One point of a program's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// 0 is the first thread; the others in the order of their birth.
    pub thread: usize,
    /// Counted from 1, from the return of `execve` on.
    pub call: usize,
}

/// How a traced program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// `exit` with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(Signal),
}

/// What a traced run was like.
#[derive(Debug, Clone)]
pub struct Traced {
    /// How it ended.
    pub exit: Exit,
    /// When.
    pub at: Instant,
    /// The call at the point, and when the point was reached; `None` if the run had no such point.
    pub hit: Option<(Sysno, Instant)>,
    /// Whether the program's own code had begun at the point: before that the dynamic linker and the runtime work, whose errors end
    /// a program in ways that are not its own.
    pub begun: bool,
    /// All calls of each thread, in order.
    pub calls: Vec<Vec<Sysno>>,
}

/// A running traced program.
pub struct Tracee {
    pid: u32,
    stdout: Option<ChildStdout>,
    thread: JoinHandle<Result<Traced, String>>,
}

impl Tracee {
    /// Starts `command` under a tracer thread. Its standard streams are as the caller set them.
    ///
    /// # Errors
    /// If it cannot be started or traced.
    pub fn spawn(mut command: Command, point: Point, deed: Deed) -> Result<Self, String> {
        let (sender, started) = mpsc::channel();
        // Only the thread that spawned a child can trace it and wait for it.
        let thread = std::thread::spawn(move || {
            let spawned = command.spawn();
            // The pipes of the child are not to be held open longer than by the child itself.
            drop(command);
            let (pid, stdout) = match spawned {
                Ok(mut child) => (child.id(), child.stdout.take()),
                Err(error) => {
                    let _ = sender.send(Err(error.to_string()));
                    return Err(error.to_string());
                }
            };
            let _ = sender.send(Ok((pid, stdout)));
            let tracer = Tracer::new(Pid::from_raw(pid.cast_signed()), point, deed);
            tracer.run().map_err(|errno| format!("ptrace: {errno}"))
        });
        let (pid, stdout) = started
            .recv()
            .map_err(|_| "the tracer's thread ended".to_owned())??;
        Ok(Self { pid, stdout, thread })
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The pipe of its standard output, if it has one that nobody took.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    /// Whether the program has ended.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the program's end; beyond `deadline` it is killed and that is the error.
    ///
    /// # Errors
    /// It did not end in time, or tracing failed.
    pub fn join(self, deadline: Instant) -> Result<Traced, String> {
        let mut late = None;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline && late.is_none() {
                late = Some(places(self.pid));
                let _ = signal::kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL);
            }
            std::thread::sleep(POLL);
        }
        let traced = self
            .thread
            .join()
            .map_err(|_| "the tracer panicked".to_owned())??;
        if let Some(places) = late {
            let call = traced.hit.map_or("no call", |(call, _)| call.name());
            Err(format!(
                "it did not end in time after {call}; its threads were in {places}"
            ))
        } else {
            Ok(traced)
        }
    }
}

/// In which system call each thread of a process is.
fn places(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let place = |task: std::fs::DirEntry| {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, call) = (read("comm"), read("syscall"));
        let number = call.split(' ').next().and_then(|number| number.parse().ok());
        let call = number.map_or("no call", |number: u32| Sysno::from(number).name());
        format!("{} {call}", name.trim_end())
    };
    tasks.map(place).collect::<Vec<_>>().join(", ")
}

/// The words that start `program` so that a tracer can take hold of it: this very program stops itself and then becomes the other.
///
/// # Errors
/// If the path of this program is unknown.
pub fn held(program: &Path) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let mut command = Command::new(own);
    command.arg("hold").arg(program);
    Ok(command)
}

/// The other half of [`held`].
///
/// # Errors
/// If the program cannot be executed; on success it does not return.
pub fn hold(words: &[String]) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let (program, arguments) = words.split_first().ok_or("hold: no program")?;
    signal::raise(Signal::SIGSTOP).map_err(|errno| format!("raise: {errno}"))?;
    Err(format!(
        "{program}: {}",
        Command::new(program).args(arguments).exec()
    ))
}

/// See the module.
struct Tracer {
    leader: Pid,
    point: Point,
    deed: Deed,
    /// Number of each thread.
    numbers: HashMap<Pid, usize>,
    /// Calls of each thread so far.
    calls: Vec<Vec<Sysno>>,
    has_begun: bool,
    hit: Option<(Sysno, Instant)>,
    begun: bool,
    /// The thread whose call has to fail when it returns.
    failing: Option<Pid>,
    /// While the program is stopped: its threads that stand, and when they go on.
    standing: Vec<Pid>,
    until: Option<Instant>,
}

impl Tracer {
    fn new(leader: Pid, point: Point, deed: Deed) -> Self {
        Self {
            leader,
            point,
            deed,
            numbers: HashMap::from([(leader, 0)]),
            calls: vec![Vec::new()],
            has_begun: false,
            hit: None,
            begun: false,
            failing: None,
            standing: Vec::new(),
            until: None,
        }
    }

    fn run(mut self) -> nix::Result<Traced> {
        waitpid(self.leader, Some(WaitPidFlag::WUNTRACED))?;
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.leader, options)?;
        signal::kill(self.leader, Signal::SIGCONT)?;
        loop {
            self.wake_those_who_stood_long_enough()?;
            let mut flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
            if self.until.is_some() {
                flags |= WaitPidFlag::WNOHANG;
            }
            match waitpid(None, Some(flags))? {
                WaitStatus::StillAlive => std::thread::sleep(POLL),
                WaitStatus::Exited(pid, code) if pid == self.leader => return Ok(self.end(Exit::Code(code))),
                WaitStatus::Signaled(pid, what, _) if pid == self.leader => {
                    return Ok(self.end(Exit::Signal(what)));
                }
                status => gone_is_fine(self.handle(status))?,
            }
        }
    }

    fn end(self, exit: Exit) -> Traced {
        Traced {
            exit,
            at: Instant::now(),
            hit: self.hit,
            begun: self.begun,
            calls: self.calls,
        }
    }

    fn handle(&mut self, status: WaitStatus) -> nix::Result<()> {
        match status {
            WaitStatus::PtraceEvent(pid, Signal::SIGSTOP, event)
                if event == ptrace_event_stop() && self.until.is_some() =>
            {
                // The group's stop: the thread stands until SIGCONT.
                self.standing.push(pid);
                Ok(())
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 {
                    self.has_begun = true;
                } else if event == ptrace::Event::PTRACE_EVENT_CLONE as i32 {
                    let born = Pid::from_raw(i32::try_from(ptrace::getevent(pid)?).unwrap_or(0));
                    self.number_of(born);
                }
                ptrace::syscall(pid, None)
            }
            WaitStatus::PtraceSyscall(pid) => self.at_system_call(pid),
            WaitStatus::Stopped(pid, what) => ptrace::syscall(pid, what),
            _ => Ok(()),
        }
    }

    fn number_of(&mut self, thread: Pid) -> usize {
        let next = self.calls.len();
        let number = *self.numbers.entry(thread).or_insert(next);
        if number == next {
            self.calls.push(Vec::new());
        }
        number
    }

    fn at_system_call(&mut self, thread: Pid) -> nix::Result<()> {
        if !self.has_begun {
            return ptrace::syscall(thread, None);
        }
        // Entry or exit? Only the kernel knows for certain: a new thread begins at an exit.
        let is_entry = ptrace::syscall_info(thread)?.op == 1;
        if is_entry {
            let number = ptrace::getregs(thread)?.orig_rax;
            let call = Sysno::from(u32::try_from(number).unwrap_or(u32::MAX));
            let number = self.number_of(thread);
            self.calls[number].push(call);
            let here = Point {
                thread: number,
                call: self.calls[number].len(),
            };
            if here == self.point && self.hit.is_none() && self.deed.is_for(call) {
                self.hit = Some((call, Instant::now()));
                self.begun = self.calls[0].contains(&FIRST_CALL);
                return self.strike(thread);
            }
        } else if self.failing == Some(thread) {
            self.failing = None;
            if let Deed::Fail(errno) = self.deed {
                let mut registers = ptrace::getregs(thread)?;
                registers.rax = i64::from(-errno).cast_unsigned();
                ptrace::setregs(thread, registers)?;
            }
        }
        ptrace::syscall(thread, None)
    }

    fn strike(&mut self, thread: Pid) -> nix::Result<()> {
        match self.deed {
            Deed::Watch => {}
            Deed::Kill => signal::kill(self.leader, Signal::SIGKILL)?,
            Deed::Stop(how_long) => {
                self.until = Some(Instant::now() + how_long);
                signal::kill(self.leader, Signal::SIGSTOP)?;
            }
            Deed::Fail(_) => {
                // A system call with this number is none: the kernel does nothing and goes to the exit.
                let mut registers = ptrace::getregs(thread)?;
                registers.orig_rax = u64::MAX;
                ptrace::setregs(thread, registers)?;
                self.failing = Some(thread);
            }
        }
        ptrace::syscall(thread, None)
    }

    fn wake_those_who_stood_long_enough(&mut self) -> nix::Result<()> {
        if self.until.is_none_or(|until| Instant::now() < until) {
            return Ok(());
        }
        self.until = None;
        gone_is_fine(signal::kill(self.leader, Signal::SIGCONT))?;
        for thread in std::mem::take(&mut self.standing) {
            gone_is_fine(ptrace::syscall(thread, None))?;
        }
        Ok(())
    }
}

/// `PTRACE_EVENT_STOP`, which nix does not name on every C library.
fn ptrace_event_stop() -> i32 {
    128
}

/// A thread that was killed between two of our calls is no error: its end will be reported.
fn gone_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}
