//! Whether a run has left kernel objects behind.

use std::collections::BTreeSet;

use shmeld::ServerName;
use shmeld::os::name::escape;
use shmeld::os::posix::mqueue::{Access, MessageQueue};
use shmeld::os::posix::shm::SharedMemory;
use shmeld::os::{ErrorKind, ObjectName, listing};

/// What all objects of this project begin with.
const PREFIX: &str = "shmeld";

/// The names of one run.
#[derive(Debug, Default)]
pub struct Leftovers {
    servers: Vec<ServerName>,
    regions: BTreeSet<String>,
}

impl Leftovers {
    pub fn expect_server(&mut self, name: &ServerName) {
        self.servers.push(name.clone());
    }

    pub fn expect_regions(&mut self, names: &BTreeSet<String>) {
        self.regions.extend(names.iter().cloned());
    }

    /// How many names of shared memory, and how many of queues, are looked for.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let gates = self.servers.len();
        ((gates + self.regions.len()) as u64, gates as u64)
    }

    /// The names of the run that still exist.
    #[must_use]
    pub fn find(&self) -> Vec<String> {
        let gates = self.servers.iter().map(ServerName::gate).cloned();
        let regions = self.regions.iter().filter_map(|name| ObjectName::new(name).ok());
        let memory = gates
            .chain(regions)
            .filter(|name| exists(SharedMemory::stat_name(name).map(drop)));
        let mut found: Vec<String> = memory.map(|name| format!("shared memory {name}")).collect();
        // A queue can be asked for even where no directory shows queues.
        let queues = self.servers.iter().map(ServerName::queue);
        let queues = queues.filter(|name| exists(MessageQueue::open(name, Access::Send).map(drop)));
        found.extend(queues.map(|name| format!("message queue {name}")));
        found
    }

    /// Names in the directory of shared memory that begin like ours and belong to other programs that run now.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn of_others(&self) -> shmeld::os::Result<usize> {
        let ours = self.servers.iter().map(|name| name.gate().as_str().to_owned());
        let ours: BTreeSet<String> = ours
            .chain(self.regions.iter().map(|name| name.trim_matches('/').to_owned()))
            .collect();
        let names = listing::shared_memory_names(PREFIX)?;
        Ok(names.iter().filter(|name| !ours.contains(&escape(name))).count())
    }
}

/// Anything but "not found" means that something has the name, or the key.
pub fn exists(outcome: shmeld::os::Result<()>) -> bool {
    !matches!(outcome, Err(error) if error.kind() == ErrorKind::NotFound)
}
