//! A world of its own for each worker: a tree to serve, a place for outputs, a server's name, and the questions that follow a disaster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shmeld_core::layout::MAGIC;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName, listing, process};

use crate::program::{Program, Running};
use crate::row::Setup;
use crate::tracer::Exit;

/// Long enough for whatever works; what does not end by then never does.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct World {
    folder: PathBuf,
    programs: PathBuf,
    name: String,
    /// What the server offers: path beneath the source, and bytes.
    offered: BTreeMap<String, Vec<u8>>,
    said: AtomicU32,
}

/// What may lie in the output folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Every file, whole.
    All,
    /// Each file whole or not there (or as it was before).
    WholeOrNothing,
}

impl World {
    /// A world with nothing to serve yet.
    ///
    /// # Errors
    /// If its folders cannot be made.
    pub fn new(setup: &Setup, label: &str) -> Result<Self, String> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("shmeld-chaos-{}-{number}", std::process::id());
        let folder = setup.scratch.join(format!("{label}-{number}"));
        let world = Self {
            folder,
            programs: setup.programs.clone(),
            name: format!("/{name}"),
            offered: BTreeMap::new(),
            said: AtomicU32::new(0),
        };
        for folder in [world.source(), world.output()] {
            std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(world)
    }

    /// Offers a file of `len` bytes that no other file has.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn offer(&mut self, path: &str, len: usize) -> Result<(), String> {
        let bytes = content(path, len);
        write(&self.source().join(path), &bytes)?;
        self.offered.insert(path.to_owned(), bytes);
        Ok(())
    }

    /// The bytes of an offered file.
    pub fn offered(&self, path: &str) -> &[u8] {
        &self.offered[path]
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that the server offers.
    pub fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// The folder for outputs.
    pub fn output(&self) -> PathBuf {
        self.folder.join("output")
    }

    /// A fresh path for what a program says.
    pub fn said(&self) -> PathBuf {
        let number = self.said.fetch_add(1, Ordering::Relaxed);
        // A few are kept, so that the report of a failure has them; old ones are overwritten.
        self.folder.join(format!("said-{}", number % 16))
    }

    /// `shm_server --name NAME SOURCE`
    pub fn server(&self, more: &[&str]) -> Program {
        let source = self.source().to_string_lossy().into_owned();
        let arguments = [&["--name", &self.name, &source], more].concat();
        Program::new(&self.programs.join("shm_server"), &arguments)
    }

    /// `shm_client --name NAME ARGUMENTS`
    pub fn client(&self, arguments: &[&str]) -> Program {
        let arguments = [&["--name", &self.name, "--quiet"], arguments].concat();
        Program::new(&self.programs.join("shm_client"), &arguments)
    }

    /// Whether a server holds its lease on the queue.
    pub fn is_served(&self) -> bool {
        let queue = object(&self.name)
            .ok()
            .and_then(|name| MessageQueue::open(&name, Access::Send).ok());
        let held = queue.and_then(|queue| lease::probe(&queue, Range::WHOLE, Kind::Write, "queue").ok());
        held == Some(Some(Kind::Read))
    }

    /// A server that serves.
    ///
    /// # Errors
    /// It does not.
    pub fn serving(&self) -> Result<Running, String> {
        self.serving_with(&[])
    }

    /// The same with more options.
    ///
    /// # Errors
    /// It does not.
    pub fn serving_with(&self, more: &[&str]) -> Result<Running, String> {
        let mut server = self.server(more).start(&self.said())?;
        if server.wait_until_it_says("serving", Instant::now() + PATIENCE)? {
            Ok(server)
        } else {
            Err(format!("the server did not start: {}", server.stderr()))
        }
    }

    /// Empties the output folder; `older` files lie in it before the transfer then.
    ///
    /// # Errors
    /// If that fails.
    pub fn clear_output(&self, older: &[&str]) -> Result<(), String> {
        let output = self.output();
        std::fs::remove_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
        std::fs::create_dir_all(&output).map_err(|error| format!("{}: {error}", output.display()))?;
        older.iter().try_for_each(|path| write(&output.join(path), OLDER))
    }

    /// Compares the output folder with what was offered. Names of unfinished work are returned, not judged.
    ///
    /// # Errors
    /// A wrong byte under a final name, or (if all is expected) a missing file.
    pub fn check_output(
        &self,
        expected: Expected,
        asked: &[&str],
        older: &[&str],
    ) -> Result<Vec<String>, String> {
        let mut unfinished = Vec::new();
        let mut seen = Vec::new();
        for path in files_below(&self.output()) {
            if path.split('/').any(|part| part.contains(".shmeld-")) {
                unfinished.push(path);
                continue;
            }
            let bytes =
                std::fs::read(self.output().join(&path)).map_err(|error| format!("{path}: {error}"))?;
            let is_older = older.contains(&path.as_str()) && bytes == OLDER;
            if is_older && expected == Expected::WholeOrNothing {
                continue;
            }
            match self.offered.get(&path) {
                Some(offered) if *offered == bytes => seen.push(path),
                Some(offered) => {
                    return Err(format!(
                        "WRONG BYTES in {path}: {} of {} bytes",
                        bytes.len(),
                        offered.len()
                    ));
                }
                None => return Err(format!("{path} was never offered")),
            }
        }
        let missing = |path: &&&str| !seen.iter().any(|seen| seen == **path);
        match asked.iter().find(missing) {
            Some(path) if expected == Expected::All => Err(format!("{path} is missing after success")),
            _ => Ok(unfinished),
        }
    }

    /// Insists that no object of this world is left, after a sweep if something died.
    ///
    /// # Errors
    /// The queue, the gate or a dead client's region is still there.
    pub fn check_objects(&self, somebody_died: bool) -> Result<(), String> {
        let queue = MessageQueue::open(&object(&self.name)?, Access::Send).map(drop);
        if !is_gone(&queue) {
            return Err(format!("the queue {} is left ({queue:?})", self.name));
        }
        let gate = object(&format!("/shmeld.{}.gate", &self.name[1..]))?;
        let gate = SharedMemory::stat_name(&gate).map(drop);
        if !is_gone(&gate) {
            return Err(format!("the gate of {} is left ({gate:?})", self.name));
        }
        let dead = dead_regions();
        if dead.is_empty() {
            return Ok(());
        }
        if !somebody_died {
            return stay_away(&dead);
        }
        self.sweep()?;
        let left: Vec<_> = dead_regions()
            .into_iter()
            .filter(|name| dead.contains(name))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("regions are left after a sweep: {left:?}"))
        }
    }

    /// What the next server's start does, by a server of another name that ends at once.
    fn sweep(&self) -> Result<(), String> {
        let name = format!("{}-sweep", self.name);
        let source = self.source().to_string_lossy().into_owned();
        let program = Program::new(&self.programs.join("shm_server"), &["--name", &name, &source]);
        let mut sweeper = program.start(&self.said())?;
        sweeper.wait_until_it_says("serving", Instant::now() + PATIENCE)?;
        sweeper.signal(Signal::SIGTERM);
        let ended = sweeper.finish(Instant::now() + PATIENCE)?;
        if ended.exit == Exit::Code(0) {
            Ok(())
        } else {
            Err(format!("the sweeper: {}", ended.stderr))
        }
    }

    /// The next start under this world's own name, which takes what an earlier server left.
    ///
    /// # Errors
    /// It does not work unattended.
    pub fn sweep_own(&self) -> Result<(), String> {
        let server = self.serving()?;
        server.signal(Signal::SIGTERM);
        match server.finish(Instant::now() + PATIENCE)? {
            ended if ended.exit == Exit::Code(0) => Ok(()),
            ended => Err(format!(
                "the next server ended with {:?}: {}",
                ended.exit, ended.stderr
            )),
        }
    }

    /// `shmeld COMMAND --name NAME ARGUMENTS`
    pub fn command(&self, words: &[&str]) -> Program {
        let arguments = [&words[..1], &["--name", &self.name], &words[1..]].concat();
        Program::new(&self.programs.join("shmeld"), &arguments)
    }

    /// Removes what a failed point left, so that the next one is not blamed for it.
    pub fn mop_up(&self) {
        if let Ok(name) = object(&self.name) {
            let _ = MessageQueue::unlink(&name);
        }
        if let Ok(name) = object(&format!("/shmeld.{}.gate", &self.name[1..])) {
            let _ = SharedMemory::unlink(&name);
        }
    }
}

/// What lies under a final name before a transfer replaces it.
const OLDER: &[u8] = b"what was there before";

fn object(name: &str) -> Result<ObjectName, String> {
    ObjectName::new(name).map_err(|error| error.to_string())
}

fn is_gone(looked: &shmeld_os::Result<()>) -> bool {
    matches!(looked, Err(error) if error.kind() == ErrorKind::NotFound)
}

/// Insists that these regions go without our help: another world's sweep may be about to take what is its own.
fn stay_away(dead: &[String]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while dead_regions().iter().any(|name| dead.contains(name)) {
        if Instant::now() >= deadline {
            return Err(format!("regions are left although nobody died: {dead:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Regions whose client is dead.
pub fn dead_regions() -> Vec<String> {
    let names = listing::shared_memory_names("shmeld.").unwrap_or_default();
    let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
    names
        .filter(|name| is_dead_region(name))
        .map(str::to_owned)
        .collect()
}

fn is_dead_region(name: &str) -> bool {
    let digits = name.strip_prefix("shmeld.").unwrap_or_default();
    if digits.len() != 32
        || !digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        return false;
    }
    // A region may vanish at any moment between these calls.
    let Ok(memory) = ObjectName::new(name)
        .map_err(drop)
        .and_then(|name| SharedMemory::open(&name, false).map_err(drop))
    else {
        return false;
    };
    // Those of other users are theirs to sweep; and a client's region has its magic before it has a name.
    let mut magic = [0; MAGIC.len()];
    memory
        .stat()
        .is_ok_and(|stat| stat.links > 0 && stat.uid == process::effective_uid())
        && memory.read_at(&mut magic, 0).is_ok()
        && magic == MAGIC
        && lease::probe(&memory, Range::byte(0), Kind::Read, "region").is_ok_and(|held| held.is_none())
}

/// Bytes that depend on the name and the length, so that no file passes for another.
fn content(name: &str, len: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(len as u64 | 1, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let explain = |error| format!("{}: {error}", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(explain)?;
    }
    std::fs::write(path, bytes).map_err(explain)
}

/// Paths of all files below a folder, and of folders that look like unfinished trees.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !path.contains(".shmeld-") {
                waiting.push((entry.path(), format!("{path}/")));
            } else {
                found.push(path);
            }
        }
    }
    found
}
