//! Files and directories.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use shmeld_os::fs::{
    self, FileKind, Span, Time, create_new, create_unnamed, entries, link_unnamed, make_directory,
    make_symlink, open_child, open_directory_at, read_at, read_link, remove_directory, rename,
    rename_noreplace, set_mode, set_times, set_times_at, span_at, stat, stat_at, unlink, write_all,
    write_all_at,
};
use shmeld_os::{Errno, ErrorKind, process};

use crate::support::{Directory, NOBODY, as_user, assert_kind, is_root_or_skip};

#[test]
fn an_unnamed_file_gets_its_name_when_it_is_complete() {
    let directory = Directory::new("unnamed");
    let dir = directory.open();
    let file = create_unnamed(&dir, 0o640).expect("supported");
    write_all_at(&file, b"complete", 0).expect("written");
    assert_eq!(entries(directory.open()).unwrap().count(), 0);
    link_unnamed(&file, &dir, b"name").expect("linked");
    let error = assert_kind(link_unnamed(&file, &dir, b"name"), ErrorKind::AlreadyExists);
    assert!(error.object().ends_with("/name"), "{error}");
    assert_eq!(std::fs::read(directory.join("name")).expect("read"), b"complete");
    let mut text = [0; 8];
    assert_eq!(read_at(&file, &mut text, 0), Ok(8), "it can be read too");
    // As another user, whose process may not link by the descriptor alone on older kernels.
    if is_root_or_skip() {
        std::fs::set_permissions(&*directory, PermissionsExt::from_mode(0o777)).expect("ours");
        as_user(NOBODY, || {
            let file = create_unnamed(&dir, 0o600).expect("supported");
            link_unnamed(&file, &dir, b"theirs").expect("linked");
            assert_eq!(stat_at(&dir, b"theirs").expect("stat").uid, NOBODY);
        });
    }
}

#[test]
fn a_new_file_is_never_one_that_was_there() {
    let directory = Directory::new("create");
    let dir = directory.open();
    let file = create_new(&dir, b"new", 0o600).expect("created");
    write_all(&file, b"text").expect("written");
    assert_kind(create_new(&dir, b"new", 0o600), ErrorKind::AlreadyExists);
    make_symlink(b"/no/such", &dir, b"dangling").expect("linked");
    assert_kind(create_new(&dir, b"dangling", 0o600), ErrorKind::AlreadyExists);
    assert_eq!(read_link(&dir, b"dangling").expect("a link"), b"/no/such");
    assert_eq!(
        assert_kind(read_link(&dir, b"new"), ErrorKind::Invalid).errno(),
        Errno::INVAL
    );
    set_mode(&file, 0o4755).expect("ours");
    assert_eq!(stat(&file).expect("stat").mode, 0o4755);
}

#[test]
fn a_child_is_opened_without_following_and_without_waiting() {
    let directory = Directory::new("child");
    let dir = directory.open();
    create_new(&dir, b"file", 0o600).expect("created");
    make_symlink(b"file", &dir, b"link").expect("linked");
    make_directory(&dir, b"sub", 0o700).expect("made");
    make_symlink(b"sub", &dir, b"sublink").expect("linked");
    rustix::fs::mknodat(
        &dir,
        "fifo",
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("a fifo");
    assert_eq!(
        stat(open_child(&dir, b"file").expect("opened"))
            .expect("stat")
            .kind,
        FileKind::File
    );
    assert_eq!(
        stat(open_child(&dir, b"fifo").expect("no wait"))
            .expect("stat")
            .kind,
        FileKind::Fifo
    );
    assert_eq!(
        open_child(&dir, b"link").expect_err("a link").errno(),
        Errno::LOOP
    );
    open_directory_at(&dir, b"sub").expect("opened");
    assert_eq!(
        open_directory_at(&dir, b"sublink").expect_err("a link").errno(),
        Errno::NOTDIR
    );
    assert_eq!(
        open_directory_at(&dir, b"file").expect_err("a file").errno(),
        Errno::NOTDIR
    );
}

#[test]
fn entries_are_all_there_with_their_kinds_and_any_bytes() {
    let directory = Directory::new("entries");
    let dir = directory.open();
    for name in [&b"file"[..], b"new\nline", b"\xff\xfe", b"...", b".hidden"] {
        create_new(&dir, name, 0o600).expect("created");
    }
    make_directory(&dir, b"sub", 0o700).expect("made");
    make_symlink(b"nowhere", &dir, b"link").expect("linked");
    let mut found: Vec<(Vec<u8>, FileKind)> = entries(directory.open())
        .unwrap()
        .map(|entry| entry.map(|entry| (entry.name, entry.kind)).expect("readable"))
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let expected: [(&[u8], FileKind); 7] = [
        (b"...", FileKind::File),
        (b".hidden", FileKind::File),
        (b"file", FileKind::File),
        (b"link", FileKind::Symlink),
        (b"new\nline", FileKind::File),
        (b"sub", FileKind::Directory),
        (b"\xff\xfe", FileKind::File),
    ];
    assert_eq!(found, expected.map(|(name, kind)| (name.to_vec(), kind)));
    let mut many = entries(open_child(&dir, b"file").expect("opened")).unwrap();
    assert_eq!(
        many.next().expect("an error").expect_err("no directory").errno(),
        Errno::NOTDIR
    );
    assert!(many.next().is_none(), "an error is the end");
    for number in 0..3000 {
        create_new(&dir, format!("many-{number}").as_bytes(), 0o600).expect("created");
    }
    assert_eq!(
        entries(directory.open()).unwrap().filter(Result::is_ok).count(),
        3007
    );
}

#[test]
fn a_duplicate_of_a_listed_directory_is_listed_from_its_beginning() {
    let directory = Directory::new("duplicate");
    let dir = directory.open();
    create_new(&dir, b"file", 0o600).expect("created");
    for _ in 0..3 {
        assert_eq!(entries(dir.try_clone().expect("duplicated")).unwrap().count(), 1);
    }
}

#[test]
fn a_file_with_a_lease_of_its_holder_does_not_make_an_open_wait() {
    const F_SETSIG: libc::c_int = 10;
    let directory = Directory::new("file-lease");
    let dir = directory.open();
    let file = create_new(&dir, b"leased", 0o600).expect("created");
    // The kernel tells the holder by a signal; this one is ignored by default.
    // SAFETY: no pointers.
    let outcome = unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) };
    assert_eq!(outcome, 0);
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } != 0 {
        return crate::support::skip("file leases");
    }
    let start = Instant::now();
    assert_kind(open_child(&dir, b"leased"), ErrorKind::WouldBlock);
    assert_kind(
        fs::open_beneath(&dir, b"leased", fs::Links::Follow),
        ErrorKind::WouldBlock,
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    drop(file);
    open_child(&dir, b"leased").expect("the lease is gone");
}

#[test]
fn names_move_and_vanish_as_asked() {
    let directory = Directory::new("names");
    let dir = directory.open();
    write_all(create_new(&dir, b"one", 0o600).expect("created"), b"one").expect("written");
    write_all(create_new(&dir, b"two", 0o600).expect("created"), b"two").expect("written");
    let error = assert_kind(
        rename_noreplace(&dir, b"one", &dir, b"two"),
        ErrorKind::AlreadyExists,
    );
    assert!(
        error.object().ends_with("/two"),
        "the destination is what is in the way: {error}"
    );
    rename(&dir, b"one", &dir, b"two").expect("replaced");
    assert_eq!(std::fs::read(directory.join("two")).expect("read"), b"one");
    rename_noreplace(&dir, b"two", &dir, b"three").expect("free");
    assert_kind(rename(&dir, b"two", &dir, b"x"), ErrorKind::NotFound);
    make_directory(&dir, b"sub", 0o700).expect("made");
    assert_eq!(
        unlink(&dir, b"sub").expect_err("a directory").errno(),
        Errno::ISDIR
    );
    create_new(open_directory_at(&dir, b"sub").expect("opened"), b"in", 0o600).expect("created");
    assert_eq!(
        remove_directory(&dir, b"sub").expect_err("not empty").errno(),
        Errno::NOTEMPTY
    );
    unlink(open_directory_at(&dir, b"sub").expect("opened"), b"in").expect("there");
    remove_directory(&dir, b"sub").expect("empty");
    unlink(&dir, b"three").expect("there");
    assert_kind(unlink(&dir, b"three"), ErrorKind::NotFound);
    fs::sync(&dir).expect("synced");
}

#[test]
fn the_modification_time_is_set_and_the_access_time_is_not() {
    let directory = Directory::new("times");
    let dir = directory.open();
    let file = create_new(&dir, b"file", 0o600).expect("created");
    let accessed = std::fs::metadata(directory.join("file"))
        .expect("stat")
        .accessed()
        .expect("supported");
    for modified in [
        Time {
            seconds: 1_000_000_000,
            nanoseconds: 123_456_789,
        },
        Time {
            seconds: -5,
            nanoseconds: 999_999_999,
        },
    ] {
        set_times(&file, modified).expect("ours");
        assert_eq!(stat(&file).expect("stat").modified, modified);
    }
    make_symlink(b"file", &dir, b"link").expect("linked");
    let other = Time {
        seconds: 7,
        nanoseconds: 0,
    };
    set_times_at(&dir, b"link", other).expect("ours");
    assert_eq!(stat_at(&dir, b"link").expect("stat").modified, other);
    assert_ne!(
        stat(&file).expect("stat").modified,
        other,
        "a link gets the time itself"
    );
    let after = std::fs::metadata(directory.join("file"))
        .expect("stat")
        .accessed()
        .expect("supported");
    assert_eq!(accessed, after);
    assert_kind(
        set_times(
            &file,
            Time {
                seconds: 0,
                nanoseconds: 1_000_000_000,
            },
        ),
        ErrorKind::Invalid,
    );
}

#[test]
fn holes_and_data_are_told_apart_up_to_the_end() {
    const BLOCK: u64 = 1 << 20;
    for place in ["/tmp", "/dev/shm"] {
        let dir = fs::open_directory(place.as_ref()).expect("opened");
        let file = create_unnamed(&dir, 0o600).expect("supported");
        write_all_at(&file, &[1; 4096], BLOCK).expect("written");
        rustix::fs::ftruncate(&file, 3 * BLOCK).expect("grown");
        let mut spans = Vec::new();
        let mut position = 0;
        loop {
            match span_at(&file, position, 3 * BLOCK).expect("spans") {
                Span::End => break,
                span @ (Span::Data { start, end } | Span::Hole { start, end }) => {
                    assert_eq!(start, position);
                    assert!(end > start && end <= 3 * BLOCK, "{span:?}");
                    position = end;
                    spans.push(span);
                }
            }
        }
        let has_data = |span: &Span| matches!(span, Span::Data { start, end } if *start <= BLOCK && *end >= BLOCK + 4096);
        assert!(spans.iter().any(has_data), "{place}: {spans:?}");
        assert!(
            matches!(spans[0], Span::Hole { start: 0, .. }),
            "{place}: {spans:?}"
        );
        assert!(
            matches!(spans.last(), Some(Span::Hole { end, .. }) if *end == 3 * BLOCK),
            "{place}: {spans:?}"
        );
        // Less than the file, more than the file, nothing.
        assert_eq!(
            span_at(&file, 10, 20).expect("spans"),
            Span::Hole { start: 10, end: 20 }
        );
        assert_eq!(
            span_at(&file, 3 * BLOCK, 4 * BLOCK).expect("spans"),
            Span::Hole {
                start: 3 * BLOCK,
                end: 4 * BLOCK
            }
        );
        assert_eq!(span_at(&file, 20, 20).expect("spans"), Span::End);
    }
    let full =
        create_unnamed(fs::open_directory("/dev/shm".as_ref()).expect("opened"), 0o600).expect("supported");
    write_all_at(&full, &[1; 8192], 0).expect("written");
    assert_eq!(
        span_at(&full, 5, 100).expect("spans"),
        Span::Data { start: 5, end: 100 }
    );
    let (reader, _writer) = process::pipe().expect("pipe");
    assert_eq!(span_at(&reader, 0, 10).expect_err("a pipe").errno(), Errno::SPIPE);
}

/// What a file system refuses at a close is shown by the tests of the commands; here that asking changes nothing.
#[test]
fn asking_for_what_was_held_back_leaves_the_file_open_and_as_it_is() {
    let dir = fs::open_directory("/tmp".as_ref()).expect("opened");
    let file = create_unnamed(&dir, 0o600).expect("supported");
    write_all_at(&file, b"bytes", 0).expect("written");
    fs::flush(&file).expect("flushed");
    write_all_at(&file, b"more", 5).expect("still open");
    let mut found = [0; 9];
    assert_eq!(read_at(&file, &mut found, 0), Ok(9));
    assert_eq!(&found, b"bytesmore");
}

/// On tmpfs Linux 6.18 says of the bytes in the last page of all offsets that they are a hole.
#[test]
fn data_at_the_end_of_all_offsets_is_no_hole() {
    const END: u64 = i64::MAX as u64;
    let dir = fs::open_directory("/dev/shm".as_ref()).expect("opened");
    let file = create_unnamed(&dir, 0o600).expect("supported");
    rustix::fs::ftruncate(&file, END).expect("grown");
    write_all_at(&file, &[1; 10], END - 10).expect("written");
    let Span::Hole { start: 5, end } = span_at(&file, 5, END).expect("spans") else {
        panic!("no hole");
    };
    assert!(end <= END - 10, "the hole ends at {end}");
    let data = Span::Data { start: end, end: END };
    assert_eq!(span_at(&file, end, END).expect("spans"), data);
    assert_eq!(span_at(&file, END, END).expect("spans"), Span::End);
}

#[test]
fn space_is_reserved_with_and_without_growing() {
    let dir = fs::open_directory("/dev/shm".as_ref()).expect("opened");
    let file = create_unnamed(&dir, 0o600).expect("supported");
    fs::allocate(&file, 0, 8192, true).expect("space");
    let kept = stat(&file).expect("stat");
    assert_eq!((kept.bytes, kept.blocks_512), (0, 16));
    fs::allocate(&file, 4096, 8192, false).expect("space");
    assert_eq!(stat(&file).expect("stat").bytes, 12288);
    fs::allocate(&file, 0, 0, false).expect("nothing is nothing");
    let (reader, _writer) = process::pipe().expect("pipe");
    assert!(fs::allocate(&reader, 0, 1, false).is_err());
}

#[test]
fn writing_everything_waits_for_a_slow_reader_of_a_nonblocking_pipe() {
    let (reader, writer) = process::pipe().expect("pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("set");
    let bytes = vec![7; 300_000];
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reader = std::fs::File::from(reader);
            std::thread::sleep(Duration::from_millis(20));
            let mut total = Vec::new();
            reader.read_to_end(&mut total).expect("read");
            total
        });
        write_all(&writer, &bytes).expect("written");
        drop(writer);
        assert_eq!(reading.join().expect("content"), bytes);
    });
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("opened");
    assert_eq!(write_all(&full, b"x"), Err(Errno::NOSPC));
    assert_eq!(write_all_at(&full, b"x", 0), Err(Errno::NOSPC));
    assert_eq!(write_all_at(&full, b"xy", u64::MAX), Err(Errno::INVAL));
}
