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

/// The most memory that a process had, in bytes; zero if unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// All that was resident, files and regions that it mapped included.
    pub resident: u64,
    /// The same without shared memory: what it needs beyond its regions.
    pub beyond_regions: u64,
}

/// The most memory of the processes of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peak {
    /// All that were started for the run, together.
    pub clients: Memory,
    pub largest_client: Memory,
    /// The server that stood ready.
    pub server: Memory,
}

impl Memory {
    /// Each figure the larger one of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            beyond_regions: self.beyond_regions.max(other.beyond_regions),
        }
    }
}

impl std::ops::Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            beyond_regions: self.beyond_regions + other.beyond_regions,
        }
    }
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

    /// How many digits behind the point tell something.
    #[must_use]
    pub fn digits(&self) -> usize {
        if self.of_medians >= 10.0 { 1 } else { 2 }
    }

    /// The ratios pair by pair, in lines of at most `columns` characters.
    #[must_use]
    pub fn lines_of_pairs(&self, columns: usize) -> Vec<String> {
        let digits = self.digits();
        let mut lines = vec![String::new()];
        for ratio in &self.pairs {
            let text = format!("{ratio:.digits$}");
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&text),
                Some(line) if line.len() + 1 + text.len() <= columns => {
                    line.push(' ');
                    line.push_str(&text);
                }
                _ => lines.push(text),
            }
        }
        lines
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
    fn pairs_are_shown_in_lines_that_fit() {
        let ratio = Ratio::of(Measure::Time, (&samples(&[1.0; 7]), 1), (&samples(&[2.0; 7]), 1));
        let lines = ratio.lines_of_pairs(14);
        assert_eq!(lines, ["0.50 0.50 0.50", "0.50 0.50 0.50", "0.50"]);
        let large = Ratio::of(Measure::Time, (&samples(&[30.0]), 1), (&samples(&[1.0]), 1));
        assert_eq!(large.lines_of_pairs(1), ["30.0"]);
    }

    #[test]
    fn too_few_pairs_are_never_called_steady() {
        let one = samples(&[1.0]);
        let ratio = Ratio::of(Measure::Time, (&one, 1), (&one, 1));
        assert!(!ratio.has_quartiles() && !ratio.is_steady());
        assert_eq!(ratio.judgement(), Judgement::TooFew);
    }
}
