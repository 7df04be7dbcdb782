//! POSIX objects that have names: segments and semaphores in `/dev/shm`, and message queues.

use std::collections::HashMap;

use shmeld_os::ObjectName;
use shmeld_os::fs::{Stat, Time};
use shmeld_os::lease::Kind as Lock;
use shmeld_os::listing::{QueueFile, SharedMemoryFile};

use super::channels::Channels;
use super::holders::Holders;
use super::keeping::{self, UseEvidence};
use super::object::{Ids, Object, Role};
use super::probe::{self, Files};
use super::snapshot::View;
use super::verdict::{self, Lease, State, Verdict};
use super::{Belonging, Kind, Place};
use crate::ServerName;
use crate::file::wire::has_servers_size;

/// What names of semaphores in `/dev/shm` begin with.
pub(super) const SEMAPHORE_PREFIX: &[u8] = b"sem.";

/// What is known of a server by its gate.
pub(super) struct Gate {
    pub(super) server: ServerName,
    pub(super) lock: Lease,
    /// Anybody can make a gate beside somebody else's queue: it says something about queues of its own user only.
    pub(super) uid: u32,
}

/// Gates by the names of the queues behind them.
pub(super) type Gates = HashMap<Vec<u8>, Gate>;

/// The gates among the files.
pub(super) fn gates(listed: &[SharedMemoryFile], files: &Files) -> Gates {
    let gate = |file: &SharedMemoryFile| {
        let server = ServerName::from_gate(&file.name)?;
        let gate = Gate {
            lock: probe::gate(files, server.gate()),
            uid: file.stat.uid,
            server,
        };
        Some((gate.server.queue().as_str().as_bytes().to_vec(), gate))
    };
    listed.iter().filter_map(gate).collect()
}

/// The gate of a queue, if it is that of the queue's own user, as far as that can be seen.
pub(super) fn gate_of<'g>(gates: &'g Gates, queue: &[u8], owner: Option<Ids>) -> Option<&'g Gate> {
    gates
        .get(queue)
        .filter(|gate| owner.is_none_or(|owner| owner.uid == gate.uid))
}

/// Kind and name of what a file in `/dev/shm` is.
pub(super) fn kind_and_name(file_name: &[u8]) -> (Kind, &[u8]) {
    match file_name.strip_prefix(SEMAPHORE_PREFIX) {
        Some(name) if !name.is_empty() => (Kind::Semaphore, name),
        _ => (Kind::Segment, file_name),
    }
}

pub(super) fn set_stat(object: &mut Object, stat: &Stat) {
    object.owner = Some(Ids {
        uid: stat.uid,
        gid: stat.gid,
    });
    object.mode = Some(stat.mode);
    object.identity = Some((stat.dev, stat.ino));
    object.links = Some(stat.links);
    object.changed = Some(changed(object.kind(), stat));
    object.used = Some(stat.modified);
}

/// When an object was last changed, as far as that tells of its users.
pub(super) fn changed(kind: Kind, stat: &Stat) -> Time {
    match kind {
        // The kernel sets the other time whenever somebody reads the text about a queue, as every look does.
        Kind::Queue => stat.modified,
        _ => stat.changed,
    }
}

/// A segment or a semaphore.
pub(super) fn of_file(
    file: &SharedMemoryFile,
    files: &Files,
    channels: &Channels,
    holders: &mut Holders,
    view: &View,
) -> Object {
    let (kind, name) = kind_and_name(&file.name);
    let mut object = Object::new(Place::Named(kind, name.to_vec()), view.mount(file.stat.dev));
    set_stat(&mut object, &file.stat);
    object.made = file.made;
    object.bytes = Some(file.stat.bytes);
    object.used_bytes = Some(file.stat.blocks_512 * 512);
    object.holders = holders.take_of_file((file.stat.dev, file.stat.ino));
    object.belongs = Belonging::of_name(kind, name, file.stat.bytes);
    if kind == Kind::Semaphore {
        object.semaphores = Some(1);
        object.values = files.semaphore_value(&file.name).map(|value| vec![value]);
        if object.values.is_none() {
            object.hidden.push("values");
        }
    }
    object.verdict = match (&object.belongs, object_name(&file.name)) {
        (Some(Belonging::Region(_)), Some(name)) => verdict::of_region(probe::region(&name)),
        (Some(Belonging::Gate(server)), _) => {
            verdict::of_gate(probe::gate(files, server.gate()), &server.to_string())
        }
        (belongs, _) => {
            let is_channel = channels.have(belongs.as_ref());
            let lock = belongs.as_ref().map(|_| files.lock(&file.name));
            let asks = view.look.prove_alone || is_channel;
            let used = of_use(&object, lock == Some(Lease::Held), asks, view, || {
                files.is_alone(&file.name)
            });
            match lock.filter(|_| is_channel) {
                Some(lock) => verdict::of_channel(lock, used),
                None => used,
            }
        }
    };
    object
}

fn object_name(name: &[u8]) -> Option<ObjectName> {
    ObjectName::new(std::str::from_utf8(name).ok()?).ok()
}

/// A queue.
pub(super) fn of_queue(
    file: &QueueFile,
    dev: Option<u64>,
    gates: &Gates,
    holders: &mut Holders,
    view: &View,
) -> Object {
    let namespace = view.queues(dev);
    let mut object = Object::new(Place::Named(Kind::Queue, file.name.clone()), namespace);
    match &file.stat {
        Some(stat) => {
            set_stat(&mut object, stat);
            object.holders = holders.take_of_file((stat.dev, stat.ino));
        }
        None => object.hidden.extend(["owner", "mode"]),
    }
    let mut lock = Lease::Hidden;
    match &file.details {
        Some(details) => {
            let limits = details.attributes;
            object.messages = Some(limits.messages as u64);
            object.queue_limits = Some((limits.messages_max as u64, limits.message_bytes_max as u64));
            object.bytes = Some((limits.messages_max as u64).saturating_mul(limits.message_bytes_max as u64));
            object.used_bytes = details.bytes;
            object.notified_pid = details.notified_pid;
            lock = if details.lock == Some(Lock::Read) {
                Lease::Held
            } else {
                Lease::Free
            };
        }
        None => object.hidden.push("messages"),
    }
    if object.used_bytes.is_none() {
        object.hidden.push("used");
    }
    if let Some(pid) = object.notified_pid {
        holders.add(&mut object.holders, pid, Role::Notified);
    }
    // A queue of another size is none that a server made.
    let is_servers = file
        .details
        .is_none_or(|details| has_servers_size(&details.attributes));
    let gate =
        gate_of(gates, &file.name, object.owner).filter(|_| view.is_own_queue_device(dev) && is_servers);
    let of_server = gate.map(|gate| {
        object.belongs = Some(Belonging::ServerQueue(gate.server.clone()));
        verdict::of_server_queue(gate.lock, lock, &gate.server.to_string())
    });
    object.verdict = match of_server {
        // Who has a dead server's queue open may have taken it for its own: a name is all that it takes.
        Some(verdict) if verdict.state != State::Stale || object.keepers().next().is_none() => verdict,
        _ => {
            if object.belongs.is_none() {
                object.belongs = Belonging::of_name(Kind::Queue, &file.name, 0);
            }
            let alone = || probe::is_queue_alone(&file.name, object.identity?);
            let asks = view.look.prove_alone;
            let used = of_use(&object, lock == Lease::Held, asks, view, alone);
            match object.belongs {
                Some(Belonging::Trial) if used.state != State::Live => verdict::of_trial(alone()),
                _ => used,
            }
        }
    };
    object
}

/// `is_alone` asks the kernel, if that is wanted. It is asked only about what is this user's and what nobody seems to have.
fn of_use(
    object: &Object,
    is_locked: bool,
    asks: bool,
    view: &View,
    is_alone: impl FnOnce() -> Option<bool>,
) -> Verdict {
    let is_own = object.owner.is_some_and(|owner| view.is_own(owner.uid));
    let is_in_doubt = !is_locked && object.keepers().next().is_none();
    let asks = asks && is_own && is_in_doubt;
    keeping::of_use(&UseEvidence {
        is_locked,
        is_alone: if asks { is_alone() } else { None },
        ..view.evidence(&object.holders)
    })
}
