//! Files for tests: made from a seed, compared by kind, mode, content and link target.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes that follow from a name and a length: no two files of a test are alike.
pub fn of(name: &str, len: usize) -> Vec<u8> {
    let seed = name
        .bytes()
        .fold(len as u64 ^ 0x9e37_79b9_7f4a_7c15, |seed, byte| {
            (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    random_bytes(seed, len)
}

/// `len` bytes of xorshift.
pub fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Insists that a file has these bytes; says where they begin to differ instead of printing them all.
#[track_caller]
pub fn assert_file(path: &Path, expected: &[u8]) {
    let found = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_bytes(&path.display().to_string(), &found, expected);
}

/// Insists that two byte strings are equal.
#[track_caller]
pub fn assert_bytes(what: &str, found: &[u8], expected: &[u8]) {
    assert_eq!(found.len(), expected.len(), "length of {what}");
    let different = found.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(different, None, "{what} differs at this byte");
}

/// The permission bits of a path, symbolic links followed.
pub fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    metadata.permissions().mode() & 0o7777
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub kind: &'static str,
    /// 0 for links, whose mode means nothing.
    pub mode: u32,
    /// What a file holds, or where a link points.
    pub content: Vec<u8>,
    /// Seconds and nanoseconds; only compared if asked for.
    pub modified: Option<(i64, i64)>,
}

/// Everything below a directory, by its path relative to it.
pub type Tree = BTreeMap<PathBuf, Item>;

/// Reads a whole tree; with `times` its modification times too.
pub fn tree(root: &Path, times: bool) -> Tree {
    let mut found = Tree::new();
    visit(root, &mut |path, metadata| {
        let file_type = metadata.file_type();
        let (kind, content) = if file_type.is_symlink() {
            let target = std::fs::read_link(path).unwrap();
            ("link", target.as_os_str().as_bytes().to_vec())
        } else if file_type.is_dir() {
            ("directory", Vec::new())
        } else if file_type.is_file() {
            ("file", std::fs::read(path).unwrap())
        } else if file_type.is_fifo() {
            ("FIFO", Vec::new())
        } else {
            ("other", Vec::new())
        };
        let item = Item {
            kind,
            mode: if kind == "link" {
                0
            } else {
                metadata.mode() & 0o7777
            },
            content,
            modified: times.then(|| (metadata.mtime(), metadata.mtime_nsec())),
        };
        found.insert(path.strip_prefix(root).unwrap().to_owned(), item);
    });
    found
}

/// Insists that two trees are equal; names what differs and not its content.
#[track_caller]
pub fn assert_trees(found: &Tree, expected: &Tree) {
    let missing: Vec<_> = expected
        .keys()
        .filter(|path| !found.contains_key(*path))
        .collect();
    let surplus: Vec<_> = found
        .keys()
        .filter(|path| !expected.contains_key(*path))
        .collect();
    let differ = |path: &&PathBuf| found.get(*path).is_some_and(|item| *item != expected[*path]);
    let different: Vec<_> = expected.keys().filter(differ).collect();
    assert!(
        missing.is_empty() && surplus.is_empty() && different.is_empty(),
        "missing {missing:?}, not expected {surplus:?}, different {different:?}"
    );
}

/// Calls `see` for everything below a directory, links not followed.
fn visit(directory: &Path, see: &mut impl FnMut(&Path, &std::fs::Metadata)) {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        see(&path, &metadata);
        if metadata.is_dir() {
            visit(&path, see);
        }
    }
}

/// The paths of everything below a directory.
pub fn names_below(root: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    visit(root, &mut |path, _| {
        names.push(path.strip_prefix(root).unwrap().to_owned())
    });
    names.sort();
    names
}

/// The last component, as text.
pub fn base(path: &Path) -> String {
    path.file_name()
        .unwrap_or(OsStr::new(""))
        .to_string_lossy()
        .into_owned()
}

/// Removes a tree even if some directory in it is closed to us.
pub fn remove_tree(root: &Path) {
    if root.exists() && std::fs::remove_dir_all(root).is_err() {
        let open = std::process::Command::new("chmod")
            .args(["-R", "u+rwX"])
            .arg(root)
            .status();
        // What still cannot be removed lies in the temporary directory, where it harms nobody.
        let _ = open.and_then(|_| std::fs::remove_dir_all(root));
    }
}
