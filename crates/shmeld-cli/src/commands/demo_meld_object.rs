//! The object of `demo meld`: who may make it, who may have it, and what a crash left of it.
//!
//! A makes it without a name, finishes it, takes a lease (an OFD lock on byte 0, which dies with A) and gives it its name last. So a name
//! whose lease is held leads to a finished object of a live A, and a name without a lease to what a dead one left.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use shmeld::os::lease::{self, Kind, Range};
use shmeld::os::posix::shm::SharedMemory;
use shmeld::os::users::is_own_uid;
use shmeld::os::{Error, ErrorKind, ObjectName, explain, process};

use super::demo_meld_role::Failure;

/// The byte of A's lease.
pub const A: u64 = 0;
/// The byte of B's lease.
pub const B: u64 = 1;
/// Who holds this byte of a dead A's object may remove its name: two who find it cannot remove each other's new one.
const REMOVAL: u64 = 2;
/// How often A tries to get the name, and how long it sleeps in between: others may be about to leave it.
const TRIES: u32 = 5;
const NAP: Duration = Duration::from_millis(200);

/// Whether we can know at all what is ours. To be asked before anything is made: we could not tell it from others' afterwards.
///
/// # Errors
/// A user namespace that does not know our user.
pub fn check_user(name: &ObjectName) -> Result<(), Failure> {
    let uid = process::effective_uid();
    if is_own_uid(uid) {
        return Ok(());
    }
    let message = format!(
        "shm_open {name}: in this user namespace uid {uid} is our user and every other one that it does not know: what is ours cannot be told"
    );
    let cure = "use a namespace that knows the user (unshare --map-current-user), or none";
    Err(Failure::system(message).with_hint(cure))
}

/// Whether the process of that byte lives.
///
/// # Errors
/// Practically never.
pub fn lives(object: &SharedMemory, byte: u64) -> Result<bool, Error> {
    // Asked as a reader: only write locks are told, which a reader cannot take.
    Ok(lease::probe(object, Range::byte(byte), Kind::Read, object.label())? == Some(Kind::Write))
}

/// Takes the lease of a byte; `false` if another process has it. It is held as long as `object` is open or mapped here.
///
/// # Errors
/// Practically never.
pub fn take(object: &SharedMemory, byte: u64) -> Result<bool, Error> {
    lease::try_take(object, Range::byte(byte), Kind::Write, object.label())
}

/// Gives the finished object its name, and removes what a dead process left under it.
///
/// # Errors
/// The name is taken by another user, by another A, or by a program that knows nothing of leases.
pub fn publish(object: &SharedMemory, name: &ObjectName) -> Result<(), Failure> {
    let mut taken = None;
    for _ in 0..TRIES {
        match object.publish(name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            outcome => return Ok(outcome?),
        }
        taken = remove_stale(name)?;
        if taken.is_some() {
            thread::sleep(NAP);
        }
    }
    let user = taken.unwrap_or_else(|| "others take the name again and again".to_owned());
    Err(Failure::system(format!("shm_open {name}: {user}"))
        .with_hint("wait for its end, or choose another --object"))
}

/// Removes the name if it is ours and leads to what nobody uses; else says who does.
///
/// # Errors
/// It is another user's, or no shared memory object at all.
pub fn remove_stale(name: &ObjectName) -> Result<Option<String>, Failure> {
    let Some(stale) = open_own(name)? else {
        return Ok(None);
    };
    if lives(&stale, A)? {
        return Ok(Some("another process A is at work here".to_owned()));
    }
    if !take(&stale, REMOVAL)? {
        return Ok(Some("another process removes it at this moment".to_owned()));
    }
    if let Some(pid) = holder(&stale)? {
        return Ok(Some(format!("process {pid} has it open or mapped")));
    }
    if is_name_of(name, &stale)? {
        let why = "its lease is free and nobody has it open: left by a process that died";
        explain!("fcntl(F_OFD_GETLK)", name, why);
        SharedMemory::unlink(name)?;
    }
    Ok(None)
}

/// Opens what has the name, if it is ours; `None` if nothing has.
///
/// # Errors
/// It is another user's, or no shared memory object at all.
pub fn open_own(name: &ObjectName) -> Result<Option<SharedMemory>, Failure> {
    let opened = match SharedMemory::open(name, true) {
        Ok(object) => Ok(object.stat()?.uid).map(|uid| (uid, Some(object))),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // What cannot be opened may still tell whose it is.
        Err(error) => match SharedMemory::stat_name(name) {
            Ok(stat) if !is_own_uid(stat.uid) => Ok((stat.uid, None)),
            _ => Err(error),
        },
    };
    let (uid, object) = opened?;
    if is_own_uid(uid) {
        return Ok(object);
    }
    Err(Failure::Library(shmeld::Error::ForeignOwner {
        operation: "shm_open",
        object: name.to_string(),
        uid: Some(uid),
    })
    .with_hint("choose another --object, or have that user or root remove it"))
}

/// Whether the name still leads to this object.
///
/// # Errors
/// Practically never.
pub fn is_name_of(name: &ObjectName, object: &SharedMemory) -> Result<bool, Error> {
    let stat = object.stat()?;
    Ok(SharedMemory::stat_name(name).is_ok_and(|named| named.is_same_file(&stat)))
}

/// Another process that has the object open or mapped, as far as /proc lets us see.
fn holder(object: &SharedMemory) -> Result<Option<u32>, Error> {
    let stat = object.stat()?;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        let is_open = descriptors.into_iter().flatten().flatten().any(|entry| {
            fs::metadata(entry.path()).is_ok_and(|file| (file.dev(), file.ino()) == (stat.dev, stat.ino))
        });
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        is_open || maps.lines().any(|line| maps_inode(line, stat.ino))
    };
    Ok(pids.filter(|&pid| pid != process::pid()).find(holds))
}

/// Whether a line of `/proc/PID/maps` is about this file of /dev/shm.
fn maps_inode(line: &str, inode: u64) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(4);
    fields.next().and_then(|field| field.parse().ok()) == Some(inode)
        && fields.next().is_some_and(|path| path.starts_with("/dev/shm/"))
}

#[cfg(test)]
mod tests {
    use super::maps_inode;

    #[test]
    fn a_mapping_is_known_by_inode_and_directory() {
        let line = "7f0000000000-7f0000001000 rw-s 00000000 00:1c 4711    /dev/shm/shm-demo";
        assert!(maps_inode(line, 4711));
        assert!(!maps_inode(line, 47) && !maps_inode("", 0));
        assert!(!maps_inode("7f00-7f01 rw-s 00000000 08:01 4711 /tmp/x", 4711));
        assert!(!maps_inode("7f00-7f01 rw-p 00000000 00:00 0", 0));
    }
}
