//! Shared memory that its own owner cannot open is found, and opened to him again.

use std::os::unix::fs::symlink;

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind, fs};

use crate::support::{NOBODY, Name, as_user, assert_kind, is_root_or_skip};

#[test]
fn owner_who_shut_himself_out_finds_his_object_and_opens_its_mode_again() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("shut");
    as_user(NOBODY, || {
        SharedMemory::create_new(&name, 0).expect("a new object");
        assert_kind(SharedMemory::open(&name, false), ErrorKind::PermissionDenied);
        let found = SharedMemory::find(&name).expect("found");
        let stat = found.stat().expect("its own");
        assert_eq!((stat.mode & 0o777, stat.uid), (0, NOBODY));
        assert_eq!(
            found.read_at(&mut [0], 0).expect_err("not open").errno(),
            Errno::BADF
        );
        found.set_mode(0o640).expect("its own");
        SharedMemory::open(&name, true).expect("open again");
        fs::set_owner(&found, None, Some(NOBODY)).expect("its own group");
        assert_kind(fs::set_owner(&found, Some(0), None), ErrorKind::PermissionDenied);
    });
    // Others find it, and change nothing.
    as_user(NOBODY - 1, || {
        let found = SharedMemory::find(&name).expect("found");
        assert_eq!(found.stat().expect("anybody may").mode & 0o777, 0o640);
        assert_kind(found.set_mode(0o666), ErrorKind::PermissionDenied);
    });
}

#[test]
fn what_is_no_shared_memory_is_not_found() {
    let name = Name::new("link");
    assert_kind(SharedMemory::find(&name), ErrorKind::NotFound);
    symlink("/etc/hostname", name.path()).expect("a free name");
    assert_kind(SharedMemory::find(&name), ErrorKind::Invalid);
}
