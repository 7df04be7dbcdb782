//! `shmeld board --ack`: plain C programs on the other side, compiled here, and what their handshake cannot carry.

use std::path::Path;
use std::time::{Duration, Instant};

use shmeld_os::sysv::How;
use shmeld_os::sysv::shared_memory::Segment;

use crate::content;
use crate::desk::Desk;
use crate::peers::compile_or_skip;
use crate::processes::Program;
use crate::world::{can_unshare_or_skip, is_root_or_skip, skip};

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";

fn peer(desk: &Desk, binary: &Path) -> Program {
    desk.world()
        .tool(binary.to_str().unwrap())
        .arg(desk.key.to_string())
}

fn read(desk: &Desk) -> Program {
    desk.read().args(["--ack", "*"])
}

fn post(desk: &Desk) -> Program {
    desk.board("post").args(["--ack", "*"])
}

#[test]
fn text_of_a_plain_c_server_is_read_and_acknowledged() {
    let desk = Desk::new("textbook-server");
    let Some(binary) = compile_or_skip(desk.world(), "board_server") else {
        return;
    };
    // In both orders.
    for reader_is_first in [true, false] {
        let (server, outcome) = if reader_is_first {
            let reader = read(&desk).start();
            reader.wait_for_stderr("waiting");
            (peer(&desk, &binary).start(), reader.finish())
        } else {
            let server = peer(&desk, &binary).start();
            (server, read(&desk).run())
        };
        assert_eq!(outcome.expect_code(0).stdout, ALPHABET.as_bytes());
        server.finish().expect_code(0);
        desk.assert_nothing_left();
    }
    desk.finish();
}

#[test]
fn plain_c_client_is_fed_and_its_mark_ends_the_poster() {
    let desk = Desk::new("textbook-client");
    let Some(binary) = compile_or_skip(desk.world(), "board_client") else {
        return;
    };
    // Longer than the 27 bytes that it asks for: it prints up to the NUL.
    for text in ["hello", ALPHABET, &"long ".repeat(2000)] {
        let poster = post(&desk).input(text.as_bytes()).start();
        poster.wait_for_stderr("waiting for '*'");
        let client = peer(&desk, &binary).run().expect_code(0);
        assert_eq!(client.stdout_text(), format!("{text}\n"));
        poster
            .finish()
            .expect_code(0)
            .expect_said("a reader has the message");
        desk.assert_nothing_left();
    }
    desk.finish();
}

/// The numbers of the textbook itself, in a namespace where nobody else uses them.
#[test]
fn key_5678_with_27_bytes_works_between_both() {
    let desk = Desk::new("textbook-5678");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    if desk.world().tool("unshare").args(["--ipc", "true"]).run().code != Some(0) {
        return skip("unshare --ipc");
    }
    let (Some(_), Some(_)) = (
        compile_or_skip(desk.world(), "board_server"),
        compile_or_skip(desk.world(), "board_client"),
    ) else {
        return;
    };
    let shmeld = env!("CARGO_BIN_EXE_shmeld");
    let script = format!(
        "./board_server & '{shmeld}' board read --key 5678 --ack '*' && wait $! || exit
         echo
         '{shmeld}' board post --key 5678 --ack '*' 'to whom it may concern' &
         until ipcs -m | grep -q '1 *$'; do sleep 0.01; done
         ./board_client && wait $! || exit
         ipcs -m | grep 0x"
    );
    let both = desk
        .world()
        .tool("unshare")
        .args(["--ipc", "sh", "-c", &script])
        .run();
    // grep finds nothing: no segment is left.
    assert_eq!(
        both.expect_code(1).stdout_text(),
        format!("{ALPHABET}\nto whom it may concern\n")
    );
    desk.finish();
}

#[test]
fn both_sides_of_ours_speak_it_with_each_other() {
    let desk = Desk::new("textbook-both");
    let message: Vec<u8> = content::of("message", 200_000)
        .into_iter()
        .map(|byte| byte | 1)
        .collect();
    let message = [b"begin", &message[..]].concat();
    let reader = read(&desk).start();
    let poster = post(&desk).input(&message).start();
    content::assert_bytes("the text", &reader.finish().expect_code(0).stdout, &message);
    poster.finish().expect_code(0);
    desk.assert_nothing_left();
    let ask = |mark: &str| ["--ack".to_owned(), mark.to_owned()];
    let poster = desk.board("post").args(ask("!")).arg("*starred*").start();
    assert_eq!(
        desk.read().args(ask("!")).run().expect_code(0).stdout,
        b"*starred*"
    );
    poster.finish().expect_code(0);
    desk.finish();
}

#[test]
fn texts_that_the_handshake_cannot_carry_are_refused_before_anything_is_made() {
    let desk = Desk::new("textbook-refused");
    for (message, said) in [
        (&b"*begins with it"[..], "begins with '*'"),
        (b"has a \0 in it", "ends at its first NUL"),
        (b"", "an empty message"),
    ] {
        post(&desk).input(message).run().expect_code(2).expect_said(said);
        desk.assert_nothing_left();
    }
    for arguments in [
        &["--ack", ""][..],
        &["--ack", "**"],
        &["--ack", "*", "--readers", "1"],
    ] {
        let outcome = desk.board("post").args(arguments).arg("x").run();
        outcome.expect_code(2).expect_said("--ack");
    }
    desk.finish();
}

#[test]
fn poster_that_nobody_acknowledges_gives_up_in_time_and_is_succeeded_when_killed() {
    let desk = Desk::new("textbook-poster");
    let poster = post(&desk).args(["--timeout", "300ms", "hello"]).run();
    poster
        .expect_code(1)
        .expect_said("no reader has acknowledged the message");
    desk.assert_nothing_left();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let poster = post(&desk).arg("hello").start();
        poster.wait_for_stderr("posted");
        poster.signal(signal);
        poster.finish().expect_code(code);
        desk.assert_nothing_left();
    }
    let poster = post(&desk).arg("of the dead").start();
    poster.wait_for_stderr("posted");
    let second = post(&desk).arg("second").run().expect_code(3);
    second.expect_said("the segment under this key is in use: 1 attached");
    poster.kill();
    let next = post(&desk).arg("next").start();
    next.wait_for_stderr("waiting for '*'");
    assert_eq!(read(&desk).run().expect_code(0).stdout, b"next");
    next.finish().expect_code(0);
    let poster = post(&desk).arg("hello").start();
    poster.wait_for_stderr("posted");
    Segment::open(desk.key, 0).unwrap().remove().unwrap();
    let removed = poster.finish().expect_code(3);
    removed.expect_said("somebody removed the segment");
    desk.finish();
}

/// `board read --ack` took the header of a board with semaphores for a text, printed it, and stored its mark over the magic: every later
/// reader said that the peer broke the protocol. (Review of issue 6.)
#[test]
fn board_with_semaphores_is_not_read_as_a_text_and_keeps_its_first_byte() {
    let desk = Desk::new("textbook-semaphores");
    let poster = desk.start_post(b"hello", 2);
    for mark in ["*", "S"] {
        let refused = desk.read().args(["--ack", mark]).run().expect_code(3);
        assert!(refused.stdout.is_empty());
        refused
            .expect_said("is on a board with semaphores")
            .expect_said("hint: read it without --ack");
    }
    assert_eq!(desk.read().run().expect_code(0).stdout, b"hello");
    // The other way round: somebody has removed the set, and there is nothing to be acknowledged.
    let segment = Segment::open(desk.key, 0).unwrap();
    poster.kill();
    shmeld_os::sysv::semaphore::SemaphoreSet::open(desk.key, 5)
        .unwrap()
        .remove()
        .unwrap();
    let none = || desk.read().args(["--timeout", "100ms"]).run().expect_code(3);
    none().expect_said("hint: post one");
    segment.remove().unwrap();
    let segment = Segment::create_new(desk.key, 27, 0o666).unwrap();
    none().expect_said("name it: --ack '*'");
    segment.remove().unwrap();
    post(&desk)
        .arg("SHMBORD1 is no text")
        .run()
        .expect_code(2)
        .expect_said("the magic of a board");
    desk.finish();
}

#[test]
fn reader_waits_for_a_whole_text_and_never_beyond_its_time() {
    let desk = Desk::new("textbook-reader");
    let fill = |memory: &shmeld_os::mapping::Mapping, content: &[u8]| {
        let file = std::fs::File::open(desk.world().put("content", content)).unwrap();
        assert_eq!(memory.fill_from(0, content.len(), &file, 0), Ok(content.len()));
    };
    let never = || {
        let reader = read(&desk).args(["--timeout", "200ms"]).run().expect_code(3);
        assert!(reader.stdout.is_empty());
        reader.expect_said("no message (waited ")
    };
    never().expect_said("hint: post one");
    let segment = Segment::create_new(desk.key, 27, 0o600).unwrap();
    let memory = segment.attach(How::default()).unwrap();
    // Nothing yet; no end; acknowledged by somebody else.
    never();
    fill(&memory, &[b'a'; 27]);
    never();
    fill(&memory, b"*bcdefghijklmnopqrstuvwxyz\0");
    never();
    // A server at work, one byte at a time: only what stands still is a text. A server that is held up for as long as a reader looks
    // has one that stands still: then once more.
    let mut held_up = Duration::MAX;
    while held_up > Duration::from_millis(15) {
        fill(&memory, &[0; 27]);
        let reader = read(&desk).args(["--timeout", "20s"]).start();
        reader.wait_for_stderr("waiting");
        let mut text = [0; 27];
        let mut last = Instant::now();
        held_up = Duration::ZERO;
        for (at, byte) in ALPHABET.bytes().enumerate() {
            text[at] = byte;
            fill(&memory, &text);
            held_up = held_up.max(last.elapsed());
            last = Instant::now();
            std::thread::sleep(Duration::from_millis(2));
        }
        let outcome = reader.finish().expect_code(0);
        if held_up <= Duration::from_millis(15) {
            assert_eq!(outcome.stdout, ALPHABET.as_bytes());
        }
    }
    // Its server is gone and the next one serves another segment.
    let reader = read(&desk).args(["--timeout", "20s"]).start();
    reader.wait_for_stderr("waiting");
    segment.remove().unwrap();
    let poster = post(&desk).arg("another").start();
    assert_eq!(reader.finish().expect_code(0).stdout, b"another");
    poster.finish().expect_code(0);
    drop(memory);
    desk.finish();
}
