//! The lease that the kernel gives to the only user of a file, and what a pass over the processes sees.

use std::time::Duration;

use shmeld_os::lease::while_alone;
use shmeld_os::listing::{Devices, How, QueueDirectory, look_at_processes, shared_memory_files};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind};

use crate::support::{Name, assert_kind, eventually, within};

const PAGE: usize = 4096;

fn is_alone(file: impl std::os::fd::AsFd) -> bool {
    while_alone(file, "test", || ()).expect("leases").is_some()
}

#[test]
fn only_the_only_user_of_shared_memory_gets_the_lease() {
    let name = Name::new("alone");
    let made = SharedMemory::create_new(&name, 0o600).expect("a new object");
    made.reserve(PAGE as u64).expect("space");
    assert!(is_alone(&made));
    let mapping = Mapping::new(&made, PAGE, "test").expect("mapped");
    drop(made);
    let asking = SharedMemory::open(&name, false).expect("there");
    assert!(!is_alone(&asking), "a mapping keeps it, without any descriptor");
    drop(mapping);
    assert!(is_alone(&asking));
    let reader = SharedMemory::open(&name, false).expect("there");
    assert!(!is_alone(&asking), "a reader counts too");
    drop(reader);
    assert!(is_alone(&asking));
}

#[test]
fn only_the_only_user_of_a_queue_gets_the_lease() {
    let name = Name::new("alone-queue");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    assert!(is_alone(&queue));
    let other = MessageQueue::open(&name, Access::Send).expect("there");
    assert!(!is_alone(&queue));
    drop(other);
    assert!(is_alone(&queue));
    MessageQueue::unlink(&name).expect("ours");
}

#[test]
fn nobody_opens_what_is_held_alone_and_who_does_not_want_to_wait_is_told() {
    let name = Name::new("held-alone");
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    let refused = while_alone(&memory, "test", || SharedMemory::open(&name, false)).expect("leases");
    assert_eq!(
        assert_kind(refused.expect("alone"), ErrorKind::WouldBlock).errno(),
        Errno::AGAIN
    );
    // The signal that the kernel sent for it did nothing, and the lease is over.
    SharedMemory::open(&name, false).expect("there");
    // Who waits gets it afterwards.
    let waiting = std::thread::scope(|scope| {
        let opening = while_alone(&memory, "test", || {
            let opening = scope.spawn(|| std::fs::File::open(name.path()));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!opening.is_finished());
            opening
        });
        opening.expect("leases").expect("alone").join()
    });
    waiting.expect("no panic").expect("open");
}

#[test]
fn files_are_listed_with_what_the_kernel_says_of_them() {
    let name = Name::new("listed-file");
    let memory = SharedMemory::create_new(&name, 0o640).expect("a new object");
    memory.reserve(5000).expect("space");
    let files = shared_memory_files().expect("readable");
    let file = files
        .iter()
        .find(|file| file.name == name.as_str().as_bytes())
        .expect("listed");
    assert!(file.stat.is_same_file(&memory.stat().expect("stat")));
    assert_eq!((file.stat.bytes, file.stat.mode), (5000, 0o640));
    assert!(file.made.is_some(), "tmpfs keeps the time of making");
    assert!(files.is_sorted_by_key(|file| &file.name));
}

/// What another process holds is seen by one pass: a descriptor, and a mapping whose descriptor is closed and whose name is gone.
#[test]
fn descriptors_and_mappings_of_another_process_are_seen() {
    let name = Name::new("seen");
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    memory.reserve(PAGE as u64).expect("space");
    let stat = memory.stat().expect("stat");
    let path = name.path();
    let mut holder = std::process::Command::new("sleep")
        .arg("1000")
        .stdin(std::fs::File::open(&path).expect("there"))
        .spawn()
        .expect("sleep");
    let pid = holder.id();
    let uses = || {
        let found = look_at_processes(Devices::look(Vec::new())).expect("proc");
        let is_it =
            |one: &shmeld_os::listing::Use| one.pid == pid && one.ino == stat.ino && one.dev == stat.dev;
        found.uses.into_iter().filter(is_it).collect::<Vec<_>>()
    };
    eventually("it has become another program", || {
        std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n")
    });
    let found = uses();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].how, found[0].path.as_slice()),
        (How::Open, path.as_os_str().as_encoded_bytes())
    );
    std::fs::remove_file(&path).expect("ours");
    assert!(uses()[0].path.ends_with(b" (deleted)"));
    holder.kill().expect("ours");
    holder.wait().expect("ended");
    assert!(uses().is_empty());
}

/// A queue in the directory has what `mq_getattr` says, and looking receives nothing.
#[test]
fn queues_are_listed_with_their_numbers_where_they_can_be_listed() {
    let name = Name::new("numbers");
    let queue = MessageQueue::create_new(&name, 3, 64, 0o600).expect("a new queue");
    queue.send(b"hello", 0, within(1000)).expect("room");
    for directory in QueueDirectory::all().expect("proc") {
        let queues = directory.queues().expect("readable");
        let Some(found) = queues.iter().find(|found| found.name == name.as_str().as_bytes()) else {
            // Another namespace's.
            assert!(!directory.is_own);
            continue;
        };
        let details = found.details.expect("ours to open");
        let limits = details.attributes;
        assert_eq!(
            (limits.messages, limits.messages_max, limits.message_bytes_max),
            (1, 3, 64)
        );
        assert_eq!(
            (details.bytes, details.notified_pid, details.lock),
            (Some(5), None, None)
        );
    }
    assert_eq!(queue.attributes().expect("attributes").messages, 1);
    MessageQueue::unlink(&name).expect("ours");
}
