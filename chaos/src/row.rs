//! One row of the table: a way to break things, how often it was tried, and what did not hold.

use std::path::PathBuf;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::program::Running;
use crate::tracer::Exit;
use crate::world::PATIENCE;

/// What every row is given.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The folder of the release binaries.
    pub programs: PathBuf,
    /// A folder for worlds; rows make their own folders in it.
    pub scratch: PathBuf,
    /// The long form: hours of CI time are not to be spent on the short one.
    pub full: bool,
    /// What chance begins with.
    pub seed: u64,
    /// How many worlds a sweep may use at once.
    pub jobs: usize,
    /// Only this point, to look at a failure again.
    pub only: Option<crate::tracer::Point>,
}

/// What a row found.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often something was broken.
    pub points: u64,
    /// What did not hold, each with enough to do it again.
    pub failures: Vec<String>,
    /// Figures beside it: name and value with its unit.
    pub figures: Vec<(&'static str, String)>,
}

impl Tally {
    /// Counts one point, and what went wrong there.
    pub fn count(&mut self, result: Result<(), String>) {
        self.points += 1;
        self.failures.extend(result.err());
    }

    /// Has a server end, as SIGTERM asks it to. With another code than 0, or after a panic, it is a failure.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(&mut self, server: Running) -> Result<(), String> {
        server.signal(Signal::SIGTERM);
        let ended = server.finish(Instant::now() + PATIENCE)?;
        if ended.exit != Exit::Code(0) || ended.stderr.contains("panicked") {
            let failure = format!("the server ended with {:?}: {}", ended.exit, ended.stderr);
            self.failures.push(failure);
        }
        Ok(())
    }
}

/// Why a row could not be run here.
#[derive(Debug)]
pub enum Obstacle {
    /// The machine lacks something: a skip, or a failure where everything is required.
    Needs(&'static str),
    /// The harness itself failed.
    Broken(String),
}

impl From<String> for Obstacle {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// A row.
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is broken and what must hold, in one line.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&Setup) -> Result<Tally, Obstacle>,
}
