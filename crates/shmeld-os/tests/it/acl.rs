//! Access control lists: what is written, and whether anything else than that is there.

use shmeld_os::fs::{admit_user, admits_only, set_mode};
use shmeld_os::posix::shm::SharedMemory;

use crate::support::{as_user, is_root_or_skip};

/// A server believes what it finds in a region of another user only if nobody else could have put it there.
#[test]
fn list_admits_only_the_user_for_whom_it_was_written() {
    let memory = SharedMemory::create_unnamed().unwrap();
    memory.set_mode(0o600).unwrap();
    assert!(!admits_only(&memory, 4000, "memory").unwrap(), "no list at all");
    admit_user(&memory, 4000, "memory").unwrap();
    assert_eq!(memory.stat().unwrap().mode, 0o660);
    assert!(admits_only(&memory, 4000, "memory").unwrap());
    for uid in [4001, 0, u32::MAX] {
        assert!(!admits_only(&memory, uid, "memory").unwrap(), "{uid}");
    }
    // The group's bits are the mask of the list now.
    set_mode(&memory, 0o640).unwrap();
    assert!(!admits_only(&memory, 4000, "memory").unwrap(), "another mask");
    admit_user(&memory, 4001, "memory").unwrap();
    assert!(!admits_only(&memory, 4000, "memory").unwrap(), "another user");
    assert!(admits_only(&memory, 4001, "memory").unwrap());
}

/// The user who is let in asks, and is not the owner.
#[test]
fn whoever_was_let_in_sees_the_list_too() {
    if !is_root_or_skip() {
        return;
    }
    let memory = SharedMemory::create_unnamed().unwrap();
    memory.set_mode(0o600).unwrap();
    admit_user(&memory, 4000, "memory").unwrap();
    assert!(as_user(4000, || admits_only(&memory, 4000, "memory").unwrap()));
}
