//! All that CI runs, in the order in which a developer wants to hear about it: cheap complaints first.

use crate::{bridge, chaos, command, leftovers, need, python, supply, tidy};
use std::path::Path;
use std::time::Instant;

/// What one step asks of the machine and does.
struct Step {
    arguments: &'static [&'static str],
    /// The rustup component without which the step is skipped.
    component: Option<&'static str>,
}

const STEPS: [Step; 4] = [
    Step {
        arguments: &["fmt", "--all", "--check"],
        component: Some("rustfmt"),
    },
    Step {
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        component: Some("clippy"),
    },
    // The process tests run the release binaries: nobody ships the others.
    Step {
        arguments: &["build", "--release", "-p", "shmeld-cli"],
        component: None,
    },
    Step {
        arguments: &["test", "--workspace"],
        component: None,
    },
];

/// Runs every check and stops at the first that fails.
pub fn run(root: &Path) -> Result<(), String> {
    let start = Instant::now();
    let result = run_all(root);
    println!("xtask: {:.1} s in total", start.elapsed().as_secs_f64());
    result?;
    println!("xtask: all checks passed");
    Ok(())
}

fn run_all(root: &Path) -> Result<(), String> {
    let before = leftovers::system_v()?;
    for step in &STEPS {
        run_step(root, step)?;
    }
    println!("$ cargo xtask python");
    python::run_or_skip(root)?;
    println!("$ cargo xtask bridge");
    bridge::run(root, &[])?;
    println!("$ cargo xtask chaos");
    chaos::run(root, &[])?;
    println!("$ cargo metadata: the Rust that each dependency needs");
    supply::declared(root)?;
    println!("$ cargo xtask tidy");
    tidy::run(root)?;
    println!("$ cargo xtask leftovers");
    leftovers::check(root, before.as_ref())
}

fn run_step(root: &Path, step: &Step) -> Result<(), String> {
    if let Some(component) = step.component
        && !command::has_cargo_subcommand(step.arguments[0])
    {
        println!("$ cargo {}", step.arguments.join(" "));
        return need::skip(&format!("{component} (rustup component add {component})"));
    }
    command::run_cargo(root, step.arguments)
}
