//! Programs of ours as processes: started traced or as they are, what they say kept in files, no wait without an end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::tracer::{Deed, Exit, Point, Traced, Tracee, held};

/// How often a running program is looked at.
const POLL: Duration = Duration::from_micros(300);

/// A program about to be started.
pub struct Program {
    executable: PathBuf,
    arguments: Vec<String>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
}

/// A running program.
pub struct Running {
    /// `None` once it has been waited for.
    body: Option<Body>,
    /// What it says on standard error.
    said: PathBuf,
    /// Its short name, for reports.
    label: String,
}

impl Drop for Running {
    /// Whoever is not waited for is of no use to anybody: a test went wrong before that.
    fn drop(&mut self) {
        match self.body.take() {
            Some(Body::Plain(mut child)) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Some(Body::Traced(tracee)) => {
                let _ = tracee.join(Instant::now());
            }
            None => {}
        }
    }
}

enum Body {
    Plain(Child),
    Traced(Tracee),
}

/// How a program ended.
pub struct Ended {
    /// Code or signal.
    pub exit: Exit,
    /// When that was seen.
    pub at: Instant,
    /// What it said on standard error.
    pub stderr: String,
    /// What its tracer saw, if it had one.
    pub traced: Option<Traced>,
}

impl Program {
    /// `executable` with these arguments.
    pub fn new(executable: &Path, arguments: &[&str]) -> Self {
        Self {
            executable: executable.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            stdin: None,
            stdout: None,
        }
    }

    /// Standard input comes from there instead of from nowhere.
    pub fn stdin(mut self, source: Stdio) -> Self {
        self.stdin = Some(source);
        self
    }

    /// Standard output goes there instead of nowhere.
    pub fn stdout(mut self, target: Stdio) -> Self {
        self.stdout = Some(target);
        self
    }

    /// Started by another program: `wrapper... executable arguments...`.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let executable = self.executable.to_string_lossy().into_owned();
        let words = wrapper[1..].iter().map(|&word| word.to_owned());
        self.arguments = words.chain([executable]).chain(self.arguments).collect();
        self.executable = PathBuf::from(wrapper[0]);
        self
    }

    fn prepare(self, mut command: Command, said: &Path) -> Result<Command, String> {
        let stderr = File::create(said).map_err(|error| format!("{}: {error}", said.display()))?;
        command
            .args(&self.arguments)
            .env("RUST_BACKTRACE", "0")
            .stdin(self.stdin.unwrap_or_else(Stdio::null))
            .stdout(self.stdout.unwrap_or_else(Stdio::null))
            .stderr(stderr);
        Ok(command)
    }

    fn label(&self) -> String {
        let name = self.executable.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Starts it as it is; what it says goes to the file `said`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(self, said: &Path) -> Result<Running, String> {
        let (label, command) = (self.label(), Command::new(&self.executable));
        let child = self
            .prepare(command, said)?
            .spawn()
            .map_err(|error| format!("{label}: {error}"))?;
        Ok(Running {
            body: Some(Body::Plain(child)),
            said: said.to_owned(),
            label,
        })
    }

    /// Starts it with something to be done to it at a point.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_traced(self, said: &Path, point: Point, deed: Deed) -> Result<Running, String> {
        let (label, command) = (self.label(), held(&self.executable)?);
        let tracee = Tracee::spawn(self.prepare(command, said)?, point, deed)?;
        Ok(Running {
            body: Some(Body::Traced(tracee)),
            said: said.to_owned(),
            label,
        })
    }
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        match &self.body {
            Some(Body::Plain(child)) => child.id(),
            Some(Body::Traced(tracee)) => tracee.pid(),
            None => 0,
        }
    }

    /// Sends a signal.
    pub fn signal(&self, what: Signal) {
        send_signal(self.pid(), what);
    }

    /// The pipe of its standard output, if it has one that nobody took.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        match &mut self.body {
            Some(Body::Plain(child)) => child.stdout.take(),
            Some(Body::Traced(tracee)) => tracee.take_stdout(),
            None => None,
        }
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        match &mut self.body {
            Some(Body::Plain(child)) => child.try_wait().is_ok_and(|status| status.is_some()),
            Some(Body::Traced(tracee)) => tracee.is_over(),
            None => true,
        }
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.said).unwrap_or_default()).into_owned()
    }

    /// Waits until it has said `word`, or has ended; `false` if it ended without.
    ///
    /// # Errors
    /// Neither happened before the deadline.
    pub fn wait_until_it_says(&mut self, word: &str, deadline: Instant) -> Result<bool, String> {
        loop {
            let is_over = self.is_over();
            if self.stderr().contains(word) {
                return Ok(true);
            }
            if is_over {
                return Ok(false);
            }
            if Instant::now() >= deadline {
                return Err(format!("{} never said \"{word}\"", self.label));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end; one that is late is killed.
    ///
    /// # Errors
    /// It did not end before the deadline.
    pub fn finish(mut self, deadline: Instant) -> Result<Ended, String> {
        let (said, label) = (self.said.clone(), self.label.clone());
        let late = || {
            let stderr = std::fs::read_to_string(&said).unwrap_or_default();
            format!("{label} did not end in time; it said: {stderr}")
        };
        let body = self.body.take().ok_or("it has been waited for")?;
        let (exit, at, traced) = match body {
            Body::Traced(tracee) => {
                let traced = tracee
                    .join(deadline)
                    .map_err(|reason| format!("{reason}: {}", late()))?;
                (traced.exit.clone(), traced.at, Some(traced))
            }
            Body::Plain(mut child) => (wait(&mut child, deadline).ok_or_else(late)?, Instant::now(), None),
        };
        Ok(Ended {
            exit,
            at,
            stderr: String::from_utf8_lossy(&std::fs::read(&said).unwrap_or_default()).into_owned(),
            traced,
        })
    }
}

/// Sends a signal to a process of ours; one that has ended does not mind.
pub fn send_signal(pid: u32, what: Signal) {
    if pid == 0 {
        // To the kernel that number means: everybody in this group.
        return;
    }
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), what);
}

fn wait(child: &mut Child, deadline: Instant) -> Option<Exit> {
    use std::os::unix::process::ExitStatusExt;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            let signal = status.signal().and_then(|number| Signal::try_from(number).ok());
            return Some(signal.map_or_else(|| Exit::Code(status.code().unwrap_or(-1)), Exit::Signal));
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(POLL);
    }
}
