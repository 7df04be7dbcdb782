//! Who owns a server's name: the gate, the queue behind it, and what earlier crashes left.
//!
//! The gate is an empty shared memory object of mode 0600. Only the process that holds its lock creates, replaces or unlinks the queue,
//! so two servers can never both believe that they own it, and a queue left by a dead one is replaced without asking anybody.

use std::time::{Duration, Instant};

use shmeld_core::attach::{NAME_PREFIX, RegionId, is_abandoned};
use shmeld_os::fs::{Audience, Stat};
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind, ObjectName, explain, listing};

use super::users::Users;
use super::wire::{MESSAGE_BYTES_MAX, MESSAGES_MAX, has_servers_size};
use crate::{Error, Result, ServerName};

/// How often the gate may be removed under us while we take it before we give up.
const GATE_TRIES: u32 = 64;
/// How long to wait before another try.
const GATE_NAP: Duration = Duration::from_millis(5);
/// How often a removal looks at what may be looked at by others.
const REMOVAL_TRIES: u32 = 20;
/// Only the owner sends and receives.
const QUEUE_MODE: u32 = 0o600;
/// A group, or everybody, may send too. Nobody else ever receives: requests could be stolen.
const QUEUE_MODE_GROUP: u32 = 0o620;
const QUEUE_MODE_OTHERS: u32 = 0o622;
const GATE_MODE: u32 = 0o600;
/// How long a start of root looks at what users left.
const OTHERS_SWEEP_TIME_MAX: Duration = Duration::from_secs(1);

/// The lock on a server's name. Dropping it without [`Gate::remove`] leaves the object for the next server to take.
#[derive(Debug)]
pub(super) struct Gate {
    memory: SharedMemory,
    name: ServerName,
    users: Users,
}

impl Gate {
    /// Takes the name, or says who has it. What a dead server of another user left under it is not in root's way.
    pub(super) fn take(name: &ServerName, users: Users) -> Result<Self> {
        match Self::try_take(name, users) {
            Err(Error::ForeignOwner { uid: Some(uid), .. }) if users.may_sweep(uid) => {
                sweep_server(name, users, false).iter().for_each(Swept::tell);
                Self::try_take(name, users)
            }
            outcome => outcome,
        }
    }

    fn try_take(name: &ServerName, users: Users) -> Result<Self> {
        for _ in 0..GATE_TRIES {
            let (memory, is_new) = open_gate(name, users)?;
            check_owner("shm_open", name.gate(), &memory.stat()?, users).inspect_err(|_| {
                // A process that does not know itself, in a user namespace, does not know its own gate.
                if is_new && is_still_named(&memory, name.gate()).unwrap_or(false) {
                    let _ = SharedMemory::unlink(name.gate());
                }
            })?;
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
                    users,
                });
            }
        }
        Err(Error::AlreadyRunning { name: name.clone() })
    }

    /// Makes the queue anew, replacing what a dead server left, takes the lease that clients look for, and then lets the audience send.
    pub(super) fn make_queue(&self, audience: Option<Audience>) -> Result<MessageQueue> {
        let name = self.name.queue();
        let check = |stat: &Stat| check_owner("mq_open", name, stat, self.users);
        if let Some(swept) = remove_stale_queue(&self.name, check, false)? {
            swept.tell();
        }
        let queue = MessageQueue::create_new(name, MESSAGES_MAX, MESSAGE_BYTES_MAX, QUEUE_MODE)?;
        self.lease(&queue)
            .and_then(|()| admit(&queue, audience))
            .inspect_err(|_| {
                // Ours, new, and of no use to anybody.
                let _ = MessageQueue::unlink(name);
            })?;
        Ok(queue)
    }

    fn lease(&self, queue: &MessageQueue) -> Result<()> {
        let name = self.name.queue();
        explain!(
            "fcntl(F_OFD_SETLK)",
            name,
            "a read lock over the queue: clients see through it that this server lives"
        );
        // Only a process that may read the queue can hold a read lock on it, so a mere sender cannot fake this.
        if lease::try_take(queue, Range::WHOLE, Kind::Read, &name.to_string())? {
            return Ok(());
        }
        Err(Error::AlreadyRunning {
            name: self.name.clone(),
        })
    }

    /// Removes the gate's name, still holding its lock.
    pub(super) fn remove(&self) {
        if is_still_named(&self.memory, self.name.gate()).unwrap_or(false) {
            // Nothing can be done about a failure, and the next server takes an object that is left.
            let _ = SharedMemory::unlink(self.name.gate());
        }
    }
}

/// Lets the audience send. The group comes before the mode that admits it, and what the kernel made of both is looked at: a queue that others
/// may read would give their requests away.
fn admit(queue: &MessageQueue, audience: Option<Audience>) -> Result<()> {
    let mode = match audience {
        None => return Ok(()),
        Some(Audience::Group(gid)) => {
            // A service that has this group for its own needs no right to give things away.
            if queue.stat()?.gid != gid {
                queue.set_owner(None, Some(gid))?;
            }
            QUEUE_MODE_GROUP
        }
        Some(Audience::Others) => QUEUE_MODE_OTHERS,
    };
    queue.set_mode(mode)?;
    let stat = queue.stat()?;
    let has_group = audience.is_none_or(|audience| match audience {
        Audience::Group(gid) => stat.gid == gid,
        Audience::Others => true,
    });
    if stat.mode != mode || !has_group {
        return Err(shmeld_os::Error::new("fchmod", queue.name().to_string(), Errno::PERM).into());
    }
    Ok(())
}

/// Whether the queue of this name carries a server's lease.
fn has_live_queue(name: &ServerName) -> bool {
    MessageQueue::open(name.queue(), Access::Both)
        .and_then(|queue| lease::probe(&queue, Range::WHOLE, Kind::Write, &name.to_string()))
        .is_ok_and(|held| held == Some(Kind::Read))
}

/// The gate, and whether this call has made it.
fn open_gate(name: &ServerName, users: Users) -> Result<(SharedMemory, bool)> {
    match SharedMemory::create_new(name.gate(), GATE_MODE) {
        Ok(memory) => return Ok((memory, true)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    let opened = SharedMemory::open_or_create(name.gate(), GATE_MODE).map_err(|error| {
        // fs.protected_regular answers EACCES for another user's object, even to root.
        let stat =
            (error.kind() == ErrorKind::PermissionDenied).then(|| SharedMemory::stat_name(name.gate()));
        match stat {
            Some(Ok(stat)) => check_owner("shm_open", name.gate(), &stat, users)
                .err()
                .unwrap_or(Error::Os(error)),
            _ => Error::Os(error),
        }
    });
    opened.map(|memory| (memory, false))
}

fn is_still_named(memory: &SharedMemory, name: &ObjectName) -> Result<bool> {
    let ours = memory.stat()?;
    match SharedMemory::stat_name(name) {
        Ok(named) => Ok(ours.links > 0 && (named.dev, named.ino) == (ours.dev, ours.ino)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn check_owner(operation: &'static str, object: &ObjectName, stat: &Stat, users: Users) -> Result<()> {
    if users.is_own(stat.uid) {
        return Ok(());
    }
    Err(Error::ForeignOwner {
        operation,
        object: object.to_string(),
        uid: Some(stat.uid),
    })
}

/// What was removed because its process is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swept {
    what: &'static str,
    pub(crate) name: ObjectName,
    proof: String,
}

impl Swept {
    fn tell(&self) {
        let Self { what, name, proof } = self;
        tracing::info!(target: "shmeld::sweep", "removed the {what} {name}: {proof}");
    }
}

/// Unlinks a queue that no server holds, if its owner is right. The caller holds the gate. `spares_others`: not if it has not the size of a
/// server's, or a process has it open, which is a client that waits for the next server, or a program that has taken it for its own, as
/// `mq_open` with O_CREAT does.
fn remove_stale_queue(
    name: &ServerName,
    check: impl Fn(&Stat) -> Result<()>,
    spares_others: bool,
) -> Result<Option<Swept>> {
    let queue = match MessageQueue::open(name.queue(), Access::Both) {
        Ok(queue) => queue,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Error::ForeignOwner {
                operation: "mq_open",
                object: name.to_string(),
                uid: None,
            });
        }
        Err(error) => return Err(error.into()),
    };
    check(&queue.stat()?)?;
    if lease::probe(&queue, Range::WHOLE, Kind::Write, &name.to_string())? == Some(Kind::Read) {
        return Err(Error::AlreadyRunning { name: name.clone() });
    }
    if spares_others && !has_servers_size(&queue.attributes()?) {
        return Ok(None);
    }
    let unlink = || MessageQueue::unlink(name.queue());
    match spares_others.then(|| lease::while_alone(&queue, &name.to_string(), unlink)) {
        Some(Ok(Some(outcome))) => outcome?,
        Some(Ok(None)) => {
            return Err(shmeld_os::Error::new("mq_unlink", name.to_string(), Errno::BUSY).into());
        }
        // Its name is wanted; or a kernel without such leases: the gate and the server's own lease have said enough.
        None | Some(Err(_)) => unlink()?,
    }
    Ok(Some(Swept {
        what: "queue",
        name: name.queue().clone(),
        proof: "no server holds its lease".to_owned(),
    }))
}

/// The same as [`sweep`] for one name in /dev/shm: a region, or a gate with its queue. Nothing is removed but what is proven dead now. Another
/// look has a queue open for a moment, so it is tried a few times.
pub(crate) fn remove_if_dead(name: &[u8]) -> Vec<Swept> {
    let users = Users::look(false);
    let mut tries = (0..REMOVAL_TRIES).map(|tried| {
        std::thread::sleep(GATE_NAP * tried.min(1));
        sweep_object(name, None, users, true)
    });
    tries.find(|swept| !swept.is_empty()).unwrap_or_default()
}

/// Removes what earlier crashes left: regions whose client is dead, and queues and gates of other names whose server is dead. Only our
/// own objects, and then, as root, for a while those of all others: anybody can make as many as there is room for. Each with its proof
/// in the log.
pub(super) fn sweep(own: &ServerName, users: Users) {
    let mut of_others = Vec::new();
    let sweep = |name: &[u8], spares_others| {
        sweep_object(name, Some(own), users, spares_others)
            .iter()
            .for_each(Swept::tell);
    };
    // A listing that fails means that nothing is known to be stale.
    for name in listing::shared_memory_names(NAME_PREFIX).unwrap_or_default() {
        match object_name(&name).and_then(|object| owner_to_sweep(&object, users)) {
            Some(uid) if users.is_own(uid) => sweep(&name, true),
            Some(_) => of_others.push(name),
            None => {}
        }
    }
    let end = Instant::now() + OTHERS_SWEEP_TIME_MAX;
    for (looked_at, name) in of_others.iter().enumerate() {
        if Instant::now() >= end {
            let left = of_others.len() - looked_at;
            let seconds = OTHERS_SWEEP_TIME_MAX.as_secs();
            tracing::info!(target: "shmeld::sweep", "left {left} objects of other users to the next start: those before them took {seconds} s");
            return;
        }
        // Nobody but root can make the name free for a server of a third user, and clients that wait for one have the queue open.
        sweep_object(name, Some(own), users, false)
            .iter()
            .for_each(Swept::tell);
    }
}

/// `own` is the name that the caller has itself; `spares_others` as in [`remove_stale_queue`].
fn sweep_object(name: &[u8], own: Option<&ServerName>, users: Users, spares_others: bool) -> Vec<Swept> {
    if RegionId::from_name(name).is_some() {
        sweep_region(name, users).into_iter().collect()
    } else if let Some(server) = ServerName::from_gate(name).filter(|server| Some(server) != own) {
        sweep_server(&server, users, spares_others)
    } else {
        Vec::new()
    }
}

fn object_name(name: &[u8]) -> Option<ObjectName> {
    ObjectName::new(std::str::from_utf8(name).ok()?).ok()
}

/// The owner of what has this name, if it may be removed.
fn owner_to_sweep(name: &ObjectName, users: Users) -> Option<u32> {
    let uid = SharedMemory::stat_name(name).ok()?.uid;
    users.may_sweep(uid).then_some(uid)
}

fn sweep_region(name: &[u8], users: Users) -> Option<Swept> {
    let name = object_name(name)?;
    let uid = owner_to_sweep(&name, users)?;
    let is_removed = is_abandoned(&name) == Some(true) && SharedMemory::unlink(&name).is_ok();
    is_removed.then(|| Swept {
        what: "region",
        name,
        proof: format!("it is {} and its client is dead (lease free)", whose(uid, users)),
    })
}

/// A gate that can be locked has no server. The lock is held while its queue and itself are removed.
fn sweep_server(server: &ServerName, users: Users, spares_others: bool) -> Vec<Swept> {
    let mut swept = Vec::new();
    let Some(uid) = owner_to_sweep(server.gate(), users) else {
        return swept;
    };
    let Ok(memory) = SharedMemory::open(server.gate(), true) else {
        return swept;
    };
    let object = server.gate().to_string();
    let locked = lease::try_take(memory.as_file(), Range::WHOLE, Kind::Write, &object).unwrap_or(false);
    if !locked || !is_still_named(&memory, server.gate()).unwrap_or(false) {
        return swept;
    }
    let Ok(queue) = remove_stale_queue(server, |stat| same_owner(server, stat, uid), spares_others) else {
        return swept;
    };
    swept.extend(queue);
    if SharedMemory::unlink(server.gate()).is_ok() {
        swept.push(Swept {
            what: "gate",
            name: server.gate().clone(),
            proof: format!("it is {} and no server holds its lock", whose(uid, users)),
        });
    }
    swept
}

/// Anybody can make a gate beside somebody else's queue, so that root removes it.
fn same_owner(server: &ServerName, queue: &Stat, gate_uid: u32) -> Result<()> {
    if queue.uid == gate_uid {
        return Ok(());
    }
    Err(Error::ForeignOwner {
        operation: "mq_open",
        object: server.to_string(),
        uid: Some(queue.uid),
    })
}

fn whose(uid: u32, users: Users) -> String {
    if users.is_own(uid) {
        "ours".to_owned()
    } else {
        format!("of uid {uid}")
    }
}
