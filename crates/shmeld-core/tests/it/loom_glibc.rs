//! Our server and a textbook client, explored by loom: it waits and posts as glibc does, on semaphores that are one word of 64 bits.
//! Both mixed cases are in it: our post and glibc's wait on `filled`, glibc's post and our sleep on `free`.
//!
//! Not here: the same with glibc itself and another process, which a test of the command line does.

use shmeld_core::sync::Ordering;

use crate::loom_model::{Model, ONE_SLOT, THREE_SLOTS, TWO_SLOTS};
use crate::loom_semaphore::Width;
use crate::loom_words::{ModelWords, Mutant};

/// The client of the protocol document, section 4: `while (written == my_read) sem_wait(&filled);`, and `sem_post(&free)` after each slot.
fn consume_as_textbooks_do(model: &Model, words: &ModelWords) {
    let memory = words.memory();
    let mut read = model.start;
    for item in 1..=model.items {
        while memory.written.load(Ordering::Acquire) == read {
            memory.filled.glibc_wait();
        }
        assert_eq!(memory.take((item - 1) % model.slots), item);
        read = read.wrapping_add(1);
        memory.read.store(read, Ordering::Release);
        memory.free.glibc_post();
    }
}

const fn with_glibc(model: Model) -> Model {
    Model {
        width: Width::Whole,
        consume: consume_as_textbooks_do,
        ..model
    }
}

#[test]
fn a_client_that_uses_glibc_loses_no_item_no_order_and_no_wake() {
    for model in [ONE_SLOT, TWO_SLOTS, THREE_SLOTS] {
        with_glibc(model).assert_right();
    }
}

/// `sem_wait` takes the unit with Acquire, and the client then looks at the sequence word.
#[test]
fn an_add_that_releases_nothing_makes_glibc_lose_a_wake() {
    for order in [Ordering::Relaxed, Ordering::Acquire] {
        with_glibc(ONE_SLOT)
            .with_mutant(Mutant::Add(order))
            .assert_loses_a_wake();
    }
}

/// `sem_post` adds with Release, and our sleep looks at the sequence word after its exchange.
#[test]
fn a_swap_that_acquires_nothing_loses_a_wake_of_glibc() {
    for order in [Ordering::Relaxed, Ordering::Release] {
        with_glibc(ONE_SLOT)
            .with_mutant(Mutant::Swap(order))
            .assert_loses_a_wake();
    }
}

#[test]
fn a_post_that_does_not_see_or_not_wake_a_waiter_of_glibc_loses_a_wake() {
    for mutant in [Mutant::NoWaitersSeen, Mutant::NoWake] {
        with_glibc(ONE_SLOT).with_mutant(mutant).assert_loses_a_wake();
    }
}
