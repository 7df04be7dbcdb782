//! A walk through a [`Directory`]: one open directory a level, entries streamed as the kernel gives them, nothing collected.

use std::os::fd::OwnedFd;

use shmeld_os::fs::{self, Entries, FileKind, Stat};

use super::directory::{Directory, describe};
use super::record::{Entry, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use super::source::{SourceFile, Walk, WalkItem, refusal_of};
use super::status::{Refusal, Status};

/// How deep a walk descends: each level costs a descriptor.
pub const LEVELS_MAX: usize = 128;

struct Level {
    /// Also the directory itself: one descriptor a level.
    entries: Entries,
    /// Length of the walk's path before this level's names.
    prefix_bytes: usize,
}

/// See [`super::source::Source::walk`].
pub(super) struct DirectoryWalk {
    source: Directory,
    levels_max: usize,
    start: Option<(OwnedFd, Stat)>,
    levels: Vec<Level>,
    path: Vec<u8>,
    opens_files: bool,
    /// The file that was the last item, opened already.
    last: Option<(OwnedFd, Stat)>,
}

impl DirectoryWalk {
    pub(super) fn new(source: Directory, start: OwnedFd, stat: Stat, levels_max: usize) -> Self {
        Self {
            source,
            levels_max: levels_max.min(LEVELS_MAX),
            start: Some((start, stat)),
            levels: Vec::new(),
            path: Vec::new(),
            opens_files: false,
            last: None,
        }
    }

    /// The item the walk begins with, `.`.
    fn first(&mut self, start: OwnedFd, stat: Stat) -> WalkItem {
        let entry = Entry::from_stat(&stat, b".".to_vec());
        let refusal = match stat.kind {
            FileKind::Directory if self.levels_max > 0 => self.descend(start).err(),
            FileKind::Directory => None,
            FileKind::File => {
                self.last = Some((start, stat));
                None
            }
            kind => Some(Refusal::new(Status::NotAFile, describe(kind))),
        };
        WalkItem { entry, refusal }
    }

    fn descend(&mut self, directory: OwnedFd) -> Result<(), Refusal> {
        let entries = fs::entries(directory).map_err(|error| refusal_of(error.errno()))?;
        if !self.levels.is_empty() {
            self.path.push(b'/');
        }
        self.levels.push(Level {
            entries,
            prefix_bytes: self.path.len(),
        });
        Ok(())
    }

    fn prefix_bytes(&self) -> usize {
        self.levels.last().map_or(0, |level| level.prefix_bytes)
    }

    /// Opens a file that was listed as one: that and a look at what was opened is all, where a look at the name would come first. `None` if
    /// that fails or something else has the name by now; then the name is looked at after all.
    fn open_listed(&mut self, name: &[u8]) -> Option<WalkItem> {
        let directory = self.levels.last()?.entries.directory().ok()?;
        let file = fs::open_child(directory, name).ok()?;
        let stat = fs::stat(&file).ok()?;
        if stat.kind != FileKind::File {
            return None;
        }
        let entry = Entry::from_stat(&stat, self.path.clone());
        self.last = Some((file, stat));
        Some(WalkItem { entry, refusal: None })
    }

    /// Looks at the entry `name` of the innermost directory.
    fn visit(&mut self, name: &[u8], listed: FileKind) -> WalkItem {
        self.path.truncate(self.prefix_bytes());
        self.path.extend_from_slice(name);
        let refused = |path: &[u8], refusal: Refusal| WalkItem {
            entry: Entry::refusal(path, &refusal),
            refusal: Some(refusal),
        };
        if self.path.len() > NAME_BYTES_MAX {
            return refused(&self.path, Status::NameTooLong.into());
        }
        if self.opens_files
            && listed == FileKind::File
            && let Some(item) = self.open_listed(name)
        {
            return item;
        }
        let Some(level) = self.levels.last() else {
            unreachable!("visit is called inside a directory")
        };
        let found = level.entries.directory();
        let looked = found.and_then(|directory| Ok((directory, fs::stat_at(directory, name)?)));
        let (directory, stat) = match looked {
            Ok(looked) => looked,
            Err(error) => return refused(&self.path, refusal_of(error.errno())),
        };
        let mut entry = Entry::from_stat(&stat, self.path.clone());
        let refusal = match stat.kind {
            FileKind::File => None,
            FileKind::Symlink => match fs::read_link(directory, name) {
                Ok(target) if target.len() <= TEXT_BYTES_MAX => {
                    entry.text = target;
                    None
                }
                Ok(_) => Some(Refusal::new(
                    Status::NameTooLong,
                    "the target of the symbolic link is too long",
                )),
                Err(error) => Some(refusal_of(error.errno())),
            },
            FileKind::Directory => self.enter(name).err(),
            kind => Some(Refusal::new(Status::NotAFile, describe(kind))),
        };
        WalkItem { entry, refusal }
    }

    /// Descends into a directory met on the way, unless that is deep enough.
    fn enter(&mut self, name: &[u8]) -> Result<(), Refusal> {
        if self.levels.len() >= LEVELS_MAX {
            return Err(Refusal::new(
                Status::Denied,
                format!("directories more than {LEVELS_MAX} levels deep are not walked"),
            ));
        }
        if self.levels.len() >= self.levels_max {
            return Ok(());
        }
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let opened = level.entries.directory();
        let directory = opened
            .and_then(|parent| fs::open_directory_at(parent, name))
            .map_err(|error| refusal_of(error.errno()))?;
        if self.source.has_audience() {
            let stat = fs::stat(&directory).map_err(|error| refusal_of(error.errno()))?;
            self.source.may_list(&directory, &stat)?;
        }
        self.descend(directory)
    }
}

impl Walk for DirectoryWalk {
    fn next_item(&mut self) -> Option<WalkItem> {
        self.last = None;
        if let Some((start, stat)) = self.start.take() {
            return Some(self.first(start, stat));
        }
        loop {
            let level = self.levels.last_mut()?;
            match level.entries.next() {
                Some(Ok(entry)) => return Some(self.visit(&entry.name, entry.kind)),
                Some(Err(error)) => {
                    // A directory that cannot be read to its end is reported once and left.
                    let refusal = refusal_of(error.errno());
                    let mut path = self.path[..level.prefix_bytes].to_vec();
                    path.extend_from_slice(b"*");
                    self.levels.pop();
                    return Some(WalkItem {
                        entry: Entry::refusal(&path, &refusal),
                        refusal: Some(refusal),
                    });
                }
                None => {
                    self.levels.pop();
                }
            }
        }
    }

    fn will_open_files(&mut self) {
        self.opens_files = true;
    }

    fn open_last(&mut self) -> Result<Box<dyn SourceFile>, Refusal> {
        if let Some((file, stat)) = self.last.take() {
            // A walk that began at a file has not descended anywhere.
            let name = if self.levels.is_empty() {
                b"."
            } else {
                &self.path[..]
            };
            return self.source.admit(file, stat, name.to_vec());
        }
        // The last item lies in the innermost directory: a file does not open a level of its own.
        let level = self.levels.last().ok_or_else(|| Refusal::from(Status::Fnf))?;
        let name = &self.path[level.prefix_bytes..];
        let opened = level.entries.directory();
        let file = opened
            .and_then(|directory| fs::open_child(directory, name))
            .map_err(|error| refusal_of(error.errno()))?;
        let stat = fs::stat(&file).map_err(|error| refusal_of(error.errno()))?;
        self.source.admit(file, stat, self.path.clone())
    }
}
