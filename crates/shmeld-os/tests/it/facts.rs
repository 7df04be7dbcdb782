//! Kernel facts that this crate and those above rely on, where no other test shows them: another kernel
//! that behaves differently shall tell us here.

use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{Mode, OFlags};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind};

use crate::support::{NOBODY, Name, as_user, assert_kind, is_root_or_skip};

const PAGE: usize = 4096;

#[test]
fn shared_memory_objects_cannot_be_sealed() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    assert_eq!(
        rustix::fs::fcntl_get_seals(&memory).expect("tmpfs"),
        rustix::fs::SealFlags::SEAL
    );
    let outcome = rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::SHRINK);
    assert_eq!(outcome, Err(Errno::PERM));
}

#[test]
fn an_object_opened_for_reading_can_neither_be_shrunk_nor_scribbled_on() {
    let name = Name::new("read-only");
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    memory.reserve(PAGE as u64).expect("space");
    let reading = SharedMemory::open(&name, false).expect("it is there");
    assert_eq!(rustix::fs::ftruncate(&reading, 0), Err(Errno::INVAL));
    assert_kind(reading.write_at(b"x", 0), ErrorKind::Invalid);
    assert_kind(Mapping::new(&reading, PAGE, "test"), ErrorKind::PermissionDenied);
}

#[test]
fn a_write_through_the_descriptor_extends_the_object_again() {
    // Why servers write through the mapping: a peer that truncates must not make them allocate.
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    assert_eq!(memory.write_at(b"x", 100).expect("written"), 1);
    assert_eq!(memory.stat().expect("stat").bytes, 101);
    assert_eq!(memory.read_at(&mut [0; 8], 101).expect("read"), 0);
}

#[test]
fn sizing_promises_memory_that_reserving_provides() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.as_file().set_len(1 << 20).expect("sized");
    assert_eq!(memory.stat().expect("stat").blocks_512, 0);
    memory.reserve(1 << 20).expect("space");
    assert_eq!(memory.stat().expect("stat").blocks_512 * 512, 1 << 20);
}

#[test]
fn a_queue_is_a_file_that_is_closed_on_exec_and_cannot_be_written_as_one() {
    let name = Name::new("file");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    assert_eq!(rustix::io::write(&queue, b"x"), Err(Errno::INVAL));
    let mut text = [0; 200];
    let count = rustix::io::read(&queue, &mut text).expect("readable");
    assert!(text[..count].starts_with(b"QSIZE:"));
    assert!(shmeld_os::fs::is_pseudo(&queue).expect("fstatfs"));
}

#[test]
fn a_later_message_of_high_priority_overtakes() {
    let name = Name::new("overtake");
    let queue = MessageQueue::create_new(&name, 2, 64, 0o600).expect("a new queue");
    queue.send(b"honest", 0, None).expect("room");
    queue.send(b"pushy", 32767, None).expect("room");
    assert_eq!(queue.receive(&mut [0; 64], None).expect("a message"), (5, 32767));
}

#[test]
fn a_plain_open_with_creation_adopts_what_a_squatter_made() {
    // Why creation is always exclusive here.
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("squat");
    as_user(NOBODY, || {
        let path = name.path();
        let flags = OFlags::RDWR | OFlags::CREATE;
        rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666)).expect("created");
        MessageQueue::create_new(&name, 1, 64, 0o666).expect("created");
    });
    assert_kind(SharedMemory::create_new(&name, 0o600), ErrorKind::AlreadyExists);
    assert_kind(
        MessageQueue::create_new(&name, 1, 64, 0o600),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(
        SharedMemory::open(&name, true)
            .expect("root may")
            .stat()
            .expect("stat")
            .uid,
        NOBODY
    );
    let queue = MessageQueue::open(&name, Access::Both).expect("root may");
    assert_eq!(queue.stat().expect("stat").uid, NOBODY);
    // Its owner is another uid than the one that cleans up, but that one is root.
}

#[test]
fn a_lock_can_be_held_on_an_inode_that_lost_its_name() {
    // Why a holder of the gate looks at the links after it has the lock.
    use shmeld_os::lease::{Kind, Range, try_take};
    let name = Name::new("old-inode");
    let old = SharedMemory::open_or_create(&name, 0o600).expect("created");
    assert!(try_take(&old, Range::WHOLE, Kind::Write, "test").expect("no error"));
    SharedMemory::unlink(&name).expect("ours");
    let new = SharedMemory::open_or_create(&name, 0o600).expect("created");
    assert!(try_take(&new, Range::WHOLE, Kind::Write, "test").expect("no error"));
    assert_eq!(old.stat().expect("stat").links, 0);
    assert_eq!(new.stat().expect("stat").links, 1);
}

#[test]
fn linking_by_the_entry_in_proc_works_too() {
    // The second way of `publish`, for kernels that allow the first only with a capability.
    let name = Name::new("proc-link");
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    let entry = format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd());
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(
        rustix::fs::CWD,
        entry.as_str(),
        rustix::fs::CWD,
        name.path(),
        follow,
    )
    .expect("linked");
    assert_eq!(
        SharedMemory::stat_name(&name).expect("there").ino,
        memory.stat().expect("stat").ino
    );
}

#[test]
fn others_cannot_unlink_in_the_sticky_directory_but_can_truncate_what_they_may_write() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("sticky");
    let memory = SharedMemory::create_new(&name, 0o666).expect("a new object");
    memory.reserve(PAGE as u64).expect("space");
    as_user(NOBODY, || {
        assert_kind(SharedMemory::unlink(&name), ErrorKind::PermissionDenied);
        let theirs = SharedMemory::open(&name, true).expect("the mode admits it");
        theirs.as_file().set_len(0).expect("truncated");
    });
    assert_eq!(memory.stat().expect("stat").bytes, 0);
}
