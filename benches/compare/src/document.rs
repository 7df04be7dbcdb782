//! The results as one JSON object, with every run.

use serde_json::{Value, json};
use shmeld_cli::commands::bench_numbers::{Measure, mean, median_seconds, quantile};

use crate::judge::{Entry, Outcome, Report, Verdict};
use crate::machine::Machine;
use crate::options::CompareOptions;

/// See the module.
pub fn json(machine: &Machine, options: &CompareOptions, reports: &[Report]) -> Value {
    let count = |verdict| {
        reports
            .iter()
            .filter(|report| report.verdict() == verdict)
            .count()
    };
    json!({
        "machine": {
            "cpus": machine.cpus,
            "model": machine.model,
            "kernel": machine.kernel,
            "memory_bytes": machine.memory_bytes,
            "disk": machine.disk,
        },
        "size": options.size,
        "pairs": options.pairs,
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
    use crate::judge::samples::{other, raced};

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
