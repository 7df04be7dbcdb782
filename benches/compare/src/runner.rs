//! A run of a contestant: the process or processes, and what must have arrived afterwards.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use shmeld_cli::commands::bench_arena::Arena;
use shmeld_cli::commands::bench_cpu::everybodys_seconds;
use shmeld_cli::commands::bench_memory::MemoryWatch;
use shmeld_cli::commands::bench_numbers::{Peak, Ratio, Sample};
use shmeld_cli::commands::bench_pairs::{Pairs, Side, run_pairs};
use shmeld_cli::commands::bench_report::{Entry, Outcome, Report};
use shmeld_cli::commands::demo_process::Trouble;
use shmeld_cli::commands::demo_stage::same_bytes;

use crate::grounds::Grounds;
use crate::meters::ours_seconds;
use crate::plan::{Kind, Plan};

/// What a run leaves behind.
#[derive(Debug)]
pub enum Arrival {
    /// Bytes that were only read.
    Nothing,
    /// Files, each beside the one that it must equal.
    Files(Vec<(PathBuf, PathBuf)>),
    /// A directory that must equal another one.
    Tree(PathBuf, PathBuf),
}

/// One side of a row.
pub struct Runner<'a> {
    pub name: String,
    /// What a run moves.
    pub bytes: u64,
    /// The server that stands ready, for its memory.
    pub server: Option<u32>,
    pub arrival: Arrival,
    pub run: Box<dyn FnMut() -> Result<Sample, Trouble> + 'a>,
}

/// Both sides of a row, ready to run.
pub struct Contest<'a> {
    pub arena: &'a Arena<'a>,
    pub ours: Runner<'a>,
    pub rival: Runner<'a>,
    /// How long the slowest of several clients took, measured by the fastest, run by run.
    pub unfairness: Option<Rc<RefCell<Vec<f64>>>>,
}

impl Runner<'_> {
    /// Not timed: warms up, watches memory, compares what came.
    fn rehearse(&mut self, arena: &Arena<'_>) -> Result<Peak, Trouble> {
        let watch = MemoryWatch::begin(self.server.unwrap_or_default());
        let done = (self.run)();
        let peak = watch.end();
        done?;
        self.arrival.check_bytes()?;
        self.arrival.clear(arena)?;
        Ok(peak)
    }

    fn time(&mut self, arena: &Arena<'_>) -> Result<Sample, Trouble> {
        let sample = (self.run)()?;
        self.arrival.check_lengths()?;
        self.arrival.clear(arena)?;
        arena.check_interrupt()?;
        Ok(sample)
    }
}

impl Arrival {
    fn check_bytes(&self) -> Result<(), String> {
        let fail = |path: &Path| format!("{}: other bytes arrived than were sent", path.display());
        let same = |source: &Path, output: &Path| match same_bytes(source, output) {
            Ok(true) => Ok(()),
            Ok(false) => Err(fail(output)),
            Err(error) => Err(format!("{}: {error}", output.display())),
        };
        match self {
            Self::Nothing => Ok(()),
            Self::Files(files) => files.iter().try_for_each(|(source, output)| same(source, output)),
            Self::Tree(source, output) => {
                let (wanted, found) = (files_below(source)?, files_below(output)?);
                if wanted != found {
                    return Err(format!(
                        "{}: other files arrived than were sent",
                        output.display()
                    ));
                }
                wanted
                    .iter()
                    .try_for_each(|name| same(&source.join(name), &output.join(name)))
            }
        }
    }

    fn check_lengths(&self) -> Result<(), String> {
        let Self::Files(files) = self else {
            return Ok(());
        };
        let len = |path: &Path| {
            let found = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(found.len())
        };
        for (source, output) in files {
            let (wanted, came) = (len(source)?, len(output)?);
            if wanted != came {
                return Err(format!("{}: {came} bytes arrived of {wanted}", output.display()));
            }
        }
        Ok(())
    }

    /// Removes what arrived, and lets the disk come to rest.
    fn clear(&self, arena: &Arena<'_>) -> Result<(), String> {
        let removed = match self {
            Self::Nothing => return Ok(()),
            Self::Files(files) => files.iter().try_for_each(|(_, output)| fs::remove_file(output)),
            Self::Tree(_, output) => fs::remove_dir_all(output),
        };
        removed.map_err(|error| format!("remove an output: {error}"))?;
        arena.settle(arena.directory())
    }
}

/// The names of all files below a directory.
fn files_below(root: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", root.display());
    let mut names = BTreeSet::new();
    let mut unseen = vec![root.to_owned()];
    while let Some(directory) = unseen.pop() {
        for entry in fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            if entry.file_type().map_err(fail)?.is_dir() {
                unseen.push(entry.path());
            } else if let Ok(name) = entry.path().strip_prefix(root) {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

/// Measures a row: usually one report, two where several clients are to be treated alike.
///
/// # Errors
/// Only the wish to stop: whatever else goes wrong is what the report says.
pub fn measure<'a>(plan: &Plan<'a>, grounds: &'a Grounds<'a>, pairs: u32) -> Result<Vec<Report>, Trouble> {
    let missing: Vec<String> = plan
        .needs
        .iter()
        .filter(|tool| tool.find().is_none())
        .map(|tool| tool.complaint())
        .collect();
    if !missing.is_empty() {
        return Ok(vec![plan.report(Outcome::Missing(missing.join(", ")))]);
    }
    let done = match &plan.kind {
        Kind::Race { build, pairs_factor } => {
            build(grounds).and_then(|contest| race(plan, contest, pairs.saturating_mul(*pairs_factor)))
        }
        Kind::Figure { count, unit } => count(grounds).map(|values| {
            vec![plan.report(Outcome::Counted {
                values,
                unit: (*unit).to_owned(),
            })]
        }),
    };
    match done {
        Err(Trouble::Failed(message)) => Ok(vec![plan.report(Outcome::Failed(message))]),
        done => done,
    }
}

fn race(plan: &Plan<'_>, mut contest: Contest<'_>, pairs: u32) -> Result<Vec<Report>, Trouble> {
    let arena = contest.arena;
    let ours_peak = contest.ours.rehearse(arena)?;
    let rival_peak = contest.rival.rehearse(arena)?;
    if let Some(ratios) = &contest.unfairness {
        ratios.borrow_mut().clear();
    }
    let bytes = (contest.ours.bytes, contest.rival.bytes);
    let ratio = |pairs: &Pairs| Ratio::of(plan.measure, (&pairs.ours, bytes.0), (&pairs.rival, bytes.1));
    let judge = |pairs: &Pairs| ratio(pairs).judgement();
    let servers: Vec<u32> = contest
        .ours
        .server
        .into_iter()
        .chain(contest.rival.server)
        .collect();
    // Two clients may have the same server.
    let servers: Vec<u32> = BTreeSet::from_iter(servers).into_iter().collect();
    let others = || everybodys_seconds() - ours_seconds(&servers);
    let (start, before) = (Instant::now(), others());
    let pairs = run_pairs(pairs, judge, |_, side| match side {
        Side::Ours => contest.ours.time(arena),
        Side::Rival => contest.rival.time(arena),
    })?;
    let others_cpus = ((others() - before) / start.elapsed().as_secs_f64()).max(0.0);
    let ratio = ratio(&pairs);
    let entry = |runner: &Runner<'_>, samples, peak| Entry {
        name: runner.name.clone(),
        samples,
        bytes: runner.bytes,
        peak,
        has_server: runner.server.is_some(),
    };
    let ours = entry(&contest.ours, pairs.ours, ours_peak);
    let rival = entry(&contest.rival, pairs.rival, rival_peak);
    let mut reports = vec![plan.report(Outcome::Raced {
        measure: plan.measure,
        ratio,
        ours: Box::new(ours),
        rival: Box::new(rival),
        others_cpus,
    })];
    if let Some(ratios) = contest.unfairness {
        reports.push(Report {
            id: format!("{}-fairness", plan.id),
            what: format!("{}: the slowest client's time by the fastest's", plan.what),
            must: Some(1.2),
            aim: None,
            outcome: Outcome::Counted {
                values: ratios.take(),
                unit: "times".to_owned(),
            },
        });
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmeld_cli::commands::demo_stage::{TemporaryDirectory, random_tag, write_noise};

    #[test]
    fn tree_that_lacks_a_file_or_has_a_wrong_byte_is_found() {
        let name = format!("shmeld-compare-{}", random_tag());
        let stage = TemporaryDirectory::create(&std::env::temp_dir(), &name).expect("a directory");
        let at = |path: &str| stage.path().join(path);
        for path in ["from/a", "from/b", "to/a", "to/b"] {
            fs::create_dir_all(at(path)).expect("mkdir");
            write_noise(&at(path).join("file"), 5000, 7).expect("written");
        }
        let arrival = Arrival::Tree(at("from"), at("to"));
        assert_eq!(arrival.check_bytes(), Ok(()));
        fs::write(at("to/a/file"), "other").expect("written");
        assert!(
            arrival
                .check_bytes()
                .is_err_and(|error| error.contains("other bytes"))
        );
        fs::remove_file(at("to/b/file")).expect("removed");
        assert!(
            arrival
                .check_bytes()
                .is_err_and(|error| error.contains("other files"))
        );
        let files = Arrival::Files(vec![(at("from/a/file"), at("to/a/file"))]);
        assert!(
            files
                .check_lengths()
                .is_err_and(|error| error.contains("5 bytes arrived of 5000"))
        );
    }
}
