//! Crates depend downwards only, and floor 0 is named by floor 1 alone.
//!
//! Reads just as much TOML as dependency tables need: headings, and the keys at the start of lines.

use super::finding::Finding;

/// Each crate of ours with those of ours that lie below it.
const FLOORS: [(&str, &[&str]); 12] = [
    ("shmeld-os", &[]),
    ("shmeld-core", &["shmeld-os"]),
    ("shmeld", &["shmeld-os", "shmeld-core"]),
    ("shmeld-cli", &["shmeld-os", "shmeld-core", "shmeld"]),
    ("shmeld-python", &["shmeld-os", "shmeld-core", "shmeld"]),
    // A program like those of the commands: it begins and ends as they do, and says so in their words.
    (
        "shmeld-zenoh",
        &["shmeld-os", "shmeld-core", "shmeld", "shmeld-cli"],
    ),
    ("shmeld-frames-bench", &["shmeld"]),
    ("shmeld-ring-bench", &["shmeld-os", "shmeld-core"]),
    (
        "shmeld-compare",
        &["shmeld-os", "shmeld-core", "shmeld", "shmeld-cli"],
    ),
    ("shmeld-chaos", &["shmeld-os", "shmeld-core"]),
    ("shmeld-fuzz", &["shmeld-os", "shmeld-core", "shmeld"]),
    ("xtask", &[]),
];
const SYSTEM_CRATES: [&str; 3] = ["rustix", "libc", "landlock"];

pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((name, line)) = package_name(text) else {
        // The workspace's own manifest lists versions; nothing depends on anything there.
        return findings;
    };
    let Some((_, below)) = FLOORS.iter().find(|(floor, _)| *floor == name) else {
        let what = format!("crate `{name}` has no floor");
        findings.push(Finding::new(
            path,
            line,
            what,
            "a line for it in FLOORS of xtask/src/tidy/arrows.rs",
        ));
        return findings;
    };
    for (dependency, line) in dependencies(text) {
        let is_ours = FLOORS.iter().any(|(floor, _)| *floor == dependency);
        if is_ours && !below.contains(&dependency) {
            let what = format!("`{name}` depends on `{dependency}`, which is not below it");
            let instead = if below.is_empty() {
                "none of ours".to_owned()
            } else {
                below.join(", ")
            };
            findings.push(Finding::new(path, line, what, instead));
        }
        if SYSTEM_CRATES.contains(&dependency) && name != "shmeld-os" {
            let what = format!("`{name}` depends on `{dependency}`");
            findings.push(Finding::new(
                path,
                line,
                what,
                "what shmeld-os wraps (or wrap it there)",
            ));
        }
    }
    findings
}

/// The heading of a table: `[a.b]` or `[[a.b]]`.
fn heading(line: &str) -> Option<&str> {
    let inside = line.trim().strip_prefix('[')?.trim_start_matches('[');
    inside.split(']').next().map(str::trim)
}

/// Key and value of a line, the key without quotes.
fn key_and_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim().trim_matches('"');
    (!key.starts_with('#')).then_some((key, value.trim()))
}

/// The first quoted text.
fn quoted(value: &str) -> Option<&str> {
    value.split('"').nth(1)
}

fn package_name(text: &str) -> Option<(&str, usize)> {
    let mut table = "";
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = heading(line) {
            table = name;
        } else if let Some(("name", value)) = key_and_value(line)
            && table == "package"
        {
            return quoted(value).map(|name| (name, index + 1));
        }
    }
    None
}

/// Every crate named in a dependency table of any kind, with its line.
fn dependencies(text: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut table = "";
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = heading(line) {
            table = name;
            // `[dependencies.libc]` and `[target.'cfg(unix)'.dependencies.libc]`
            if let Some((above, dependency)) = name.rsplit_once('.')
                && is_dependency_table(above)
            {
                found.push((dependency.trim_matches('"'), index + 1));
            }
            continue;
        }
        let Some((key, value)) = key_and_value(line) else {
            continue;
        };
        let in_one = table
            .rsplit_once('.')
            .is_some_and(|(above, _)| is_dependency_table(above));
        if is_dependency_table(table) {
            // `libc.workspace = true` and `libc = "0.2"`
            found.push((key.split('.').next().unwrap_or(key), index + 1));
        }
        // `c = { package = "libc" }`, `c.package = "libc"`, or `package = "libc"` in a table of its own
        if is_dependency_table(table) || in_one {
            let renamed = if key == "package" || key.ends_with(".package") {
                Some(value)
            } else {
                package_of(value)
            };
            found.extend(renamed.and_then(quoted).map(|name| (name, index + 1)));
        }
    }
    found
}

fn is_dependency_table(table: &str) -> bool {
    let last = table.rsplit('.').next().unwrap_or(table);
    matches!(last, "dependencies" | "dev-dependencies" | "build-dependencies")
}

/// What follows `package =` in an inline table.
fn package_of(value: &str) -> Option<&str> {
    let after = value.split_once("package")?.1.trim_start();
    after.strip_prefix('=')
}

#[cfg(test)]
mod tests {
    use super::check;

    fn complaints(manifest: &str) -> Vec<(usize, String)> {
        check("Cargo.toml", manifest)
            .into_iter()
            .map(|finding| (finding.line, finding.what))
            .collect()
    }

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}\n")
    }

    #[test]
    fn arrows_that_point_up_or_aside_are_found() {
        let upward = [
            ("shmeld-os", "shmeld-core"),
            ("shmeld-os", "shmeld-os"),
            ("shmeld-core", "shmeld"),
            ("shmeld", "shmeld-cli"),
            ("shmeld-cli", "xtask"),
            ("shmeld-cli", "shmeld-python"),
            ("xtask", "shmeld-os"),
        ];
        for (from, to) in upward {
            for table in [
                "dependencies",
                "dev-dependencies",
                "build-dependencies",
                "target.'cfg(unix)'.dependencies",
            ] {
                let found = complaints(&package(from, &format!("[{table}]\n{to}.workspace = true")));
                assert_eq!(
                    found,
                    [(4, format!("`{from}` depends on `{to}`, which is not below it"))],
                    "{table}"
                );
            }
        }
    }

    #[test]
    fn arrows_that_point_down_pass() {
        let text = "[dependencies]\nshmeld-os.workspace = true\nshmeld-core = { workspace = true }\n[dependencies.shmeld]\nworkspace = true";
        assert_eq!(complaints(&package("shmeld-cli", text)), []);
        assert_eq!(
            complaints(&package("xtask", "[dependencies]\n[features]\nshmeld = []")),
            []
        );
    }

    #[test]
    fn system_crates_are_found_in_every_spelling() {
        let spellings = [
            ("[dependencies]\nlibc = \"0.2\"", 4),
            ("[dev-dependencies]\nlibc.workspace = true", 4),
            ("[dependencies.libc]\nversion = \"0.2\"", 3),
            ("[dependencies]\nc = { version = \"0.2\", package = \"libc\" }", 4),
            ("[dependencies]\nc.package = \"libc\"", 4),
            ("[dependencies.c]\npackage = \"libc\"", 4),
        ];
        for (text, line) in spellings {
            let expected = [(line, "`shmeld-core` depends on `libc`".to_owned())];
            assert_eq!(complaints(&package("shmeld-core", text)), expected, "{text}");
            assert_eq!(complaints(&package("shmeld-os", text)), [], "{text}");
        }
    }

    #[test]
    fn crate_without_a_floor_is_found() {
        let found = complaints(&package("shmeld-attic", ""));
        assert_eq!(found, [(2, "crate `shmeld-attic` has no floor".to_owned())]);
    }

    #[test]
    fn versions_of_the_workspace_and_comments_are_no_arrows() {
        assert_eq!(complaints("[workspace.dependencies]\nlibc = \"0.2\"\n"), []);
        assert_eq!(
            complaints(&package("shmeld", "[dependencies]\n# libc = \"0.2\"")),
            []
        );
    }
}
