//! Outputs that are no files: devices and FIFOs are written into and never replaced.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use crate::content;
use crate::world::{World, eventually, has_or_skip};

/// A world with a running server and a file.
fn world_with_files(what: &str) -> World {
    let world = World::new(what);
    world.put("file", b"the file");
    world.start_server();
    world
}

#[test]
fn dev_null_as_destination_is_written_into_and_stays_a_device() {
    let world = world_with_files("dev-null");
    let before = std::fs::metadata("/dev/null").unwrap();
    world
        .client()
        .args(["-o", "/dev/null", "file"])
        .run()
        .expect_code(0);
    symlink("/dev/null", world.output("file")).unwrap();
    world.fetch(&["file"]).expect_code(0);
    assert!(
        world.output("file").is_symlink(),
        "a link to a device is not replaced"
    );
    let after = std::fs::metadata("/dev/null").unwrap();
    assert!(after.file_type().is_char_device());
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    world.finish();
}

#[test]
fn dev_full_as_destination_is_an_error_that_names_it() {
    let world = world_with_files("dev-full");
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["-o", "/dev/full", "--region", region, "file"]);
        client
            .run()
            .expect_code(1)
            .expect_said("/dev/full")
            .expect_said("ENOSPC");
    }
    world.finish();
}

#[test]
fn dev_stdout_as_destination_is_standard_output() {
    let world = world_with_files("dev-stdout");
    for name in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let outcome = world.client().args(["-o", name, "file"]).run().expect_code(0);
        assert_eq!(outcome.stdout, b"the file", "{name}");
    }
    world.finish();
}

#[test]
fn fifo_as_destination_is_written_into_and_stays() {
    let world = world_with_files("fifo-out");
    let bytes = world.put_random("big", 400_000);
    let fifo = world.output("big");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--region", region, "big", "-o"])
            .arg(world.output(""))
            .start();
        let mut found = Vec::new();
        std::fs::File::open(&fifo)
            .unwrap()
            .read_to_end(&mut found)
            .unwrap();
        client.finish().expect_code(0);
        content::assert_bytes("what came out", &found, &bytes);
        assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    }
    world.finish();
}

#[test]
fn cp_writes_into_devices_and_fifos_as_well() {
    let world = world_with_files("cp-nodes");
    let cp = world.shmeld("cp").arg(world.source("file")).arg("/dev/null");
    cp.run().expect_code(0).expect_silence();
    assert!(
        std::fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );

    let fifo = world.output("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    let cp = world.shmeld("cp").arg(world.source("file")).arg(&fifo).start();
    let mut found = Vec::new();
    std::fs::File::open(&fifo)
        .unwrap()
        .read_to_end(&mut found)
        .unwrap();
    cp.finish().expect_code(0).expect_silence();
    assert_eq!(found, b"the file");
    assert!(std::fs::metadata(&fifo).unwrap().file_type().is_fifo());
    world.finish();
}

/// Somebody who may rename in the output directory exchanges a FIFO for a link while the client, which has looked at it, opens it: the file
/// that the link led to was written into.
#[test]
fn node_that_is_exchanged_for_a_link_while_it_is_opened_is_not_followed() {
    let world = world_with_files("exchanged");
    if !has_or_skip("strace") {
        return;
    }
    let fifo = world.output("file");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    let mut options = std::fs::OpenOptions::new();
    let _reader = options.read(true).write(true).open(&fifo).unwrap();
    let client = |inject: &str| {
        let client = world.client().args(["file", "-o"]).arg(world.output(""));
        let calls = "trace=openat,newfstatat";
        let words = [
            "strace", "-D", "-f", "-qq", "-o", "calls", "-e", calls, "-e", inject,
        ];
        client.wrapped(&words).start()
    };
    let log = || std::fs::read_to_string(world.root().join("calls")).unwrap_or_default();
    client("inject=fsync:error=EIO").finish().expect_code(0);
    let is_it = |call: &&str| call.contains(&format!("\"{}\", O_WRONLY", fifo.display()));
    let calls = log();
    let opens = calls.lines().filter(|call| call.contains(" openat("));
    let number = 1 + opens.take_while(|call| !is_it(call)).count();

    let precious = world.root().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    symlink(&precious, world.output("link")).unwrap();
    std::fs::remove_file(world.root().join("calls")).unwrap();
    let client = client(&format!("inject=openat:delay_enter=2000000:when={number}"));
    eventually("the client looks at the FIFO", || {
        log().contains("\"file\", {st_mode=S_IFIFO")
    });
    std::fs::rename(world.output("link"), &fifo).unwrap();
    client.finish().expect_code(1).expect_said("EEXIST");
    content::assert_file(&precious, b"precious");
    assert!(fifo.is_symlink());
    world.finish();
}

/// A symbolic link that was merged into a tree took the place of a FIFO, whose readers then waited for ever. What is no such node is replaced.
#[test]
fn link_of_a_tree_replaces_links_and_no_fifo() {
    let world = World::new("node-link");
    world.put("tree/file", b"the file");
    for name in ["fifo", "again"] {
        symlink("file", world.source("tree").join(name)).unwrap();
    }
    world.start_server();
    std::fs::create_dir(world.output("tree")).unwrap();
    let fifo = world.output("tree/fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    symlink("fifo", world.output("tree/again")).unwrap();
    let outcome = world.fetch(&["-r", "tree"]).expect_code(1);
    outcome.expect_said("tree/fifo").expect_said("EEXIST");
    assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
    let link = std::fs::read_link(world.output("tree/again")).unwrap();
    assert_eq!(link.to_str(), Some("file"));
    world.assert_output("tree/file", b"the file");
    world.finish();
}
