//! One timed run: who transfers, on which CPUs, in how many seconds.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::bench_arena::Arena;
use super::bench_memory::MemoryWatch;
use super::bench_numbers::{Memory, Peak, Sample};
use super::demo_process::{Owned, ServerProcess, Trouble, Watch, spawn};
use super::demo_stage::same_bytes;

/// A run that takes longer is stuck.
const RUN_LIMIT: Duration = Duration::from_secs(600);
/// How long a client may take to end when its server does.
const PATIENCE: Duration = Duration::from_secs(8);

/// Who transfers a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// `shmeld get` with a region of this many bytes, from a server that runs already.
    Ours { region_bytes: u64 },
    /// One page and two semaphores that block.
    LockStep,
    /// The copy program of the system.
    Copy,
}

impl Contestant {
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Ours { region_bytes: 4096 } => "shmeld get --region 4096".to_owned(),
            Self::Ours { .. } => "shmeld get".to_owned(),
            Self::LockStep => "lock-step semaphores".to_owned(),
            Self::Copy => "cp".to_owned(),
        }
    }

    /// How many bytes a run of it moves.
    #[must_use]
    pub fn bytes(self, arena: &Arena<'_>) -> u64 {
        match self {
            Self::LockStep => arena.short_bytes(),
            Self::Ours { .. } | Self::Copy => arena.bytes,
        }
    }
}

/// On which CPUs the two processes run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Ours where the scheduler puts them, as users get it; lock-step's writer and reader on these two.
    Two(u32, u32),
    /// All on this one.
    One(u32),
}

impl Placement {
    fn of_lock_step(self) -> (u32, u32) {
        match self {
            Self::Two(writer, reader) => (writer, reader),
            Self::One(cpu) => (cpu, cpu),
        }
    }

    /// Where everything but lock-step runs; `None` is where the scheduler puts it.
    #[must_use]
    pub fn of_others(self) -> Option<u32> {
        match self {
            Self::Two(..) => None,
            Self::One(cpu) => Some(cpu),
        }
    }
}

/// The runs of one row, with a server that stands ready.
#[derive(Debug)]
pub struct Race<'a> {
    arena: &'a Arena<'a>,
    placement: Placement,
    /// For ours only.
    server: Option<ServerProcess>,
}

impl<'a> Race<'a> {
    /// Starts the server.
    ///
    /// # Errors
    /// It did not come up.
    pub fn prepare(arena: &'a Arena<'a>, placement: Placement) -> Result<Self, String> {
        let cpu = placement.of_others();
        let directory = arena.directory();
        let name = arena.server_name();
        let server = ServerProcess::start_as(arena.command(), directory, &name, &["--quiet"], None, cpu)?;
        Ok(Self {
            arena,
            placement,
            server: Some(server),
        })
    }

    /// For rivals that need no server of ours.
    #[must_use]
    pub fn without_server(arena: &'a Arena<'a>, placement: Placement) -> Self {
        Self {
            arena,
            placement,
            server: None,
        }
    }

    /// A measured run. The clock runs from the start of the reading process to its exit; the output is removed after that.
    ///
    /// # Errors
    /// A process failed, or we were told to stop.
    pub fn run(&mut self, contestant: Contestant) -> Result<Sample, Trouble> {
        let sample = self.transfer(contestant)?;
        let arrived = fs::metadata(self.arena.output()).map_err(|error| error.to_string())?;
        if arrived.len() != contestant.bytes(self.arena) {
            return Err(Trouble::Failed(format!("only {} bytes arrived", arrived.len())));
        }
        self.arena.remove_output()?;
        Ok(sample)
    }

    /// A run that is not timed: it warms everything up, its memory is watched, and what came is compared, because the speed of a wrong
    /// copy means nothing.
    ///
    /// # Errors
    /// As for [`Race::run`]; or other bytes came.
    pub fn rehearse(&mut self, contestant: Contestant) -> Result<Peak, Trouble> {
        let watch = MemoryWatch::begin(self.server_pid());
        self.transfer(contestant)?;
        let mut peak = watch.end();
        if !matches!(contestant, Contestant::Ours { .. }) {
            peak.server = Memory::default();
        }
        let source = match contestant {
            Contestant::LockStep => self.arena.short_source(),
            Contestant::Ours { .. } | Contestant::Copy => self.arena.source(),
        };
        if !same_bytes(&source, &self.arena.output()).map_err(|error| error.to_string())? {
            return Err(Trouble::Failed("other bytes arrived than were sent".to_owned()));
        }
        self.arena.remove_output()?;
        Ok(peak)
    }

    /// The server's process; 0 if there is none.
    #[must_use]
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().map_or(0, ServerProcess::pid)
    }

    /// Runs a contestant and leaves its output where it is.
    ///
    /// # Errors
    /// A process failed, or we were told to stop.
    pub fn transfer(&mut self, contestant: Contestant) -> Result<Sample, Trouble> {
        match contestant {
            Contestant::Ours { region_bytes } => self.transfer_ours(region_bytes),
            Contestant::LockStep => self.transfer_in_lock_step(),
            Contestant::Copy => {
                let mut command = Command::new("cp");
                command.arg(self.arena.source()).arg(self.arena.output());
                time(self.arena, &mut command, self.placement.of_others(), || ())
            }
        }
    }

    fn transfer_ours(&mut self, region_bytes: u64) -> Result<Sample, Trouble> {
        let mut command = self.get(Arena::SOURCE, &self.arena.output());
        command.args(["--region", &region_bytes.to_string()]);
        self.time_client(&mut command)
    }

    /// A client that fetches `name` into `output`.
    #[must_use]
    pub fn get(&self, name: &str, output: &Path) -> Command {
        let mut command = self.arena.command();
        command.args(["get", "--quiet", "--name", &self.arena.server_name().to_string()]);
        command.arg(name).arg("-o").arg(output);
        command
    }

    /// Runs a client of the server, with the server's CPU time too.
    ///
    /// # Errors
    /// It failed, or we were told to stop.
    pub fn time_client(&mut self, command: &mut Command) -> Result<Sample, Trouble> {
        let pid = self.server_pid();
        let used = self.arena.site.meters.process;
        let before = used(pid);
        let cpu = self.placement.of_others();
        let server = &mut self.server;
        let sample = time(self.arena, command, cpu, || {
            if let Some(server) = server {
                server.begin_stop();
            }
        })?;
        Ok(Sample {
            writer_cpu: used(pid) - before,
            ..sample
        })
    }

    fn transfer_in_lock_step(&self) -> Result<Sample, Trouble> {
        let (writer_cpu, reader_cpu) = self.placement.of_lock_step();
        let mut command = self.lock_step("writer");
        command.arg(self.arena.short_source());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut writer = Owned(spawn(&mut command, Some(writer_cpu))?.0);
        let mut line = String::new();
        let stdout = writer.0.stdout.take().map(BufReader::new);
        if !matches!(stdout.map(|mut stdout| stdout.read_line(&mut line)), Some(Ok(bytes)) if bytes > 0) {
            return Err(Trouble::Failed("lock-step: the writer did not start".to_owned()));
        }
        let mut command = self.lock_step("reader");
        command.arg(self.arena.output());
        let sample = time(self.arena, &mut command, Some(reader_cpu), || ())?;
        let used = self.arena.site.meters.children;
        let before = used();
        let status = writer.wait(PATIENCE)?;
        if !status.success() {
            return Err(Trouble::Failed(format!("lock-step: the writer: {status}")));
        }
        Ok(Sample {
            writer_cpu: used() - before,
            ..sample
        })
    }

    fn lock_step(&self, role: &str) -> Command {
        let mut command = self.arena.command();
        command.args(["lock-step", role, &self.arena.short_bytes().to_string()]);
        let semaphores = &self.arena.semaphores;
        command.args([semaphores.filled.to_string(), semaphores.free.to_string()]);
        command.arg(self.arena.page());
        command
    }
}

/// Runs a process from start to exit. `on_stop` is called if we are told to stop meanwhile, and shall make it end by itself.
///
/// # Errors
/// It failed, or we were told to stop.
pub fn time(
    arena: &Arena<'_>,
    command: &mut Command,
    cpu: Option<u32>,
    on_stop: impl FnOnce(),
) -> Result<Sample, Trouble> {
    let watch = Watch {
        interrupt: arena.site.interrupt,
        limit: RUN_LIMIT,
        patience: PATIENCE,
    };
    let used = arena.site.meters.children;
    let before = used();
    let finished = watch.run(command, cpu, on_stop)?;
    if !finished.status.success() {
        let program = command.get_program().display();
        return Err(Trouble::Failed(format!("{program}: {}", finished.status)));
    }
    Ok(Sample {
        seconds: finished.elapsed.as_secs_f64(),
        reader_cpu: used() - before,
        writer_cpu: 0.0,
    })
}
