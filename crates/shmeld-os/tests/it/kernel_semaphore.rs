//! Semaphores that the kernel operates, against those of libc, against forged words, and against memory that is taken away.

use std::time::{Duration, Instant};

use shmeld_os::posix::kernel_semaphore::{FILE_BYTES, FILE_PREFIX, KernelSemaphore};
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName};

use crate::support::{Name, PATIENCE, assert_kind, eventually, in_a_shower_of_signals, within};

/// The file of the C library's semaphore of this name.
fn file_of(name: &Name) -> ObjectName {
    name.between(FILE_PREFIX, "")
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn write_words(name: &Name, words: [u32; 4]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let file = SharedMemory::open(&file_of(name), true).expect("it is there");
    file.write_at(&bytes, 0).expect("written");
}

#[test]
fn its_file_is_what_libc_makes() {
    let (ours, theirs) = (Name::new("kernel-a"), Name::new("kernel-b"));
    let _ours = KernelSemaphore::create_new(&file_of(&ours), 0o640, 7).expect("new");
    let _theirs = NamedSemaphore::create_new(&theirs, 0o640, 7).expect("new");
    let content =
        |name: &Name| std::fs::read(format!("/dev/shm/{}", file_of(name).as_str())).expect("readable");
    assert_eq!(content(&ours).len(), FILE_BYTES);
    assert_eq!(content(&ours), content(&theirs));
    assert_eq!(NamedSemaphore::stat_name(&ours).expect("stat").mode, 0o640);
    let libc = NamedSemaphore::open(&ours).expect("libc opens it");
    assert_eq!(libc.value(), Ok(7));
    assert_kind(
        KernelSemaphore::create_new(&file_of(&ours), 0o600, 0),
        ErrorKind::AlreadyExists,
    );
}

/// Each side sleeps most of the time, and no wake is lost in either direction.
#[test]
fn units_go_to_and_fro_between_libc_and_the_kernel() {
    const ROUNDS: u32 = 20_000;
    let (there, back) = (Name::new("kernel-there"), Name::new("kernel-back"));
    let ours_there = KernelSemaphore::create_new(&file_of(&there), 0o600, 0).expect("new");
    let theirs_back = NamedSemaphore::create_new(&back, 0o600, 0).expect("new");
    let theirs_there = NamedSemaphore::open(&there).expect("there");
    let ours_back = KernelSemaphore::open(&file_of(&back)).expect("there");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                match round % 2 {
                    0 => theirs_there.wait_until(within(20_000)).expect("a unit comes"),
                    _ => theirs_there.wait().expect("a unit comes"),
                }
                theirs_back.post().expect("posted");
            }
        });
        let start = Instant::now();
        for round in 0..ROUNDS {
            ours_there.post().expect("posted");
            let spin = if round % 3 == 0 {
                Duration::from_micros(50)
            } else {
                Duration::ZERO
            };
            // A lost wake would cost the whole slice.
            let slice_end = Instant::now() + Duration::from_secs(10);
            assert_eq!(ours_back.take_until(slice_end, spin), Ok(true), "round {round}");
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
    assert_eq!((ours_there.value(), ours_back.value()), (Ok(0), Ok(0)));
    let content = std::fs::read(format!("/dev/shm/{}", file_of(&back).as_str())).expect("readable");
    assert_eq!(content[4..8], [0; 4], "nobody waits any more");
}

#[test]
fn a_wait_ends_at_its_end_and_takes_nothing_then() {
    let name = Name::new("kernel-slice");
    let semaphore = KernelSemaphore::create_new(&file_of(&name), 0o600, 0).expect("new");
    let start = Instant::now();
    assert_eq!(
        semaphore.take_until(start + Duration::from_millis(50), Duration::ZERO),
        Ok(false)
    );
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(
        semaphore.take_until(start, Duration::ZERO),
        Ok(false),
        "an end in the past does not wait"
    );
    semaphore.post().expect("posted");
    assert_eq!(semaphore.take_until(start, Duration::ZERO), Ok(true));
    let taken = in_a_shower_of_signals(move || {
        let end = Instant::now() + Duration::from_millis(300);
        // Each signal ends a wait early, and none adds or takes a unit.
        while Instant::now() < end {
            assert_eq!(semaphore.take_until(end, Duration::ZERO), Ok(false));
        }
        semaphore.post().expect("posted");
        semaphore.take_until(soon(), Duration::ZERO)
    });
    assert_eq!(taken, Ok(true));
}

/// Row R10 of the catalogue. libc aborts or hangs on the third of these.
#[test]
fn forged_words_cost_no_more_than_the_slice() {
    let name = Name::new("kernel-forged");
    let semaphore = KernelSemaphore::create_new(&file_of(&name), 0o600, 0).expect("new");
    for words in [
        [0, u32::MAX, 128, 0],
        [0, 0x8000_0000, 0, 0],
        [0, 7, 0x40, u32::MAX],
        [0, 0, 1, 1],
        [u32::MAX, u32::MAX, u32::MAX, u32::MAX],
        [0x8000_0000, 0, 128, 0],
        [1_000_000, 0, 128, 0],
        [i32::MAX as u32, 0, 128, 0],
    ] {
        write_words(&name, words);
        let start = Instant::now();
        let slice_end = start + Duration::from_millis(30);
        let taken = semaphore
            .take_until(slice_end, Duration::ZERO)
            .expect("the memory is there");
        assert_eq!(taken, words[0] != 0, "{words:x?}");
        semaphore.post().expect("the memory is there");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{words:x?}: {:?}",
            start.elapsed()
        );
    }
}

/// Somebody forges the number of sleepers away while we sleep: a post of libc then wakes nobody.
#[test]
fn a_post_that_wakes_nobody_is_found_at_the_end_of_the_slice() {
    let name = Name::new("kernel-unheard");
    let semaphore = KernelSemaphore::create_new(&file_of(&name), 0o600, 0).expect("new");
    std::thread::scope(|scope| {
        let slice_end = Instant::now() + Duration::from_millis(500);
        let sleeper = scope.spawn(move || semaphore.take_until(slice_end, Duration::ZERO));
        let path = format!("/dev/shm/{}", file_of(&name).as_str());
        eventually("it sleeps", || std::fs::read(&path).expect("readable")[4] == 1);
        write_words(&name, [1, 0, 128, 0]);
        assert_eq!(sleeper.join().expect("no panic"), Ok(true));
    });
}

/// Row R1 of the catalogue: no SIGBUS, and no guard against it is installed here.
#[test]
fn memory_that_is_taken_away_is_an_answer_and_no_signal() {
    let name = Name::new("kernel-cut");
    let semaphore = KernelSemaphore::create_new(&file_of(&name), 0o600, 1).expect("new");
    let file = SharedMemory::open(&file_of(&name), true).expect("there");
    std::thread::scope(|scope| {
        semaphore.try_take().expect("there");
        let sleeping = KernelSemaphore::open(&file_of(&name)).expect("there");
        let slice_end = Instant::now() + Duration::from_millis(300);
        let sleeper = scope.spawn(move || sleeping.take_until(slice_end, Duration::ZERO));
        std::thread::sleep(Duration::from_millis(50));
        file.as_file().set_len(0).expect("shorter");
        assert_kind(sleeper.join().expect("no panic"), ErrorKind::Fault);
    });
    assert_kind(semaphore.value(), ErrorKind::Fault);
    assert_kind(semaphore.try_take(), ErrorKind::Fault);
    assert_kind(semaphore.take_until(soon(), Duration::ZERO), ErrorKind::Fault);
    let error = assert_kind(semaphore.post(), ErrorKind::Fault);
    assert!(error.to_string().contains(file_of(&name).as_str()), "{error}");
    assert_kind(KernelSemaphore::open(&file_of(&name)), ErrorKind::Invalid);
}

/// The module asks for one taker at a time. A second one may get a unit twice; a count below zero would give the C library units for ever.
#[test]
fn a_stranger_who_takes_too_leaves_no_debt() {
    const UNITS: u32 = 20_000;
    let name = Name::new("kernel-stranger");
    let ours = KernelSemaphore::create_new(&file_of(&name), 0o600, 0).expect("new");
    let theirs = NamedSemaphore::open(&name).expect("there");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let ordering = std::sync::atomic::Ordering::Relaxed;
    let taken = std::thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            let mut taken = 0;
            while !is_over.load(ordering) {
                taken += u32::from(theirs.wait_until(within(5)).is_ok());
            }
            taken
        });
        let mut taken = 0;
        for _ in 0..UNITS {
            ours.post().expect("there");
            taken += u32::from(ours.try_take().expect("there"));
        }
        is_over.store(true, ordering);
        taken + stranger.join().expect("no panic")
    });
    let left = theirs.value().expect("there");
    assert!((0..=UNITS as i32).contains(&left), "{left} left, {taken} taken");
}
