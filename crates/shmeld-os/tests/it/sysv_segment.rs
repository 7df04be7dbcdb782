//! System V segments: every reason that can be provoked, told apart; attaching; what Linux does with removed ones.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use shmeld_os::mapping::Mapping;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key, boundary_bytes};
use shmeld_os::{Errno, Error, ErrorKind};

use crate::support::{Directory, Helper, NOBODY, as_user, eventually, is_root_or_skip, pause, say, skip};
use crate::sysv_objects::{Own, new_key, segment};

const READ_ONLY: How = How {
    read_only: true,
    address: None,
    round: false,
};

/// Insists on the reason, and on a hint with this word if there is to be one.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(outcome: shmeld_os::Result<T>, errno: Errno, word: &str) -> Error {
    let error = outcome.expect_err("it should fail");
    let hint = error.hint();
    assert_eq!(error.errno(), errno, "{error}");
    match hint {
        Some(hint) => assert!(!word.is_empty() && hint.contains(word), "{error}: {hint}"),
        None => assert_eq!(word, "", "{error} has no hint"),
    }
    error
}

#[test]
fn refused_sizes_are_told_apart() {
    let key = new_key();
    let nothing = assert_refused(
        Segment::open_or_create(key, 0, 0o600),
        Errno::INVAL,
        "at least one byte",
    );
    assert_eq!(
        nothing.to_string(),
        format!("shmget {key} (0 bytes wanted): invalid argument (EINVAL)")
    );
    let huge = Segment::create_new(key, usize::MAX, 0o600);
    assert_refused(huge, Errno::INVAL, "kernel.shmmax");
    let _segment = segment(key, 4096, 0o600);
    let larger = assert_refused(Segment::open(key, 4097), Errno::INVAL, "never grows");
    assert_eq!(
        larger.to_string(),
        format!("shmget {key} (4097 bytes wanted, it has 4096): invalid argument (EINVAL)")
    );
    assert_refused(
        Segment::open_or_create(key, 4097, 0o600),
        Errno::INVAL,
        "never grows",
    );
    for bytes in [0, 1, 4096] {
        Segment::open(key, bytes).expect("as large");
    }
}

#[test]
fn what_exists_and_what_does_not_have_reasons_of_their_own() {
    let key = new_key();
    assert_refused(Segment::open(key, 1), Errno::NOENT, "ipcs -m");
    assert_refused(Segment::open(Key::PRIVATE, 1), Errno::NOENT, "ipcs -m");
    let _segment = segment(key, 1, 0o600);
    let taken = assert_refused(Segment::create_new(key, 1, 0o600), Errno::EXIST, "ipcrm -M");
    assert!(taken.hint().is_some_and(|hint| hint.contains(&key.to_string())));
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
}

#[test]
fn memory_that_the_machine_does_not_have_is_refused() {
    let how = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    if how.trim() == "1" {
        return skip("a kernel that counts memory (vm.overcommit_memory other than 1)");
    }
    let outcome = Segment::create_new(Key::PRIVATE, 1 << 52, 0o600).map(Own);
    assert_refused(outcome.map(drop), Errno::NOMEM, "smaller size");
}

#[test]
fn number_of_a_removed_segment_is_invalid_and_not_eidrm() {
    let gone = segment(Key::PRIVATE, 4096, 0o600);
    gone.remove().expect("ours");
    // The slot of the table has another one now; its number differs in the part that counts up.
    let _next = segment(Key::PRIVATE, 4096, 0o600);
    for outcome in [
        gone.stat().map(drop),
        gone.attach(How::default()).map(drop),
        gone.set_mode(0o600),
        gone.set_owner(None, None),
        gone.remove(),
    ] {
        assert_refused(outcome, Errno::INVAL, "or it was removed");
    }
    assert_refused(Segment::from_id(-1).stat(), Errno::INVAL, "ipcs -m");
}

#[test]
fn segment_that_is_removed_while_attached_lives_on_without_its_key() {
    let key = new_key();
    let old = segment(key, 100, 0o600);
    let memory = old.attach(How::default()).expect("attached");
    old.remove().expect("ours");
    let stat = old.stat().expect("it is still there");
    assert!(stat.is_marked && stat.permissions.key.is_private() && stat.attached == 1);
    assert_refused(Segment::open(key, 0), Errno::NOENT, "ipcs -m");
    // Linux attaches it by its number nevertheless, and gives the key to another one.
    let again = old.attach(READ_ONLY).expect("attached by its number");
    let new = segment(key, 200, 0o600);
    assert_ne!(new.id(), old.id());
    drop(memory);
    assert_eq!(old.stat().expect("attached once more").attached, 1);
    again.detach().expect("attached");
    assert_eq!(old.stat().expect_err("gone").errno(), Errno::INVAL);
    assert_eq!(new.stat().expect("another one").bytes, 200);
}

#[test]
fn killed_process_detaches() {
    let own = segment(Key::PRIVATE, 4096, 0o600);
    let mut helper = Helper::start("attach_a_segment", &[&own.id().to_string()]);
    helper.wait_for("attached");
    assert_eq!(own.stat().expect("there").attached, 1);
    own.remove().expect("ours");
    assert!(own.stat().expect("marked").is_marked);
    drop(helper);
    eventually("the kernel detaches it", || own.stat().is_err());
}

pub fn attach_a_segment(id: &str) {
    let segment = Segment::from_id(id.parse().expect("a number"));
    let _memory = segment.attach(How::default()).expect("attached");
    say("attached");
    pause();
}

#[test]
fn times_counts_and_processes_are_told() {
    let own = segment(Key::PRIVATE, 27, 0o640);
    let stat = own.stat().expect("ours");
    assert_eq!((stat.bytes, stat.attached, stat.last_pid), (27, 0, 0));
    assert_eq!((stat.attach_time, stat.detach_time), (None, None));
    assert_eq!(
        (stat.permissions.mode, stat.creator_pid),
        (0o640, shmeld_os::process::pid())
    );
    let memory = own.attach(How::default()).expect("attached");
    let stat = own.stat().expect("ours");
    assert_eq!((stat.attached, stat.last_pid), (1, shmeld_os::process::pid()));
    assert!(stat.attach_time.is_some_and(|time| time >= stat.change_time));
    drop(memory);
    assert!(own.stat().expect("ours").detach_time.is_some());
    own.set_mode(0o600).expect("ours");
    assert_eq!(own.stat().expect("ours").permissions.mode, 0o600);
}

#[test]
fn memory_of_a_read_only_attachment_is_not_written() {
    let own = segment(Key::PRIVATE, 4096, 0o600);
    let memory = own.attach(READ_ONLY).expect("attached");
    assert!(memory.is_read_only());
    let zeros = std::fs::File::open("/dev/zero").expect("a device");
    assert_eq!(memory.fill_from(0, 10, &zeros, 0), Err(Errno::FAULT));
}

/// An address at which nothing lies: that of a large segment that has just been detached.
fn free_address() -> usize {
    let own = segment(Key::PRIVATE, 64 << 20, 0o600);
    let memory = own.attach(How::default()).expect("attached");
    memory.as_ptr().addr() + (32 << 20)
}

#[test]
fn addresses_are_rounded_down_if_that_is_wanted_and_refused_otherwise() {
    let own = segment(Key::PRIVATE, 4096, 0o600);
    let at = |address, round| How {
        address: Some(address),
        round,
        ..How::default()
    };
    let free = free_address();
    let memory = own.attach(at(free + 123, true)).expect("rounded down");
    assert_eq!(memory.as_ptr().addr(), free);
    let in_use = own.attach(at(free, false)).map(drop);
    let error = assert_refused(in_use, Errno::INVAL, "another address");
    assert!(error.to_string().contains(&format!(" at {free:#x}:")), "{error}");
    drop(memory);
    let exact = own.attach(at(free, false)).expect("free again");
    assert_eq!(exact.as_ptr().addr(), free);
    drop(exact);
    assert_refused(
        own.attach(at(free + 123, false)).map(drop),
        Errno::INVAL,
        "SHMLBA",
    );
    // Root would get page 0, which no pointer of a sound program leads to.
    for address in [0, 1, boundary_bytes() - 1] {
        assert_refused(own.attach(at(address, true)).map(drop), Errno::INVAL, "SHMLBA");
    }
    let beyond = usize::MAX & !(boundary_bytes() - 1);
    let outcome = own.attach(at(beyond - boundary_bytes(), false)).map(drop);
    assert_refused(outcome, Errno::NOMEM, "address space");
}

#[test]
fn lowest_pages_are_for_root_only() {
    if !is_root_or_skip() {
        return;
    }
    let own = segment(Key::PRIVATE, 4096, 0o666);
    let how = How {
        address: Some(boundary_bytes()),
        ..How::default()
    };
    let lowest = std::fs::read_to_string("/proc/sys/vm/mmap_min_addr").unwrap_or_default();
    let outcome = as_user(NOBODY, || own.attach(how).map(drop));
    if lowest
        .trim()
        .parse()
        .is_ok_and(|lowest: usize| lowest <= boundary_bytes())
    {
        // This machine keeps page 0 only.
        outcome.expect("attached");
    } else {
        assert_refused(outcome, Errno::PERM, "higher address");
    }
}

#[test]
#[allow(unsafe_code)]
fn attachment_that_was_taken_away_is_told_at_its_end() {
    let own = segment(Key::PRIVATE, 4096, 0o600);
    let memory: Mapping = own.attach(How::default()).expect("attached");
    // SAFETY: nobody uses the memory afterwards.
    assert_eq!(unsafe { libc::shmdt(memory.as_ptr().cast_const().cast()) }, 0);
    assert_refused(memory.detach(), Errno::INVAL, "");
}

#[test]
fn modes_keep_other_users_out() {
    if !is_root_or_skip() {
        return;
    }
    let key = new_key();
    let own = segment(key, 4096, 0o600);
    as_user(NOBODY, || {
        // Finding asks for nothing; using does.
        let found = Segment::open(key, 0).expect("found");
        assert_refused(found.stat(), Errno::ACCESS, "closed to this user");
        assert_refused(
            found.attach(READ_ONLY).map(drop),
            Errno::ACCESS,
            "closed to this user",
        );
        assert_refused(
            Segment::open_or_create(key, 0, 0o600),
            Errno::ACCESS,
            "closed to this user",
        );
    });
    // Why a size is refused is told where the mode does not let this user ask for the size.
    let larger = as_user(NOBODY, || Segment::open(key, 4097));
    let error = assert_refused(larger, Errno::INVAL, "never grows");
    assert!(error.to_string().contains("it has 4096"), "{error}");
    own.set_mode(0o644).expect("ours");
    as_user(NOBODY, || {
        let found = Segment::open(key, 0).expect("found");
        found.attach(READ_ONLY).expect("it may read");
        assert_refused(found.attach(How::default()).map(drop), Errno::ACCESS, "read-only");
        assert_refused(found.set_mode(0o666), Errno::PERM, "its owner");
        assert_refused(found.set_owner(Some(NOBODY), None), Errno::PERM, "its owner");
        assert_refused(found.remove(), Errno::PERM, "its owner");
    });
}

#[test]
fn new_owner_may_change_it_and_the_creator_stays() {
    if !is_root_or_skip() {
        return;
    }
    let own = segment(Key::PRIVATE, 4096, 0o600);
    own.set_owner(Some(NOBODY), Some(NOBODY)).expect("root");
    let permissions = own.stat().expect("root").permissions;
    assert_eq!((permissions.uid, permissions.gid), (NOBODY, NOBODY));
    assert_eq!((permissions.creator_uid, permissions.creator_gid), (0, 0));
    as_user(NOBODY, || own.set_mode(0o640).expect("the owner may"));
    let refused = own.set_owner(Some(u32::MAX), None);
    let error = assert_refused(refused, Errno::INVAL, "uid_map");
    assert!(
        error.to_string().contains("uid 4294967295, gid as it is"),
        "{error}"
    );
}

/// IPC_SET sets owner and mode together, and IPC_STAT, which says what they are, wants the right to read.
#[test]
fn owner_who_shut_himself_out_can_open_the_mode_again() {
    if !is_root_or_skip() {
        return;
    }
    as_user(NOBODY, || {
        let own = segment(Key::PRIVATE, 4096, 0o600);
        own.set_mode(0).expect("ours");
        assert_refused(own.stat(), Errno::ACCESS, "closed to this user");
        let shown = own.stat_of_any().expect("what ipcs shows");
        assert_eq!((shown.bytes, shown.permissions.mode), (4096, 0));
        own.set_mode(0o640).expect("still ours");
        let permissions = own.stat().expect("open again").permissions;
        assert_eq!(
            (permissions.mode, permissions.uid, permissions.gid),
            (0o640, NOBODY, NOBODY)
        );
    });
}

/// A squatter makes a segment first, open to all: the uid of its creator says so, whatever its owner is set to.
#[test]
fn squatter_is_known_by_the_uid_of_the_creator() {
    if !is_root_or_skip() {
        return;
    }
    let key = new_key();
    let squat = as_user(NOBODY, || segment(key, 4096, 0o666));
    squat.set_owner(Some(0), Some(0)).expect("root");
    let found = Segment::open_or_create(key, 100, 0o600).expect("the squatter's");
    let permissions = found.stat().expect("open to all").permissions;
    assert_eq!(
        (permissions.uid, permissions.creator_uid, permissions.mode),
        (0, NOBODY, 0o666)
    );
}

#[test]
#[allow(unsafe_code)]
fn keys_of_files_are_the_c_librarys() {
    let directory = Directory::new("ftok");
    let path = directory.join("file");
    assert_refused(Key::of_file(&path, 1), Errno::NOENT, "exists");
    assert_refused(Key::of_file(&directory, 0), Errno::INVAL, "other than zero");
    std::fs::write(&path, "").expect("a new file");
    let key = Key::of_file(&path, 0x41).expect("it exists");
    assert_eq!(key.bits() >> 24, 0x41);
    for path in [
        &*path,
        &directory,
        Path::new("/proc/self/stat"),
        Path::new("/dev/null"),
    ] {
        let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        for project in [1, 0x41, 255] {
            // SAFETY: a valid C string.
            let c = unsafe { libc::ftok(name.as_ptr(), project.into()) };
            assert_eq!(
                Key::of_file(path, project).expect("it exists").bits(),
                c.cast_unsigned()
            );
        }
    }
    assert_refused(
        Key::of_file(Path::new("a\0b"), 1),
        Errno::INVAL,
        "other than zero",
    );
    assert_eq!(key, Key::of_file(&path, 0x41).expect("the same"));
    assert_ne!(key, Key::of_file(&directory, 0x41).expect("another"));
    if !is_root_or_skip() {
        return;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&*directory, mode).expect("ours");
    let outcome = as_user(NOBODY, || Key::of_file(&path, 1));
    assert_refused(outcome, Errno::ACCESS, "may walk");
}
