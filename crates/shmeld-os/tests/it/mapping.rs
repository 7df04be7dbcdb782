//! Mappings, and the kernel's copies into and out of them.

use std::io::{Read, Seek, Write};
use std::time::Duration;

use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind, process};

use crate::support::{Directory, Name, assert_kind};

const PAGE: usize = 4096;

fn region(pages: usize) -> (SharedMemory, Mapping) {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.reserve((pages * PAGE) as u64).expect("space");
    let mapping = Mapping::new(&memory, pages * PAGE, "test").expect("mapped");
    (memory, mapping)
}

fn file_of(directory: &Directory, content: &[u8]) -> std::fs::File {
    let path = directory.join("file");
    std::fs::write(&path, content).expect("written");
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("opened")
}

#[test]
fn the_kernel_copies_from_a_file_into_the_mapping_and_back() {
    let directory = Directory::new("copy");
    let content: Vec<u8> = (0..10_000u32).map(|number| number as u8).collect();
    let file = file_of(&directory, &content);
    let (memory, mapping) = region(3);
    assert_eq!(mapping.fill_from(100, 5000, &file, 1000), Ok(5000));
    let mut seen = vec![0; 5000];
    assert_eq!(memory.read_at(&mut seen, 100).expect("read"), 5000);
    assert_eq!(seen, content[1000..6000]);
    assert_eq!(
        mapping.fill_from(0, PAGE, &file, 9_990),
        Ok(10),
        "a short count at the end of the file"
    );
    assert_eq!(
        mapping.fill_from(0, PAGE, &file, 10_000),
        Ok(0),
        "0 is the end of the file"
    );
    assert_eq!(
        mapping.fill_from(3 * PAGE, 0, &file, 0),
        Ok(0),
        "nothing at the very end"
    );

    let mut output = file_of(&Directory::new("copy-out"), b"");
    assert_eq!(mapping.drain_to(100, 5000, &output, Some(10)), Ok(5000));
    output.seek(std::io::SeekFrom::Start(7)).expect("seek");
    assert_eq!(
        mapping.drain_to(100, 3, &output, None),
        Ok(3),
        "where the file stands"
    );
    let mut written = Vec::new();
    output.rewind().expect("seek");
    output.read_to_end(&mut written).expect("read");
    assert_eq!(written[..7], [0; 7]);
    assert_eq!(written[7..10], content[1000..1003]);
    assert_eq!(written[10..], content[1000..6000]);
}

#[test]
fn a_truncated_mapping_is_an_answer_not_a_signal() {
    let directory = Directory::new("truncated");
    let file = file_of(&directory, &[7; 4 * PAGE]);
    let (memory, mapping) = region(4);
    memory.as_file().set_len(PAGE as u64).expect("truncated");
    // Up to the pages that are left, then the fault.
    assert_eq!(mapping.fill_from(0, 4 * PAGE, &file, 0), Ok(PAGE));
    assert_eq!(mapping.fill_from(PAGE, PAGE, &file, 0), Err(Errno::FAULT));
    assert_eq!(mapping.drain_to(0, 4 * PAGE, &file, Some(0)), Ok(PAGE));
    assert_eq!(mapping.drain_to(PAGE, PAGE, &file, Some(0)), Err(Errno::FAULT));
    let (_reader, writer) = process::pipe().expect("pipe");
    assert_eq!(mapping.drain_to(2 * PAGE, 1, &writer, None), Err(Errno::FAULT));
    assert!(
        !mapping.faulted(),
        "only accesses of our own are the guard's business"
    );
    memory.as_file().set_len(4 * PAGE as u64).expect("grown");
    assert_eq!(
        mapping.fill_from(PAGE, PAGE, &file, 0),
        Ok(PAGE),
        "it can come back"
    );
}

#[test]
fn a_punched_hole_in_a_full_tmpfs_file_system_is_not_our_problem_here_but_a_hole_reads_as_zeros() {
    let (memory, mapping) = region(2);
    memory.write_at(&[9; 2 * PAGE], 0).expect("written");
    let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&memory, punch, 0, PAGE as u64).expect("punched");
    let (reader, writer) = process::pipe().expect("pipe");
    assert_eq!(mapping.drain_to(PAGE - 1, 2, &writer, None), Ok(2));
    let mut seen = [1; 2];
    assert_eq!(rustix::io::read(&reader, &mut seen).expect("read"), 2);
    assert_eq!(seen, [0, 9]);
}

#[test]
fn errors_of_the_file_are_not_the_peers_fault() {
    let (_memory, mapping) = region(1);
    let directory = Directory::new("file-errors");
    assert_eq!(mapping.fill_from(0, PAGE, directory.open(), 0), Err(Errno::ISDIR));
    let (reader, writer) = process::pipe().expect("pipe");
    assert_eq!(mapping.fill_from(0, PAGE, &reader, 0), Err(Errno::SPIPE));
    assert_eq!(
        mapping.fill_from(0, PAGE, &writer, u64::MAX),
        Err(Errno::OVERFLOW)
    );
    assert_eq!(mapping.drain_to(0, PAGE, &reader, None), Err(Errno::BADF));
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("opened");
    assert_eq!(mapping.drain_to(0, PAGE, &full, None), Err(Errno::NOSPC));
}

#[test]
fn draining_into_a_nonblocking_pipe_waits_for_room() {
    let (_memory, mapping) = region(64);
    let (reader, writer) = process::pipe().expect("pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("set");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut reader = std::fs::File::from(reader);
            let mut total = 0;
            while total < 64 * PAGE {
                std::thread::sleep(Duration::from_millis(1));
                total += reader.read(&mut [0; PAGE]).expect("read");
            }
        });
        let mut done = 0;
        while done < 64 * PAGE {
            done += mapping
                .drain_to(done, 64 * PAGE - done, &writer, None)
                .expect("drained");
        }
    });
}

#[test]
fn a_range_outside_the_mapping_is_our_own_mistake() {
    let (_memory, mapping) = region(1);
    let file = std::fs::File::open("/dev/zero").expect("opened");
    for (offset, len) in [(0, PAGE + 1), (PAGE, 1), (usize::MAX, 2), (1, usize::MAX)] {
        let attempt = std::panic::AssertUnwindSafe(|| mapping.fill_from(offset, len, &file, 0));
        assert!(std::panic::catch_unwind(attempt).is_err(), "{len} at {offset}");
        let attempt = std::panic::AssertUnwindSafe(|| mapping.drain_to(offset, len, &file, None));
        assert!(std::panic::catch_unwind(attempt).is_err(), "{len} at {offset}");
    }
}

#[test]
fn what_cannot_be_mapped_is_told_apart() {
    let name = Name::new("mapped");
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    memory.reserve(PAGE as u64).expect("space");
    let reading = SharedMemory::open(&name, false).expect("it is there");
    let error = assert_kind(
        Mapping::new(&reading, PAGE, "/the-region"),
        ErrorKind::PermissionDenied,
    );
    assert_eq!(error.to_string(), "mmap /the-region: permission denied (EACCES)");
    assert_kind(Mapping::new(&memory, 0, "nothing"), ErrorKind::Invalid);
    assert_kind(
        Mapping::new(&memory, usize::MAX & !(PAGE - 1), "everything"),
        ErrorKind::NoSpace,
    );
    let (reader, _writer) = process::pipe().expect("pipe");
    assert_kind(Mapping::read_only(&reader, PAGE, "pipe"), ErrorKind::Unsupported);

    let read_only = Mapping::read_only(&reading, PAGE, "region").expect("mapped");
    assert_eq!(read_only.len(), PAGE);
    let zeros = std::fs::File::open("/dev/zero").expect("opened");
    assert_eq!(
        read_only.fill_from(0, 1, &zeros, 0),
        Err(Errno::FAULT),
        "the kernel refuses politely"
    );
    memory.write_at(b"shared", 0).expect("written");
    let (reader, writer) = process::pipe().expect("pipe");
    assert_eq!(read_only.drain_to(0, 6, &writer, None), Ok(6));
    let mut seen = [0; 6];
    rustix::io::read(&reader, &mut seen).expect("read");
    assert_eq!(&seen, b"shared");
}

#[test]
fn a_mapping_moves_between_threads_and_keeps_the_object_alive() {
    let (memory, mapping) = region(1);
    memory.as_file().write_all(b"kept").expect("written");
    drop(memory);
    let sent = std::thread::spawn(move || {
        let (reader, writer) = process::pipe().expect("pipe");
        assert_eq!(mapping.drain_to(0, 4, &writer, None), Ok(4));
        let mut seen = [0; 4];
        rustix::io::read(&reader, &mut seen).expect("read");
        seen
    });
    assert_eq!(&sent.join().expect("content"), b"kept");
}
