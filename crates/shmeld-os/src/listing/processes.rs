//! Who has which object open or mapped: one pass over the processes of `/proc`, however many objects there are.
//!
//! Processes end while they are looked at: what is not there any more held nothing. Of a process that we may not look into it is known
//! only that it is there.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

use super::identity::{Process, describe, has_memory};
use super::maps::mapped;
use crate::fs::{Entry, FileKind, Stat, entries, open_directory, read_link, stat, stat_path};
use crate::posix::shm;
use crate::{Error, ErrorKind, Result};

/// The file systems whose files are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// That of `/dev/shm`.
    pub shared_memory: Option<u64>,
    /// The kernel's own, of memfds and of System V segments, whose inode numbers are those of the segments.
    pub internal: Option<u64>,
    /// Those of message queues, one for each IPC namespace: the ones that are known, and from the pass on those that were met.
    pub queues: Vec<u64>,
}

impl Devices {
    /// `stat("/dev/shm")`, and `fstat` of a memfd that is made for it. `queues` are known.
    #[must_use]
    pub fn look(queues: Vec<u64>) -> Self {
        let memory = memfd_create(c"shmeld", MemfdFlags::CLOEXEC).ok();
        Self {
            shared_memory: stat_path(Path::new(shm::DIRECTORY)).ok().map(|stat| stat.dev),
            internal: memory.and_then(|memory| stat(&memory).ok()).map(|stat| stat.dev),
            queues,
        }
    }

    pub(super) fn is_ours(&self, dev: u64) -> bool {
        self.shared_memory == Some(dev) || self.internal == Some(dev) || self.queues.contains(&dev)
    }
}

/// How a process holds an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// By a descriptor.
    Open,
    /// As memory.
    Mapped,
}

/// One descriptor or one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The process.
    pub pid: u32,
    /// How it holds the object.
    pub how: How,
    /// The object's file system.
    pub dev: u64,
    /// The object's number there.
    pub ino: u64,
    /// Its name as the kernel shows it, with ` (deleted)` behind it if it is gone.
    pub path: Vec<u8>,
    /// How much is mapped.
    pub bytes: u64,
    /// What the kernel says about the object, where that could be asked for: always of what is open.
    pub stat: Option<Stat>,
}

/// What a pass has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// In the order of process numbers.
    pub uses: Vec<Use>,
    /// Those that have uses, by their numbers.
    pub holders: HashMap<u32, Process>,
    /// Others that could not be looked into, by their numbers. What they hold is not known.
    pub hidden: Vec<u32>,
    /// The devices that were looked for, with those of queues that were met.
    pub devices: Devices,
}

/// `/proc/PID/maps` and `/proc/PID/fd` of every process that this one may see: who has something on these devices open or mapped.
///
/// This process itself is among them: nothing that a look opens is open during this pass, but for directories, which are nobody's objects.
///
/// # Errors
/// [`ErrorKind::NotFound`] if /proc is missing.
///
/// See [proc_pid_maps(5)](https://man7.org/linux/man-pages/man5/proc_pid_maps.5.html) and
/// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html).
pub fn look_at_processes(devices: Devices) -> Result<Processes> {
    let mut pass = Pass {
        found: Processes {
            devices,
            ..Processes::default()
        },
        without_stat: HashSet::new(),
        other_devices: HashSet::new(),
    };
    let mut pids: Vec<u32> = entries(open_directory(Path::new("/proc"))?)?
        .filter_map(number)
        .collect();
    pids.sort_unstable();
    for pid in pids {
        pass.look_at(pid);
    }
    Ok(pass.found)
}

struct Pass {
    found: Processes,
    /// Objects without a name of which nothing is known yet but that somebody has them mapped.
    without_stat: HashSet<(u64, u64)>,
    /// Devices that are known not to hold queues.
    other_devices: HashSet<u64>,
}

impl Pass {
    fn look_at(&mut self, pid: u32) {
        let before = self.found.uses.len();
        // In this order: a program opens an object, maps it and closes it, and would be missed on its way the other way round.
        let outcome = self
            .look_at_descriptors(pid, pid)
            .and_then(|()| self.look_at_maps(pid, pid));
        match outcome {
            Err(kind) if kind == ErrorKind::PermissionDenied && has_memory(pid) => {
                self.found.hidden.push(pid);
            }
            // A program whose first thread has ended goes on in its others; a thread of the kernel has none.
            Ok(false) => {
                for thread in threads(pid).filter(|thread| *thread != pid) {
                    let descriptors = self.look_at_descriptors(pid, thread);
                    if matches!(
                        descriptors.and_then(|()| self.look_at_maps(pid, thread)),
                        Ok(true)
                    ) {
                        break;
                    }
                }
            }
            // It ended, or there was nothing to see.
            _ => {}
        }
        if self.found.uses.len() > before {
            self.found.holders.insert(pid, describe(pid));
        }
    }

    /// Whether it has memory at all.
    fn look_at_maps(&mut self, pid: u32, thread: u32) -> Result<bool, ErrorKind> {
        let maps = std::fs::read(format!("/proc/{thread}/maps"))
            .map_err(|error| Error::of_io("read", "", &error).kind())?;
        for line in mapped(&maps, &self.found.devices) {
            let identity = (line.dev, line.ino);
            // A name that is gone cannot be asked; the mapping can, by those who may.
            let is_first = line.path.ends_with(b" (deleted)") && !is_sysv(line.path);
            let stat = if is_first && self.without_stat.insert(identity) {
                stat_path(Path::new(&format!(
                    "/proc/{thread}/map_files/{:x}-{:x}",
                    line.start, line.end
                )))
                .ok()
            } else {
                None
            };
            self.found.uses.push(Use {
                pid,
                how: How::Mapped,
                dev: line.dev,
                ino: line.ino,
                path: line.path.to_vec(),
                bytes: line.end - line.start,
                stat,
            });
        }
        Ok(!maps.is_empty())
    }

    fn look_at_descriptors(&mut self, pid: u32, thread: u32) -> Result<(), ErrorKind> {
        let directory = format!("/proc/{thread}/fd");
        let directory = open_directory(Path::new(&directory)).map_err(|error| error.kind())?;
        let mut listed = entries(directory).map_err(|error| error.kind())?;
        while let Some(Ok(entry)) = listed.next() {
            let Ok(directory) = listed.directory() else {
                break;
            };
            let path = match read_link(directory, &entry.name) {
                Ok(path) => path,
                // Some may list descriptors and not read them: root without CAP_SYS_PTRACE.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error.kind()),
                // What was closed meanwhile is not held.
                Err(_) => continue,
            };
            if !may_concern_us(&path) {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(directory, entry.name.as_slice(), rustix::fs::AtFlags::empty())
            else {
                continue;
            };
            let stat = Stat::from(stat);
            // Not the directory itself: whoever looks at it has that open.
            if stat.kind != FileKind::File {
                continue;
            }
            if self.found.devices.is_ours(stat.dev) || self.is_new_queue_device(thread, &entry.name, stat.dev)
            {
                self.found.uses.push(Use {
                    pid,
                    how: How::Open,
                    dev: stat.dev,
                    ino: stat.ino,
                    path,
                    bytes: 0,
                    stat: Some(stat),
                });
            }
        }
        Ok(())
    }

    /// Where no message queue file system is mounted, a queue that somebody has open tells its device.
    fn is_new_queue_device(&mut self, pid: u32, descriptor: &[u8], dev: u64) -> bool {
        /// `MQUEUE_MAGIC` of linux/magic.h.
        const QUEUES: u64 = 0x1980_0202;
        if self.other_devices.contains(&dev) {
            return false;
        }
        let name = String::from_utf8_lossy(descriptor);
        let magic = rustix::fs::statfs(format!("/proc/{pid}/fd/{name}")).map(|found| found.f_type as u64);
        let is_queue = magic.is_ok_and(|magic| magic & u64::from(u32::MAX) == QUEUES);
        if is_queue {
            self.found.devices.queues.push(dev);
        } else if magic.is_ok() {
            self.other_devices.insert(dev);
        }
        is_queue
    }
}

/// Whether the kernel calls a System V segment so, as far as the name goes.
fn is_sysv(path: &[u8]) -> bool {
    path.starts_with(b"/SYSV")
}

/// By its name: a look at a file of a network whose server is gone would hang. Queues are called `/NAME`, and as they are mounted by who opened
/// them there. A directory of shared memory has a longer name if it is mounted in the tree of a `chroot`, and another one in `/run`.
fn may_concern_us(path: &[u8]) -> bool {
    let is_single = path.strip_prefix(b"/").is_some_and(|name| !name.contains(&b'/'));
    let lies_in = |directory: &[u8]| path.windows(directory.len()).any(|part| part == directory);
    is_single || path.starts_with(b"/memfd:") || lies_in(b"/shm/") || lies_in(b"/mqueue/")
}

/// The numbers of the threads of a process; none if it is gone.
fn threads(pid: u32) -> impl Iterator<Item = u32> {
    let directory = open_directory(Path::new(&format!("/proc/{pid}/task")));
    let listed = directory.and_then(entries).ok();
    listed.into_iter().flatten().filter_map(number)
}

/// The name of a directory of /proc that is a number.
fn number(entry: Result<Entry>) -> Option<u32> {
    std::str::from_utf8(&entry.ok()?.name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn only_names_that_shared_memory_can_have_are_looked_at() {
        for path in [
            "/dev/shm/a",
            "/srv/root/dev/shm/a",
            "/run/shm/a (deleted)",
            "/memfd:x (deleted)",
            "/queue",
            "/queue (deleted)",
            "/dev/mqueue/queue",
        ] {
            assert!(may_concern_us(path.as_bytes()), "{path}");
        }
        for path in [
            "/home/me/file",
            "socket:[1]",
            "anon_inode:[eventfd]",
            "pipe:[2]",
            "/dev/null",
            "",
        ] {
            assert!(!may_concern_us(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_pass_sees_this_process_and_no_directories() {
        let memory = memfd_create(c"shmeld-pass", MemfdFlags::CLOEXEC).expect("room");
        let _directory = std::fs::File::open(shm::DIRECTORY).expect("there");
        let found = look_at_processes(Devices::look(Vec::new())).expect("proc");
        let ino = stat(&memory).expect("open").ino;
        let own = |one: &&Use| one.pid == process::pid();
        assert!(found.uses.iter().filter(own).any(|one| one.ino == ino));
        assert!(found.uses.iter().all(|one| one.path != shm::DIRECTORY.as_bytes()));
        assert!(found.devices.shared_memory.is_some() && found.devices.internal.is_some());
    }
}
