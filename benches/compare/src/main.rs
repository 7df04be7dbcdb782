//! `cargo xtask bench --compare`: every row of the table of targets against its rival, on the same files, in one run.
//!
//! * [`rows`]: the table, of [`plan`]s; [`grounds`]: the files; [`contestants`] and [`crowd`]: who transfers them; [`roles`]: the rivals that are programs
//!   of our own;
//! * [`runner`]: a run, and what must have arrived after it; [`meters`]: CPU time; [`figures`]: what is counted and not raced;
//! * [`summary`]: all of it in a table; [`ring`]: rows that another program measures; [`disk`], [`tools`]: what is here and what is missing.
//!
//! How pairs are run, what is made of their seconds, and how that is judged, shown, written and drawn is `shmeld bench`'s: see `bench_pairs`,
//! `bench_numbers`, `bench_report`, `bench_text`, `bench_document` and `bench_plot` there.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people run to read what it prints"
)]

mod contestants;
mod crowd;
mod disk;
mod figures;
mod grounds;
mod meters;
mod options;
mod plan;
mod ring;
mod roles;
mod rows;
mod runner;
mod summary;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use options::{Asked, CompareOptions, Options};
use shmeld_cli::commands::bench_document::{self, Results};
use shmeld_cli::commands::bench_machine::Machine;
use shmeld_cli::commands::bench_report::{Report, Verdict};
use shmeld_cli::commands::bench_text;
use shmeld_cli::commands::demo_process::Trouble;
use shmeld_cli::program::Program;

fn main() -> ExitCode {
    let program = Program::start("compare");
    let done = match Options::parse().asked {
        Asked::Run(options) => compare(&program, &options),
        Asked::Role(role) => roles::play(&role).map(|()| 0).map_err(Trouble::Failed),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Trouble::Interrupted) => ExitCode::from(program.signal_code()),
        Err(Trouble::Failed(message)) => {
            program.complain(&message, None);
            ExitCode::from(3)
        }
    }
}

/// Runs the rows, prints each as it is done, and writes the files. The code is 1 if a row failed; a missing rival is no failure.
fn compare(program: &Program, options: &CompareOptions) -> Result<u8, Trouble> {
    let interrupt = program.interrupt();
    let grounds = grounds::Grounds::new(options, &interrupt)?;
    let plans = rows::all(&grounds);
    if options.list {
        for plan in &plans {
            println!("{:<28} {}", plan.id, plan.what);
        }
        return Ok(0);
    }
    bench_document::prepare(&options.out)?;
    let mut results = Results {
        machine: Machine::look(Some(disk::file_system(&options.disk))),
        bytes: options.size,
        pairs: options.pairs,
        reports: Vec::new(),
    };
    println!("{}", bench_text::head(&results));
    for plan in plans.iter().filter(|plan| options.wants(plan.id)) {
        for report in runner::measure(plan, &grounds, options.pairs)? {
            println!("{}", bench_text::row(&report));
            results.reports.push(report);
        }
    }
    for report in ring::measure(options, &interrupt)? {
        println!("{}", bench_text::row(&report));
        results.reports.push(report);
    }
    if results.reports.is_empty() {
        return Err(Trouble::Failed(format!(
            "no row matches {:?}; --list shows all",
            options.rows.as_deref().unwrap_or_default()
        )));
    }
    println!("{}", summary::text(&results.reports));
    results.write(&options.out)?;
    println!("written: {0}/bench.json, {0}/bench.svg", options.out.display());
    let failed = |report: &Report| report.verdict() == Verdict::Failed;
    Ok(u8::from(results.reports.iter().any(failed)))
}
