//! Numbers of System V objects lead to other objects after a while: the kernel counts through four million of them in seconds.
//!
//! What a call was told about an object must not be believed of whatever has the number at the next call. The kernel gives out a wanted
//! number here (`sem_next_id`, `shm_next_id`), so that one changes hands thousands of times in the test's half second.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key};
use shmeld_os::{Errno, Error};

use crate::support::{Helper, forbid_call, skip};
use crate::sysv_objects::{Own, Removable};

const ROUND: Duration = Duration::from_millis(500);
/// On a busy machine a round goes on for as long as this, until the number has changed hands often enough.
const ROUND_MAX: Duration = Duration::from_secs(30);
const CHANGES_MIN: usize = 100;

/// A round of changes.
struct Round {
    start: Instant,
    changes: AtomicUsize,
    is_over: AtomicBool,
}

impl Round {
    fn begin() -> Self {
        Self {
            start: Instant::now(),
            changes: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    fn goes_on(&self) -> bool {
        let lasted = self.start.elapsed();
        lasted < ROUND || (lasted < ROUND_MAX && self.changes.load(Ordering::Relaxed) < CHANGES_MIN)
    }
}

/// A role in an IPC namespace of its own, where this command of a shell succeeds.
fn in_ipc_namespace(prepare: &str, role: &str) {
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--ipc", "--", "sh", "-c", &script];
    let can = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !can {
        return skip("unshare --ipc, and sysctls kernel.sem_next_id and kernel.shm_next_id");
    }
    Helper::start_wrapped(&wrapper, role, &[]).finish_well();
}

/// Removes what has the number and makes another one under it, until the round is over; of this size, then of that one.
fn change_hands<T: Removable>(
    id: i32,
    kind: &str,
    round: &Round,
    make: impl Fn(usize) -> T,
    id_of: impl Fn(&T) -> i32,
) {
    let next = format!("/proc/sys/kernel/{kind}_next_id");
    let mut current: Option<Own<T>> = None;
    while !round.is_over.load(Ordering::Relaxed) {
        // On the one processor, waking up interrupts the other thread, often between two of its calls.
        std::thread::sleep(Duration::from_micros(50));
        drop(current.take());
        std::fs::write(&next, id.to_string()).expect("root of this namespace");
        let made = Own(make(round.changes.load(Ordering::Relaxed) % 2));
        // A segment that is still attached keeps its number: the next one gets it.
        round
            .changes
            .fetch_add(usize::from(id_of(&made) == id), Ordering::Relaxed);
        current = Some(made);
    }
    let changes = round.changes.load(Ordering::Relaxed);
    assert!(changes >= CHANGES_MIN, "the number changed hands {changes} times");
}

/// Lets all threads that this one will have run one at a time.
#[allow(unsafe_code)]
fn share_one_processor() {
    // SAFETY: takes nothing.
    let processor = unsafe { libc::sched_getcpu() };
    // SAFETY: all bytes zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is valid and exclusive; a number beyond it would panic.
    unsafe { libc::CPU_SET(processor.unsigned_abs() as usize, &mut set) };
    // SAFETY: the set is valid for its size.
    let outcome = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    assert_eq!(outcome, 0);
}

/// Ends the other thread, also if this one panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The kernel's answer while nothing has the number.
fn is_gone(error: &Error) -> bool {
    matches!(error.errno(), Errno::INVAL | Errno::IDRM)
}

/// GETALL writes as many values as the set has that has the number now. With room for those of its predecessor, it wrote over the heap.
#[test]
fn values_of_a_larger_set_under_the_same_number_overwrite_nothing() {
    in_ipc_namespace(
        "test -w /proc/sys/kernel/sem_next_id",
        "read_values_of_changing_sets",
    );
}

pub fn read_values_of_changing_sets() {
    const SIZES: [u16; 2] = [1, 4000];
    share_one_processor();
    let id = SemaphoreSet::create_new(Key::PRIVATE, 1, 0o600)
        .expect("a new set")
        .id();
    let round = Round::begin();
    let make = |index: usize| SemaphoreSet::create_new(Key::PRIVATE, SIZES[index], 0o600).expect("a new set");
    std::thread::scope(|scope| {
        SemaphoreSet::from_id(id).remove().expect("ours");
        scope.spawn(|| change_hands(id, "sem", &round, make, SemaphoreSet::id));
        let _over = Over(&round.is_over);
        while round.goes_on() {
            match SemaphoreSet::from_id(id).values() {
                Ok(values) => {
                    assert!(SIZES.map(usize::from).contains(&values.len()), "{}", values.len());
                    assert!(values.iter().all(|value| *value == 0));
                }
                Err(error) => assert!(is_gone(&error), "{error}"),
            }
        }
    });
}

/// The limit may be set beyond what an operation can name. The values need no more room than they have: 128 MiB for the largest set that a
/// kernel can have, once taken for each look, were too much for processes whose address space is limited.
#[test]
fn values_of_a_set_beyond_the_numbers_of_operations_are_read() {
    in_ipc_namespace(
        "echo 100000 200000 500 10 > /proc/sys/kernel/sem && ulimit -v 120000",
        "read_values_of_a_huge_set",
    );
}

#[allow(unsafe_code)]
pub fn read_values_of_a_huge_set() {
    // SAFETY: takes numbers only.
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, 100_000, 0o600) };
    let own = Own(SemaphoreSet::from_id(id));
    // SAFETY: SETVAL takes a number.
    assert_eq!(unsafe { libc::semctl(id, 99_999, libc::SETVAL, 7) }, 0);
    let values = own.values().expect("ours");
    assert_eq!((values.len(), values[99_998], values[99_999]), (100_000, 0, 7));
}

/// The length of an attachment is that of the segment which is attached, not of its predecessor under the same number.
#[test]
fn attachment_has_the_size_of_what_is_attached() {
    in_ipc_namespace("test -w /proc/sys/kernel/shm_next_id", "attach_changing_segments");
}

pub fn attach_changing_segments() {
    const SIZES: [usize; 2] = [4096, 1 << 20];
    share_one_processor();
    let id = Segment::create_new(Key::PRIVATE, 1, 0o600)
        .expect("a new segment")
        .id();
    let round = Round::begin();
    let make = |index: usize| Segment::create_new(Key::PRIVATE, SIZES[index], 0o600).expect("a new segment");
    std::thread::scope(|scope| {
        Segment::from_id(id).remove().expect("ours");
        scope.spawn(|| change_hands(id, "shm", &round, make, Segment::id));
        let _over = Over(&round.is_over);
        while round.goes_on() {
            match Segment::from_id(id).attach(How::default()) {
                Ok(memory) => assert_eq!(bytes_mapped_at(memory.as_ptr().addr()), memory.len()),
                Err(error) => assert!(is_gone(&error), "{error}"),
            }
        }
    });
}

/// What the kernel says of the mapping that begins there.
fn bytes_mapped_at(start: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let prefix = format!("{start:x}-");
    let line = maps
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .expect("mapped");
    let end = line.split(' ').next().unwrap_or_default();
    usize::from_str_radix(end, 16).expect("an address") - start
}

/// What is attached keeps its number, also when it is removed: nothing else gets it before the last attachment goes.
#[test]
fn number_of_an_attached_segment_is_nobody_elses() {
    in_ipc_namespace(
        "test -w /proc/sys/kernel/shm_next_id",
        "ask_for_the_number_of_an_attached_segment",
    );
}

pub fn ask_for_the_number_of_an_attached_segment() {
    let own = Own(Segment::create_new(Key::PRIVATE, 4096, 0o600).expect("a new segment"));
    let memory = own.attach(How::default()).expect("ours");
    let again = || {
        std::fs::write("/proc/sys/kernel/shm_next_id", own.id().to_string()).expect("root of this namespace");
        Own(Segment::create_new(Key::PRIVATE, 8192, 0o600).expect("a new segment"))
    };
    assert_ne!(again().id(), own.id());
    own.remove().expect("ours");
    assert_ne!(again().id(), own.id());
    assert_eq!(own.stat().expect("still there").bytes, 4096);
    drop(memory);
    assert_eq!(again().id(), own.id());
}

/// Nothing is left of an attachment that cannot be measured.
#[test]
fn attachment_whose_size_is_not_told_is_detached_again() {
    let own = Own(Segment::create_new(Key::PRIVATE, 4096, 0o600).expect("a new segment"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if forbid_call(libc::SYS_shmctl, None, libc::EIDRM) {
                let error = own.attach(How::default()).expect_err("shmctl is forbidden");
                assert_eq!(
                    (error.operation(), error.errno()),
                    ("shmctl(IPC_STAT)", Errno::IDRM)
                );
            }
        });
    });
    assert_eq!(own.stat().expect("ours").attached, 0);
}
