//! A release is of one version: the workspace, what our crates ask of each other, and the workspaces beside it that are packaged too.

use super::finding::Finding;

/// Where the version is decided.
const HERE: &str = "Cargo.toml";

/// Compares the version of the workspace with what the other `manifests`, paths and texts, say.
pub fn check(manifests: &[(String, String)]) -> Vec<Finding> {
    let workspace = manifests.iter().find(|(path, _)| path == HERE);
    let version = workspace.and_then(|(_, text)| text.lines().find_map(|line| quoted(line, "version = ", 0)));
    let Some(version) = version else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (path, text) in manifests {
        for (place, line) in text.lines().enumerate() {
            let said = match path.as_str() {
                HERE if line.contains("path = \"crates/") => line.find("version = "),
                HERE => None,
                other => (other.starts_with("crates/") && line.starts_with("version = ")).then_some(0),
            };
            let said = said.and_then(|start| quoted(line, "version = ", start));
            if let Some(said) = said.filter(|said| *said != version) {
                let what = format!("version {said}, the workspace has {version}");
                findings.push(Finding::new(
                    path,
                    place + 1,
                    what,
                    format!("version = \"{version}\""),
                ));
            }
        }
    }
    findings
}

/// What stands in quotes behind `key`, which begins at `start`.
fn quoted<'a>(line: &'a str, key: &str, start: usize) -> Option<&'a str> {
    line[start..]
        .strip_prefix(key)?
        .strip_prefix('"')?
        .split('"')
        .next()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn version_that_a_release_would_forget_is_found() {
        let root = "[workspace.package]\nversion = \"0.2.0\"\n[workspace.dependencies]\n\
                    shmeld = { path = \"crates/shmeld\", version = \"0.1.0\" }\nclap = { version = \"4.6\" }\n";
        let files = [
            ("Cargo.toml", root),
            (
                "crates/shmeld-python/Cargo.toml",
                "[package]\nversion = \"0.1.0\"\n",
            ),
            ("crates/shmeld/Cargo.toml", "version.workspace = true\n"),
            ("benches/ring/Cargo.toml", "version = \"0.0.0\"\n"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let found: Vec<(String, usize)> = check(&files)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        let expected = [("Cargo.toml", 4), ("crates/shmeld-python/Cargo.toml", 2)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
