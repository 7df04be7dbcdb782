//! The results of the bench as a table for people and as one JSON object for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::bench_numbers::{Measure, Ratio, Sample, mean, median_seconds};
use super::bench_race::{Contestant, Placement};
use crate::args::BenchArgs;
use crate::values::show_size;

/// What is compared with what.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    pub ours: Contestant,
    pub rival: Contestant,
    pub measure: Measure,
    /// `None` if this machine cannot.
    pub placement: Option<Placement>,
}

/// What came of a row.
#[derive(Debug)]
pub enum Outcome {
    /// What it needs and is not here.
    Skipped(&'static str),
    /// Paired runs.
    Measured {
        ours_bytes: u64,
        ours: Vec<Sample>,
        theirs_bytes: u64,
        theirs: Vec<Sample>,
    },
}

/// A row and what came of it.
#[derive(Debug)]
pub struct RowResult {
    pub row: Row,
    pub outcome: Outcome,
}

impl Contestant {
    fn name(self) -> String {
        match self {
            Self::Ours { region_bytes: 4096 } => "shmeld get --region 4096".to_owned(),
            Self::Ours { .. } => "shmeld get".to_owned(),
            Self::LockStep => "lock-step semaphores".to_owned(),
            Self::Copy => "cp".to_owned(),
        }
    }
}

fn ratio_of(row: &Row, ours: (&[Sample], u64), theirs: (&[Sample], u64)) -> Ratio {
    Ratio::of(row.measure, ours, theirs)
}

fn mib_per_second(bytes: u64, seconds: f64) -> f64 {
    bytes as f64 / f64::from(1 << 20) / seconds.max(f64::MIN_POSITIVE)
}

/// Prints the table.
///
/// # Errors
/// Standard output is closed.
pub fn print_text(args: &BenchArgs, results: &[RowResult]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "shmeld bench: {} on tmpfs, {} pairs of runs a row in random order\n",
        show_size(args.size),
        args.pairs
    )?;
    writeln!(
        out,
        "{:<27} {:>9} {:>9} {:>9}   CPU s client+server",
        "", "bytes", "median s", "MiB/s"
    )?;
    for RowResult { row, outcome } in results {
        write_row(&mut out, row, outcome)?;
    }
    writeln!(
        out,
        "Whole client processes from start to exit, warm files, memory touched before.\n\
         Lock-step: 3744 bytes a turn through one page, a blocking semaphore each way."
    )
}

fn write_row(out: &mut impl Write, row: &Row, outcome: &Outcome) -> io::Result<()> {
    let (ours, ours_bytes, theirs, theirs_bytes) = match outcome {
        Outcome::Skipped(need) => return writeln!(out, "{}\n  skipped: {need}\n", row.name),
        Outcome::Measured {
            ours,
            ours_bytes,
            theirs,
            theirs_bytes,
        } => (ours, *ours_bytes, theirs, *theirs_bytes),
    };
    writeln!(out, "{}", row.name)?;
    write_contestant(out, row.ours, ours, ours_bytes)?;
    write_contestant(out, row.rival, theirs, theirs_bytes)?;
    let ratio = ratio_of(row, (ours, ours_bytes), (theirs, theirs_bytes));
    let (digits, what) = match row.measure {
        Measure::Throughput => (1, "times the throughput"),
        Measure::Time => (2, "times the time"),
    };
    writeln!(
        out,
        "  = {:.digits$} {what} (quartiles {:.digits$} to {:.digits$})",
        ratio.of_medians, ratio.first_quartile, ratio.third_quartile
    )?;
    if !ratio.has_quartiles() {
        writeln!(out, "  too few pairs for quartiles")?;
    } else if !ratio.is_steady() {
        writeln!(
            out,
            "  unsteady: quartiles {:.0} % apart; is the machine busy? take more --pairs",
            ratio.spread() * 100.0
        )?;
    }
    writeln!(out)
}

fn write_contestant(
    out: &mut impl Write,
    contestant: Contestant,
    samples: &[Sample],
    bytes: u64,
) -> io::Result<()> {
    let seconds = median_seconds(samples);
    let reader = mean(samples, |sample| sample.reader_cpu);
    let writer = mean(samples, |sample| sample.writer_cpu);
    let cpu = if contestant == Contestant::Copy {
        format!("{reader:.3}")
    } else {
        format!("{reader:.3} + {writer:.3}")
    };
    writeln!(
        out,
        "  {:<25} {:>9} {seconds:>9.4} {:>9.0}   {cpu}",
        contestant.name(),
        show_size(bytes),
        mib_per_second(bytes, seconds)
    )
}

/// Prints one JSON object.
///
/// # Errors
/// Standard output is closed.
pub fn print_json(args: &BenchArgs, results: &[RowResult]) -> io::Result<()> {
    let rows: Vec<Value> = results.iter().map(row_as_json).collect();
    let object = json!({"size": args.size, "pairs": args.pairs, "rows": rows});
    writeln!(io::stdout(), "{object}")
}

fn row_as_json(result: &RowResult) -> Value {
    let row = &result.row;
    let measure = match row.measure {
        Measure::Throughput => "throughput",
        Measure::Time => "time",
    };
    match &result.outcome {
        Outcome::Skipped(need) => json!({"name": row.name, "measure": measure, "skipped": need}),
        Outcome::Measured {
            ours,
            ours_bytes,
            theirs,
            theirs_bytes,
        } => {
            let ratio = ratio_of(row, (ours, *ours_bytes), (theirs, *theirs_bytes));
            json!({
                "name": row.name,
                "measure": measure,
                "ratio": ratio.of_medians,
                "first_quartile": ratio.first_quartile,
                "third_quartile": ratio.third_quartile,
                "steady": ratio.is_steady(),
                "ours": contestant_as_json(row.ours, ours, *ours_bytes),
                "rival": contestant_as_json(row.rival, theirs, *theirs_bytes),
            })
        }
    }
}

fn contestant_as_json(contestant: Contestant, samples: &[Sample], bytes: u64) -> Value {
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    json!({
        "name": contestant.name(),
        "bytes": bytes,
        "seconds": seconds,
        "median_seconds": median_seconds(samples),
        "reader_cpu_seconds": mean(samples, |sample| sample.reader_cpu),
        "writer_cpu_seconds": mean(samples, |sample| sample.writer_cpu),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ours: f64, theirs: [f64; 5]) -> Outcome {
        let sample = |seconds| Sample {
            seconds,
            reader_cpu: 0.1,
            writer_cpu: 0.2,
        };
        Outcome::Measured {
            ours_bytes: 1 << 28,
            ours: vec![sample(ours); 5],
            theirs_bytes: 1 << 28,
            theirs: theirs.map(sample).to_vec(),
        }
    }

    fn row() -> Row {
        Row {
            name: "1 MiB region, two CPUs",
            ours: Contestant::Ours {
                region_bytes: 1 << 20,
            },
            rival: Contestant::Copy,
            measure: Measure::Time,
            placement: None,
        }
    }

    fn text(outcome: &Outcome) -> String {
        let mut out = Vec::new();
        write_row(&mut out, &row(), outcome).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_row_that_cannot_be_measured_says_what_it_needs() {
        let text = text(&Outcome::Skipped("needs two CPUs"));
        assert!(text.contains("skipped: needs two CPUs"), "{text}");
    }

    #[test]
    fn quartiles_that_disagree_are_pointed_out() {
        let steady = text(&measured(0.1, [0.2; 5]));
        assert!(
            steady.contains("= 0.50 times the time (quartiles 0.50 to 0.50)"),
            "{steady}"
        );
        assert!(!steady.contains("unsteady"), "{steady}");
        let unsteady = text(&measured(0.1, [0.1, 0.1, 0.2, 0.4, 0.4]));
        assert!(unsteady.contains("unsteady"), "{unsteady}");
    }

    #[test]
    fn lines_fit_a_terminal() {
        let text = text(&measured(1234.5678, [1.0, 1.0, 2000.0, 9999.0, 9999.0]));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }

    #[test]
    fn json_has_every_measured_second() {
        let result = RowResult {
            row: row(),
            outcome: measured(0.1, [0.1, 0.1, 0.2, 0.4, 0.4]),
        };
        let object = row_as_json(&result);
        assert_eq!(object["rival"]["seconds"], json!([0.1, 0.1, 0.2, 0.4, 0.4]));
        assert_eq!(
            (&object["ratio"], &object["steady"]),
            (&json!(0.5), &json!(false))
        );
    }
}
