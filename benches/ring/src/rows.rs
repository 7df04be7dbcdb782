//! The rows: which work, against whom, and what DESIGN.md section 9 asks of the ratio.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use serde_json::{Value, json};

use crate::channel::{Contestant, Outcome};
use crate::numbers::Quartiles;
use crate::pair;
use crate::work::Work;

const ECHO_BYTES: [usize; 3] = [64, 1 << 10, 64 << 10];
const ONE_WAY_BYTES: [usize; 2] = [64 << 10, 256 << 10];

/// One line of the table: ours against one rival.
pub struct Row {
    /// What the row measures, without the rival.
    what: String,
    rival: Contestant,
    ours: Work,
    rivals: Work,
    unit: &'static str,
    /// Ratios of DESIGN.md: what must be, and what is aimed at.
    must: Option<f64>,
    aim: Option<f64>,
}

/// What came out.
pub struct Measured<'r> {
    row: &'r Row,
    ours: Vec<f64>,
    rivals: Vec<f64>,
}

/// All rows, in the order of the table. One way `total` bytes are moved.
pub fn all(total: usize) -> Vec<Row> {
    let rivals = || {
        let all = Contestant::ALL.into_iter();
        all.filter(|contestant| *contestant != Contestant::Ring)
    };
    let mut rows = Vec::new();
    for bytes in ECHO_BYTES {
        rows.extend(rivals().map(|rival| {
            let (must, aim) = match (bytes, rival) {
                (64, Contestant::Bare) => (Some(2.0), Some(1.3)),
                (64, Contestant::Iceoryx) => (Some(0.6), Some(0.4)),
                _ => (None, None),
            };
            Row {
                what: format!("ring echo of {}", size(bytes)),
                rival,
                ours: Work::echo(Contestant::Ring, bytes),
                rivals: Work::echo(rival, bytes),
                unit: "s per round trip",
                must,
                aim,
            }
        }));
    }
    for bytes in ONE_WAY_BYTES {
        rows.extend(rivals().map(|rival| Row {
            what: format!("ring one way, {} in messages of {}", size(total), size(bytes)),
            rival,
            ours: Work::one_way(bytes, total),
            rivals: Work::one_way(bytes, total),
            unit: "s",
            must: None,
            aim: None,
        }));
    }
    rows
}

impl Row {
    /// What it is called in both outputs.
    pub fn name(&self) -> String {
        format!("{} against {}", self.what, self.rival.name())
    }

    /// The rival.
    pub fn rival(&self) -> Contestant {
        self.rival
    }

    /// Measures `pairs` pairs; which one of a pair comes first is left to chance.
    pub fn run(&self, pairs: usize, cpus: [u32; 2]) -> Outcome<Measured<'_>> {
        let (mut ours, mut rivals) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let ours_first = RandomState::new().hash_one(0) & 1 == 0;
            for turn in [ours_first, !ours_first] {
                if turn {
                    ours.push(pair::measure(Contestant::Ring, self.ours, cpus)?);
                } else {
                    rivals.push(pair::measure(self.rival, self.rivals, cpus)?);
                }
            }
        }
        Ok(Measured {
            row: self,
            ours,
            rivals,
        })
    }
}

impl Measured<'_> {
    /// One line of JSON.
    pub fn to_json(&self) -> Value {
        let side = |contestant: Contestant, samples: &[f64]| {
            let name = contestant.name();
            json!({ "name": name, "samples": samples })
        };
        json!({
            "row": self.row.name(),
            "ours": side(Contestant::Ring, &self.ours),
            "rival": side(self.row.rival, &self.rivals),
            "measure": "time",
            "must": self.row.must,
            "aim": self.row.aim,
            "unit": self.row.unit,
        })
    }

    /// One line of the table.
    pub fn to_text(&self) -> String {
        let (ours, rivals) = (Quartiles::of(&self.ours), Quartiles::of(&self.rivals));
        let ratios = Quartiles::of_ratios(&self.ours, &self.rivals);
        let ratio = ours.median / rivals.median;
        let verdict = match (self.row.must, self.row.aim) {
            (_, Some(aim)) if ratio <= aim => format!("aim {aim} reached"),
            (Some(must), Some(aim)) if ratio <= must => format!("must {must} reached, aim {aim} missed"),
            (Some(must), _) => format!("must {must} MISSED"),
            _ => String::new(),
        };
        format!(
            "  {:<14} {:>10} {:>10}   {ratio:>5.2} ({:.2} to {:.2})  {verdict}",
            self.row.rival.name(),
            time(ours.median),
            time(rivals.median),
            ratios.first,
            ratios.third,
        )
    }

    /// The heading under which rows of the same work stand.
    pub fn heading(&self) -> &str {
        &self.row.what
    }
}

fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds < 1e-5 => format!("{:.0} ns", seconds * 1e9),
        _ if seconds < 1e-2 => format!("{:.1} us", seconds * 1e6),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}
