//! The processes of `demo board`, and the key they share. Whatever happens, nothing stays under it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use shmeld::file::Interrupt;
use shmeld::os::process::random_bytes;
use shmeld::os::sysv::Key;
use shmeld::os::sysv::semaphore::SemaphoreSet;
use shmeld::os::sysv::shared_memory::Segment;

use super::demo_leftovers::exists;
use super::demo_process::{Owned, Trouble, ourselves, spawn};
use super::demo_stage::explain;

/// Nothing here takes a second; a machine that is busy with other things may take a while.
const LIMIT: Duration = Duration::from_secs(60);
/// The patience of each side with the other: less than ours with both.
const TIMEOUT: &str = "30s";
/// How often a process is looked at.
const POLL: Duration = Duration::from_millis(5);
/// How wide `--explain` writes a call and its object.
const STEP_COLUMNS: usize = 62;

/// What all processes have in common.
#[derive(Debug)]
pub struct Cast<'c> {
    /// The directory for what they say.
    pub stage: &'c Path,
    pub interrupt: &'c Interrupt,
    pub key: Key,
}

/// A process with a part to play.
#[derive(Debug)]
pub struct Actor<'c> {
    pub name: String,
    child: Owned,
    log: PathBuf,
    output: PathBuf,
    interrupt: &'c Interrupt,
}

impl<'c> Cast<'c> {
    /// A key that nobody uses.
    ///
    /// # Errors
    /// The kernel has no random bytes.
    pub fn new(stage: &'c Path, interrupt: &'c Interrupt) -> Result<Self, Trouble> {
        loop {
            let bytes = random_bytes::<4>().map_err(|error| error.to_string())?;
            // Any key will do but 0, which is none.
            let key = Key::new(u32::from_ne_bytes(bytes) | 1);
            if leftovers(key).is_empty() {
                return Ok(Self {
                    stage,
                    interrupt,
                    key,
                });
            }
        }
    }

    /// `shmeld board read`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_reader(&self, name: &str) -> Result<Actor<'c>, Trouble> {
        self.start(name, &["read"], None, false)
    }

    /// A reader whose output nobody takes.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_held_reader(&self, name: &str) -> Result<Actor<'c>, Trouble> {
        self.start(name, &["read"], None, true)
    }

    /// `shmeld board post --readers READERS -`
    ///
    /// # Errors
    /// It could not be started.
    pub fn start_poster(&self, name: &str, message: &[u8], readers: u32) -> Result<Actor<'c>, Trouble> {
        let input = self.stage.join("message");
        std::fs::write(&input, message).map_err(explain("write", &input))?;
        self.start(
            name,
            &["post", "--readers", &readers.to_string()],
            Some(&input),
            false,
        )
    }

    fn start(
        &self,
        name: &str,
        arguments: &[&str],
        input: Option<&Path>,
        is_held: bool,
    ) -> Result<Actor<'c>, Trouble> {
        let mut command = ourselves();
        command.arg("board").args(arguments);
        command.args(["--explain", "--timeout", TIMEOUT, "--key", &self.key.to_string()]);
        command.stdin(match input {
            Some(path) => Stdio::from(File::open(path).map_err(explain("open", path))?),
            None => Stdio::null(),
        });
        Actor::start(name, command, self.stage, self.interrupt, is_held)
    }

    /// What is there under the key.
    #[must_use]
    pub fn leftovers(&self) -> Vec<&'static str> {
        leftovers(self.key)
    }
}

fn leftovers(key: Key) -> Vec<&'static str> {
    let set = exists(SemaphoreSet::open(key, 0).map(drop));
    let segment = exists(Segment::open(key, 0).map(drop));
    let found = [(set, "a set"), (segment, "a segment")];
    found
        .into_iter()
        .filter_map(|(is_there, what)| is_there.then_some(what))
        .collect()
}

impl Drop for Cast<'_> {
    /// A poster that is killed because the demonstration ends early removes nothing. The key is random: what is there is ours.
    fn drop(&mut self) {
        let _ = Segment::open(self.key, 0).map(|segment| segment.remove());
        let _ = SemaphoreSet::open(self.key, 0).map(|set| set.remove());
    }
}

impl<'c> Actor<'c> {
    /// Starts a process that says what it says into files on the stage; its output goes nowhere at all if it `is_held`.
    ///
    /// # Errors
    /// It could not be started.
    pub fn start(
        name: &str,
        mut command: Command,
        stage: &Path,
        interrupt: &'c Interrupt,
        is_held: bool,
    ) -> Result<Self, Trouble> {
        let path = |ending: &str| stage.join(format!("{name}.{ending}"));
        let create = |path: &Path| File::create(path).map_err(explain("create", path));
        let (log, output) = (path("log"), path("output"));
        command.stdout(if is_held {
            Stdio::piped()
        } else {
            Stdio::from(create(&output)?)
        });
        command.stderr(create(&log)?);
        Ok(Self {
            name: name.to_owned(),
            child: Owned(spawn(&mut command, None)?.0),
            log,
            output,
            interrupt,
        })
    }

    /// Waits until it has said something.
    ///
    /// # Errors
    /// It ended without, or we were told to stop.
    pub fn await_word(&mut self, word: &str) -> Result<(), Trouble> {
        let start = Instant::now();
        loop {
            let has_ended = self.child.wait(Duration::ZERO).is_ok();
            if self.has_said(word) {
                return Ok(());
            }
            if has_ended || start.elapsed() > LIMIT {
                return Err(Trouble::Failed(format!(
                    "the {} never said \"{word}\": {}",
                    self.name,
                    self.said()
                )));
            }
            self.pause()?;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not come, or we were told to stop.
    pub fn end(&mut self) -> Result<ExitStatus, Trouble> {
        let start = Instant::now();
        loop {
            match self.child.wait(Duration::ZERO) {
                Ok(status) => return Ok(status),
                Err(message) if start.elapsed() > LIMIT => return Err(Trouble::Failed(message)),
                Err(_) => self.pause()?,
            }
        }
    }

    fn pause(&self) -> Result<(), Trouble> {
        self.interrupt.check().map_err(|_| Trouble::Interrupted)?;
        std::thread::sleep(POLL);
        Ok(())
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        // It may have ended this moment, which is as good.
        let _ = self.child.0.kill();
        let _ = self.child.0.wait();
    }

    #[must_use]
    pub fn has_said(&self, word: &str) -> bool {
        self.said().contains(word)
    }

    /// What it wrote to standard output.
    #[must_use]
    pub fn output(&self) -> Vec<u8> {
        std::fs::read(&self.output).unwrap_or_default()
    }

    /// The calls that it told, without their object, which is always the key; and why.
    #[must_use]
    pub fn steps(&self) -> Vec<(String, String)> {
        self.said().lines().filter_map(step).collect()
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

/// A line of `--explain` as call and reason.
fn step(line: &str) -> Option<(String, String)> {
    let (_, told) = line.split_once(" ms  ")?;
    let (step, why) = told.split_at_checked(STEP_COLUMNS)?;
    let call = step.split(' ').next()?;
    Some((call.to_owned(), why.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::step;

    #[test]
    fn a_step_has_a_call_and_a_reason() {
        let line = format!(
            "    shmeld      0.46 ms  {:<62} POSTER from 0 to 1",
            "semop 0x00001234"
        );
        assert_eq!(
            step(&line),
            Some(("semop".to_owned(), "POSTER from 0 to 1".to_owned()))
        );
        assert_eq!(step("shmeld: board 0x00001234: posted 5 bytes"), None);
    }
}
