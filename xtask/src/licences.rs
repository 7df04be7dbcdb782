//! Whose work besides ours is in the programs, and under which terms: the licence texts of all crates that are linked, each text once.
//!
//! Said by cargo and taken from the sources that cargo built from, so that it is true of each build.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::command::{cargo, output, problem, show};
use crate::files::{paths_in, read, write};

/// How files with terms begin, in small letters.
const NAMES: [&str; 6] = [
    "license",
    "licence",
    "copying",
    "copyright",
    "notice",
    "unlicense",
];

const HEAD: &str = "Work of others in these programs
================================

These crates are linked into the programs, which are themselves MIT OR Apache-2.0. So is the standard library of Rust; its notices are at
https://github.com/rust-lang/rust/blob/master/COPYRIGHT. Each line: crate, version, licence, where it comes from; in brackets the numbers of
its texts below.

";

/// A crate that is linked.
#[derive(Debug, PartialEq, Eq)]
struct Linked<'a> {
    name: &'a str,
    version: &'a str,
    licence: &'a str,
    home: &'a str,
}

/// `cargo xtask licences FILE [CRATE]`: writes what is in a crate of ours, the commands if none is named.
/// # Errors
/// What failed.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let (file, folder) = match arguments {
        [file] => (file, "crates/shmeld-cli"),
        [file, folder] => (file, folder.as_str()),
        _ => return Err("expects a file to write, and perhaps a crate's folder".to_owned()),
    };
    let text = collect(root, &root.join(folder))?;
    write(&root.join(file), &text, 0o644)
}

/// The text for the programs of the crate in `folder`.
/// # Errors
/// What failed: also a crate whose sources are not there.
pub fn collect(root: &Path, folder: &Path) -> Result<String, String> {
    let manifest = show(&folder.join("Cargo.toml"));
    let tree = [
        "tree",
        "--locked",
        "--manifest-path",
        &manifest,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p}|{l}|{r}",
    ];
    let tree = text_of(root, &tree)?;
    let rustc = output(root, "rustc", &["--version", "--verbose"])?;
    let rustc = String::from_utf8_lossy(&rustc);
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let mut metadata = vec![
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--manifest-path",
        &manifest,
    ];
    metadata.extend(host.iter().flat_map(|host| ["--filter-platform", host]));
    let metadata = text_of(root, &metadata)?;
    let folders = folders(&metadata)?;
    let mut texts = Texts::default();
    let mut list = String::new();
    for linked in linked(&tree) {
        let folder = folders
            .get(&(linked.name.to_owned(), linked.version.to_owned()))
            .ok_or_else(|| format!("cargo metadata does not say where {} is", linked.name))?;
        let numbers = texts.add_all(folder)?;
        let _ = writeln!(list, "{}", line(&linked, folder, &numbers)?);
    }
    Ok(format!("{HEAD}{list}{}", texts.shown()))
}

fn text_of(root: &Path, arguments: &[&str]) -> Result<String, String> {
    let bytes = output(root, &cargo(), arguments)?;
    String::from_utf8(bytes).map_err(|error| format!("cargo {}: {error}", arguments[0]))
}

/// The crates of others in what `cargo tree` says; ours and those of one's own disk have a path there.
fn linked(tree: &str) -> Vec<Linked<'_>> {
    let mut lines: Vec<&str> = tree.lines().filter(|line| !line.contains(" (/")).collect();
    lines.sort_unstable();
    lines.dedup();
    let fields = lines.into_iter().filter_map(|line| {
        let mut fields = line.split('|');
        let (name, version) = fields.next()?.split_once(" v")?;
        Some(Linked {
            name,
            version: version.split_whitespace().next()?,
            licence: fields.next()?,
            home: fields.next()?,
        })
    });
    fields.collect()
}

/// Where the sources of each crate are, by name and version.
fn folders(metadata: &str) -> Result<BTreeMap<(String, String), PathBuf>, String> {
    let mut folders = BTreeMap::new();
    for rest in metadata.split("\"manifest_path\":\"").skip(1) {
        let path = Path::new(rest.split('"').next().unwrap_or_default());
        let manifest = read(path)?;
        let package = manifest.split("[package]").nth(1).unwrap_or_default();
        if let (Some(name), Some(version)) = (value(package, "name"), value(package, "version")) {
            folders.insert((name, version), path.with_file_name(""));
        }
    }
    Ok(folders)
}

/// What a line `key = "..."` says.
fn value(manifest: &str, key: &str) -> Option<String> {
    let rest = manifest
        .lines()
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
    rest.trim()
        .strip_prefix('"')?
        .split('"')
        .next()
        .map(str::to_owned)
}

/// One crate; if it came without a text, who wrote it.
fn line(linked: &Linked<'_>, folder: &Path, numbers: &[usize]) -> Result<String, String> {
    let Linked {
        name,
        version,
        licence,
        home,
    } = linked;
    if !numbers.is_empty() {
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        return Ok(format!(
            "{name} {version}, {licence}, {home} [{}]",
            numbers.join(", ")
        ));
    }
    let manifest = read(&folder.join("Cargo.toml"))?;
    let authors = manifest.split_once("authors = [").map_or("", |(_, rest)| rest);
    let authors = authors.split(']').next().unwrap_or_default();
    let authors: Vec<&str> = authors.split('"').skip(1).step_by(2).collect();
    let authors = if authors.is_empty() {
        "its contributors".to_owned()
    } else {
        authors.join(", ")
    };
    Ok(format!(
        "{name} {version}, {licence}, {home} [no text in its package; by {authors}]"
    ))
}

/// Texts of licences, each once, numbered from 1.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
}

impl Texts {
    /// The numbers of the texts that a crate has beside its manifest.
    fn add_all(&mut self, folder: &Path) -> Result<Vec<usize>, String> {
        let mut numbers = Vec::new();
        for path in paths_in(folder)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase();
            if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".rs") {
                let bytes = std::fs::read(&path).map_err(problem(&path))?;
                numbers.push(self.add(&String::from_utf8_lossy(&bytes)));
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// The number of a text; one that differs in blanks only is the same.
    fn add(&mut self, text: &str) -> usize {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let wanted = words(text);
        let place = self.texts.iter().position(|known| words(known) == wanted);
        place.unwrap_or_else(|| {
            self.texts.push(text.replace('\r', ""));
            self.texts.len() - 1
        }) + 1
    }

    fn shown(&self) -> String {
        let mut shown = String::new();
        for (place, text) in self.texts.iter().enumerate() {
            let _ = write!(
                shown,
                "\n---- [{}] ----\n\n{}\n",
                place + 1,
                text.trim_matches('\n')
            );
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::{Texts, linked, value};

    #[test]
    fn crates_of_others_are_listed_once_and_ours_not() {
        let tree = "shmeld v0.1.0 (/home/x/shmeld)|MIT|\nb v2.0.0|MIT|https://b\na v1.0.0|Zlib|\nb v2.0.0|MIT|https://b\n";
        let found: Vec<String> = linked(tree)
            .iter()
            .map(|found| {
                format!(
                    "{} {} {} {}",
                    found.name, found.version, found.licence, found.home
                )
            })
            .collect();
        assert_eq!(found, ["a 1.0.0 Zlib ", "b 2.0.0 MIT https://b"]);
    }

    #[test]
    fn texts_that_differ_in_blanks_only_are_one() {
        let mut texts = Texts::default();
        let numbers = [
            texts.add("MIT\n by a\n"),
            texts.add("MIT by\r\na"),
            texts.add("MIT by b"),
        ];
        assert_eq!(numbers, [1, 1, 2]);
        assert_eq!(
            texts.shown(),
            "\n---- [1] ----\n\nMIT\n by a\n\n---- [2] ----\n\nMIT by b\n"
        );
    }

    #[test]
    fn manifest_says_name_and_version() {
        let manifest = "\nname = \"either\"\nversion = \"1.2.3\"\n";
        assert_eq!(value(manifest, "name").as_deref(), Some("either"));
        assert_eq!(value(manifest, "version").as_deref(), Some("1.2.3"));
        assert_eq!(value("version.workspace = true\n", "version"), None);
    }
}
