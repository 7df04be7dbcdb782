//! Which servers run here, by their gates.

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::listing;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::process;
use shmeld_os::users::ROOT;

use crate::ServerName;
use shmeld_core::attach::NAME_PREFIX;

/// The servers that run here for this user: its own, root's, and those of the users that it trusts. Anybody could put others there.
#[must_use]
pub fn running_servers(trusted: &[u32]) -> Vec<ServerName> {
    let is_known = |uid: u32| uid == process::effective_uid() || uid == ROOT || trusted.contains(&uid);
    let mut servers: Vec<ServerName> = listing::shared_memory_names(NAME_PREFIX)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| ServerName::from_gate(name))
        .filter(|server| SharedMemory::stat_name(server.gate()).is_ok_and(|stat| is_known(stat.uid)))
        .filter(|server| {
            SharedMemory::open(server.gate(), false)
                .and_then(|memory| lease::probe(memory.as_file(), Range::WHOLE, Kind::Read, "gate"))
                .is_ok_and(|held| held.is_some())
        })
        .collect();
    servers.sort_by_key(ToString::to_string);
    servers
}
