//! `cargo xtask bench`: builds what is measured as users get it, and measures.
//!
//! Alone it is `shmeld bench`. With `--compare` it is the program of benches/compare, which races against everything else that moves files;
//! the ring's rows are measured by the program of benches/ring, whose dependencies may be missing: then those rows say so.

use crate::command::{self, names_option, show, start, target_folder};
use std::path::Path;

const COMPARE: &str = "shmeld-compare";
const RING: &str = "shmeld-ring-bench";

/// Builds and measures; `arguments` are for the program that does it, but for `--compare`.
/// # Errors
/// If something cannot be built, or the measuring program does not succeed.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let target = target_folder(root);
    command::run_cargo(root, &["build", "--release", "-p", "shmeld-cli"])?;
    let shmeld = target.join("release/shmeld");
    let Some(others) = without_compare(arguments) else {
        return start(root, &shmeld, &["bench".to_owned()], arguments);
    };
    // Builds of two workspaces would undo each other's work in one folder.
    let benches = target.join("benches");
    build(root, &benches, COMPARE)?;
    let mut first = vec!["run".to_owned(), "--shmeld".to_owned(), show(&shmeld)];
    match build(root, &benches, RING) {
        Ok(()) => first.extend(["--ring".to_owned(), show(&benches.join("release").join(RING))]),
        Err(reason) => first.extend(["--no-ring".to_owned(), reason]),
    }
    for (option, folder) in [("--disk", target.clone()), ("--out", target.join("bench"))] {
        if !names_option(&others, option) {
            first.extend([option.to_owned(), show(&folder)]);
        }
    }
    start(root, &benches.join("release").join(COMPARE), &first, &others)
}

/// The arguments but for `--compare`; `None` if it is not among them.
fn without_compare(arguments: &[String]) -> Option<Vec<String>> {
    let others: Vec<String> = arguments
        .iter()
        .filter(|argument| *argument != "--compare")
        .cloned()
        .collect();
    (others.len() < arguments.len()).then_some(others)
}

fn build(root: &Path, folder: &Path, package: &str) -> Result<(), String> {
    let manifest = "benches/Cargo.toml";
    let folder = show(folder);
    let arguments = [
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        manifest,
        "--target-dir",
        &folder,
        "-p",
        package,
    ];
    command::run_cargo(root, &arguments)
}

#[cfg(test)]
mod tests {
    use super::without_compare;

    fn words(text: &str) -> Vec<String> {
        text.split_ascii_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn compare_is_ours_and_the_rest_is_for_the_program() {
        assert_eq!(
            without_compare(&words("--pairs 9 --compare --rows page")),
            Some(words("--pairs 9 --rows page"))
        );
        assert_eq!(without_compare(&words("--pairs 9")), None);
    }
}
