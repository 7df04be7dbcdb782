//! System V semaphores: every reason that can be provoked; waiting; what is undone and what is not.

use std::time::{Duration, Instant};

use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet, VALUE_MAX};
use shmeld_os::{Errno, ErrorKind};

use crate::support::{
    Helper, NOBODY, Orphan, as_user, eventually, in_a_shower_of_signals, is_root_or_skip, pause, say, within,
};
use crate::sysv_objects::{Own, new_key, set};
use crate::sysv_segment::assert_refused;

#[test]
fn refused_numbers_of_semaphores_are_told_apart() {
    let key = new_key();
    assert_refused(SemaphoreSet::open(key, 1), Errno::NOENT, "ipcs -s");
    assert_refused(SemaphoreSet::open(Key::PRIVATE, 1), Errno::NOENT, "ipcs -s");
    assert_refused(
        SemaphoreSet::open_or_create(key, 0, 0o600),
        Errno::INVAL,
        "at least one",
    );
    let error = assert_refused(
        SemaphoreSet::create_new(key, u16::MAX, 0o600),
        Errno::INVAL,
        "kernel.sem",
    );
    assert!(
        error.to_string().contains("65535 semaphores wanted, at most"),
        "{error}"
    );
    let _set = set(key, 3, 0o600);
    let error = assert_refused(SemaphoreSet::open(key, 4), Errno::INVAL, "never grows");
    assert!(
        error.to_string().contains("4 semaphores wanted, it has 3"),
        "{error}"
    );
    assert_refused(SemaphoreSet::create_new(key, 3, 0o600), Errno::EXIST, "ipcrm -S");
}

#[test]
fn operations_that_cannot_be_done_have_reasons_of_their_own() {
    let own = set(Key::PRIVATE, 2, 0o600);
    let take_at_once = own.operate(&[Operation::take(0, 1).at_once()], None);
    assert_eq!(
        assert_refused(take_at_once, Errno::AGAIN, "").kind(),
        ErrorKind::WouldBlock
    );
    let take_in_time = own.operate(&[Operation::take(0, 1)], within(20));
    assert_eq!(
        assert_refused(take_in_time, Errno::TIMEDOUT, "").kind(),
        ErrorKind::TimedOut
    );
    let past = Instant::now().checked_sub(Duration::from_secs(1));
    assert_refused(own.operate(&[Operation::take(0, 1)], past), Errno::TIMEDOUT, "");
    assert_refused(
        own.operate(&[Operation::add(2, 1)], None),
        Errno::FBIG,
        "counted from zero",
    );
    own.operate(&[Operation::add(0, VALUE_MAX)], None)
        .expect("as much as fits");
    assert_refused(own.operate(&[Operation::add(0, 1)], None), Errno::RANGE, "32767");
    assert_refused(own.set_value(0, VALUE_MAX + 1), Errno::RANGE, "32767");
    let many = vec![Operation::zero(1); 100_000];
    assert_refused(
        own.operate(&many, None),
        Errno::TOOBIG,
        "third number of kernel.sem",
    );
    assert_refused(own.operate(&[], None), Errno::INVAL, "ipcs -s");
    assert_refused(own.value(2), Errno::INVAL, "ipcs -s");
    // All or nothing: the second step cannot be done, so the first is not.
    let both = [Operation::take(0, 1), Operation::take(1, 1).at_once()];
    assert_refused(own.operate(&both, None), Errno::AGAIN, "");
    assert_eq!(own.values().expect("ours"), [VALUE_MAX, 0]);
}

#[test]
fn removed_set_wakes_who_waits_with_eidrm_and_is_invalid_for_who_comes_later() {
    let guard = set(Key::PRIVATE, 1, 0o600);
    let own = &guard;
    std::thread::scope(|scope| {
        let wait = |deadline| own.operate(&[Operation::take(0, 1)], deadline);
        let waiters = [
            scope.spawn(move || wait(None)),
            scope.spawn(move || wait(within(60_000))),
        ];
        eventually("both wait", || {
            own.waiting(0).is_ok_and(|(for_more, _)| for_more == 2)
        });
        own.remove().expect("ours");
        for waiter in waiters {
            let outcome = waiter.join().expect("no panic");
            assert_eq!(assert_refused(outcome, Errno::IDRM, "").kind(), ErrorKind::Gone);
        }
    });
    for outcome in [
        own.operate(&[Operation::add(0, 1)], None),
        own.value(0).map(drop),
        own.values().map(drop),
        own.set_value(0, 1),
        own.stat().map(drop),
        own.remove(),
    ] {
        assert_refused(outcome, Errno::INVAL, "or it was removed");
    }
}

#[test]
fn signals_neither_end_nor_stretch_a_wait() {
    let own = set(Key::PRIVATE, 1, 0o600);
    let start = Instant::now();
    let outcome = in_a_shower_of_signals(|| own.operate(&[Operation::take(0, 1)], within(300)));
    assert_refused(outcome, Errno::TIMEDOUT, "");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn modes_keep_other_users_out() {
    if !is_root_or_skip() {
        return;
    }
    let key = new_key();
    let own = set(key, 1, 0o600);
    as_user(NOBODY, || {
        assert_refused(
            SemaphoreSet::open_or_create(key, 1, 0o600),
            Errno::ACCESS,
            "closed to this user",
        );
        assert_refused(own.stat(), Errno::ACCESS, "closed to this user");
        assert_eq!(
            own.stat_of_any().expect("what ipcs shows").permissions.mode,
            0o600
        );
        assert_refused(own.value(0), Errno::ACCESS, "closed to this user");
        let error = assert_refused(SemaphoreSet::open(key, 2), Errno::INVAL, "never grows");
        assert!(error.to_string().contains("it has 1"), "{error}");
        let shut = set(Key::PRIVATE, 1, 0);
        shut.set_mode(0o600).expect("ours");
        assert_eq!(shut.stat().expect("open again").permissions.mode, 0o600);
    });
    own.set_mode(0o444).expect("ours");
    as_user(NOBODY, || {
        own.operate(&[Operation::zero(0)], None).expect("it may read");
        let add = own.operate(&[Operation::add(0, 1)], None);
        assert_refused(add, Errno::ACCESS, "closed to this user");
        assert_refused(own.set_value(0, 1), Errno::ACCESS, "closed to this user");
        assert_refused(own.set_mode(0o666), Errno::PERM, "its owner");
        assert_refused(own.remove(), Errno::PERM, "its owner");
    });
    let error = assert_refused(own.set_owner(None, Some(u32::MAX)), Errno::INVAL, "gid_map");
    assert!(
        error.to_string().contains("uid as it is, gid 4294967295"),
        "{error}"
    );
}

#[test]
fn what_was_to_be_undone_is_undone_by_a_kill() {
    let own = set(Key::PRIVATE, 2, 0o600);
    own.operate(&[Operation::add(1, 1)], None).expect("ours");
    let mut helper = Helper::start("hold_units", &[&own.id().to_string()]);
    helper.wait_for("held");
    assert_eq!(own.values().expect("ours"), [1, 0]);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| own.operate(&[Operation::zero(0)], within(60_000)));
        drop(helper);
        waiter
            .join()
            .expect("no panic")
            .expect("the kernel takes it back");
    });
    assert_eq!(own.values().expect("ours"), [0, 1]);
}

/// Counts itself on 0 and takes a unit of 1, both to be undone.
pub fn hold_units(id: &str) {
    let set = SemaphoreSet::from_id(id.parse().expect("a number"));
    let both = [Operation::add(0, 1).undone(), Operation::take(1, 1).undone()];
    set.operate(&both, within(0)).expect("held");
    say("held");
    pause();
}

#[test]
fn setting_a_value_wipes_what_everybody_would_undo() {
    let own = set(Key::PRIVATE, 2, 0o600);
    own.operate(&[Operation::add(1, 1)], None).expect("ours");
    let mut helper = Helper::start("hold_units", &[&own.id().to_string()]);
    helper.wait_for("held");
    own.set_value(0, 5).expect("ours");
    drop(helper);
    // Only 1 is given back, so the helper is gone entirely when that has happened.
    eventually("the other one is undone", || {
        own.value(1).is_ok_and(|value| value == 1)
    });
    assert_eq!(own.value(0).expect("ours"), 5);
}

#[test]
fn forked_child_has_nothing_to_undo() {
    let own = set(Key::PRIVATE, 2, 0o600);
    own.operate(&[Operation::add(1, 1)], None).expect("ours");
    let mut helper = Helper::start("hold_units_and_fork", &[&own.id().to_string()]);
    let child = Orphan(helper.wait_for("forked").read_number());
    // A first child has ended: that has undone nothing.
    assert_eq!(own.values().expect("ours"), [1, 0]);
    drop(helper);
    // A second one lives, and holds nothing.
    eventually("the parent's operations are undone", || {
        own.values().is_ok_and(|values| values == [0, 1])
    });
    drop(child);
    assert_eq!(own.values().expect("ours"), [0, 1]);
}

#[allow(unsafe_code)]
pub fn hold_units_and_fork(id: &str) {
    let set = SemaphoreSet::from_id(id.parse().expect("a number"));
    let both = [Operation::add(0, 1).undone(), Operation::take(1, 1).undone()];
    set.operate(&both, within(0)).expect("held");
    // SAFETY: the child makes only calls that are safe after a fork of a process with threads.
    let first = unsafe { libc::fork() };
    if first == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(first, std::ptr::null_mut(), 0) };
    // SAFETY: as above.
    let second = unsafe { libc::fork() };
    if second == 0 {
        loop {
            // SAFETY: no pointers; the test kills this child.
            unsafe { libc::pause() };
        }
    }
    say("forked");
    say(&second.to_string());
    pause();
}

#[test]
fn new_set_is_zero_and_values_appear_at_once_for_who_waits_for_them() {
    let zero = set(Key::PRIVATE, 3, 0o600);
    assert_eq!(zero.values().expect("ours"), [0, 0, 0]);
    assert_eq!(zero.stat().expect("ours").operate_time, None);
    for _ in 0..100 {
        let key = new_key();
        std::thread::scope(|scope| {
            let opener = scope.spawn(|| {
                let deadline = within(60_000);
                loop {
                    match SemaphoreSet::open_initialised(key, 3, deadline) {
                        Err(error) if error.kind() == ErrorKind::NotFound => std::thread::yield_now(),
                        outcome => return outcome.expect("made below").values().expect("ours"),
                    }
                }
            });
            let _own = Own(SemaphoreSet::create_with(key, &[4, 0, VALUE_MAX], 0o600).expect("new"));
            assert_eq!(opener.join().expect("no panic"), [4, 0, VALUE_MAX]);
        });
    }
}

#[test]
fn set_whose_maker_never_finishes_is_waited_for_in_vain() {
    let key = new_key();
    let unfinished = set(key, 1, 0o600);
    let outcome = SemaphoreSet::open_initialised(key, 1, within(50));
    assert_eq!(
        assert_refused(outcome, Errno::TIMEDOUT, "").kind(),
        ErrorKind::TimedOut
    );
    // Even values of zero only are an operation.
    unfinished.remove().expect("ours");
    let _own = Own(SemaphoreSet::create_with(key, &[0], 0o600).expect("new"));
    SemaphoreSet::open_initialised(key, 1, within(0)).expect("finished");
}

#[test]
fn set_whose_values_are_refused_is_removed_again() {
    let key = new_key();
    let refused = SemaphoreSet::create_with(key, &[VALUE_MAX + 1], 0o600);
    assert_refused(refused, Errno::RANGE, "32767");
    assert_refused(
        SemaphoreSet::create_with(key, &[1; 10_000], 0o600),
        Errno::TOOBIG,
        "kernel.sem",
    );
    assert_refused(SemaphoreSet::open(key, 0), Errno::NOENT, "ipcs -s");
    assert_refused(
        SemaphoreSet::create_with(key, &[], 0o600),
        Errno::INVAL,
        "at least one",
    );
}
