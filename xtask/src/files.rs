//! Files of a package on their way: read, written and copied with modes that do not depend on who builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::command::problem;

pub fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(problem(path))
}

pub fn make_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(problem(path))
}

pub fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), String> {
    let bytes = fs::read(from).map_err(problem(from))?;
    write_bytes(to, &bytes, mode)
}

pub fn write(to: &Path, text: &str, mode: u32) -> Result<(), String> {
    write_bytes(to, text.as_bytes(), mode)
}

fn write_bytes(to: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    make_folder(to.parent().unwrap_or(to))?;
    fs::write(to, bytes).map_err(problem(to))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(problem(to))
}

/// What is in a folder, sorted.
pub fn paths_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut paths = fs::read_dir(folder)
        .map_err(problem(folder))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(problem(folder)))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    Ok(paths)
}

/// Lets everybody into each folder below `folder`, and says how much is there in KiB as Debian counts it: files rounded up, all else 1.
pub fn open_folders(folder: &Path) -> Result<u64, String> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(problem(folder))?;
    let mut kib = 1;
    for path in paths_in(folder)? {
        let found = fs::symlink_metadata(&path).map_err(problem(folder))?;
        kib += match (found.is_dir(), found.is_file()) {
            (true, _) => open_folders(&path)?,
            (_, true) => found.len().div_ceil(1024),
            _ => 1,
        };
    }
    Ok(kib)
}

#[cfg(test)]
mod tests {
    use super::{open_folders, write};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A package that was built under umask 077 had folders that only root could enter.
    #[test]
    fn folders_are_open_and_sizes_those_of_debian() {
        let folder = std::env::temp_dir().join(format!("shmeld-files-{}", std::process::id()));
        let below = folder.join("usr");
        write(&below.join("one"), "1", 0o600).expect("written");
        write(&below.join("more"), &"x".repeat(1025), 0o600).expect("written");
        fs::set_permissions(&below, fs::Permissions::from_mode(0o700)).expect("ours");
        let kib = open_folders(&folder);
        let mode = fs::metadata(&below).expect("there").permissions().mode();
        fs::remove_dir_all(&folder).expect("ours");
        assert_eq!((kib, mode & 0o777), (Ok(2 + 1 + 2), 0o755));
    }
}
