//! The table on the terminal and the same as JSON.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::row::{Obstacle, Row, Tally};

/// How many failures of a row are shown; all are in the JSON.
const FAILURES_SHOWN_MAX: usize = 5;

/// What came of all rows.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Value>,
    failures: usize,
    skipped: usize,
}

impl Report {
    /// The table's head.
    pub fn begin() -> Self {
        println!("{:<26} {:>8} {:>9} {:>8}", "row", "points", "failures", "seconds");
        Self::default()
    }

    /// One row, as soon as it is known.
    pub fn add(&mut self, row: &Row, outcome: Result<Tally, Obstacle>, took: Duration, all_required: bool) {
        let seconds = took.as_secs_f64();
        let tally = match outcome {
            Ok(tally) if tally.points == 0 && tally.failures.is_empty() => {
                broken("nothing was broken".to_owned())
            }
            Ok(tally) => tally,
            Err(Obstacle::Needs(what)) if !all_required => {
                println!("{:<26} skipped: needs {what}", row.name);
                self.skipped += 1;
                self.rows.push(json!({"row": row.name, "skipped": what}));
                return;
            }
            Err(Obstacle::Needs(what)) => broken(format!("needs {what}, and nothing may be skipped")),
            Err(Obstacle::Broken(reason)) => broken(reason),
        };
        println!(
            "{:<26} {:>8} {:>9} {seconds:>8.1}  {}",
            row.name,
            tally.points,
            tally.failures.len(),
            figures(&tally)
        );
        for failure in tally.failures.iter().take(FAILURES_SHOWN_MAX) {
            println!("    {}", failure.trim_end().replace('\n', "\n        "));
        }
        if tally.failures.len() > FAILURES_SHOWN_MAX {
            println!("    and {} more", tally.failures.len() - FAILURES_SHOWN_MAX);
        }
        self.failures += tally.failures.len();
        self.rows.push(json!({
            "row": row.name, "about": row.about, "points": tally.points, "failures": tally.failures,
            "figures": tally.figures.iter().map(|(name, value)| (*name, value.clone())).collect::<std::collections::BTreeMap<_, _>>(),
            "seconds": seconds,
        }));
    }

    /// Writes the JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path, seed: u64, full: bool) -> Result<(), String> {
        let document = json!({"seed": seed, "full": full, "rows": self.rows});
        let text = format!("{document:#}\n");
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The last line; whether everything held.
    pub fn end(&self) -> bool {
        let (rows, failures, skipped) = (self.rows.len(), self.failures, self.skipped);
        println!("chaos: {rows} rows, {failures} failures, {skipped} skipped");
        failures == 0
    }
}

fn broken(reason: String) -> Tally {
    Tally {
        failures: vec![format!("the row could not be run: {reason}")],
        ..Tally::default()
    }
}

fn figures(tally: &Tally) -> String {
    let shown = tally
        .figures
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    shown.collect::<Vec<_>>().join(", ")
}
