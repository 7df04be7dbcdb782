//! Programs as processes: everything they say is kept, no wait is for ever, and none outlives its test.

use std::ffi::{OsStr, OsString};
use std::io::{PipeReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::content;
use crate::outcome::Kept;
pub use crate::outcome::Outcome;

/// Long enough for a loaded machine; nothing that works ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Commands that go on until they are asked to end.
const SERVES: [&str; 3] = ["serve", "export", "import"];
const POLL: Duration = Duration::from_millis(2);

/// All processes of a test, so that a failure can show what each of them said.
#[derive(Clone, Default)]
pub struct Group(Arc<Mutex<Vec<Running>>>);

impl Group {
    fn members(&self) -> Vec<Running> {
        self.0.lock().unwrap().clone()
    }

    /// What everybody has said on standard error, for the report of a failure.
    pub fn story(&self) -> String {
        let members = self.members();
        let tell = |one: &Running| format!("--- {} ({})\n{}", one.label, one.state(), one.stderr());
        members.iter().map(tell).collect()
    }

    pub fn tell_all(&self) {
        eprintln!("{}", self.story());
    }

    /// Ends what still runs: servers by SIGTERM, and they must end with 0. Everything else must have ended.
    #[track_caller]
    pub fn stop_all(&self) {
        for one in self.members() {
            if one.is_running() {
                assert!(one.is_server, "{} still runs\n{}", one.label, self.story());
                one.signal("TERM");
                let outcome = one.finish();
                assert_eq!(outcome.code, Some(0), "{}\n{}", one.label, self.story());
            }
        }
    }

    pub fn kill_all(&self) {
        for one in self.members() {
            one.kill();
        }
    }
}

/// A program about to be started.
pub struct Program {
    group: Group,
    executable: OsString,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
    directory: PathBuf,
    root: PathBuf,
    input: Option<Vec<u8>>,
    stdout: Option<Stdio>,
}

impl Program {
    pub fn new(group: &Group, executable: impl Into<OsString>, root: &Path) -> Self {
        Program {
            group: group.clone(),
            executable: executable.into(),
            arguments: Vec::new(),
            wrapper: Vec::new(),
            directory: root.to_owned(),
            root: root.to_owned(),
            input: None,
            stdout: None,
        }
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Started by a command that ends in `exec`, such as `setpriv ...`. Later wrappers stand outside.
    pub fn wrapped(mut self, words: &[&str]) -> Self {
        let words = words.iter().map(OsString::from);
        self.wrapper.splice(0..0, words);
        self
    }

    /// Started by a shell after `script` has run, such as `umask 077`.
    pub fn after(self, script: &str) -> Self {
        let script = format!("{script} && exec \"$0\" \"$@\"");
        self.wrapped(&["sh", "-c", &script])
    }

    /// Under `strace -f OPTIONS`, whose trace goes to a file. Needs strace.
    pub fn traced(self, trace: &str, options: &[&str]) -> Self {
        self.wrapped(&[&["strace", "-f", "-qq", "-o", trace], options].concat())
    }

    /// With the rights of another user and no capabilities. Needs root, and setpriv of util-linux.
    #[allow(clippy::wrong_self_convention)] // it reads as the sentence it is
    pub fn as_user(self, uid: u32) -> Self {
        self.as_member(uid, &[])
    }

    /// The same as a member of these groups.
    #[allow(clippy::wrong_self_convention)] // it reads as the sentence it is
    pub fn as_member(mut self, uid: u32, groups: &[u32]) -> Self {
        // The build's own folder may lie where that user cannot go.
        let executable = PathBuf::from(&self.executable);
        let copy = self.root.join("bin").join(executable.file_name().unwrap());
        if executable.is_absolute() && !copy.exists() {
            std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
            content::set_mode(copy.parent().unwrap(), 0o755);
            // By a process of its own: a child that another thread forks at this moment would inherit our
            // descriptor, and a file that somebody may write cannot be executed.
            let status = Command::new("cp").arg(&executable).arg(&copy).status().unwrap();
            assert!(status.success(), "cp {}", executable.display());
            content::set_mode(&copy, 0o755);
        }
        if executable.is_absolute() {
            self.executable = copy.into();
        }
        let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
        let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
        let groups = match groups.as_slice() {
            [] => "--clear-groups".to_owned(),
            groups => format!("--groups={}", groups.join(",")),
        };
        self.wrapped(&["setpriv", &uid, &gid, &groups, "--"])
    }

    /// What it finds on standard input.
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_vec());
        self
    }

    /// Standard output goes there instead of being kept.
    pub fn stdout(mut self, target: impl Into<Stdio>) -> Self {
        self.stdout = Some(target.into());
        self
    }

    /// The program and its arguments, for another program that is to start it.
    pub fn words(&self) -> Vec<String> {
        let words = std::iter::once(&self.executable).chain(&self.arguments);
        words.map(|word| word.to_str().unwrap().to_owned()).collect()
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.push(self.executable.clone());
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.current_dir(&self.directory).stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub fn start(mut self) -> Running {
        let mut command = self.command();
        command.stdin(if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command.stdout(self.stdout.take().unwrap_or_else(Stdio::piped));
        let label = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{label}: {error}"));
        // It holds the writing end of a pipe that may have been given as standard output.
        drop(command);
        if let (Some(bytes), Some(mut stdin)) = (self.input.take(), child.stdin.take()) {
            // A program that reads nothing is no error of the test; its outcome tells.
            std::thread::spawn(move || stdin.write_all(&bytes));
        }
        let name = Path::new(&self.executable).file_name().unwrap_or_default();
        let running = Arc::new(Process {
            is_server: name == "shm_server"
                || self
                    .arguments
                    .first()
                    .is_some_and(|word| SERVES.contains(&word.to_str().unwrap_or_default())),
            label,
            pid: child.id(),
            stdout: Kept::from(child.stdout.take()),
            stderr: Kept::from(child.stderr.take()),
            child: Mutex::new(child),
            group: self.group.clone(),
        });
        self.group.0.lock().unwrap().push(running.clone());
        running
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().finish()
    }
}

/// A handle on a process that was started; the [`Group`] has another one.
pub type Running = Arc<Process>;

pub struct Process {
    pub label: String,
    pid: u32,
    is_server: bool,
    child: Mutex<Child>,
    stdout: Kept,
    stderr: Kept,
    group: Group,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    fn status(&self) -> Option<ExitStatus> {
        self.child.lock().unwrap().try_wait().unwrap()
    }

    pub fn is_running(&self) -> bool {
        self.status().is_none()
    }

    fn state(&self) -> String {
        self.status()
            .map_or_else(|| "running".to_owned(), |status| status.to_string())
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.bytes()
    }

    /// Waits until it has said this on standard error.
    #[track_caller]
    pub fn wait_for_stderr(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.stderr().contains(text) {
            let ended = self.status().is_some() && self.stderr.is_complete();
            let waits = !ended && Instant::now() < end;
            assert!(
                waits || self.stderr().contains(text),
                "{} never said {text:?}\n{}",
                self.label,
                self.group.story()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal by its name without SIG.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        send_signal(self.pid, signal);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Waits for its end; one that does not end is killed, and the test fails with what everybody said.
    #[track_caller]
    pub fn finish(&self) -> Outcome {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.status() {
                Some(status) if self.stdout.is_complete() && self.stderr.is_complete() => break status,
                // A child of its own may hold the pipes for ever: that is a failure as well.
                _ if Instant::now() >= end => {
                    self.kill();
                    panic!("{} does not end\n{}", self.label, self.group.story());
                }
                _ => std::thread::sleep(POLL),
            }
        };
        Outcome {
            code: status.code(),
            stdout: self.stdout.bytes(),
            stderr: self.stderr(),
            label: self.label.clone(),
            story: self.group.story(),
        }
    }
}

/// A pipe that is full but for some bytes: whoever writes more into it waits until somebody reads.
pub fn full_pipe(room: usize) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as it holds if nobody has changed that.
    writer.write_all(&vec![b'x'; 65536 - room]).unwrap();
    (reader, writer)
}

/// Sends a signal by its name without SIG, through a shell: not every machine has a program `kill`.
#[track_caller]
pub fn send_signal(pid: u32, signal: &str) {
    let script = format!("kill -{signal} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(status.success(), "{script}");
}
