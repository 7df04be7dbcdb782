//! All results in a table for a terminal.

use std::fmt::Write;

use shmeld_cli::commands::bench_report::{Report, Verdict};

/// One line a row, and how many of each kind there are.
pub fn text(reports: &[Report]) -> String {
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
    use shmeld_cli::commands::bench_report::Outcome;

    #[test]
    fn summary_counts_what_is_missing_and_what_is_missed() {
        let report = |id: &str, outcome| Report {
            id: id.to_owned(),
            what: "something".to_owned(),
            must: Some(2.0),
            aim: Some(1.0),
            outcome,
        };
        let counted = |value| Outcome::Counted {
            values: vec![value],
            unit: "MiB".to_owned(),
        };
        let text = text(&[
            report("slow", counted(3.0)),
            report("fast", counted(0.5)),
            report("web", Outcome::Missing("missing: nginx".to_owned())),
        ]);
        assert!(
            text.contains("slow      3.00     2.00     1.00  MISSED must\n"),
            "{text}"
        );
        assert!(text.contains("  missing\n"), "{text}");
        assert!(text.contains(
            "3 rows: 1 reach the aim, 0 are ok, 1 miss what they must, 0 without a mark, 1 missing"
        ));
    }
}
