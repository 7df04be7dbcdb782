//! A map is worth reading only while it is true: every file that ARCHITECTURE.md names is there.
//!
//! A name is a word that looks like a file (`ring.rs`, `posix/{shm, semaphore}.rs`, `docs/PROTOCOL.md`) or
//! lies in a folder of ours (`crates/shmeld-os`). It may be shortened from the left, as maps do.

use super::finding::Finding;

const ENDINGS: [&str; 6] = [".rs", ".md", ".py", ".c", ".toml", ".sh"];
const FOLDERS: [&str; 7] = [
    "crates/",
    "docs/",
    "xtask/",
    "samples/",
    "examples/",
    "tests/",
    "fuzz/",
];

/// Checks the map `text` at `path` against the `paths` of all files.
pub fn check(path: &str, text: &str, paths: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for name in names(line) {
            if !exists(&name, paths) {
                let what = format!("the map names `{name}`, which is not there");
                findings.push(Finding::new(
                    path,
                    index + 1,
                    what,
                    "the name of a file or folder that is",
                ));
            }
        }
    }
    findings
}

/// The file names of a line, braces spelled out.
fn names(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for word in words(line) {
        for name in expand(word) {
            let is_file = ENDINGS
                .iter()
                .any(|ending| name.len() > ending.len() && name.ends_with(ending));
            let is_below = FOLDERS.iter().any(|folder| name.starts_with(folder));
            // `/dev/shm` is no file of ours, `crates/*` no single one.
            if (is_file || is_below) && !name.starts_with(['/', '.', '~']) && !name.contains(['*', '<']) {
                names.push(name);
            }
        }
    }
    names
}

/// Cuts a line at what cannot stand in a path; blanks and commas may, inside braces.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let cut = move |character: char| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let in_braces = depth > 0 && matches!(character, ' ' | ',');
        !(in_braces || character.is_alphanumeric() || "_-./{}*<>~".contains(character))
    };
    // A sentence may end with a name, and a full stop.
    line.split(cut)
        .map(|word| word.trim_end_matches(['.', '/']))
        .filter(|word| !word.is_empty())
}

/// `a/{b, c}.rs` is `a/b.rs` and `a/c.rs`.
fn expand(word: &str) -> Vec<String> {
    let parts = word
        .split_once('{')
        .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    let Some((before, (inside, after))) = parts else {
        return vec![word.to_owned()];
    };
    inside
        .split(',')
        .flat_map(|choice| expand(&format!("{before}{}{after}", choice.trim())))
        .collect()
}

/// Whether `name` is a file or folder, or the end of the path of one.
fn exists(name: &str, paths: &[String]) -> bool {
    let inner = format!("/{name}");
    let is_it = |path: &str| path == name || path.ends_with(&inner);
    let folders = |path: &String| path.match_indices('/').any(|(end, _)| is_it(&path[..end]));
    paths.iter().any(|path| is_it(path) || folders(path))
}

#[cfg(test)]
mod tests {
    use super::check;

    fn absent(text: &str) -> Vec<String> {
        let paths = [
            "crates/shmeld-os/src/posix/shm.rs",
            "crates/shmeld-os/src/lease.rs",
            "docs/PROTOCOL.md",
        ]
        .map(str::to_owned);
        let names = check("ARCHITECTURE.md", text, &paths).into_iter();
        names
            .map(|finding| finding.what.split('`').nth(1).unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn names_of_absent_files_are_found() {
        assert_eq!(absent("See `ring.rs`."), ["ring.rs"]);
        assert_eq!(absent("| posix/{shm, mqueue}.rs | x |"), ["posix/mqueue.rs"]);
        assert_eq!(
            absent("crates/shmeld-attic holds docs/OLD.md."),
            ["crates/shmeld-attic", "docs/OLD.md"]
        );
        assert_eq!(
            absent("`crates/shmeld-os/src/posix/semaphore`"),
            ["crates/shmeld-os/src/posix/semaphore"]
        );
    }

    #[test]
    fn names_of_present_files_pass_also_when_shortened() {
        for text in [
            "`posix/shm.rs` and lease.rs.",
            "crates/shmeld-os/src/",
            "[protocol](docs/PROTOCOL.md)",
            "crates/shmeld-os/src/{posix,lease.rs}",
        ] {
            assert_eq!(absent(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn words_that_are_no_files_of_ours_pass() {
        for text in [
            "/dev/shm/x.rs",
            "crates/*",
            "claim/commit, read/release",
            "https://docs.rs/x",
            "a.rst",
            "posix::shm",
            "{ }",
            "}{",
        ] {
            assert_eq!(absent(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn line_of_the_map_is_told() {
        let findings = check("ARCHITECTURE.md", "one\n\nring.rs\n", &[]);
        assert_eq!(
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>(),
            [3]
        );
    }
}
