//! Named semaphores.

use std::time::{Duration, Instant};

use shmeld_os::posix::semaphore::{FILE_PREFIX, NamedSemaphore};
use shmeld_os::{Errno, ErrorKind, listing};

use crate::support::{
    Helper, NOBODY, Name, PATIENCE, as_user, assert_kind, assert_times_out, in_a_shower_of_signals,
    is_root_or_skip, pause, say, within,
};

#[test]
fn units_are_counted() {
    let name = Name::new("count");
    let semaphore = NamedSemaphore::create_new(&name, 0o600, 2).expect("a new semaphore");
    assert_eq!(semaphore.value().expect("value"), 2);
    semaphore.wait().expect("a unit");
    assert!(semaphore.try_wait().expect("no error"));
    assert!(!semaphore.try_wait().expect("no error"));
    let other = NamedSemaphore::open(&name).expect("it is there");
    other.post().expect("posted");
    drop(other);
    assert_eq!(semaphore.value().expect("value"), 1);
    assert_eq!(semaphore.name(), &*name);
}

#[test]
fn a_wait_times_out_within_tolerance_and_signals_do_not_change_that() {
    let name = Name::new("timeout");
    let semaphore = NamedSemaphore::create_new(&name, 0o600, 1).expect("a new semaphore");
    semaphore
        .wait_until(within(0))
        .expect("a deadline in the past takes what is there");
    for milliseconds in [0, 30, 1200] {
        assert_times_out(milliseconds, |deadline| semaphore.wait_until(deadline));
    }
    in_a_shower_of_signals(|| {
        let start = Instant::now();
        let error = assert_kind(semaphore.wait_until(within(200)), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(200), "{error}");
    });
}

#[test]
fn another_process_wakes_a_waiter() {
    let name = Name::new("process");
    let semaphore = NamedSemaphore::create_new(&name, 0o600, 0).expect("a new semaphore");
    let mut helper = Helper::start("post_later", &[&name.to_string()]);
    helper.wait_for("opened");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| semaphore.wait_until(Some(Instant::now() + PATIENCE)));
        std::thread::sleep(Duration::from_millis(30));
        helper.finish_well();
        waiter.join().expect("content").expect("woken");
    });
}

pub fn post_later(name: &str) {
    let semaphore = NamedSemaphore::open(&Name::parse(name)).expect("it is there");
    say("opened");
    pause();
    semaphore.post().expect("posted");
}

#[test]
fn an_empty_file_under_the_name_is_refused_before_the_library_dies_of_it() {
    let name = Name::new("empty");
    let path = std::path::Path::new("/dev/shm").join(format!("{FILE_PREFIX}{}", name.as_str()));
    for bytes in [0, 8] {
        std::fs::write(&path, vec![0; bytes]).expect("a file");
        assert_eq!(
            assert_kind(NamedSemaphore::open(&name), ErrorKind::Invalid).errno(),
            Errno::INVAL
        );
    }
    std::fs::remove_file(&path).expect("ours");
    std::fs::create_dir(&path).expect("a directory");
    let outcome = NamedSemaphore::open(&name);
    std::fs::remove_dir(&path).expect("ours");
    assert_kind(outcome, ErrorKind::Invalid);
    std::os::unix::fs::symlink("/etc/passwd", &path).expect("a link");
    assert_kind(NamedSemaphore::open(&name), ErrorKind::Invalid);
}

#[test]
fn creation_is_exclusive_and_leaves_nothing_but_the_name() {
    let name = Name::new("exclusive");
    assert_kind(NamedSemaphore::open(&name), ErrorKind::NotFound);
    assert_kind(NamedSemaphore::unlink(&name), ErrorKind::NotFound);
    let _semaphore = NamedSemaphore::create_new(&name, 0o600, 0).expect("a new semaphore");
    let error = assert_kind(
        NamedSemaphore::create_new(&name, 0o600, 0),
        ErrorKind::AlreadyExists,
    );
    assert_eq!(
        (error.operation(), error.object()),
        ("sem_open", name.to_string().as_str())
    );
    let file = format!("{FILE_PREFIX}{}", name.as_str());
    assert_eq!(
        listing::shared_memory_names(&file).expect("readable"),
        [file.as_bytes()]
    );
    assert_kind(
        NamedSemaphore::create_new(&Name::new("value"), 0o600, u32::MAX),
        ErrorKind::Invalid,
    );
    assert_eq!(
        NamedSemaphore::stat_name(&name).expect("stat").bytes as usize,
        size_of::<libc::sem_t>()
    );
}

#[test]
fn a_semaphore_of_another_user_is_closed() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("closed");
    let _semaphore = NamedSemaphore::create_new(&name, 0o600, 0).expect("a new semaphore");
    as_user(NOBODY, || {
        let error = assert_kind(NamedSemaphore::open(&name), ErrorKind::PermissionDenied);
        assert!(
            error.hint().is_some_and(|hint| hint.contains("another user")),
            "{error}"
        );
        assert_kind(NamedSemaphore::unlink(&name), ErrorKind::PermissionDenied);
    });
}

#[test]
fn the_content_is_what_the_c_library_makes_itself() {
    let (ours, theirs) = (Name::new("ours"), Name::new("theirs"));
    let _semaphore = NamedSemaphore::create_new(&ours, 0o600, 3).expect("a new semaphore");
    let path = theirs.with_slash();
    // SAFETY: a valid C string, and the arguments that O_CREAT asks for.
    let raw = unsafe {
        libc::sem_open(
            path.as_ptr(),
            libc::O_CREAT | libc::O_EXCL,
            0o600 as libc::c_uint,
            3 as libc::c_uint,
        )
    };
    assert_ne!(raw, libc::SEM_FAILED);
    // SAFETY: opened above, and not used afterwards.
    unsafe { libc::sem_close(raw) };
    let content =
        |name: &Name| std::fs::read(format!("/dev/shm/{FILE_PREFIX}{}", name.as_str())).expect("readable");
    assert_eq!(content(&ours), content(&theirs));
}
