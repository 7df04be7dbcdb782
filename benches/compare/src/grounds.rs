//! Where the races are run: an arena on tmpfs and one on a disk, each with the files that its rows need, made when first asked for.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use shmeld::file::Interrupt;
use shmeld::os::posix::shm;
use shmeld_cli::commands::bench_arena::{Arena, Site};
use shmeld_cli::commands::bench_race::Placement;
use shmeld_cli::commands::demo_process::Trouble;
use shmeld_cli::commands::demo_stage::write_noise;

use crate::meters::PRECISE;
use crate::options::CompareOptions;

/// The tree of many small files.
pub const TREE_DIRECTORIES: u64 = 100;
pub const TREE_FILES_EACH: u64 = 100;
pub const SMALL_BYTES: u64 = 4096;

/// A file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    Tmpfs,
    Disk,
}

/// See the module.
#[derive(Debug)]
pub struct Grounds<'i> {
    site: Site<'i>,
    disk: PathBuf,
    bytes: u64,
    arenas: [OnceCell<Arena<'i>>; 2],
    /// The CPUs that this process may use.
    pub cpus: Vec<u32>,
}

impl<'i> Grounds<'i> {
    /// Nothing is made yet.
    pub fn new(options: &CompareOptions, interrupt: &'i Interrupt) -> Result<Self, Trouble> {
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))
        };
        Ok(Self {
            site: Site {
                parent: PathBuf::from(shm::DIRECTORY),
                program: real(&options.shmeld)?,
                meters: PRECISE,
                interrupt,
            },
            disk: real(&options.disk)?,
            bytes: options.size,
            arenas: [OnceCell::new(), OnceCell::new()],
            cpus: shmeld::os::process::cpus_allowed_list(),
        })
    }

    /// Where the scheduler puts the processes; lock-step on the first two CPUs. `None` on a machine with one.
    pub fn two_cpus(&self) -> Option<Placement> {
        match *self.cpus {
            [first, second, ..] => Some(Placement::Two(first, second)),
            _ => None,
        }
    }

    pub fn one_cpu(&self) -> Placement {
        Placement::One(self.cpus.first().copied().unwrap_or_default())
    }

    pub fn arena(&self, ground: Ground) -> Result<&Arena<'i>, Trouble> {
        let cell = &self.arenas[ground as usize];
        if let Some(arena) = cell.get() {
            return Ok(arena);
        }
        let parent = match ground {
            Ground::Tmpfs => self.site.parent.clone(),
            Ground::Disk => self.disk.clone(),
        };
        let site = Site {
            parent,
            ..self.site.clone()
        };
        let arena = Arena::build(site, self.bytes)?;
        Ok(cell.get_or_init(|| arena))
    }

    /// A file of 4 KiB.
    pub fn small(&self, arena: &Arena<'_>) -> Result<&'static str, Trouble> {
        make_file(arena, "small", SMALL_BYTES)?;
        Ok("small")
    }

    /// So many files that together are as large as the large one.
    pub fn parts(&self, arena: &Arena<'_>, count: u64) -> Result<Vec<String>, Trouble> {
        let names: Vec<String> = (0..count).map(|part| format!("part-{count}-{part}")).collect();
        for name in &names {
            make_file(arena, name, (arena.bytes / count).max(1))?;
        }
        Ok(names)
    }

    /// A directory with many small files.
    pub fn tree(&self, arena: &Arena<'_>) -> Result<PathBuf, Trouble> {
        let tree = arena.directory().join("tree");
        if tree.is_dir() {
            return Ok(tree);
        }
        for directory in 0..TREE_DIRECTORIES {
            let path = tree.join(format!("{directory:02}"));
            fs::create_dir_all(&path).map_err(|error| format!("mkdir {}: {error}", path.display()))?;
            for file in 0..TREE_FILES_EACH {
                let seed = directory * TREE_FILES_EACH + file + 1;
                write(&path.join(format!("{file:02}")), SMALL_BYTES, seed)?;
            }
            arena.check_interrupt()?;
        }
        arena.settle(&tree)?;
        Ok(tree)
    }
}

fn make_file(arena: &Arena<'_>, name: &str, bytes: u64) -> Result<(), Trouble> {
    let path = arena.directory().join(name);
    if path.is_file() {
        return Ok(());
    }
    write(&path, bytes, bytes)?;
    arena.settle(&path)?;
    arena.check_interrupt()
}

fn write(path: &Path, bytes: u64, seed: u64) -> Result<(), String> {
    write_noise(path, bytes, seed).map_err(|error| format!("write {}: {error}", path.display()))
}
