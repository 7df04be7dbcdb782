//! Rows O1 to O5 and O8 of the fault catalogue, as far as other tests do not make them happen: disks that refuse at each step of an output,
//! limits, targets of every kind, directories that move meanwhile, and interrupted system calls.

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use crate::content;
use crate::midway::{MIB, assert_same, put_large, wait_until_written};
use crate::outcome::Outcome;
use crate::world::{World, has_or_skip, is_root_or_skip};

const BAD_BYTES: usize = 600_000;

/// A server with `bad` and `good`.
fn world_with_files(what: &str) -> World {
    let world = World::new(what);
    world.put_random("bad", BAD_BYTES);
    world.put_random("good", 10_000);
    world.start_server();
    world
}

/// `shm_client ARGUMENTS bad good`, with one of its system calls failing.
fn fetch_with(world: &World, inject: &str, arguments: &[&str]) -> Outcome {
    let inject = format!("inject={inject}");
    let strace = ["strace", "-D", "-f", "-qq", "-o", "calls", "-e", &inject];
    let client = world.client().args(arguments).args(["bad", "good", "-o"]);
    client.arg(world.output("")).wrapped(&strace).run()
}

/// Insists on the error for `bad`, on `good`, on a session that ended well, and that the call did fail.
#[track_caller]
fn assert_only_bad_failed(world: &World, outcome: &Outcome, operation: &str, errno: &str) {
    let label = format!("{}\n{}", outcome.label, outcome.stderr);
    assert_eq!(outcome.code, Some(1), "{label}");
    let line = outcome
        .stderr
        .lines()
        .find(|line| line.starts_with("shm_client: get bad: "));
    let path = world.output("bad").display().to_string();
    let line = line.unwrap_or_else(|| panic!("no line about it in {label}"));
    assert!(line.contains(operation) && line.contains(errno), "{label}");
    assert!(line.contains(&path), "no path in {label}");
    assert!(!world.output("bad").exists(), "{label}");
    world.assert_output("good", &content::of("good", 10_000));
    assert_eq!(
        content::names_below(&world.output("")),
        [Path::new("good")],
        "{label}"
    );
    std::fs::remove_file(world.output("good")).unwrap();
    let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
    assert_eq!(calls.matches("(INJECTED)").count(), 1, "{label}");
    let status = world.status();
    assert_eq!(
        (&status["died_total"], &status["misbehaved_total"]),
        (&0.into(), &0.into()),
        "{label}"
    );
}

/// The disk may refuse the first bytes, later ones, what was written before (at fsync), or the name.
#[test]
fn each_refusal_of_a_disk_is_told_with_path_and_reason_and_costs_one_file() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("refusals");
    for errno in ["ENOSPC", "EDQUOT", "EFBIG", "EIO"] {
        for (region, when) in [("4096", 1), ("4096", 3), ("1M", 1), ("1M", 2)] {
            let inject = format!("pwrite64:error={errno}:when={when}");
            let outcome = fetch_with(&world, &inject, &["--region", region]);
            assert_only_bad_failed(&world, &outcome, "write", errno);
        }
        let outcome = fetch_with(&world, &format!("fsync:error={errno}:when=1"), &["--sync"]);
        assert_only_bad_failed(&world, &outcome, "fsync", errno);
        // The first link is that of the region.
        let outcome = fetch_with(&world, &format!("linkat:error={errno}:when=2"), &[]);
        assert_only_bad_failed(&world, &outcome, "linkat", errno);
    }
    world.finish();
}

/// What had the name before keeps it.
#[test]
fn file_that_was_there_survives_each_refusal() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("survives");
    for inject in [
        "pwrite64:error=ENOSPC:when=2",
        "fsync:error=EIO:when=1",
        "/^rename:error=EDQUOT:when=1",
    ] {
        std::fs::write(world.output("bad"), "from yesterday").unwrap();
        let outcome = fetch_with(&world, inject, &["--sync"]);
        assert_eq!(outcome.code, Some(1), "{inject}: {}", outcome.stderr);
        world.assert_output("bad", b"from yesterday");
        world.assert_output("good", &content::of("good", 10_000));
        assert_eq!(content::names_below(&world.output("")).len(), 2, "{inject}");
    }
    world.finish();
}

/// A directory that does not reach the disk: the file is whole and has its name, but that is not safe yet, which `--sync` has promised.
#[test]
fn directory_that_cannot_be_synced_is_an_error_although_the_file_is_whole() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("dir-sync");
    let outcome = fetch_with(&world, "fsync:error=EIO:when=2", &["--sync"]).expect_code(1);
    outcome.expect_said("get bad: fsync").expect_said("EIO");
    world.assert_output("bad", &content::of("bad", BAD_BYTES));
    world.finish();
}

/// The kernel's way to say this is a signal that ends the process, unless it is ignored.
#[test]
fn file_size_limit_is_an_error_with_path_and_cure_and_no_signal() {
    let world = world_with_files("fsize");
    if !has_or_skip("prlimit") {
        return;
    }
    for region in ["4096", "64K"] {
        let client = world.client().args(["--region", region, "bad", "good", "-o"]);
        let client = client
            .arg(world.output(""))
            .wrapped(&["prlimit", "--fsize=200000", "--"]);
        let outcome = client.run().expect_code(1);
        let path = world.output("bad").display().to_string();
        outcome.expect_said(&path).expect_said("EFBIG").expect_said(
            "hint: files and regions of this process are limited by RLIMIT_FSIZE, now 200000 bytes",
        );
        assert_eq!(content::names_below(&world.output("")), [Path::new("good")]);
    }
    // A region is a file as well.
    let client = world
        .client()
        .args(["--region", "64K", "good", "-o"])
        .arg(world.output(""));
    let outcome = client
        .wrapped(&["prlimit", "--fsize=20000", "--"])
        .run()
        .expect_code(3);
    outcome
        .expect_said("EFBIG")
        .expect_said("hint: files and regions of this process are limited by RLIMIT_FSIZE");
    world.finish();
}

#[test]
fn socket_as_destination_is_an_error_and_stays() {
    let world = world_with_files("socket");
    let _listener = UnixListener::bind(world.output("bad")).unwrap();
    let outcome = world.fetch(&["bad", "good"]).expect_code(1);
    outcome
        .expect_said(&world.output("bad").display().to_string())
        .expect_said("ENXIO");
    assert!(
        std::fs::symlink_metadata(world.output("bad"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    world.assert_output("good", &content::of("good", 10_000));
    world.finish();
}

#[test]
fn devices_and_links_to_nodes_in_a_directory_are_written_into_and_stay() {
    let world = world_with_files("nodes");
    if !is_root_or_skip() {
        return;
    }
    let mknod = |name: &str, kind: &[&str]| {
        let node = world.output(name);
        world.tool("mknod").arg(&node).args(kind).run().expect_code(0);
        std::fs::symlink_metadata(node).unwrap()
    };
    let null = mknod("bad", &["c", "1", "3"]);
    mknod("fifo", &["p"]);
    symlink("fifo", world.output("good")).unwrap();
    let reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(world.output("fifo"))
        .unwrap();
    world.fetch(&["bad", "good"]).expect_code(0);
    let mut found = vec![0; 10_000];
    std::io::Read::read_exact(&mut &reader, &mut found).unwrap();
    content::assert_bytes("what came out", &found, &content::of("good", 10_000));
    let now = std::fs::symlink_metadata(world.output("bad")).unwrap();
    assert_eq!(
        (now.ino(), now.mode(), now.rdev()),
        (null.ino(), null.mode(), null.rdev())
    );
    assert!(world.output("good").is_symlink());
    world.finish();
}

/// A mode of 0444 protects content, not the name; it is kept, whatever the umask would allow.
#[test]
fn read_only_file_is_replaced_and_stays_read_only() {
    let world = world_with_files("read-only");
    content::set_mode(&world.source("good"), 0o666);
    std::fs::write(world.output("good"), "old").unwrap();
    content::set_mode(&world.output("good"), 0o444);
    let client = world.client().args(["good", "-o"]).arg(world.output(""));
    client.after("umask 0").run().expect_code(0);
    world.assert_output("good", &content::of("good", 10_000));
    assert_eq!(content::mode(&world.output("good")), 0o444);
    world.finish();
}

#[test]
fn link_to_a_directory_given_as_output_means_that_directory() {
    let world = world_with_files("dir-link");
    std::fs::create_dir(world.output("real")).unwrap();
    symlink("real", world.output("link")).unwrap();
    let client = world.client().args(["good", "-o"]).arg(world.output("link"));
    client.run().expect_code(0);
    world.assert_output("real/good", &content::of("good", 10_000));
    assert!(world.output("link").is_symlink());
    world.finish();
}

/// The directory is opened once. What becomes of its name during the transfer leads nowhere else, also in the tree's and the temporary's
/// case.
#[test]
fn output_directory_that_becomes_a_link_during_the_transfer_leads_nowhere_else() {
    let world = World::new("moved");
    std::fs::create_dir(world.source("tree")).unwrap();
    let large = put_large(&world, "tree/large", 256);
    let _server = world.start_server();
    for (arguments, old) in [
        (&["tree/large"][..], false),
        (&["tree/large"], true),
        (&["-r", "tree"], false),
    ] {
        let (place, moved, other) = (
            world.output("place"),
            world.output("moved"),
            world.output("other"),
        );
        std::fs::create_dir_all(place.join("tree")).unwrap();
        std::fs::create_dir_all(other.join("tree")).unwrap();
        if old {
            std::fs::write(place.join("tree/large"), "old").unwrap();
        }
        let client = world.client().args(arguments).arg("-o").arg(&place).start();
        wait_until_written(&client, MIB);
        client.signal("STOP");
        std::fs::rename(&place, &moved).unwrap();
        symlink("other", &place).unwrap();
        client.signal("CONT");
        client.finish().expect_code(0);
        assert_same(&moved.join("tree/large"), &large);
        assert_eq!(content::names_below(&other), [Path::new("tree")]);
        std::fs::remove_file(place).unwrap();
        content::remove_tree(&moved);
        content::remove_tree(&other);
    }
    world.finish();
}

fn with_strace<'a>(trace: &'a str, inject: &'a str) -> [&'a str; 8] {
    ["strace", "-D", "-f", "-qq", "-o", trace, "-e", inject]
}

/// Calls of each kind that may be interrupted are, again and again and on both sides, as if signals came all the time.
#[test]
fn calls_that_are_interrupted_again_and_again_cost_time_and_nothing_else() {
    const CLIENT: &str =
        "pwrite64,mq_timedsend,futex,fallocate,ftruncate,linkat,fchmod,fsync,renameat,renameat2";
    const SERVER: &str = "pread64,mq_timedreceive,openat2,futex,poll,ppoll";
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("interrupted");
    let bytes = world.put_random("file", 3 * MIB as usize);
    let strain = |calls: &str, when: &str| format!("inject={calls}:error=EINTR:when={when}");
    // The loader, which is no part of ours, reads by pread64 as well and does not try again.
    let inject = strain(SERVER, "10+2");
    let server = world
        .server()
        .wrapped(&with_strace("server-calls", &inject))
        .start();
    server.wait_for_stderr("serving");
    for (region, when) in [("4096", "1+2"), ("1M", "1+2"), ("4096", "2+3")] {
        let inject = strain(CLIENT, when);
        let client = world.client().args(["--sync", "--region", region, "file", "-o"]);
        let client = client
            .arg(world.output("file"))
            .wrapped(&with_strace("calls", &inject));
        client.run().expect_code(0);
        world.assert_output("file", &bytes);
        let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
        assert!(calls.matches("EINTR").count() > 5, "{calls}");
    }
    server.signal("TERM");
    server.finish().expect_code(0);
    let calls = std::fs::read_to_string(world.root().join("server-calls")).unwrap();
    for call in ["pread64", "mq_timedreceive"] {
        let is_hit = |line: &str| line.contains(&format!(" {call}(")) && line.contains("EINTR");
        assert!(calls.lines().any(is_hit), "{call} was never interrupted");
    }
    world.finish();
}

/// Stopped and continued while it waits for a place in a full queue, for a server that is not there, and for an answer.
#[test]
fn client_that_is_stopped_and_continued_while_it_waits_goes_on_waiting() {
    let world = World::new("stop-waiting");
    let bytes = world.put_random("file", 10_000);
    let client = world
        .client()
        .args(["file", "-o"])
        .arg(world.output("file"))
        .start();
    client.wait_for_stderr("waiting for server");
    let pause = || {
        for _ in 0..5 {
            client.signal("STOP");
            std::thread::sleep(Duration::from_millis(30));
            client.signal("CONT");
            std::thread::sleep(Duration::from_millis(30));
        }
        assert!(client.is_running(), "{}", client.stderr());
    };
    pause();
    // A server that is stopped before it can take what is sent: the client sleeps until then.
    client.signal("STOP");
    let server = world.start_server();
    server.signal("STOP");
    client.signal("CONT");
    pause();
    server.signal("CONT");
    client.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// Which of the client's closes is that of the descriptor it has duplicated for no other purpose.
fn number_of_the_flushing_close(world: &World) -> usize {
    let strace = ["-D", "-e", "trace=close,fcntl,linkat"];
    let client = world.client().args(["bad", "good", "-o"]).arg(world.output(""));
    client.traced("calls", &strace).run().expect_code(0);
    content::remove_tree(&world.output(""));
    std::fs::create_dir(world.output("")).unwrap();
    let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    // The last duplicate before the first file gets its name, which is the second link.
    let mut links = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.contains(" linkat("));
    let (link, _) = links.nth(1).unwrap();
    let close = calls[..link]
        .iter()
        .rposition(|call| call.contains(" close("))
        .unwrap();
    assert!(calls[close - 1].contains("F_DUPFD_CLOEXEC"), "{calls:#?}");
    calls[..=close]
        .iter()
        .filter(|call| call.contains(" close("))
        .count()
}

/// NFS and FUSE refuse bytes only when the file is closed. That was not looked at: a file with nothing in it got the name, and exit code 0.
#[test]
fn bytes_refused_when_the_file_is_closed_are_an_error_and_it_gets_no_name() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("close");
    let number = number_of_the_flushing_close(&world);
    for errno in ["ENOSPC", "EDQUOT", "EIO"] {
        let outcome = fetch_with(&world, &format!("close:error={errno}:when={number}"), &[]);
        assert_only_bad_failed(&world, &outcome, "close", errno);
    }
    world.finish();
}
