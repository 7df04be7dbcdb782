//! `shmeld demo meld`: two unrelated processes, one memory; one terminal for both, or with `--role` one for each.

use std::borrow::Cow;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::Duration;

use shmeld::file::Interrupt;
use shmeld::os::posix::shm::SharedMemory;
use shmeld::os::{ObjectName, event};

use super::demo_meld_object::remove_stale;
use super::demo_meld_role;
use super::demo_process::{Owned, Trouble, ourselves, show_status, spawn};
use super::demo_story::Story;
use crate::args_demo::DemoArgs;
use crate::program::{Program, exit, refused};

/// How A's line begins when its memory has a name.
const WAITS: &str = " wait ";
/// How often the wish to stop is looked at.
const SLICE: Duration = Duration::from_millis(50);
/// How long a process may take to end after its last word.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &DemoArgs) -> u8 {
    if let Some(role) = args.role {
        return demo_meld_role::run(program, role, args);
    }
    play(program, args).unwrap_or_else(|trouble| trouble.tell(program))
}

/// Both processes, started by this one, which is no part of their talk: it only shows what they say, in the order in which they say it.
fn play(program: &Program, args: &DemoArgs) -> Result<u8, Trouble> {
    let interrupt = program.interrupt_and_clean_up();
    let mut story = Story::new();
    story.title("shmeld demo meld: two unrelated processes, one memory of 1024 bytes");
    let (reader, writer) =
        std::io::pipe().map_err(|error| refused("pipe", "standard error", &error).to_string())?;
    let mut talk = Talk {
        reader,
        said: Vec::new(),
        shown: 0,
    };
    story.step("Process A makes the memory");
    let _remover = Remover(&args.object);
    let mut a = start("a", args, &writer)?;
    let mut is_interrupted = talk.show_until(&interrupt, |said| said.contains(WAITS) || has_ended(&mut a))?;
    let mut b = None;
    if !is_interrupted && talk.said().contains(WAITS) {
        story.step("Process B finds it; they talk; A removes it");
        b = Some(start("b", args, &writer)?);
    }
    // From here on the pipe ends with those who speak.
    drop(writer);
    is_interrupted = is_interrupted
        || talk.show_until(&interrupt, |_| {
            // A lease tells of the death of who was seen. Who died before that would be waited for in vain.
            if [Some(&mut a), b.as_mut()].into_iter().flatten().any(has_failed) {
                give_up([Some(&mut a), b.as_mut()]);
            }
            false
        })?;
    if is_interrupted {
        drop((a, b));
        // Both are gone, killed: what A could not remove is ours to remove.
        let removed = remove_stale(&args.object);
        return Ok(removed.map_or_else(|failure| failure.tell(program), |_| program.signal_code()));
    }
    let mut codes = Vec::new();
    for process in [Some(&mut a), b.as_mut()].into_iter().flatten() {
        let status = process.wait(END_LIMIT);
        let code = status.as_ref().ok().and_then(|status| status.code());
        codes.push(
            code.and_then(|code| u8::try_from(code).ok())
                .unwrap_or(exit::PEER),
        );
        story.check(
            code == Some(0),
            "each process ends with exit code 0",
            &show_status(status),
        );
    }
    let worst = codes.into_iter().max().unwrap_or_default();
    Ok(conclude(args, &mut story, &talk, worst))
}

fn start(role: &str, args: &DemoArgs, writer: &PipeWriter) -> Result<Owned, String> {
    let wait = args
        .wait
        .0
        .map_or_else(|| "forever".to_owned(), |wait| format!("{}ms", wait.as_millis()));
    let writer = writer
        .try_clone()
        .map_err(|error| refused("fcntl(F_DUPFD_CLOEXEC)", "standard error", &error).to_string())?;
    let mut command = ourselves();
    command.args(["demo", "meld", "--role", role, "--wait", &wait]);
    command.args(["--object", &args.object.to_string()]);
    // It ends when nobody holds the other end of its standard input any more: when we give it up, or however we end.
    command.arg("--until-stdin-closes").stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(writer);
    Ok(Owned(spawn(&mut command, None)?.0))
}

/// Tells those that still run that nobody wants them any more.
fn give_up(processes: [Option<&mut Owned>; 2]) {
    for process in processes.into_iter().flatten() {
        drop(process.0.stdin.take());
    }
}

fn has_failed(process: &mut Owned) -> bool {
    matches!(process.0.try_wait(), Ok(Some(status)) if !status.success())
}

/// Removes what a killed A has left, once both processes are gone.
struct Remover<'a>(&'a ObjectName);

impl Drop for Remover<'_> {
    fn drop(&mut self) {
        // What is not ours, or in use, is told by those who meet it.
        let _ = remove_stale(self.0);
    }
}

fn has_ended(process: &mut Owned) -> bool {
    !matches!(process.0.try_wait(), Ok(None))
}

fn conclude(args: &DemoArgs, story: &mut Story, talk: &Talk, worst: u8) -> u8 {
    let heard = ["\"I am A: ", "\"I am B: "]
        .iter()
        .all(|words| talk.said().contains(words));
    story.check(heard, "each process has read what the other wrote", "it has not");
    let is_gone = SharedMemory::stat_name(&args.object).is_err();
    story.check(is_gone, "the name is gone", "it is still there");
    let (held, failed) = story.verdict();
    if !failed.is_empty() {
        story.conclude(&format!("{} checks failed.", failed.len()));
        return worst.max(exit::NOT_DELIVERED);
    }
    story.conclude(&format!("{held} checks held: nothing left behind."));
    story.conclude("Now you, in two terminals, in either order; end one of them with kill -9:");
    story.tell(&args.meld_command("a"));
    story.tell(&args.meld_command("b"));
    exit::DONE
}

/// What both processes say, through one pipe.
struct Talk {
    reader: PipeReader,
    said: Vec<u8>,
    /// How much of it has been shown.
    shown: usize,
}

impl Talk {
    /// Shows whole lines as they come, until `is_enough` says so of them, or all who could speak have ended. `true` if we were told to stop.
    fn show_until(
        &mut self,
        interrupt: &Interrupt,
        mut is_enough: impl FnMut(&str) -> bool,
    ) -> Result<bool, String> {
        let mut buffer = [0; 4096];
        loop {
            if interrupt.check().is_err() {
                return Ok(true);
            }
            if is_enough(&self.said()) {
                return Ok(false);
            }
            let ready =
                event::poll(&[self.reader.as_fd()], Some(SLICE)).map_err(|error| error.to_string())?;
            if !ready[0] {
                continue;
            }
            let bytes = match self.reader.read(&mut buffer) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(refused("read from", "a process", &error).to_string()),
            };
            self.said.extend_from_slice(&buffer[..bytes]);
            self.show();
            if bytes == 0 {
                return Ok(false);
            }
        }
    }

    fn show(&mut self) {
        let whole = self
            .said
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        if self.shown < whole {
            // Whoever stopped reading wants no more, but what was begun is still cleaned up.
            let _ = std::io::stdout().write_all(&self.said[self.shown..whole]);
            self.shown = whole;
        }
    }

    /// What has been shown.
    fn said(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.said[..self.shown])
    }
}
