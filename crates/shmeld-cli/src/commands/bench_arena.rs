//! Where the runs of the bench happen: files and two semaphores, which go when the bench goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use shmeld::ServerName;
use shmeld::file::Interrupt;
use shmeld::os::posix::semaphore::NamedSemaphore;
use shmeld::os::posix::shm;
use shmeld::os::{ObjectName, limits};

use super::bench_cpu::Meters;
use super::bench_lock_step::PAGE_BYTES;
use super::demo_process::Trouble;
use super::demo_stage::{TemporaryDirectory, random_tag, write_noise};
use crate::values::show_size;

/// A lock-step turn costs the same at any length, so a part of the file tells its throughput.
const LOCK_STEP_BYTES_MAX: u64 = 16 << 20;
/// What regions and whatever else runs here may need beside the files.
const SLACK_BYTES: u64 = 16 << 20;

/// Who measures what, and on which file system.
#[derive(Debug, Clone)]
pub struct Site<'i> {
    /// The directory in which the arena makes one of its own.
    pub parent: PathBuf,
    /// The `shmeld` that is measured.
    pub program: PathBuf,
    pub meters: Meters,
    pub interrupt: &'i Interrupt,
}

impl<'i> Site<'i> {
    /// This program, on tmpfs.
    #[must_use]
    pub fn of_ourselves(interrupt: &'i Interrupt) -> Self {
        Self {
            parent: PathBuf::from(shm::DIRECTORY),
            program: PathBuf::from("/proc/self/exe"),
            meters: Meters::TICKS,
            interrupt,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Arena<'i> {
    stage: TemporaryDirectory,
    pub semaphores: Semaphores,
    tag: String,
    /// The length of the file.
    pub bytes: u64,
    pub site: Site<'i>,
}

impl<'i> Arena<'i> {
    /// Makes the files, and touches as much memory as the runs will need.
    ///
    /// # Errors
    /// Shared memory is too small, or what the kernel says, or we were told to stop.
    pub fn build(site: Site<'i>, bytes: u64) -> Result<Self, Trouble> {
        if site.parent == Path::new(shm::DIRECTORY) {
            check_space(bytes)?;
        }
        let tag = random_tag();
        let stage = TemporaryDirectory::create(&site.parent, &format!("shmeld-bench-{tag}"))?;
        let arena = Self {
            semaphores: Semaphores::create(&tag)?,
            stage,
            tag,
            bytes,
            site,
        };
        // A virtual machine hands out pages that nobody has touched yet ten times slower: the output of each run shall find some
        // that were used before. The page is a file like the others, because shared memory objects are files here.
        let short = arena.short_bytes();
        let files = [
            (arena.source(), bytes),
            (arena.short_source(), short),
            (arena.output(), bytes),
            (arena.page(), PAGE_BYTES as u64),
        ];
        for (path, bytes) in files {
            write_noise(&path, bytes, bytes).map_err(|error| format!("write {}: {error}", path.display()))?;
            arena.settle(&path)?;
            arena.check_interrupt()?;
        }
        arena.remove_output()?;
        Ok(arena)
    }

    /// Whether the files lie in memory and nowhere else.
    #[must_use]
    pub fn is_on_tmpfs(&self) -> bool {
        self.site.parent == Path::new(shm::DIRECTORY)
    }

    /// What the disk still has to do for `path` shall not happen during a later run.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn settle(&self, path: &Path) -> Result<(), String> {
        if self.is_on_tmpfs() {
            return Ok(());
        }
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(|error| format!("sync {}: {error}", path.display()))
    }

    /// Removes what a run made. On a disk the journal is written too, so that nothing is left to be done during the next run.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn remove_output(&self) -> Result<(), String> {
        let path = self.output();
        fs::remove_file(&path).map_err(|error| format!("remove {}: {error}", path.display()))?;
        self.settle(self.directory())
    }

    /// # Errors
    /// We were told to stop.
    pub fn check_interrupt(&self) -> Result<(), Trouble> {
        self.site.interrupt.check().map_err(|_| Trouble::Interrupted)
    }

    /// The `shmeld` that is measured.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::new(&self.site.program)
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        self.stage.path()
    }

    /// The file that is transferred, by its name in [`Arena::directory`].
    pub const SOURCE: &'static str = "file";

    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.directory().join(Self::SOURCE)
    }

    /// The file that is transferred in lock-step.
    #[must_use]
    pub fn short_source(&self) -> PathBuf {
        self.directory().join("short")
    }

    #[must_use]
    pub fn short_bytes(&self) -> u64 {
        short_bytes(self.bytes)
    }

    /// Where every run puts what it transferred.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.directory().join("output")
    }

    /// The page of the lock-step transfer.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.directory().join("page")
    }

    #[must_use]
    pub fn server_name(&self) -> ServerName {
        ServerName::new(&format!("shmeld-bench-{}", self.tag))
            .unwrap_or_else(|_| unreachable!("letters, digits and dashes make a sound name"))
    }
}

fn short_bytes(bytes: u64) -> u64 {
    bytes.min(LOCK_STEP_BYTES_MAX)
}

fn check_space(bytes: u64) -> Result<(), String> {
    let needed = bytes
        .saturating_add(short_bytes(bytes))
        .saturating_mul(2)
        .saturating_add(SLACK_BYTES);
    let (_, free) = limits::shared_memory_space().map_err(|error| error.to_string())?;
    if needed <= free {
        return Ok(());
    }
    Err(format!(
        "{} is too small: {} needed for a file and its copy, {} free\nhint: take a smaller --size, or mount -o remount,size=... {0}",
        shm::DIRECTORY,
        show_size(needed),
        show_size(free)
    ))
}

/// The two semaphores of the lock-step transfer. After each run they have the values that they began with.
#[derive(Debug)]
pub struct Semaphores {
    pub filled: ObjectName,
    pub free: ObjectName,
}

impl Semaphores {
    fn create(tag: &str) -> Result<Self, String> {
        let name = |part: &str| {
            ObjectName::new(&format!("/shmeld-bench-{tag}.{part}")).map_err(|error| error.to_string())
        };
        let semaphores = Self {
            filled: name("filled")?,
            free: name("free")?,
        };
        // An error from here on drops, and so unlinks, both: nobody else uses names with this tag.
        for (name, value) in [(&semaphores.filled, 0), (&semaphores.free, 1)] {
            NamedSemaphore::create_new(name, 0o600, value).map_err(|error| error.to_string())?;
        }
        Ok(semaphores)
    }
}

impl Drop for Semaphores {
    fn drop(&mut self) {
        for name in [&self.filled, &self.free] {
            // Nothing can be done about a failure.
            let _ = NamedSemaphore::unlink(name);
        }
    }
}
