//! Futex words in shared memory.

use std::time::{Duration, Instant};

use shmeld_os::futex::{Faulted, Wake, wait, wake};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;

use crate::support::{Name, in_a_shower_of_signals};

const PAGE: usize = 4096;

fn object(what: &str) -> (Name, SharedMemory) {
    let name = Name::new(what);
    let memory = SharedMemory::create_new(&name, 0o600).expect("a new object");
    memory.reserve(PAGE as u64).expect("space");
    (name, memory)
}

#[test]
fn a_word_on_a_truncated_page_is_an_answer_not_a_signal() {
    let (_name, memory) = object("futex-truncated");
    let mapping = Mapping::new(&memory, PAGE, "test").expect("mapped");
    let word = mapping.as_ptr().cast::<u32>().cast_const();
    assert_eq!(wait(word, 1, Duration::from_secs(5)), Wake::ValueChanged);
    assert_eq!(wake(word, 1), Ok(0));
    memory.as_file().set_len(0).expect("truncated");
    assert_eq!(wait(word, 0, Duration::from_secs(5)), Wake::Fault);
    assert_eq!(wake(word, 1), Err(Faulted));
}

#[test]
fn two_mappings_of_one_object_share_a_word_even_where_one_is_read_only() {
    let (name, memory) = object("futex-shared");
    let writer = Mapping::new(&memory, PAGE, "test").expect("mapped");
    let reading = SharedMemory::open(&name, false).expect("it is there");
    let reader = Mapping::read_only(&reading, PAGE, "test").expect("mapped");
    let word_of = |mapping: &Mapping| mapping.as_ptr().cast::<u32>().cast_const();
    let word = word_of(&writer);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(move || wait(word_of(&reader), 0, Duration::from_secs(20)));
        while wake(word, 1) == Ok(0) {
            std::thread::yield_now();
        }
        assert_eq!(sleeper.join().expect("content"), Wake::Woken);
    });
}

#[test]
fn a_signal_is_reported_because_the_caller_loops_anyway() {
    let (_name, memory) = object("futex-signal");
    let mapping = Mapping::new(&memory, PAGE, "test").expect("mapped");
    in_a_shower_of_signals(move || {
        let start = Instant::now();
        assert_eq!(
            wait(
                mapping.as_ptr().cast::<u32>().cast_const(),
                0,
                Duration::from_secs(20)
            ),
            Wake::Interrupted
        );
        assert!(start.elapsed() < Duration::from_secs(10));
    });
}

#[test]
fn an_unaligned_word_is_our_own_mistake() {
    let word = std::ptr::without_provenance::<u32>(PAGE + 2);
    assert!(std::panic::catch_unwind(|| wait(word, 0, Duration::ZERO)).is_err());
    assert!(std::panic::catch_unwind(|| wake(word, 1)).is_err());
}
