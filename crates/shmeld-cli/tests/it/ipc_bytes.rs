//! `shmeld ipc read` and `write`: every byte arrives, through files, pipes and holes; what does not fit leaves everything as it was.

use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};

use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::ipc_world::Places;
use crate::world::World;

/// More than any buffer on the way, and no multiple of one.
const MANY: usize = 1024 * 1024 + 77;
const PART: usize = 512 * 1024;

#[test]
fn bytes_go_in_and_out_through_files_and_pipes() {
    let (world, places) = (World::new("bytes"), Places::new());
    let bytes = world.put_random("bytes", MANY);
    let file = world.source("bytes");
    let file = file.to_str().unwrap();
    for address in places.both() {
        let size = (MANY + 100).to_string();
        world.ipc_done(&["create", &address, "--size", &size]);
        let written = world
            .ipc(&["write", &address, "--offset", "100", file])
            .run()
            .expect_code(0);
        written.expect_line(&format!("shmeld: wrote {MANY} bytes at 100 of {address}"));
        let all = world
            .ipc(&["read", &address])
            .run()
            .expect_code(0)
            .expect_silence()
            .stdout;
        content::assert_bytes("a new segment is zeros", &all[..100], &[0; 100]);
        content::assert_bytes(&address, &all[100..], &bytes);
        // Through a pipe, and a part of it.
        let swapped: Vec<u8> = bytes.iter().rev().copied().collect();
        world.ipc_written(&address, &swapped);
        let words = ["read", &address, "--offset", "1000", "--length", "512K"];
        let part = world.ipc(&words).run().expect_code(0).stdout;
        content::assert_bytes(&address, &part, &swapped[1000..1000 + PART]);
        let output = world.output("part");
        let output = output.to_str().unwrap();
        let read = world
            .ipc(&[&words[..], &["-o", output]].concat())
            .run()
            .expect_code(0);
        read.expect_said("read 524288 bytes at 1000");
        world.assert_output("part", &swapped[1000..1000 + PART]);
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

#[test]
fn pipe_that_comes_in_pieces_is_read_to_its_end() {
    let (world, places) = (World::new("pieces"), Places::new());
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "12"]);
        let write = world.ipc(&["write", &address, "--offset", "2"]).words();
        let script = "(for word in a b c d e; do printf $word; sleep 0.02; done) | \"$0\" \"$@\"";
        world
            .tool("sh")
            .args(["-c", script])
            .args(write)
            .run()
            .expect_code(0)
            .expect_said("wrote 5 bytes at 2");
        assert_eq!(
            world.ipc(&["read", &address]).run().stdout,
            b"\0\0abcde\0\0\0\0\0"
        );
        // A file is read from where the descriptor stands; nothing is nothing.
        let write = world.ipc(&["write", &address]).words();
        let script =
            "printf 0123456789 > file; exec < file; dd of=/dev/null bs=1 count=7 2>/dev/null; \"$0\" \"$@\"";
        world
            .tool("sh")
            .args(["-c", script])
            .args(write)
            .run()
            .expect_code(0)
            .expect_said("wrote 3 bytes at 0");
        world
            .ipc(&["write", &address, "--offset", "12"])
            .run()
            .expect_code(0)
            .expect_said("wrote 0 bytes at 12");
        assert_eq!(world.ipc(&["read", &address]).run().stdout, b"789bcde\0\0\0\0\0");
        assert_eq!(world.ipc_done(&["read", &address, "--offset", "12"]), "");
        // A file of the kernel says that it is empty.
        let version = std::fs::read("/proc/sys/kernel/ostype").unwrap();
        world.ipc_done(&["write", &address, "/proc/sys/kernel/ostype"]);
        assert!(world.ipc(&["read", &address]).run().stdout.starts_with(&version));
        // Or that it has a page: more than the segment, and more than it has.
        let (online, said) = ("/sys/devices/system/cpu/online", format!("at 0 of {address}"));
        if let Ok(cpus) = std::fs::read(online) {
            let written = world.ipc(&["write", &address, online]).run().expect_code(0);
            written.expect_line(&format!("shmeld: wrote {} bytes {said}", cpus.len()));
            assert!(world.ipc(&["read", &address]).run().stdout.starts_with(&cpus));
        }
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_written() {
    let (world, places) = (World::new("beyond"), Places::new());
    let file = world.put("file", &[b'x'; 30]);
    let file = file.to_str().unwrap();
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "27"]);
        world.ipc_written(&address, &[b'-'; 27]);
        let refused = world.ipc_refused(1, &["write", &address, file]);
        refused.expect_line(&format!(
            "shmeld: write {address}: 30 bytes at 0 lie beyond its end at 27 (BEYOND_END)"
        ));
        let refused = world.ipc_refused(1, &["write", &address, "--offset", "28", file]);
        refused
            .expect_said("offset 28 lies beyond its end at 27 (BEYOND_END)")
            .expect_said("hint: ");
        let pipe = world
            .ipc(&["write", &address, "--offset", "20"])
            .input(&[b'x'; 8]);
        pipe.run()
            .expect_code(1)
            .expect_said("more than 7 bytes at 20 lie beyond its end at 27 (BEYOND_END)");
        // What never ends is not read to its end.
        let endless = world.ipc(&["write", &address, "/dev/zero"]).run().expect_code(1);
        endless.expect_said("more than 27 bytes at 0");
        assert_eq!(world.ipc(&["read", &address]).run().stdout, [b'-'; 27]);
        assert_eq!(world.ipc_shown(&address)["size"], 27);
        for words in [["--offset", "28"], ["--length", "28"]] {
            let output = world.output("none");
            let all = [&["read", &address][..], &words, &["-o", output.to_str().unwrap()]].concat();
            world
                .ipc_refused(1, &all)
                .expect_said("beyond its end at 27 (BEYOND_END)");
            world.assert_no_output();
        }
        world
            .ipc_refused(1, &["write", &address, "no-such-file"])
            .expect_said("open no-such-file: no such file");
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

/// A file that the kernel makes up has a name that no other file can take: `read` tried to put one there.
#[test]
fn segment_is_written_into_a_file_of_the_kernel() {
    let (world, places) = (World::new("kernel"), Places::new());
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "10"]);
        world.ipc_written(&address, b"my thread");
        // Its own name: that of no other process.
        let read = world.ipc(&["read", &address, "--length", "9", "-o", "/proc/self/comm"]);
        let line = format!("shmeld: read 9 bytes at 0 of {address} to /proc/self/comm");
        read.run().expect_code(0).expect_line(&line);
        let refused = world.ipc_refused(1, &["read", &address, "-o", "/proc/self/oom_score_adj"]);
        refused.expect_line("shmeld: write /proc/self/oom_score_adj: invalid argument (EINVAL)");
        let refused = world.ipc_refused(1, &["read", &address, "-o", "/proc/self/no-such-file"]);
        refused.expect_line("shmeld: open /proc/self/no-such-file: no such file or directory (ENOENT)");
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}

/// 4 GiB of promised memory that nobody has touched: neither the reader nor its file needs it.
#[test]
fn holes_stay_holes() {
    let (world, places) = (World::new("holes"), Places::new());
    let address = places.posix();
    let memory = SharedMemory::create_new(&places.name, 0o600).unwrap();
    memory.as_file().set_len(4 << 30).unwrap();
    memory.as_file().write_all_at(b"middle", (2 << 30) + 5).unwrap();
    let output = world.output("sparse");
    world.ipc_done(&["read", &address, "-o", output.to_str().unwrap()]);
    let found = std::fs::metadata(&output).unwrap();
    assert_eq!(found.len(), 4 << 30);
    assert!(
        found.blocks() * 512 < 1 << 20,
        "{} bytes are stored",
        found.blocks() * 512
    );
    let mut middle = [0; 6];
    std::fs::File::open(&output)
        .unwrap()
        .read_exact_at(&mut middle, (2 << 30) + 5)
        .unwrap();
    assert_eq!(&middle, b"middle");
    assert_eq!(found.mode() & 0o777, 0o600, "no wider than the segment");
    assert!(
        memory.stat().unwrap().blocks_512 * 512 < 1 << 20,
        "reading has filled the holes"
    );
    // Into a pipe they are zeros.
    let start = ((2_u64 << 30) - 100_000).to_string();
    let words = ["read", &address, "--offset", &start, "--length", "200000"];
    let bytes = world.ipc(&words).run().expect_code(0).stdout;
    let mut expected = vec![0; 200_000];
    expected[100_005..100_011].copy_from_slice(b"middle");
    content::assert_bytes("a hole in a pipe", &bytes, &expected);
    // A hole that is written is zeros as well.
    let sparse = world.put("sparse", b"");
    let file = std::fs::OpenOptions::new().write(true).open(&sparse).unwrap();
    file.set_len(10_000).unwrap();
    let start = ((2_u64 << 30) - 5_000).to_string();
    world.ipc_done(&["write", &address, "--offset", &start, sparse.to_str().unwrap()]);
    memory.read_at(&mut middle, (2 << 30) + 5).unwrap();
    assert_eq!(middle, [0; 6]);
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

/// A segment of which nobody had touched a page took all its memory when somebody looked at it.
#[test]
fn system_v_segment_is_not_filled_by_reading_it() {
    let (world, places) = (World::new("untouched"), Places::new());
    let (address, output) = (places.sysv(), world.output("sparse"));
    let output = output.to_str().unwrap();
    let allocated = || world.ipc_shown(&address)["allocated"].as_u64().unwrap();
    world.ipc_done(&["create", &address, "--size", "16M"]);
    world.ipc_done(&["read", &address, "-o", output]);
    assert_eq!(allocated(), 0);
    let found = std::fs::metadata(output).unwrap();
    assert_eq!((found.len(), found.blocks()), (16 << 20, 0));
    let bytes = world.ipc(&["read", &address]).run().expect_code(0).stdout;
    content::assert_bytes("zeros in a pipe", &bytes, &vec![0; 16 << 20]);
    assert_eq!(allocated(), 0);
    // Touched in the middle, across the end of a page, and at the end.
    let mut expected = vec![0; 16 << 20];
    for (offset, text) in [((8 << 20) - 3, &b"middle"[..]), ((16 << 20) - 3, b"end")] {
        let write = world.ipc(&["write", &address, "--offset", &offset.to_string()]);
        write.input(text).run().expect_code(0);
        expected[offset..offset + text.len()].copy_from_slice(text);
    }
    let before = allocated();
    assert!((3 * 4096..16 << 20).contains(&before), "{before}");
    world.ipc_done(&["read", &address, "-o", output]);
    content::assert_file(output.as_ref(), &expected);
    let stored = std::fs::metadata(output).unwrap().blocks() * 512;
    assert!(stored <= before, "{stored} bytes are stored in the file");
    let bytes = world.ipc(&["read", &address]).run().expect_code(0).stdout;
    content::assert_bytes("a pipe", &bytes, &expected);
    assert_eq!(allocated(), before);
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

#[test]
fn segment_that_is_cut_off_while_it_is_read_is_not_delivered() {
    let (world, places) = (World::new("cut"), Places::new());
    let address = places.posix();
    world.ipc_done(&["create", &address, "--size", "8M"]);
    // What nobody has written yet is a hole, and may be told as zeros at once.
    world.ipc_written(&address, &vec![b'x'; 8 << 20]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let reading = world.ipc(&["read", &address]).stdout(writer).start();
    // Some has come: the rest waits for room in the pipe.
    reader.read_exact(&mut [0]).unwrap();
    world.ipc_done(&["resize", &address, "4M"]);
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 8 << 20);
    let ended = reading.finish().expect_code(1);
    ended
        .expect_said(&format!("read {address}: somebody made it shorter than "))
        .expect_said("(CHANGED)");
    world.ipc_done(&["rm", &address]);
    places.assert_empty();
    world.finish();
}

#[test]
fn reader_that_has_enough_and_disk_that_is_full_are_told() {
    let (world, places) = (World::new("enough"), Places::new());
    for address in places.both() {
        world.ipc_done(&["create", &address, "--size", "1M"]);
        let full = world.ipc_refused(1, &["read", &address, "-o", "/dev/full"]);
        full.expect_said("write /dev/full: no space left (ENOSPC)");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = world.ipc(&["read", &address]).stdout(writer).run().expect_code(1);
        closed.expect_said("write standard output: nobody reads the other end of the pipe (EPIPE)");
        // Nothing listens: a signal ends it nevertheless.
        let (reader, writer) = std::io::pipe().unwrap();
        let stuck = world.ipc(&["read", &address]).stdout(writer).start();
        crate::world::eventually("it waits for room", || {
            let state = std::fs::read_to_string(format!("/proc/{}/wchan", stuck.pid()));
            state.is_ok_and(|state| state.contains("pipe"))
        });
        stuck.signal("TERM");
        stuck.finish().expect_code(143);
        drop(reader);
        world.ipc_done(&["rm", &address]);
    }
    places.assert_empty();
    world.finish();
}
