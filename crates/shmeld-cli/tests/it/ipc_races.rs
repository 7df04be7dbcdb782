//! `shmeld ipc` while others change the same segment or file.

use std::os::unix::fs::FileExt;

use shmeld_os::posix::shm::SharedMemory;

use crate::ipc_world::Places;
use crate::processes::Program;
use crate::world::{World, eventually, has_or_skip};

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

/// The second of the steps in which memory is reserved takes half a second, and then ends like this.
fn slow_second_step(program: Program, end: &str) -> Program {
    let inject = format!("inject=fallocate:{end}delay_enter=500000:when=2");
    program.wrapped(&["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject])
}
