//! The limits of System V objects, made small in an IPC namespace: which one is reached is told, with its value and the command that raises it.

use std::process::{Command, Stdio};

use shmeld_os::sysv::Key;
use shmeld_os::sysv::message_queue::MessageQueue;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::{Errno, Error, limits};

use crate::support::{Helper, skip};
use crate::sysv_objects::{queue, segment, set};
use crate::sysv_segment::assert_refused;

const SMALL: &str = "cd /proc/sys/kernel && echo 8192 > shmmax && echo 4 > shmall && echo 2 > shmmni && echo 3 5 2 2 > sem \
                     && echo 1 > msgmni && echo 16 > msgmax && cd / && exec \"$0\" \"$@\"";

#[test]
fn small_limits_are_named_with_their_values_and_cures() {
    let wrapper = ["unshare", "--ipc", "--", "sh", "-c", SMALL];
    let can_unshare = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !can_unshare {
        return skip("unshare --ipc");
    }
    Helper::start_wrapped(&wrapper, "meet_small_limits", &[]).finish_well();
}

#[track_caller]
fn hint_of(error: &Error) -> String {
    error.hint().unwrap_or_default()
}

pub fn meet_small_limits() {
    segments();
    sets();
    queues();
}

fn segments() {
    assert_eq!(limits::segment_bytes_max(), Some(8192));
    assert_eq!(
        (limits::segments_max(), limits::segment_pages_max()),
        (Some(2), Some(4))
    );
    let error = assert_refused(
        Segment::create_new(Key::new(7), 8193, 0o600),
        Errno::INVAL,
        "sysctl -w kernel.shmmax",
    );
    assert!(
        error
            .to_string()
            .contains("(8193 bytes wanted, at most 8192 are allowed)"),
        "{error}"
    );
    assert!(hint_of(&error).contains("at most 8192 bytes"));
    // Pages first: two segments of two pages take all four.
    let first = segment(Key::PRIVATE, 8192, 0o600);
    let second = segment(Key::PRIVATE, 8192, 0o600);
    let error = assert_refused(
        Segment::create_new(Key::PRIVATE, 1, 0o600),
        Errno::NOSPC,
        "4 pages",
    );
    assert!(
        hint_of(&error).contains("2 segments (kernel.shmmni)"),
        "{}",
        hint_of(&error)
    );
    assert!(hint_of(&error).contains("there are 2."), "{}", hint_of(&error));
    drop((first, second));
    let _small = [segment(Key::PRIVATE, 1, 0o600), segment(Key::PRIVATE, 1, 0o600)];
    assert_refused(
        Segment::create_new(Key::PRIVATE, 1, 0o600),
        Errno::NOSPC,
        "sysctl -w kernel.shmmni",
    );
}

fn sets() {
    let found = limits::semaphores().expect("/proc");
    let numbers = (found.in_set, found.in_all_sets, found.operations, found.sets);
    assert_eq!(numbers, (3, 5, 2, 2));
    assert_refused(
        SemaphoreSet::create_new(Key::PRIVATE, 4, 0o600),
        Errno::INVAL,
        "at most 3 semaphores",
    );
    let first = set(Key::PRIVATE, 3, 0o600);
    let error = assert_refused(
        SemaphoreSet::create_new(Key::PRIVATE, 3, 0o600),
        Errno::NOSPC,
        "5 semaphores in all",
    );
    assert!(
        hint_of(&error).contains("and there are 1."),
        "{}",
        hint_of(&error)
    );
    let _second = set(Key::PRIVATE, 1, 0o600);
    let third = SemaphoreSet::create_new(Key::PRIVATE, 1, 0o600);
    assert_refused(third, Errno::NOSPC, "2 sets");
    let three = [0, 1, 2].map(|index| Operation::add(index, 1));
    assert_refused(first.operate(&three, None), Errno::TOOBIG, "at most 2 operations");
}

fn queues() {
    assert_eq!(
        (limits::message_queues_max(), limits::message_bytes_max()),
        (Some(1), Some(16))
    );
    let own = queue(Key::PRIVATE, 0o600);
    assert_refused(
        MessageQueue::create_new(Key::PRIVATE, 0o600),
        Errno::NOSPC,
        "1 queues (kernel.msgmni), and there are 1.",
    );
    assert_refused(own.send(1, &[0; 17], None), Errno::INVAL, "at most 16 bytes");
    own.send(1, &[0; 16], None).expect("room");
}
