//! What the Debian package says: manual pages, changes, licences, the documents that the README names, and completions.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::command::{output, problem, show};
use crate::deb::{PROGRAMS, program};
use crate::files::{copy, paths_in, read, write};
use crate::licences;

/// The folders whose files go with the README, which names them.
const FOLDERS: [&str; 3] = ["docs", "examples/c", "examples/python"];
/// Kinds of file that are documents.
const KINDS: [&str; 6] = ["md", "svg", "txt", "c", "h", "py"];

/// Manual pages, what Debian wants to know of licences and changes, the documents, the drop-in as an example.
pub fn add_documents(root: &Path, stage: &Path, version: &str, epoch: &str) -> Result<(), String> {
    let manual = stage.join("usr/share/man/man1");
    output(root, &program(stage), &["man", &show(&manual)])?;
    let documents = stage.join("usr/share/doc/shmeld");
    copy(&root.join("CHANGELOG.md"), &documents.join("changelog"), 0o644)?;
    write(
        &documents.join("changelog.Debian"),
        &changes(root, version, epoch)?,
        0o644,
    )?;
    let others = licences::collect(root, &root.join("crates/shmeld-cli"))?;
    write(&documents.join("THIRD-PARTY"), &others, 0o644)?;
    let packed = ["changelog", "changelog.Debian", "THIRD-PARTY"].map(|name| documents.join(name));
    for file in paths_in(&manual)?.iter().chain(&packed) {
        output(root, "gzip", &["--best", "--no-name", &show(file)])?;
    }
    for folder in ["."].into_iter().chain(FOLDERS) {
        for from in paths_in(&root.join(folder))? {
            let is_document = |kind: &str| from.extension().is_some_and(|ending| ending == kind);
            // Debian has the list of changes under its own name.
            let is_ours = from.is_file() && !from.ends_with("CHANGELOG.md");
            if let (true, Some(name)) = (is_ours && KINDS.into_iter().any(is_document), from.file_name()) {
                copy(&from, &documents.join(folder).join(name), 0o644)?;
            }
        }
    }
    let readme = read(&root.join("README.md"))?;
    let absent = absent(&readme, &documents);
    if !absent.is_empty() {
        return Err(format!(
            "README.md names what is not in the package: {}",
            absent.join(", ")
        ));
    }
    copy(
        &root.join("packaging/debian/override.conf"),
        &documents.join("examples/shm_server@.service.d/override.conf"),
        0o644,
    )?;
    copy(
        &root.join("packaging/debian/lintian-overrides"),
        &stage.join("usr/share/lintian/overrides/shmeld"),
        0o644,
    )?;
    let licence = read(&root.join("LICENSE-MIT"))?;
    let licence: Vec<String> = licence.lines().map(as_continuation).collect();
    let copyright = read(&root.join("packaging/debian/copyright"))?.replace("@MIT@", &licence.join("\n"));
    write(&documents.join("copyright"), &copyright, 0o644)
}

/// Debian's own list of changes has a form of its own; it says no more than where ours is.
fn changes(root: &Path, version: &str, epoch: &str) -> Result<String, String> {
    let date = output(
        root,
        "date",
        &["--utc", "--rfc-email", &format!("--date=@{epoch}")],
    )?;
    let date = String::from_utf8_lossy(&date);
    let control = read(&root.join("packaging/debian/control"))?;
    let maintainer = control.lines().find_map(|line| line.strip_prefix("Maintainer: "));
    Ok(format!(
        "shmeld ({version}) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- {}  {}\n",
        maintainer.unwrap_or_default(),
        date.trim()
    ))
}

/// The documents and pictures that a text names and that are not in the folder.
fn absent<'a>(text: &'a str, folder: &Path) -> Vec<&'a str> {
    let words = text.split(|letter: char| !letter.is_alphanumeric() && !"/._-".contains(letter));
    // A sentence may end behind it.
    let words = words.map(|word| word.trim_end_matches('.'));
    let named = words.filter(|word| word.ends_with(".md") || word.ends_with(".svg"));
    // The text of a link names a document without its folder.
    let is_here = |word: &&str| {
        *word == "CHANGELOG.md" || folder.join(word).is_file() || folder.join("docs").join(word).is_file()
    };
    named.filter(|word| !is_here(word)).collect()
}

/// A line of a longer field of a control file.
fn as_continuation(line: &str) -> String {
    if line.trim().is_empty() {
        " .".to_owned()
    } else {
        format!(" {line}")
    }
}

/// A shell looks for the completions of a program in a file of its name; ours for all three stand in one text, which zsh has apart.
pub fn add_completions(root: &Path, stage: &Path) -> Result<(), String> {
    let script = |shell: &str| -> Result<String, String> {
        let script = output(root, &program(stage), &["completions", shell])?;
        String::from_utf8(script).map_err(|error| format!("completions for {shell}: {error}"))
    };
    for (shell, folder, ending) in [
        ("bash", "usr/share/bash-completion/completions", ""),
        ("fish", "usr/share/fish/vendor_completions.d", ".fish"),
    ] {
        let folder = stage.join(folder);
        let whole = format!("{}{ending}", PROGRAMS[0]);
        write(&folder.join(&whole), &script(shell)?, 0o644)?;
        for name in &PROGRAMS[1..] {
            let link = folder.join(format!("{name}{ending}"));
            symlink(&whole, &link).map_err(problem(&link))?;
        }
    }
    for part in script("zsh")?.split("#compdef ").skip(1) {
        let name = part.split_whitespace().next().unwrap_or_default();
        let to = stage
            .join("usr/share/zsh/vendor-completions")
            .join(format!("_{name}"));
        write(&to, &format!("#compdef {part}"), 0o644)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::absent;
    use std::path::Path;

    #[test]
    fn document_that_a_text_names_and_the_folder_lacks_is_found() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = "![A run](docs/run.svg), SECURITY.md; docs/LIMITS.md (all) docs/NONE.md. CHANGELOG.md";
        assert_eq!(absent(text, &folder), ["docs/NONE.md"]);
    }
}
