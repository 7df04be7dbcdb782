//! What goes on when something is broken: a server, a client, one kind of work, and the judgement of what is left of it.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::judge::{Outcome, Received, judge};
use crate::program::{Ended, Running, send_signal};
use crate::tracer::{Deed, Exit, Point, Traced};
use crate::world::{Expected, PATIENCE, World};

/// How long a side may take to notice the other's death, and everything that follows from it.
pub const NOTICE_MAX: Duration = Duration::from_secs(1);
/// A server that was asked to stop gives its sessions five seconds.
const STOP_PATIENCE: Duration = Duration::from_secs(7);
/// What this harness may be late itself on a busy machine.
pub const SLACK: Duration = Duration::from_millis(300);
/// The client's patience with an absent server; far less than [`PATIENCE`].
const WAIT: &str = "3s";

/// The work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Three files into an empty folder, through one page.
    Get,
    /// The same over files that exist, through 1 MiB.
    Replace,
    /// A tree, through one page.
    Tree,
    /// Three files with `--resume`, of one of which a part is there, and of another an older form; afterwards once more, unharmed.
    Resume,
    /// The server is asked to stop in the middle of a file whose client is slow.
    Shutdown,
}

/// Who is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// What one run was like.
pub struct Run {
    /// What the victim's tracer saw.
    pub traced: Traced,
    /// From the victim's death to the other side's end, if the victim was killed while the other ran.
    pub noticed_after: Option<Duration>,
}

const FILES: [&str; 3] = ["many-slots", "one-slot", "empty"];
const TREE: [&str; 7] = [
    "tree/a/one",
    "tree/a/two",
    "tree/b/c/three",
    "tree/b/four",
    "tree/five",
    "tree/six",
    "tree/.seven",
];
/// The file of [`Work::Shutdown`].
pub const LONG: &str = "long";

/// The bytes of [`LONG`]: more than a pipe and a region hold, so that its client is surely in the middle.
const LONG_BYTES: usize = 300_000;

/// Puts into a world what the work needs.
///
/// # Errors
/// If a file cannot be written.
pub fn furnish(world: &mut World) -> Result<(), String> {
    for (path, len) in FILES.iter().zip([50_000, 1_000, 0]) {
        world.offer(path, len)?;
    }
    for (path, len) in TREE.iter().zip([9_000, 10, 4_000, 0, 3_776, 1, 20]) {
        world.offer(path, len)?;
    }
    world.offer(LONG, LONG_BYTES)
}

impl Work {
    /// The files that must be there after success.
    pub fn asked(self) -> &'static [&'static str] {
        match self {
            Self::Get | Self::Replace | Self::Resume => &FILES,
            Self::Tree => &TREE,
            Self::Shutdown => &[],
        }
    }

    /// The files that were there before.
    pub fn older(self) -> &'static [&'static str] {
        match self {
            Self::Replace => &FILES,
            Self::Resume => &FILES[..1],
            Self::Get | Self::Tree | Self::Shutdown => &[],
        }
    }

    fn arguments(self, output: &str) -> Vec<&str> {
        let mut arguments = vec!["--wait", WAIT, "-o", output];
        match self {
            Self::Get => arguments.extend(FILES),
            Self::Replace => arguments.extend(["--region", "1MiB"].into_iter().chain(FILES)),
            Self::Tree => arguments.extend(["-r", "tree"]),
            Self::Resume => arguments.extend(["--resume"].into_iter().chain(FILES)),
            Self::Shutdown => {
                arguments[3] = "-";
                arguments.push(LONG);
            }
        }
        arguments
    }
}

/// The processes of one run.
struct Stage<'a> {
    world: &'a World,
    work: Work,
    victim: Victim,
    deed: Deed,
    server: Running,
    /// Started when the first server is gone: the client may go on with it, and the next start must work unattended.
    rescue: Option<Running>,
}

/// Runs the work once and judges what is left.
///
/// # Errors
/// What did not hold.
pub fn run(world: &World, work: Work, victim: Victim, point: Point, deed: Deed) -> Result<Run, String> {
    world.clear_output(work.older())?;
    if work == Work::Resume {
        leave_part(world)?;
    }
    let server = world.server(&[]);
    let server = match victim {
        Victim::Server => server.start_traced(&world.said(), point, deed)?,
        Victim::Client => server.start(&world.said())?,
    };
    let stage = Stage {
        world,
        work,
        victim,
        deed,
        server,
        rescue: None,
    };
    let result = stage.play(point).and_then(|outcome| {
        let judged = judge(world, work, victim, deed, &outcome);
        judged.map_err(|what| format!("{what}\n{}", outcome.story()))
    });
    let result = result.and_then(|run| {
        if work == Work::Resume {
            go_on(world).map_err(|what| format!("resumed: {what}"))?;
        }
        Ok(run)
    });
    if result.is_err() {
        world.mop_up();
    }
    result
}

/// As an earlier transfer would have left it.
fn leave_part(world: &World) -> Result<(), String> {
    let path = world.output().join(format!(".{}.shmeld-part", FILES[0]));
    let bytes = world.offered(FILES[0]);
    std::fs::write(&path, &bytes[..bytes.len() / 2]).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whatever was left, the next transfer makes the files of it, and nothing else stays.
fn go_on(world: &World) -> Result<(), String> {
    let server = world.serving()?;
    let output = format!("{}/", world.output().display());
    let client = world.client(&Work::Resume.arguments(&output));
    let client = client.start(&world.said())?.finish(Instant::now() + PATIENCE)?;
    server.signal(Signal::SIGTERM);
    server.finish(Instant::now() + PATIENCE)?;
    if client.exit != Exit::Code(0) {
        return Err(format!("{:?}: {}", client.exit, client.stderr));
    }
    let unfinished = world.check_output(Expected::All, &FILES, &[])?;
    if unfinished.is_empty() {
        Ok(())
    } else {
        Err(format!("unfinished outputs are left: {unfinished:?}"))
    }
}

impl Stage<'_> {
    fn play(mut self, point: Point) -> Result<Outcome, String> {
        self.wait_for_the_server()?;
        self.call_for_rescue()?;
        let output = format!("{}/", self.world.output().display());
        let mut program = self.world.client(&self.work.arguments(&output));
        if self.work == Work::Shutdown {
            program = program.stdout(Stdio::piped());
        }
        let mut client = match self.victim {
            Victim::Client => program.start_traced(&self.world.said(), point, self.deed)?,
            Victim::Server => program.start(&self.world.said())?,
        };
        let reader = client
            .take_stdout()
            .map(|pipe| read_slowly(pipe, self.server.pid()));
        let deadline = Instant::now() + PATIENCE;
        while !client.is_over() && Instant::now() < deadline {
            self.call_for_rescue()?;
            std::thread::sleep(Duration::from_micros(300));
        }
        let client = client.finish(deadline)?;
        let received = reader.and_then(|reader| reader.join().ok());
        let freed_at = self.wait_until_freed(&client)?;
        // A second SIGTERM would mean: at once.
        let asked_at = received
            .as_ref()
            .and_then(|received| received.asked_at)
            .unwrap_or_else(|| {
                self.server.signal(Signal::SIGTERM);
                Instant::now()
            });
        if matches!(self.deed, Deed::Fail(_)) {
            // Whose first signal was lost on the way is asked again, as by anybody who waits for it.
            while !self.server.is_over() && asked_at.elapsed() < STOP_PATIENCE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !self.server.is_over() {
                self.server.signal(Signal::SIGTERM);
            }
        }
        let server = self.server.finish(asked_at + PATIENCE)?;
        if self.rescue.is_none() && matches!(server.exit, Exit::Signal(_)) {
            self.rescue = Some(self.world.serving()?);
        }
        let rescue = self.rescue.map(|rescue| {
            rescue.signal(Signal::SIGTERM);
            rescue.finish(Instant::now() + PATIENCE)
        });
        Ok(Outcome {
            client,
            server,
            rescue: rescue.transpose()?,
            received,
            freed_at,
        })
    }

    /// Until it can be used or has ended. It says so; but what it says may be the call that fails.
    fn wait_for_the_server(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while !self.server.is_over() && !self.server.stderr().contains("serving") {
            if start.elapsed() > SLACK && self.world.is_served() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err("the server never became ready".to_owned());
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }

    /// After the client's death: when its server has no region mapped any more.
    fn wait_until_freed(&self, client: &Ended) -> Result<Option<Instant>, String> {
        if client.exit != Exit::Signal(Signal::SIGKILL) || self.work == Work::Shutdown {
            return Ok(None);
        }
        let deadline = client.at + NOTICE_MAX + SLACK;
        while maps_a_region(self.server.pid()) {
            if Instant::now() >= deadline {
                return Err(format!(
                    "the session of a dead client still stands after {:?}",
                    client.at.elapsed()
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some(Instant::now()))
    }

    /// A server that is gone is followed by another, as an operator would do.
    fn call_for_rescue(&mut self) -> Result<(), String> {
        if self.rescue.is_none() && self.server.is_over() {
            self.rescue = Some(self.world.serving()?);
        }
        Ok(())
    }
}

/// Whether a process has a client's region mapped.
fn maps_a_region(pid: u32) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines()
        .any(|line| line.contains("/dev/shm/shmeld.") && !line.contains(".gate"))
}

/// Takes one byte, asks the server to stop while its client cannot go on, and takes the rest.
fn read_slowly(mut pipe: ChildStdout, server: u32) -> JoinHandle<Received> {
    std::thread::spawn(move || {
        let mut bytes = vec![0];
        if !matches!(pipe.read(&mut bytes), Ok(1)) {
            return Received {
                bytes: Vec::new(),
                asked_at: None,
            };
        }
        send_signal(server, Signal::SIGTERM);
        let asked_at = Some(Instant::now());
        std::thread::sleep(Duration::from_millis(2));
        // What cannot be read is missing, and that is judged.
        let _ = pipe.read_to_end(&mut bytes);
        Received { bytes, asked_at }
    })
}
