//! The results for a terminal.

use std::fmt::Write;

use super::bench_document::Results;
use super::bench_numbers::{Measure, Ratio, mean, median_seconds};
use super::bench_report::{Entry, Outcome, Report};
use crate::values::show_size;

/// Columns of the lines of ratios.
const COLUMNS: usize = 76;

/// What stands above everything; there are no reports yet.
#[must_use]
pub fn head(results: &Results) -> String {
    format!(
        "{}, memory {}\nFile of {}; {} pairs of runs a row or more, in random order\n\
         Whole client processes from start to exit, warm files, memory touched before.\n\
         CPU seconds and peak memory as client + server, regions and programs included.\n",
        results.machine.in_words(),
        show_size(results.machine.memory_bytes),
        show_size(results.bytes),
        results.pairs
    )
}

/// A row, as soon as it is measured.
#[must_use]
pub fn row(report: &Report) -> String {
    let mut text = format!("{}: {}\n", report.id, report.what);
    match &report.outcome {
        Outcome::Missing(what) => text += &format!("  {what}\n"),
        Outcome::Failed(why) => text += &format!("  FAILED: {why}\n"),
        Outcome::Raced {
            measure,
            ratio,
            ours,
            rival,
            ..
        } => {
            let columns = ours.name.chars().count().max(rival.name.chars().count());
            text += &entry(ours, columns);
            text += &entry(rival, columns);
            text += &peaks(ours, rival);
            text += &race(report, *measure, ratio);
        }
        Outcome::Counted { values, unit } => {
            let value = report.value().unwrap_or_default();
            text += &format!("  = {value:.2} {unit}{}\n", marks(report));
            let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            if all.len() > 1 {
                text += &format!("    {}\n", all.join(" "));
            }
        }
    }
    text
}

/// A side, its name as wide as the longer one of both.
fn entry(entry: &Entry, columns: usize) -> String {
    let seconds = median_seconds(&entry.samples);
    let mut text = format!("  {:<columns$} {}", entry.name, show_time(seconds));
    if entry.bytes > 0 {
        let speed = entry.bytes as f64 / f64::from(1 << 20) / seconds.max(f64::MIN_POSITIVE);
        let reader = mean(&entry.samples, |sample| sample.reader_cpu);
        let writer = mean(&entry.samples, |sample| sample.writer_cpu);
        let _ = write!(text, " {speed:>6.0} MiB/s  CPU {reader:.4}");
        if entry.has_server || writer > 0.0 {
            let _ = write!(text, " + {writer:.4}");
        }
        text += " s";
    }
    text.trim_end().to_owned() + "\n"
}

/// The peak memory of both sides of a transfer.
fn peaks(ours: &Entry, rival: &Entry) -> String {
    if ours.bytes == 0 {
        return String::new();
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let peak = |entry: &Entry| {
        let server = format!(" + {:.1}", mib(entry.peak.server.resident));
        let server = if entry.has_server { server } else { String::new() };
        format!("{:.1}{server}", mib(entry.peak.clients.resident))
    };
    format!("  peak memory {} MiB; {} MiB\n", peak(ours), peak(rival))
}

fn show_time(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 0.1 => format!("{seconds:>7.3} s "),
        _ if seconds >= 1e-4 => format!("{:>7.3} ms", seconds * 1e3),
        _ => format!("{:>7.3} us", seconds * 1e6),
    }
}

fn race(report: &Report, measure: Measure, ratio: &Ratio) -> String {
    let what = match measure {
        Measure::Throughput => "times the throughput",
        Measure::Time => "times the time",
    };
    let digits = ratio.digits();
    let mut text = format!(
        "  = {:.digits$} {what} (quartiles {:.digits$} to {:.digits$}, {} pairs){}\n",
        ratio.of_medians,
        ratio.first_quartile,
        ratio.third_quartile,
        ratio.pairs.len(),
        marks(report)
    );
    if ratio.pairs.len() <= 99 {
        for line in ratio.lines_of_pairs(COLUMNS) {
            text += &format!("    {line}\n");
        }
    }
    if let Some(cpus) = report.disturbance() {
        text += &format!("  disturbed: other programs kept {cpus:.1} CPUs busy meanwhile\n");
    }
    if report.is_unsteady() {
        text += &format!(
            "  unsteady: quartiles {:.0} % apart; is the machine busy? take more --pairs\n",
            ratio.spread() * 100.0
        );
    } else if !ratio.has_quartiles() {
        text += "  too few pairs for quartiles\n";
    }
    text
}

/// What was promised, and whether it holds.
fn marks(report: &Report) -> String {
    let sign = if report.more_is_better() { "≥" } else { "≤" };
    let mark = |name, mark: Option<f64>| mark.map(|mark| format!("{name} {sign} {mark}"));
    let marks: Vec<String> = [mark("must", report.must), mark("aim", report.aim)]
        .into_iter()
        .flatten()
        .collect();
    if marks.is_empty() {
        String::new()
    } else {
        format!("; {}: {}", marks.join(", "), report.verdict().text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench_report::samples::{other, raced};

    #[test]
    fn row_has_medians_quartiles_pairs_marks_and_verdict() {
        let report = raced("large-cp", Measure::Time, (0.5, 1.0), (Some(0.85), Some(0.4)));
        let text = row(&report);
        let line = "= 0.50 times the time (quartiles 0.50 to 0.50, 5 pairs); must ≤ 0.85, aim ≤ 0.4: ok";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("    0.50 0.50 0.50 0.50 0.50\n"), "{text}");
        assert!(
            text.contains("shmeld get") && text.contains("512 MiB/s"),
            "{text}"
        );
    }

    #[test]
    fn lines_fit_a_terminal_and_nothing_is_judged_that_was_not_promised() {
        let report = raced("one page", Measure::Throughput, (1234.5678, 1.0), (None, None));
        let text = row(&report);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains(", 5 pairs)\n"), "{text}");
        assert!(text.contains("  peak memory 0.0 MiB; 0.0 MiB\n"), "{text}");
    }

    #[test]
    fn quartiles_that_disagree_and_other_programs_are_pointed_out() {
        let mut report = raced("x", Measure::Time, (0.1, 0.2), (None, None));
        assert!(!row(&report).contains("unsteady") && !row(&report).contains("disturbed"));
        if let Outcome::Raced {
            ratio, others_cpus, ..
        } = &mut report.outcome
        {
            (ratio.third_quartile, *others_cpus) = (1.0, 0.5);
        }
        let text = row(&report);
        assert!(text.contains("unsteady: quartiles 100 % apart"), "{text}");
        assert!(
            text.contains("disturbed: other programs kept 0.5 CPUs busy"),
            "{text}"
        );
    }

    #[test]
    fn a_row_that_cannot_be_measured_says_what_it_needs() {
        let report = other("two CPUs", Outcome::Missing("missing: needs two CPUs".to_owned()));
        assert_eq!(row(&report), "two CPUs: something\n  missing: needs two CPUs\n");
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        assert_eq!(show_time(0.25), "  0.250 s ");
        assert_eq!(show_time(0.0125), " 12.500 ms");
        assert_eq!(show_time(2.5e-7), "  0.250 us");
    }
}
