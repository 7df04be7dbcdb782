//! What came of a row, and whether that is what we promised, if we did.

use super::bench_cpu::OTHERS_CPUS_MAX;
use super::bench_numbers::{Measure, Peak, Ratio, Sample, quantile};

/// One side of a race.
#[derive(Debug, Clone)]
pub struct Entry {
    pub name: String,
    pub samples: Vec<Sample>,
    /// What a run moved; 0 where that is no transfer.
    pub bytes: u64,
    pub peak: Peak,
    /// Whether a server stood ready, whose CPU time and memory are told apart.
    pub has_server: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// What is not here.
    Missing(String),
    /// Why there is no figure.
    Failed(String),
    Raced {
        measure: Measure,
        ratio: Ratio,
        ours: Box<Entry>,
        rival: Box<Entry>,
        /// How many CPUs everybody else kept busy meanwhile, on average.
        others_cpus: f64,
    },
    /// Without a rival: less is better.
    Counted { values: Vec<f64>, unit: String },
}

/// What is said about a row in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Aim,
    Ok,
    Missed,
    /// Nothing was promised.
    Open,
    Missing,
    Failed,
}

impl Verdict {
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Aim => "aim",
            Self::Ok => "ok",
            Self::Missed => "MISSED must",
            Self::Open => "-",
            Self::Missing => "missing",
            Self::Failed => "FAILED",
        }
    }
}

/// A row with what came of it.
#[derive(Debug, Clone)]
pub struct Report {
    pub id: String,
    pub what: String,
    pub must: Option<f64>,
    pub aim: Option<f64>,
    pub outcome: Outcome,
}

impl Report {
    /// The figure that is compared with must and aim.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match &self.outcome {
            Outcome::Raced { ratio, .. } => Some(ratio.of_medians),
            Outcome::Counted { values, .. } if !values.is_empty() => Some(quantile(values, 0.5)),
            Outcome::Counted { .. } | Outcome::Missing(_) | Outcome::Failed(_) => None,
        }
    }

    /// Whether a larger figure is the better one.
    #[must_use]
    pub fn more_is_better(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Raced {
                measure: Measure::Throughput,
                ..
            }
        )
    }

    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Some(value) = self.value() else {
            return match self.outcome {
                Outcome::Missing(_) => Verdict::Missing,
                _ => Verdict::Failed,
            };
        };
        let reaches = |mark: f64| {
            if self.more_is_better() {
                value >= mark
            } else {
                value <= mark
            }
        };
        match (self.must, self.aim) {
            (Some(must), _) if !reaches(must) => Verdict::Missed,
            (_, Some(aim)) if reaches(aim) => Verdict::Aim,
            (Some(_), _) => Verdict::Ok,
            (None, _) => Verdict::Open,
        }
    }

    /// How many CPUs others kept busy, if it was so much that the row should not be believed.
    #[must_use]
    pub fn disturbance(&self) -> Option<f64> {
        match self.outcome {
            Outcome::Raced { others_cpus, .. } if others_cpus > OTHERS_CPUS_MAX => Some(others_cpus),
            _ => None,
        }
    }

    /// Whether the quartiles of a race do not agree.
    #[must_use]
    pub fn is_unsteady(&self) -> bool {
        matches!(&self.outcome, Outcome::Raced { ratio, .. } if ratio.has_quartiles() && !ratio.is_steady())
    }
}

#[cfg(test)]
pub mod samples {
    use super::*;

    /// A race of five pairs.
    pub fn raced(id: &str, measure: Measure, times: (f64, f64), marks: (Option<f64>, Option<f64>)) -> Report {
        let entry = |name: &str, seconds: f64| Entry {
            name: name.to_owned(),
            samples: vec![Sample::of(seconds); 5],
            bytes: 1 << 28,
            peak: Peak::default(),
            has_server: false,
        };
        let (ours, rival) = (
            entry("shmeld get", times.0),
            entry("cp <fast> & \"sure\"", times.1),
        );
        Report {
            id: id.to_owned(),
            what: "256 MiB".to_owned(),
            must: marks.0,
            aim: marks.1,
            outcome: Outcome::Raced {
                measure,
                ratio: Ratio::of(measure, (&ours.samples, 1), (&rival.samples, 1)),
                ours: Box::new(ours),
                rival: Box::new(rival),
                others_cpus: 0.0,
            },
        }
    }

    /// A row without a race.
    pub fn other(id: &str, outcome: Outcome) -> Report {
        Report {
            id: id.to_owned(),
            what: "something".to_owned(),
            must: Some(2.0),
            aim: Some(0.0),
            outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{other, raced};
    use super::*;

    #[test]
    fn less_time_and_more_throughput_reach_a_mark() {
        let verdict = |measure, ours, must, aim| raced("x", measure, (ours, 1.0), (must, aim)).verdict();
        let time = |ours, must, aim| verdict(Measure::Time, ours, must, aim);
        assert_eq!(time(0.9, Some(0.85), Some(0.65)), Verdict::Missed);
        assert_eq!(time(0.8, Some(0.85), Some(0.65)), Verdict::Ok);
        assert_eq!(time(0.6, Some(0.85), Some(0.65)), Verdict::Aim);
        assert_eq!(time(0.6, None, None), Verdict::Open);
        let throughput = |ours| verdict(Measure::Throughput, ours, Some(25.0), Some(50.0));
        assert_eq!(
            [1.0 / 20.0, 1.0 / 30.0, 1.0 / 60.0].map(throughput),
            [Verdict::Missed, Verdict::Ok, Verdict::Aim]
        );
    }

    #[test]
    fn counts_are_judged_by_their_median_and_absence_is_no_success() {
        let counted = |values: &[f64]| Outcome::Counted {
            values: values.to_vec(),
            unit: "a second".to_owned(),
        };
        assert_eq!(other("idle", counted(&[0.0, 0.0, 9.0])).verdict(), Verdict::Aim);
        assert_eq!(other("idle", counted(&[1.0])).verdict(), Verdict::Ok);
        assert_eq!(other("idle", counted(&[])).verdict(), Verdict::Failed);
        assert_eq!(
            other("x", Outcome::Missing("nginx".into())).verdict(),
            Verdict::Missing
        );
        assert_eq!(
            other("x", Outcome::Failed("why".into())).verdict(),
            Verdict::Failed
        );
    }
}
