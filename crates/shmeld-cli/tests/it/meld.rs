//! `demo meld`: both processes in one terminal, each in its own, in either order; one of them dies, lies, or never comes.

use std::io::PipeReader;
use std::time::{Duration, Instant};

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::meeting::{Meeting, stop};
use crate::outcome::Outcome;
use crate::processes::{Running, full_pipe, send_signal};
use crate::users_namespace::{ALONE, NOBODY_KNOWN, users_or_skip};
use crate::world::{NOBODY, eventually, has_or_skip, is_root_or_skip};

/// Both have read what the other wrote.
#[track_caller]
fn assert_melded(a: Outcome, b: Outcome) {
    a.expect_code(0)
        .expect_said("\"I am B: and no kernel call carries it to you.\"")
        .expect_said("shm_unlink");
    let b = b.expect_code(0).expect_said("\"I am A: I see what you write");
    assert!(
        !b.stderr.contains("shm_unlink"),
        "exactly one unlinks\n{}",
        b.story
    );
}

#[test]
fn one_terminal_shows_both_processes_and_leaves_nothing() {
    let meeting = Meeting::new("meld");
    let outcome = meeting.demo().run().expect_code(0).expect_silence();
    let told = outcome.stdout_text();
    let mut rest = told.as_str();
    for step in [
        "meld A ",
        "posix_fallocate",
        "mmap",
        "store",
        "linkat",
        "meld B ",
        "shm_open",
        "mmap",
        "read",
        "write",
        "meld A ",
        "read",
        "meld B ",
        "munmap",
        "meld A ",
        "munmap",
        "shm_unlink",
        "checks held",
    ] {
        let at = rest.find(step);
        rest = &rest[at.unwrap_or_else(|| panic!("{step} is missing in:\n{told}"))..];
    }
    meeting.finish();
}

#[test]
fn either_process_may_be_started_first() {
    let meeting = Meeting::new("meld-order");
    let a = meeting.role("a").after("umask 0").start();
    a.wait_for_stderr(" wait ");
    let stat = SharedMemory::stat_name(&meeting.name).unwrap();
    assert_eq!((stat.bytes, stat.mode), (1024, 0o600));
    let b = meeting.role("b").start();
    assert_melded(a.finish(), b.finish());
    let b = meeting.role("b").start();
    b.wait_for_stderr(" wait ");
    let a = meeting.role("a").start();
    assert_melded(a.finish(), b.finish());
    meeting.finish();
}

#[test]
fn nobody_waits_for_ever_for_who_does_not_come() {
    let meeting = Meeting::new("meld-alone");
    for (role, other) in [("a", "B"), ("b", "A")] {
        let hint = format!(
            "hint: start it: shmeld demo meld --role {} --object {}; or --wait forever",
            other.to_ascii_lowercase(),
            meeting.name
        );
        meeting
            .role(role)
            .args(["--wait", "100ms"])
            .run()
            .expect_code(3)
            .expect_said(&format!("{}: {other} did not come (waited ", meeting.name))
            .expect_said(&hint);
    }
    meeting.finish();
}

#[test]
fn what_a_killed_a_left_is_taken_over() {
    let meeting = Meeting::new("meld-stale");
    meeting.start_a().kill();
    assert!(meeting.exists(), "a killed process removes nothing");
    let b = meeting.role("b").start();
    b.wait_for_stderr("what is there has no lease");
    let a = meeting.role("a").start();
    assert_melded(a.finish().expect_said("left by a process that died"), b.finish());
    meeting.finish();
}

#[test]
fn death_of_a_in_the_middle_is_told_by_b() {
    let meeting = Meeting::new("meld-a-dies");
    let (a, b) = meeting.start_both_and_stop_a();
    a.kill();
    b.finish().expect_code(4).expect_said(": A died");
    meeting.run_again_and_finish();
}

#[test]
fn death_of_b_in_the_middle_is_told_by_a() {
    let meeting = Meeting::new("meld-b-dies");
    let (a, b) = meeting.start_both_and_stop_a();
    b.kill();
    a.signal("CONT");
    // B's answer was there before it died, so A reads it; but B never let go.
    a.finish()
        .expect_code(4)
        .expect_said("\"I am B: ")
        .expect_said(": B died");
    meeting.run_again_and_finish();
}

#[test]
fn a_stopped_process_is_not_dead_but_costs_no_more_than_the_patience() {
    let meeting = Meeting::new("meld-stopped");
    let a = meeting.start_a();
    stop(&a);
    let b = meeting.role("b").args(["--wait", "300ms"]).run().expect_code(4);
    b.expect_said(": A is alive, but has done nothing (waited ");
    a.signal("CONT");
    a.finish().expect_code(4).expect_said(": B died");
    meeting.finish();
}

#[test]
fn a_second_process_of_a_role_is_refused() {
    let meeting = Meeting::new("meld-second");
    let (a, b) = meeting.start_both_and_stop_a();
    meeting
        .role("a")
        .run()
        .expect_code(3)
        .expect_said("another process A is at work here");
    meeting
        .role("b")
        .run()
        .expect_code(3)
        .expect_said("another process B is at work here");
    a.signal("CONT");
    assert_melded(a.finish(), b.finish());
    meeting.finish();
}

#[test]
fn object_of_another_user_is_refused_with_its_uid_and_kept() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let meeting = Meeting::new("meld-foreign");
    let path = format!("/dev/shm{}", meeting.name);
    let script = format!("umask 077 && head -c 1024 /dev/zero > {path}");
    let made = meeting
        .world
        .tool("sh")
        .args(["-c", &script])
        .as_user(NOBODY)
        .run();
    made.expect_code(0);
    let refused = format!("shm_open {}: it belongs to uid {NOBODY}, not to us", meeting.name);
    for role in ["a", "b"] {
        let outcome = meeting.role(role).args(["--wait", "5s"]).run().expect_code(3);
        outcome
            .expect_said(&refused)
            .expect_said("hint: choose another --object");
    }
    meeting.demo().run().expect_code(3);
    assert!(meeting.exists(), "it is not ours to remove");
    // And the other way round: root's object, which the other user cannot even open.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, [0; 1024]).unwrap();
    let outcome = meeting.role("a").as_user(NOBODY).run().expect_code(3);
    outcome.expect_said("it belongs to uid 0, not to us");
    std::fs::remove_file(&path).unwrap();
    meeting.finish();
}

/// In a user namespace without a map every user has the number 65534, oneself included: what root had left open to all was taken for
/// one's own, believed, and (where the kernel let it) removed. (Row O16.)
#[test]
fn number_of_all_unknown_users_is_not_taken_for_our_own() {
    let meeting = Meeting::new("meld-unknown");
    let Some(users) = users_or_skip(&meeting.world) else {
        return;
    };
    // Where nobody is known nothing is made, whether the name is free or not.
    let unknown = "in this user namespace uid 65534 is our user and every other one";
    let refuse_all = |namespace: &[&str], said: &str| {
        let programs = [meeting.role("a"), meeting.role("b")];
        for program in programs.map(|program| program.args(["--wait", "300ms"])) {
            let refused = program.wrapped(namespace).as_user(users.a).run().expect_code(3);
            refused.expect_said(said).expect_said("hint: ");
        }
    };
    refuse_all(&NOBODY_KNOWN, unknown);
    assert!(!meeting.exists());
    let path = format!("/dev/shm{}", meeting.name);
    std::fs::write(&path, [0; 1024]).unwrap();
    content::set_mode(path.as_ref(), 0o666);
    refuse_all(&NOBODY_KNOWN, unknown);
    // Root in there is the user itself, and who is root out here is nobody it knows.
    refuse_all(&ALONE, "belongs to uid 65534, not to us");
    assert_eq!(std::fs::read(&path).unwrap(), [0; 1024]);
    std::fs::remove_file(&path).unwrap();
    // It knows itself, and that is enough to meet.
    let start = |role| meeting.role(role).wrapped(&ALONE).as_user(users.a).start();
    let (a, b) = (start("a"), start("b"));
    assert_melded(a.finish(), b.finish());
    meeting.finish();
}

/// A program from a textbook has the object of this name open: it knows nothing of leases, and must keep its object.
#[test]
fn object_without_a_lease_that_somebody_uses_is_kept() {
    let meeting = Meeting::new("meld-used");
    let path = format!("/dev/shm{}", meeting.name);
    let script = format!("exec 3<>{path}; echo open >&2; read line");
    let input = meeting.world.root().join("fifo");
    meeting.world.tool("mkfifo").arg(&input).run().expect_code(0);
    let script = format!("exec 4<>{}; {script} <&4", input.display());
    let user = meeting.world.tool("sh").args(["-c", &script]).start();
    user.wait_for_stderr("open");
    let refused = meeting.role("a").run().expect_code(3);
    refused.expect_said(&format!("process {} has it open or mapped", user.pid()));
    assert!(meeting.exists());
    user.kill();
    meeting.run_again_and_finish();
}

/// What is done to the object.
type Lie = fn(&SharedMemory);

/// What a hostile process B of our own user does to A: lies about its turn and about places, takes the memory away.
#[test]
fn process_that_lies_is_told_and_the_name_is_removed() {
    let lies: [(&str, Lie); 4] = [
        ("stored a turn that is not its turn", |object| {
            object.write_at(&77_u32.to_le_bytes(), 0).unwrap();
        }),
        ("an offset leads to no value of its type", |object| {
            object.write_at(&1020_u64.to_le_bytes(), 16).unwrap();
            object.write_at(&2_u32.to_le_bytes(), 0).unwrap();
        }),
        ("the length of a thought", |object| {
            object.write_at(&512_u64.to_le_bytes(), 16).unwrap();
            object.write_at(&125_u32.to_le_bytes(), 512).unwrap();
            object.write_at(&2_u32.to_le_bytes(), 0).unwrap();
        }),
        ("it took memory of the region away", |object| {
            object.as_file().set_len(0).unwrap();
        }),
    ];
    let meeting = Meeting::new("meld-lies");
    for (told, lie) in lies {
        let a = meeting.start_a();
        let object = SharedMemory::open(&meeting.name, true).unwrap();
        assert!(lease::try_take(&object, Range::byte(1), Kind::Write, "B").unwrap());
        lie(&object);
        a.finish().expect_code(4).expect_said(told);
        assert!(!meeting.exists(), "after: {told}");
    }
    meeting.finish();
}

/// Text from another process could drive the terminal.
#[test]
fn thought_with_control_characters_is_shown_escaped() {
    let meeting = Meeting::new("meld-escape");
    let a = meeting.start_a();
    let object = SharedMemory::open(&meeting.name, true).unwrap();
    assert!(lease::try_take(&object, Range::byte(1), Kind::Write, "B").unwrap());
    object
        .write_at(&[7, 0, 0, 0, 0x1b, b'[', b'2', b'J', b'\n', 0xff, 0], 512)
        .unwrap();
    object.write_at(&512_u64.to_le_bytes(), 16).unwrap();
    object.write_at(&2_u32.to_le_bytes(), 0).unwrap();
    a.wait_for_stderr("turn = 3");
    drop(object);
    let a = a.finish().expect_code(4).expect_said(": B died");
    assert!(
        !a.stderr.contains('\x1b') && a.stderr.contains("[2J"),
        "{}",
        a.stderr
    );
    meeting.finish();
}

/// Each finds what a dead one left: one of them takes it over, and nobody removes what another has made.
#[test]
fn of_many_started_together_one_is_a() {
    let meeting = Meeting::new("meld-many");
    meeting.start_a().kill();
    let start = |_| meeting.role("a").args(["--wait", "1500ms"]).start();
    let crowd: Vec<Running> = (0..6).map(start).collect();
    meeting.role("b").run().expect_code(0);
    let mut codes: Vec<_> = crowd.iter().map(|a| a.finish().code).collect();
    codes.sort();
    assert_eq!(codes[..2], [Some(0), Some(3)], "{codes:?}");
    assert!(codes[2..].iter().all(|&code| code == Some(3)), "{codes:?}");
    meeting.finish();
}

/// The demonstration of both, held where A waits and B is not there yet: nobody takes more of its words. A's pid.
fn start_and_hold_both(meeting: &Meeting) -> (Running, PipeReader, String) {
    let (reader, writer) = full_pipe(300);
    let demo = meeting.demo().args(["--wait", "50s"]).stdout(writer).start();
    eventually("A has come", || meeting.exists());
    let children = format!("/proc/{0}/task/{0}/children", demo.pid());
    let a = std::fs::read_to_string(children).unwrap();
    (demo, reader, a.trim().to_owned())
}

/// Takes everything, until the demonstration has ended; what its exit code is.
fn let_go(demo: &Running, mut reader: PipeReader) -> Outcome {
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let start = Instant::now();
    let outcome = demo.finish();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    outcome
}

/// A used to wait for the whole of its patience: nobody told it that B had died before it was seen.
#[test]
fn death_of_b_before_it_has_come_ends_the_demonstration_of_both() {
    if !has_or_skip("prlimit") {
        return;
    }
    let meeting = Meeting::new("meld-b-never");
    let (demo, reader, _) = start_and_hold_both(&meeting);
    // A process that is started from now on has not stack enough to begin.
    let limit = meeting.world.tool("prlimit");
    let limit = limit.args(["--stack=8192", "--pid", &demo.pid().to_string()]);
    limit.run().expect_code(0);
    let_go(&demo, reader).expect_code(4);
    meeting.finish();
}

#[test]
fn death_of_a_before_b_has_come_ends_the_demonstration_of_both() {
    let meeting = Meeting::new("meld-a-gone");
    let (demo, reader, a) = start_and_hold_both(&meeting);
    send_signal(a.parse().unwrap(), "KILL");
    let_go(&demo, reader).expect_code(4);
    meeting.finish();
}

/// Whoever ended the demonstration by kill -9 had its A for half a minute more, and `/shm-demo` with it.
#[test]
fn processes_end_with_the_demonstration_that_started_them() {
    let meeting = Meeting::new("meld-starter");
    let (demo, _reader, a) = start_and_hold_both(&meeting);
    demo.kill();
    let start = Instant::now();
    eventually("A has ended and removed its name", || {
        !meeting.exists() && !std::fs::exists(format!("/proc/{a}")).unwrap()
    });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    meeting.run_again_and_finish();
}

#[test]
fn told_to_stop_both_leave_nothing() {
    let meeting = Meeting::new("meld-stop");
    let a = meeting.start_a();
    a.signal("TERM");
    a.finish().expect_code(143);
    let b = meeting.role("b").start();
    b.wait_for_stderr(" wait ");
    b.signal("INT");
    b.finish().expect_code(130);
    // The starter of both, which is alone told to stop: there is something in the way, so A tries again for a second.
    let first = meeting.start_a();
    let demo = meeting.demo().start();
    std::thread::sleep(Duration::from_millis(200));
    demo.signal("TERM");
    demo.finish().expect_code(143);
    first.signal("TERM");
    first.finish().expect_code(143);
    meeting.finish();
}
