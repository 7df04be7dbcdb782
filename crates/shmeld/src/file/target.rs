//! Where the answer to a request goes on the client's disk, and under which name people see it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shmeld_core::Misbehaviour;
use shmeld_os::ErrorKind;
use shmeld_os::name::escape;

use super::client::Query;
use super::incoming::Sink;
use super::output::{OutputFile, OutputOptions};
use super::partial::{Partial, is_name_of_part};
use super::path::{base_name, check_relative, link_stays_inside};
use super::place::{Place, replaceable};
use super::record::{Entry, EntryKind};
use super::tree::{TreeOutput, descend, open_or_create_directory};
use super::wire::{FLAG_PATTERN, Op};
use crate::{Error, Result};

/// Where the bytes of an answer go.
#[derive(Debug, Clone)]
pub enum Target {
    /// One file with this path.
    File(PathBuf),
    /// Below this directory, under the names asked for (or found, for a pattern).
    Under(PathBuf),
    /// A tree whose own directory gets this path.
    Tree(PathBuf),
    /// A tree below this directory, under the name asked for.
    TreeUnder(PathBuf),
    /// Into this descriptor, as they come.
    Stream(Arc<OwnedFd>),
    /// To the caller, as [`Event::Bytes`](super::Event::Bytes) and [`Event::Zeros`](super::Event::Zeros).
    Caller,
    /// Nowhere: they are read where they lie and forgotten.
    Discard,
}

/// One request and what to do with its answer.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is asked for.
    pub query: Query,
    /// Where it goes.
    pub target: Target,
}

/// A request on its way.
pub(super) struct Active {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) tree: Option<TreeOutput>,
    /// What an earlier transfer of this file left, locked.
    pub(super) partial: Option<Partial>,
    /// The tree or file cannot be stored: its records are read and dropped.
    pub(super) has_failed: bool,
}

/// The name that people see: what they asked for, or what was found below it.
pub(super) fn shown_name(job: &Job, entry: &Entry) -> Vec<u8> {
    match job.query.op {
        Op::Get if job.query.flags & FLAG_PATTERN == 0 => job.query.path.clone(),
        Op::Tree if entry.name == b"." || entry.name == job.query.path => job.query.path.clone(),
        Op::Tree if tidy(&job.query.path).is_empty() => entry.name.clone(),
        Op::Tree => [tidy(&job.query.path).as_slice(), b"/", &entry.name].concat(),
        _ => entry.name.clone(),
    }
}

fn unusable(name: &[u8], why: impl std::fmt::Display) -> Error {
    Error::Usage(format!("cannot be stored under the name {}: {why}", escape(name)))
}

impl Active {
    /// Where the tree's own directory lies and what it is called there; without a name it is that directory itself. Links in the path
    /// that the user gave are followed, links below it are not.
    fn tree_place(&self, options: OutputOptions) -> Result<(Place, Vec<u8>)> {
        let directory = match &self.job.target {
            Target::Tree(path) => return place_of(path),
            Target::TreeUnder(directory) => directory,
            _ => return Err(Misbehaviour::Record("a tree that nobody asked for").into()),
        };
        let root = open_or_create_directory(directory, options)?;
        let name = tidy(&self.job.query.path);
        if name.is_empty() {
            return Ok((root, name));
        }
        check_relative(&name).map_err(|error| unusable(&name, error))?;
        let (place, base) = below(&root, &name, Some(options))?;
        Ok((place, base.to_vec()))
    }

    /// Where the bytes of the file that begins now, at `start`, go.
    pub(super) fn open_sink(
        &mut self,
        entry: &Entry,
        start: u64,
        options: OutputOptions,
        recent: &mut Option<Recent>,
    ) -> Result<Sink> {
        if is_resumable(&self.job, options) {
            return self.open_partial(entry, start, options).map(Sink::Output);
        }
        let output = match &self.job.target {
            Target::Discard => return Ok(Sink::Nowhere),
            Target::Caller => return Ok(Sink::Caller(Vec::new())),
            Target::Stream(file) => OutputFile::stream(file.clone(), options),
            Target::File(path) => create_at(path, entry, options)?,
            Target::Under(directory) => {
                let pattern = self.job.query.flags & FLAG_PATTERN != 0;
                let name = if pattern {
                    entry.name.clone()
                } else {
                    tidy(&self.job.query.path)
                };
                check_relative(&name).map_err(|error| unusable(&name, error))?;
                create_below(recent, directory, &name, entry, options)?
            }
            Target::Tree(_) | Target::TreeUnder(_) if entry.name == b"." => {
                let (place, name) = self.tree_place(options)?;
                check_relative(&name).map_err(|error| unusable(&name, error))?;
                OutputFile::create(&place, &name, entry, options)?
            }
            Target::Tree(_) | Target::TreeUnder(_) => self.tree_for(entry)?.file(entry)?,
        };
        Ok(Sink::Output(output))
    }

    /// The tree that has begun, for an entry below it.
    fn tree_for(&mut self, entry: &Entry) -> Result<&mut TreeOutput> {
        check_relative(&entry.name).map_err(|error| unusable(&entry.name, error))?;
        let tree = self.tree.as_mut();
        Ok(tree.ok_or(Misbehaviour::Record("a tree without its own directory"))?)
    }

    /// A directory or link of a tree.
    pub(super) fn store_entry(&mut self, entry: &Entry, options: OutputOptions) -> Result<()> {
        if !matches!(self.job.target, Target::Tree(_) | Target::TreeUnder(_)) {
            return Ok(());
        }
        if entry.name == b"." && entry.kind == EntryKind::Directory && self.tree.is_none() {
            let tree = self
                .tree_place(options)
                .and_then(|(place, name)| Ok(TreeOutput::begin(place, name, entry, options)?));
            self.tree = Some(tree.inspect_err(|_| self.has_failed = true)?);
            return Ok(());
        }
        let tree = self.tree_for(entry)?;
        match entry.kind {
            EntryKind::Directory => Ok(tree.directory(entry)?),
            EntryKind::Symlink if link_stays_inside(&entry.name, &entry.text) => Ok(tree.symlink(entry)?),
            EntryKind::Symlink => Err(unusable(&entry.name, "a link that may lead out of the tree")),
            _ => Err(Misbehaviour::Record("an entry of a tree that is neither directory nor link").into()),
        }
    }
}

impl Active {
    /// What was found before the request was sent, or a new one if that was nothing.
    fn open_partial(&mut self, entry: &Entry, start: u64, options: OutputOptions) -> Result<OutputFile> {
        let partial = match self.partial.take() {
            Some(partial) => partial,
            None => match single_place(&self.job, options, true)? {
                Some((place, name)) => Partial::create(&place, &name)?,
                None => return Err(Misbehaviour::Record("a file that nobody asked for").into()),
            },
        };
        OutputFile::resume(partial, start, entry, options)
    }
}

/// Whether this is a single file that can be kept in parts.
fn is_resumable(job: &Job, options: OutputOptions) -> bool {
    let is_single = job.query.op == Op::Get && job.query.flags & FLAG_PATTERN == 0;
    options.resume && is_single && matches!(job.target, Target::File(_) | Target::Under(_))
}

/// What an earlier transfer of this file left, if it can be kept in parts and there is any. Whatever would stop the file from getting its
/// name is found before a byte travels.
pub(super) fn find_partial(job: &Job, options: OutputOptions) -> Result<Option<Partial>> {
    if !is_resumable(job, options) {
        return Ok(None);
    }
    let Some((place, name)) = single_place(job, options, false)? else {
        return Ok(None);
    };
    replaceable(&place, &name, options)?;
    Partial::open(&place, &name)
}

/// Where a single file goes: the directory and its name there. `None` if there is no such directory and it shall not be made yet.
fn single_place(job: &Job, options: OutputOptions, create: bool) -> Result<Option<(Place, Vec<u8>)>> {
    let directory = match &job.target {
        Target::File(path) => {
            let (place, name) = place_of(path)?;
            check_name(&name)?;
            return Ok(Some((place, name)));
        }
        Target::Under(directory) => directory,
        _ => return Ok(None),
    };
    let name = tidy(&job.query.path);
    check_name(&name)?;
    let made = create.then_some(options);
    let found = match made {
        Some(options) => open_or_create_directory(directory, options),
        None => Place::open(directory),
    };
    let found = found.and_then(|root| below(&root, &name, made).map(|(place, base)| (place, base.to_vec())));
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound && !create => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Whether a file that is fetched in parts can have this name.
fn check_name(name: &[u8]) -> Result<()> {
    check_relative(name).map_err(|error| unusable(name, error))?;
    if is_name_of_part(base_name(name)) {
        let why = "so the part of another file is called; fetch it without --resume";
        return Err(unusable(name, why));
    }
    Ok(())
}

/// A name as asked for, without `./` and doubled slashes.
fn tidy(path: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') {
        return path.to_vec();
    }
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .collect();
    parts.join(&b'/')
}

/// The directory of a path that the user gave, and the last component; none for `d/.` and the like, which are directories themselves.
fn place_of(path: &Path) -> Result<(Place, Vec<u8>)> {
    match base_name(path.as_os_str().as_bytes()) {
        b"" | b"." | b".." => Ok((Place::open(path)?, Vec::new())),
        name => Ok((
            Place::open(path.parent().unwrap_or(Path::new(".")))?,
            name.to_vec(),
        )),
    }
}

pub(super) fn create_at(path: &Path, entry: &Entry, options: OutputOptions) -> Result<OutputFile> {
    let (place, name) = place_of(path)?;
    check_relative(&name).map_err(|error| unusable(&name, error))?;
    Ok(OutputFile::create(&place, &name, entry, options)?)
}

/// The directory of a checked name below `root`, made if absent and `made` says how, and the last component.
fn below<'n>(
    root: &Place,
    name: &'n [u8],
    made: Option<OutputOptions>,
) -> Result<(Place, &'n [u8]), shmeld_os::Error> {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => Ok((descend(root, &name[..slash], made)?, &name[slash + 1..])),
        None => Ok((root.clone(), name)),
    }
}

/// The directory that the last file went to: the next one mostly goes there too. Wherever somebody moves it meanwhile: as with `cp`, what was
/// opened is what is written into, and a name that has become a link leads nobody else.
#[derive(Debug)]
pub(super) struct Recent {
    root: PathBuf,
    below: Vec<u8>,
    place: Place,
}

/// A file under a checked name below the directory that the user named.
fn create_below(
    recent: &mut Option<Recent>,
    root: &Path,
    name: &[u8],
    entry: &Entry,
    options: OutputOptions,
) -> Result<OutputFile> {
    let slash = name.iter().rposition(|byte| *byte == b'/');
    let (directory, base) = slash.map_or((&b""[..], name), |slash| (&name[..slash], &name[slash + 1..]));
    // An error may be that somebody has removed the directory, which file systems say in several ways: it is looked for, and made, again.
    if let Some(recent) = recent
        && recent.root == root
        && recent.below == directory
        && let Ok(output) = OutputFile::create(&recent.place, base, entry, options)
    {
        return Ok(output);
    }
    let top = open_or_create_directory(root, options)?;
    let (place, base) = below(&top, name, Some(options))?;
    let output = OutputFile::create(&place, base, entry, options)?;
    *recent = Some(Recent {
        root: root.to_owned(),
        below: directory.to_vec(),
        place,
    });
    Ok(output)
}
