//! Memory that is full, and a disk that forgets: the rows C13, C14 and R2 of the fault catalogue.

use std::path::{Path, PathBuf};

use crate::content;
use crate::midway::{MIB, Trickle};
use crate::peers::{EXAMPLES, PEERS, python_or_skip};
use crate::processes::{Program, Running};
use crate::raw_region::{assert_served, count};
use crate::world::{World, can_unshare_or_skip, has_or_skip, is_root_or_skip};

/// C13: whoever makes a region pays for all of it at once. Where not a page is left then, nobody needs another one.
#[test]
fn transfer_needs_no_memory_but_its_region() {
    let world = World::new("no-page-left");
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let bytes = world.put_random("file", 3 * MIB as usize);
    for region in ["4K", "64K", "1M"] {
        let script = format!("mount -t tmpfs -o size={region} none /dev/shm");
        let copy = world
            .shmeld("cp")
            .args(["--region", region])
            .arg(world.source("file"));
        let copy = copy.arg(world.output("file")).after(&script);
        copy.wrapped(&["unshare", "--mount"]).run().expect_code(0);
        world.assert_output("file", &bytes);
        std::fs::remove_file(world.output("file")).unwrap();
    }
    world.finish();
}

/// C13 where the client is killed for its memory while it pays: nothing of it has a name yet. (SIGKILL is what the kernel sends then.)
#[test]
fn client_killed_for_its_memory_leaves_nothing() {
    let world = World::new("no-memory");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    let _server = world.start_server();
    let kill = ["-e", "inject=fallocate:signal=KILL:when=1"];
    let client = world
        .client()
        .args(["--region", "64M", "file", "-o"])
        .arg(world.output("file"));
    assert_eq!(client.traced("trace", &kill).run().code, None);
    world.assert_no_output();
    assert_eq!(count(&world, "refused_regions_total"), 0);
    assert_served(&world, "file", &bytes);
    world.finish();
}

/// C14 where a file is replaced, and where a directory is made: the bytes, then the name, then the directory that holds the name.
#[test]
fn sync_comes_before_the_name_and_after_it() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("sync-order");
    world.put_random("sub/file", 100_000);
    let _server = world.start_server();
    let calls = "trace=fsync,fdatasync,linkat,rename,renameat,renameat2";
    for is_there in [false, true] {
        let client = world
            .client()
            .args(["--sync", "sub/file", "-o"])
            .arg(world.output(""));
        client
            .wrapped(&["strace", "-f", "-y", "-e", calls, "-o", "trace"])
            .run()
            .expect_code(0);
        let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
        // Without the region's own name, which comes first.
        let lines: Vec<&str> = trace
            .lines()
            .filter(|line| line.contains('(') && !line.contains("/dev/shm"))
            .collect();
        let at = |what: &str, after: usize| {
            let found = lines[after..].iter().position(|line| line.contains(what));
            after + found.unwrap_or_else(|| panic!("no {what} behind {after} in\n{trace}"))
        };
        let name = at(if is_there { "renameat" } else { "linkat" }, 0);
        // A directory that is made is synced before that.
        let before = lines[..name]
            .iter()
            .rposition(|line| line.contains("fsync") && !line.contains("/sub>"));
        assert!(
            before.is_some_and(|bytes| lines[bytes].contains("/sub/")),
            "the file itself: {trace}"
        );
        let directory = at("fsync", name + 1);
        assert!(lines[directory].contains("/sub>"), "the directory: {trace}");
    }
    world.finish();
}

/// A program in the mount namespace of a server that has a /dev/shm of its own.
fn beside(server: &Running, program: Program) -> Program {
    let namespace = format!("--mount=/proc/{}/ns/mnt", server.pid());
    program.wrapped(&["nsenter", &namespace, "--"])
}

/// peers/hostile.py in such a namespace; returns what it saw.
#[track_caller]
fn misbehave_beside(world: &World, server: &Running, python: &Path, mode: &str) -> String {
    let script = PathBuf::from(PEERS).join("hostile.py");
    let peer = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    let outcome = beside(server, peer.args([world.name(), mode, "file"]))
        .run()
        .expect_code(0);
    outcome.stdout_text().trim().to_owned()
}

/// R2: memory that was there when the region was admitted, and is not when the server needs it, because the client has given it back and
/// /dev/shm is full. A store would end the server with SIGBUS; the kernel's own copy comes back with EFAULT.
#[test]
fn region_that_gives_its_pages_back_in_a_full_file_system_hurts_only_its_session() {
    let Some(python) = python_or_skip() else { return };
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("nsenter") {
        return;
    }
    let world = World::new("starved");
    let bytes = world.put_random("file", 2 * MIB as usize);
    let script = "mount -t tmpfs -o size=512k none /dev/shm";
    let server = world
        .server()
        .after(script)
        .wrapped(&["unshare", "--mount"])
        .start();
    server.wait_for_stderr("serving");
    let honest = || beside(&server, world.client().arg("file"));
    // Its region is there before the file system is full.
    let during = Trickle::start(honest());
    // The guard puts other memory in the place of a region that it cannot repair, the state word included; the kernel only says EFAULT.
    let modes = [
        ("starve-small", "GONE"),
        ("starve-large", "ended: MISBEHAVED"),
        ("starve-small", "GONE"),
    ];
    for (misbehaved, (mode, expected)) in (1..).zip(modes) {
        assert_eq!(
            misbehave_beside(&world, &server, &python, mode),
            expected,
            "{mode}"
        );
        let status = world.shmeld("status").args(["--json", "--name", world.name()]);
        let status = beside(&server, status)
            .run()
            .expect_code(0)
            .json_lines()
            .remove(0);
        assert_eq!(status["misbehaved_total"], misbehaved, "{status}");
        honest().arg("-o").arg(world.output("file")).run().expect_code(0);
        world.assert_output("file", &bytes);
    }
    assert!(
        server.stderr().contains("it took memory of the region away"),
        "{}",
        server.stderr()
    );
    let client = during.client.clone();
    content::assert_bytes("the honest client's output", &during.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}
