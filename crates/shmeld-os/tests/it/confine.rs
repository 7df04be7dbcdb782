//! Confinement and the kernel facts that a confined server relies on. Each in a thread of its own, because it is for ever.

use std::os::fd::AsFd;

use shmeld_os::confine::{Confinement, Landlock};
use shmeld_os::fs::{Links, open_beneath, open_beneath_by_walk, open_directory};
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::{self, SharedMemory};
use shmeld_os::{Errno, ErrorKind};

use crate::support::{Directory, Name, assert_kind, is_root_or_skip, skip};

/// Runs in a thread that is confined as `allow` says; skipped on a kernel without landlock.
fn confined(
    allow: impl FnOnce(Confinement<'_>) -> shmeld_os::Result<Landlock> + Send,
    run: impl FnOnce() + Send,
) {
    let thread = || match allow(Confinement::new()).expect("no limit is near") {
        Landlock::On { .. } => run(),
        Landlock::Unavailable(_) => skip("a kernel with landlock"),
    };
    std::thread::scope(|scope| {
        let outcome = scope.spawn(thread).join();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn an_open_queue_goes_on_but_cannot_be_opened_or_made_again() {
    let name = Name::new("confined-queue");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    confined(
        |confinement| confinement.apply(),
        || {
            queue.send(b"still", 0, None).expect("open already");
            let mut buffer = [0; 64];
            assert_eq!(queue.receive(&mut buffer, None).expect("open already"), (5, 0));
            assert_kind(
                MessageQueue::open(&name, Access::Both),
                ErrorKind::PermissionDenied,
            );
            // Not covered by landlock, as `stat` is not.
            MessageQueue::unlink(&name).expect("ours");
            assert_eq!(queue.stat().expect("open already").links, 0);
            let again = MessageQueue::create_new(&name, 1, 64, 0o600);
            assert_kind(again, ErrorKind::PermissionDenied);
            // The queue is made before its opening is refused: whoever is confined must not even try.
            MessageQueue::unlink(&name).expect("it was made");
        },
    );
}

#[test]
fn a_queue_can_be_opened_and_made_again_where_its_file_system_is_allowed() {
    let name = Name::new("confined-again");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    let Some(root) = queue.root().expect("the queue is open") else {
        return if is_root_or_skip() {
            skip("CAP_SYS_ADMIN, or a mounted message queue file system");
        };
    };
    confined(
        |confinement| {
            let confined = confinement.write_beneath(root.as_fd()).apply();
            // What has no other descriptor any more is allowed nevertheless.
            drop(root);
            confined
        },
        || {
            MessageQueue::open(&name, Access::Both).expect("allowed");
            MessageQueue::unlink(&name).expect("ours");
            let again = MessageQueue::create_new(&name, 1, 64, 0o600).expect("allowed");
            again.send(b"new", 0, None).expect("a queue");
            MessageQueue::unlink(&name).expect("ours");
        },
    );
}

#[test]
fn objects_in_shared_memory_can_be_opened_and_removed_and_not_made() {
    let (name, other) = (Name::new("confined-shm"), Name::new("confined-new"));
    drop(SharedMemory::create_new(&name, 0o600).expect("a new object"));
    let directory = open_directory(shm::DIRECTORY.as_ref()).expect("a directory");
    confined(
        |confinement| confinement.remove_beneath(directory.as_fd()).apply(),
        || {
            SharedMemory::open(&name, true).expect("allowed");
            assert_kind(
                SharedMemory::create_new(&other, 0o600),
                ErrorKind::PermissionDenied,
            );
            SharedMemory::unlink(&name).expect("allowed");
        },
    );
}

#[test]
fn both_ways_of_opening_beneath_work_where_it_is_allowed() {
    let folder = Directory::new("confined");
    std::fs::create_dir_all(folder.join("root/sub")).expect("a folder");
    std::fs::write(folder.join("root/sub/file"), "in").expect("a file");
    std::os::unix::fs::symlink("sub/../sub", folder.join("root/link")).expect("a link");
    let root = open_directory(&folder.join("root")).expect("a folder");
    confined(
        |confinement| confinement.read_beneath(root.as_fd()).apply(),
        || {
            for path in ["sub/file", "link/file", "sub/../sub/./file", "", "sub"] {
                open_beneath(&root, path.as_bytes(), Links::Follow).expect(path);
                open_beneath_by_walk(&root, path.as_bytes(), Links::Follow).expect(path);
            }
            let outside = open_directory(&folder);
            assert_eq!(outside.map_err(|error| error.errno()).err(), Some(Errno::ACCESS));
        },
    );
}
