//! The house rules that rustfmt and clippy do not know, checked over every file of the repository.
//!
//! A finding is one line, `path:line: error: what is wrong; use what instead`, which editors can jump to.
//! This file only gathers files and prints. The rules live below it:
//!
//! - [`lexer`]: a file as tokens, so that no rule is fooled by a comment or a string;
//! - [`words`]: which names, keywords and macros may stand where;
//! - [`sizes`]: lengths of files, functions and lines;
//! - [`layouts`]: shared layouts carry their proof;
//! - [`safety`]: each `unsafe` carries its reason;
//! - [`locks`]: no lock of the C library lies in shared memory;
//! - [`arrows`]: crates depend downwards only;
//! - [`map`]: what the architecture's map names is there;
//! - [`limits`]: docs/LIMITS.md has every limit, with its value;
//! - [`tables`]: rows of tables have a cell for each column;
//! - [`versions`]: one version in all that is released;
//! - [`examples`]: public modules of libraries have an example that runs.

mod arrows;
mod examples;
mod finding;
mod layouts;
mod lexer;
mod limits;
mod locks;
mod map;
mod markers;
mod safety;
mod sizes;
mod source;
mod tables;
mod versions;
mod words;

use crate::command;
use finding::Finding;
use source::Source;
use std::path::{Path, PathBuf};

const MAP: &str = "ARCHITECTURE.md";
/// Kinds of file in which unfinished work is looked for.
const PROSE_AND_CODE: [&str; 4] = [".rs", ".py", ".c", ".md"];

/// Checks every file and prints the findings.
/// # Errors
/// If there is a finding, or if a file cannot be read.
pub fn run(root: &Path) -> Result<(), String> {
    let paths = list_files(root)?;
    let (mut findings, mut sources, mut manifests) = (Vec::new(), Vec::new(), Vec::new());
    for path in &paths {
        if PROSE_AND_CODE.iter().any(|ending| path.ends_with(ending)) || path.ends_with("Cargo.toml") {
            let bytes = std::fs::read(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
            let text = String::from_utf8_lossy(&bytes);
            findings.extend(check_file(path, &text, &paths));
            if path == limits::DOCUMENT || limits::concerns(path) {
                sources.push((path.clone(), text.into_owned()));
            } else if path.ends_with("Cargo.toml") {
                manifests.push((path.clone(), text.into_owned()));
            }
        }
    }
    let document = sources.iter().find(|(path, _)| path == limits::DOCUMENT);
    let document = document.map_or("", |(_, text)| text.as_str());
    findings.extend(limits::check(document, &sources));
    findings.extend(examples::check(&sources));
    findings.extend(versions::check(&manifests));
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, no findings", paths.len()),
        1 => return Err("1 finding".to_owned()),
        many => return Err(format!("{many} findings")),
    }
    Ok(())
}

/// All findings in one file; `paths` are all files of the repository.
fn check_file(path: &str, text: &str, paths: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if path.ends_with("Cargo.toml") {
        findings.extend(arrows::check(path, text));
        return findings;
    }
    findings.extend(markers::check(path, text));
    if path == MAP {
        findings.extend(map::check(path, text, paths));
    }
    if path.ends_with(".md") {
        findings.extend(tables::check(path, text));
    }
    if path.ends_with(".rs") {
        let source = Source::new(path, text);
        findings.extend(sizes::check(&source));
        findings.extend(words::check(&source));
        findings.extend(safety::check(&source));
        findings.extend(locks::check(&source));
        findings.extend(layouts::check(&source));
    }
    findings.sort_by_key(|finding| finding.line);
    findings
}

/// Every file that is or could be committed, relative to `root`, sorted.
fn list_files(root: &Path) -> Result<Vec<String>, String> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let mut paths: Vec<String> = match command::output(root, "git", &arguments) {
        Ok(listing) => String::from_utf8_lossy(&listing)
            .split('\0')
            .map(str::to_owned)
            .collect(),
        Err(_) => Vec::new(),
    };
    // A file that is deleted but not yet committed so is still listed; a symbolic link is not ours to read.
    paths.retain(|path| {
        root.join(path)
            .symlink_metadata()
            .is_ok_and(|found| found.is_file())
    });
    if paths.is_empty() {
        // No git, or a copy without its repository.
        walk(root, Path::new(""), &mut paths).map_err(command::problem(root))?;
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Adds the files below `root/folder`, leaving out build output and the repository's own store.
fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let path: PathBuf = folder.join(&name);
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if name != "target" && name != ".git" && name != ".cargo-target" {
                walk(root, &path, paths)?;
            }
        } else if kind.is_file() {
            paths.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_file, walk};
    use std::path::Path;

    #[test]
    fn finding_reads_as_path_line_error_and_replacement() {
        let findings = check_file("crates/shmeld/src/x.rs", "fn f() {\n    println!();\n}\n", &[]);
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("crates/shmeld/src/x.rs:2: error: `println!`"),
            "{}",
            lines[0]
        );
        assert!(
            lines[0].contains("; use ") && lines[0].ends_with(" instead"),
            "{}",
            lines[0]
        );
    }

    #[test]
    fn findings_of_one_file_come_in_the_order_of_its_lines() {
        let text = "use libc::c_int;\nfn f() { unsafe { g() } }  \nfn h() { print!(); }\n";
        let lines: Vec<usize> = check_file("crates/shmeld/src/x.rs", text, &[])
            .iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(lines, [1, 2, 2, 2, 3]);
    }

    #[test]
    fn walk_finds_this_file_and_no_build_output() {
        let mut paths = Vec::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        walk(root, Path::new(""), &mut paths).expect("readable");
        assert!(paths.iter().any(|path| path == "src/tidy.rs"), "{paths:?}");
        assert!(!paths.iter().any(|path| path.starts_with("target/")), "{paths:?}");
    }
}
