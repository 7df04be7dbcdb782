//! Breaks shmeld on purpose: `cargo xtask chaos`.
//!
//! Every row breaks one thing at many points and counts what did not hold. The release binaries are tested as they are, from outside, as
//! processes. Without `--full` each row takes a few seconds, so that the test command can run them all.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developers' tool talks on the terminal"
)]

mod attack;
mod board_kills;
mod chance;
mod clean_runs;
mod crowd;
mod duel;
mod errnos;
mod figures;
mod flood;
mod gate_race;
mod honest;
mod image_kills;
mod judge;
mod measure;
mod program;
mod report;
mod restarts;
mod resume_kills;
mod row;
mod scarcity;
mod scene;
mod storm;
mod sweep;
mod symlink_race;
mod tracer;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use report::Report;
use row::{Row, Setup};
use tracer::Point;

/// Breaks shmeld on purpose and counts what does not hold.
#[derive(Parser)]
#[command(name = "cargo xtask chaos", disable_version_flag = true)]
struct Options {
    /// Run only the rows whose names contain one of these words
    rows: Vec<String>,
    /// Every point, every repetition; without it each row takes a few seconds
    #[arg(long)]
    full: bool,
    /// List the rows and what they break
    #[arg(long)]
    list: bool,
    /// What chance begins with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this point of a sweep, as THREAD:CALL of a failure's text
    #[arg(long, value_name = "THREAD:CALL", value_parser = parse_point)]
    only: Option<Point>,
    /// The folder of the release binaries
    #[arg(long, hide = true)]
    programs: Option<PathBuf>,
    /// Where the JSON goes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does when it starts itself.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Part {
    #[command(hide = true)]
    Hold {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// A hostile peer of the server of this name.
    #[command(hide = true)]
    Attack { kind: attack::Attack, name: String },
}

fn parse_point(text: &str) -> Result<Point, String> {
    let parsed = text.split_once(':').and_then(|(thread, call)| {
        let (thread, call) = (thread.parse().ok()?, call.parse().ok()?);
        Some(Point { thread, call })
    });
    parsed.ok_or_else(|| "a point is THREAD:CALL, two numbers".to_owned())
}

fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = sweep::rows().into_iter().collect();
    rows.push(storm::row());
    rows.extend(duel::rows());
    rows.extend([flood::row(), gate_race::row(), crowd::row()]);
    rows.extend(symlink_race::rows());
    rows.extend([
        restarts::row(),
        resume_kills::row(),
        board_kills::row(),
        image_kills::row(),
        clean_runs::row(),
    ]);
    rows.extend(scarcity::rows());
    rows
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.part {
        Some(Part::Hold { words }) => tracer::hold(words).map(|()| true),
        Some(Part::Attack { kind, name }) => attack::run(*kind, name).map(|()| true),
        None if options.list => {
            for row in rows() {
                println!("{:<26} {}", row.name, row.about);
            }
            Ok(true)
        }
        None => run(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("chaos: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    let own = std::env::current_exe().map_err(|error| format!("path of this program: {error}"))?;
    let beside = own.parent().map(PathBuf::from).unwrap_or_default();
    let scratch = std::env::temp_dir().join(format!("shmeld-chaos-{}", std::process::id()));
    let setup = Setup {
        programs: options.programs.clone().unwrap_or(beside),
        scratch: scratch.clone(),
        full: options.full,
        seed: options.seed,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        only: options.only,
    };
    let chosen = |row: &Row| {
        options.rows.is_empty() || options.rows.iter().any(|word| row.name.contains(word.as_str()))
    };
    let all_required = std::env::var("SHMELD_REQUIRE").as_deref() == Ok("all");
    let rows: Vec<Row> = rows().into_iter().filter(chosen).collect();
    if rows.is_empty() {
        return Err("no row has such a name; --list shows them".to_owned());
    }
    let mut report = Report::begin();
    for row in rows {
        let start = Instant::now();
        let outcome = (row.run)(&setup);
        report.add(&row, outcome, start.elapsed(), all_required);
    }
    let _ = std::fs::remove_dir_all(&scratch);
    if let Some(path) = &options.out {
        report.write(path, options.seed, options.full)?;
    }
    Ok(report.end())
}
