//! Keys under which a board finds what it did not make: objects of other users and of other programs (rows N8 and O16 of the fault
//! catalogue). They stay as they are.

use shmeld_os::mapping::Mapping;
use shmeld_os::sysv::How;
use shmeld_os::sysv::semaphore::{Operation, SemaphoreSet};
use shmeld_os::sysv::shared_memory::Segment;

use crate::desk::{Desk, MARK};
use crate::users_namespace::{ALONE, NOBODY_KNOWN, users_or_skip};

/// A segment of another program with this content, which nobody has attached.
fn segment_with(desk: &Desk, bytes: usize, mode: u32, content: &[u8]) -> Segment {
    let segment = Segment::create_new(desk.key, bytes, mode).unwrap();
    put(desk, &segment.attach(How::default()).unwrap(), content);
    segment
}

fn put(desk: &Desk, memory: &Mapping, content: &[u8]) {
    let file = std::fs::File::open(desk.world().put("content", content)).unwrap();
    assert_eq!(memory.fill_from(0, content.len(), &file, 0), Ok(content.len()));
}

/// The first bytes of a segment.
fn beginning(desk: &Desk, segment: &Segment, bytes: usize) -> Vec<u8> {
    let memory = segment.attach(How::default()).unwrap();
    let path = desk.world().put("copy", b"");
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert_eq!(memory.drain_to(0, bytes, &file, Some(0)), Ok(bytes));
    std::fs::read(path).unwrap()
}

/// A poster removed whatever segment of its user had the key and was not attached: whole results of programs that keep them in shared memory
/// between two runs. (Review of issue 6; a test said that it should.)
#[test]
fn segment_of_another_program_is_kept_though_nobody_has_it_attached() {
    let desk = Desk::new("board-other-segment");
    let last = [&[0; 8191][..], b"x"].concat();
    let contents: [(usize, u32, &[u8]); 8] = [
        (27, 0o666, b"abcdefghijklmnopqrstuvwxyz"),
        (100, 0o600, b""),
        (4096, 0o600, b"valuable"),
        (4096, 0o666, b""),
        (4096, 0o600, b"SHMBORD2\x05\0\0\0\0\0\0\0hello"),
        // The beginning of a magic that a poster wrote, and then something that it did not.
        (4096, 0o600, b"SHMB\0\0\0\0\0\0\0\0x"),
        (8192, 0o600, &last),
        // More zeros than anybody looks through.
        ((65 << 20) + 1, 0o600, b""),
    ];
    for (bytes, mode, content) in contents {
        let segment = segment_with(&desk, bytes, mode, content);
        for form in [&["--readers", "1"][..], &["--ack", "*"]] {
            let poster = desk.board("post").args(form).arg("hello").run();
            poster
                .expect_code(3)
                .expect_said(&format!(
                    "the segment of {bytes} bytes under this key is another program's"
                ))
                .expect_said(&format!("remove it: ipcrm -M {}", desk.key));
            assert!(SemaphoreSet::open(desk.key, 0).is_err(), "its own set is removed");
        }
        assert!(!segment.stat().unwrap().is_marked);
        assert_eq!(beginning(&desk, &segment, content.len()), content);
        segment.remove().unwrap();
    }
    desk.finish();
}

/// A reader came in to any set of five semaphores whose second was not zero, and a poster took and removed any whose first was. (Review of
/// issue 6.)
#[test]
fn set_of_another_program_is_neither_changed_nor_removed() {
    let desk = Desk::new("board-other-values");
    let programs = || {
        let short = ["--timeout", "2s"];
        [desk.read().args(short), desk.post(1).args(short).arg("hello")]
    };
    for values in [
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1],
        [0, 0, 0, 7, 0],
        [0, 32767, 0, 0, MARK - 1],
    ] {
        let set = SemaphoreSet::create_new(desk.key, 5, 0o600).unwrap();
        // All zero as well: used by its program and at rest.
        set.operate(&[Operation::add(0, 1), Operation::take(0, 1)], None)
            .unwrap();
        for (index, value) in (0..5).zip(values) {
            set.set_value(index, value).unwrap();
        }
        let before = (set.values().unwrap(), set.stat().unwrap());
        for program in programs() {
            program
                .run()
                .expect_code(3)
                .expect_said("the set of 5 semaphores under this key is another program's: [")
                .expect_said("hint: another program uses this key");
        }
        assert_eq!((set.values().unwrap(), set.stat().unwrap()), before, "{values:?}");
        assert!(Segment::open(desk.key, 0).is_err(), "a segment is left");
        set.remove().unwrap();
    }
    // One that its program has given values and not used yet.
    let set = SemaphoreSet::create_new(desk.key, 5, 0o600).unwrap();
    set.set_value(1, 1).unwrap();
    for program in programs() {
        program
            .run()
            .expect_code(3)
            .expect_said("another program's: [0, 1, 0, 0, 0]");
    }
    assert_eq!(set.values().unwrap(), [0, 1, 0, 0, 0]);
    set.remove().unwrap();
    desk.finish();
}

/// What others may write is not the user's own word, however it got that mode: a board of our user's was used whatever its mode was. (Review of
/// issue 6, row N8.)
#[test]
fn board_that_admits_others_is_not_used() {
    let desk = Desk::new("board-modes");
    let expect_refused = |what: &str, mode: u32, program: crate::processes::Program| {
        let said = format!("the {what} under this key has mode {mode:04o}, and that of a board 0600");
        let refused = program.args(["--timeout", "5s"]).run().expect_code(3);
        assert!(refused.stdout.is_empty());
        refused.expect_said(&said).expect_said("remove it: ipcrm -");
    };
    for mode in [0o666, 0o660, 0o606, 0o604, 0o610, 0o400] {
        let poster = desk.start_post(b"hello", 1);
        let set = SemaphoreSet::open(desk.key, 5).unwrap();
        let segment = Segment::open(desk.key, 0).unwrap();
        set.set_mode(mode).unwrap();
        expect_refused("set of semaphores", mode, desk.read());
        expect_refused("set of semaphores", mode, desk.post(1).arg("more"));
        set.set_mode(0o600).unwrap();
        segment.set_mode(mode).unwrap();
        expect_refused("segment", mode, desk.read());
        // The one that was refused has come in and has not finished.
        poster.finish().expect_code(1).expect_said("0 of 1 reader");
    }
    desk.finish();
}

/// In a user namespace without a map every user has the number 65534, oneself included: what root had left open to all was taken for one's
/// own, read, changed and (where the kernel let it) removed. (Review of issue 6.)
#[test]
fn number_of_all_unknown_users_is_not_taken_for_our_own() {
    let desk = Desk::new("board-unknown");
    let Some(users) = users_or_skip(desk.world()) else {
        return;
    };
    let set = SemaphoreSet::create_new(desk.key, 5, 0o666).unwrap();
    set.operate(&[Operation::add(0, 1), Operation::add(1, 1)], None)
        .unwrap();
    let segment = segment_with(&desk, 4096, 0o666, b"text of root\0");
    let programs = || {
        let ack = ["--ack", "*", "--timeout", "300ms"];
        [
            desk.read().args(&ack[2..]),
            desk.read().args(ack),
            desk.post(1).arg("hello"),
            desk.board("post").args(ack).arg("hello"),
        ]
    };
    let expect_refused = |namespace: &[&str], said: &str| {
        for program in programs() {
            let refused = program.wrapped(namespace).as_user(users.a).run().expect_code(3);
            assert!(refused.stdout.is_empty());
            refused.expect_said(said).expect_said("hint: ");
        }
    };
    let said = "in this user namespace uid 65534 is our user and every other one";
    expect_refused(&NOBODY_KNOWN, said);
    // Root in there is the user itself, and who is root out here is nobody it knows.
    expect_refused(&ALONE, "belongs to uid 65534, not to us");
    assert_eq!(set.values().unwrap(), [1, 1, 0, 0, 0]);
    assert_eq!(beginning(&desk, &segment, 12), b"text of root");
    set.remove().unwrap();
    segment.remove().unwrap();
    for program in &mut programs()[2..] {
        let program = std::mem::replace(program, desk.read());
        let refused = program.wrapped(&NOBODY_KNOWN).as_user(users.a).run();
        refused.expect_code(3).expect_said(said);
        desk.assert_nothing_left();
    }
    // A namespace that knows its user is like none.
    let poster = desk.post(1).arg("hello").wrapped(&ALONE).as_user(users.a).start();
    poster.wait_for_stderr("posted");
    let reader = desk.read().as_user(users.a).run();
    assert_eq!(reader.expect_code(0).stdout, b"hello");
    poster.finish().expect_code(0);
    desk.finish();
}
