//! Rows N8 and R19 of the fault catalogue: a key that somebody else has, a set or a segment that is not what it should be, semaphores that
//! are changed from outside, and limits of System V objects.

use std::time::{Duration, Instant};

use shmeld_os::sysv::How;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::sysv::shared_memory::Segment;

use crate::desk::{Desk, MARK};
use crate::processes::Program;
use crate::world::{NOBODY, can_unshare_or_skip, has_or_skip, is_root_or_skip, skip};

#[test]
fn set_or_segment_of_another_user_is_neither_adopted_nor_read_nor_removed() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let desk = Desk::new("board-foreign");
    // What root made, however open it is, is no place for nobody's message.
    let set = SemaphoreSet::create_new(desk.key, 5, 0o666).unwrap();
    let refused = desk.post(1).arg("secret").as_user(NOBODY).run().expect_code(3);
    refused
        .expect_said("the set of semaphores under this key belongs to uid 0, not to us")
        .expect_said("hint: choose another key, or have that user or root remove it: ipcrm -S 0x");
    assert_eq!(set.values().unwrap(), [0; 5]);
    set.set_mode(0o600).unwrap();
    for program in [desk.post(1).arg("secret"), desk.read()] {
        let refused = program.as_user(NOBODY).run().expect_code(3);
        refused.expect_said("the set of semaphores under this key belongs to uid 0, not to us");
    }
    set.remove().unwrap();
    let segment = Segment::create_new(desk.key, 5000, 0o666).unwrap();
    for form in [&["--readers", "1"][..], &["--ack", "*"]] {
        let refused = desk.board("post").args(form).arg("secret").as_user(NOBODY).run();
        refused
            .expect_code(3)
            .expect_said("the segment under this key belongs to uid 0, not to us");
        assert!(SemaphoreSet::open(desk.key, 0).is_err(), "its own set is removed");
    }
    assert!(!segment.stat().unwrap().is_marked);
    segment.remove().unwrap();
    // What nobody made is not believed by root, who could read it.
    let poster = desk.post(1).arg("lies").as_user(NOBODY).start();
    poster.wait_for_stderr("posted");
    let refused = desk.read().run().expect_code(3);
    refused.expect_said("belongs to uid 65534, not to us");
    assert_eq!(desk.values(), [1, 1, 0, 0, 0], "and its board is as it was");
    desk.post(1)
        .arg("more")
        .run()
        .expect_code(3)
        .expect_said("uid 65534");
    poster.signal("TERM");
    poster.finish().expect_code(143);
    let poster = desk
        .board("post")
        .args(["--ack", "*", "lies"])
        .as_user(NOBODY)
        .start();
    poster.wait_for_stderr("posted");
    let refused = desk.board("read").args(["--ack", "*"]).run().expect_code(3);
    refused.expect_said("the segment under this key belongs to uid 65534");
    assert!(poster.is_running(), "nobody has stored the mark");
    poster.signal("TERM");
    poster.finish().expect_code(143);
    desk.finish();
}

#[test]
fn set_of_another_size_is_no_board() {
    let desk = Desk::new("board-other-set");
    for semaphores in [1, 4, 6] {
        let set = SemaphoreSet::create_new(desk.key, semaphores, 0o600).unwrap();
        for program in [desk.post(1).arg("hello"), desk.read()] {
            program
                .run()
                .expect_code(3)
                .expect_said(&format!(
                    "the set under this key has {semaphores} semaphores; that of a board has 5"
                ))
                .expect_said("hint: another program uses this key");
        }
        assert!(set.values().unwrap().iter().all(|value| *value == 0));
        set.remove().unwrap();
    }
    desk.finish();
}

/// A board that this test has opened, with a segment of its own making.
struct Forged {
    set: SemaphoreSet,
    segment: Option<Segment>,
}

impl Forged {
    fn new(desk: &Desk, segment: Option<(usize, &[u8])>) -> Self {
        let set = SemaphoreSet::create_new(desk.key, 5, 0o600).unwrap();
        let segment = segment.map(|(bytes, content)| {
            let segment = Segment::create_new(desk.key, bytes, 0o600).unwrap();
            let file = std::fs::File::open(desk.world().put("content", content)).unwrap();
            let memory = segment.attach(How::default()).unwrap();
            assert_eq!(memory.fill_from(0, content.len(), &file, 0), Ok(content.len()));
            segment
        });
        let posted = [
            Operation::add(0, 1),
            Operation::add(1, 1),
            Operation::add(4, MARK),
        ];
        set.operate(&posted, None).unwrap();
        Self { set, segment }
    }
}

impl Drop for Forged {
    fn drop(&mut self) {
        let _ = self.set.remove();
        let _ = self.segment.take().map(|segment| segment.remove());
    }
}

#[test]
fn segment_that_lies_about_its_length_or_its_kind_is_a_broken_protocol() {
    let desk = Desk::new("board-lies");
    let with_length = |length: u64| [&b"SHMBORD1"[..], &length.to_le_bytes()].concat();
    let lies: [(usize, Vec<u8>, &str); 7] = [
        (
            4096,
            with_length(4081),
            "a message of 4081 bytes in a segment of 4096",
        ),
        (
            4096,
            with_length(u64::MAX),
            "a message of 18446744073709551615 bytes",
        ),
        (
            4096,
            with_length(u64::MAX - 15),
            "a message of 18446744073709551600 bytes",
        ),
        // A segment takes no memory until it is touched: the size alone must not make a reader ask for as much.
        (256 << 20, with_length(128 << 20), "which has room for 67108864"),
        (15, b"SHMBORD1".to_vec(), "a segment of 15 bytes"),
        (4096, Vec::new(), "no message of this version"),
        (
            4096,
            b"SHMBORD2\x05\0\0\0\0\0\0\0hello".to_vec(),
            "no message of this version",
        ),
    ];
    for (bytes, content, said) in lies {
        let forged = Forged::new(&desk, Some((bytes, &content)));
        let reader = desk.read().run().expect_code(4);
        assert!(reader.stdout.is_empty());
        reader
            .expect_said("the peer broke the protocol: ")
            .expect_said(said);
        assert_eq!(forged.set.values().unwrap()[2], 0, "it has left");
        assert_eq!(forged.set.values().unwrap()[4], MARK, "and has not finished");
    }
    let forged = Forged::new(&desk, None);
    desk.read().run().expect_code(1).expect_said("closed before");
    drop(forged);
    // The longest that fits is none of these.
    let honest = [with_length(4080), vec![b'x'; 4080]].concat();
    let forged = Forged::new(&desk, Some((4096, &honest)));
    assert_eq!(desk.read().run().expect_code(0).stdout, vec![b'x'; 4080]);
    drop(forged);
    desk.finish();
}

#[test]
fn semaphores_changed_from_outside_cost_time_and_nothing_else() {
    // Each of these is a matter of waiting: all five at once.
    std::thread::scope(|scope| {
        for index in 0..5 {
            scope.spawn(move || {
                let desk = Desk::new("board-scribbled");
                for value in [0, 1, 2, 32767] {
                    scribble(&desk, index, value);
                }
                desk.finish();
            });
        }
    });
}

/// A poster and two readers, while a semaphore is set to a value before and after the readers come.
fn scribble(desk: &Desk, index: u16, value: u16) {
    let poster = desk.post(2).args(["--timeout", "600ms", "hello"]).start();
    poster.wait_for_stderr("posted");
    // It is gone only if the poster has noticed something already.
    let set_value = || SemaphoreSet::open(desk.key, 5).and_then(|set| set.set_value(index, value));
    let _ = set_value();
    let read = || desk.read().args(["--timeout", "300ms"]).start();
    let readers = [read(), read()];
    let _ = set_value();
    let start = Instant::now();
    for process in readers.iter().chain([&poster]) {
        let outcome = process.finish();
        let is_sound = matches!(outcome.code, Some(0 | 1 | 3 | 4)) && !outcome.stderr.contains("panicked");
        assert!(
            is_sound,
            "{index} = {value}: {:?}\n{}",
            outcome.code, outcome.story
        );
        if outcome.code == Some(0) && process.pid() != poster.pid() {
            assert_eq!(outcome.stdout, b"hello", "{index} = {value}");
        }
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(15), "{index} = {value}: {took:?}");
    desk.assert_nothing_left();
}

#[test]
fn poster_whose_semaphores_are_zeroed_says_that_somebody_broke_the_protocol() {
    let desk = Desk::new("board-zeroed");
    for index in [0, 1] {
        // For ever, if it did not look.
        let poster = desk.start_post(b"hello", 1);
        let set = SemaphoreSet::open(desk.key, 5).unwrap();
        set.set_value(index, 0).unwrap();
        let outcome = poster.finish().expect_code(4);
        outcome.expect_said("it changed the poster's semaphores: [");
        desk.assert_nothing_left();
    }
    desk.finish();
}

#[test]
fn poster_ends_in_time_however_many_seem_to_arrive() {
    let desk = Desk::new("board-flood");
    let poster = desk.board("post").args(["--timeout", "500ms", "hello"]).start();
    poster.wait_for_stderr("posted");
    let set = SemaphoreSet::open(desk.key, 5).unwrap();
    let start = Instant::now();
    // Until it is removed.
    while set.set_value(3, 32767).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(15), "it does not end");
    }
    poster
        .finish()
        .expect_code(0)
        .expect_said("0 readers have the message");
    desk.finish();
}

/// In an IPC namespace of its own, after `script`.
fn limited(program: Program, script: &str) -> Program {
    program.after(script).wrapped(&["unshare", "--ipc"])
}

#[test]
fn each_limit_of_system_v_objects_is_named_with_its_value_and_its_cure() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let desk = Desk::new("board-limits");
    let limits = [
        ("sem", "250 4 32 128", "semget", "ENOSPC", "kernel.sem"),
        ("sem", "250 32000 32 0", "semget", "ENOSPC", "kernel.sem"),
        ("sem", "4 32000 32 128", "semget", "EINVAL", "kernel.sem"),
        ("sem", "250 32000 1 128", "semtimedop", "E2BIG", "kernel.sem"),
        ("shmmni", "0", "shmget", "ENOSPC", "kernel.shmmni"),
        ("shmall", "0", "shmget", "ENOSPC", "kernel.shmall"),
        ("shmmax", "4095", "shmget", "EINVAL", "kernel.shmmax"),
    ];
    for (limit, value, call, reason, cure) in limits {
        let script = format!("echo {value} >/proc/sys/kernel/{limit}");
        if limited(desk.world().tool("true"), &script).run().code != Some(0) {
            return skip(&format!("unshare --ipc and: {script}"));
        }
        let outcome = limited(desk.post(1).arg("hello"), &script).run().expect_code(3);
        let lines: Vec<&str> = outcome.stderr.lines().collect();
        assert!(
            lines[0].contains(call) && lines[0].contains(reason),
            "{}",
            outcome.stderr
        );
        let hint = lines.get(1).copied().unwrap_or_default();
        assert!(
            hint.starts_with("hint: ") && hint.contains(cure) && hint.contains("sysctl -w"),
            "{limit}: {}",
            outcome.stderr
        );
    }
    desk.finish();
}
