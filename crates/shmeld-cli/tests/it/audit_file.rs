//! The file of the audit log: what may be one, what a full disk costs, rotation by renaming and SIGHUP; and what SIGHUP means without one.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use shmeld_os::posix::mqueue::{Access, MessageQueue};

use crate::books::{self, Books};
use crate::content;
use crate::processes::{Running, send_signal};
use crate::raw_region::{GET, READ, RawRegion, STATE, count};
use crate::world::{NOBODY, World, can_unshare_or_skip, eventually, has_or_skip, is_root_or_skip, skip};

/// A server with this audit log does not start, says why, and leaves nothing; nor does it hang.
#[track_caller]
fn expect_unfit(world: &World, log: &Path, reason: &str) {
    let outcome = world.server().arg("--audit").arg(log).run().expect_code(3);
    let line = format!("shm_server: open {}: {reason}", log.display());
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], line);
    assert!(
        lines[1].starts_with("hint: the audit log needs a regular file"),
        "{lines:?}"
    );
}

#[test]
fn only_a_regular_file_that_nobody_else_can_write_holds_the_log() {
    let world = World::new("audit-unfit");
    let path = |name: &str| world.root().join(name);
    world.tool("mkfifo").arg(path("fifo")).run().expect_code(0);
    expect_unfit(&world, &path("fifo"), "it is a FIFO or a socket (ENXIO)");
    // One that somebody reads can be opened.
    let _reader = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path("fifo"))
        .unwrap();
    expect_unfit(&world, &path("fifo"), "it is not a regular file");
    symlink("target", path("link")).unwrap();
    expect_unfit(&world, &path("link"), "it is a symbolic link (ELOOP)");
    assert!(!path("target").exists());
    expect_unfit(&world, &path("source"), "it is a directory (EISDIR)");
    std::fs::write(path("two"), b"").unwrap();
    content::set_mode(&path("two"), 0o600);
    std::fs::hard_link(path("two"), path("names")).unwrap();
    expect_unfit(&world, &path("two"), "it has 2 names");
    std::fs::write(path("shared"), b"").unwrap();
    content::set_mode(&path("shared"), 0o620);
    expect_unfit(&world, &path("shared"), "others may write it (mode 0620)");
    let missing = world.server().arg("--audit").arg(path("none/log")).run();
    missing
        .expect_code(3)
        .expect_said("none: no such file or directory (ENOENT)");
    if is_root_or_skip() {
        std::fs::write(path("foreign"), b"").unwrap();
        content::set_mode(&path("foreign"), 0o600);
        chown(path("foreign"), Some(NOBODY), None).unwrap();
        expect_unfit(&world, &path("foreign"), &format!("it belongs to uid {NOBODY}"));
    }
    world.finish();
}

#[test]
fn new_log_is_private_and_an_old_one_is_continued_with_its_mode() {
    let world = World::new("audit-mode");
    let log = books::log_of(&world);
    for mode in [0o600, 0o640] {
        let server = books::start_server(&world);
        world.fetch(&["missing"]).expect_code(1);
        let found = books::close(&world, &server);
        assert_eq!(content::mode(&log), mode);
        assert_eq!(found.get("refused FNF"), if mode == 0o600 { 1 } else { 2 });
        content::set_mode(&log, 0o640);
    }
    world.finish();
}

fn rotate(world: &World, server: &Running, number: usize) -> PathBuf {
    let old = world.root().join(format!("audit.log.{number}"));
    std::fs::rename(books::log_of(world), &old).unwrap();
    server.signal("HUP");
    eventually("a new file is there", || books::log_of(world).exists());
    old
}

/// The usual rotation, again and again while clients come and go: each line is whole, in one file or the other, and none is missing.
#[test]
fn rotation_under_load_loses_and_tears_no_line() {
    const CLIENTS: usize = 6;
    const ROTATIONS: usize = 12;
    let world = World::new("audit-rotation");
    world.put_random("file", 5000);
    let server = books::start_server(&world);
    let busy = |number: usize| {
        let client = world
            .client()
            .args(["-q", "--json", "file", "missing", "../x", "-n", "600"]);
        client.arg("-o").arg(world.output(&format!("{number}/"))).start()
    };
    let clients: Vec<Running> = (0..CLIENTS).map(busy).collect();
    // Read at the end only: what was under way when a file was renamed still goes into it.
    let rotated = (0..ROTATIONS).map(|number| rotate(&world, &server, number));
    let files: Vec<PathBuf> = rotated.collect();
    let mut seen = Books::default();
    for client in clients {
        seen.take_client(&client.finish().expect_code(1));
        seen.add("session OK", 1);
    }
    let written = count(&world, "audit_lines_total");
    let log = books::log_of(&world);
    server.signal("TERM");
    server.finish().expect_code(0);
    let files = files.iter().chain([&log]);
    let all: Vec<_> = files.flat_map(|path| books::lines(path)).collect();
    assert!(all.len() as u64 >= written);
    let found = Books::of_lines(&all);
    for name in ["files", "bytes", "refused", "refused FNF", "refused DENIED"] {
        assert_eq!(found.get(name), seen.get(name), "{name}");
    }
    assert_eq!(found.get("lost"), 0);
    world.finish();
}

#[test]
fn log_that_cannot_be_opened_anew_stays_in_the_old_file_and_that_is_said_once() {
    let world = World::new("audit-stale");
    let log = books::log_of(&world);
    let server = books::start_server(&world);
    world.fetch(&["before"]).expect_code(1);
    let old = world.root().join("audit.log.0");
    std::fs::rename(&log, &old).unwrap();
    std::fs::create_dir(&log).unwrap();
    server.signal("HUP");
    server.wait_for_stderr("it is a directory (EISDIR); the audit log stays in the old file");
    server.signal("HUP");
    world.fetch(&["meanwhile"]).expect_code(1);
    std::fs::remove_dir(&log).unwrap();
    server.signal("HUP");
    eventually("a new file is there", || log.exists());
    world.fetch(&["after"]).expect_code(1);
    let new = books::close(&world, &server);
    assert_eq!(new.get("refused FNF"), 1);
    assert_eq!(Books::of_lines(&books::lines(&old)).get("refused FNF"), 2);
    assert_eq!(server.stderr().matches("stays in the old file").count(), 1);
    world.finish();
}

/// A disk with one page of room, in a mount namespace of the server. `None` if this machine cannot do that.
fn server_on_a_small_disk(world: &World) -> Option<(Running, PathBuf)> {
    let disk = world.root().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs '{0}' && head -c 12288 /dev/zero > '{0}/filler'",
        disk.display()
    );
    let can_mount = world.tool("unshare").args(["-m", "sh", "-c", &script]).run().code == Some(0);
    if !can_mount {
        skip("unshare -m and mount");
        return None;
    }
    let server = world.server().arg("--audit").arg(disk.join("log"));
    let server = server.after(&script).wrapped(&["unshare", "-m"]).start();
    server.wait_for_stderr("serving");
    let inside = format!("/proc/{}/root{}", server.pid(), disk.display());
    Some((server, PathBuf::from(inside)))
}

/// Serving goes on; the loss is said on standard error, counted, and told in the file once there is room.
#[test]
fn full_disk_costs_lines_that_are_counted_and_nothing_else() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    const REFUSALS: u64 = 5;
    let world = World::new("audit-full");
    world.put_random("file", 5000);
    let Some((server, disk)) = server_on_a_small_disk(&world) else {
        return;
    };
    // Each makes a line of more than a page: the first is torn, the others do not even begin.
    let long = [1; 900];
    for _ in 0..REFUSALS {
        let client = world.client().args(["-q", "file"]).arg(OsStr::from_bytes(&long));
        client.arg("-o").arg(world.output("")).run().expect_code(1);
    }
    server.wait_for_stderr(
        "no space left (ENOSPC); lines of the audit log are lost until it can be written again",
    );
    eventually("all are lost", || {
        count(&world, "audit_lost_total") > 2 * REFUSALS
    });
    std::fs::remove_file(disk.join("filler")).unwrap();
    eventually("the loss is told", || {
        let (lines, torn) = books::lines_and_torn(&disk.join("log"));
        torn == 1 && lines.iter().any(|line| line["event"] == "lost")
    });
    world.fetch(&["missing"]).expect_code(1);
    eventually("lines are written again", || {
        Books::of_lines(&books::lines_and_torn(&disk.join("log")).0).get("refused FNF") == 1
    });
    let lost = Books::of_lines(&books::lines_and_torn(&disk.join("log")).0).get("lost");
    // Sessions and refusals, and the looks at the status.
    assert!(
        lost >= 2 * REFUSALS && lost <= count(&world, "audit_lost_total"),
        "{lost} lost"
    );
    let complaints = server.stderr().matches("lines of the audit log are lost").count();
    assert_eq!(complaints, 1, "{}", server.stderr());
    world.finish();
}

/// A limit on the size of files cuts a line short: what follows, in a new file, begins with how many lines are missing.
#[test]
fn file_size_limit_costs_lines_until_the_log_is_rotated() {
    let world = World::new("audit-limit");
    let server = books::server(&world).after("ulimit -f 2").start();
    server.wait_for_stderr("serving");
    for _ in 0..9 {
        world.fetch(&["missing"]).expect_code(1);
    }
    eventually("the limit is reached", || count(&world, "audit_lost_total") > 3);
    let old = rotate(&world, &server, 0);
    world.fetch(&["missing"]).expect_code(1);
    let new = books::close(&world, &server);
    let (lines, torn) = books::lines_and_torn(&old);
    let old = Books::of_lines(&lines);
    assert!(torn <= 1 && new.get("lost") > 3, "{torn} {new:?}");
    let all = |name: &str| old.get(name) + new.get(name);
    let entries = all("refused FNF") + all("session OK") + all("lost");
    assert!(all("refused FNF") < 10 && entries >= 20, "{old:?} {new:?}");
    world.finish();
}

/// A part of a line at the end of the file, from a limit or an earlier run, costs itself only: a hangup that renames nothing does not make it
/// the beginning of the next line, and neither does a start.
#[test]
fn line_behind_half_a_line_is_whole() {
    let world = World::new("audit-half");
    let log = books::log_of(&world);
    let server = books::server(&world).after("ulimit -S -f 1").start();
    server.wait_for_stderr("serving");
    for _ in 0..9 {
        world.fetch(&["missing"]).expect_code(1);
    }
    eventually("the limit is reached", || count(&world, "audit_lost_total") > 3);
    server.signal("HUP");
    let prlimit = world
        .tool("prlimit")
        .args(["--fsize=unlimited:unlimited", "--pid"]);
    prlimit.arg(server.pid().to_string()).run().expect_code(0);
    world.fetch(&["first"]).expect_code(1);
    server.signal("TERM");
    server.finish().expect_code(0);
    std::fs::OpenOptions::new()
        .append(true)
        .open(&log)
        .unwrap()
        .write_all(b"{\"time\"")
        .unwrap();
    let server = books::start_server(&world);
    world.fetch(&["second"]).expect_code(1);
    server.signal("TERM");
    server.finish().expect_code(0);
    let (lines, torn) = books::lines_and_torn(&log);
    assert!((1..=2).contains(&torn), "{torn}");
    let events = |name: &str| lines.iter().filter(|line| line["event"] == name).count();
    assert_eq!((events("start"), events("stop")), (2, 2));
    assert!(Books::of_lines(&lines).get("lost") > 3);
    for name in ["first", "second"] {
        assert!(lines.iter().any(|line| line["path"] == name), "{name}");
    }
    world.finish();
}

/// A disk that does not answer, as NFS may not: each write into the file is held for longer than anybody here waits.
#[test]
fn disk_that_hangs_stops_nobody_and_not_the_end_of_the_server() {
    let world = World::new("audit-hung");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 5000);
    let log = books::log_of(&world);
    let hold = ["-e", "trace=write", "-e", "inject=write:delay_enter=300s"];
    let strace = ["-D", "-P", log.to_str().unwrap()];
    let server = books::server(&world).args(["--max-sessions", "2"]);
    let server = server.wrapped(&hold).traced("/dev/null", &strace).start();
    server.wait_for_stderr("serving");
    let busy = [(); 2].map(|()| {
        let region = RawRegion::new(&world);
        region.send(GET, "file");
        region.wait_for_slot();
        region
    });
    // The acceptor has a line to write.
    let third = RawRegion::new(&world);
    third.send(GET, "file");
    eventually("it is refused", || third.word(STATE) & 3 == 3);
    drop(busy);
    server.signal("HUP");
    for _ in 0..3 {
        world.fetch(&["file", "missing"]).expect_code(1);
        world.assert_output("file", &bytes);
        std::fs::remove_file(world.output("file")).unwrap();
    }
    assert_eq!(world.status()["audit_lines_total"], 0);
    let field = |name: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let tracer = field("TracerPid:");
    server.signal("TERM");
    server.wait_for_stderr("the disk does not answer; the last ");
    // What holds the write keeps the dead process from going, as the kernel does in such a write.
    eventually("it has ended", || field("State:").starts_with('Z'));
    send_signal(tracer.parse().unwrap(), "KILL");
    server.finish().expect_code(0);
    world.finish();
}

/// What ends while a server waits for its sessions is said like any other end.
#[test]
fn session_that_misbehaves_while_a_server_ends_is_said_and_logged() {
    let world = World::new("audit-drain");
    world.put_random("big", 1 << 20);
    let server = books::start_server(&world);
    let hostile = RawRegion::new(&world);
    hostile.send(GET, "big");
    hostile.wait_for_slot();
    server.signal("TERM");
    eventually("the queue is gone", || {
        MessageQueue::open(&world.queue_name(), Access::Send).is_err()
    });
    hostile.set_word(READ, 77);
    hostile.ring();
    let outcome = server.finish().expect_code(0);
    let uid = shmeld_os::process::effective_uid();
    outcome.expect_said(&format!("ended a session of uid {uid}: "));
    let found = Books::of_lines(&books::lines(&books::log_of(&world)));
    assert_eq!(found.get("session MISBEHAVED"), 1);
    world.finish();
}

#[test]
fn hangup_ends_a_server_without_audit_log_like_a_wish_to_stop() {
    let world = World::new("hangup");
    world.put_random("file", 1000);
    let server = world.start_server();
    server.signal("HUP");
    server.finish().expect_code(0);
    // Started by nohup it is to outlive its terminal.
    let server = world.server().after("trap '' HUP").start();
    server.wait_for_stderr("serving");
    server.signal("HUP");
    world.fetch(&["file"]).expect_code(0);
    world.finish();
}
