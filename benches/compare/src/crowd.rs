//! Several clients at once: all stand at a gate, start together, and each is timed to its exit.

use std::cell::RefCell;
use std::io::{PipeWriter, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Instant;

use shmeld_cli::commands::bench_arena::Arena;
use shmeld_cli::commands::bench_numbers::Sample;
use shmeld_cli::commands::bench_race::Race;
use shmeld_cli::commands::demo_process::Trouble;

use crate::grounds::Grounds;
use crate::runner::{Arrival, Contest, Runner};

/// The region of the clients.
const REGION_BYTES: u64 = 1 << 20;

/// Processes that wait for the start.
#[derive(Debug)]
struct Crowd {
    children: Vec<Child>,
    gate: PipeWriter,
}

impl Crowd {
    /// Starts a process for each command, and returns when all stand at the gate.
    fn assemble(commands: &[Command]) -> std::io::Result<Self> {
        let (waiting, gate) = std::io::pipe()?;
        let (mut ready, tell) = std::io::pipe()?;
        let mut crowd = Self {
            children: Vec::new(),
            gate,
        };
        for command in commands {
            let mut child = Command::new("/proc/self/exe");
            child
                .args(["role", "gate"])
                .arg(command.get_program())
                .arg("--")
                .args(command.get_args());
            child
                .stdin(Stdio::from(waiting.try_clone()?))
                .stdout(Stdio::from(tell.try_clone()?));
            crowd.children.push(child.spawn()?);
        }
        // Only the children can still say that they are ready; if one dies before, `read_exact` does not wait for ever.
        drop(tell);
        ready.read_exact(&mut vec![0; commands.len()])?;
        Ok(crowd)
    }

    /// Opens the gate. How long each process took, in the order of the commands.
    fn run(self) -> Result<Vec<f64>, String> {
        let start = Instant::now();
        drop(self.gate);
        let wait = |mut child: Child| {
            let status = child
                .wait()
                .map_err(|error| format!("wait for a client: {error}"))?;
            if status.success() {
                Ok(start.elapsed().as_secs_f64())
            } else {
                Err(format!("a client: {status}"))
            }
        };
        std::thread::scope(|scope| {
            let waiting: Vec<_> = self
                .children
                .into_iter()
                .map(|child| scope.spawn(move || wait(child)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<f64, String>>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("a thread that waits panicked".to_owned()))
            };
            // All are waited for, also if one failed.
            let times: Vec<_> = waiting.into_iter().map(join).collect();
            times.into_iter().collect()
        })
    }
}

/// The slowest by the fastest.
fn unfairness(times: &[f64]) -> f64 {
    let most = times.iter().copied().fold(0.0, f64::max);
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    most / least
}

/// A run in which each of `names` is fetched by a client of its own.
fn runner<'a>(
    arena: &'a Arena<'a>,
    race: Rc<Race<'a>>,
    names: &[String],
    ratios: Option<Rc<RefCell<Vec<f64>>>>,
) -> Runner<'a> {
    let output = |index: usize| -> PathBuf { arena.directory().join(format!("output-{index}")) };
    let files: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (arena.directory().join(name), output(index)))
        .collect();
    let commands: Vec<Command> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let mut command = race.get(name, &output(index));
            command.args(["--region", &REGION_BYTES.to_string()]);
            command
        })
        .collect();
    Runner {
        name: match names.len() {
            1 => "1 client".to_owned(),
            many => format!("{many} clients at once"),
        },
        bytes: arena.bytes,
        server: Some(race.server_pid()),
        arrival: Arrival::Files(files),
        run: Box::new(move || {
            let (used, by_children) = (arena.site.meters.process, arena.site.meters.children);
            let crowd = Crowd::assemble(&commands).map_err(|error| format!("start of clients: {error}"))?;
            let (before, before_children) = (used(race.server_pid()), by_children());
            let times = crowd.run()?;
            if let Some(ratios) = &ratios {
                ratios.borrow_mut().push(unfairness(&times));
            }
            Ok(Sample {
                seconds: times.iter().copied().fold(0.0, f64::max),
                reader_cpu: by_children() - before_children,
                writer_cpu: used(race.server_pid()) - before,
            })
        }),
    }
}

/// So many clients at once, each with its part, against one client with a file as large as all parts.
pub fn contest<'a>(
    grounds: &'a Grounds<'a>,
    arena: &'a Arena<'a>,
    clients: u64,
) -> Result<Contest<'a>, Trouble> {
    let parts = grounds.parts(arena, clients)?;
    let placement = grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu());
    let race = Rc::new(Race::prepare(arena, placement)?);
    let ratios = Rc::new(RefCell::new(Vec::new()));
    Ok(Contest {
        arena,
        ours: runner(arena, race.clone(), &parts, Some(ratios.clone())),
        rival: runner(arena, race, &[Arena::SOURCE.to_owned()], None),
        unfairness: Some(ratios),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfairness_is_the_slowest_by_the_fastest() {
        assert_eq!(unfairness(&[1.0, 3.0, 2.0]), 3.0);
        assert_eq!(unfairness(&[2.0]), 1.0);
    }
}
