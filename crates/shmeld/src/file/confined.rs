//! What a server can still do after it has given up the rest.
//!
//! | what | why |
//! |---|---|
//! | reading beneath the exported directories | to serve |
//! | reading, writing and removing in /dev/shm | regions, and the gate at the end |
//! | the directory of the queues | to look for a queue and make it again after somebody unlinked it |
//! | writing and making files where logs are | to rotate them |

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use shmeld_os::confine::{Confinement, Landlock};
use shmeld_os::fs::open_directory;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::shm;

use crate::Result;

/// What [`Server::confine`](super::Server::confine) has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confined {
    /// What the kernel does.
    pub landlock: Landlock,
    /// Whether the server can make its queue again; if not, it ends when the queue loses its name. It can where the queues are mounted
    /// (as /dev/mqueue) or where it may mount them itself (root).
    pub can_make_queue_again: bool,
}

/// What a server needs after its start.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'fd> {
    /// Directories beneath which it reads: the exported one.
    pub readable: &'fd [BorrowedFd<'fd>],
    /// Directories beneath which it writes and makes files: those of its logs.
    pub appendable: &'fd [BorrowedFd<'fd>],
}

pub(super) fn confine(queue: &MessageQueue, needs: Needs<'_>) -> Result<Confined> {
    let regions = open_directory(Path::new(shm::DIRECTORY))?;
    let queues = queue.root()?;
    let mut confinement = Confinement::new().remove_beneath(regions.as_fd());
    for directory in needs.readable {
        confinement = confinement.read_beneath(*directory);
    }
    for directory in needs.appendable {
        confinement = confinement.append_beneath(*directory);
    }
    if let Some(queues) = &queues {
        confinement = confinement.write_beneath(queues.as_fd());
    }
    let landlock = confinement.apply()?;
    let can_make_queue_again = queues.is_some() || matches!(landlock, Landlock::Unavailable(_));
    Ok(Confined {
        landlock,
        can_make_queue_again,
    })
}
