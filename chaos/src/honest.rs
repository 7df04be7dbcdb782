//! An honest client's life amid whatever is broken: it chooses some work, and what came of it is judged.

use std::path::{Path, PathBuf};

use crate::chance::Chance;
use crate::program::{Ended, Program};
use crate::tracer::Exit;
use crate::world::World;

const FILES: [&str; 7] = ["empty", "tiny", "slot", "page", "medium", "odd", "large"];
const TREE: [&str; 5] = [
    "tree/a/one",
    "tree/a/two",
    "tree/b/c/three",
    "tree/four",
    "tree/.five",
];
const REGIONS: [&str; 3] = ["4096", "64KiB", "1MiB"];

/// What a client says that got not everything and is not to blame: its server is dead, or was asked to stop. Honest servers do nothing
/// else that ends a session, and none of them is ever silent for long.
const SERVER_GONE: [&str; 2] = [": died", "(STOPPING)"];
/// At least one of so many clients gets what it wants, whatever is killed.
const ENDED_PER_SERVED_MAX: u64 = 10;

/// Insists that there were clients and that some of them were served: where all fail in a way that may happen, something is wrong.
///
/// # Errors
/// Too few were served.
pub fn enough_served(ended: u64, served: u64) -> Result<(), String> {
    if served == 0 || served * ENDED_PER_SERVED_MAX < ended {
        return Err(format!("only {served} of {ended} clients got their files"));
    }
    Ok(())
}

/// Puts files of all sizes into a world; the sizes of some are chance.
///
/// # Errors
/// If a file cannot be written.
pub fn furnish(world: &mut World, chance: &mut Chance) -> Result<(), String> {
    let sizes = [0, 1, 3776, 4096, 50_000, chance.below(400_000), 2_000_000];
    for (path, len) in FILES.iter().zip(sizes) {
        world.offer(path, len)?;
    }
    for path in TREE {
        world.offer(path, chance.below(30_000))?;
    }
    Ok(())
}

/// One honest client after the other, each with an empty folder for its outputs.
pub struct Honest<'a> {
    world: &'a World,
    folder: PathBuf,
    said: PathBuf,
    chance: Chance,
}

/// A piece of work.
pub struct Job {
    /// The client, not yet started.
    pub program: Program,
    asked: Vec<&'static str>,
}

impl<'a> Honest<'a> {
    /// The `number`-th honest client of a world.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn new(world: &'a World, number: usize, chance: Chance) -> Result<Self, String> {
        let folder = world.output().join(number.to_string());
        let said = world.output().join(format!("said-{number}"));
        make_folder(&folder)?;
        Ok(Self {
            world,
            folder,
            said,
            chance,
        })
    }

    /// Where the client's messages go.
    pub fn said(&self) -> &Path {
        &self.said
    }

    /// A single file, several, a tree or a list, through a region of some size.
    pub fn choose(&mut self) -> Job {
        let kind = self.chance.below(8);
        if kind == 0 {
            let program = self.world.command(&["ls", "-r", "--wait", "20s"]);
            return Job {
                program,
                asked: Vec::new(),
            };
        }
        let asked = match kind {
            1 => TREE.to_vec(),
            2 | 3 => FILES.to_vec(),
            _ => vec![*self.chance.one_of(&FILES)],
        };
        let names = if kind == 1 {
            vec!["-r", "tree"]
        } else {
            asked.clone()
        };
        let region = *self.chance.one_of(&REGIONS);
        Job {
            program: self.program(region, &names),
            asked,
        }
    }

    /// A named file.
    pub fn get(&self, region: &str, path: &'static str) -> Job {
        Job {
            program: self.program(region, &[path]),
            asked: vec![path],
        }
    }

    fn program(&self, region: &str, names: &[&str]) -> Program {
        let output = format!("{}/", self.folder.display());
        let arguments = [&["--region", region, "--wait", "20s", "-o", &output], names].concat();
        self.world.client(&arguments)
    }

    /// Looks at what a client left, and clears it away.
    ///
    /// # Errors
    /// A wrong byte under a final name, a missing file after success, unfinished files of a client that was not killed, an exit code
    /// that is not among `codes`, a 4 for another reason than that the server has gone.
    pub fn judge(&self, asked: &[&str], ended: &Ended, codes: &[i32]) -> Result<(), String> {
        let result = self.judge_exit(ended, codes).and_then(|()| {
            let unfinished = self.judge_files(asked, ended.exit == Exit::Code(0))?;
            if unfinished.is_empty() || matches!(ended.exit, Exit::Signal(_)) {
                Ok(())
            } else {
                Err(format!("unfinished outputs are left: {unfinished:?}"))
            }
        });
        let said = ended.stderr.trim_end();
        let result = result.map_err(|what| format!("{what} (client {:?}: {said})", ended.exit));
        std::fs::remove_dir_all(&self.folder)
            .map_err(|error| error.to_string())
            .and_then(|()| make_folder(&self.folder))?;
        result
    }

    fn judge_exit(&self, ended: &Ended, codes: &[i32]) -> Result<(), String> {
        let allowed = match ended.exit {
            Exit::Code(code) => codes.contains(&code),
            Exit::Signal(signal) => signal == nix::sys::signal::Signal::SIGKILL,
        };
        if !allowed {
            return Err(format!("the client ended with {:?}", ended.exit));
        }
        if ended.stderr.contains("panicked") {
            return Err("the client panicked".to_owned());
        }
        blame(&ended.exit, &ended.stderr)
    }

    fn judge_files(&self, asked: &[&str], all: bool) -> Result<Vec<String>, String> {
        let mut unfinished = Vec::new();
        let mut seen = Vec::new();
        for path in crate::world::files_below(&self.folder) {
            if path.contains(".shmeld-") {
                unfinished.push(path);
                continue;
            }
            if !asked.contains(&path.as_str()) {
                return Err(format!("{path} was not asked for"));
            }
            let bytes = std::fs::read(self.folder.join(&path)).map_err(|error| format!("{path}: {error}"))?;
            if bytes != self.world.offered(&path) {
                return Err(format!("WRONG BYTES in {path}: {} bytes", bytes.len()));
            }
            seen.push(path);
        }
        let missing = asked.iter().find(|path| !seen.iter().any(|seen| seen == *path));
        match missing {
            Some(path) if all => Err(format!("{path} is missing after success")),
            _ => Ok(unfinished),
        }
    }
}

impl Job {
    /// The files asked for, and the program.
    pub fn split(self) -> (Vec<&'static str>, Program) {
        (self.asked, self.program)
    }
}

/// Whether the client has reason to blame its server, which is honest.
fn blame(exit: &Exit, stderr: &str) -> Result<(), String> {
    if stderr.contains("broke the protocol") {
        return Err("the client says that its server broke the protocol".to_owned());
    }
    if *exit == Exit::Code(4) && !SERVER_GONE.iter().any(|reason| stderr.contains(reason)) {
        return Err("the client gave up, and not because its server was gone".to_owned());
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_is_gone_excuses_a_client() {
        let code = Exit::Code(4);
        assert_eq!(blame(&code, "error: server x: died"), Ok(()));
        let stopping = "error: server x: ended the session: the server is shutting down (STOPPING)";
        assert_eq!(blame(&code, stopping), Ok(()));
        assert!(blame(&code, "error: the peer broke the protocol: a record").is_err());
        assert!(blame(&code, "error: server x: ended the session: (STALLED)").is_err());
        assert!(blame(&code, "error: server x: alive, but silent for 30 s").is_err());
        assert!(blame(&code, "").is_err());
        assert_eq!(blame(&Exit::Code(0), ""), Ok(()));
    }

    #[test]
    fn a_row_in_which_nobody_is_served_fails() {
        assert!(enough_served(0, 0).is_err());
        assert!(enough_served(100, 0).is_err());
        assert!(enough_served(100, 9).is_err());
        assert_eq!(enough_served(100, 10), Ok(()));
    }
}
