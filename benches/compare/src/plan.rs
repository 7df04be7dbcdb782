//! What a row is before it is measured.

use shmeld_cli::commands::bench_arena::Arena;
use shmeld_cli::commands::bench_numbers::Measure;
use shmeld_cli::commands::bench_report::{Outcome, Report};
use shmeld_cli::commands::demo_process::Trouble;

use crate::contestants::get;
use crate::grounds::{Ground, Grounds};
use crate::runner::{Contest, Runner};
use crate::tools::Tool;

type Build<'a> = Box<dyn Fn(&'a Grounds<'a>) -> Result<Contest<'a>, Trouble> + 'a>;
type Count<'a> = Box<dyn Fn(&'a Grounds<'a>) -> Result<Vec<f64>, Trouble> + 'a>;

/// How a row is measured.
pub enum Kind<'a> {
    Race { build: Build<'a>, pairs_factor: u32 },
    Figure { count: Count<'a>, unit: &'static str },
}

/// A row that is still to be measured.
pub struct Plan<'a> {
    pub id: &'static str,
    pub what: String,
    pub measure: Measure,
    pub must: Option<f64>,
    pub aim: Option<f64>,
    pub needs: &'static [Tool],
    pub kind: Kind<'a>,
}

impl Plan<'_> {
    pub fn report(&self, outcome: Outcome) -> Report {
        Report {
            id: self.id.to_owned(),
            what: self.what.clone(),
            must: self.must,
            aim: self.aim,
            outcome,
        }
    }
}

/// Must and aim.
pub type Marks = (Option<f64>, Option<f64>);

pub fn race<'a>(
    id: &'static str,
    what: &str,
    marks: Marks,
    needs: &'static [Tool],
    build: impl Fn(&'a Grounds<'a>) -> Result<Contest<'a>, Trouble> + 'a,
) -> Plan<'a> {
    Plan {
        id,
        what: what.to_owned(),
        measure: Measure::Time,
        must: marks.0,
        aim: marks.1,
        needs,
        kind: Kind::Race {
            build: Box::new(build),
            pairs_factor: 1,
        },
    }
}

pub fn figure<'a>(
    id: &'static str,
    what: String,
    marks: (f64, f64),
    unit: &'static str,
    count: impl Fn(&'a Grounds<'a>) -> Result<Vec<f64>, Trouble> + 'a,
) -> Plan<'a> {
    Plan {
        id,
        what,
        measure: Measure::Time,
        must: Some(marks.0),
        aim: Some(marks.1),
        needs: &[],
        kind: Kind::Figure {
            count: Box::new(count),
            unit,
        },
    }
}

/// `get` of the large file against a rival.
pub fn against<'a>(
    id: &'static str,
    what: &str,
    ground: Ground,
    region: Option<u64>,
    marks: Marks,
    needs: &'static [Tool],
    rival: impl Fn(&'a Grounds<'a>, &'a Arena<'a>) -> Result<Runner<'a>, Trouble> + 'a,
) -> Plan<'a> {
    race(id, what, marks, needs, move |grounds| {
        let arena = grounds.arena(ground)?;
        let placement = grounds.two_cpus().unwrap_or_else(|| grounds.one_cpu());
        Ok(Contest {
            arena,
            ours: get(arena, placement, region)?,
            rival: rival(grounds, arena)?,
            unfairness: None,
        })
    })
}
