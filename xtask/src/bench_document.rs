//! `cargo xtask bench --document`: what the documents say about a whole comparison is made from its results, so that text and figures cannot drift apart.
//!
//! Not here: how the tables look (`bench_tables`).

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::bench_tables::Results;

/// What the documents are made from; the single runs are left out.
const RESULTS: &str = "docs/benchmarks.json";
const PICTURE: &str = "docs/benchmarks.svg";
const BENCHMARKS: &str = "docs/BENCHMARKS.md";
const README: &str = "README.md";
/// What is made stands between these, in both documents.
const BEGIN: &str = "<!-- measured: made by `cargo xtask bench --document`, not by hand -->\n";
const END: &str = "<!-- end of measured -->\n";

/// Makes the documents from the results in `from`; the picture lies beside them.
/// # Errors
/// A file cannot be read or written, or these are no results of a whole run.
pub fn write(root: &Path, from: &Path) -> Result<(), String> {
    let bad = |reason: String| format!("{}: {reason}", from.display());
    let kept = lines(&without_single_runs(parse(&read(from)?).map_err(bad)?));
    // Read again, as the test reads it: a number can lose its last digit on the way.
    let made = documents(&parse(&kept)?, |path| read(&root.join(path)))?;
    let picture = read(&from.with_extension("svg"))?;
    let files = made.into_iter().chain([(RESULTS, kept), (PICTURE, picture)]);
    for (path, text) in files {
        fs::write(root.join(path), text).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}");
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Both documents with what the results say, by their paths.
fn documents(
    results: &Value,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<[(&'static str, String); 2], String> {
    let results = Results::new(results)?;
    let replace = |path: &'static str, part: &str| {
        replaced(&read(path)?, part)
            .map(|text| (path, text))
            .ok_or_else(|| {
                format!(
                    "{path}: the lines `{}` and `{}` are not there, in this order",
                    BEGIN.trim(),
                    END.trim()
                )
            })
    };
    Ok([
        replace(BENCHMARKS, &results.benchmarks())?,
        replace(README, &results.readme())?,
    ])
}

/// A document with another part between the marks.
fn replaced(document: &str, part: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{part}{END}{after}"))
}

/// Medians and quartiles are enough for the documents; how many pairs there were is kept.
fn without_single_runs(mut results: Value) -> Value {
    for row in results["rows"].as_array_mut().into_iter().flatten() {
        let Some(row) = row.as_object_mut() else {
            continue;
        };
        if let Some(ratios) = row.remove("ratios") {
            row.insert("pairs".to_owned(), ratios.as_array().map_or(0, Vec::len).into());
        }
        for side in ["ours", "rival"] {
            if let Some(side) = row.get_mut(side).and_then(Value::as_object_mut) {
                side.remove("seconds");
            }
        }
    }
    results
}

/// The results with a line a row, so that a difference can be read.
fn lines(results: &Value) -> String {
    let mut head = results.clone();
    let rows = head["rows"].take();
    let rows: Vec<String> = rows
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    // A name in front of a colon is a key: a quotation mark in a text is escaped.
    const EMPTY: &str = "\"rows\":null";
    let head = head.to_string();
    let (before, after) = head.split_once(EMPTY).unwrap_or((&head, ""));
    format!("{before}\"rows\":[\n{}\n]{after}\n", rows.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::PathBuf;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn results() -> Value {
        parse(&read(&root().join(RESULTS)).expect("readable")).expect("sound")
    }

    /// Figures were pasted by hand, and those of two documents came from different runs.
    #[test]
    fn documents_say_what_the_results_say() {
        let made = documents(&results(), |path| read(&root().join(path))).expect("a whole run");
        for (path, text) in made {
            let found = read(&root().join(path)).expect("readable");
            assert!(
                found == text,
                "{path} is not what {RESULTS} gives; cargo xtask bench --document --from {RESULTS} makes it so"
            );
        }
    }

    #[test]
    fn picture_shows_the_same_figures() {
        let picture = read(&root().join(PICTURE)).expect("readable");
        let shown: Vec<&str> = picture
            .lines()
            .filter_map(|line| line.split_once("</title>")?.1.strip_suffix("</text>"))
            .collect();
        let results = results();
        let rows = results["rows"].as_array().expect("rows");
        let ratios = rows.iter().filter_map(|row| {
            let ratio = row["ratio"].as_f64()?;
            let is_turned = row["measure"] == "throughput";
            Some(format!("{:.2}", if is_turned { 1.0 / ratio } else { ratio }))
        });
        assert_eq!(shown, ratios.collect::<Vec<String>>());
    }

    #[test]
    fn part_between_the_marks_is_replaced_and_nothing_else() {
        let document = format!("a\n{BEGIN}old\n{END}b\n");
        let once = replaced(&document, "new\n").expect("marks");
        assert_eq!(once, format!("a\n{BEGIN}new\n{END}b\n"));
        assert_eq!(replaced(&once, "new\n").as_deref(), Some(once.as_str()));
        assert_eq!(replaced("a\n", "new"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new"), None);
    }

    #[test]
    fn single_runs_are_left_out_and_rows_are_lines() {
        let all = json!({ "size": 1, "rows": [{ "row": "x", "ratios": [1.0, 2.0], "ours": { "seconds": [1.0], "name": "@" } }, { "row": "y" }] });
        let kept = without_single_runs(all);
        assert_eq!(
            kept["rows"][0],
            json!({ "row": "x", "pairs": 2, "ours": { "name": "@" } })
        );
        assert_eq!(without_single_runs(kept.clone()), kept);
        let text = lines(&kept);
        assert_eq!(parse(&text), Ok(kept));
        assert_eq!(text.lines().count(), 4);
    }
}
