//! The two processes of one measurement. This one measures; the other is this same program, started again
//! with `--pong`, pinned to another CPU, and gone when the measurement is over.
//!
//! The peer of a contestant in memory has our end of a pipe as its standard input: when it closes, we are
//! gone, and a peer that only looks at memory would otherwise look for ever.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Stdio};

use shmeld_os::process;

use crate::bare::{self, Acknowledge, BareEnd};
use crate::channel::{Contestant, Outcome};
use crate::leftovers;
use crate::ring::{self, Memory, RingEnd};
use crate::streams::StreamEnd;
use crate::work::{Kind, Work};

/// The first argument of the answering process.
pub const PONG: &str = "--pong";

/// Measures once. `cpus` are those of this process and of its peer.
pub fn measure(contestant: Contestant, work: Work, cpus: [u32; 2]) -> Outcome<f64> {
    process::restrict_to_cpu(cpus[0])?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(PONG).arg(contestant.name()).arg(cpus[1].to_string());
    command.arg(if work.kind == Kind::Echo {
        "echo"
    } else {
        "one-way"
    });
    for number in [work.bytes, work.warm_up, work.count] {
        command.arg(number.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    match contestant {
        Contestant::Ring | Contestant::Bare => {
            let bytes = if contestant == Contestant::Ring {
                ring::region_bytes(work.bytes)
            } else {
                bare::memory_bytes(work.bytes)
            };
            let (there, back) = (Memory::create(bytes)?, Memory::create(bytes)?);
            let peer = Peer::start(command.arg(there.path()).arg(back.path()))?;
            let seconds = match contestant {
                Contestant::Ring => work.ping(&mut RingEnd::new(&there, &back)?)?,
                _ => work.ping(&mut BareEnd::new(&there, &back, work.bytes, acknowledge(work))?)?,
            };
            peer.finish()?;
            Ok(seconds)
        }
        Contestant::Iceoryx => {
            let peer = Peer::start(command.arg(process::pid().to_string()))?;
            let seconds = iceoryx(process::pid(), false, work, |end| work.ping(end))?;
            peer.finish()?;
            Ok(seconds)
        }
        Contestant::Pipes => {
            let mut child = command.stdout(Stdio::piped()).spawn()?;
            let (Some(incoming), Some(outgoing)) = (child.stdout.take(), child.stdin.take()) else {
                unreachable!("both are pipes")
            };
            let seconds = work.ping(&mut StreamEnd { incoming, outgoing })?;
            succeeded(&mut child)?;
            Ok(seconds)
        }
        Contestant::Sockets => {
            let (ours, theirs) = UnixStream::pair()?;
            let mut child = command.stdin(OwnedFd::from(theirs)).spawn()?;
            // The command keeps the peer's socket open, and with it a dead peer's connection.
            drop(command);
            let (incoming, outgoing) = (&ours, &ours);
            let seconds = work.ping(&mut StreamEnd { incoming, outgoing })?;
            succeeded(&mut child)?;
            Ok(seconds)
        }
    }
}

/// The answering process: `arguments` are those after [`PONG`].
pub fn answer(arguments: &[String]) -> Outcome<()> {
    let [name, cpu, kind, bytes, warm_up, count, rest @ ..] = arguments else {
        return Err("--pong is for this program's own use".into());
    };
    process::restrict_to_cpu(cpu.parse()?)?;
    let contestant = Contestant::named(name).ok_or("no such contestant")?;
    let work = Work {
        kind: if kind == "echo" { Kind::Echo } else { Kind::OneWay },
        bytes: bytes.parse()?,
        warm_up: warm_up.parse()?,
        count: count.parse()?,
    };
    if contestant.is_memory() {
        end_with_parent();
    }
    match (contestant, rest) {
        (Contestant::Ring, [there, back]) => {
            let (there, back) = (Memory::open(there)?, Memory::open(back)?);
            work.pong(&mut RingEnd::new(&back, &there)?)
        }
        (Contestant::Bare, [there, back]) => {
            let (there, back) = (Memory::open(there)?, Memory::open(back)?);
            work.pong(&mut BareEnd::new(&back, &there, work.bytes, acknowledge(work))?)
        }
        (Contestant::Iceoryx, [owner]) => iceoryx(owner.parse()?, true, work, |end| work.pong(end)),
        (Contestant::Pipes, []) => {
            // Files of their own: those of the standard library buffer what they move.
            let incoming = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
            let outgoing = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
            work.pong(&mut StreamEnd { incoming, outgoing })
        }
        (Contestant::Sockets, []) => {
            let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
            work.pong(&mut StreamEnd {
                incoming: &socket,
                outgoing: &socket,
            })
        }
        _ => Err("--pong is for this program's own use".into()),
    }
}

fn acknowledge(work: Work) -> Acknowledge {
    match work.kind {
        Kind::Echo => Acknowledge::ByReply,
        Kind::OneWay => Acknowledge::ByWord,
    }
}

#[cfg(feature = "iceoryx2")]
fn iceoryx<T>(
    owner: u32,
    is_pong: bool,
    work: Work,
    run: impl FnOnce(&mut crate::iceoryx::IceoryxEnd) -> Outcome<T>,
) -> Outcome<T> {
    run(&mut crate::iceoryx::IceoryxEnd::new(
        owner, is_pong, work.bytes, work.kind,
    )?)
}

#[cfg(not(feature = "iceoryx2"))]
fn iceoryx<T>(_: u32, _: bool, _: Work, _: impl FnOnce(&mut Nothing) -> Outcome<T>) -> Outcome<T> {
    Err("built without the feature iceoryx2".into())
}

/// Stands where iceoryx2 would.
#[cfg(not(feature = "iceoryx2"))]
struct Nothing;

#[cfg(not(feature = "iceoryx2"))]
impl crate::channel::Channel for Nothing {
    fn send(&mut self, _: &[u8]) -> Outcome<()> {
        Ok(())
    }
    fn receive(&mut self, _: &mut [u8]) -> Outcome<()> {
        Ok(())
    }
}

/// A peer that lives in memory: watched, because a side that only looks would not notice its death.
struct Peer {
    watcher: std::thread::JoinHandle<Outcome<()>>,
    lifeline: Option<ChildStdin>,
}

impl Peer {
    fn start(command: &mut Command) -> Outcome<Self> {
        let mut child = command.spawn()?;
        let lifeline = child.stdin.take();
        let watcher = std::thread::spawn(move || {
            let outcome = succeeded(&mut child);
            if let Err(error) = &outcome {
                // The measuring thread looks at memory that will never change again.
                leftovers::end(&error.to_string());
            }
            outcome
        });
        Ok(Self { watcher, lifeline })
    }

    fn finish(self) -> Outcome<()> {
        let outcome = self.watcher.join();
        drop(self.lifeline);
        outcome.unwrap_or_else(|_| Err("the watcher of the other process failed".into()))
    }
}

fn succeeded(child: &mut Child) -> Outcome<()> {
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the other process ended with {status}").into())
    }
}

/// Ends this process when the standard input does.
fn end_with_parent() {
    std::thread::spawn(|| {
        // Nothing is ever sent here: a byte, an error and the end all mean that there is nobody to answer.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}
