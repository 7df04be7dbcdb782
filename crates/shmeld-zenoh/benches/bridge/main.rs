//! What the bridge costs: one file from a machine to another over one and the same cable, through the bridge, by plain zenoh, and by curl
//! from nginx. Seconds of different machines mean nothing; the ratios of one run do.
//!
//! `cargo xtask bridge --bench [--size 1GiB] [--rounds 5] [--out FILE]`. Needs root (network namespaces), nginx and curl.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement that cannot go on stops where it stands, and tells what happened"
)]

mod plain;
mod report;
mod stage;

#[path = "../../tests/it/bridge.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod bridge;
#[path = "../../../shmeld-cli/tests/it/content.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod content;
#[path = "../../tests/it/machine.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod machine;
#[path = "../../../shmeld-cli/tests/it/need.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod need;
#[path = "../../../shmeld-cli/tests/it/outcome.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod outcome;
#[path = "../../../shmeld-cli/tests/it/processes.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod processes;
#[path = "../../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod world;

use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use shmeld_cli::values::parse_size;

use crate::report::{Report, Row};
use crate::stage::Stage;

/// Measures the bridge against plain zenoh and against curl from nginx.
#[derive(Debug, Parser)]
struct Options {
    /// Length of the file
    #[arg(long, default_value = "1GiB", value_parser = parse_size)]
    size: u64,
    /// How often each is measured; one more time without being timed, when what arrives is compared
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where the figures go as JSON
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Set where the files lie in memory already.
const GROUND: &str = "SHMELD_BENCH_GROUND";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["plain-serve", config, file] => plain::serve(config, file),
        ["plain-get", config, output, size] => plain::get(config, output, size.parse().unwrap()),
        _ => {}
    }
    let options = Options::parse();
    if std::env::var_os(GROUND).is_none() && need::is_root_or_skip() {
        on_a_ground_of_memory(&arguments[1..]);
    }
    let Some(stage) = Stage::or_skip(options.size) else {
        return;
    };
    let report = measure(&stage, &options);
    stage.finish();
    print!("{report}");
    if let Some(out) = &options.out {
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        std::fs::write(out, format!("{:#}\n", report.json())).unwrap();
    }
}

/// Starts this program again where the directory for temporary files is one in memory: disks are not what is measured.
fn on_a_ground_of_memory(arguments: &[String]) -> ! {
    let ground = std::env::temp_dir().join(format!("shmeld-bench-{}", std::process::id()));
    std::fs::create_dir_all(&ground).unwrap();
    let script = "mount -t tmpfs none \"$0\" && TMPDIR=\"$0\" exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&ground);
    command
        .arg(std::env::current_exe().unwrap())
        .args(arguments)
        .env(GROUND, "yes");
    let status = command.status().unwrap();
    // Without the mount, which went with its namespace, it is empty.
    std::fs::remove_dir(&ground).unwrap();
    std::process::exit(status.code().unwrap_or(1))
}

fn measure(stage: &Stage, options: &Options) -> Report {
    type Rival = (&'static str, fn(&Stage) -> f64);
    let rivals: [Rival; 4] = [
        ("bridge", Stage::bridge),
        ("plain zenoh, file to file", Stage::plain_to_file),
        ("plain zenoh, memory to nowhere", Stage::plain_to_nowhere),
        ("nginx + curl", Stage::curl),
    ];
    let mut rows: Vec<Row> = rivals
        .iter()
        .map(|(name, _)| Row::new(name, options.size))
        .collect();
    for round in 0..=options.rounds {
        for turn in 0..rivals.len() {
            // Nobody is always behind the same one.
            let index = (turn + round) % rivals.len();
            let seconds = rivals[index].1(stage);
            if round > 0 {
                rows[index].seconds.push(seconds);
            } else if rivals[index].0 != "plain zenoh, memory to nowhere" {
                stage.compare();
            }
            stage.clear();
        }
    }
    let holes = stage.two_gigabytes_of_next_to_nothing();
    Report {
        rows,
        holes,
        resident: stage.resident(),
    }
}
