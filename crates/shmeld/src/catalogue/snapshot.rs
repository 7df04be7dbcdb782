//! One look at all objects.

use shmeld_os::listing::{self, Devices, Processes, QueueDirectory, QueueFile};
use shmeld_os::process;

use super::board::Boards;
use super::channels::Channels;
use super::holders::Holders;
use super::keeping::UseEvidence;
use super::object::{Holder, Object};
use super::posix::{self, Gates};
use super::probe::Files;
use super::{relations, sysv, unnamed};
use crate::ServerName;
use crate::board::remains;

/// What the look may do beyond looking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Look {
    /// For objects of our own user that nobody seems to have: ask the kernel for a lease that it gives to the only user of a file, which sees
    /// processes of all users and namespaces. Whoever opens the object in that moment waits, or hears EAGAIN if it does not want to.
    /// Of what a dead requester of images seems to have left, it is asked for in any case: else nothing would prove that.
    pub prove_alone: bool,
}

/// What could be seen, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The numbers of processes that could not be looked into: what they hold is not known.
    pub hidden_processes: Vec<u32>,
    /// `/proc` shows all processes of the machine.
    pub sees_all_processes: bool,
    /// Message queues could be listed. If not, those are there that somebody has open who can be looked into, and those of servers.
    pub lists_queues: bool,
    /// What could not be looked at at all, and why.
    pub failures: Vec<String>,
}

impl Sight {
    /// All holders of all objects are known.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        self.hidden_processes.is_empty() && self.sees_all_processes
    }
}

/// One look at all objects, and what could not be seen of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// In the order of their places.
    pub objects: Vec<Object>,
    /// What was seen of everything.
    pub sight: Sight,
}

/// From where it is looked.
#[derive(Debug)]
pub(super) struct View {
    pub(super) look: Look,
    own_uid: u32,
    sees_all: bool,
    pub(super) sees_all_processes: bool,
    ipc_namespace: Option<u64>,
    /// The device of the queues of our own namespace, if it is known.
    own_queues: Option<u64>,
    shared_memory: Option<u64>,
}

impl View {
    pub(super) fn evidence<'o>(&self, holders: &'o [Holder]) -> UseEvidence<'o> {
        UseEvidence {
            holders,
            sees_all: self.sees_all,
            ..UseEvidence::default()
        }
    }

    pub(super) fn is_own(&self, uid: u32) -> bool {
        uid == self.own_uid
    }

    pub(super) fn ipc(&self) -> String {
        match self.ipc_namespace {
            Some(number) => format!("ipc:[{number}]"),
            None => "ipc".to_owned(),
        }
    }

    /// The namespace of a queue. Whose a mount is that shows another one the kernel does not say.
    pub(super) fn queues(&self, dev: Option<u64>) -> String {
        match dev {
            Some(dev) if !self.is_own_queue_device(Some(dev)) => {
                format!("another: queues of device {}", device(dev))
            }
            _ => self.ipc(),
        }
    }

    pub(super) fn is_own_queue_device(&self, dev: Option<u64>) -> bool {
        self.own_queues.is_none() || dev.is_none() || dev == self.own_queues
    }

    pub(super) fn mount(&self, dev: u64) -> String {
        match self.shared_memory {
            Some(ours) if ours == dev => format!("/dev/shm, device {}", device(dev)),
            _ => format!("another mount: device {}", device(dev)),
        }
    }
}

/// `MAJOR:MINOR`, as in mountinfo.
fn device(dev: u64) -> String {
    let (major, minor) = shmeld_os::fs::device_numbers(dev);
    format!("{major}:{minor}")
}

/// What there is, before it is known who has it.
struct Names {
    files: Vec<listing::SharedMemoryFile>,
    queues: Vec<(Option<u64>, QueueFile)>,
    segments: Vec<listing::SysvSegmentRow>,
    sets: Vec<(listing::SysvSetRow, sysv::SetDetails)>,
    sysv_queues: Vec<listing::SysvQueueRow>,
    devices: Devices,
    own_queues: Option<u64>,
    /// The devices of queues that could be listed.
    listed_queues: Vec<u64>,
}

impl Snapshot {
    /// Looks at everything that this process may see. What fails is told in [`Snapshot::sight`].
    #[must_use]
    pub fn take(look: Look) -> Self {
        let mut sight = Sight::default();
        let files = Files::open();
        // Objects first, then those who hold them: who holds one that is not there yet is no proof of anything.
        let mut names = Names::read(&mut sight);
        let gates = posix::gates(&names.files, &files);
        if !sight.lists_queues {
            names.queues = queues_of_servers(&gates);
        }
        let devices = std::mem::take(&mut names.devices);
        let found = noted(&mut sight, "processes", listing::look_at_processes(devices));
        let (ipc_namespace, sees_all_processes) = listing::viewpoint();
        sight.hidden_processes.clone_from(&found.hidden);
        sight.sees_all_processes = sees_all_processes;
        let view = View {
            look,
            own_uid: process::effective_uid(),
            sees_all: sight.sees_all(),
            sees_all_processes,
            ipc_namespace,
            own_queues: names.own_queues,
            shared_memory: found.devices.shared_memory,
        };
        let objects = assemble(&names, found, &files, &gates, &view);
        Self { objects, sight }
    }

    /// The one at a place; of several, which are in different namespaces, the first.
    #[must_use]
    pub fn find(&self, place: &super::Place) -> Option<&Object> {
        self.objects.iter().find(|object| object.place == *place)
    }
}

/// What the look could not do is told, and the rest is worth having.
fn noted<T: Default>(sight: &mut Sight, what: &str, outcome: shmeld_os::Result<T>) -> T {
    outcome.unwrap_or_else(|error| {
        sight.failures.push(format!("{what}: {error}"));
        T::default()
    })
}

impl Names {
    fn read(sight: &mut Sight) -> Self {
        let files = noted(sight, "shared memory", listing::shared_memory_files());
        let directories = noted(sight, "message queues", QueueDirectory::all());
        let mut queues = Vec::new();
        for directory in &directories {
            let found = noted(sight, "message queues", directory.queues());
            queues.extend(found.into_iter().map(|queue| (Some(directory.dev), queue)));
        }
        sight.lists_queues = !directories.is_empty();
        // The first one is that of our namespace if we could make a mount; else nobody says whose it is.
        let own = directories.first().filter(|first| first.is_own);
        let listed_queues: Vec<u64> = directories.iter().map(|directory| directory.dev).collect();
        let sets = noted(sight, "System V semaphores", listing::sysv_sets());
        let with_details = sets.into_iter().map(|row| {
            let details = sysv::details_of(&row);
            (row, details)
        });
        Self {
            sets: with_details.collect(),
            segments: noted(sight, "System V segments", listing::sysv_segments()),
            sysv_queues: noted(sight, "System V message queues", listing::sysv_queues()),
            devices: Devices::look(listed_queues.clone()),
            listed_queues,
            own_queues: own.map(|own| own.dev),
            files,
            queues,
        }
    }
}

/// Where queues cannot be listed, those of servers are found by the names of their gates.
fn queues_of_servers(gates: &Gates) -> Vec<(Option<u64>, QueueFile)> {
    // What cannot be asked for at this moment is as good as not there.
    let by_name = |server: &ServerName| listing::queue_of_name(server.queue()).ok().flatten();
    let queues = gates.values().filter_map(|gate| by_name(&gate.server));
    queues
        .map(|queue| (queue.stat.map(|stat| stat.dev), queue))
        .collect()
}

fn assemble(names: &Names, found: Processes, files: &Files, gates: &Gates, view: &View) -> Vec<Object> {
    let devices = found.devices.clone();
    let boards = Boards::find(&names.sets, &names.segments, remains::has_message);
    let channels = Channels::find(&names.files, |name| files.mark(name));
    let mut holders = Holders::new(found, view.ipc_namespace, &names.listed_queues);
    let holders = &mut holders;
    let mut objects = Vec::new();
    for file in &names.files {
        objects.push(posix::of_file(file, files, &channels, holders, view));
    }
    for (dev, queue) in &names.queues {
        objects.push(posix::of_queue(queue, *dev, gates, holders, view));
    }
    for row in &names.segments {
        objects.push(sysv::of_segment(row, &boards, holders, view));
    }
    for (row, details) in &names.sets {
        objects.push(sysv::of_set(row, details, &boards, holders, view));
    }
    for row in &names.sysv_queues {
        objects.push(sysv::of_queue(row, holders, view));
    }
    objects.extend(unnamed::objects(holders, &devices, gates, view));
    objects.sort_by(|one, other| one.place.cmp(&other.place));
    relations::name_servers_of_regions(&mut objects);
    relations::keep_gates_of_queues(&mut objects);
    relations::keep_channels_together(&mut objects);
    for object in &mut objects {
        object.note_hidden_holders(view.sees_all);
    }
    objects
}
