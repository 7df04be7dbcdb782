//! Is the copy what it should be? Looked at file by file, without believing what the two processes said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use shmeld::os::name::escape;

use super::demo_stage::same_bytes;

/// What was compared, and what was not equal.
#[derive(Debug, Default)]
pub struct Comparison {
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    pub bytes: u64,
    /// Entries that are not in the copy because the server does not serve such things.
    pub left_out: u64,
    pub differences: Vec<String>,
}

/// How copies are made here.
#[derive(Debug)]
pub struct Rules<'r> {
    /// Bits that no copy gets.
    pub umask: u32,
    /// The names that the client said it did not get, escaped as it prints them, and why.
    pub refused: &'r BTreeMap<String, String>,
}

impl Comparison {
    /// Compares `source/name` with `copy/name`, and everything below.
    pub fn add(&mut self, source: &Path, copy: &Path, name: &Path, rules: &Rules<'_>) {
        if let Err(error) = self.compare(source, copy, name, rules) {
            self.differ(name, &error.to_string());
        }
    }

    fn compare(&mut self, source: &Path, copy: &Path, name: &Path, rules: &Rules<'_>) -> io::Result<()> {
        let (from, to) = (source.join(name), copy.join(name));
        let original = fs::symlink_metadata(&from)?;
        let copied = match fs::symlink_metadata(&to) {
            Ok(copied) => copied,
            Err(_) if may_be_missing(&from, &original, name, rules) => {
                self.left_out += 1;
                return Ok(());
            }
            Err(error) => {
                let why = rules.refused.get(&shown(name)).cloned();
                let why = why.unwrap_or_else(|| error.to_string());
                self.differ(name, &format!("is not in the copy: {why}"));
                return Ok(());
            }
        };
        if original.file_type() != copied.file_type() {
            self.differ(name, "is something else in the copy");
            return Ok(());
        }
        if original.is_symlink() {
            self.links += 1;
            if fs::read_link(&from)? != fs::read_link(&to)? {
                self.differ(name, "points elsewhere in the copy");
            }
            return Ok(());
        }
        // Set-user-id and the like are never copied.
        let wanted = original.mode() & 0o777 & !rules.umask;
        if copied.mode() & 0o7777 != wanted {
            let mode = copied.mode() & 0o7777;
            self.differ(name, &format!("has mode {mode:04o} instead of {wanted:04o}"));
        }
        if original.is_dir() {
            self.directories += 1;
            return self.compare_children(source, copy, name, rules);
        }
        self.files += 1;
        self.bytes += original.len();
        if !same_bytes(&from, &to)? {
            self.differ(name, "has other bytes in the copy");
        }
        Ok(())
    }

    fn compare_children(
        &mut self,
        source: &Path,
        copy: &Path,
        name: &Path,
        rules: &Rules<'_>,
    ) -> io::Result<()> {
        let children = names_in(&source.join(name))?;
        for child in &children {
            self.add(source, copy, &name.join(child), rules);
        }
        for extra in names_in(&copy.join(name))?.difference(&children) {
            self.differ(&name.join(extra), "is only in the copy");
        }
        Ok(())
    }

    fn differ(&mut self, name: &Path, how: &str) {
        self.differences.push(format!("{} {how}", shown(name)));
    }
}

/// A name as the client prints it.
#[must_use]
pub fn shown(name: &Path) -> String {
    escape(name.as_os_str().as_bytes())
}

/// The server serves regular files, and links that stay inside; what it refused, it must have had a reason to refuse.
fn may_be_missing(from: &Path, original: &Metadata, name: &Path, rules: &Rules<'_>) -> bool {
    let has_reason = !(original.is_dir() || original.is_file()) || File::open(from).is_err();
    has_reason && rules.refused.contains_key(&shown(name))
}

fn names_in(directory: &Path) -> io::Result<BTreeSet<PathBuf>> {
    fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::demo_stage::{TemporaryDirectory, random_tag};
    use super::*;

    /// Two equal trees `a/t` and `b/t`.
    fn twins() -> TemporaryDirectory {
        let name = format!("shmeld-compare-{}", random_tag());
        let stage = TemporaryDirectory::create(&std::env::temp_dir(), &name).expect("a directory");
        for side in ["a", "b"] {
            let tree = stage.path().join(side).join("t");
            fs::create_dir_all(tree.join("empty")).expect("mkdir");
            fs::write(tree.join("file"), "some bytes").expect("write");
            fs::set_permissions(tree.join("file"), Permissions::from_mode(0o640)).expect("chmod");
            symlink("file", tree.join("link")).expect("symlink");
        }
        stage
    }

    fn differences(stage: &TemporaryDirectory, umask: u32, refused: &[&str]) -> Vec<String> {
        let refused = refused
            .iter()
            .map(|name| ((*name).to_owned(), "DENIED".to_owned()))
            .collect();
        let rules = Rules {
            umask,
            refused: &refused,
        };
        let mut comparison = Comparison::default();
        let side = |name| stage.path().join(name);
        comparison.add(&side("a"), &side("b"), Path::new("t"), &rules);
        comparison.differences
    }

    #[test]
    fn equal_trees_have_no_differences() {
        assert_eq!(differences(&twins(), 0, &[]), [""; 0]);
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let stage = twins();
        let copy = stage.path().join("b/t");
        fs::write(copy.join("file"), "some bytez").expect("write");
        fs::remove_dir(copy.join("empty")).expect("rmdir");
        fs::write(copy.join("more"), "").expect("write");
        fs::remove_file(copy.join("link")).expect("unlink");
        symlink("elsewhere", copy.join("link")).expect("symlink");
        let found = differences(&stage, 0, &[]).join("\n");
        for words in [
            "t/file has other bytes",
            "t/empty is not in the copy: No such file",
            "t/more is only in",
            "t/link points elsewhere",
        ] {
            assert!(found.contains(words), "{words} is not in:\n{found}");
        }
    }

    #[test]
    fn modes_must_be_those_that_the_umask_leaves() {
        let stage = twins();
        let found = differences(&stage, 0o077, &[]).join("\n");
        assert!(found.contains("t/file has mode 0640 instead of 0600"), "{found}");
    }

    #[test]
    fn only_what_was_refused_for_a_reason_may_be_missing() {
        let stage = twins();
        fs::remove_file(stage.path().join("b/t/link")).expect("unlink");
        assert_eq!(differences(&stage, 0, &["t/link"]), [""; 0]);
        assert_eq!(differences(&stage, 0, &[]).len(), 1);
        fs::remove_file(stage.path().join("b/t/file")).expect("unlink");
        assert_eq!(
            differences(&stage, 0, &["t/link", "t/file"]).len(),
            1,
            "a plain file has no reason"
        );
    }
}
