//! POSIX message queues as a file system shows them. It need not be mounted anywhere for those who may make a mount that has no place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::fs::label::{fail_at, fail_on};
use crate::fs::{Stat, entries, find_at, open_directory, open_directory_at, stat};
use crate::lease::{self, Kind, Range};
use crate::posix::mqueue::{Access, Attributes, MessageQueue, attributes_of};
use crate::posix::queue_root::mount_nowhere;
use crate::{ErrorKind, ObjectName, Result};

/// A message queue file system: the queues of one IPC namespace.
#[derive(Debug)]
pub struct QueueDirectory {
    root: OwnedFd,
    /// Where it is mounted; `None` for a mount that was made for the look.
    pub path: Option<PathBuf>,
    /// Its device, which tells the namespaces apart.
    pub dev: u64,
    /// It is known to show this process's own namespace. Whose a mount is that somebody else made the kernel does not say.
    pub is_own: bool,
}

/// A queue as a directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFile {
    /// Its name without a slash: any bytes but `/` and NUL.
    pub name: Vec<u8>,
    /// What the kernel says about it; `None` if its mode hides even that. The size is that of a text about the queue.
    pub stat: Option<Stat>,
    /// What its mode lets us see.
    pub details: Option<QueueDetails>,
}

/// What only those may see who may open a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDetails {
    /// How much fits, and how many messages wait.
    pub attributes: Attributes,
    /// How many bytes all waiting messages together have; `None` for those who may only send.
    pub bytes: Option<u64>,
    /// The process that is told of the next message; 0 if it is in a namespace that we do not see.
    pub notified_pid: Option<u32>,
    /// The lock over the whole of it that is in the way of a writer, if there is one: see [`lease::probe`].
    pub lock: Option<Kind>,
}

impl QueueDirectory {
    /// `fsopen("mqueue")` where that is allowed, and each mount in `/proc/self/mountinfo` that can be read: one for each namespace. None
    /// means that queues cannot be listed: `mount -t mqueue none /dev/mqueue`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if /proc is missing; [`ErrorKind::Limit`] if there are no descriptors left.
    ///
    /// See [mq_overview(7)](https://man7.org/linux/man-pages/man7/mq_overview.7.html).
    pub fn all() -> Result<Vec<Self>> {
        let mut found: Vec<Self> = Vec::new();
        // First, because it is known to show this process's own namespace.
        if let Ok(root) = mount_nowhere() {
            // A mount without a place is opened as a path only: what can be listed is its `.`.
            let root = open_directory_at(&root, b".")?;
            let dev = stat(&root)?.dev;
            found.push(Self {
                root,
                path: None,
                dev,
                is_own: true,
            });
        }
        let mounts = match super::queue_mounts() {
            // /proc is missing; what was found without it is worth having.
            Err(_) if !found.is_empty() => Vec::new(),
            mounts => mounts?,
        };
        for path in mounts {
            let root = match open_directory(&path) {
                Ok(root) => root,
                Err(error) if error.kind() == ErrorKind::Limit => return Err(error),
                // Covered by another mount, or closed to this user.
                Err(_) => continue,
            };
            let dev = stat(&root)?.dev;
            match found.iter_mut().find(|one| one.dev == dev) {
                Some(known) => known.path = known.path.take().or(Some(path)),
                None => found.push(Self {
                    root,
                    path: Some(path),
                    dev,
                    is_own: false,
                }),
            }
        }
        Ok(found)
    }

    /// `getdents64`, `fstatat`, and for each queue that its mode lets us open `mq_getattr`, its text and its lock; sorted by name. Nothing
    /// is received.
    ///
    /// # Errors
    /// Practically never; a queue that is removed meanwhile is left out.
    pub fn queues(&self) -> Result<Vec<QueueFile>> {
        let root = retry_on_intr(|| rustix::fs::openat(&self.root, c".", LIST, Mode::empty()))
            .map_err(|errno| fail_on("openat", &self.root, errno))?;
        let mut listed = entries(root)?;
        let mut queues = Vec::new();
        while let Some(entry) = listed.next().transpose()? {
            let stat = find_at(&self.root, &entry.name)?;
            if stat.is_some() {
                let details = self.details(&entry.name)?;
                queues.push(QueueFile {
                    name: entry.name,
                    stat,
                    details,
                });
            }
        }
        queues.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(queues)
    }

    fn details(&self, name: &[u8]) -> Result<Option<QueueDetails>> {
        let open = |access: OFlags| {
            let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            retry_on_intr(|| rustix::fs::openat(&self.root, name, flags, Mode::empty()))
        };
        let queue = match open(OFlags::RDONLY) {
            // Who may send may ask for numbers as well.
            Err(Errno::ACCESS) => open(OFlags::WRONLY),
            outcome => outcome,
        };
        let queue = match queue {
            Ok(queue) => queue,
            Err(errno) if ErrorKind::of(errno) == ErrorKind::Limit => {
                return Err(fail_at("openat", &self.root, name, errno));
            }
            Err(_) => return Ok(None),
        };
        Ok(details_of(queue.as_fd()))
    }
}

/// `mq_open` by name, where queues cannot be listed: the queue if there is one of this name, with what its mode lets us see.
///
/// # Errors
/// [`ErrorKind::Limit`] if there are no descriptors left.
///
/// See [mq_open(3)](https://man7.org/linux/man-pages/man3/mq_open.3.html).
pub fn queue_of_name(name: &ObjectName) -> Result<Option<QueueFile>> {
    let queue = match MessageQueue::open(name, Access::Receive) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => MessageQueue::open(name, Access::Send),
        outcome => outcome,
    };
    let (stat, details) = match queue {
        Ok(queue) => (Some(queue.stat()?), details_of(queue.as_fd())),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => (None, None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(QueueFile {
        name: name.as_str().as_bytes().to_vec(),
        stat,
        details,
    }))
}

fn details_of(queue: BorrowedFd<'_>) -> Option<QueueDetails> {
    let attributes = attributes_of(queue).ok()?;
    let mut text = [0; TEXT_BYTES];
    let count = retry_on_intr(|| rustix::io::pread(queue, &mut text, 0)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..count]);
    Some(QueueDetails {
        attributes,
        bytes: number_in(&text, "QSIZE:"),
        notified_pid: notified(&text),
        lock: lease::probe(queue, Range::WHOLE, Kind::Write, "queue").unwrap_or_default(),
    })
}

const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// More than the kernel's line of four numbers ever has.
const TEXT_BYTES: usize = 128;

/// `QSIZE:129 NOTIFY:2 SIGNO:0 NOTIFY_PID:8260`.
fn number_in(text: &str, label: &str) -> Option<u64> {
    let field = text
        .split_ascii_whitespace()
        .find_map(|field| field.strip_prefix(label))?;
    field.parse().ok()
}

/// Without a request for a notice all three numbers are zero.
fn notified(text: &str) -> Option<u32> {
    let pid = number_in(text, "NOTIFY_PID:")?;
    let is_asked_for = pid != 0 || number_in(text, "NOTIFY:")? != 0 || number_in(text, "SIGNO:")? != 0;
    is_asked_for.then(|| u32::try_from(pid).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_queue_is_understood() {
        let text = "QSIZE:129       NOTIFY:2     SIGNO:0     NOTIFY_PID:8260  \n";
        assert_eq!(
            (number_in(text, "QSIZE:"), notified(text)),
            (Some(129), Some(8260))
        );
        let quiet = "QSIZE:0 NOTIFY:0 SIGNO:0 NOTIFY_PID:0";
        assert_eq!((number_in(quiet, "QSIZE:"), notified(quiet)), (Some(0), None));
        assert_eq!(notified("QSIZE:0 NOTIFY:0 SIGNO:10 NOTIFY_PID:0"), Some(0));
        assert_eq!((number_in("", "QSIZE:"), notified("")), (None, None));
    }

    #[test]
    fn no_namespace_is_listed_twice() {
        let found = QueueDirectory::all().expect("mountinfo");
        for (index, one) in found.iter().enumerate() {
            assert!(found[index + 1..].iter().all(|other| other.dev != one.dev));
            one.queues().expect("readable");
        }
    }
}
