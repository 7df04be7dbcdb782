//! Message queues.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, Attributes, MessageQueue, PRIORITY_MAX};
use shmeld_os::{Errno, ErrorKind, event};

use crate::support::{
    Helper, NOBODY, Name, PATIENCE, as_user, assert_kind, assert_times_out, in_a_shower_of_signals,
    is_root_or_skip, within,
};

fn queue_of(name: &Name, messages: usize) -> MessageQueue {
    MessageQueue::create_new(name, messages, 64, 0o600).expect("a new queue")
}

#[test]
fn modes_are_exact_whatever_the_umask_says() {
    // A umask counts for a whole process, so a helper sets it.
    let name = Name::new("umask");
    let mut helper = Helper::start("create_all_under_umask_077", &[&name.to_string()]);
    helper.wait_for("created");
    helper.finish_well();
}

#[test]
fn messages_come_in_order_of_priority_and_then_of_sending() {
    let name = Name::new("priority");
    let queue = queue_of(&name, 5);
    for (text, priority) in [
        ("a", 1),
        ("b", PRIORITY_MAX),
        ("c", 1),
        ("d", 0),
        ("e", PRIORITY_MAX),
    ] {
        queue.send(text.as_bytes(), priority, within(0)).expect("room");
    }
    let mut buffer = [0; 64];
    let received: Vec<(u8, u32)> = (0..5)
        .map(|_| {
            let (len, priority) = queue.receive(&mut buffer, within(0)).expect("a message");
            assert_eq!(len, 1);
            (buffer[0], priority)
        })
        .collect();
    assert_eq!(
        received,
        [
            (b'b', PRIORITY_MAX),
            (b'e', PRIORITY_MAX),
            (b'a', 1),
            (b'c', 1),
            (b'd', 0)
        ]
    );
    let error = assert_kind(queue.send(b"x", PRIORITY_MAX + 1, None), ErrorKind::Invalid);
    assert_eq!(error.errno(), Errno::INVAL);
}

#[test]
fn a_timed_send_to_a_full_queue_times_out_within_tolerance() {
    let name = Name::new("full");
    let queue = queue_of(&name, 1);
    queue.send(b"fills it", 0, None).expect("room");
    for milliseconds in [0, 30, 1300] {
        assert_times_out(milliseconds, |deadline| queue.send(b"x", 0, deadline));
    }
    assert_eq!(queue.attributes().expect("attributes").messages, 1);
}

#[test]
fn a_timed_receive_from_an_empty_queue_times_out_within_tolerance() {
    let name = Name::new("empty");
    let queue = queue_of(&name, 1);
    let mut buffer = [0; 64];
    for milliseconds in [0, 30, 1300] {
        let error = assert_times_out(milliseconds, |deadline| queue.receive(&mut buffer, deadline));
        assert_eq!(error.operation(), "mq_timedreceive");
    }
}

#[test]
fn a_deadline_in_the_past_still_takes_what_is_there() {
    let name = Name::new("past");
    let queue = queue_of(&name, 1);
    let past = Instant::now().checked_sub(Duration::from_secs(1));
    assert!(past.is_some());
    queue.send(b"now", 0, past).expect("there is room");
    let mut buffer = [0; 64];
    assert_eq!(
        queue.receive(&mut buffer, past).expect("there is a message"),
        (3, 0)
    );
}

#[test]
fn signals_neither_end_nor_stretch_a_wait() {
    let name = Name::new("signals");
    let queue = queue_of(&name, 1);
    queue.send(b"fills it", 0, None).expect("room");
    let empty_name = Name::new("signals-empty");
    let empty = queue_of(&empty_name, 1);
    in_a_shower_of_signals(|| {
        let start = Instant::now();
        assert_kind(queue.send(b"x", 0, within(200)), ErrorKind::TimedOut);
        assert_kind(empty.receive(&mut [0; 64], within(200)), ErrorKind::TimedOut);
        let ready = event::poll(&[empty.as_fd()], Some(Duration::from_millis(200))).expect("poll");
        assert_eq!(ready, [false]);
        let took = start.elapsed();
        assert!((600..6000).contains(&took.as_millis()), "{took:?}");
    });
    in_a_shower_of_signals(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                empty.send(b"at last", 0, None).expect("room");
            });
            assert_eq!(empty.receive(&mut [0; 64], None).expect("a message"), (7, 0));
        });
    });
}

#[test]
fn attributes_are_those_of_the_creation() {
    let name = Name::new("attributes");
    let queue = MessageQueue::create_new(&name, 7, 128, 0o600).expect("a new queue");
    let expected = Attributes {
        messages_max: 7,
        message_bytes_max: 128,
        messages: 0,
        nonblocking: false,
    };
    assert_eq!(queue.attributes().expect("attributes"), expected);
    queue.send(b"one", 0, None).expect("room");
    let opened = MessageQueue::open(&name, Access::Both).expect("it is there");
    assert_eq!(
        opened.attributes().expect("attributes"),
        Attributes {
            messages: 1,
            ..expected
        }
    );
    assert_eq!(opened.name(), &*name);
}

#[test]
fn a_nonblocking_queue_answers_at_once_and_only_through_its_own_description() {
    let name = Name::new("nonblocking");
    let queue = queue_of(&name, 1);
    queue.set_nonblocking(true).expect("set");
    assert!(queue.attributes().expect("attributes").nonblocking);
    assert_kind(queue.receive(&mut [0; 64], None), ErrorKind::WouldBlock);
    let other = MessageQueue::open(&name, Access::Both).expect("it is there");
    assert!(!other.attributes().expect("attributes").nonblocking);
    queue.set_nonblocking(false).expect("set");
    assert_kind(queue.receive(&mut [0; 64], within(5)), ErrorKind::TimedOut);
}

#[test]
fn wrong_lengths_are_invalid_and_say_so() {
    let name = Name::new("lengths");
    let queue = queue_of(&name, 1);
    let error = assert_kind(queue.send(&[0; 65], 0, None), ErrorKind::Invalid);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("mq_msgsize")),
        "{error}"
    );
    let error = assert_kind(queue.receive(&mut [0; 63], within(0)), ErrorKind::Invalid);
    assert_eq!(error.errno(), Errno::MSGSIZE);
    queue.send(b"", 0, None).expect("an empty message is a message");
    assert_eq!(queue.receive(&mut [0; 64], None).expect("a message"), (0, 0));
}

#[test]
fn access_is_what_it_was_opened_for() {
    let name = Name::new("access");
    let _queue = queue_of(&name, 1);
    let sender = MessageQueue::open(&name, Access::Send).expect("it is there");
    sender.send(b"x", 0, None).expect("room");
    assert_eq!(
        assert_kind(sender.receive(&mut [0; 64], None), ErrorKind::Invalid).errno(),
        Errno::BADF
    );
    let receiver = MessageQueue::open(&name, Access::Receive).expect("it is there");
    assert_eq!(receiver.receive(&mut [0; 64], None).expect("a message").0, 1);
    assert_eq!(
        assert_kind(receiver.send(b"x", 0, None), ErrorKind::Invalid).errno(),
        Errno::BADF
    );
}

#[test]
fn an_existing_queue_is_never_adopted_and_an_absent_one_is_told_apart() {
    let name = Name::new("exists");
    assert_kind(MessageQueue::open(&name, Access::Send), ErrorKind::NotFound);
    assert_kind(MessageQueue::unlink(&name), ErrorKind::NotFound);
    let _queue = queue_of(&name, 1);
    let error = assert_kind(
        MessageQueue::create_new(&name, 1, 64, 0o600),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(error.object(), name.to_string());
}

#[test]
fn an_unlinked_queue_has_no_links_left() {
    let name = Name::new("orphan");
    let queue = queue_of(&name, 1);
    assert_eq!(queue.stat().expect("stat").links, 1);
    MessageQueue::unlink(&name).expect("it is there");
    assert_eq!(queue.stat().expect("stat").links, 0);
    let again = queue_of(&name, 1);
    assert!(
        !again
            .stat()
            .expect("stat")
            .is_same_file(&queue.stat().expect("stat"))
    );
}

#[test]
fn a_queue_can_be_polled() {
    let name = Name::new("poll");
    let queue = queue_of(&name, 1);
    let is_ready = |timeout| event::poll(&[queue.as_fd()], Some(timeout)).expect("poll") == [true];
    assert!(!is_ready(Duration::ZERO));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            queue.send(b"x", 0, None).expect("room");
        });
        assert!(is_ready(PATIENCE));
    });
    queue.receive(&mut [0; 64], None).expect("a message");
    assert!(!is_ready(Duration::ZERO));
}

#[test]
fn owner_and_mode_can_be_given_away_by_root_alone() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("owner");
    let queue = queue_of(&name, 1);
    queue.set_owner(None, Some(NOBODY)).expect("root may");
    queue.set_mode(0o620).expect("root may");
    let stat = queue.stat().expect("stat");
    assert_eq!((stat.uid, stat.gid, stat.mode), (0, NOBODY, 0o620));
    assert_kind(queue.set_owner(Some(u32::MAX), None), ErrorKind::Invalid);
    as_user(NOBODY, || {
        assert_kind(queue.set_mode(0o666), ErrorKind::PermissionDenied);
        assert_kind(queue.set_owner(Some(NOBODY), None), ErrorKind::PermissionDenied);
    });
}

#[test]
fn others_may_send_to_a_public_queue_but_neither_receive_nor_remove_it() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("public");
    let queue = MessageQueue::create_new(&name, 2, 64, 0o622).expect("a new queue");
    as_user(NOBODY, || {
        let sender = MessageQueue::open(&name, Access::Send).expect("the mode admits it");
        sender.send(b"from nobody", 0, within(0)).expect("room");
        let error = assert_kind(
            MessageQueue::open(&name, Access::Receive),
            ErrorKind::PermissionDenied,
        );
        assert!(
            error.hint().is_some_and(|hint| hint.contains("another user")),
            "{error}"
        );
        let error = assert_kind(MessageQueue::unlink(&name), ErrorKind::PermissionDenied);
        assert!(error.hint().is_some_and(|hint| hint.contains("owner")), "{error}");
    });
    assert_eq!(queue.receive(&mut [0; 64], within(0)).expect("a message").0, 11);
}

#[test]
fn one_place_for_notifications_and_one_signal_for_the_first_message() {
    static NOTIFIED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn count(_: libc::c_int) {
        NOTIFIED.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only touches an atomic.
    let previous = unsafe { libc::signal(libc::SIGUSR2, count as extern "C" fn(_) as usize) };
    assert_ne!(previous, libc::SIG_ERR);
    let name = Name::new("notify");
    let queue = queue_of(&name, 3);
    queue.notify_nothing().expect("nobody has it");
    assert_eq!(
        assert_kind(queue.notify_by_signal(libc::SIGUSR2), ErrorKind::WouldBlock).errno(),
        Errno::BUSY
    );
    queue.cancel_notification().expect("given up");
    queue.cancel_notification().expect("having nothing is fine");
    queue.notify_by_signal(libc::SIGUSR2).expect("nobody has it");
    queue.send(b"first", 0, None).expect("room");
    queue.send(b"second", 0, None).expect("room");
    crate::support::eventually("the signal", || NOTIFIED.load(Ordering::Relaxed) == 1);
    queue
        .notify_by_signal(libc::SIGUSR2)
        .expect("the signal ended the first one");
    queue.cancel_notification().expect("given up");
    assert_kind(queue.notify_by_signal(4000), ErrorKind::Invalid);
}

#[test]
fn a_blocked_sender_gets_through_a_flood() {
    // A polling sender nearly never does; this is why `send` blocks in the kernel.
    let name = Name::new("flood");
    let queue = queue_of(&name, 10);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let _ = queue.send(b"junk", 0, within(0));
            }
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let _ = queue.receive(&mut [0; 64], within(10));
            }
        });
        for _ in 0..20 {
            let outcome = queue.send(b"honest", 0, Some(Instant::now() + PATIENCE));
            if outcome.is_err() {
                is_over.store(true, Ordering::Release);
            }
            outcome.expect("it gets its turn");
        }
        is_over.store(true, Ordering::Release);
    });
}
