//! `cargo xtask teeth`: takes one protection after the other out of a copy of the sources, and insists that its named test then fails.
//!
//! A test that passes with and without what it guards guards nothing. The pairs are in [`super::teeth_pairs`] and in docs/TESTING.md.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{cargo, output, problem, target_folder};
use crate::teeth_pairs::{self, Pair};

/// What cargo prints when the tests ran and one failed; a mutant that does not compile prints it not.
const FAILED: &str = "test result: FAILED";
/// What it prints when a test ran and passed.
const PASSED: &str = "test result: ok. 1 passed";

/// Runs the pairs whose protection or test contains one of the words; all without words.
/// # Errors
/// If a test passes without its protection, or cannot be run.
pub fn run(root: &Path, words: &[String]) -> Result<(), String> {
    let folder = target_folder(root).join("teeth");
    let copy = folder.join("tree");
    copy_sources(root, &copy)?;
    let chosen = teeth_pairs::all().filter(|pair| {
        let says =
            |word: &String| pair.protection.contains(word.as_str()) || pair.test.contains(word.as_str());
        words.is_empty() || words.iter().any(says)
    });
    let mut toothless = 0;
    for pair in chosen {
        let verdict = bite(&copy, &folder.join("target"), pair)?;
        println!(
            "{:<44} {:<62} {}",
            pair.protection,
            pair.test,
            verdict.unwrap_or("fails without it")
        );
        toothless += usize::from(verdict.is_some());
    }
    if toothless > 0 {
        return Err(format!("{toothless} tests do not need what they guard"));
    }
    Ok(())
}

/// Copies what git knows, so that nothing built or private comes along.
fn copy_sources(root: &Path, copy: &Path) -> Result<(), String> {
    let listing = output(
        root,
        "git",
        &["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    )?;
    let listing = String::from_utf8_lossy(&listing).into_owned();
    let names: BTreeSet<PathBuf> = listing.split_terminator('\0').map(PathBuf::from).collect();
    for name in &names {
        let (from, to) = (root.join(name), copy.join(name));
        // A file that was deleted and not yet committed.
        let Ok(bytes) = std::fs::read(&from) else { continue };
        // Unchanged files keep their times, so that cargo builds only what differs.
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(problem(parent))?;
        }
        std::fs::write(&to, bytes).map_err(problem(&to))?;
    }
    Ok(())
}

/// `None` if the test passes with the protection and fails without it, else what is wrong.
fn bite(copy: &Path, target: &Path, pair: &Pair) -> Result<Option<&'static str>, String> {
    if !test(copy, target, pair)?.contains(PASSED) {
        return Ok(Some("DOES NOT PASS AS IT IS"));
    }
    let path = copy.join(pair.file);
    let sound = std::fs::read_to_string(&path).map_err(problem(&path))?;
    std::fs::write(&path, without(&sound, pair)?).map_err(problem(&path))?;
    let told = test(copy, target, pair);
    std::fs::write(&path, sound).map_err(problem(&path))?;
    let told = told?;
    Ok(if told.contains(FAILED) {
        None
    } else if told.contains(PASSED) {
        Some("PASSES WITHOUT IT")
    } else {
        Some("CANNOT BE RUN WITHOUT IT")
    })
}

/// The text of a file without the protection.
fn without(sound: &str, pair: &Pair) -> Result<String, String> {
    let count = sound.matches(pair.sound).count();
    if count != 1 {
        return Err(format!(
            "{}: the protection \"{}\" is there {count} times: {}",
            pair.file, pair.protection, pair.sound
        ));
    }
    Ok(sound.replace(pair.sound, pair.broken))
}

fn test(copy: &Path, target: &Path, pair: &Pair) -> Result<String, String> {
    let kind: &[&str] = if pair.test.starts_with("it::") {
        &["--test", "it"]
    } else {
        &["--lib"]
    };
    let name = pair.test.trim_start_matches("it::");
    let mut command = Command::new(cargo());
    command
        .args(["test", "--quiet", "-p", pair.package])
        .args(kind)
        .args(["--", "--exact", name])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null());
    let output = command.output().map_err(|error| format!("cargo test: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::without;
    use crate::teeth_pairs;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Cheap enough for every run of the tests: the pairs still name what is there. `cargo xtask teeth` runs them.
    #[test]
    fn every_pair_names_a_protection_that_is_there_and_a_test_that_is_there() {
        for pair in teeth_pairs::all() {
            let sound = std::fs::read_to_string(root().join(pair.file)).expect(pair.file);
            assert_ne!(
                without(&sound, pair).expect("it is there once"),
                sound,
                "{}",
                pair.protection
            );
            let function = format!("fn {}(", pair.test.rsplit("::").next().unwrap_or_default());
            let folder = root().join("crates").join(pair.package);
            assert!(is_in(&folder, &function), "{}: no {function}", pair.protection);
        }
    }

    #[test]
    fn the_document_lists_every_pair() {
        let document = std::fs::read_to_string(root().join("docs/TESTING.md")).expect("docs/TESTING.md");
        for pair in teeth_pairs::all() {
            let row = format!("| {} | `{}` |", pair.protection, pair.test);
            assert!(document.contains(&row), "docs/TESTING.md lacks: {row}");
        }
    }

    fn is_in(folder: &Path, text: &str) -> bool {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| {
            path.is_dir() && is_in(&path, text)
                || path.extension().is_some_and(|extension| extension == "rs")
                    && std::fs::read_to_string(&path).is_ok_and(|source| source.contains(text))
        })
    }
}
