//! Who has which object, out of what one pass over the processes has found.

use std::collections::{BTreeMap, HashMap};

use shmeld_os::listing::{self, How, Process, Processes, Use};

use super::object::{Holder, Role};

/// The uses of the pass by object, and the processes that they belong to.
pub(super) struct Holders {
    by_file: HashMap<(u64, u64), Vec<Use>>,
    by_segment: HashMap<i32, Vec<Use>>,
    processes: HashMap<u32, Option<Process>>,
}

impl Holders {
    /// Segments and queues of other IPC namespaces than this one have numbers and names of their own: they are no part of what is looked at,
    /// but for queues of mounts that were `listed`.
    pub(super) fn new(found: Processes, ipc_namespace: Option<u64>, listed: &[u64]) -> Self {
        let Processes {
            uses,
            holders,
            devices,
            ..
        } = found;
        let mut by_file: HashMap<_, Vec<Use>> = HashMap::new();
        let mut by_segment: HashMap<_, Vec<Use>> = HashMap::new();
        let is_here = |pid: u32| {
            let namespace = holders
                .get(&pid)
                .and_then(|holder: &Process| holder.ipc_namespace);
            namespace.is_none() || namespace == ipc_namespace
        };
        for one in uses {
            let is_internal = devices.internal == Some(one.dev);
            let is_listed = !devices.queues.contains(&one.dev) || listed.contains(&one.dev);
            if (!is_internal && (is_listed || is_here(one.pid))) || one.path.starts_with(b"/memfd:") {
                by_file.entry((one.dev, one.ino)).or_default().push(one);
            } else if let Ok(id) = i32::try_from(one.ino)
                && is_internal
                && one.path.starts_with(b"/SYSV")
                && is_here(one.pid)
            {
                by_segment.entry(id).or_default().push(one);
            }
        }
        let processes = holders
            .into_iter()
            .map(|(pid, process)| (pid, Some(process)))
            .collect();
        Self {
            by_file,
            by_segment,
            processes,
        }
    }

    /// Those of a file; they are told once.
    pub(super) fn take_of_file(&mut self, identity: (u64, u64)) -> Vec<Holder> {
        let uses = self.by_file.remove(&identity).unwrap_or_default();
        self.gathered(&uses)
    }

    /// What is left: uses of objects that have no name, or got it after the names were read.
    pub(super) fn take_rest(&mut self) -> Vec<Vec<Use>> {
        let mut rest: Vec<Vec<Use>> = self.by_file.drain().map(|(_, uses)| uses).collect();
        rest.sort_unstable_by_key(|uses| uses.first().map(|one| (one.dev, one.ino)));
        rest
    }

    pub(super) fn of_segment(&mut self, id: i32) -> Vec<Holder> {
        let uses = self.by_segment.remove(&id).unwrap_or_default();
        let mut holders = self.gathered(&uses);
        for holder in &mut holders {
            holder.roles = vec![Role::Attached];
        }
        holders
    }

    /// One holder a process, in the order of process numbers.
    pub(super) fn gathered(&mut self, uses: &[Use]) -> Vec<Holder> {
        let mut holders = BTreeMap::new();
        for one in uses {
            let holder = holders.entry(one.pid).or_insert_with(|| self.holder(one.pid));
            holder.mapped_bytes = holder.mapped_bytes.saturating_add(one.bytes);
            add_role(
                holder,
                match one.how {
                    How::Mapped => Role::Mapped,
                    How::Open => Role::Open,
                },
            );
        }
        holders.into_values().collect()
    }

    /// A process that the kernel names without saying whether it is still there. Number 0 is nobody that we see.
    pub(super) fn add(&mut self, holders: &mut Vec<Holder>, pid: u32, role: Role) {
        if pid == 0 {
            return;
        }
        match holders.iter_mut().find(|holder| holder.pid == pid) {
            Some(holder) => add_role(holder, role),
            None => {
                let mut holder = self.holder(pid);
                add_role(&mut holder, role);
                holders.push(holder);
                holders.sort_by_key(|holder| holder.pid);
            }
        }
    }

    fn holder(&mut self, pid: u32) -> Holder {
        let process = self
            .processes
            .entry(pid)
            .or_insert_with(|| listing::look_at_process(pid));
        Holder {
            pid,
            command: process.as_ref().map(|process| process.command.clone()),
            uid: process.as_ref().and_then(|process| process.uid),
            roles: Vec::new(),
            mapped_bytes: 0,
        }
    }
}

fn add_role(holder: &mut Holder, role: Role) {
    if !holder.roles.contains(&role) {
        holder.roles.push(role);
        holder.roles.sort();
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::listing::Devices;

    use super::*;

    const SHM: u64 = 28;
    const INTERNAL: u64 = 1;
    const OWN_QUEUES: u64 = 40;
    const OTHER_QUEUES: u64 = 41;
    const LISTED_QUEUES: u64 = 42;

    fn used(pid: u32, how: How, dev: u64, ino: u64, path: &str) -> Use {
        Use {
            pid,
            how,
            dev,
            ino,
            path: path.as_bytes().to_vec(),
            bytes: if how == How::Mapped { 4096 } else { 0 },
            stat: None,
        }
    }

    fn process(ipc_namespace: u64) -> Process {
        Process {
            uid: Some(1),
            command: b"peer".to_vec(),
            ipc_namespace: Some(ipc_namespace),
        }
    }

    fn holders(uses: Vec<Use>) -> Holders {
        let devices = Devices {
            shared_memory: Some(SHM),
            internal: Some(INTERNAL),
            queues: vec![OWN_QUEUES, OTHER_QUEUES, LISTED_QUEUES],
        };
        let processes = HashMap::from([(7, process(1)), (8, process(1)), (9, process(2))]);
        let found = Processes {
            uses,
            holders: processes,
            hidden: Vec::new(),
            devices,
        };
        Holders::new(found, Some(1), &[LISTED_QUEUES])
    }

    #[test]
    fn all_that_a_process_has_of_an_object_makes_one_holder() {
        let mut holders = holders(vec![
            used(8, How::Mapped, SHM, 42, "/dev/shm/x"),
            used(7, How::Mapped, SHM, 42, "/dev/shm/x"),
            used(7, How::Open, SHM, 42, "/dev/shm/x"),
            used(7, How::Mapped, SHM, 42, "/dev/shm/x"),
            used(7, How::Open, SHM, 43, "/dev/shm/y"),
        ]);
        let found = holders.take_of_file((SHM, 42));
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.pid, one.roles.clone(), one.mapped_bytes))
            .collect();
        assert_eq!(
            told,
            [
                (7, vec![Role::Mapped, Role::Open], 8192),
                (8, vec![Role::Mapped], 4096)
            ]
        );
        assert_eq!(found[0].command.as_deref(), Some(&b"peer"[..]));
        assert_eq!(holders.take_rest().len(), 1);
    }

    #[test]
    fn segments_of_another_namespace_and_shared_pages_without_a_name_are_nobodys() {
        let mut holders = holders(vec![
            used(7, How::Mapped, INTERNAL, 42, "/SYSV00000000 (deleted)"),
            used(9, How::Mapped, INTERNAL, 42, "/SYSV00000000 (deleted)"),
            used(7, How::Mapped, INTERNAL, 43, "/dev/zero (deleted)"),
            used(7, How::Mapped, SHM, 42, "/SYSV00000000 (deleted)"),
        ]);
        let found = holders.of_segment(42);
        assert_eq!((found.len(), found[0].pid), (1, 7));
        assert_eq!(found[0].roles, [Role::Attached]);
        assert!(holders.of_segment(43).is_empty());
    }

    #[test]
    fn queues_of_another_namespace_are_looked_at_only_if_they_are_mounted_here() {
        let mut holders = holders(vec![
            used(7, How::Open, OWN_QUEUES, 1, "/a"),
            used(9, How::Open, OTHER_QUEUES, 2, "/a"),
            used(9, How::Open, LISTED_QUEUES, 3, "/a"),
        ]);
        let rest = holders.take_rest();
        let inodes: Vec<u64> = rest.iter().map(|uses| uses[0].ino).collect();
        assert_eq!(inodes, [1, 3]);
    }

    #[test]
    fn a_process_that_is_gone_has_no_command() {
        let mut holders = holders(Vec::new());
        let mut found = Vec::new();
        // More than the kernel ever gives.
        holders.add(&mut found, 5_000_000, Role::Creator);
        holders.add(&mut found, 0, Role::LastUser);
        holders.add(&mut found, 5_000_000, Role::LastUser);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].command.as_ref(), found[0].keeps()), (None, false));
        assert_eq!(found[0].roles, [Role::Creator, Role::LastUser]);
    }
}
