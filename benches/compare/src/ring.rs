//! Rows that the program of benches/ring measures: it prints one JSON object a line, and we read them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use shmeld::file::Interrupt;
use shmeld_cli::commands::bench_numbers::{Measure, Peak, Ratio, Sample};
use shmeld_cli::commands::bench_report::{Entry, Outcome, Report};
use shmeld_cli::commands::demo_process::{Owned, Trouble};

use crate::options::CompareOptions;

/// Runs it, if rows of the ring are wanted; one report of why not, if it is not there.
pub fn measure(options: &CompareOptions, interrupt: &Interrupt) -> Result<Vec<Report>, Trouble> {
    let absent = |outcome| Report {
        id: "ring".to_owned(),
        what: "the ring by itself, against bare atomics, iceoryx2, pipes and sockets".to_owned(),
        must: None,
        aim: None,
        outcome,
    };
    if !options.wants("ring") && !options.rows.as_deref().is_some_and(|rows| rows.contains("ring")) {
        return Ok(Vec::new());
    }
    let Some(program) = &options.ring else {
        let reason = options.no_ring.as_deref().unwrap_or("not built");
        return Ok(vec![absent(Outcome::Missing(format!(
            "missing: benches/ring ({reason})"
        )))]);
    };
    let outcome = run(program, options);
    interrupt.check().map_err(|_| Trouble::Interrupted)?;
    match outcome {
        Ok(reports) => Ok(reports
            .into_iter()
            .filter(|report| options.wants(&report.id))
            .collect()),
        Err(message) => Ok(vec![absent(Outcome::Failed(message))]),
    }
}

fn run(program: &Path, options: &CompareOptions) -> Result<Vec<Report>, String> {
    let mut command = Command::new(program);
    command.args(["--json", "--pairs", &options.pairs.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let mut child = Owned(child);
    let mut reports = Vec::new();
    if let Some(stdout) = child.0.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("read from the ring's bench: {error}"))?;
            if let Some(report) = parse(&line)? {
                reports.push(report);
            }
        }
    }
    let status = child.0.wait().map_err(|error| error.to_string())?;
    if status.success() || !reports.is_empty() {
        Ok(reports)
    } else {
        Err(format!("the ring's bench: {status}"))
    }
}

/// A line of its output; `None` if it is blank.
fn parse(line: &str) -> Result<Option<Report>, String> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let bad = |what: &str| format!("the ring's bench: {what} in {line:?}");
    let object: Value = serde_json::from_str(line).map_err(|error| bad(&error.to_string()))?;
    let name = object["row"].as_str().ok_or_else(|| bad("no row"))?;
    let mut report = Report {
        id: if name.starts_with("ring") {
            name.to_owned()
        } else {
            format!("ring: {name}")
        },
        what: object["unit"].as_str().unwrap_or("seconds").to_owned(),
        must: object["must"].as_f64(),
        aim: object["aim"].as_f64(),
        outcome: Outcome::Failed(String::new()),
    };
    if let Some(reason) = object["missing"].as_str().or_else(|| object["skipped"].as_str()) {
        report.outcome = Outcome::Missing(format!("missing: {reason}"));
        return Ok(Some(report));
    }
    let (ours, rival) = (entry(&object["ours"]), entry(&object["rival"]));
    let (Some(ours), Some(rival)) = (ours, rival) else {
        return Err(bad("no samples"));
    };
    let measure = match object["measure"].as_str() {
        Some("throughput") => Measure::Throughput,
        _ => Measure::Time,
    };
    report.outcome = Outcome::Raced {
        measure,
        ratio: Ratio::of(measure, (&ours.samples, 1), (&rival.samples, 1)),
        ours: Box::new(ours),
        rival: Box::new(rival),
        // That program does not tell.
        others_cpus: 0.0,
    };
    Ok(Some(report))
}

fn entry(object: &Value) -> Option<Entry> {
    let seconds: Option<Vec<f64>> = object["samples"].as_array()?.iter().map(Value::as_f64).collect();
    let samples: Vec<Sample> = seconds?.into_iter().map(Sample::of).collect();
    if samples.is_empty() {
        return None;
    }
    Some(Entry {
        name: object["name"].as_str()?.to_owned(),
        samples,
        bytes: 0,
        peak: Peak::default(),
        has_server: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmeld_cli::commands::bench_report::Verdict;

    #[test]
    fn line_becomes_a_row() {
        let line = r#"{"row":"echo 64 B, bare","ours":{"name":"ring","samples":[2e-7,2e-7,2e-7,2e-7,2e-7]},
            "rival":{"name":"bare atomics","samples":[1e-7,1e-7,1e-7,1e-7,1e-7]},"must":2,"aim":1.3,"unit":"s a turn"}"#;
        let report = parse(line).expect("sound").expect("a row");
        assert_eq!(
            (report.id.as_str(), report.verdict()),
            ("ring: echo 64 B, bare", Verdict::Ok)
        );
        assert_eq!(report.value(), Some(2.0));
    }

    #[test]
    fn what_is_no_row_is_an_error_and_what_is_missing_is_named() {
        assert!(parse("nonsense").is_err() && parse("{}").is_err());
        assert!(parse(r#"{"row":"x","ours":{"name":"a","samples":[]},"rival":{}}"#).is_err());
        assert!(parse("").is_ok_and(|none| none.is_none()));
        let missing = parse(r#"{"row":"x","missing":"iceoryx2"}"#)
            .expect("sound")
            .expect("a row");
        assert_eq!(missing.verdict(), Verdict::Missing);
    }
}
