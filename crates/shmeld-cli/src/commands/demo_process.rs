//! The processes that `demo` and `bench` start: they end with their starter, and leave nothing behind.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use shmeld::ServerName;
use shmeld::file::Interrupt;
use shmeld::os::{event, process};

use crate::program::{Program, exit, refused};

/// How often a wait looks at the wish to stop.
const SLICE: Duration = Duration::from_millis(50);
/// How long a server may take to end: it gives its sessions five seconds.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why a process did not run to its end.
#[derive(Debug)]
pub enum Trouble {
    /// SIGINT or SIGTERM.
    Interrupted,
    /// What went wrong, for people.
    Failed(String),
}

impl Trouble {
    /// Tells it; the exit code.
    #[must_use]
    pub fn tell(self, program: &Program) -> u8 {
        match self {
            Self::Interrupted => {
                program.complain("interrupted; everything that was made is removed", None);
                program.signal_code()
            }
            Self::Failed(message) => {
                program.complain(&message, None);
                exit::SYSTEM
            }
        }
    }
}

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// This program, as another process.
#[must_use]
pub fn ourselves() -> Command {
    Command::new("/proc/self/exe")
}

/// Starts a process, kept on `cpu` if one is given, and says when that was.
///
/// # Errors
/// Names the program.
pub fn spawn(command: &mut Command, cpu: Option<u32>) -> Result<(Child, Instant), String> {
    let Some(cpu) = cpu else {
        let start = Instant::now();
        return command.spawn().map(|child| (child, start)).map_err(|error| {
            refused("start", &command.get_program().display().to_string(), &error).to_string()
        });
    };
    // A child inherits the CPUs of the thread that starts it; this thread keeps its own.
    let pinned = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            process::restrict_to_cpu(cpu).map_err(|error| error.to_string())?;
            spawn(command, None)
        });
        thread.join()
    });
    pinned.unwrap_or_else(|_| Err("start of a process: the thread that does it panicked".to_owned()))
}

fn wait_failed(child: &Child, error: &io::Error) -> String {
    refused("wait for", &format!("pid {}", child.id()), error).to_string()
}

/// A process that is killed if its owner gives it up.
#[derive(Debug)]
pub struct Owned(pub Child);

impl Owned {
    /// Waits for the end, but not longer than `limit`; then kills.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + limit;
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => return Err(format!("pid {} did not end in {limit:?}", self.0.id())),
                Err(error) => return Err(wait_failed(&self.0, &error)),
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            // It may have ended this moment, which is as good.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A server's process. It ends when its standard input closes: with this object, or with this process however that ends.
#[derive(Debug)]
pub struct ServerProcess {
    child: Owned,
}

impl ServerProcess {
    /// Starts `shmeld serve DIRECTORY` and waits until clients can connect. What it says goes to `log`, or to our standard error.
    ///
    /// # Errors
    /// It did not come up.
    pub fn start(
        directory: &Path,
        name: &ServerName,
        options: &[&str],
        log: Option<File>,
        cpu: Option<u32>,
    ) -> Result<Self, String> {
        Self::start_as(ourselves(), directory, name, options, log, cpu)
    }

    /// [`ServerProcess::start`] with the program that `command` names.
    ///
    /// # Errors
    /// It did not come up.
    pub fn start_as(
        mut command: Command,
        directory: &Path,
        name: &ServerName,
        options: &[&str],
        log: Option<File>,
        cpu: Option<u32>,
    ) -> Result<Self, String> {
        command.args(["serve", "--until-stdin-closes", "--name", &name.to_string()]);
        command.args(options).arg("--").arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(log) = log {
            command.stderr(log);
        }
        let mut child = Owned(spawn(&mut command, cpu)?.0);
        let mut line = String::new();
        let stdout = child.0.stdout.take().map(BufReader::new);
        match stdout.map(|mut stdout| stdout.read_line(&mut line)) {
            Some(Ok(bytes)) if bytes > 0 => Ok(Self { child }),
            _ => Err(format!(
                "the server did not start: {}",
                show_status(child.wait(STOP_LIMIT))
            )),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Tells the server to end, as Ctrl-C would, without waiting.
    pub fn begin_stop(&mut self) {
        drop(self.child.0.stdin.take());
    }

    /// Waits for a server that ends by itself.
    ///
    /// # Errors
    /// It did not.
    pub fn wait(&mut self) -> Result<ExitStatus, String> {
        self.child.wait(STOP_LIMIT)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.begin_stop();
        // One that hangs is killed by `Owned`.
        let _ = self.wait();
    }
}

/// How a process ended, for people.
#[must_use]
pub fn show_status(status: Result<ExitStatus, String>) -> String {
    match status.map(|status| (status.code(), status)) {
        Ok((Some(code), _)) => format!("exit code {code}"),
        Ok((None, status)) => status.to_string(),
        Err(message) => message,
    }
}

/// A process that ran to its end.
#[derive(Debug)]
pub struct Finished {
    pub pid: u32,
    pub status: ExitStatus,
    pub output: Vec<u8>,
    pub elapsed: Duration,
}

/// How a process is watched while it runs.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'i> {
    pub interrupt: &'i Interrupt,
    /// How long it may take.
    pub limit: Duration,
    /// How long it may go on after we were told to stop: a client ends by itself when its server does.
    pub patience: Duration,
}

impl Watch<'_> {
    /// Runs a process to its end; `on_stop` is called once if we are told to stop meanwhile.
    ///
    /// # Errors
    /// It did not run to its end; it is gone then.
    pub fn run(
        &self,
        command: &mut Command,
        cpu: Option<u32>,
        on_stop: impl FnOnce(),
    ) -> Result<Finished, Trouble> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let (child, start) = spawn(command, cpu)?;
        let mut child = Owned(child);
        let mut output = Vec::new();
        if let Some(mut stdout) = child.0.stdout.take() {
            // The end of its output is the end of the process, to within some microseconds, and can be waited for in slices.
            if !self.read_until_end(&mut stdout, start + self.limit, &mut output)? {
                on_stop();
                // What is still to come is not wanted: the process is.
                let _ = child.wait(self.patience);
                return Err(Trouble::Interrupted);
            }
        }
        let status = child.0.wait().map_err(|error| wait_failed(&child.0, &error))?;
        let elapsed = start.elapsed();
        self.interrupt.check().map_err(|_| Trouble::Interrupted)?;
        Ok(Finished {
            pid: child.0.id(),
            status,
            output,
            elapsed,
        })
    }

    /// `false` if we were told to stop.
    fn read_until_end(
        &self,
        stdout: &mut ChildStdout,
        deadline: Instant,
        output: &mut Vec<u8>,
    ) -> Result<bool, Trouble> {
        let mut buffer = [0; 4096];
        loop {
            if self.interrupt.check().is_err() {
                return Ok(false);
            }
            if Instant::now() > deadline {
                return Err(Trouble::Failed(format!(
                    "a process did not end in {:?}",
                    self.limit
                )));
            }
            let ready = event::poll(&[stdout.as_fd()], Some(SLICE)).map_err(|error| error.to_string())?;
            if !ready[0] {
                continue;
            }
            match stdout.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(bytes) => output.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(refused("read from", "a process", &error).to_string().into()),
            }
        }
    }
}
