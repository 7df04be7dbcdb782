//! A tree on its way to the client's disk: a new one is built aside and renamed once, an existing one is merged file by file.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shmeld_os::fs::{self, FileKind};
use shmeld_os::{Errno, Error, ErrorKind};

use super::node::is_node;
use super::output::{OutputFile, OutputOptions, hidden_name};
use super::place::Place;
use super::record::Entry;

/// See the module.
#[derive(Debug)]
pub(super) struct TreeOutput {
    parent: Place,
    name: Vec<u8>,
    /// The name under which the tree is being built; `None` when it is merged into what was there.
    aside: Option<Vec<u8>>,
    root: Place,
    options: OutputOptions,
    /// The directory used last: files come directory by directory.
    recent: Option<(Vec<u8>, Place)>,
    /// Directories that get their modes or times once everything is in them. In this order each stands before those in it.
    directories: BTreeMap<Vec<u8>, Directory>,
}

/// What a directory shall be.
#[derive(Debug)]
struct Directory {
    entry: Entry,
    /// Made by this transfer. What was there keeps its mode.
    is_new: bool,
}

impl TreeOutput {
    /// Begins a tree called `name` in `parent`, or in `parent` itself if it has no name; its own directory is `entry`. A symbolic link under
    /// that name is refused: it may lead anywhere.
    pub(super) fn begin(
        parent: Place,
        name: Vec<u8>,
        entry: &Entry,
        options: OutputOptions,
    ) -> Result<Self, Error> {
        let path = if name.is_empty() {
            parent.path.clone()
        } else {
            parent.join(&name)
        };
        let existing = if name.is_empty() {
            Ok(parent.directory.clone())
        } else {
            fs::open_directory_at(&parent.directory, &name).map(Arc::new)
        };
        match existing {
            // What is below is merged.
            Ok(directory) => {
                let root = Place { directory, path };
                let mut tree = Self {
                    parent: root.clone(),
                    name: Vec::new(),
                    aside: None,
                    root,
                    options,
                    recent: None,
                    directories: BTreeMap::new(),
                };
                tree.note(b"", entry, false);
                return Ok(tree);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let aside = hidden_name(&name)?;
        let directory = Arc::new(make_open(&parent.directory, &aside)?);
        let root = Place { directory, path };
        let mut tree = Self {
            parent,
            name,
            aside: Some(aside),
            root,
            options,
            recent: None,
            directories: BTreeMap::new(),
        };
        tree.note(b"", entry, true);
        Ok(tree)
    }

    /// Remembers a directory that is there now, once however often it comes.
    fn note(&mut self, name: &[u8], entry: &Entry, is_new: bool) {
        if is_new || self.options.preserve && !self.directories.contains_key(name) {
            let entry = entry.clone();
            self.directories
                .insert(name.to_vec(), Directory { entry, is_new });
        }
    }

    /// The directory that holds `name`, and the last component of it. The name has been checked.
    fn place_of<'n>(&mut self, name: &'n [u8]) -> Result<(Place, &'n [u8]), Error> {
        let Some(slash) = name.iter().rposition(|byte| *byte == b'/') else {
            return Ok((self.root.clone(), name));
        };
        let (directory, base) = (&name[..slash], &name[slash + 1..]);
        if let Some((recent, place)) = &self.recent
            && recent == directory
        {
            return Ok((place.clone(), base));
        }
        let place = descend(&self.root, directory, None)?;
        self.recent = Some((directory.to_vec(), place.clone()));
        Ok((place, base))
    }

    pub(super) fn file(&mut self, entry: &Entry) -> Result<OutputFile, Error> {
        let (place, base) = self.place_of(&entry.name)?;
        if self.aside.is_some() {
            OutputFile::create_aside(&place, base, entry, self.options)
        } else {
            OutputFile::create(&place, base, entry, self.options)
        }
    }

    pub(super) fn directory(&mut self, entry: &Entry) -> Result<(), Error> {
        let made = self.make_directory(entry);
        made.map_err(|error| self.root.error(&entry.name, &error))
    }

    fn make_directory(&mut self, entry: &Entry) -> Result<(), Error> {
        let (place, base) = self.place_of(&entry.name)?;
        match fs::make_directory(&place.directory, base, 0o700) {
            Ok(()) => {
                self.note(&entry.name, entry, true);
                self.sync_name(&place)
            }
            // Merging: what is there must be a directory, not a link to one.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::open_directory_at(&place.directory, base)?;
                self.note(&entry.name, entry, false);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn symlink(&mut self, entry: &Entry) -> Result<(), Error> {
        let made = self.make_symlink(entry);
        made.map_err(|error| self.root.error(&entry.name, &error))
    }

    fn make_symlink(&mut self, entry: &Entry) -> Result<(), Error> {
        let (place, base) = self.place_of(&entry.name)?;
        let directory = &place.directory;
        match fs::make_symlink(&entry.text, directory, base) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !self.options.no_clobber => {
                // A link is replaced wherever it leads; what a file would be written into stays.
                if let Some(stat) = fs::find_at(directory, base)?
                    && stat.kind != FileKind::Symlink
                    && is_node(&place.join(base), stat.kind)
                {
                    return Err(error);
                }
                let temporary = hidden_name(base)?;
                fs::make_symlink(&entry.text, directory, &temporary)?;
                fs::rename(directory, &temporary, directory, base).inspect_err(|_| {
                    // The rename's error is the one to report.
                    let _ = fs::unlink(directory, &temporary);
                })?;
            }
            other => other?,
        }
        if self.options.preserve {
            fs::set_times_at(directory, base, entry.modified)?;
        }
        self.sync_name(&place)
    }

    /// A name was made in a directory that stays as it is. (Those of a tree that is built aside are synced at its end.)
    fn sync_name(&self, place: &Place) -> Result<(), Error> {
        if self.options.sync && self.aside.is_none() {
            fs::sync(&place.directory)?;
        }
        Ok(())
    }

    /// Everything has come: directories get their modes and times, innermost first, and a new tree gets its name.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.recent = None;
        let mut first_error = None;
        for (name, directory) in self.directories.iter().rev() {
            // One that has gone meanwhile does not keep the others from theirs.
            if let Err(error) = self.settle(name, directory) {
                first_error.get_or_insert(self.root.error(name, &error));
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        if let Some(aside) = &self.aside {
            let appeared = appear(&self.parent, aside, &self.name);
            appeared.map_err(|error| self.parent.error(&self.name, &error))?;
            self.aside = None;
            if self.options.sync {
                fs::sync(&self.parent.directory)?;
            }
        }
        Ok(())
    }

    /// A directory of the tree; its own has no name.
    fn place_named(&self, name: &[u8]) -> Result<Place, Error> {
        if name.is_empty() {
            Ok(self.root.clone())
        } else {
            descend(&self.root, name, None)
        }
    }

    /// Removes the tree that is built aside; `false` if that needs another try. What has its name and is not it stays.
    fn remove(&self, aside: &[u8]) -> bool {
        let is_ours = fs::stat(&self.root.directory).and_then(|root| {
            let found = fs::find_at(&self.parent.directory, aside)?;
            Ok(found.is_some_and(|found| found.is_same_file(&root)))
        });
        if !is_ours.unwrap_or(false) {
            return true;
        }
        // By the descriptor: what the user called the directory may be another one by now.
        let parent = PathBuf::from(format!("/proc/self/fd/{}", self.parent.directory.as_raw_fd()));
        std::fs::remove_dir_all(parent.join(OsStr::from_bytes(aside))).is_ok()
    }

    fn settle(&self, name: &[u8], directory: &Directory) -> Result<(), Error> {
        let place = self.place_named(name)?;
        if self.options.preserve {
            fs::set_times(&place.directory, directory.entry.modified)?;
        }
        if directory.is_new {
            fs::set_mode(&place.directory, self.options.mode(directory.entry.mode))?;
        }
        if self.options.sync {
            fs::sync(&place.directory)?;
        }
        Ok(())
    }
}

/// Gives a finished tree its name, unless something has it.
fn appear(parent: &Place, aside: &[u8], name: &[u8]) -> Result<(), Error> {
    let directory = &parent.directory;
    match fs::rename_noreplace(directory, aside, directory, name) {
        // Not every file system can refuse to replace: claim the name with an empty directory, which a rename may replace.
        Err(error) if matches!(error.errno(), Errno::INVAL | Errno::NOSYS) => {
            fs::make_directory(directory, name, 0o700)?;
            fs::rename(directory, aside, directory, name)
        }
        outcome => outcome,
    }
}

impl Drop for TreeOutput {
    /// A tree that did not become whole leaves nothing; what cannot be removed has a name that says what it is.
    fn drop(&mut self) {
        let Some(aside) = &self.aside else { return };
        if self.remove(aside) {
            return;
        }
        // Directories that have got their modes already may be closed to us as well. By descriptors, because whoever may rename here can
        // put a link in the place of the tree. The first failure is what was reported.
        for name in self.directories.keys() {
            if let Ok(place) = self.place_named(name) {
                let _ = fs::set_mode(&place.directory, 0o700);
            }
        }
        self.remove(aside);
    }
}

/// Opens a directory below `root` step by step, never through a symbolic link; with `create` makes what is missing.
pub(super) fn descend(root: &Place, directory: &[u8], create: Option<OutputOptions>) -> Result<Place, Error> {
    let mut place = root.clone();
    for component in directory.split(|byte| *byte == b'/') {
        let next = match (fs::open_directory_at(&place.directory, component), create) {
            (Err(error), Some(options)) if error.kind() == ErrorKind::NotFound => {
                make(&place, component, options)
            }
            (other, _) => other,
        };
        let path = place.join(component);
        place = Place {
            directory: Arc::new(next?),
            path,
        };
    }
    Ok(place)
}

fn make(place: &Place, name: &[u8], options: OutputOptions) -> Result<OwnedFd, Error> {
    match make_open(&place.directory, name) {
        Ok(made) => {
            // The process's own umask is stricter than the user's.
            fs::set_mode(&made, 0o777 & !options.umask)?;
            if options.sync {
                fs::sync(&made)?;
                fs::sync(&place.directory)?;
            }
            Ok(made)
        }
        // Somebody else made it in this moment.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::open_directory_at(&place.directory, name)
        }
        Err(error) => Err(error),
    }
}

/// Makes a directory and opens it. One that cannot be opened is removed again: nobody else would.
fn make_open(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Error> {
    fs::make_directory(parent, name, 0o700)?;
    fs::open_directory_at(parent, name).inspect_err(|_| {
        // The error of the opening is the one to report.
        let _ = fs::remove_directory(parent, name);
    })
}

/// Makes a directory the user named, with what is missing above it, and opens it.
pub(super) fn open_or_create_directory(path: &Path, options: OutputOptions) -> Result<Place, Error> {
    match (Place::open(path), path.file_name()) {
        (Err(error), Some(name)) if error.kind() == ErrorKind::NotFound => {
            let parent = open_or_create_directory(path.parent().unwrap_or(Path::new(".")), options)?;
            let directory = Arc::new(make(&parent, name.as_bytes(), options)?);
            Ok(Place {
                directory,
                path: path.to_owned(),
            })
        }
        (other, _) => other,
    }
}

/// Makes a directory, with what is missing above it, unless it is there. Of the options, the umask and `sync` have a say.
///
/// # Errors
/// What the kernel says.
pub fn make_directories(path: &Path, options: OutputOptions) -> Result<(), Error> {
    open_or_create_directory(path, options).map(drop)
}
