//! Outputs that are no files: devices and FIFOs are written into and never replaced.

use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use crate::content;
use crate::world::World;

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
