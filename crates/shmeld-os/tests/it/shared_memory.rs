//! Shared memory objects.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::fs::{FileType, Mode};
use shmeld_os::fs::FileKind;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{Errno, ErrorKind, process};

use crate::support::{
    Helper, NOBODY, Name, PATIENCE, as_user, assert_kind, forbid_call, in_mount_namespace, is_root_or_skip,
    say,
};

#[test]
fn a_published_name_is_never_seen_unsized_or_unallocated() {
    const BYTES: u64 = 64 * 1024;
    const SIGHTINGS: u32 = 200;
    let name = Name::new("publish");
    let seen = AtomicU32::new(0);
    let end = Instant::now() + PATIENCE;
    let is_over = || seen.load(Ordering::Relaxed) >= SIGHTINGS || Instant::now() > end;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                if let Ok(stat) = SharedMemory::stat_name(&name) {
                    assert_eq!((stat.bytes, stat.kind, stat.mode), (BYTES, FileKind::File, 0o600));
                    assert!(stat.blocks_512 * 512 >= BYTES, "{stat:?}");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        while !is_over() {
            let memory = SharedMemory::create_unnamed().expect("tmpfs");
            memory.reserve(BYTES).expect("space");
            memory.publish(&name).expect("the name is free");
            assert_kind(memory.publish(&name), ErrorKind::AlreadyExists);
            SharedMemory::unlink(&name).expect("ours");
        }
    });
    assert!(
        seen.load(Ordering::Relaxed) >= SIGHTINGS,
        "the watcher rarely saw the name"
    );
}

#[test]
fn publishing_works_where_the_kernel_links_by_descriptor_only_for_the_privileged() {
    // Before Linux 6.10 AT_EMPTY_PATH says ENOENT without CAP_DAC_READ_SEARCH.
    const FLAGS_ARGUMENT: u32 = 4;
    let name = Name::new("old-kernel");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let flag = u32::try_from(libc::AT_EMPTY_PATH).expect("positive");
            if !forbid_call(libc::SYS_linkat, Some((FLAGS_ARGUMENT, flag)), libc::ENOENT) {
                return;
            }
            let memory = SharedMemory::create_unnamed().expect("tmpfs");
            memory.publish(&name).expect("the second way");
            assert_kind(memory.publish(&name), ErrorKind::AlreadyExists);
            assert!(SharedMemory::stat_name(&name).is_ok());
        });
    });
}

#[test]
fn an_unnamed_object_leaves_nothing_behind() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.reserve(4096).expect("space");
    let stat = memory.stat().expect("stat");
    assert_eq!((stat.links, stat.mode, stat.bytes), (0, 0o600, 4096));
}

#[test]
fn reserving_allocates_every_page_and_growing_never_shrinks() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.write_at(b"kept", 0).expect("space");
    memory.reserve(3 << 20).expect("space");
    memory.reserve(3 << 20).expect("again");
    let stat = memory.stat().expect("stat");
    assert_eq!((stat.bytes, stat.blocks_512 * 512), (3 << 20, 3 << 20));
    memory.grow(1, || true).expect("nothing to do");
    memory.reserve(1).expect("nothing to do");
    assert_eq!(memory.stat().expect("stat").bytes, 3 << 20);
    // More than one step of the reservation, and not a whole number of pages.
    memory.grow((20 << 20) + 1, || true).expect("space");
    let stat = memory.stat().expect("stat");
    assert_eq!(stat.bytes, (20 << 20) + 1);
    assert!(stat.blocks_512 * 512 > 20 << 20);
    let mut text = [0; 4];
    assert_eq!(memory.read_at(&mut text, 0).expect("read"), 4);
    assert_eq!(&text, b"kept");
    assert_eq!(memory.read_at(&mut text, 1 << 40).expect("read"), 0);
}

#[test]
fn a_fifo_under_a_segment_name_does_not_hang_open() {
    let name = Name::new("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        name.path(),
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .expect("a fifo");
    for writable in [false, true] {
        let error = assert_kind(SharedMemory::open(&name, writable), ErrorKind::Invalid);
        assert!(
            error.hint().is_some_and(|hint| hint.contains("ls -ld /dev/shm/")),
            "{error}"
        );
    }
    assert_kind(SharedMemory::open_or_create(&name, 0o600), ErrorKind::Invalid);
}

#[test]
fn a_link_under_a_segment_name_is_not_followed() {
    let target = Name::new("link-target");
    SharedMemory::create_new(&target, 0o600).expect("a new object");
    let name = Name::new("link");
    for target in [target.path(), "/etc/passwd".into(), "/no/such".into()] {
        std::os::unix::fs::symlink(&target, name.path()).expect("a link");
        for writable in [false, true] {
            let error = assert_kind(SharedMemory::open(&name, writable), ErrorKind::Invalid);
            assert_eq!(error.errno(), Errno::LOOP);
        }
        assert_kind(SharedMemory::open_or_create(&name, 0o600), ErrorKind::Invalid);
        assert_kind(SharedMemory::create_new(&name, 0o600), ErrorKind::AlreadyExists);
        assert_eq!(
            SharedMemory::stat_name(&name).expect("lstat").kind,
            FileKind::Symlink
        );
        SharedMemory::unlink(&name).expect("ours");
    }
}

#[test]
fn a_directory_or_a_socket_under_a_segment_name_is_refused() {
    let name = Name::new("directory");
    std::fs::create_dir(name.path()).expect("a directory");
    for writable in [false, true] {
        assert_kind(SharedMemory::open(&name, writable), ErrorKind::Invalid);
    }
    let name = Name::new("socket");
    let _socket = std::os::unix::net::UnixListener::bind(name.path()).expect("a socket");
    for writable in [false, true] {
        let error = SharedMemory::open(&name, writable).expect_err("a socket");
        assert_eq!(error.errno(), Errno::NXIO);
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn absent_present_and_forbidden_are_told_apart() {
    let name = Name::new("kinds");
    assert_kind(SharedMemory::open(&name, true), ErrorKind::NotFound);
    assert_kind(SharedMemory::unlink(&name), ErrorKind::NotFound);
    assert_kind(SharedMemory::stat_name(&name), ErrorKind::NotFound);
    let _memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    assert_kind(SharedMemory::create_new(&name, 0o600), ErrorKind::AlreadyExists);
    if !is_root_or_skip() {
        return;
    }
    as_user(NOBODY, || {
        assert_kind(SharedMemory::open(&name, false), ErrorKind::PermissionDenied);
        assert_kind(
            SharedMemory::open_or_create(&name, 0o600),
            ErrorKind::PermissionDenied,
        );
        let error = assert_kind(SharedMemory::unlink(&name), ErrorKind::PermissionDenied);
        assert!(
            error.hint().is_some_and(|hint| hint.contains("only its owner")),
            "{error}"
        );
    });
}

#[test]
fn opening_or_creating_is_one_object_for_all_who_do_it_at_once() {
    let name = Name::new("gate");
    let inodes: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    SharedMemory::open_or_create(&name, 0o640)
                        .expect("opened")
                        .stat()
                        .expect("stat")
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("content").ino)
            .collect()
    });
    assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
    assert_eq!(SharedMemory::stat_name(&name).expect("lstat").mode, 0o640);
}

#[test]
fn descriptors_do_not_survive_an_exec() {
    let name = Name::new("cloexec");
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    let unnamed = SharedMemory::create_unnamed().expect("tmpfs");
    let opened = SharedMemory::open(&name, true).expect("it is there");
    let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    let bell = shmeld_os::event::EventCounter::new().expect("eventfd");
    let (reader, writer) = process::pipe().expect("pipe");
    let directory = shmeld_os::fs::open_directory("/".as_ref()).expect("the root");
    let beneath =
        shmeld_os::fs::open_beneath(&directory, b"etc", shmeld_os::fs::Links::Refuse).expect("it is there");
    for fd in [
        memory.as_fd(),
        unnamed.as_fd(),
        opened.as_fd(),
        queue.as_fd(),
        bell.as_fd(),
        reader.as_fd(),
        writer.as_fd(),
        directory.as_fd(),
        beneath.as_fd(),
    ] {
        assert!(
            rustix::io::fcntl_getfd(fd)
                .expect("flags")
                .contains(rustix::io::FdFlags::CLOEXEC)
        );
    }
}

#[test]
fn a_full_tmpfs_is_an_error_with_the_bytes_needed_and_free() {
    if let Some(wrapper) = in_mount_namespace("mount -t tmpfs -o size=64k,mode=1777 tmpfs /dev/shm") {
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut helper = Helper::start_wrapped(&wrapper, "fill_a_small_tmpfs", &[]);
        helper.wait_for("done");
        helper.finish_well();
    }
}

pub fn fill_a_small_tmpfs() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    let error = assert_kind(memory.reserve(1 << 20), ErrorKind::NoSpace);
    assert!(
        error.object().contains("1048576 bytes needed, 65536 free"),
        "{error}"
    );
    let hint = error.hint().expect("a hint");
    assert!(
        hint.contains("65536") && hint.contains("mount -o remount,size="),
        "{hint}"
    );
    drop(memory);
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory
        .reserve(16 * 1024)
        .expect("a smaller one fits, nothing was leaked");
    let error = assert_kind(memory.grow(65 * 1024, || true), ErrorKind::NoSpace);
    assert!(
        error.object().contains("50176 bytes needed, 49152 free"),
        "{error}"
    );
    assert_eq!(
        memory.stat().expect("stat").bytes,
        16 * 1024,
        "a failed growth changes nothing"
    );
    memory.reserve(64 * 1024).expect("it can be filled to the brim");
    let name = Name::new("brim");
    let error = assert_kind(NamedSemaphore::create_new(&name, 0o600, 1), ErrorKind::NoSpace);
    assert!(
        error.hint().is_some_and(|hint| hint.contains("remount")),
        "{error}"
    );
    assert_kind(NamedSemaphore::open(&name), ErrorKind::NotFound);
    say("done");
}

#[test]
fn a_reservation_that_fails_half_way_names_what_was_free_before() {
    if let Some(wrapper) = in_mount_namespace("mount -t tmpfs -o size=12m,mode=1777 tmpfs /dev/shm") {
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut helper = Helper::start_wrapped(&wrapper, "overfill_in_steps", &[]);
        helper.wait_for("done");
        helper.finish_well();
    }
}

pub fn overfill_in_steps() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    let error = assert_kind(memory.reserve(20 << 20), ErrorKind::NoSpace);
    assert!(
        error.object().contains("20971520 bytes needed, 12582912 free"),
        "{error}"
    );
    drop(memory);
    SharedMemory::create_unnamed()
        .expect("tmpfs")
        .reserve(12 << 20)
        .expect("all of it is free again");
    say("done");
}

#[test]
fn a_shared_memory_directory_that_is_no_tmpfs_is_explained() {
    let disk = crate::support::Directory::new("no-tmpfs");
    let prepare = format!("mount --bind {} /dev/shm", disk.display());
    if let Some(wrapper) = in_mount_namespace(&prepare) {
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut helper = Helper::start_wrapped(&wrapper, "meet_no_tmpfs", &[]);
        helper.wait_for("done");
        helper.finish_well();
    }
}

pub fn meet_no_tmpfs() {
    if shmeld_os::fs::space_free("/dev/shm".as_ref()).is_ok() && std::path::Path::new("/dev/shm").exists() {
        let name = Name::new("no-tmpfs");
        for outcome in [
            SharedMemory::create_unnamed(),
            SharedMemory::create_new(&name, 0o600),
        ] {
            let error = assert_kind(outcome, ErrorKind::Unsupported);
            assert!(
                error.hint().is_some_and(|hint| hint.contains("mount -t tmpfs")),
                "{error}"
            );
        }
        assert_kind(SharedMemory::open(&name, true), ErrorKind::NotFound);
    }
    say("done");
}

#[test]
fn a_region_beyond_the_file_size_limit_is_an_error_once_the_signal_is_ignored() {
    let mut helper = Helper::start("ignore_file_size_signal", &[]);
    helper.wait_for("done");
    helper.finish_well();
}

pub fn ignore_file_size_signal() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    process::ignore_broken_pipe_and_file_size();
    let limit = Rlimit {
        current: Some(8192),
        maximum: Some(8192),
    };
    setrlimit(Resource::Fsize, limit).expect("lowering is free");
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    memory.reserve(8192).expect("within");
    let error = assert_kind(memory.reserve(8193), ErrorKind::Limit);
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("RLIMIT_FSIZE, now 8192")),
        "{error}"
    );
    let (reader, writer) = process::pipe().expect("pipe");
    drop(reader);
    assert_eq!(shmeld_os::fs::write_all(&writer, b"x"), Err(Errno::PIPE));
    say("done");
}

pub fn create_all_under_umask_077(name: &str) {
    let name = Name::parse(name);
    assert_ne!(process::set_umask(0o077), 0o077);
    assert_eq!(process::set_umask(0o077), 0o077);
    let queue = MessageQueue::create_new(&name, 1, 64, 0o622).expect("a new queue");
    assert_eq!(queue.stat().expect("stat").mode, 0o622);
    let memory = SharedMemory::create_new(&name, 0o644).expect("a new object");
    assert_eq!(memory.stat().expect("stat").mode, 0o644);
    SharedMemory::unlink(&name).expect("ours");
    let memory = SharedMemory::open_or_create(&name, 0o666).expect("a new object");
    assert_eq!(memory.stat().expect("stat").mode, 0o666);
    let _semaphore = NamedSemaphore::create_new(&name, 0o666, 0).expect("a new semaphore");
    assert_eq!(NamedSemaphore::stat_name(&name).expect("stat").mode, 0o666);
    say("created");
}
