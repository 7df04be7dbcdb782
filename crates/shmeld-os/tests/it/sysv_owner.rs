//! Owners that a user namespace does not know: one number stands for all of them, and IPC_SET would make it the owner.

use std::process::{Command, Stdio};

use shmeld_os::Errno;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::message_queue::MessageQueue;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;

use crate::support::{Helper, NOBODY, eventually, is_root_or_skip, skip};
use crate::sysv_objects::{queue, segment, set};
use crate::sysv_segment::assert_refused;

/// A user whom only the outside knows.
const STRANGER: u32 = 54_321;

/// `chmod` in a container took objects away from their owners: it set the number that was shown for them.
#[test]
fn owner_that_a_namespace_does_not_know_is_not_replaced_by_its_nobody() {
    if !is_root_or_skip() {
        return;
    }
    // Root and nobody are known there; so the kernel would take nobody for an owner.
    let wait = "cat > /dev/null && exec \"$0\" \"$@\"";
    let wrapper = ["unshare", "--user", "--", "sh", "-c", wait];
    let can = Command::new("unshare")
        .args(["--user", "true"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        return skip("unshare --user");
    }
    let owner = (Some(STRANGER), Some(STRANGER));
    let own = (
        segment(Key::PRIVATE, 4096, 0o600),
        set(Key::PRIVATE, 1, 0o600),
        queue(Key::PRIVATE, 0o600),
    );
    own.0.set_owner(owner.0, owner.1).expect("root");
    own.1.set_owner(owner.0, owner.1).expect("root");
    own.2.set_owner(owner.0, owner.1).expect("root");
    let ids = [own.0.id(), own.1.id(), own.2.id()].map(|id| id.to_string());
    let ids = ids.each_ref().map(String::as_str);
    let helper = Helper::start_wrapped(&wrapper, "change_objects_of_strangers", &ids);
    let map = format!("0 0 1\n{NOBODY} {NOBODY} 1\n");
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{}/{file}", helper.pid().as_raw_nonzero());
        eventually("the namespace is there", || std::fs::write(&path, &map).is_ok());
    }
    helper.finish_well();
    let permissions = [
        own.0.stat().expect("root").permissions,
        own.1.stat().expect("root").permissions,
        own.2.stat().expect("root").permissions,
    ];
    for permissions in permissions {
        assert_eq!(
            (permissions.uid, permissions.gid, permissions.mode),
            (STRANGER, STRANGER, 0o600)
        );
    }
}

pub fn change_objects_of_strangers(segment: &str, set: &str, queue: &str) {
    let segment = Segment::from_id(segment.parse().expect("a number"));
    let set = SemaphoreSet::from_id(set.parse().expect("a number"));
    let queue = MessageQueue::from_id(queue.parse().expect("a number"));
    let seen = segment.stat().expect("its creator").permissions;
    assert_eq!((seen.uid, seen.gid, seen.creator_uid), (NOBODY, NOBODY, 0));
    for outcome in [
        segment.set_mode(0o666),
        set.set_mode(0o666),
        queue.set_mode(0o666),
        segment.set_owner(Some(0), None),
        set.set_owner(None, Some(0)),
        queue.set_owner(None, None),
    ] {
        let error = assert_refused(outcome, Errno::OVERFLOW, "outside of this container");
        assert!(error.to_string().contains("65534 stands for all"), "{error}");
    }
}
