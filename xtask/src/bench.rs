//! `cargo xtask bench`: builds what is measured as users get it, and measures.
//!
//! Alone it is `shmeld bench`. With `--compare` it is the program of benches/compare, which races against everything else that moves files;
//! the ring's rows are measured by the program of benches/ring, whose dependencies may be missing: then those rows say so. With `--document` too,
//! the documents are made from what was found, or from what an earlier run found: `--document --from FILE`.

use crate::bench_document;
use crate::command::{self, names_option, show, start, target_folder};
use std::path::Path;

const COMPARE: &str = "shmeld-compare";
const RING: &str = "shmeld-ring-bench";

/// What the documents are made of is measured, unless it is there.
#[derive(Debug, PartialEq)]
enum Document<'a> {
    No(&'a [String]),
    From(&'a str),
    /// The other arguments.
    After(Vec<String>),
}

/// Builds and measures; `arguments` are for the program that does it, but for `--compare` and `--document`.
/// # Errors
/// If something cannot be built, or the measuring program does not succeed, or the documents cannot be written.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    match document(arguments)? {
        Document::No(arguments) => measure(root, arguments),
        Document::From(file) => bench_document::write(root, &root.join(file)),
        Document::After(mut arguments) => {
            let out = target_folder(root).join("bench");
            arguments.extend(["--out".to_owned(), show(&out)]);
            measure(root, &arguments)?;
            bench_document::write(root, &out.join("bench.json"))
        }
    }
}

fn document(arguments: &[String]) -> Result<Document<'_>, String> {
    let (wanted, others): (Vec<_>, Vec<_>) = arguments.iter().partition(|argument| *argument == "--document");
    let others: Vec<String> = others.into_iter().cloned().collect();
    match (wanted.is_empty(), arguments) {
        (true, _) => Ok(Document::No(arguments)),
        (false, [first, from, file]) if first == "--document" && from == "--from" => Ok(Document::From(file)),
        _ if without_compare(&others).is_none()
            || ["--from", "--rows", "--out", "--list"].iter().any(|option| names_option(&others, option)) =>
        {
            Err("the documents are made from a whole run or from a file: bench --compare --document [--disk DIR], or bench --document --from FILE".to_owned())
        }
        _ => Ok(Document::After(others)),
    }
}

fn measure(root: &Path, arguments: &[String]) -> Result<(), String> {
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
    use super::{Document, document, without_compare};

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

    #[test]
    fn documents_are_made_from_a_whole_run_or_from_a_file() {
        let whole = words("--compare --document --disk /d");
        assert_eq!(
            document(&whole),
            Ok(Document::After(words("--compare --disk /d")))
        );
        let earlier = words("--document --from x.json");
        assert_eq!(document(&earlier), Ok(Document::From("x.json")));
        let plain = words("--compare --rows page");
        assert_eq!(document(&plain), Ok(Document::No(plain.as_slice())));
        for bad in [
            "--document",
            "--compare --document --rows page",
            "--document --from",
            "--compare --document --from x",
        ] {
            let arguments = words(bad);
            let reason = document(&arguments).expect_err(bad);
            assert!(reason.contains("--document --from FILE"), "{reason}");
        }
    }
}
