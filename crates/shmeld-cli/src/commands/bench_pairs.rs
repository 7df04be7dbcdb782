//! Paired runs: the two contestants one directly after the other, as often as it takes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::bench_numbers::Sample;

/// How many times the number asked for may be run until the quartiles agree.
const EXTENSION_MAX: u32 = 3;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Rival,
}

/// What both needed, pair by pair.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    pub ours: Vec<Sample>,
    pub rival: Vec<Sample>,
}

/// What is to be told about pairs that were run so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// The quartiles agree.
    Steady,
    /// They do not: more pairs may help.
    Unsteady,
    /// So few pairs were asked for that nobody wants quartiles.
    TooFew,
}

/// Runs at least `pairs_min` pairs, and up to three times as many until they are judged to be steady.
///
/// # Errors
/// That of the run that failed.
pub fn run_pairs<E>(
    pairs_min: u32,
    judge: impl Fn(&Pairs) -> Judgement,
    mut run: impl FnMut(u32, Side) -> Result<Sample, E>,
) -> Result<Pairs, E> {
    let mut pairs = Pairs::default();
    for pair in 1..=pairs_min.saturating_mul(EXTENSION_MAX) {
        if pair > pairs_min && judge(&pairs) != Judgement::Unsteady {
            break;
        }
        // Whatever drifts during a pair hurts each of the two as often as the other.
        let coin = RandomState::new().hash_one(pair);
        let order = if coin & 1 == 0 {
            [Side::Ours, Side::Rival]
        } else {
            [Side::Rival, Side::Ours]
        };
        for side in order {
            let sample = run(pair, side)?;
            match side {
                Side::Ours => pairs.ours.push(sample),
                Side::Rival => pairs.rival.push(sample),
            }
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(pairs_min: u32, judge: impl Fn(&Pairs) -> Judgement) -> (usize, usize) {
        let pairs = run_pairs(pairs_min, judge, |pair, _| {
            Ok::<_, ()>(Sample::of(f64::from(pair)))
        });
        let pairs = pairs.expect("no run fails");
        (pairs.ours.len(), pairs.rival.len())
    }

    #[test]
    fn pairs_go_on_until_they_agree_but_not_for_ever() {
        assert_eq!(count(9, |_| Judgement::Steady), (9, 9));
        assert_eq!(count(9, |_| Judgement::Unsteady), (27, 27));
        assert_eq!(count(1, |_| Judgement::TooFew), (1, 1));
        let later = |pairs: &Pairs| {
            if pairs.ours.len() < 12 {
                Judgement::Unsteady
            } else {
                Judgement::Steady
            }
        };
        assert_eq!(count(9, later), (12, 12));
    }

    #[test]
    fn run_that_fails_ends_it() {
        let failed = run_pairs(
            9,
            |_| Judgement::Steady,
            |pair, _| if pair < 3 { Ok(Sample::of(1.0)) } else { Err(pair) },
        );
        assert_eq!(failed.map(|pairs| pairs.ours.len()), Err(3));
    }

    #[test]
    fn both_orders_happen() {
        let mut first = Vec::new();
        let mut turns = 0;
        let run = |_, side| {
            if turns % 2 == 0 {
                first.push(side);
            }
            turns += 1;
            Ok::<_, ()>(Sample::of(1.0))
        };
        run_pairs(60, |_| Judgement::Steady, run).expect("no run fails");
        // One in 2^59 runs of this test fails by chance.
        assert!(first.contains(&Side::Ours) && first.contains(&Side::Rival));
    }
}
