//! `cargo xtask bench --compare`: every row of the table of targets against its rival, on the same files, in one run.
//!
//! * [`rows`]: the table, of [`plan`]s; [`grounds`]: the files; [`contestants`] and [`crowd`]: who transfers them; [`roles`]: the rivals that are programs
//!   of our own;
//! * [`runner`]: a run, and what must have arrived after it; [`meters`]: CPU time; [`figures`]: what is counted and not raced;
//! * [`judge`]: what came of a row; [`text`], [`document`], [`plot`]: the same for a terminal, for programs, as a picture;
//! * [`ring`]: rows that another program measures; [`machine`], [`tools`]: what is here and what is missing.
//!
//! How pairs are run and what is made of their seconds is `shmeld bench`'s: see `bench_pairs` and `bench_numbers` there.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that people run to read what it prints"
)]

mod contestants;
mod crowd;
mod document;
mod figures;
mod grounds;
mod judge;
mod machine;
mod meters;
mod options;
mod plan;
mod plot;
mod ring;
mod roles;
mod rows;
mod runner;
mod text;
mod tools;

use std::fs;
use std::process::ExitCode;

use clap::Parser;
use judge::{Report, Verdict};
use options::{Asked, CompareOptions, Options};
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
    let machine = machine::describe(&options.disk);
    let grounds = grounds::Grounds::new(options, &interrupt)?;
    let plans = rows::all(&grounds);
    if options.list {
        for plan in &plans {
            println!("{:<28} {}", plan.id, plan.what);
        }
        return Ok(0);
    }
    println!("{}", text::head(&machine, options));
    let mut reports: Vec<Report> = Vec::new();
    for plan in plans.iter().filter(|plan| options.wants(plan.id)) {
        for report in runner::measure(plan, &grounds, options.pairs)? {
            println!("{}", text::row(&report));
            reports.push(report);
        }
    }
    for report in ring::measure(options, &interrupt)? {
        println!("{}", text::row(&report));
        reports.push(report);
    }
    if reports.is_empty() {
        return Err(Trouble::Failed(format!(
            "no row matches {:?}; --list shows all",
            options.rows.as_deref().unwrap_or_default()
        )));
    }
    println!("{}", text::summary(&reports));
    let write = |name: &str, content: String| {
        let path = options.out.join(name);
        let written = fs::create_dir_all(&options.out).and_then(|()| fs::write(&path, content));
        written.map_err(|error| format!("write {}: {error}", path.display()))
    };
    write(
        "bench.json",
        document::json(&machine, options, &reports).to_string(),
    )?;
    write("bench.svg", plot::svg(&machine, &reports))?;
    println!("written: {0}/bench.json, {0}/bench.svg", options.out.display());
    let failed = reports.iter().any(|report| report.verdict() == Verdict::Failed);
    Ok(u8::from(failed))
}
