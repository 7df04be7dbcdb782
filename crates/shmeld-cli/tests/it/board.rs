//! Messages posted and read by processes: readers in any order, late ones, and what is told.

use std::io::Read;
use std::time::{Duration, Instant};

use crate::content;
use crate::desk::{Desk, LONG_BYTES, assert_whole_or_late};
use crate::world::{eventually, has_or_skip};

#[test]
fn three_readers_get_the_message_whole_in_whatever_order_they_come() {
    let desk = Desk::new("board-orders");
    let message = content::of("message", LONG_BYTES);
    for first in 0..=3 {
        let mut readers: Vec<_> = (0..first).map(|_| desk.read().start()).collect();
        for reader in &readers {
            reader.wait_for_stderr("waiting for a message");
        }
        let poster = desk.start_post(&message, 3);
        readers.extend((first..3).map(|_| desk.read().start()));
        for reader in readers {
            let outcome = reader.finish().expect_code(0);
            content::assert_bytes("the message", &outcome.stdout, &message);
        }
        poster
            .finish()
            .expect_code(0)
            .expect_said("3 of 3 readers have the message");
        // The late fourth.
        let late = desk.read().args(["--timeout", "100ms"]).run();
        assert_whole_or_late(&late.expect_code(3), &message);
        desk.assert_nothing_left();
    }
    desk.finish();
}

#[test]
fn fourth_reader_in_the_crowd_gets_it_whole_or_is_told_that_it_is_late() {
    let desk = Desk::new("board-fourth");
    let message = content::of("message", 5000);
    for _ in 0..5 {
        let poster = desk.start_post(&message, 3);
        let readers: Vec<_> = (0..4)
            .map(|_| desk.read().args(["--timeout", "200ms"]).start())
            .collect();
        let outcomes: Vec<_> = readers.iter().map(|reader| reader.finish()).collect();
        outcomes
            .iter()
            .for_each(|outcome| assert_whole_or_late(outcome, &message));
        let got = outcomes.iter().filter(|outcome| outcome.code == Some(0)).count();
        assert!(got >= 3, "{got} got the message");
        poster.finish().expect_code(0);
        desk.assert_nothing_left();
    }
    desk.finish();
}

/// The board was open until nobody was inside: while readers kept coming there was always somebody, and the poster waited for all of them,
/// however few it was for. (Review of issue 6.)
#[test]
fn reader_after_the_last_one_wanted_does_not_come_in() {
    let desk = Desk::new("board-enough");
    let message = content::of("message", LONG_BYTES);
    let poster = desk.start_post(&message, 1);
    let (inside, mut output) = desk.start_held_reader();
    eventually("the board is closed", || desk.values()[1] == 0);
    assert_eq!(desk.values(), [1, 0, 1, 0, 0]);
    let late = desk.read().start();
    std::thread::sleep(Duration::from_millis(300));
    assert!(poster.is_running() && late.is_running());
    assert_eq!(desk.values(), [1, 0, 1, 0, 0], "it has not come in");
    let mut taken = Vec::new();
    output.read_to_end(&mut taken).unwrap();
    content::assert_bytes("the message", &taken, &message);
    inside.finish().expect_code(0);
    poster.finish().expect_code(0).expect_said("1 of 1 reader has");
    late.finish()
        .expect_code(1)
        .expect_said("closed before this reader");
    desk.finish();
}

/// Row C1 of the catalogue, for boards: nobody waits for a reader that died.
#[test]
fn reader_killed_half_way_is_not_waited_for_and_missing_in_the_count() {
    let desk = Desk::new("board-killed-reader");
    let poster = desk.start_post(&content::of("message", LONG_BYTES), 3);
    let (victim, _output) = desk.start_held_reader();
    desk.await_inside(1);
    for _ in 0..2 {
        desk.read().run().expect_code(0);
    }
    assert!(poster.is_running(), "it waits for the one inside");
    victim.kill();
    let start = Instant::now();
    poster
        .finish()
        .expect_code(1)
        .expect_said("2 of 3 readers have the message");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    desk.finish();
}

#[test]
fn poster_ends_only_when_the_last_reader_has_written_the_message() {
    let desk = Desk::new("board-slow-reader");
    let message = content::of("message", LONG_BYTES);
    let poster = desk.start_post(&message, 1);
    let (reader, mut output) = desk.start_held_reader();
    desk.await_inside(1);
    std::thread::sleep(Duration::from_millis(500));
    assert!(poster.is_running() && reader.is_running());
    let mut taken = Vec::new();
    output.read_to_end(&mut taken).unwrap();
    content::assert_bytes("the message", &taken, &message);
    reader.finish().expect_code(0);
    poster.finish().expect_code(0);
    desk.finish();
}

#[test]
fn reader_that_cannot_write_the_message_has_not_got_it() {
    let desk = Desk::new("board-no-output");
    let poster = desk.start_post(b"hello", 1);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    desk.read()
        .stdout(full)
        .run()
        .expect_code(1)
        .expect_said("write standard output");
    poster
        .finish()
        .expect_code(1)
        .expect_said("0 of 1 reader has the message");
    desk.finish();
}

#[test]
fn message_stays_for_its_time_if_nobody_is_counted() {
    let desk = Desk::new("board-time");
    let readers = [desk.read().start(), desk.read().start()];
    readers
        .iter()
        .for_each(|reader| reader.wait_for_stderr("waiting"));
    let poster = desk.board("post").args(["--timeout", "2s", "hello"]).start();
    for reader in &readers {
        assert_eq!(reader.finish().expect_code(0).stdout, b"hello");
    }
    poster
        .finish()
        .expect_code(0)
        .expect_said("2 readers have the message");
    desk.finish();
}

#[test]
fn time_that_is_up_is_told_by_either_side_and_nothing_is_left() {
    let desk = Desk::new("board-time-up");
    let poster = desk.post(2).args(["--timeout", "300ms", "hello"]).run();
    poster
        .expect_code(1)
        .expect_said("0 of 2 readers have the message");
    desk.assert_nothing_left();
    let start = Instant::now();
    let reader = desk.read().args(["--timeout", "300ms"]).run().expect_code(3);
    assert!(start.elapsed() >= Duration::from_millis(300));
    reader
        .expect_said("no message (waited ")
        .expect_said("hint: post one: shmeld board post --key");
    desk.finish();
}

#[test]
fn second_poster_is_told_who_has_the_board() {
    let desk = Desk::new("board-second");
    let poster = desk.start_post(b"first", 1);
    let second = desk.post(1).arg("second").run().expect_code(3);
    second.expect_said(&format!(
        "board {}: a message is posted already, by process {}",
        desk.key,
        poster.pid()
    ));
    assert_eq!(desk.read().run().expect_code(0).stdout, b"first");
    poster.finish().expect_code(0);
    desk.finish();
}

#[test]
fn either_side_asked_to_end_ends_with_its_code_and_leaves_nothing() {
    let desk = Desk::new("board-signals");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let poster = desk.start_post(b"hello", 2);
        poster.signal(signal);
        poster.finish().expect_code(code);
        desk.assert_nothing_left();
        let reader = desk.read().start();
        reader.wait_for_stderr("waiting");
        reader.signal(signal);
        reader.finish().expect_code(code);
        // One whose output nobody takes, at a poster that waits for it.
        let poster = desk.start_post(&content::of("message", LONG_BYTES), 1);
        let (reader, _output) = desk.start_held_reader();
        desk.await_inside(1);
        reader.signal(signal);
        reader.finish().expect_code(code);
        poster.finish().expect_code(1);
    }
    desk.finish();
}

#[test]
fn messages_are_bytes_and_come_from_where_they_are_said_to_come() {
    let desk = Desk::new("board-bytes");
    let all: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for message in [&b""[..], b"-", b"\0", b"no newline", &all] {
        desk.assert_works(message);
    }
    let poster = desk.post(1).args(["--", "-n"]).start();
    poster.wait_for_stderr("posted 2 bytes");
    assert_eq!(desk.read().run().expect_code(0).stdout, b"-n");
    poster.finish().expect_code(0);
    desk.finish();
}

#[test]
fn size_is_that_of_the_segment_and_bounds_the_message() {
    let desk = Desk::new("board-size");
    for (size, message, code) in [("4116", 4100, 0), ("4116", 4101, 2), ("5", 2, 2)] {
        let program = desk.post(1).args(["--size", size, "--timeout", "100ms"]);
        let outcome = program.input(&vec![b'x'; message]).run();
        if code == 2 {
            outcome.expect_code(2).expect_said("(--size)");
        } else {
            outcome.expect_code(1).expect_said("0 of 1 reader");
        }
    }
    let argument = "y".repeat(100);
    let outcome = desk.post(1).args(["--size", "50", &argument]).run();
    outcome.expect_code(2).expect_said("needs a segment of 116 bytes");
    desk.finish();
}

#[test]
fn key_of_a_file_is_what_ftok_makes_of_it() {
    let desk = Desk::new("board-ftok");
    let file = desk.world().put("file", b"");
    let name = format!("{}:A", file.display());
    let key = shmeld_os::sysv::Key::of_file(&file, b'A').unwrap().to_string();
    let board = |command: &str| desk.world().shmeld("board").arg(command);
    let poster = board("post")
        .args(["--ftok", &name, "--readers", "2", "hello"])
        .start();
    poster.wait_for_stderr(&format!("board {key}: posted"));
    let number = format!("{}:65", file.display());
    let readers = [
        board("read").args(["--key", &key]).run(),
        board("read").args(["--ftok", &number]).run(),
    ];
    for reader in readers {
        assert_eq!(reader.expect_code(0).stdout, b"hello");
    }
    poster.finish().expect_code(0);
    let absent = board("read").args(["--ftok", "/nowhere/at/all:1"]).run();
    absent.expect_code(3).expect_said("ftok /nowhere/at/all");
    desk.finish();
}

#[test]
fn json_tells_what_happened_one_object_a_line() {
    let desk = Desk::new("board-json");
    let poster = desk.post(2).args(["--json", "hello"]).start();
    eventually("it is posted", || desk.values()[1] == 1);
    let reader = desk.read().arg("--json").run().expect_code(0).expect_silence();
    let event = &reader.json_lines()[0];
    assert_eq!(
        (&event["event"], &event["message"]),
        (&"read".into(), &"hello".into())
    );
    desk.read().arg("-q").run().expect_code(0).expect_silence();
    let events = poster.finish().expect_code(0).expect_silence().json_lines();
    assert_eq!(
        (&events[0]["event"], &events[0]["bytes"]),
        (&"posted".into(), &5.into())
    );
    assert_eq!(
        (&events[1]["done"], &events[1]["exit_code"]),
        (&2.into(), &0.into())
    );
    desk.finish();
}

#[test]
fn explained_board_names_each_step_its_object_and_why() {
    let desk = Desk::new("board-explain");
    let poster = desk.post(1).args(["--explain", "hello"]).start();
    poster.wait_for_stderr("posted");
    let reader = desk.read().arg("--explain").run().expect_code(0);
    let poster = poster.finish().expect_code(0);
    let key = desk.key.to_string();
    for step in [
        "semget",
        "semop",
        "shmget(",
        "shmat",
        "shmdt",
        "shmctl(IPC_RMID)",
        "semctl(IPC_RMID)",
        &key,
    ] {
        assert!(poster.stderr.contains(step), "{step} in\n{}", poster.stderr);
    }
    for step in [
        "semget",
        "INSIDE one more",
        "shmget",
        "shmat",
        "shmdt",
        "DONE one more",
    ] {
        assert!(reader.stderr.contains(step), "{step} in\n{}", reader.stderr);
    }
    desk.finish();
}

#[test]
fn ipcs_shows_a_posted_message_and_nothing_afterwards() {
    if !has_or_skip("ipcs") {
        return;
    }
    let desk = Desk::new("board-ipcs");
    let key = desk.key.to_string();
    let shown = || {
        desk.world()
            .tool("ipcs")
            .args(["-m", "-s"])
            .run()
            .expect_code(0)
            .stdout_text()
    };
    let poster = desk.start_post(b"hello", 1);
    assert_eq!(shown().matches(&key).count(), 2, "one segment and one set");
    desk.read().run().expect_code(0);
    poster.finish().expect_code(0);
    assert!(!shown().contains(&key));
    desk.finish();
}
