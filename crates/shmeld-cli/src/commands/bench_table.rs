//! The results of the bench as a table for people and as one JSON object for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::bench_cpu::OTHERS_CPUS_MAX;
use super::bench_numbers::{Measure, Peak, Ratio, Sample, mean, median_seconds};
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
        ratio: Ratio,
        ours: Runs,
        theirs: Runs,
        /// How many CPUs everybody else kept busy meanwhile.
        others_cpus: f64,
    },
}

/// The runs of one contestant.
#[derive(Debug)]
pub struct Runs {
    pub samples: Vec<Sample>,
    /// What each run moved.
    pub bytes: u64,
    /// Memory, in a run that was not timed.
    pub peak: Peak,
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
        "shmeld bench: {} on tmpfs, {} pairs of runs a row or more, in random order\n",
        show_size(args.size),
        args.pairs
    )?;
    writeln!(
        out,
        "{:<25} {:>9} {:>8} {:>6}  {:<14} {:>9}",
        "", "bytes", "median s", "MiB/s", "CPU s, +server", "peak MiB"
    )?;
    for RowResult { row, outcome } in results {
        write_row(&mut out, row, outcome)?;
    }
    writeln!(
        out,
        "Whole client processes from start to exit, warm files, memory touched before.\n\
         Peak: resident memory of the processes, region and program files included.\n\
         Lock-step: 3744 bytes a turn through one page, a blocking semaphore each way."
    )
}

fn write_row(out: &mut impl Write, row: &Row, outcome: &Outcome) -> io::Result<()> {
    let (ratio, ours, theirs, others_cpus) = match outcome {
        Outcome::Skipped(need) => return writeln!(out, "{}\n  skipped: {need}\n", row.name),
        Outcome::Measured {
            ratio,
            ours,
            theirs,
            others_cpus,
        } => (ratio, ours, theirs, *others_cpus),
    };
    writeln!(out, "{}", row.name)?;
    write_contestant(out, row.ours, ours)?;
    write_contestant(out, row.rival, theirs)?;
    let what = match row.measure {
        Measure::Throughput => "times the throughput",
        Measure::Time => "times the time",
    };
    let digits = ratio.digits();
    writeln!(
        out,
        "  = {:.digits$} {what} (quartiles {:.digits$} to {:.digits$}, {} pairs)",
        ratio.of_medians,
        ratio.first_quartile,
        ratio.third_quartile,
        ratio.pairs.len()
    )?;
    for line in ratio.lines_of_pairs(76) {
        writeln!(out, "    {line}")?;
    }
    if others_cpus > OTHERS_CPUS_MAX {
        writeln!(
            out,
            "  disturbed: other programs kept {others_cpus:.1} CPUs busy meanwhile"
        )?;
    }
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

fn write_contestant(out: &mut impl Write, contestant: Contestant, runs: &Runs) -> io::Result<()> {
    let seconds = median_seconds(&runs.samples);
    let reader = mean(&runs.samples, |sample| sample.reader_cpu);
    let writer = mean(&runs.samples, |sample| sample.writer_cpu);
    let (cpu, peak) = match contestant {
        Contestant::Ours { .. } => (format!("{reader:.3} + {writer:.3}"), show_peak(runs.peak)),
        Contestant::LockStep => (
            format!("{reader:.3} + {writer:.3}"),
            show_mib(runs.peak.clients.resident),
        ),
        Contestant::Copy => (format!("{reader:.3}"), show_mib(runs.peak.clients.resident)),
    };
    writeln!(
        out,
        "  {:<23} {:>9} {seconds:>8.4} {:>6.0}  {cpu:<14} {peak:>9}",
        contestant.name(),
        show_size(runs.bytes),
        mib_per_second(runs.bytes, seconds)
    )
}

fn show_mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn show_peak(peak: Peak) -> String {
    format!(
        "{}+{}",
        show_mib(peak.clients.resident),
        show_mib(peak.server.resident)
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
            ratio,
            ours,
            theirs,
            others_cpus,
        } => json!({
            "name": row.name,
            "measure": measure,
            "ratio": ratio.of_medians,
            "first_quartile": ratio.first_quartile,
            "third_quartile": ratio.third_quartile,
            "steady": ratio.is_steady(),
            "ratios": ratio.pairs,
            "others_cpus": others_cpus,
            "ours": contestant_as_json(row.ours, ours),
            "rival": contestant_as_json(row.rival, theirs),
        }),
    }
}

fn contestant_as_json(contestant: Contestant, runs: &Runs) -> Value {
    let seconds: Vec<f64> = runs.samples.iter().map(|sample| sample.seconds).collect();
    json!({
        "name": contestant.name(),
        "bytes": runs.bytes,
        "seconds": seconds,
        "median_seconds": median_seconds(&runs.samples),
        "reader_cpu_seconds": mean(&runs.samples, |sample| sample.reader_cpu),
        "writer_cpu_seconds": mean(&runs.samples, |sample| sample.writer_cpu),
        "peak_bytes": runs.peak.clients.resident,
        "server_peak_bytes": runs.peak.server.resident,
    })
}

#[cfg(test)]
mod tests {
    use super::super::bench_numbers::Memory;
    use super::*;

    fn measured(ours: f64, theirs: [f64; 5]) -> Outcome {
        let sample = |seconds| Sample {
            seconds,
            reader_cpu: 0.1,
            writer_cpu: 0.2,
        };
        let (ours, theirs) = (vec![sample(ours); 5], theirs.map(sample).to_vec());
        let memory = |resident| Memory {
            resident,
            beyond_regions: 0,
        };
        let run = |samples| Runs {
            samples,
            bytes: 1 << 28,
            peak: Peak {
                clients: memory(123 << 20),
                largest_client: memory(0),
                server: memory(45 << 20),
            },
        };
        Outcome::Measured {
            ratio: Ratio::of(Measure::Time, (&ours, 1 << 28), (&theirs, 1 << 28)),
            ours: run(ours),
            theirs: run(theirs),
            others_cpus: 0.5,
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
            steady.contains("= 0.50 times the time (quartiles 0.50 to 0.50, 5 pairs)"),
            "{steady}"
        );
        assert!(steady.contains("    0.50 0.50 0.50 0.50 0.50\n"), "{steady}");
        assert!(steady.contains("123.0+45.0"), "{steady}");
        assert!(
            steady.contains("disturbed: other programs kept 0.5 CPUs busy"),
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
        assert_eq!(object["ratios"].as_array().map(Vec::len), Some(5));
        assert_eq!(object["ours"]["server_peak_bytes"], 45 << 20);
        assert_eq!(object["rival"]["seconds"], json!([0.1, 0.1, 0.2, 0.4, 0.4]));
        assert_eq!(
            (&object["ratio"], &object["steady"]),
            (&json!(0.5), &json!(false))
        );
    }
}
