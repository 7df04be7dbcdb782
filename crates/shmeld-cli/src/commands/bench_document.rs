//! The results as one JSON object, with every run. docs/BENCHMARKS.md describes it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::bench_machine::Machine;
use super::bench_numbers::{Measure, mean, median_seconds, quantile};
use super::bench_plot::svg;
use super::bench_report::{Entry, Outcome, Report, Verdict};
use crate::program::refused;

/// Of one whole run.
#[derive(Debug)]
pub struct Results {
    pub machine: Machine,
    /// The length of the large file.
    pub bytes: u64,
    /// How many pairs of runs were asked for.
    pub pairs: u32,
    pub reports: Vec<Report>,
}

impl Results {
    /// Writes `bench.json` and the picture `bench.svg` into a directory.
    ///
    /// # Errors
    /// Which file, and what the kernel says.
    pub fn write(&self, directory: &Path) -> Result<(), String> {
        let write = |name: &str, content: String| {
            let path = directory.join(name);
            fs::write(&path, content)
                .map_err(|error| refused("write", &path.display().to_string(), &error).to_string())
        };
        write("bench.json", format!("{}\n", json(self)))?;
        write("bench.svg", svg(&self.machine, &self.reports))
    }
}

/// Makes the directory for the files.
///
/// # Errors
/// What the kernel says.
pub fn prepare(directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory)
        .map_err(|error| refused("mkdir", &directory.display().to_string(), &error).to_string())
}

/// See the module.
#[must_use]
pub fn json(results: &Results) -> Value {
    let Results { machine, reports, .. } = results;
    let count = |verdict| {
        reports
            .iter()
            .filter(|report| report.verdict() == verdict)
            .count()
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "machine": {
            "cpus": machine.cpus,
            "model": machine.model,
            "virtual": machine.is_virtual,
            "kernel": machine.kernel,
            "memory_bytes": machine.memory_bytes,
            "disk": machine.disk,
        },
        "size": results.bytes,
        "pairs": results.pairs,
        "missed": count(Verdict::Missed),
        "missing": count(Verdict::Missing),
        "failed": count(Verdict::Failed),
        "rows": reports.iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(report: &Report) -> Value {
    let mut object = json!({
        "row": report.id,
        "what": report.what,
        "must": report.must,
        "aim": report.aim,
        "verdict": report.verdict().text(),
    });
    let more = match &report.outcome {
        Outcome::Missing(what) => json!({ "missing": what }),
        Outcome::Failed(why) => json!({ "failed": why }),
        Outcome::Counted { values, unit } => {
            json!({ "figure": report.value(), "unit": unit, "values": values })
        }
        Outcome::Raced {
            measure,
            ratio,
            ours,
            rival,
            others_cpus,
        } => json!({
            "measure": match measure {
                Measure::Time => "time",
                Measure::Throughput => "throughput",
            },
            "ratio": ratio.of_medians,
            "first_quartile": ratio.first_quartile,
            "third_quartile": ratio.third_quartile,
            "steady": ratio.is_steady(),
            "disturbed": report.disturbance().is_some(),
            "others_cpus": others_cpus,
            "ratios": ratio.pairs,
            "ours": side(ours),
            "rival": side(rival),
        }),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

fn side(entry: &Entry) -> Value {
    let seconds: Vec<f64> = entry.samples.iter().map(|sample| sample.seconds).collect();
    json!({
        "name": entry.name,
        "bytes": entry.bytes,
        "median_seconds": median_seconds(&entry.samples),
        "quartile_seconds": [quantile(&seconds, 0.25), quantile(&seconds, 0.75)],
        "reader_cpu_seconds": mean(&entry.samples, |sample| sample.reader_cpu),
        "writer_cpu_seconds": mean(&entry.samples, |sample| sample.writer_cpu),
        "peak_bytes": entry.peak.clients.resident,
        "server_peak_bytes": entry.has_server.then_some(entry.peak.server.resident),
        "seconds": seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench_report::samples::{other, raced};

    #[test]
    fn every_pair_and_every_run_is_in_it() {
        let object = row(&raced("x", Measure::Time, (0.5, 1.0), (Some(0.85), None)));
        assert_eq!(object["ratios"], json!([0.5, 0.5, 0.5, 0.5, 0.5]));
        assert_eq!(object["rival"]["seconds"].as_array().map(Vec::len), Some(5));
        assert_eq!((&object["must"], &object["aim"]), (&json!(0.85), &Value::Null));
        let object = row(&other("y", Outcome::Missing("missing: nginx".to_owned())));
        assert_eq!(
            (&object["missing"], &object["verdict"]),
            (&json!("missing: nginx"), &json!("missing"))
        );
    }
}
