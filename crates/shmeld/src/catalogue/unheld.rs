//! The removal of objects of other programs that nobody has. Each is looked at once more.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{Permissions, message_queue};
use shmeld_os::{Errno, ErrorKind, ObjectName, fs, lease, process};

use super::clean::Outcome;
use super::object::Object;
use super::posix::{SEMAPHORE_PREFIX, changed};
use super::{Kind, Place, sysv};
use crate::Result;

/// Another look at the machine has an object open for a moment: it is tried again so often, with a nap in between.
const TRIES: u32 = 20;
const NAP: Duration = Duration::from_millis(5);

pub(super) const IN_USE: &str = "somebody has it open or mapped by now";
const USED: &str = "somebody used it meanwhile, or it is another object of that number";

/// Removes it if it is still the same object, still this user's, nobody has it, and nobody used it meanwhile, as far as the kernel notes that.
///
/// # Errors
/// What the kernel says.
pub(super) fn remove(object: &Object) -> Result<Outcome> {
    let outcome = match &object.place {
        Place::Named(Kind::Queue, name) => remove_queue(object, name),
        Place::Named(kind, name) => remove_file(object, &file_name(*kind, name)),
        Place::Numbered(Kind::SysvSegment, id) => remove_segment(object, *id),
        Place::Numbered(Kind::SysvSet, id) => remove_set(object, *id),
        Place::Numbered(_, id) => remove_sysv_queue(object, *id),
        // It goes with those who have it.
        Place::Unnamed(..) => Ok(Outcome::Kept(IN_USE.to_owned())),
    };
    match outcome {
        // Another cleaner was faster. Of System V objects EINVAL and EIDRM say that.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Gone),
        Err(error) if object.kind().is_sysv() && matches!(error.errno(), Errno::INVAL | Errno::IDRM) => {
            Ok(Outcome::Gone)
        }
        outcome => Ok(outcome?),
    }
}

fn file_name(kind: Kind, name: &[u8]) -> Vec<u8> {
    match kind {
        Kind::Semaphore => [SEMAPHORE_PREFIX, name].concat(),
        _ => name.to_vec(),
    }
}

fn kept(why: &str) -> shmeld_os::Result<Outcome> {
    Ok(Outcome::Kept(why.to_owned()))
}

/// And as it was: between the look and the removal a person may have thought about the question for long.
fn is_same(object: &Object, stat: &fs::Stat) -> bool {
    let is_as_it_was =
        object.changed == Some(changed(object.kind(), stat)) && object.used == Some(stat.modified);
    object.identity == Some((stat.dev, stat.ino)) && stat.uid == process::effective_uid() && is_as_it_was
}

fn remove_file(object: &Object, name: &[u8]) -> shmeld_os::Result<Outcome> {
    let directory = fs::open_directory(Path::new(shm::DIRECTORY))?;
    let file = match fs::open_child(&directory, name) {
        // Somebody holds a lease on it: another cleaner, or a user.
        Err(error) if error.kind() == ErrorKind::WouldBlock => return kept(IN_USE),
        outcome => outcome?,
    };
    if !is_same(object, &fs::stat(&file)?) {
        return kept(USED);
    }
    let label = object.place.to_string();
    remove_alone(&file, &label, &|| match fs::stat_at(&directory, name)? {
        stat if is_same(object, &stat) => fs::unlink(&directory, name).map(|()| Outcome::Removed),
        _ => kept(USED),
    })
}

fn remove_queue(object: &Object, name: &[u8]) -> shmeld_os::Result<Outcome> {
    let name = std::str::from_utf8(name)
        .ok()
        .and_then(|name| ObjectName::new(name).ok());
    let Some(name) = name else {
        return kept("its name is none that a program should use: remove it where queues are mounted");
    };
    let queue = match MessageQueue::open(&name, Access::Receive) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return kept(IN_USE),
        outcome => outcome?,
    };
    // A mount can show queues of another namespace. Times are whole seconds here.
    let messages = Some(queue.attributes()?.messages as u64);
    if !is_same(object, &queue.stat()?) || object.messages != messages {
        return kept(USED);
    }
    remove_alone(&queue, &name.to_string(), &|| {
        // Nobody else can open it now, but somebody may have replaced it.
        match queue.stat()?.links {
            0 => Ok(Outcome::Gone),
            _ => MessageQueue::unlink(&name).map(|()| Outcome::Removed),
        }
    })
}

/// Removes while nobody else can open it.
fn remove_alone(
    file: impl AsFd,
    label: &str,
    remove: &dyn Fn() -> shmeld_os::Result<Outcome>,
) -> shmeld_os::Result<Outcome> {
    match alone_with(&[file], label, remove) {
        Ok(Some(outcome)) => outcome,
        Ok(None) => kept(IN_USE),
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported) => {
            kept("this kernel has no leases here: whether somebody has it cannot be known")
        }
        Err(error) => Err(error),
    }
}

/// Acts while nobody else has any of these files, nor can open one; `None` if somebody has one and keeps it.
pub(super) fn alone_with<T>(
    files: &[impl AsFd],
    label: &str,
    act: &dyn Fn() -> T,
) -> shmeld_os::Result<Option<T>> {
    for tried in 0..TRIES {
        if tried > 0 {
            std::thread::sleep(NAP);
        }
        if let Some(outcome) = alone_now(files, label, act)? {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

fn alone_now<T>(files: &[impl AsFd], label: &str, act: &dyn Fn() -> T) -> shmeld_os::Result<Option<T>> {
    let Some((first, rest)) = files.split_first() else {
        return Ok(Some(act()));
    };
    let outcome = lease::while_alone(first, label, || alone_now(rest, label, act))?;
    outcome.map_or(Ok(None), |inner| inner)
}

fn is_same_sysv(object: &Object, permissions: &Permissions) -> bool {
    object.key == Some(permissions.key)
        && permissions.uid == process::effective_uid()
        && object
            .creator
            .is_some_and(|creator| creator.uid == permissions.creator_uid)
}

fn remove_segment(object: &Object, id: i32) -> shmeld_os::Result<Outcome> {
    let segment = Segment::from_id(id);
    let stat = segment.stat()?;
    let used = stat.attach_time.max(stat.detach_time);
    let is_unused = object.used == used && object.changed == Some(stat.change_time);
    if stat.attached > 0 {
        return kept("somebody has it attached by now");
    }
    if !is_same_sysv(object, &stat.permissions) || !is_unused {
        return kept(USED);
    }
    segment.remove().map(|()| Outcome::Removed)
}

fn remove_set(object: &Object, id: i32) -> shmeld_os::Result<Outcome> {
    let set = SemaphoreSet::from_id(id);
    let stat = set.stat()?;
    let is_unused = object.used == stat.operate_time && object.changed == Some(stat.change_time);
    if !is_same_sysv(object, &stat.permissions) || !is_unused {
        return kept(USED);
    }
    let waiting = sysv::waiting(&set, u16::try_from(stat.semaphores).unwrap_or(u16::MAX));
    if waiting > 0 {
        return kept("somebody waits for it by now");
    }
    set.remove().map(|()| Outcome::Removed)
}

fn remove_sysv_queue(object: &Object, id: i32) -> shmeld_os::Result<Outcome> {
    let queue = message_queue::MessageQueue::from_id(id);
    let stat = queue.stat()?;
    let used = stat.send_time.max(stat.receive_time);
    let is_unused = object.used == used && object.changed == Some(stat.change_time);
    if !is_same_sysv(object, &stat.permissions) || !is_unused {
        return kept(USED);
    }
    queue.remove().map(|()| Outcome::Removed)
}
