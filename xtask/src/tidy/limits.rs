//! docs/LIMITS.md tells the truth: each number in it is the one in the source, and no limit is left out.
//!
//! A row of six cells, `| what | value | option | beyond it | name | file |`, is compared with the constant, or the default of the option,
//! of that name. A row of three, `| name | file | why |`, says why a constant that looks like a limit is none.

use super::finding::Finding;

/// Where they are listed.
pub const DOCUMENT: &str = "docs/LIMITS.md";
/// Names that end like this are limits, and so is every constant that is a time.
const ENDINGS: [&str; 6] = ["_MAX", "_MIN", "_TRIES", "_GRACE", "_PATIENCE", "_BUDGET"];
/// Models of the product, and programs that measure or show it.
const NOT_THE_PRODUCT: [&str; 4] = ["/simulation/", "/fuzzing/", "/commands/bench", "/commands/demo"];

/// Whether limits are looked for in this file.
pub fn concerns(path: &str) -> bool {
    path.starts_with("crates/")
        && path.contains("/src/")
        && path.ends_with(".rs")
        && !NOT_THE_PRODUCT.iter().any(|part| path.contains(part))
}

/// A row of the document.
struct Row<'a> {
    line: usize,
    /// `None` for what is no limit.
    value: Option<&'a str>,
    name: &'a str,
    /// Relative to the workspace.
    path: String,
}

/// Checks the document against the sources: each a path and its text.
pub fn check(document: &str, sources: &[(String, String)]) -> Vec<Finding> {
    let rows: Vec<Row<'_>> = document
        .lines()
        .enumerate()
        .filter_map(|(index, line)| row(index + 1, line))
        .collect();
    let mut findings: Vec<Finding> = rows.iter().filter_map(|row| compare(row, sources)).collect();
    for (path, text) in sources {
        for (line, name) in limits(text) {
            if !rows.iter().any(|row| row.name == name && row.path == *path) {
                let what = format!("the limit `{name}` is not in {DOCUMENT}");
                let instead = "a row for it there, with what happens beyond it, or with why it is none,";
                findings.push(Finding::new(path, line, what, instead));
            }
        }
    }
    findings
}

fn row(line: usize, text: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = text
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let (value, name, path) = match cells[..] {
        [_, value, _, _, name, path] => (Some(value), name, path),
        [name, path, _] => (None, name, path),
        _ => return None,
    };
    Some(Row {
        line,
        value,
        name: unquoted(name)?,
        path: format!("crates/{}", unquoted(path)?),
    })
}

/// What stands between backticks; headings and rulers have none.
fn unquoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

fn compare(row: &Row<'_>, sources: &[(String, String)]) -> Option<Finding> {
    let complain = |what: String, instead: &str| Some(Finding::new(DOCUMENT, row.line, what, instead));
    let text = sources
        .iter()
        .find(|(path, _)| *path == row.path)
        .map(|(_, text)| text);
    let found = text.and_then(|text| match row.name.strip_prefix("--") {
        Some(option) => default_of(text, option),
        None => constant(text, row.name),
    });
    let Some(found) = found else {
        return complain(
            format!("`{}` is not in `{}`", row.name, row.path),
            "the name and the file that are",
        );
    };
    let said = row.value?;
    if amount_of_text(said).is_some() && amount_of_text(said) == amount_of_source(found) {
        return None;
    }
    complain(
        format!("`{}` is said to be {said}", row.name),
        &format!("`{found}`, which it is,"),
    )
}

/// The expression behind `const NAME: TYPE =`.
fn constant<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("const {name}:"))?;
    after.split_once(" = ")?.1.split(';').next().map(str::trim)
}

/// What `default_value` or `default_value_t` of an option's field says.
fn default_of<'a>(text: &'a str, option: &str) -> Option<&'a str> {
    let field = format!("pub {}:", option.replace('-', "_"));
    let before = &text[..text.find(&field)?];
    let attribute = &before[before.rfind("#[arg(")?..];
    let value = attribute.split_once("default_value")?.1.split_once('=')?.1;
    value
        .split([',', ')'])
        .next()
        .map(|value| value.trim().trim_matches('"'))
}

/// The constants of a file that look like limits, with their lines; its tests are left out.
fn limits(text: &str) -> Vec<(usize, &str)> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let declared = line
            .trim_start()
            .split_once("const ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        let Some((name, after)) = declared.and_then(|(_, rest)| rest.split_once(": ")) else {
            continue;
        };
        let type_name = after.split(" =").next().unwrap_or_default();
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        let ends_so = ENDINGS
            .iter()
            .any(|ending| name.ends_with(ending) || name == &ending[1..]);
        if is_name && (ends_so || type_name.contains("Duration")) {
            found.push((index + 1, name));
        }
    }
    found
}

/// An amount, and whether it is a time (in microseconds).
type Amount = (u64, bool);

/// `64 MiB`, `10m`, `30 s`, `900 bytes`, `8 requests`.
fn amount_of_text(text: &str) -> Option<Amount> {
    let text = text.replace([',', '_'], "");
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().ok()?;
    let (factor, is_time) = match unit.split_whitespace().next().unwrap_or_default() {
        "KiB" | "K" => (1 << 10, false),
        "MiB" | "M" => (1 << 20, false),
        "GiB" | "G" => (1 << 30, false),
        "us" => (1, true),
        "ms" => (1_000, true),
        "s" => (1_000_000, true),
        "m" | "min" => (60_000_000, true),
        _ => (1, false),
    };
    Some((number.checked_mul(factor)?, is_time))
}

/// An integer, `A * B`, `A << B`, `Duration::from_UNIT(N)`; or a text as above.
fn amount_of_source(expression: &str) -> Option<Amount> {
    let number = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    if let Some((_, call)) = expression.split_once("Duration::from_") {
        let (unit, rest) = call.split_once('(')?;
        let factor = match unit {
            "micros" => 1,
            "millis" => 1_000,
            "secs" => 1_000_000,
            _ => return None,
        };
        return Some((number(rest.split(')').next()?)? * factor, true));
    }
    if let Some((left, right)) = expression.split_once("<<") {
        return Some((
            number(left)?.checked_shl(u32::try_from(number(right)?).ok()?)?,
            false,
        ));
    }
    if let Some((left, right)) = expression.split_once('*') {
        return Some((number(left)?.checked_mul(number(right)?)?, false));
    }
    amount_of_text(expression)
}

#[cfg(test)]
mod tests {
    use super::{amount_of_source, amount_of_text, check, concerns};

    const SOURCE: &str = "/// The longest.\npub const PATH_BYTES_MAX: usize = 900;\n\
        pub(super) const GRACE: Duration = Duration::from_secs(5);\n\
        const BLOCK: usize = 256 * 1024;\n\
        #[arg(long, value_name = \"SIZE\", default_value = \"64MiB\", value_parser = x)]\npub region_max: u64,\n\
        #[cfg(test)]\nmod tests {\n    const HIDDEN_MAX: u32 = 1;\n}\n";

    fn complaints(document: &str) -> Vec<String> {
        let sources = [("crates/a/src/x.rs".to_owned(), SOURCE.to_owned())];
        check(document, &sources)
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    }

    const TRUE: &str = "| what | value | option | beyond it | name | file |\n|---|---|---|---|---|---|\n\
        | a path | 900 bytes | | no | `PATH_BYTES_MAX` | `a/src/x.rs` |\n\
        | a region | 64 MiB | yes | no | `--region-max` | `a/src/x.rs` |\n\
        | a block | 256 KiB | | no | `BLOCK` | `a/src/x.rs` |\n\
        | `GRACE` | `a/src/x.rs` | not for users |\n";

    #[test]
    fn numbers_that_are_those_of_the_source_pass() {
        assert_eq!(complaints(TRUE), [""; 0]);
    }

    #[test]
    fn number_that_is_not_the_one_of_the_source_is_found() {
        for (from, to) in [
            ("900 bytes", "901 bytes"),
            ("64 MiB", "64 KiB"),
            ("256 KiB", "much"),
        ] {
            let found = complaints(&TRUE.replace(from, to));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(&format!("is said to be {to}")), "{found:?}");
        }
    }

    #[test]
    fn limit_that_is_not_there_any_more_is_found() {
        for (from, to) in [
            ("`BLOCK`", "`BLOC`"),
            ("`--region-max`", "`--region`"),
            ("`a/src/x.rs` |\n| `G", "`a/src/y.rs` |\n| `G"),
        ] {
            let found = complaints(&TRUE.replace(from, to));
            assert!(
                found.len() == 1 && found[0].contains("is not in `crates/a/src/"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn limit_that_is_left_out_is_found_with_its_line() {
        let found = complaints("");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].starts_with("crates/a/src/x.rs:2: error: the limit `PATH_BYTES_MAX` is not in"),
            "{found:?}"
        );
        assert!(found[1].contains("`GRACE`"), "{found:?}");
    }

    #[test]
    fn texts_and_expressions_mean_the_same_amounts() {
        for (text, expression) in [
            ("16 MiB", "16 << 20"),
            ("65,535 slots", "65_535"),
            ("10 min", "10m"),
            ("120 us", "Duration::from_micros(120)"),
            ("30 s", "Wait(Some(Duration::from_secs(30)))"),
        ] {
            assert_eq!(amount_of_text(text), amount_of_source(expression), "{text}");
        }
        assert_ne!(
            amount_of_text("5 bytes"),
            amount_of_source("Duration::from_micros(5)")
        );
        assert_eq!(amount_of_source("u32::MAX >> 8"), None);
    }

    #[test]
    fn models_and_measurements_are_not_the_product() {
        assert!(concerns("crates/shmeld/src/file/wire.rs"));
        for path in [
            "crates/shmeld/src/file/simulation/world.rs",
            "crates/shmeld-cli/src/commands/bench_cpu.rs",
            "crates/shmeld/tests/it/main.rs",
            "xtask/src/main.rs",
        ] {
            assert!(!concerns(path), "{path}");
        }
    }
}
