//! The stage of `demo` and `bench`: a directory that vanishes with its owner, and bytes to fill files with.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::program::refused;

/// Digits that make the names of one run its own. No secret: what has to be one asks the kernel.
#[must_use]
pub fn random_tag() -> String {
    format!(
        "{:06x}",
        RandomState::new().hash_one(std::process::id()) & 0xff_ffff
    )
}

/// What was not possible with a file, for people.
pub fn explain(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> String {
    move |error| refused(operation, &path.display().to_string(), &error).to_string()
}

/// A new directory for this user only, removed with all that is in it when this object goes.
#[derive(Debug)]
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// Makes one for a demonstration, of a name that `tag` makes its own.
    ///
    /// # Errors
    /// What the kernel says, with the path.
    pub fn of_demo(tag: &str) -> Result<Self, String> {
        Self::create(&std::env::temp_dir(), &format!("shmeld-demo-{tag}"))
    }

    /// Makes `parent/name`, which must not exist.
    ///
    /// # Errors
    /// What the kernel says, with the path.
    pub fn create(parent: &Path, name: &str) -> Result<Self, String> {
        let path = parent.join(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(explain("mkdir", &path))?;
        Ok(Self(path))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Removes it now, and says if that failed.
    ///
    /// # Errors
    /// Names the directory that is left.
    pub fn remove(mut self) -> Result<(), String> {
        let path = std::mem::take(&mut self.0);
        remove_tree(&path).map_err(explain("remove", &path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Whoever wants to know calls `remove`.
            let _ = remove_tree(&self.0);
        }
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        outcome => outcome,
    }
}

/// A copy has the modes of its source: a directory without `w` lets nobody but root remove what is in it.
fn open_directories(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes a new file of `bytes` bytes that follow from `seed` and from nothing else, and that look random.
///
/// # Errors
/// What the kernel says.
pub fn write_noise(path: &Path, bytes: u64, seed: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 18, File::create_new(path)?);
    let mut left = bytes;
    // Marsaglia's xorshift: any state but zero returns only after 2^64 - 1 steps.
    let mut state = seed | 1;
    while left > 0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = state.to_le_bytes();
        let len = left.min(word.len() as u64);
        file.write_all(&word[..len as usize])?;
        left -= len;
    }
    file.flush()
}

/// Whether two files hold the same bytes; their length is found out by reading.
///
/// # Errors
/// One of them cannot be read.
pub fn same_bytes(left: &Path, right: &Path) -> io::Result<bool> {
    const BLOCK_BYTES: usize = 1 << 18;
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut left_block, mut right_block) = (Vec::new(), Vec::new());
    loop {
        left_block.clear();
        right_block.clear();
        (&mut left)
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut left_block)?;
        (&mut right)
            .take(BLOCK_BYTES as u64)
            .read_to_end(&mut right_block)?;
        if left_block != right_block {
            return Ok(false);
        }
        if left_block.is_empty() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> TemporaryDirectory {
        let name = format!("shmeld-stage-{}", random_tag());
        TemporaryDirectory::create(&std::env::temp_dir(), &name).expect("a directory of its own")
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let stage = stage();
        let file = |name: &str| stage.path().join(name);
        for (name, bytes, seed) in [
            ("a", 300_001, 5),
            ("b", 300_001, 5),
            ("c", 300_001, 9),
            ("d", 300_000, 5),
        ] {
            write_noise(&file(name), bytes, seed).expect("written");
        }
        assert!(same_bytes(&file("a"), &file("b")).expect("read"));
        assert!(!same_bytes(&file("a"), &file("c")).expect("read"));
        assert!(!same_bytes(&file("a"), &file("d")).expect("read"));
        assert_eq!(fs::metadata(file("a")).expect("stat").len(), 300_001);
    }

    #[test]
    fn a_stage_goes_with_its_owner_even_if_a_copy_made_it_read_only() {
        let stage = stage();
        let path = stage.path().to_owned();
        fs::create_dir_all(path.join("a/b")).expect("mkdir");
        fs::write(path.join("a/b/c"), "x").expect("write");
        fs::set_permissions(path.join("a/b"), Permissions::from_mode(0o500)).expect("chmod");
        drop(stage);
        assert!(!path.exists());
    }
}
