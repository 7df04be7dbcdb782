//! The ring and its sleep, explored by loom: the code is the code that runs, but for the waits of two mutants.
//!
//! The mutants prove that the model has teeth: each breaks one thing, and loom must find the execution in which it matters.

use std::time::Duration;

use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{Semaphore, Words};

use crate::loom_model::{Model, ONE_SLOT, THREE_SLOTS, TWO_SLOTS};
use crate::loom_words::{ModelWords, Mutant};

/// MUTANT of `wait::sleep`: looks at the condition first and zeroes the value then. A post in between is wiped out unseen.
fn sleep_that_zeroes_after_its_look(
    words: &ModelWords,
    semaphore: Semaphore,
    ready: &mut dyn FnMut() -> bool,
) {
    let (value, waiters) = words_of(semaphore);
    loop {
        words.store(waiters, 1, Ordering::SeqCst);
        words.fence();
        if ready() {
            words.store(waiters, 0, Ordering::Relaxed);
            return;
        }
        words.store(value, 0, Ordering::SeqCst);
        words.futex_wait(value, 0, Duration::MAX);
        words.store(waiters, 0, Ordering::Relaxed);
        if ready() {
            return;
        }
    }
}

/// MUTANT of `wait::sleep`: does not look again between zeroing the value and sleeping on it.
fn sleep_without_another_look(words: &ModelWords, semaphore: Semaphore, ready: &mut dyn FnMut() -> bool) {
    let (value, waiters) = words_of(semaphore);
    loop {
        words.store(value, 0, Ordering::SeqCst);
        words.store(waiters, 1, Ordering::SeqCst);
        words.fence();
        words.futex_wait(value, 0, Duration::MAX);
        words.store(waiters, 0, Ordering::Relaxed);
        if ready() {
            return;
        }
    }
}

fn words_of(semaphore: Semaphore) -> (Word, Word) {
    match semaphore {
        Semaphore::Filled => (Word::FilledValue, Word::FilledWaiters),
        Semaphore::Free => (Word::FreeValue, Word::FreeWaiters),
    }
}

#[test]
fn one_slot_loses_no_item_no_order_and_no_wake() {
    ONE_SLOT.assert_right();
}

#[test]
fn two_slots_lose_no_item_no_order_and_no_wake() {
    TWO_SLOTS.assert_right();
}

#[test]
fn three_slots_lose_no_item_no_order_and_no_wake() {
    THREE_SLOTS.assert_right();
}

/// The first item makes the words 0, which is also a multiple of 2^20: both sides take all units out of their own semaphore then.
#[test]
fn wrapping_sequence_words_and_forgotten_units_lose_nothing() {
    Model {
        start: u32::MAX,
        ..ONE_SLOT
    }
    .assert_right();
    Model {
        start: u32::MAX - 1,
        ..TWO_SLOTS
    }
    .assert_right();
}

#[test]
fn a_relaxed_store_of_written_is_a_race_on_the_slot() {
    Model {
        mutant: Mutant::RelaxedStoreOfWritten,
        ..ONE_SLOT
    }
    .assert_races();
    Model {
        mutant: Mutant::RelaxedStoreOfWritten,
        ..TWO_SLOTS
    }
    .assert_races();
}

#[test]
fn a_relaxed_load_of_written_is_a_race_on_the_slot() {
    Model {
        mutant: Mutant::RelaxedLoadOfWritten,
        ..ONE_SLOT
    }
    .assert_races();
    Model {
        mutant: Mutant::RelaxedLoadOfWritten,
        ..TWO_SLOTS
    }
    .assert_races();
}

#[test]
fn a_relaxed_store_of_read_is_a_race_on_the_slot() {
    Model {
        mutant: Mutant::RelaxedStoreOfRead,
        ..ONE_SLOT
    }
    .assert_races();
    Model {
        mutant: Mutant::RelaxedStoreOfRead,
        ..TWO_SLOTS
    }
    .assert_races();
}

#[test]
fn a_relaxed_load_of_read_is_a_race_on_the_slot() {
    Model {
        mutant: Mutant::RelaxedLoadOfRead,
        ..ONE_SLOT
    }
    .assert_races();
    Model {
        mutant: Mutant::RelaxedLoadOfRead,
        ..TWO_SLOTS
    }
    .assert_races();
}

#[test]
fn a_post_without_its_fence_loses_a_wake() {
    Model {
        mutant: Mutant::NoFenceInPost,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
    Model {
        mutant: Mutant::NoFenceInPost,
        ..TWO_SLOTS
    }
    .assert_loses_a_wake();
}

#[test]
fn a_sleep_without_its_fence_loses_a_wake() {
    Model {
        mutant: Mutant::NoFenceInSleep,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
    Model {
        mutant: Mutant::NoFenceInSleep,
        ..TWO_SLOTS
    }
    .assert_loses_a_wake();
}

#[test]
fn a_sleep_that_zeroes_after_its_look_loses_a_wake() {
    Model {
        sleep: sleep_that_zeroes_after_its_look,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
    Model {
        sleep: sleep_that_zeroes_after_its_look,
        ..TWO_SLOTS
    }
    .assert_loses_a_wake();
}

#[test]
fn a_sleep_without_another_look_loses_a_wake() {
    Model {
        sleep: sleep_without_another_look,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
    Model {
        sleep: sleep_without_another_look,
        ..TWO_SLOTS
    }
    .assert_loses_a_wake();
}

#[test]
fn a_post_that_sees_no_waiters_loses_a_wake() {
    Model {
        mutant: Mutant::NoWaitersSeen,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
}

#[test]
fn a_post_that_does_not_wake_loses_a_wake() {
    Model {
        mutant: Mutant::NoWake,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
}

/// A post that finds units does not look at the waiters. So whoever takes units away must see all that was published before them: the
/// unit is added with Release and taken away by an operation that reads it. A plain store in the place of that exchange would read
/// nothing, so for it every unit is like these.
#[test]
fn a_unit_that_releases_nothing_to_whoever_takes_it_away_loses_a_wake() {
    Model {
        mutant: Mutant::RelaxedUnit,
        ..ONE_SLOT
    }
    .assert_loses_a_wake();
    Model {
        mutant: Mutant::RelaxedUnit,
        ..TWO_SLOTS
    }
    .assert_loses_a_wake();
}
