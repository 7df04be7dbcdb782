//! From measured seconds to what may be said about them.

use super::bench_pairs::Judgement;

/// A measured run of one contestant.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub seconds: f64,
    /// Seconds of a CPU that the reading process used, and the writing one; one process is both in `cp`.
    pub reader_cpu: f64,
    pub writer_cpu: f64,
}

impl Sample {
    /// A run of which only the time is known.
    #[must_use]
    pub fn of(seconds: f64) -> Self {
        Self {
            seconds,
            reader_cpu: 0.0,
            writer_cpu: 0.0,
        }
    }
}

/// The most memory that processes had resident, files and regions that they mapped included, in bytes; zero if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peak {
    /// All that were started for the run, together.
    pub clients: u64,
    pub largest_client: u64,
    /// The server that stood ready.
    pub server: u64,
}

/// What a row compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes in a second, ours by theirs: more is better.
    Throughput,
    /// Wall time, ours by theirs: less is better.
    Time,
}

/// Ours against theirs.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// The ratio of the medians.
    pub of_medians: f64,
    /// The quartiles of the ratios of the pairs.
    pub first_quartile: f64,
    pub third_quartile: f64,
    /// Pair by pair, in the order in which they were run.
    pub pairs: Vec<f64>,
}

/// Above this the quartiles do not agree.
const SPREAD_MAX: f64 = 0.2;
/// With fewer pairs quartiles say nothing.
const PAIRS_MIN: usize = 5;

impl Ratio {
    /// From paired runs of `bytes` bytes each.
    #[must_use]
    pub fn of(measure: Measure, ours: (&[Sample], u64), theirs: (&[Sample], u64)) -> Self {
        let cost = |bytes: u64, seconds: f64| match measure {
            Measure::Time => seconds,
            Measure::Throughput => bytes as f64 / seconds.max(f64::MIN_POSITIVE),
        };
        let pairs = ours.0.iter().zip(theirs.0);
        let ratios: Vec<f64> = pairs
            .map(|(one, other)| cost(ours.1, one.seconds) / cost(theirs.1, other.seconds))
            .collect();
        Self {
            of_medians: cost(ours.1, median_seconds(ours.0)) / cost(theirs.1, median_seconds(theirs.0)),
            first_quartile: quantile(&ratios, 0.25),
            third_quartile: quantile(&ratios, 0.75),
            pairs: ratios,
        }
    }

    /// How far the quartiles are apart, as a part of the ratio.
    #[must_use]
    pub fn spread(&self) -> f64 {
        (self.third_quartile - self.first_quartile) / self.of_medians
    }

    /// Whether there are enough pairs for quartiles to mean something.
    #[must_use]
    pub fn has_quartiles(&self) -> bool {
        self.pairs.len() >= PAIRS_MIN
    }

    /// What [`run_pairs`](super::bench_pairs::run_pairs) wants to know.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        match (self.has_quartiles(), self.is_steady()) {
            (false, _) => Judgement::TooFew,
            (true, true) => Judgement::Steady,
            (true, false) => Judgement::Unsteady,
        }
    }

    /// Whether the quartiles agree well enough to quote the ratio.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        self.has_quartiles() && self.spread() <= SPREAD_MAX
    }
}

#[must_use]
pub fn median_seconds(samples: &[Sample]) -> f64 {
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    quantile(&seconds, 0.5)
}

/// The mean, because the kernel may count CPU time in ticks of 10 ms: many roundings average out, one does not.
#[must_use]
pub fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len().max(1) as f64
}

/// The value below which a part of the values lies, interpolated between neighbours. 0 for no values.
#[must_use]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let position = part * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * position.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(seconds: &[f64]) -> Vec<Sample> {
        seconds.iter().map(|seconds| Sample::of(*seconds)).collect()
    }

    #[test]
    fn quartiles_lie_between_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 0.25), 1.75);
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (1.0, 4.0));
        assert_eq!((quantile(&[7.0], 0.25), quantile(&[], 0.5)), (7.0, 0.0));
    }

    #[test]
    fn less_time_and_more_throughput_are_both_better_for_us() {
        let (ours, theirs) = (samples(&[1.0; 5]), samples(&[2.0; 5]));
        let time = Ratio::of(Measure::Time, (&ours, 100), (&theirs, 100));
        assert_eq!((time.of_medians, time.first_quartile), (0.5, 0.5));
        // Half the bytes in the same time are half the throughput.
        let throughput = Ratio::of(Measure::Throughput, (&ours, 100), (&theirs, 50));
        assert_eq!((throughput.of_medians, throughput.third_quartile), (4.0, 4.0));
        assert!(throughput.is_steady());
    }

    #[test]
    fn quartiles_that_disagree_are_found() {
        let (ours, theirs) = (samples(&[1.0, 1.5, 2.0, 2.5, 3.0]), samples(&[1.0; 5]));
        let ratio = Ratio::of(Measure::Time, (&ours, 1), (&theirs, 1));
        assert_eq!((ratio.first_quartile, ratio.third_quartile), (1.5, 2.5));
        assert!(!ratio.is_steady());
    }

    #[test]
    fn too_few_pairs_are_never_called_steady() {
        let one = samples(&[1.0]);
        let ratio = Ratio::of(Measure::Time, (&one, 1), (&one, 1));
        assert!(!ratio.has_quartiles() && !ratio.is_steady());
        assert_eq!(ratio.judgement(), Judgement::TooFew);
    }
}
