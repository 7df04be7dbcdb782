//! The ring and its sleep, explored by loom: the code is the code that runs, but for the sleep of some mutants.
//!
//! The mutants prove that the model has teeth: each breaks one thing, and loom must find the execution in which it matters.

use std::time::Duration;

use loom::sync::atomic::fence;
use shmeld_core::layout::Word;
use shmeld_core::sync::Ordering;
use shmeld_core::wait::{Semaphore, Words};

use crate::loom_model::{Model, ONE_SLOT, Sleep, THREE_SLOTS, TWO_SLOTS};
use crate::loom_words::{ModelWords, Mutant};

const WRAPPING: Model = Model {
    start: u32::MAX,
    ..ONE_SLOT
};

/// MUTANT of `wait::sleep`: looks at the condition first and zeroes the value then. A post in between is wiped out unseen.
fn sleep_that_zeroes_after_its_look(
    words: &ModelWords,
    semaphore: Semaphore,
    ready: &mut dyn FnMut() -> bool,
) {
    let (value, waiters) = words_of(semaphore);
    loop {
        words.store(waiters, 1, Ordering::Relaxed);
        if ready() {
            words.store(waiters, 0, Ordering::Relaxed);
            return;
        }
        words.swap(value, 0, Ordering::AcqRel);
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
        words.store(waiters, 1, Ordering::Relaxed);
        words.swap(value, 0, Ordering::AcqRel);
        words.futex_wait(value, 0, Duration::MAX);
        words.store(waiters, 0, Ordering::Relaxed);
        if ready() {
            return;
        }
    }
}

/// `wait::sleep` but for its beginning, up to the look.
fn sleep_that_begins_with(
    begin: fn(&ModelWords, Word, Word),
    words: &ModelWords,
    semaphore: Semaphore,
    ready: &mut dyn FnMut() -> bool,
) {
    let (value, waiters) = words_of(semaphore);
    loop {
        begin(words, value, waiters);
        if ready() {
            words.store(waiters, 0, Ordering::Relaxed);
            return;
        }
        words.futex_wait(value, 0, Duration::MAX);
        words.store(waiters, 0, Ordering::Relaxed);
        if ready() {
            return;
        }
    }
}

/// MUTANT: zeroes the value first and says then that it waits. A post after the exchange need not see the waiter.
fn announces_itself_too_late(words: &ModelWords, value: Word, waiters: Word) {
    words.swap(value, 0, Ordering::AcqRel);
    words.store(waiters, 1, Ordering::Relaxed);
}

/// MUTANT: a fence in the place of the exchange. The poster has none, so it pairs with nothing.
fn stores_and_fences(words: &ModelWords, value: Word, waiters: Word) {
    words.store(waiters, 1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    words.store(value, 0, Ordering::Relaxed);
    fence(Ordering::SeqCst);
}

/// NO MUTANT: as another client may write it, whose exchange is Relaxed. Loom takes two SeqCst fences for more than they are, so here
/// stands what they are at least.
fn fences_around_a_relaxed_exchange(words: &ModelWords, value: Word, waiters: Word) {
    words.store(waiters, 1, Ordering::Relaxed);
    fence(Ordering::Release);
    words.swap(value, 0, Ordering::Relaxed);
    fence(Ordering::Acquire);
}

fn words_of(semaphore: Semaphore) -> (Word, Word) {
    match semaphore {
        Semaphore::Filled => (Word::FilledValue, Word::FilledWaiters),
        Semaphore::Free => (Word::FreeValue, Word::FreeWaiters),
    }
}

fn assert_races(mutant: Mutant) {
    ONE_SLOT.with_mutant(mutant).assert_races();
    TWO_SLOTS.with_mutant(mutant).assert_races();
}

fn assert_loses_a_wake(mutant: Mutant) {
    ONE_SLOT.with_mutant(mutant).assert_loses_a_wake();
    TWO_SLOTS.with_mutant(mutant).assert_loses_a_wake();
}

fn assert_sleep_loses_a_wake(sleep: Sleep) {
    ONE_SLOT.with_sleep(sleep).assert_loses_a_wake();
    TWO_SLOTS.with_sleep(sleep).assert_loses_a_wake();
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
    WRAPPING.assert_right();
    Model {
        start: u32::MAX - 1,
        ..TWO_SLOTS
    }
    .assert_right();
}

#[test]
fn fences_around_a_relaxed_exchange_lose_nothing() {
    ONE_SLOT
        .with_sleep(|words, semaphore, ready| {
            sleep_that_begins_with(fences_around_a_relaxed_exchange, words, semaphore, ready)
        })
        .assert_right();
}

#[test]
fn a_relaxed_store_of_written_is_a_race_on_the_slot() {
    assert_races(Mutant::RelaxedStoreOfWritten);
}

#[test]
fn a_relaxed_load_of_written_is_a_race_on_the_slot() {
    assert_races(Mutant::RelaxedLoadOfWritten);
}

#[test]
fn a_relaxed_store_of_read_is_a_race_on_the_slot() {
    assert_races(Mutant::RelaxedStoreOfRead);
}

#[test]
fn a_relaxed_load_of_read_is_a_race_on_the_slot() {
    assert_races(Mutant::RelaxedLoadOfRead);
}

/// A post before the exchange: the look need not see its sequence word.
#[test]
fn an_add_that_releases_nothing_loses_a_wake() {
    assert_loses_a_wake(Mutant::Add(Ordering::Relaxed));
    assert_loses_a_wake(Mutant::Add(Ordering::Acquire));
}

/// A post after the exchange: it need not see the waiter.
#[test]
fn an_add_that_acquires_nothing_loses_a_wake() {
    assert_loses_a_wake(Mutant::Add(Ordering::Release));
}

/// A post after the exchange: there is nothing from which it could see the waiter.
#[test]
fn a_swap_that_releases_nothing_loses_a_wake() {
    assert_loses_a_wake(Mutant::Swap(Ordering::Relaxed));
    assert_loses_a_wake(Mutant::Swap(Ordering::Acquire));
}

/// A post before the exchange: the look need not see its sequence word.
#[test]
fn a_swap_that_acquires_nothing_loses_a_wake() {
    assert_loses_a_wake(Mutant::Swap(Ordering::Release));
}

#[test]
fn a_store_in_the_place_of_the_swap_loses_a_wake() {
    assert_loses_a_wake(Mutant::StoreForSwap);
    assert_sleep_loses_a_wake(|words, semaphore, ready| {
        sleep_that_begins_with(stores_and_fences, words, semaphore, ready)
    });
}

/// A post that finds units does not look at the waiters, so whoever takes units away must pass on what was published before them.
#[test]
fn a_store_that_forgets_units_loses_a_wake() {
    WRAPPING
        .with_mutant(Mutant::StoreInForgetUnits)
        .assert_loses_a_wake();
}

#[test]
fn a_sleep_that_announces_itself_after_its_swap_loses_a_wake() {
    assert_sleep_loses_a_wake(|words, semaphore, ready| {
        sleep_that_begins_with(announces_itself_too_late, words, semaphore, ready)
    });
}

#[test]
fn a_sleep_that_zeroes_after_its_look_loses_a_wake() {
    assert_sleep_loses_a_wake(sleep_that_zeroes_after_its_look);
}

#[test]
fn a_sleep_without_another_look_loses_a_wake() {
    assert_sleep_loses_a_wake(sleep_without_another_look);
}

#[test]
fn a_post_that_sees_no_waiters_loses_a_wake() {
    assert_loses_a_wake(Mutant::NoWaitersSeen);
}

#[test]
fn a_post_that_does_not_wake_loses_a_wake() {
    assert_loses_a_wake(Mutant::NoWake);
}
