//! System V message queues: every reason that can be provoked, and waiting.

use std::time::{Duration, Instant};

use shmeld_os::sysv::Key;
use shmeld_os::sysv::message_queue::{MessageQueue, Which};
use shmeld_os::{Errno, ErrorKind};

use crate::support::{NOBODY, as_user, in_a_shower_of_signals, is_root_or_skip, within};
use crate::sysv_objects::{new_key, queue};
use crate::sysv_segment::assert_refused;

#[test]
fn what_exists_and_what_does_not_have_reasons_of_their_own() {
    let key = new_key();
    assert_refused(MessageQueue::open(key), Errno::NOENT, "ipcs -q");
    assert_refused(MessageQueue::open(Key::PRIVATE), Errno::NOENT, "ipcs -q");
    let own = queue(key, 0o600);
    assert_refused(MessageQueue::create_new(key, 0o600), Errno::EXIST, "ipcrm -Q");
    own.remove().expect("ours");
    for outcome in [
        own.send(1, b"x", within(0)),
        own.receive(Which::Oldest, &mut [0; 8], within(0)).map(drop),
        own.stat().map(drop),
        own.set_mode(0o600),
        own.remove(),
    ] {
        assert_refused(outcome, Errno::INVAL, "or it was removed");
    }
}

#[test]
fn refused_messages_are_told_apart() {
    let own = queue(Key::PRIVATE, 0o600);
    for kind in [0, -1] {
        let error = assert_refused(own.send(kind, b"x", within(0)), Errno::INVAL, "greater than zero");
        assert!(error.to_string().contains(&format!("(type {kind})")), "{error}");
    }
    // To the kernel, type 0 means any, -5 at most 5, and the negative of the smallest number was a panic.
    own.send(5, b"kept", within(0)).expect("room");
    for kind in [0, -5, i64::MIN] {
        for which in [Which::Type(kind), Which::UpTo(kind)] {
            let outcome = own.receive(which, &mut [0; 8], within(0));
            let error = assert_refused(outcome, Errno::INVAL, "greater than zero");
            assert!(error.to_string().contains(&format!("(type {kind})")), "{error}");
        }
    }
    assert_eq!(
        own.receive(Which::Oldest, &mut [0; 8], within(0))
            .expect("it stayed"),
        (4, 5)
    );
    let long = vec![0; 1 << 20];
    let error = assert_refused(own.send(1, &long, within(0)), Errno::INVAL, "kernel.msgmax");
    assert!(error.to_string().contains("(1048576 bytes)"), "{error}");
    own.send(5, b"hello", within(0)).expect("room");
    let outcome = own.receive(Which::Oldest, &mut [0; 4], within(0));
    assert_refused(outcome, Errno::TOOBIG, "larger buffer");
    let mut buffer = [0; 5];
    let outcome = own.receive(Which::Type(6), &mut buffer, within(20));
    assert_eq!(
        assert_refused(outcome, Errno::TIMEDOUT, "").kind(),
        ErrorKind::TimedOut
    );
    assert_eq!(
        own.receive(Which::UpTo(9), &mut buffer, within(0))
            .expect("it stayed"),
        (5, 5)
    );
    assert_eq!(&buffer, b"hello");
}

#[test]
fn full_queue_makes_the_sender_wait_until_its_time_is_up() {
    let own = queue(Key::PRIVATE, 0o600);
    let message = [7; 1000];
    while own.send(1, &message, within(0)).is_ok() {}
    let start = Instant::now();
    assert_refused(own.send(1, &message, within(50)), Errno::TIMEDOUT, "");
    assert!(start.elapsed() >= Duration::from_millis(50));
    let stat = own.stat().expect("ours");
    assert_eq!(stat.messages, stat.bytes_max / 1000);
}

/// Two kinds of waits: for ever in the kernel, which is woken with EIDRM; and until a deadline, which looks again and finds nothing.
#[test]
fn removed_queue_ends_every_wait() {
    let own = queue(Key::PRIVATE, 0o600);
    std::thread::scope(|scope| {
        let for_ever = scope.spawn(|| own.receive(Which::Oldest, &mut [0; 8], None));
        let in_time = scope.spawn(|| own.receive(Which::Oldest, &mut [0; 8], within(60_000)));
        // The kernel does not tell who waits here.
        std::thread::sleep(Duration::from_millis(100));
        own.remove().expect("ours");
        let outcome = for_ever.join().expect("no panic");
        assert_eq!(assert_refused(outcome, Errno::IDRM, "").kind(), ErrorKind::Gone);
        assert_refused(
            in_time.join().expect("no panic"),
            Errno::INVAL,
            "or it was removed",
        );
    });
}

#[test]
fn removed_queue_wakes_a_sender_that_waits_for_room() {
    let own = queue(Key::PRIVATE, 0o600);
    let message = [7; 1000];
    while own.send(1, &message, within(0)).is_ok() {}
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| own.send(1, &message, None));
        // The kernel does not tell who waits here.
        std::thread::sleep(Duration::from_millis(100));
        own.remove().expect("ours");
        assert_refused(sender.join().expect("no panic"), Errno::IDRM, "");
    });
}

#[test]
fn signals_neither_end_nor_stretch_a_wait() {
    let own = queue(Key::PRIVATE, 0o600);
    let start = Instant::now();
    let outcome = in_a_shower_of_signals(|| own.receive(Which::Oldest, &mut [0; 8], within(200)));
    assert_refused(outcome, Errno::TIMEDOUT, "");
    assert!(start.elapsed() >= Duration::from_millis(200));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            own.send(1, b"x", None).expect("room");
        });
        let outcome = in_a_shower_of_signals(|| own.receive(Which::Oldest, &mut [0; 8], None));
        assert_eq!(outcome.expect("sent"), (1, 1));
    });
}

#[test]
fn modes_keep_other_users_out() {
    if !is_root_or_skip() {
        return;
    }
    let key = new_key();
    let own = queue(key, 0o622);
    as_user(NOBODY, || {
        assert_refused(
            MessageQueue::open_or_create(key, 0o600),
            Errno::ACCESS,
            "closed to this user",
        );
        own.send(1, b"x", within(0)).expect("it may send");
        // Why a message is refused is told to those who may not read, too.
        assert_refused(own.send(0, b"x", within(0)), Errno::INVAL, "greater than zero");
        let long = own.send(1, &[0; 1 << 20], within(0));
        assert_refused(long, Errno::INVAL, "kernel.msgmax");
        let outcome = own.receive(Which::Oldest, &mut [0; 8], within(0));
        assert_refused(outcome, Errno::ACCESS, "closed to this user");
        assert_refused(own.stat(), Errno::ACCESS, "closed to this user");
        assert_eq!(
            own.stat_of_any().expect("what ipcs shows").permissions.mode,
            0o622
        );
        assert_refused(own.remove(), Errno::PERM, "its owner");
        let shut = queue(Key::PRIVATE, 0);
        shut.set_mode(0o600).expect("ours");
        assert_eq!(shut.stat().expect("open again").permissions.mode, 0o600);
    });
    own.set_mode(0o644).expect("ours");
    as_user(NOBODY, || {
        assert_refused(own.send(1, b"x", within(0)), Errno::ACCESS, "closed to this user");
        assert_refused(own.set_mode(0o666), Errno::PERM, "its owner");
    });
    assert_refused(own.set_owner(Some(u32::MAX), None), Errno::INVAL, "uid_map");
}
