//! The figures, for people and as JSON.

use std::fmt;

use serde_json::{Value, json};

/// What the bridge must reach, as a part of the throughput of others in the same run.
const MARKS: [(usize, f64); 2] = [(1, 0.7), (3, 0.5)];

/// All figures of a run; the bridge's row is the first.
pub struct Report {
    pub rows: Vec<Row>,
    /// Seconds for 2 GiB of which most is a hole.
    pub holes: f64,
    pub resident: Resident,
}

/// Peaks of memory, program files included.
pub struct Resident {
    pub export_kib: u64,
    pub import_kib: u64,
}

/// One way for the file, with the seconds of each round.
pub struct Row {
    name: String,
    size: u64,
    pub seconds: Vec<f64>,
}

impl Row {
    pub fn new(name: &str, size: u64) -> Self {
        Row {
            name: name.to_owned(),
            size,
            seconds: Vec::new(),
        }
    }

    fn median(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn bytes_per_second(&self) -> f64 {
        self.size as f64 / self.median()
    }
}

impl Report {
    /// The rival's name, the ratio, and what it must be.
    fn ratios(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        let ours = self.rows[0].bytes_per_second();
        MARKS.iter().map(move |&(index, must)| {
            let rival = &self.rows[index];
            (rival.name.as_str(), ours / rival.bytes_per_second(), must)
        })
    }

    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "row": row.name, "bytes": row.size, "seconds": row.seconds,
                "median_seconds": row.median(), "bytes_per_second": row.bytes_per_second(),
            })
        };
        let ratio = |(rival, ratio, must): (&str, f64, f64)| json!({"rival": rival, "ratio": ratio, "must": must, "is_met": ratio >= must});
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "ratios": self.ratios().map(ratio).collect::<Vec<_>>(),
            "two_gib_sparse_seconds": self.holes,
            "peak_resident_kib": {"export": self.resident.export_kib, "import": self.resident.import_kib},
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let rate = row.bytes_per_second() / 1e6;
            writeln!(
                formatter,
                "{:<32} {:>8.3} s  {rate:>7.0} MB/s",
                row.name,
                row.median()
            )?;
        }
        for (rival, ratio, must) in self.ratios() {
            let verdict = if ratio >= must { "ok" } else { "MISSED" };
            writeln!(
                formatter,
                "bridge by {rival:<22} {ratio:>8.2}    must {must:.2}  {verdict}"
            )?;
        }
        writeln!(
            formatter,
            "{:<32} {:>8.3} s",
            "2 GiB and a byte, sparse", self.holes
        )?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (export, import) = (mib(self.resident.export_kib), mib(self.resident.import_kib));
        writeln!(
            formatter,
            "peak memory: export {export:.0} MiB, import {import:.0} MiB"
        )
    }
}
