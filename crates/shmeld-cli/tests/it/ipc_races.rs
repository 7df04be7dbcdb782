//! `shmeld ipc` while others change the same segment or file.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use shmeld_os::posix::shm::SharedMemory;

use crate::ipc_world::Places;
use crate::processes::Program;
use crate::world::{World, eventually, has_or_skip, skip};

/// A growth found no room and cut the segment back to the size that it had seen first: 40 MiB that another process had made and filled
/// meanwhile were gone.
#[test]
fn resize_that_finds_no_room_leaves_what_another_process_has_grown_meanwhile() {
    if !has_or_skip("strace") {
        return;
    }
    let (world, places) = (World::new("grown"), Places::new());
    let address = places.posix();
    world.ipc_done(&["create", &address, "--size", "4096"]);
    let memory = SharedMemory::open(&places.name, true).unwrap();
    let growing = slow_second_step(world.ipc(&["resize", &address, "20M"]), "error=ENOSPC:").start();
    eventually("the first step is done", || memory.stat().unwrap().bytes > 4096);
    memory.as_file().set_len(40 << 20).unwrap();
    memory.as_file().write_all_at(b"precious", 30 << 20).unwrap();
    growing.finish().expect_code(3).expect_said("(ENOSPC)");
    assert_eq!(memory.stat().unwrap().bytes, 40 << 20);
    let mut found = [0; 8];
    memory.read_at(&mut found, 30 << 20).unwrap();
    assert_eq!(&found, b"precious");
    // Nobody else has touched this one: it is as it was.
    world.ipc_done(&["resize", &address, "4096"]);
    let growing = slow_second_step(world.ipc(&["resize", &address, "20M"]), "error=ENOSPC:");
    growing.run().expect_code(3);
    assert_eq!(memory.stat().unwrap().bytes, 4096);
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

#[test]
fn resize_that_is_stopped_leaves_the_size_as_it_was() {
    if !has_or_skip("strace") {
        return;
    }
    let (world, places) = (World::new("stopped"), Places::new());
    let address = places.posix();
    world.ipc_done(&["create", &address, "--size", "4096"]);
    let memory = SharedMemory::open(&places.name, true).unwrap();
    let growing = slow_second_step(world.ipc(&["resize", &address, "20M"]), "").start();
    eventually("the first step is done", || memory.stat().unwrap().bytes > 4096);
    growing.signal("TERM");
    growing.finish().expect_code(143);
    let stat = memory.stat().unwrap();
    assert_eq!((stat.bytes, stat.blocks_512 * 512), (4096, 4096));
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

/// A signal was heard once all of the memory was there: seconds, and the memory of everybody.
#[test]
fn creation_that_is_stopped_takes_no_more_memory() {
    if !has_or_skip("strace") {
        return;
    }
    let (world, places) = (World::new("uncreated"), Places::new());
    let calls = world.output("calls");
    let strace = ["-D", "-e", "inject=fallocate:delay_enter=500000:when=2"];
    let create = world.ipc(&["create", &places.posix(), "--size", "40M"]);
    let creating = create.traced(calls.to_str().unwrap(), &strace).start();
    let reserved = || std::fs::read_to_string(&calls).unwrap_or_default();
    eventually("the first step is done", || reserved().contains("fallocate("));
    creating.signal("TERM");
    creating.finish().expect_code(143);
    places.assert_empty();
    let steps = reserved().matches("fallocate(").count();
    assert!(steps <= 2, "{steps} of 5 steps are done");
    world.finish();
}

/// Half of a file had become the whole of what was written, and the exit code was 0.
#[test]
fn file_that_shrinks_while_it_is_written_into_a_segment_is_an_error_that_says_what_arrived() {
    if !has_or_skip("strace") {
        return;
    }
    let (world, places) = (World::new("shrinks"), Places::new());
    let file = world.put("file", &[b'x'; 1 << 20]);
    let path = file.to_str().unwrap();
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "2M"]);
        set_size(&file, 1 << 20);
        let inject = "inject=read:delay_enter=500000:when=2";
        let strace = ["-D", "-P", path, "-e", inject];
        let write = world.ipc(&["write", &address, "--offset", "9", path]);
        let writing = write.traced("/dev/null", &strace).start();
        let written = || {
            let words = ["read", &address, "--offset", "9", "--length", "1"];
            world.ipc(&words).run().stdout == b"x"
        };
        eventually("the first piece is written", written);
        set_size(&file, 5);
        let line = format!(
            "shmeld: write {address}: {path} became shorter while it was read: 262144 of 1048576 bytes are written, at 9 (CHANGED)"
        );
        writing.finish().expect_code(1).expect_line(&line);
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

/// A reader who knew at its beginning which pages were untouched told them as zeros at its end: a message was missing that an earlier byte had
/// announced.
#[test]
fn reader_finds_what_an_earlier_byte_announces() {
    let (world, places) = (World::new("announced"), Places::new());
    let address = places.sysv();
    world.ipc_done(&["create", &address, "--size", "8M"]);
    let write = |offset: usize, bytes: &[u8]| {
        let write = world.ipc(&["write", &address, "--offset", &offset.to_string()]);
        write.input(bytes).run().expect_code(0);
    };
    write(0, &[b'.'; 3 << 20]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let reading = world.ipc(&["read", &address]).stdout(writer).start();
    // Some has come: the rest waits for room in the pipe.
    reader.read_exact(&mut [0]).unwrap();
    write(6 << 20, b"message");
    write(2 << 20, b"!");
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    reading.finish().expect_code(0);
    let found = |at: usize, len: usize| rest[at - 1..at - 1 + len].escape_ascii().to_string();
    assert_eq!(rest.len() + 1, 8 << 20);
    assert_eq!((&*found(2 << 20, 1), &*found(6 << 20, 7)), ("!", "message"));
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

/// A number that leads to a smaller segment since: as many bytes came as its predecessor had, or the reader died of a range outside.
#[test]
fn segment_that_is_read_is_the_one_that_is_described() {
    if !has_or_skip("strace") || !has_or_skip("ipcmk") {
        return;
    }
    let world = World::new("number");
    let script = "id=$(ipcmk -M 1000000 | sed 's/.* //') && test -w /proc/sys/kernel/shm_next_id || exit 9
        strace -D -f -qq -o /dev/null -e inject=shmat:delay_enter=1000000 \"$0\" ipc read \"sysv:#$id\" | wc -c & sleep 0.3
        ipcrm -m $id; echo $id > /proc/sys/kernel/shm_next_id; ipcmk -M 4096 > /dev/null; wait";
    let shmeld = world.ipc(&[]).words()[0].clone();
    let unshare = world
        .tool("unshare")
        .args(["--ipc", "sh", "-c", script])
        .args([shmeld]);
    let outcome = unshare.run();
    if outcome.code == Some(0) {
        assert_eq!(outcome.stdout_text().trim(), "4096");
    } else {
        skip("unshare --ipc, and the sysctl kernel.shm_next_id");
    }
    world.finish();
}

/// It was "created", exit code 0, and gone.
#[test]
fn segment_that_does_not_outlive_its_maker_is_told_as_such() {
    let world = World::new("forced");
    let create = world.ipc(&["create", "sysv:0x1", "--size", "10"]).words();
    let script = "echo 1 > /proc/sys/kernel/shm_rmid_forced || exit 9; exec \"$0\" \"$@\"";
    let unshare = world.tool("unshare").args(["--ipc", "sh", "-c", script]);
    let outcome = unshare.args(create).run();
    if outcome.stdout.is_empty() {
        skip("unshare --ipc, and the sysctl kernel.shm_rmid_forced");
    } else {
        outcome
            .expect_code(1)
            .expect_said("sysv:0x00000001 goes at the end of this command")
            .expect_said("sysctl -w kernel.shm_rmid_forced=0");
    }
    world.finish();
}

fn set_size(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes).unwrap();
}

/// The second of the steps in which memory is reserved takes half a second, and then ends like this.
fn slow_second_step(program: Program, end: &str) -> Program {
    let inject = format!("inject=fallocate:{end}delay_enter=500000:when=2");
    program.wrapped(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject])
}
