//! `cargo xtask chaos`: builds the release binaries as users get them, and the program that breaks them.

use std::path::Path;

use crate::command::{self, names_option, show, start, target_folder};

/// Builds both and breaks; `arguments` are for the program of chaos/ (`cargo xtask chaos --help`).
/// # Errors
/// If something cannot be built, or something did not hold.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    command::run_cargo(
        root,
        &["build", "--release", "-p", "shmeld-cli", "-p", "shmeld-chaos"],
    )?;
    let target = target_folder(root);
    let mut first = Vec::new();
    if !names_option(arguments, "--out") {
        first = vec!["--out".to_owned(), show(&target.join("chaos.json"))];
    }
    println!(
        "$ shmeld-chaos {}",
        [first.as_slice(), arguments].concat().join(" ")
    );
    start(root, &target.join("release/shmeld-chaos"), &first, arguments)
}
