//! The bridge between machines: a workspace of its own, built and tested here, because zenoh is as large as everything else together.
//!
//! Its tests start the release binaries of the commands. Not here: what is tested (`crates/shmeld-zenoh/tests`), what is measured (its `benches`).

use std::path::Path;
use std::process::Command;

use crate::{command, need};

const MANIFEST: &str = "crates/shmeld-zenoh/Cargo.toml";
/// Where the tests and the benchmark find `shm_server` and `shm_client`.
const PROGRAMS: &str = "SHMELD_PROGRAMS";

/// `bridge`, or `bridge --bench [OPTIONS OF THE BENCHMARK]`.
///
/// # Errors
/// Something cannot be built, or a test fails.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    match arguments.split_first() {
        None => test(root),
        Some((first, rest)) if first == "--bench" => bench(root, rest),
        Some((first, _)) => Err(format!(
            "unexpected argument `{first}`: bridge [--bench [OPTIONS]]"
        )),
    }
}

fn test(root: &Path) -> Result<(), String> {
    build_programs(root)?;
    if command::has_cargo_subcommand("fmt") {
        command::run_cargo(root, &["fmt", "--manifest-path", MANIFEST, "--check"])?;
    } else {
        need::skip("rustfmt (rustup component add rustfmt)")?;
    }
    if command::has_cargo_subcommand("clippy") {
        cargo(root, "clippy", &["--all-targets", "--", "-D", "warnings"])?;
    } else {
        need::skip("clippy (rustup component add clippy)")?;
    }
    cargo(root, "test", &[])
}

fn bench(root: &Path, options: &[String]) -> Result<(), String> {
    build_programs(root)?;
    let out = command::show(&command::target_folder(root).join("bench/bridge.json"));
    let mut arguments = vec!["--"];
    if !command::names_option(options, "--out") {
        arguments.extend(["--out", &out]);
    }
    arguments.extend(options.iter().map(String::as_str));
    cargo(root, "bench", &[&["--bench", "bridge"], &arguments[..]].concat())
}

fn build_programs(root: &Path) -> Result<(), String> {
    command::run_cargo(root, &["build", "--release", "-p", "shmeld-cli"])
}

/// `cargo WORD` of the bridge, in a folder of its own: builds of two workspaces would undo each other's work in one.
fn cargo(root: &Path, word: &str, arguments: &[&str]) -> Result<(), String> {
    let target = command::target_folder(root);
    let folder = command::show(&target.join("bridge"));
    let first = [
        word,
        "--manifest-path",
        MANIFEST,
        "--locked",
        "--target-dir",
        &folder,
    ];
    let words = [&first[..], arguments].concat();
    let shown = format!("cargo {}", words.join(" "));
    println!("$ {shown}");
    let mut cargo = Command::new(command::cargo());
    cargo.args(&words).current_dir(root);
    command::run(&shown, cargo.env(PROGRAMS, target.join("release")))
}

#[cfg(test)]
mod tests {
    use super::run;
    use std::path::Path;

    #[test]
    fn what_is_no_option_is_said_before_anything_is_built() {
        let reason = run(Path::new("/nonexistent"), &["--fast".to_owned()]).expect_err("no such option");
        assert!(
            reason.contains("--fast") && reason.contains("--bench"),
            "{reason}"
        );
    }
}
