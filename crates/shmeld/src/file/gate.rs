//! Who owns a server's name: the gate, the queue behind it, and what earlier crashes left.
//!
//! The gate is an empty shared memory object of mode 0600. Only the process that holds its lock creates, replaces or unlinks the queue,
//! so two servers can never both believe that they own it, and a queue left by a dead one is replaced without asking anybody.

use std::time::Duration;

use shmeld_core::attach::{NAME_PREFIX, RegionId, is_abandoned};
use shmeld_os::fs::Stat;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName, explain, listing, process};

use super::wire::{MESSAGE_BYTES_MAX, MESSAGES_MAX};
use crate::{Error, Result, ServerName};

/// How often the gate may be removed under us while we take it before we give up.
const GATE_TRIES: u32 = 64;
/// How long to wait before another try.
const GATE_NAP: Duration = Duration::from_millis(5);
/// Only the owner sends and receives.
const QUEUE_MODE: u32 = 0o600;
const GATE_MODE: u32 = 0o600;

/// The lock on a server's name. Dropping it without [`Gate::remove`] leaves the object for the next server to take.
#[derive(Debug)]
pub(super) struct Gate {
    memory: SharedMemory,
    name: ServerName,
}

impl Gate {
    /// Takes the name, or says who has it.
    pub(super) fn take(name: &ServerName) -> Result<Self> {
        for _ in 0..GATE_TRIES {
            let memory = open_gate(name)?;
            check_owner("shm_open", name.gate(), &memory.stat()?)?;
            explain!(
                "fcntl(F_OFD_SETLK)",
                name.gate(),
                "the gate: whoever holds this lock owns the server's name"
            );
            let object = name.gate().to_string();
            if !lease::try_take(memory.as_file(), Range::WHOLE, Kind::Write, &object)? {
                if has_live_queue(name) {
                    break;
                }
                // A server that is starting or ending, or another one's sweep, which takes a stale gate for a moment.
                std::thread::sleep(GATE_NAP);
                continue;
            }
            // Between open and lock the previous owner may have removed the object: then we locked something without a name.
            if is_still_named(&memory, name.gate())? {
                return Ok(Self {
                    memory,
                    name: name.clone(),
                });
            }
        }
        Err(Error::AlreadyRunning { name: name.clone() })
    }

    /// Makes the queue anew, replacing what a dead server left, and takes the lease that clients look for.
    pub(super) fn make_queue(&self) -> Result<MessageQueue> {
        let name = self.name.queue();
        remove_stale_queue(&self.name)?;
        let queue = MessageQueue::create_new(name, MESSAGES_MAX, MESSAGE_BYTES_MAX, QUEUE_MODE)?;
        explain!(
            "fcntl(F_OFD_SETLK)",
            name,
            "a read lock over the queue: clients see through it that this server lives"
        );
        // Only a process that may read the queue can hold a read lock on it, so a mere sender cannot fake this.
        if !lease::try_take(&queue, Range::WHOLE, Kind::Read, &name.to_string())? {
            return Err(Error::AlreadyRunning {
                name: self.name.clone(),
            });
        }
        Ok(queue)
    }

    /// Removes the gate's name, still holding its lock.
    pub(super) fn remove(&self) {
        if is_still_named(&self.memory, self.name.gate()).unwrap_or(false) {
            // Nothing can be done about a failure, and the next server takes an object that is left.
            let _ = SharedMemory::unlink(self.name.gate());
        }
    }
}

/// Whether the queue of this name carries a server's lease.
fn has_live_queue(name: &ServerName) -> bool {
    MessageQueue::open(name.queue(), Access::Both)
        .and_then(|queue| lease::probe(&queue, Range::WHOLE, Kind::Write, &name.to_string()))
        .is_ok_and(|held| held == Some(Kind::Read))
}

fn open_gate(name: &ServerName) -> Result<SharedMemory> {
    SharedMemory::open_or_create(name.gate(), GATE_MODE).map_err(|error| {
        // fs.protected_regular answers EACCES for another user's object, even to root.
        let stat =
            (error.kind() == ErrorKind::PermissionDenied).then(|| SharedMemory::stat_name(name.gate()));
        match stat {
            Some(Ok(stat)) => check_owner("shm_open", name.gate(), &stat)
                .err()
                .unwrap_or(Error::Os(error)),
            _ => Error::Os(error),
        }
    })
}

fn is_still_named(memory: &SharedMemory, name: &ObjectName) -> Result<bool> {
    let ours = memory.stat()?;
    match SharedMemory::stat_name(name) {
        Ok(named) => Ok(ours.links > 0 && (named.dev, named.ino) == (ours.dev, ours.ino)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn check_owner(operation: &'static str, object: &ObjectName, stat: &Stat) -> Result<()> {
    if stat.uid == process::effective_uid() {
        return Ok(());
    }
    Err(Error::ForeignOwner {
        operation,
        object: object.to_string(),
        uid: Some(stat.uid),
    })
}

/// Unlinks a queue that no server holds. The caller holds the gate.
fn remove_stale_queue(name: &ServerName) -> Result<()> {
    let queue = match MessageQueue::open(name.queue(), Access::Both) {
        Ok(queue) => queue,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::ForeignOwner {
                operation: "mq_open",
                object: name.to_string(),
                uid: None,
            });
        }
        Err(error) => return Err(error.into()),
    };
    check_owner("mq_open", name.queue(), &queue.stat()?)?;
    if lease::probe(&queue, Range::WHOLE, Kind::Write, &name.to_string())? == Some(Kind::Read) {
        return Err(Error::AlreadyRunning { name: name.clone() });
    }
    MessageQueue::unlink(name.queue())?;
    tracing::info!(target: "shmeld::sweep", "removed the queue {name}: it is ours and no server holds its lease");
    Ok(())
}

/// Removes what earlier crashes left: regions whose client is dead, and queues and gates of other names whose server is dead. Only our
/// own objects, each with its proof in the log.
pub(super) fn sweep(own: &ServerName) {
    // A listing that fails means that nothing is known to be stale.
    for name in listing::shared_memory_names(NAME_PREFIX).unwrap_or_default() {
        if RegionId::from_name(&name).is_some() {
            sweep_region(&name);
        } else if let Some(server) = ServerName::from_gate(&name).filter(|server| server != own) {
            sweep_server(&server);
        }
    }
}

fn is_ours(name: &ObjectName) -> bool {
    SharedMemory::stat_name(name).is_ok_and(|stat| stat.uid == process::effective_uid())
}

fn sweep_region(name: &[u8]) {
    let Some(name) = std::str::from_utf8(name)
        .ok()
        .and_then(|name| ObjectName::new(name).ok())
    else {
        return;
    };
    if is_ours(&name) && is_abandoned(&name) == Some(true) && SharedMemory::unlink(&name).is_ok() {
        tracing::info!(target: "shmeld::sweep", "removed the region {name}: it is ours and its client is dead (lease free)");
    }
}

/// A gate that can be locked has no server. The lock is held while its queue and itself are removed.
fn sweep_server(server: &ServerName) {
    if !is_ours(server.gate()) {
        return;
    }
    let Ok(memory) = SharedMemory::open(server.gate(), true) else {
        return;
    };
    let object = server.gate().to_string();
    let locked = lease::try_take(memory.as_file(), Range::WHOLE, Kind::Write, &object).unwrap_or(false);
    if !locked
        || !is_still_named(&memory, server.gate()).unwrap_or(false)
        || remove_stale_queue(server).is_err()
    {
        return;
    }
    if SharedMemory::unlink(server.gate()).is_ok() {
        tracing::info!(target: "shmeld::sweep", "removed the gate {object}: it is ours and no server holds its lock");
    }
}

/// The servers that run here, as far as their gates can be seen.
pub(super) fn running_servers() -> Vec<ServerName> {
    let mut servers: Vec<ServerName> = listing::shared_memory_names(NAME_PREFIX)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| ServerName::from_gate(name))
        .filter(|server| {
            SharedMemory::open(server.gate(), false)
                .and_then(|memory| lease::probe(memory.as_file(), Range::WHOLE, Kind::Read, "gate"))
                .is_ok_and(|held| held.is_some())
        })
        .collect();
    servers.sort_by_key(ToString::to_string);
    servers
}
