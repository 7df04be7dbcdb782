//! The results for a terminal.

use std::fmt::Write;

use shmeld_cli::commands::bench_numbers::{Measure, Ratio, mean, median_seconds};
use shmeld_cli::values::show_size;

use crate::judge::{Entry, Outcome, Report, Verdict};
use crate::machine::Machine;
use crate::options::CompareOptions;

/// Columns of the lines of ratios.
const COLUMNS: usize = 100;

/// What stands above everything.
pub fn head(machine: &Machine, options: &CompareOptions) -> String {
    format!(
        "{} CPUs ({}), {}, Linux {}; disk: {}\nlarge file {}; at least {} pairs of runs a row, in random order; \
         CPU seconds and peak memory as client + server\n",
        machine.cpus,
        machine.model,
        show_size(machine.memory_bytes),
        machine.kernel,
        machine.disk,
        show_size(options.size),
        options.pairs
    )
}

/// A row, as soon as it is measured.
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
            text += &entry(ours);
            text += &entry(rival);
            text += &race(report, *measure, ratio);
        }
        Outcome::Counted { values, unit } => {
            let value = report.value().unwrap_or_default();
            text += &format!(
                "  = {value:.2} {unit}{}: {}\n",
                marks(report),
                report.verdict().text()
            );
            let all: Vec<String> = values.iter().map(|value| format!("{value:.2}")).collect();
            if all.len() > 1 {
                text += &format!("    {}\n", all.join(" "));
            }
        }
    }
    text
}

fn entry(entry: &Entry) -> String {
    let seconds = median_seconds(&entry.samples);
    let mut text = format!("  {:<38} {}", entry.name, show_time(seconds));
    if entry.bytes > 0 {
        let speed = entry.bytes as f64 / f64::from(1 << 20) / seconds.max(f64::MIN_POSITIVE);
        let reader = mean(&entry.samples, |sample| sample.reader_cpu);
        let writer = mean(&entry.samples, |sample| sample.writer_cpu);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let _ = write!(text, " {speed:>6.0} MiB/s  CPU {reader:.4}");
        if writer > 0.0 {
            let _ = write!(text, " + {writer:.4}");
        }
        let _ = write!(text, " s  peak {:.1}", mib(entry.peak.clients.resident));
        if entry.has_server {
            let _ = write!(text, " + {:.1}", mib(entry.peak.server.resident));
        }
        text += " MiB";
    }
    text + "\n"
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
        "  = {:.digits$} {what} (quartiles {:.digits$} to {:.digits$}, {} pairs){}: {}\n",
        ratio.of_medians,
        ratio.first_quartile,
        ratio.third_quartile,
        ratio.pairs.len(),
        marks(report),
        report.verdict().text()
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
        text += &format!("  unsteady: quartiles {:.0} % apart\n", ratio.spread() * 100.0);
    } else if !ratio.has_quartiles() {
        text += "  too few pairs for quartiles\n";
    }
    text
}

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
        format!("; {}", marks.join(", "))
    }
}

/// One line a row, and how many of each kind there are.
pub fn summary(reports: &[Report]) -> String {
    let columns = reports
        .iter()
        .map(|report| report.id.chars().count())
        .max()
        .unwrap_or_default();
    let mut text = format!(
        "{:<columns$} {:>9} {:>8} {:>8}  verdict\n",
        "row", "figure", "must", "aim"
    );
    for report in reports {
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let unsteady = if report.is_unsteady() { ", unsteady" } else { "" };
        let disturbed = report.disturbance().map_or("", |_| ", disturbed");
        let _ = writeln!(
            text,
            "{:<columns$} {:>9} {:>8} {:>8}  {}{unsteady}{disturbed}",
            report.id,
            show(report.value()),
            show(report.must),
            show(report.aim),
            report.verdict().text()
        );
    }
    let count = |verdict| {
        reports
            .iter()
            .filter(|report| report.verdict() == verdict)
            .count()
    };
    let unsteady = reports.iter().filter(|report| report.is_unsteady()).count();
    let _ = write!(
        text,
        "{} rows: {} reach the aim, {} are ok, {} miss what they must, {} without a mark, {} missing, {} failed; {unsteady} unsteady",
        reports.len(),
        count(Verdict::Aim),
        count(Verdict::Ok),
        count(Verdict::Missed),
        count(Verdict::Open),
        count(Verdict::Missing),
        count(Verdict::Failed)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::samples::{other, raced};

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
    fn summary_counts_what_is_missing_and_what_is_missed() {
        let reports = [
            raced("slow", Measure::Time, (2.0, 1.0), (Some(1.0), None)),
            raced("fast", Measure::Throughput, (0.01, 1.0), (Some(25.0), Some(50.0))),
            other(
                "web",
                Outcome::Missing("missing: nginx (apt-get install nginx-light)".to_owned()),
            ),
        ];
        let text = summary(&reports);
        assert!(
            text.contains("MISSED must") && text.contains("missing\n"),
            "{text}"
        );
        assert!(text.contains(
            "3 rows: 1 reach the aim, 0 are ok, 1 miss what they must, 0 without a mark, 1 missing"
        ));
        assert!(row(&reports[2]).contains("missing: nginx (apt-get install nginx-light)"));
    }

    #[test]
    fn times_have_a_unit_that_suits_them() {
        assert_eq!(show_time(0.25), "  0.250 s ");
        assert_eq!(show_time(0.0125), " 12.500 ms");
        assert_eq!(show_time(2.5e-7), "  0.250 us");
    }
}
