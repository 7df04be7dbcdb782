//! `shmeld bench`: how fast it is on this machine, as ratios to what everybody has: lock-step semaphores and `cp`.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use shmeld::os::process;

use super::bench_arena::{Arena, Site};
use super::bench_cpu::{self, everybodys_seconds};
use super::bench_document::{self, Results, json};
use super::bench_machine::Machine;
use super::bench_numbers::{Measure, Ratio};
use super::bench_pairs::{Pairs, Side, run_pairs};
use super::bench_race::{Contestant, Placement, Race};
use super::bench_report::{Entry, Outcome, Report};
use super::bench_text;
use super::demo_process::Trouble;
use crate::args::BenchArgs;
use crate::program::Program;

/// The page of the rule book, and the region of `shmeld get`.
const PAGE: Contestant = Contestant::Ours { region_bytes: 4096 };
const LARGE: Contestant = Contestant::Ours {
    region_bytes: 1 << 20,
};

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &BenchArgs) -> u8 {
    if args.size == 0 {
        program.complain(
            "bench: a file of no bytes tells nothing; --size is at least 1",
            None,
        );
        return 2;
    }
    let interrupt = program.interrupt_and_clean_up();
    // Now, because nobody wants to hear after minutes that there is no room for the results.
    let measured = save(program, args, bench_document::prepare)
        .and_then(|()| Arena::build(Site::of_ourselves(&interrupt), args.size))
        .and_then(|arena| measure(&arena, args));
    let shown = measured.and_then(|results| {
        let printed = print(args, &results);
        save(program, args, |directory| results.write(directory))?;
        Ok(printed)
    });
    match shown {
        Ok(printed) => program.printed(printed),
        Err(Trouble::Interrupted) => program.signal_code(),
        Err(Trouble::Failed(message)) => {
            program.complain(&format!("bench: {message}"), None);
            3
        }
    }
}

/// Does something with the directory of the results, if one was asked for. Its files have the modes of the user's other files;
/// what is made for the runs is nobody else's.
fn save(
    program: &Program,
    args: &BenchArgs,
    work: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<(), Trouble> {
    let Some(directory) = &args.out else {
        return Ok(());
    };
    let own = process::set_umask(program.umask);
    let done = work(directory);
    process::set_umask(own);
    done.map_err(Trouble::Failed)
}

fn print(args: &BenchArgs, results: &Results) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if args.json {
        return writeln!(out, "{}", json(results));
    }
    writeln!(out, "{}", bench_text::head(results))?;
    for report in &results.reports {
        writeln!(out, "{}", bench_text::row(report))?;
    }
    writeln!(
        out,
        "Lock-step: at most 16 MiB, 3744 bytes a turn through one page, a blocking\nsemaphore each way."
    )
}

/// What is compared with what.
struct Row {
    name: &'static str,
    ours: Contestant,
    rival: Contestant,
    measure: Measure,
    /// `None` if this machine cannot.
    placement: Option<Placement>,
}

/// What is measured on a machine with these CPUs.
fn rows(cpus: &[u32]) -> Vec<Row> {
    let two = match *cpus {
        [first, second, ..] => Some(Placement::Two(first, second)),
        _ => None,
    };
    let one = Placement::One(cpus.first().copied().unwrap_or_default());
    let row = |name, ours, rival, measure, placement| Row {
        name,
        ours,
        rival,
        measure,
        placement,
    };
    vec![
        row(
            "one page, two CPUs",
            PAGE,
            Contestant::LockStep,
            Measure::Throughput,
            two,
        ),
        row(
            "1 MiB region, two CPUs",
            LARGE,
            Contestant::Copy,
            Measure::Time,
            two,
        ),
        row(
            "one page, one CPU",
            PAGE,
            Contestant::LockStep,
            Measure::Throughput,
            Some(one),
        ),
    ]
}

fn measure(arena: &Arena<'_>, args: &BenchArgs) -> Result<Results, Trouble> {
    let mut reports = Vec::new();
    for row in rows(&process::cpus_allowed_list()) {
        let missing = |what: &str| Outcome::Missing(format!("missing: {what}"));
        let outcome = match row.placement {
            None => missing("a second CPU"),
            Some(_) if row.rival == Contestant::Copy && !is_there("cp") => missing("cp"),
            Some(placement) => race(arena, &row, placement, args)?,
        };
        reports.push(Report {
            id: row.name.to_owned(),
            what: format!("{} against {}", row.ours.name(), row.rival.name()),
            must: None,
            aim: None,
            outcome,
        });
    }
    Ok(Results {
        machine: Machine::look(None),
        bytes: args.size,
        pairs: args.pairs,
        reports,
    })
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn race(arena: &Arena<'_>, row: &Row, placement: Placement, args: &BenchArgs) -> Result<Outcome, Trouble> {
    let progress = Progress::new(args);
    let mut race = Race::prepare(arena, placement)?;
    let ours_peak = race.rehearse(row.ours)?;
    let theirs_peak = race.rehearse(row.rival)?;
    let bytes = (row.ours.bytes(arena), row.rival.bytes(arena));
    let ratio = |pairs: &Pairs| Ratio::of(row.measure, (&pairs.ours, bytes.0), (&pairs.rival, bytes.1));
    let server = race.server_pid();
    let others = || {
        let ours = bench_cpu::of_process(process::pid());
        everybodys_seconds() - ours.own - ours.children - bench_cpu::of_process(server).own
    };
    let (start, before) = (Instant::now(), others());
    let pairs = run_pairs(
        args.pairs,
        |pairs| ratio(pairs).judgement(),
        |pair, side| {
            progress.show(&format!("{}: pair {pair} of {}", row.name, args.pairs));
            race.run(match side {
                Side::Ours => row.ours,
                Side::Rival => row.rival,
            })
        },
    )?;
    let others_cpus = (others() - before) / start.elapsed().as_secs_f64();
    let entry = |contestant: Contestant, samples, bytes, peak| {
        Box::new(Entry {
            name: contestant.name(),
            samples,
            bytes,
            peak,
            has_server: matches!(contestant, Contestant::Ours { .. }),
        })
    };
    Ok(Outcome::Raced {
        measure: row.measure,
        ratio: ratio(&pairs),
        others_cpus,
        ours: entry(row.ours, pairs.ours, bytes.0, ours_peak),
        rival: entry(row.rival, pairs.rival, bytes.1, theirs_peak),
    })
}

/// A line on a terminal that says what is going on, and is gone when it is over.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new(args: &BenchArgs) -> Self {
        Self {
            shown: !args.json && std::io::stderr().is_terminal(),
        }
    }

    fn show(&self, text: &str) {
        if self.shown {
            let mut stderr = std::io::stderr();
            // A terminal that is gone needs no progress.
            let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_one_cpu_only_the_row_of_one_cpu_is_measured() {
        let measured = |cpus: &[u32]| rows(cpus).iter().filter(|row| row.placement.is_some()).count();
        assert_eq!(
            (measured(&[3]), measured(&[3, 5]), measured(&[0, 1, 2, 3])),
            (1, 3, 3)
        );
        assert_eq!(rows(&[3, 5])[0].placement, Some(Placement::Two(3, 5)));
        assert_eq!(rows(&[3, 5])[2].placement, Some(Placement::One(3)));
    }
}
