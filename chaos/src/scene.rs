//! What goes on when something is broken: a server, a client, one kind of work, and the judgement of what is left of it.

use std::io::Read;
use std::process::{ChildStdout, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use syscalls::Sysno;

use crate::program::{Ended, Running, send_signal};
use crate::tracer::{Deed, Exit, Point, Traced};
use crate::world::{Expected, PATIENCE, World};

/// How long a side may take to notice the other's death, and everything that follows from it.
pub const NOTICE_MAX: Duration = Duration::from_secs(2);
/// The client's patience with an absent server; far less than [`PATIENCE`].
const WAIT: &str = "20s";

/// The work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Three files into an empty folder, through one page.
    Get,
    /// The same over files that exist, through 1 MiB.
    Replace,
    /// A tree, through one page.
    Tree,
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
const LONG: &str = "long";

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
    fn asked(self) -> &'static [&'static str] {
        match self {
            Self::Get | Self::Replace => &FILES,
            Self::Tree => &TREE,
            Self::Shutdown => &[],
        }
    }

    fn older(self) -> &'static [&'static str] {
        if self == Self::Replace { &FILES } else { &[] }
    }

    fn arguments(self, output: &str) -> Vec<&str> {
        let mut arguments = vec!["--wait", WAIT, "-o", output];
        match self {
            Self::Get => arguments.extend(FILES),
            Self::Replace => arguments.extend(["--region", "1MiB"].into_iter().chain(FILES)),
            Self::Tree => arguments.extend(["-r", "tree"]),
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

/// How everybody ended.
struct Outcome {
    client: Ended,
    server: Ended,
    rescue: Option<Ended>,
    /// What came out of the client's standard output.
    received: Option<Received>,
    /// When the server was asked to stop.
    asked_at: Instant,
}

/// Runs the work once and judges what is left.
///
/// # Errors
/// What did not hold.
pub fn run(world: &World, work: Work, victim: Victim, point: Point, deed: Deed) -> Result<Run, String> {
    world.clear_output(work.older())?;
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
    if result.is_err() {
        world.mop_up();
    }
    result
}

impl Stage<'_> {
    fn play(mut self, point: Point) -> Result<Outcome, String> {
        self.server
            .wait_until_it_says("serving", Instant::now() + PATIENCE)?;
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
        // A second SIGTERM would mean: at once.
        let asked_at = received
            .as_ref()
            .and_then(|received| received.asked_at)
            .unwrap_or_else(|| {
                self.server.signal(Signal::SIGTERM);
                Instant::now()
            });
        let server = self.server.finish(asked_at + PATIENCE)?;
        if self.rescue.is_none() && server.exit == Exit::Signal(Signal::SIGKILL) {
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
            asked_at,
        })
    }

    /// A server that is gone is followed by another, as an operator would do.
    fn call_for_rescue(&mut self) -> Result<(), String> {
        if self.rescue.is_none() && self.server.is_over() {
            self.rescue = Some(self.world.serving()?);
        }
        Ok(())
    }
}

/// What a slow reader got from the client.
struct Received {
    bytes: Vec<u8>,
    /// When it asked the server to stop: after the first byte, if one came.
    asked_at: Option<Instant>,
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

impl Outcome {
    fn story(&self) -> String {
        let rescue = self.rescue.as_ref().map_or_else(String::new, |rescue| {
            format!("\nsecond server: {:?} {}", rescue.exit, rescue.stderr)
        });
        let (client, server) = (&self.client, &self.server);
        let traced = [client, server]
            .into_iter()
            .find_map(|ended| ended.traced.as_ref()?.hit);
        let call = traced.map_or("no call", |(call, _)| call.name());
        format!(
            "at {call}\nclient: {:?} {}\nserver: {:?} {}{rescue}",
            client.exit, client.stderr, server.exit, server.stderr
        )
    }
}

/// What must hold, whatever was done to whom.
fn judge(world: &World, work: Work, victim: Victim, deed: Deed, outcome: &Outcome) -> Result<Run, String> {
    let Outcome { client, server, .. } = outcome;
    let broken = match victim {
        Victim::Client => client,
        Victim::Server => server,
    };
    let traced = broken.traced.clone().ok_or("the victim was not traced")?;
    let deed = if traced.hit.is_some() { deed } else { Deed::Watch };
    let call = traced.hit.map(|(call, _)| call);
    judge_exits(victim, deed, outcome)?;
    let succeeded = client.exit == Exit::Code(0);
    let expected = if succeeded {
        Expected::All
    } else {
        Expected::WholeOrNothing
    };
    let unfinished = world.check_output(expected, work.asked(), work.older())?;
    let may_leave = victim == Victim::Client && (deed == Deed::Kill || call.is_some_and(removes_names));
    if !unfinished.is_empty() && !may_leave {
        return Err(format!("unfinished outputs are left: {unfinished:?}"));
    }
    if let Some(Received { bytes: received, .. }) = &outcome.received {
        let offered = world.offered(LONG);
        if !offered.starts_with(received) || succeeded && received.len() < offered.len() {
            return Err(format!(
                "standard output: {} bytes, wrong or short",
                received.len()
            ));
        }
    }
    if matches!(deed, Deed::Fail(_)) && call.is_some_and(removes_names) {
        world.sweep_own()?;
    }
    world.check_objects()?;
    let noticed_after = (deed == Deed::Kill)
        .then_some(traced.hit)
        .flatten()
        .map(|(_, at)| match victim {
            Victim::Client => server.at.duration_since(at.max(outcome.asked_at)),
            Victim::Server => client.at.saturating_duration_since(at),
        });
    match noticed_after {
        Some(after) if after > NOTICE_MAX => Err(format!("the death was noticed after {after:?}")),
        _ => Ok(Run {
            traced,
            noticed_after,
        }),
    }
}

fn judge_exits(victim: Victim, deed: Deed, outcome: &Outcome) -> Result<(), String> {
    let Outcome {
        client,
        server,
        rescue,
        ..
    } = outcome;
    let codes = |codes: &[i32]| codes.iter().map(|&code| Exit::Code(code)).collect::<Vec<_>>();
    // 127 is the dynamic linker's: it could not even load the program.
    let (clients, servers) = match (deed, victim) {
        (Deed::Watch | Deed::Stop(_), _) => (codes(&[0]), codes(&[0])),
        (Deed::Kill, Victim::Client) => (vec![Exit::Signal(Signal::SIGKILL)], codes(&[0])),
        (Deed::Kill, Victim::Server) => (codes(&[0, 4]), vec![Exit::Signal(Signal::SIGKILL)]),
        (Deed::Fail(_), Victim::Client) => (codes(&[0, 1, 3, 4, 127]), codes(&[0])),
        (Deed::Fail(_), Victim::Server) => (codes(&[0, 1, 3, 4]), codes(&[0, 3, 127])),
    };
    for (who, ended, allowed) in [("client", client, clients), ("server", server, servers)] {
        if ended
            .traced
            .as_ref()
            .is_some_and(|traced| traced.hit.is_some() && !traced.begun)
        {
            continue;
        }
        if !allowed.contains(&ended.exit) {
            return Err(format!("the {who} ended with {:?}", ended.exit));
        }
        if ended.stderr.contains("panicked") && !ended.stderr.contains(STACK_OF_A_THREAD) {
            return Err(format!("the {who} panicked"));
        }
    }
    match rescue {
        Some(rescue) if rescue.exit != Exit::Code(0) => Err("the second server did not end well".to_owned()),
        _ => Ok(()),
    }
}

/// What the standard library says when a thread cannot begin; that thread's work is then not done, and the rest goes on.
const STACK_OF_A_THREAD: &str = "alternative stack";

/// Whether the failure of this call is the reason why a name can stay.
fn removes_names(call: Sysno) -> bool {
    matches!(
        call,
        Sysno::unlink
            | Sysno::unlinkat
            | Sysno::mq_unlink
            | Sysno::rename
            | Sysno::renameat
            | Sysno::renameat2
    )
}
