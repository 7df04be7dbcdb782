//! One transfer of the demonstration: a server's process, a client's process, and what they told about it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use shmeld::ServerName;
use shmeld::file::Interrupt;
use shmeld::os::process::set_umask;

use super::demo_process::{Finished, ServerProcess, Trouble, Watch, ourselves, show_status};
use super::demo_stage::explain;

/// Nothing here takes a second; a machine that is busy with other things may take a while.
const LIMIT: Duration = Duration::from_secs(100);
const PATIENCE: Duration = Duration::from_secs(8);

/// What both transfers need to know.
#[derive(Debug)]
pub struct Theatre<'t> {
    /// The directory for logs and copies.
    pub stage: &'t Path,
    pub interrupt: &'t Interrupt,
    /// The umask that the user had: the copies shall get the modes that they would get by hand.
    pub umask: u32,
}

/// What the client's process did.
#[derive(Debug)]
pub struct ClientRun {
    pub pid: u32,
    pub status: ExitStatus,
    pub elapsed: Duration,
    pub delivered: Vec<(String, u64)>,
    /// Name, status and text.
    pub refused: Vec<(String, String, String)>,
    /// Shared memory objects that it gave a name.
    pub regions: BTreeSet<String>,
    /// What it said about errors.
    pub complaints: Vec<String>,
    log: PathBuf,
}

impl Theatre<'_> {
    /// Starts a server, as the user would.
    ///
    /// # Errors
    /// It did not come up; its log is told.
    pub fn start_server(
        &self,
        directory: &Path,
        name: &ServerName,
        options: &[&str],
    ) -> Result<ServerProcess, String> {
        let path = self.stage.join(format!("server-{}.log", name.queue().as_str()));
        let log = File::create(&path).map_err(explain("create", &path))?;
        let options = [&["--explain"], options].concat();
        let started =
            self.with_users_umask(|| ServerProcess::start(directory, name, &options, Some(log), None));
        started.map_err(|error| {
            let said = read(&path);
            let lines = said.lines().filter(|line| is_for_people(line));
            [error.as_str()]
                .into_iter()
                .chain(lines)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    /// Runs a client to its end.
    ///
    /// # Errors
    /// It did not get there.
    pub fn run_client(
        &self,
        server: &mut ServerProcess,
        name: &ServerName,
        arguments: &[&str],
        paths: &[PathBuf],
    ) -> Result<ClientRun, Trouble> {
        let log = self.stage.join(format!("client-{}.log", name.queue().as_str()));
        let file = File::create(&log).map_err(explain("create", &log))?;
        let mut command = ourselves();
        command.args(["get", "--json", "--explain", "--name", &name.to_string()]);
        command.args(arguments).arg("--").args(paths).stderr(file);
        let watch = Watch {
            interrupt: self.interrupt,
            limit: LIMIT,
            patience: PATIENCE,
        };
        let finished = self.with_users_umask(|| watch.run(&mut command, None, || server.begin_stop()))?;
        Ok(ClientRun::new(finished, log))
    }

    fn with_users_umask<T>(&self, start: impl FnOnce() -> T) -> T {
        let ours = set_umask(self.umask);
        let outcome = start();
        set_umask(ours);
        outcome
    }
}

impl ClientRun {
    fn new(finished: Finished, log: PathBuf) -> Self {
        let said = read(&log);
        let mut run = Self {
            pid: finished.pid,
            status: finished.status,
            elapsed: finished.elapsed,
            delivered: Vec::new(),
            refused: Vec::new(),
            regions: regions_in(&said),
            complaints: said
                .lines()
                .filter(|line| line.starts_with("shmeld: get "))
                .map(str::to_owned)
                .collect(),
            log,
        };
        for line in String::from_utf8_lossy(&finished.output).lines() {
            // A line that is no JSON is an event that is missing, and that is found out.
            let event: Value = serde_json::from_str(line).unwrap_or_default();
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            match event["event"].as_str() {
                Some("delivered") => run
                    .delivered
                    .push((text("name"), event["size"].as_u64().unwrap_or_default())),
                Some("refused") => run.refused.push((text("name"), text("status"), text("text"))),
                Some("failed") => run
                    .refused
                    .push((text("name"), "failed".to_owned(), text("error"))),
                _ => {}
            }
        }
        run
    }

    /// How it ended, and if that is a surprise the last words of its log.
    #[must_use]
    pub fn ending(&self) -> String {
        let last = read(&self.log);
        let last = last.lines().last().unwrap_or_default();
        format!("{} ({last})", show_status(Ok(self.status)))
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.delivered.iter().map(|(_, size)| size).sum()
    }
}

/// Whether a line of a log is a message, and no step of `--explain`.
fn is_for_people(line: &str) -> bool {
    line.starts_with("shmeld: ") || line.starts_with("hint: ")
}

/// The regions that `--explain` names: `/shmeld.` and 32 hexadecimal digits.
fn regions_in(said: &str) -> BTreeSet<String> {
    const ID_DIGITS: usize = 32;
    said.split_ascii_whitespace()
        .filter(|word| {
            word.strip_prefix("/shmeld.")
                .is_some_and(|id| id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        })
        .map(str::to_owned)
        .collect()
}

fn read(path: &Path) -> String {
    let read: io::Result<Vec<u8>> = std::fs::read(path);
    String::from_utf8_lossy(&read.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_gates_and_queues() {
        let said = "get 0.1 ms linkat /shmeld.cbcd08f32cf04ed7c9e4b9692372c8df why\n\
            get 0.2 ms shm_unlink /shmeld.cbcd08f32cf04ed7c9e4b9692372c8df why\n\
            get 0.3 ms shm_open /shmeld.demo.gate why\nmq_open /shmeld-demo why";
        let regions = regions_in(said);
        assert_eq!(
            regions.iter().collect::<Vec<_>>(),
            ["/shmeld.cbcd08f32cf04ed7c9e4b9692372c8df"]
        );
    }
}
