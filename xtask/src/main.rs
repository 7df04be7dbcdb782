//! The developers' own automation, run as `cargo xtask TASK`. What users and CI run is here too, so that
//! "it passes on my machine" and "it passes in CI" mean the same commands.
//!
//! Plain std on purpose, but for reading JSON: this is the first thing a fresh clone builds. Not here: what the product does.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developers' tool talks on the terminal"
)]

mod bench;
mod bench_document;
mod bench_tables;
mod bridge;
mod chaos;
mod check;
mod command;
mod deb;
mod deb_documents;
mod files;
mod leftovers;
mod licences;
mod need;
mod picture;
mod python;
mod supply;
mod system_v;
mod teeth;
mod teeth_pairs;
mod teeth_pairs_objects;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A task by its name on the command line; `Err` is one line for the developer.
struct Task {
    name: &'static str,
    about: &'static str,
    run: Run,
}

/// What a task does with the workspace's folder.
enum Run {
    Alone(fn(&Path) -> Result<(), String>),
    /// With the arguments behind the task's name.
    With(fn(&Path, &[String]) -> Result<(), String>),
}

const TASKS: [Task; 14] = [
    Task {
        name: "test",
        about: "everything that CI runs: fmt, clippy, build, test, python, bridge, chaos, rust-version, tidy, leftovers",
        run: Run::Alone(check::run),
    },
    Task {
        name: "check",
        about: "the same as test",
        run: Run::Alone(check::run),
    },
    Task {
        name: "python",
        about: "builds the Python package and tests it (SHMELD_BASE_PYTHON: with another interpreter than python3)",
        run: Run::Alone(python::run),
    },
    Task {
        name: "deb",
        about: "builds the Debian package; as root installs, serves and removes it on a copy of this machine's files",
        run: Run::Alone(deb::run),
    },
    Task {
        name: "licences",
        about: "writes FILE: the crates of others in the programs, with the texts of their licences (and a CRATE's folder: in that)",
        run: Run::With(licences::run),
    },
    Task {
        name: "bridge",
        about: "builds the bridge between machines and tests it; with --bench measures it against zenoh, nginx and curl",
        run: Run::With(bridge::run),
    },
    Task {
        name: "picture",
        about: "runs a server and a client and draws what they say: docs/run.svg",
        run: Run::Alone(picture::run),
    },
    Task {
        name: "tidy",
        about: "the house rules that rustfmt and clippy do not know",
        run: Run::Alone(tidy::run),
    },
    Task {
        name: "msrv",
        about: "no dependency needs a newer Rust than Cargo.toml states; builds with that Rust where rustup has it",
        run: Run::Alone(supply::msrv),
    },
    Task {
        name: "deny",
        about: "licences, versions, sources and advisories of all dependencies, by cargo-deny and deny.toml",
        run: Run::With(supply::deny),
    },
    Task {
        name: "leftovers",
        about: "fails if a POSIX object named shmeld* is still there, or a new System V one (--save FILE, --since FILE)",
        run: Run::With(leftovers::run),
    },
    Task {
        name: "bench",
        about: "shmeld bench; with --compare every row against its rival (--compare --help), with --document into the documents",
        run: Run::With(bench::run),
    },
    Task {
        name: "chaos",
        about: "breaks the release binaries at every point; without --full a short choice (--help)",
        run: Run::With(chaos::run),
    },
    Task {
        name: "teeth",
        about: "takes one protection after the other away: its named test must fail (docs/TESTING.md)",
        run: Run::With(teeth::run),
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        return help();
    };
    if ["help", "-h", "--help"].contains(&name.as_str()) && rest.is_empty() {
        return help();
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        return usage(&format!("no task `{name}`"));
    };
    if let (Run::Alone(_), Some(extra)) = (&task.run, rest.first()) {
        return usage(&format!("unexpected argument `{extra}`"));
    }
    let run = |root: PathBuf| match task.run {
        Run::Alone(run) => run(&root),
        Run::With(run) => run(&root, rest),
    };
    match workspace_root().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask {name}: failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> ExitCode {
    println!("Usage: cargo xtask TASK\n\nTasks:");
    for task in &TASKS {
        println!("  {:<10} {}", task.name, task.about);
    }
    println!("  {:<10} this list", "help");
    println!(
        "\nSHMELD_REQUIRE=all turns everything that would be skipped for want of a tool into a failure."
    );
    ExitCode::SUCCESS
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}\nhint: `cargo xtask help` lists the tasks");
    ExitCode::from(2)
}

/// The folder of the workspace's `Cargo.toml`.
fn workspace_root() -> Result<PathBuf, String> {
    // Asked at run time, not with `env!`: a target folder shared by two clones would remember the wrong one.
    let start = match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::current_dir().map_err(|error| format!("current folder: {error}"))?,
    };
    let is_root = |folder: &&Path| {
        std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| text.contains("[workspace]"))
    };
    start
        .ancestors()
        .find(is_root)
        .map(Path::to_path_buf)
        .ok_or_else(|| {
            format!(
                "no Cargo.toml with [workspace] in {} or above it; use `cargo xtask` in the repository",
                start.display()
            )
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::{TASKS, workspace_root};

    #[test]
    fn every_task_that_a_document_names_is_one_and_contributing_names_most() {
        let root = workspace_root().unwrap();
        let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
        let named = |text: &str| -> Vec<String> {
            let behind = text.split("cargo xtask ").skip(1);
            let word = |text: &str| text.chars().take_while(char::is_ascii_lowercase).collect();
            behind.map(word).collect()
        };
        for name in [
            "README.md",
            "CONTRIBUTING.md",
            "docs/TESTING.md",
            "docs/BENCHMARKS.md",
            "fuzz/README.md",
        ] {
            for word in named(&read(name)) {
                assert!(
                    TASKS.iter().any(|task| task.name == word),
                    "{name}: cargo xtask {word}"
                );
            }
        }
        let told = named(&read("CONTRIBUTING.md"));
        // It is the same as `test`.
        let mut others = TASKS.iter().filter(|task| task.name != "check");
        assert!(
            others.all(|task| told.contains(&task.name.to_owned())),
            "{told:?}"
        );
    }
}
