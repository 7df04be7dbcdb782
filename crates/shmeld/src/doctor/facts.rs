//! What is so on this machine, as a value.

use shmeld_os::limits::{self, SemaphoreLimits};
use shmeld_os::listing::{self, QueueDirectory};
use shmeld_os::posix::{mqueue::MessageQueue, shm};
use shmeld_os::surroundings::{self, Privileges, SharedMemoryMount};
use shmeld_os::{Errno, ObjectName, Result, process};

use super::{TRIAL_BYTES, TRIAL_PREFIX};
use crate::file::wire::{MESSAGE_BYTES_MAX, MESSAGES_MAX};

/// The region that `get` and `cp` use by default, if there is room for it.
pub(super) const REGION_BYTES: u64 = 1 << 20;
/// The region of the rule book, with which everything works; also the page that shmall counts.
pub(super) const PAGE_BYTES: u64 = 4096;

/// A soft and a hard limit; `None` is unlimited.
pub type Resource = (Option<u64>, Option<u64>);

/// What POSIX message queues may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queues {
    /// Messages of a queue.
    pub messages_max: Option<u64>,
    /// Bytes of a message.
    pub message_bytes_max: Option<u64>,
    /// Queues in this IPC namespace.
    pub queues_max: Option<u64>,
    /// How many there are, if they can be listed.
    pub queues: Option<u64>,
    /// Somewhere a file system of queues is mounted that we may read.
    pub is_mounted: bool,
    /// `RLIMIT_MSGQUEUE`: bytes of all queues of the user.
    pub bytes: Resource,
    /// Making the queue of a server failed.
    pub refusal: Option<Errno>,
}

/// What `/dev/shm` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedMemory {
    /// What is mounted there, as far as /proc says.
    pub mount: Option<SharedMemoryMount>,
    /// Bytes in all, and bytes that are free; `None` if there is no such directory.
    pub space: Option<(u64, u64)>,
    /// Objects in all, and how many more there may be; both 0 if they are not counted.
    pub inodes: (u64, u64),
    /// Making a region of one page failed.
    pub page_refusal: Option<Errno>,
    /// Making a region of the usual size failed.
    pub region_refusal: Option<Errno>,
}

/// What System V objects may be, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysv {
    /// SHMMAX, in bytes.
    pub segment_bytes_max: Option<u64>,
    /// SHMALL, in pages.
    pub pages_max: Option<u64>,
    /// SHMMNI.
    pub segments_max: Option<u64>,
    /// SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    pub semaphores: Option<SemaphoreLimits>,
    /// Segments there are.
    pub segments: u64,
    /// Pages that they count.
    pub pages: u64,
    /// Sets there are.
    pub sets: u64,
    /// Semaphores in them.
    pub semaphores_used: u64,
}

/// What is so on this machine, for [`examine`](super::examine).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who asks.
    pub uid: u32,
    /// What it may; `None` without /proc.
    pub privileges: Option<Privileges>,
    /// POSIX message queues.
    pub queues: Queues,
    /// POSIX shared memory.
    pub shared_memory: SharedMemory,
    /// `RLIMIT_NOFILE`.
    pub open_files: Resource,
    /// `RLIMIT_FSIZE`.
    pub file_bytes: Resource,
    /// System V objects.
    pub sysv: Sysv,
    /// The kernel has `openat2` and lets us call it.
    pub has_openat2: bool,
    /// The version of landlock.
    pub landlock: Option<u32>,
    /// `/proc` shows processes of all users.
    pub sees_all_processes: bool,
    /// Which container this is.
    pub container: Option<String>,
    /// logind runs, and whether it removes the objects of users who left.
    pub logind_removes_objects: Option<bool>,
    /// logind takes this user for one who never leaves.
    pub lingers: bool,
}

impl Facts {
    /// Asks for everything. A queue and an unnamed region are made for a moment, as the surest way to know whether they can be: the queue
    /// has a name of its own, `/shmeld.trial.` and 32 digits. The catalogue knows by it what a killed one left.
    #[must_use]
    pub fn gather() -> Self {
        Self {
            uid: process::effective_uid(),
            privileges: surroundings::privileges(),
            queues: queues(),
            shared_memory: shared_memory(),
            open_files: limits::open_files(),
            file_bytes: limits::file_bytes(),
            sysv: sysv(),
            has_openat2: surroundings::has_openat2(),
            landlock: surroundings::landlock_version(),
            sees_all_processes: listing::viewpoint().1,
            container: surroundings::container(),
            logind_removes_objects: surroundings::logind_removes_objects(),
            lingers: surroundings::lingers(process::effective_uid()),
        }
    }
}

fn queues() -> Queues {
    // What cannot be listed is told by other findings.
    let directories = QueueDirectory::all().unwrap_or_default();
    let own = directories.iter().find(|one| one.is_own).or(directories.first());
    let listed = own.and_then(|own| own.queues().ok());
    Queues {
        messages_max: limits::queue_messages_max(),
        message_bytes_max: limits::queue_message_bytes_max(),
        queues_max: limits::queues_max(),
        queues: listed.map(|queues| queues.len() as u64),
        is_mounted: directories.iter().any(|one| one.path.is_some()),
        bytes: limits::message_queue_rlimit(),
        refusal: refusal(try_queue()),
    }
}

fn try_queue() -> Result<()> {
    let digits: String = process::random_bytes::<TRIAL_BYTES>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = ObjectName::new(&format!("/{TRIAL_PREFIX}{digits}"))
        .map_err(|_| shmeld_os::Error::new("mq_open", "/shmeld.trial", Errno::INVAL))?;
    // Open as long as it has its name: one that nobody has open was left by a doctor that is dead.
    let _queue = MessageQueue::create_new(&name, MESSAGES_MAX, MESSAGE_BYTES_MAX, 0o600)?;
    MessageQueue::unlink(&name)
}

fn shared_memory() -> SharedMemory {
    SharedMemory {
        mount: surroundings::shared_memory_mount(),
        space: limits::shared_memory_space().ok(),
        inodes: limits::shared_memory_inodes().unwrap_or_default(),
        page_refusal: refusal(try_region(PAGE_BYTES)),
        region_refusal: refusal(try_region(REGION_BYTES)),
    }
}

fn try_region(bytes: u64) -> Result<()> {
    shm::SharedMemory::create_unnamed()?.reserve(bytes)
}

fn refusal(outcome: Result<()>) -> Option<Errno> {
    outcome.err().map(|error| error.errno())
}

fn sysv() -> Sysv {
    // Without a table there is nothing to count, which the limits say as well.
    let segments = listing::sysv_segments().unwrap_or_default();
    let sets = listing::sysv_sets().unwrap_or_default();
    Sysv {
        segment_bytes_max: limits::segment_bytes_max(),
        pages_max: limits::segment_pages_max(),
        segments_max: limits::segments_max(),
        semaphores: limits::semaphores(),
        segments: segments.len() as u64,
        pages: segments
            .iter()
            .map(|segment| segment.bytes.div_ceil(PAGE_BYTES))
            .fold(0, u64::saturating_add),
        sets: sets.len() as u64,
        semaphores_used: sets.iter().map(|set| set.semaphores).fold(0, u64::saturating_add),
    }
}
