//! The simulation has teeth: with one thing broken on purpose some schedule ends badly, and in the way that was to be expected.

use super::number_from;
use crate::file::simulation::run;
use crate::file::simulation::world::Mutant;

/// How many seeds a mutant is given.
const SEEDS_MAX: u64 = 4000;

/// Some seed must show the mutant, with one of these complaints. `hint` is a seed that once did; others are tried if it does no longer.
#[track_caller]
fn assert_found(mutant: Mutant, hint: u64, complaints: &[&str]) {
    if number_from("SHMELD_SEED").is_some() {
        // Somebody reads the steps of one seed.
        return;
    }
    for seed in std::iter::once(hint).chain(0..SEEDS_MAX) {
        let Some(failure) = run(seed, mutant, false).failure else {
            continue;
        };
        println!("{mutant:?}: seed {seed}: {failure}");
        let is_expected = complaints.iter().any(|complaint| failure.contains(complaint));
        assert!(is_expected, "{mutant:?}, seed {seed}: {failure}");
        return;
    }
    panic!("{SEEDS_MAX} seeds found nothing wrong with {mutant:?}");
}

#[test]
fn look_at_the_sequence_word_before_the_lease_loses_what_was_published_before_a_death() {
    assert_found(Mutant::WorkBeforeLease, 659, &["slots unread"]);
}

#[test]
fn client_that_believes_ended_before_the_ring_is_empty_loses_what_was_published() {
    assert_found(Mutant::EndedBeforeDraining, 1395, &["slots unread"]);
}

#[test]
fn client_that_looks_for_another_server_after_attached_is_seen() {
    assert_found(
        Mutant::ResendAfterAttached,
        1,
        &["sent twice", "Misbehaved", "Silent", "no end"],
    );
}

#[test]
fn requests_sent_again_behind_a_queue_lost_meanwhile_are_answered_out_of_order() {
    assert_found(Mutant::ResendGoesOn, 39, &["Misbehaved", "Silent"]);
}

#[test]
fn new_request_that_overtakes_those_sent_again_makes_the_server_drop_them() {
    assert_found(Mutant::NewRequestOvertakes, 2802, &["Misbehaved", "Silent"]);
}

#[test]
fn client_that_does_not_send_again_waits_for_an_answer_that_never_comes() {
    assert_found(Mutant::NoResend, 8, &["Silent", "no end"]);
}

#[test]
fn message_whose_nonce_is_not_compared_ends_or_disturbs_an_honest_session() {
    assert_found(
        Mutant::NonceNotCompared,
        15,
        &["Ended(0)", "Ended(12)", "called dead", "Misbehaved"],
    );
}

#[test]
fn session_that_takes_impossible_words_is_not_ended_for_them() {
    assert_found(Mutant::CapacityNotChecked, 61, &["impossible word"]);
}

#[test]
fn request_whose_id_need_not_increase_is_answered_twice() {
    assert_found(
        Mutant::IdsNotIncreasing,
        0,
        &["answered twice", "Misbehaved", "Ended(12)"],
    );
}

#[test]
fn post_that_does_not_wake_leaves_a_sleeper_beside_work() {
    assert_found(Mutant::NoWake, 0, &["a lost wake"]);
}

#[test]
fn client_that_closed_and_went_is_called_dead_after_one_look() {
    assert_found(Mutant::DeadAfterOneTick, 224, &["called dead"]);
}

#[test]
fn done_that_is_published_before_the_look_into_the_inbox_makes_an_honest_client_flood() {
    assert_found(Mutant::DoneBeforeInbox, 120, &["Ended(12)"]);
}

#[test]
fn region_that_is_no_longer_on_offer_is_answered_into_again() {
    assert_found(
        Mutant::OfferNotChecked,
        31,
        &["answered twice", "impossible word", "Misbehaved"],
    );
}
