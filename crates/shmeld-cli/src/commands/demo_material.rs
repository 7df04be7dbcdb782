//! What the demonstration transfers: copies of the sample files, or files made on the spot, and a tree.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::demo_stage::{explain, write_noise};

/// The list of names, in the samples and in the copy of them.
pub const LIST: &str = "filelist.txt";
/// The file of the list that is too large to be kept in a repository.
pub const LARGE: &str = "large.bin";
pub const LARGE_BYTES: u64 = 5_000_000;
const LARGE_SEED: u64 = 0x5eed;

/// The files to ask for, and where they lie.
#[derive(Debug)]
pub struct Material {
    /// The directory that the server offers.
    pub offered: PathBuf,
    /// The names of the list, in order.
    pub names: Vec<String>,
    /// Whether there were no samples, and all files had to be made.
    pub made_up: bool,
}

impl Material {
    /// Copies what the list in `samples` names into `stage/offered`, or makes files there.
    ///
    /// # Errors
    /// Names the file and the reason.
    pub fn prepare(samples: &Path, stage: &Path) -> Result<Self, String> {
        let offered = stage.join("offered");
        fs::create_dir(&offered).map_err(explain("mkdir", &offered))?;
        let list = samples.join(LIST);
        let made_up = !list.is_file();
        let names = if made_up {
            make_up(&offered).map_err(explain("write", &offered))?
        } else {
            copy_samples(samples, &list, &offered)?
        };
        if names.iter().any(|name| name == LARGE) && !offered.join(LARGE).exists() {
            let large = offered.join(LARGE);
            write_noise(&large, LARGE_BYTES, LARGE_SEED).map_err(explain("write", &large))?;
        }
        Ok(Self {
            offered,
            names,
            made_up,
        })
    }

    /// What must become of a name on the list.
    #[must_use]
    pub fn fate(&self, name: &str) -> Fate {
        let path = self.offered.join(name);
        match path.symlink_metadata() {
            Ok(found) if found.is_file() && is_plain(name) => Fate::Delivered,
            Err(_) if is_plain(name) => Fate::NotFound,
            _ => Fate::Refused,
        }
    }
}

/// What must become of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is a file that is offered.
    Delivered,
    /// Nothing has that name.
    NotFound,
    /// It leads out, or to something that is no file.
    Refused,
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    parts.all(|part| matches!(part, Component::Normal(_)))
}

fn copy_samples(samples: &Path, list: &Path, offered: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(list).map_err(explain("read", list))?;
    fs::write(offered.join(LIST), &text).map_err(explain("write", offered))?;
    let names: Vec<String> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    for name in &names {
        // A name that leads out of the samples stays on the list: the server shall refuse it.
        let (from, to) = (samples.join(name), offered.join(name));
        if is_plain(name) && from.is_file() {
            fs::create_dir_all(to.parent().unwrap_or(offered)).map_err(explain("mkdir", &to))?;
            fs::copy(&from, &to).map_err(explain("copy", &from))?;
        }
    }
    Ok(names)
}

/// Small files of the sizes at which transfers like to go wrong.
fn make_up(offered: &Path) -> std::io::Result<Vec<String>> {
    let poem = "Two who never share a room\nlean a page against the wall:\none writes, one reads, and none needs to call.\n";
    fs::write(offered.join("poem.txt"), poem)?;
    File::create_new(offered.join("empty.dat"))?;
    write_noise(&offered.join("page.bin"), 4096, 3)?;
    write_noise(&offered.join("picture.bin"), 25_258, 7)?;
    let names = [
        "poem.txt",
        "empty.dat",
        "page.bin",
        "picture.bin",
        LARGE,
        "missing.txt",
    ];
    fs::write(offered.join(LIST), names.join("\n") + "\n")?;
    Ok(names.map(str::to_owned).to_vec())
}

/// A directory with the names in it that are copied as a tree.
#[derive(Debug)]
pub struct Tree {
    pub root: PathBuf,
    pub names: Vec<PathBuf>,
    /// What is not copied although it is there.
    pub skipped: Vec<String>,
    /// Whether it is the repository that the reader stands in.
    pub is_repository: bool,
}

impl Tree {
    /// The repository around `samples`, if the reader stands in it; else a small tree made in `stage`.
    ///
    /// # Errors
    /// Names the file and the reason.
    pub fn choose(samples: &Path, stage: &Path) -> Result<Self, String> {
        let here = Path::new(".");
        let is_repository = here.join("Cargo.toml").is_file()
            && here.join("crates").is_dir()
            && samples.is_dir()
            && samples.canonicalize().ok() == here.join("samples").canonicalize().ok();
        let root = if is_repository {
            here.to_owned()
        } else {
            make_tree(stage).map_err(explain("write", stage))?
        };
        let mut tree = Self {
            names: Vec::new(),
            skipped: Vec::new(),
            is_repository,
            root,
        };
        let entries = fs::read_dir(&tree.root).map_err(explain("read", &tree.root))?;
        for entry in entries {
            let name = PathBuf::from(entry.map_err(explain("read", &tree.root))?.file_name());
            if is_worth_copying(&tree.root.join(&name)) {
                tree.names.push(name);
            } else {
                tree.skipped.push(name.display().to_string());
            }
        }
        tree.names.sort();
        tree.skipped.sort();
        Ok(tree)
    }
}

/// Not history, not what compilers made (such directories carry a tag), and nothing that is neither file nor directory.
fn is_worth_copying(path: &Path) -> bool {
    let built = path.ends_with("target") || path.join("CACHEDIR.TAG").exists();
    let plain = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() || found.is_file());
    plain && !built && !path.ends_with(".git")
}

fn make_tree(stage: &Path) -> std::io::Result<PathBuf> {
    let root = stage.join("tree");
    fs::create_dir_all(root.join("plain/deep/deeper"))?;
    fs::create_dir_all(root.join("plain/empty"))?;
    for index in 0..60 {
        let directory = ["plain", "plain/deep", "plain/deep/deeper"][index as usize % 3];
        let name = format!("{directory}/file-{index:02}");
        write_noise(&root.join(name), index * 377, index)?;
    }
    fs::write(root.join("plain/.hidden"), "dotfiles are files\n")?;
    symlink("deep/file-01", root.join("plain/link"))?;
    Ok(root)
}
