//! Leases.

use std::os::fd::AsFd;

use rustix::process::Signal;
use shmeld_os::lease::{Kind, Range, probe, release, try_take};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind};

use crate::support::{
    Helper, NOBODY, Name, Orphan, as_user, assert_kind, eventually, is_root_or_skip, pause, say,
};

fn object(what: &str) -> (Name, SharedMemory) {
    let name = Name::new(what);
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    memory.reserve(4096).expect("space");
    (name, memory)
}

fn holder(fd: impl AsFd, kind: Kind) -> Option<Kind> {
    probe(fd, Range::byte(0), kind, "test").expect("probed")
}

#[test]
fn write_excludes_all_and_read_excludes_write() {
    let (name, first) = object("exclusion");
    let second = SharedMemory::open(&name, true).expect("it is there");
    let take =
        |memory: &SharedMemory, kind| try_take(memory, Range::byte(0), kind, "test").expect("no error");
    assert!(take(&first, Kind::Write));
    assert!(take(&first, Kind::Write), "taking twice is fine");
    assert!(!take(&second, Kind::Write) && !take(&second, Kind::Read));
    release(&first, Range::WHOLE, "test").expect("released");
    assert!(take(&second, Kind::Read) && take(&first, Kind::Read));
    assert!(!take(&first, Kind::Write));
    release(&second, Range::byte(0), "test").expect("released");
    release(&second, Range::byte(0), "test").expect("nothing held is fine");
    assert!(
        take(&first, Kind::Write),
        "a lock can be raised when nobody else holds one"
    );
}

#[test]
fn a_probe_reports_the_kind_that_stands_in_the_way() {
    let (name, first) = object("probe");
    let second = SharedMemory::open(&name, false).expect("it is there");
    assert_eq!(holder(&second, Kind::Write), None);
    assert!(try_take(&first, Range::byte(0), Kind::Read, "test").expect("no error"));
    assert_eq!(holder(&second, Kind::Write), Some(Kind::Read));
    assert_eq!(
        holder(&second, Kind::Read),
        None,
        "a reader does not mind readers"
    );
    assert!(try_take(&first, Range::byte(0), Kind::Write, "test").expect("no error"));
    assert_eq!(holder(&second, Kind::Read), Some(Kind::Write));
    assert_eq!(holder(&first, Kind::Write), None, "own locks are not reported");
    assert_eq!(
        probe(&second, Range::byte(1), Kind::Write, "test").expect("probed"),
        None
    );
    assert_eq!(
        probe(&second, Range::WHOLE, Kind::Write, "test").expect("probed"),
        Some(Kind::Write)
    );
}

#[test]
fn a_range_may_lie_beyond_the_end_but_not_beyond_all_positions() {
    let (_name, memory) = object("range");
    assert!(try_take(&memory, Range::byte(1 << 40), Kind::Write, "test").expect("no error"));
    let error = assert_kind(
        try_take(&memory, Range::byte(u64::MAX), Kind::Write, "the thing"),
        ErrorKind::Invalid,
    );
    assert_eq!((error.errno(), error.object()), (Errno::OVERFLOW, "the thing"));
}

#[test]
fn a_sender_cannot_fake_the_read_lease_of_a_receiver() {
    let name = Name::new("queue");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o622).expect("a new queue");
    let sender = MessageQueue::open(&name, Access::Send).expect("it is there");
    let error = assert_kind(
        try_take(&sender, Range::WHOLE, Kind::Read, "queue"),
        ErrorKind::Invalid,
    );
    assert_eq!(error.errno(), Errno::BADF);
    // What a sender can take, a write lock, is never believed to be a lease.
    assert!(try_take(&sender, Range::WHOLE, Kind::Write, "queue").expect("no error"));
    assert_eq!(holder(&queue, Kind::Write), Some(Kind::Write));
    release(&sender, Range::WHOLE, "queue").expect("released");
    assert!(try_take(&queue, Range::WHOLE, Kind::Read, "queue").expect("no error"));
    assert_eq!(
        holder(&sender, Kind::Write),
        Some(Kind::Read),
        "a sender can probe"
    );
    assert!(!try_take(&sender, Range::byte(7), Kind::Write, "queue").expect("no error"));
}

#[test]
fn a_reader_of_another_user_can_probe_but_take_no_write_lease() {
    if !is_root_or_skip() {
        return;
    }
    let (name, memory) = object("reader");
    memory.set_mode(0o644).expect("ours");
    assert!(try_take(&memory, Range::byte(0), Kind::Write, "test").expect("no error"));
    as_user(NOBODY, || {
        let theirs = SharedMemory::open(&name, false).expect("the mode admits it");
        assert_eq!(holder(&theirs, Kind::Read), Some(Kind::Write));
        let error = assert_kind(
            try_take(&theirs, Range::byte(1), Kind::Write, "test"),
            ErrorKind::Invalid,
        );
        assert_eq!(error.errno(), Errno::BADF);
    });
}

#[test]
fn a_lease_is_held_while_its_holder_is_stopped_and_released_before_it_is_reaped() {
    for way in ["descriptor", "mapping"] {
        let (name, memory) = object("death");
        let mut helper = Helper::start("hold_a_lease", &[&name.to_string(), way]);
        helper.wait_for("held");
        assert_eq!(holder(&memory, Kind::Read), Some(Kind::Write));
        helper.signal(Signal::STOP);
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert_eq!(
            holder(&memory, Kind::Read),
            Some(Kind::Write),
            "stopped is not dead"
        );
        helper.signal(Signal::KILL);
        // Nobody has waited for it: it is a zombie when its lease goes.
        eventually("the lease is free", || holder(&memory, Kind::Read).is_none());
        assert!(try_take(&memory, Range::byte(0), Kind::Write, "test").expect("no error"));
    }
}

pub fn hold_a_lease(name: &str, way: &str) {
    let memory = SharedMemory::open(&Name::parse(name), true).expect("it is there");
    assert!(try_take(&memory, Range::byte(0), Kind::Write, "test").expect("no error"));
    if way == "mapping" {
        // The way of a session: the open description lives only in the mapping.
        let mapping = Mapping::new(&memory, 4096, "test").expect("mapped");
        drop(memory);
        say("held");
        pause();
        drop(mapping);
    } else {
        say("held");
        pause();
    }
}

#[test]
fn a_lease_in_a_mapping_is_not_inherited_by_a_forked_child() {
    let (name, memory) = object("fork");
    let mut helper = Helper::start("leave_a_child_behind", &[&name.to_string(), "mapping"]);
    let child = Orphan(helper.wait_for("forked").read_number());
    assert_eq!(holder(&memory, Kind::Read), Some(Kind::Write));
    helper.signal(Signal::KILL);
    eventually("the lease is free although a child lives", || {
        holder(&memory, Kind::Read).is_none()
    });
    drop(child);
}

#[test]
fn a_lease_on_an_inherited_descriptor_outlives_its_holder() {
    // The fact that makes the mapping necessary.
    let (name, memory) = object("inherited");
    let mut helper = Helper::start("leave_a_child_behind", &[&name.to_string(), "descriptor"]);
    let child = Orphan(helper.wait_for("forked").read_number());
    drop(helper);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(holder(&memory, Kind::Read), Some(Kind::Write));
    drop(child);
    eventually("the child ends too", || holder(&memory, Kind::Read).is_none());
}

/// Forks a child that lives much longer than any test waits.
pub fn leave_a_child_behind(name: &str, way: &str) {
    let memory = SharedMemory::open(&Name::parse(name), true).expect("it is there");
    assert!(try_take(&memory, Range::byte(0), Kind::Write, "test").expect("no error"));
    let mut mapping = None;
    let mut descriptor = Some(memory);
    if way == "mapping" {
        mapping = descriptor
            .take()
            .map(|memory| Mapping::new(&memory, 4096, "test").expect("mapped"));
    }
    // SAFETY: the child makes only calls that are safe after a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no pointers.
        unsafe { libc::sleep(100) };
        // SAFETY: ends the child without running anything of the test harness.
        unsafe { libc::_exit(0) };
    }
    assert!(child > 0);
    say("forked");
    say(&child.to_string());
    pause();
    drop((mapping, descriptor));
}

#[test]
fn a_forked_child_that_drops_a_mapping_it_never_got_removes_nothing() {
    let mut helper = Helper::start("drop_in_a_forked_child", &[]);
    helper.wait_for("done");
    helper.finish_well();
}

pub fn drop_in_a_forked_child() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.reserve(4096).expect("space");
    let mapping = Mapping::new(&memory, 4096, "test").expect("mapped");
    let address = mapping.as_ptr();
    // SAFETY: the child makes only calls that are safe after a fork of a process with threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: the address is free in the child, or the call fails.
        let own = unsafe { libc::mmap(address.cast(), 4096, protection, flags, -1, 0) };
        let is_free = own == address.cast();
        drop(mapping);
        // SAFETY: mapped above; if the drop removed it, the child dies here.
        let is_zero = is_free && unsafe { address.read_volatile() } == 0;
        // SAFETY: ends the child without running anything of the test harness.
        unsafe { libc::_exit(if is_zero { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid and exclusive.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
    say("done");
}
