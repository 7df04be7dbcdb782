//! Message boards whose poster or readers die, at each step and in the middle (rows C1 and C2 of the fault catalogue, for boards), and
//! boards of which parts are taken away.

use std::io::Read;
use std::time::{Duration, Instant};

use shmeld_os::sysv::How;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;

use crate::content;
use crate::desk::{Desk, LONG_BYTES};
use crate::outcome::Outcome;
use crate::processes::Running;
use crate::world::{eventually, has_or_skip};

/// A reader says so within a second (chaos/ measures it); here other tests run beside it. It would wait for 30 s otherwise.
const NOTICE_MAX: Duration = Duration::from_secs(5);

#[track_caller]
fn expect_death_noticed(reader: &Running, died_at: Instant) {
    let outcome = reader.finish().expect_code(4).expect_said("its poster died");
    outcome.expect_said("hint: post the message again");
    let took = died_at.elapsed();
    assert!(took < NOTICE_MAX, "noticed after {took:?}");
}

/// Steps of a poster: the call that it does not get to any more, and what a reader that waits from the beginning may end with.
const STEPS: [(&str, &str, u32, &[i32]); 9] = [
    ("to judge the set", "semctl", 1, &[3]),
    ("to take the board", "semtimedop", 1, &[3]),
    ("to wait for earlier readers", "semtimedop", 2, &[4]),
    ("to make the segment", "shmget", 1, &[4]),
    ("to attach it", "shmat", 1, &[4]),
    ("to open the board", "semtimedop", 3, &[4]),
    ("to wait for arrivals", "semtimedop", 4, &[0, 4]),
    ("to detach", "shmdt", 1, &[0]),
    ("to remove the segment", "shmctl(IPC_RMID)", 1, &[0]),
];

#[test]
fn poster_killed_at_a_step_is_noticed_and_succeeded() {
    if !has_or_skip("strace") {
        return;
    }
    let desk = Desk::new("board-steps");
    for (what, call, number, codes) in STEPS {
        let timeout = if codes == [3] { "1s" } else { "30s" };
        let reader = desk.read().args(["--timeout", timeout]).start();
        reader.wait_for_stderr("waiting");
        // The removal is the second shmctl: the first asks for the size.
        let (call, number) = match call {
            "shmctl(IPC_RMID)" => ("shmctl", number + 1),
            call => (call, number),
        };
        let inject = format!("inject={call}:signal=KILL:when={number}");
        let trace = format!("trace={call}");
        let poster = desk.post(1).arg("hello");
        let poster = poster.wrapped(&["strace", "-f", "-qq", "-o", "killed", "-e", &trace, "-e", &inject]);
        assert_ne!(poster.run().code, Some(0), "{what}: it was not killed");
        let outcome = reader.finish();
        let code = outcome.code.unwrap();
        assert!(codes.contains(&code), "{what}: {code}\n{}", outcome.story);
        if code == 0 {
            assert_eq!(outcome.stdout, b"hello", "{what}");
            // Afterwards: whoever comes now is told at once.
            let late = desk.read().start();
            expect_death_noticed(&late, Instant::now());
        }
        desk.assert_works(what.as_bytes());
    }
    desk.finish();
}

#[test]
fn poster_killed_while_its_message_is_read_is_noticed_by_all_but_those_inside() {
    let desk = Desk::new("board-during");
    let message = content::of("message", LONG_BYTES);
    let poster = desk.start_post(&message, 3);
    let (inside, mut output) = desk.start_held_reader();
    desk.await_inside(1);
    poster.kill();
    let late: Vec<_> = (0..2).map(|_| desk.read().start()).collect();
    let died_at = Instant::now();
    late.iter()
        .for_each(|reader| expect_death_noticed(reader, died_at));
    // The next poster waits for the one inside, and with it whoever waits for the next message: until that poster dies as well.
    let next = desk.post(1).args(["--timeout", "20s", "next"]).start();
    eventually("the next poster has the board", || desk.values()[0] == 1);
    let waiting = desk.read().start();
    std::thread::sleep(Duration::from_millis(300));
    assert!(next.is_running() && waiting.is_running());
    next.kill();
    expect_death_noticed(&waiting, Instant::now());
    let mut taken = Vec::new();
    output.read_to_end(&mut taken).unwrap();
    content::assert_bytes("what was read at a dead poster's board", &taken, &message);
    inside.finish().expect_code(0);
    desk.assert_works(b"the one after");
    desk.finish();
}

#[test]
fn readers_inside_hold_up_the_next_poster_for_no_longer_than_its_time() {
    let desk = Desk::new("board-inside");
    let poster = desk.start_post(&content::of("message", LONG_BYTES), 1);
    let (inside, output) = desk.start_held_reader();
    desk.await_inside(1);
    poster.kill();
    let next = desk
        .post(1)
        .args(["--timeout", "300ms", "next"])
        .run()
        .expect_code(3);
    next.expect_said("readers of an earlier message are still inside: 1 (waited ")
        .expect_said("waiting for readers of an earlier message: 1 inside")
        .expect_said("hint: they may be stopped");
    // It removed the set, and with it the word of those inside, and left the segment of the dead. (Review of issue 6.)
    let left = Segment::open(desk.key, 0).unwrap();
    assert_eq!(desk.values()[..3], [0, 0, 1], "all is as the dead one left it");
    let next = desk.post(1).arg("next").start();
    next.wait_for_stderr("waiting for readers of an earlier message");
    next.signal("INT");
    next.finish().expect_code(130);
    assert_eq!(desk.values()[..3], [0, 0, 1], "interrupted, too");
    assert!(!left.stat().unwrap().is_marked);
    drop(output);
    inside
        .finish()
        .expect_code(1)
        .expect_said("write standard output");
    desk.assert_works(b"next");
    desk.finish();
}

/// Readers that died inside one after the other: the kernel takes back each one's place.
#[test]
fn every_reader_killed_inside_gives_its_place_back() {
    let desk = Desk::new("board-all-killed");
    let poster = desk.start_post(&content::of("message", LONG_BYTES), 4);
    let held: Vec<_> = (0..4).map(|_| desk.start_held_reader()).collect();
    desk.await_inside(4);
    for (number, (reader, _)) in held.iter().enumerate() {
        assert!(poster.is_running(), "{number} of them are dead");
        reader.kill();
    }
    poster
        .finish()
        .expect_code(1)
        .expect_said("0 of 4 readers have the message");
    desk.finish();
}

#[test]
fn stopped_reader_is_waited_for_and_stopped_poster_is_not_dead() {
    let desk = Desk::new("board-stopped");
    let poster = desk.start_post(b"hello", 2);
    poster.signal("STOP");
    let first = desk.read().start();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(
        first.finish().expect_code(0).stdout,
        b"hello",
        "readers need no running poster"
    );
    poster.signal("CONT");
    let waiting = desk.read().args(["--timeout", "5s"]).start();
    waiting.finish().expect_code(0);
    poster.finish().expect_code(0);
    desk.finish();
}

#[track_caller]
fn expect_removed(outcome: Outcome, what: &str) {
    outcome
        .expect_code(3)
        .expect_said(&format!(
            "somebody removed the {what} while the message was posted"
        ))
        .expect_said("hint: ipcrm");
}

#[test]
fn poster_whose_objects_are_removed_says_so_and_leaves_nothing() {
    let desk = Desk::new("board-removed");
    let poster = desk.start_post(b"hello", 1);
    SemaphoreSet::open(desk.key, 5).unwrap().remove().unwrap();
    expect_removed(poster.finish(), "set of semaphores");
    desk.assert_nothing_left();
    let poster = desk.start_post(b"hello", 1);
    Segment::open(desk.key, 0).unwrap().remove().unwrap();
    expect_removed(poster.finish(), "segment");
    desk.assert_nothing_left();
    // One that waits for a reader inside, while the readers of the next message wait.
    let poster = desk.start_post(&content::of("message", LONG_BYTES), 1);
    let (inside, output) = desk.start_held_reader();
    desk.await_inside(1);
    poster.kill();
    let next = desk.post(1).arg("next").start();
    eventually("the next poster has the board", || desk.values()[0] == 1);
    let waiting = desk.read().start();
    eventually("the reader waits", || {
        let set = SemaphoreSet::open(desk.key, 5).unwrap();
        set.waiting(1).unwrap().0 == 1
    });
    SemaphoreSet::open(desk.key, 5).unwrap().remove().unwrap();
    expect_removed(next.finish(), "set of semaphores");
    waiting
        .finish()
        .expect_code(1)
        .expect_said("closed before this reader was inside");
    drop(output);
    inside.finish();
    Segment::open(desk.key, 0).unwrap().remove().unwrap();
    desk.finish();
}

#[test]
fn segment_of_a_dead_poster_is_replaced_and_one_in_use_is_left_alone() {
    let desk = Desk::new("board-stale");
    for form in [&["--readers", "1"][..], &["--ack", "*"]] {
        let poster = desk.board("post").args(form).arg("of the dead").start();
        poster.wait_for_stderr("posted");
        let stale = Segment::open(desk.key, 0).unwrap();
        poster.kill();
        let poster = desk.start_post(b"hello", 1);
        assert!(
            poster
                .stderr()
                .contains("a segment of 4096 bytes that a dead poster left is replaced")
        );
        assert!(stale.stat().is_err());
        desk.read().run().expect_code(0);
        poster.finish().expect_code(0);
    }
    // Its poster died before it wrote anything.
    let stale = Segment::create_new(desk.key, 4096, 0o600).unwrap();
    desk.assert_works(b"hello");
    assert!(stale.stat().is_err());
    let used = Segment::create_new(desk.key, 100, 0o600).unwrap();
    let mapping = used.attach(How::default()).unwrap();
    for form in [&["--readers", "1"][..], &["--ack", "*"]] {
        let poster = desk.board("post").args(form).arg("hello").run();
        poster
            .expect_code(3)
            .expect_said("the segment under this key is in use: 1 attached")
            .expect_said("hint: another program uses this key");
    }
    let stat = used.stat().unwrap();
    assert!(!stat.is_marked && stat.attached == 1);
    used.remove().unwrap();
    drop(mapping);
    desk.finish();
}
