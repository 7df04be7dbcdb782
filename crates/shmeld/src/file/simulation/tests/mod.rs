//! What is run: schedules of the code as it is, and of its mutants.

mod mutants;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::file::simulation::run;
use crate::file::simulation::world::Mutant;

/// How many seeds an ordinary run has, and the longest it takes.
const SEEDS: u64 = 400;
const TIME_MAX: Duration = Duration::from_secs(10);
/// Among so many, everything happens that is counted. A machine that is too busy for them proves less.
const SEEDS_THAT_SHOW_ALL: u64 = 200;
/// How many more come from the clock.
const SEEDS_FROM_CLOCK: u64 = 5;

pub fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn assert_right(seed: u64, totals: &mut BTreeMap<&'static str, u64>) {
    let world = run(seed, Mutant::None, false);
    for (what, count) in world.counts {
        *totals.entry(what).or_default() += count;
    }
    *totals.entry("steps").or_default() += world.steps;
    if let Some(failure) = world.failure {
        panic!(
            "seed {seed}: {failure}\nreplay: SHMELD_SEED={seed} cargo test -p shmeld simulation -- --nocapture"
        );
    }
}

/// See the module. Whatever the schedule: no honest client of a living server misses an answer, gets a wrong one or one twice; nobody
/// waits for ever; hostile words end their own session only.
#[test]
fn every_schedule_ends_well() {
    if let Some(seed) = number_from("SHMELD_SEED") {
        let world = run(seed, Mutant::None, true);
        for line in world.trace.unwrap_or_default() {
            println!("{line}");
        }
        assert_eq!(world.failure, None, "seed {seed}");
        return;
    }
    let wanted = number_from("SHMELD_SEEDS");
    let start = Instant::now();
    let mut totals = BTreeMap::new();
    let mut seeds = 0..wanted.unwrap_or(SEEDS);
    while (wanted.is_some() || start.elapsed() < TIME_MAX)
        && let Some(seed) = seeds.next()
    {
        assert_right(seed, &mut totals);
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for seed in 0..SEEDS_FROM_CLOCK {
        assert_right(clock.as_nanos() as u64 + seed, &mut totals);
    }
    println!(
        "{} seeds and {SEEDS_FROM_CLOCK} more in {:?}: {totals:?}",
        seeds.start,
        start.elapsed()
    );
    if seeds.start < SEEDS_THAT_SHOW_ALL {
        return;
    }
    // Schedules in which nothing happens would prove nothing.
    for what in [
        "sessions",
        "answers",
        "sleeps",
        "done",
        "cut off",
        "killed",
        "sent again",
        "offered again",
    ] {
        assert!(
            totals.get(what).is_some_and(|count| *count > 0),
            "never: {what}; {totals:?}"
        );
    }
}

/// Without this a seed would be worth nothing.
#[test]
fn seed_replays_exactly() {
    for seed in 0..20 {
        let (first, second) = (run(seed, Mutant::None, true), run(seed, Mutant::None, true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
