//! Jobs become requests, records become files: the client's work as a stream of events that the caller pulls.
//!
//! Not here: the session (`client`), how a file appears (`output`), what anybody prints.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use shmeld_core::Misbehaviour;
use shmeld_os::name::escape;

use super::client::{Client, Query};
use super::incoming::{Incoming, Sink};
use super::output::{OutputFile, OutputOptions, Place};
use super::path::{base_name, check_relative, link_stays_inside};
use super::record::{Entry, EntryKind, Kind, Record};
use super::status::{Refusal, Status};
use super::tree::{TreeOutput, descend, open_or_create_directory};
use super::wire::{FLAG_PATTERN, FLAG_VERIFY, Op};
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
    Stream(Rc<OwnedFd>),
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

/// What happens while jobs are worked off.
#[derive(Debug)]
pub enum Event {
    /// A file begins.
    Begun {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Bytes.
        size: u64,
    },
    /// So many more bytes of the present file have arrived (holes included).
    Progress {
        /// How many.
        bytes: u64,
    },
    /// A file is whole and has its name.
    Delivered {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Bytes.
        size: u64,
    },
    /// A directory, a link, or an entry of a listing.
    Entry(Entry),
    /// The server does not deliver something.
    Refused {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Why.
        refusal: Refusal,
    },
    /// Something arrived and could not be stored.
    Failed {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Why.
        error: Error,
    },
}

/// A request on its way.
struct Active {
    id: u64,
    job: Job,
    tree: Option<TreeOutput>,
    /// The tree or file cannot be stored: its records are read and dropped.
    failed: bool,
}

/// See the module.
pub struct Transfer<I: Iterator<Item = Job>> {
    client: Client,
    jobs: Peekable<I>,
    options: OutputOptions,
    active: VecDeque<Active>,
    current: Option<Incoming>,
    events: VecDeque<Event>,
    /// Whether it makes sense to try to send: not again after a full queue until an answer is complete.
    may_send: bool,
}

impl<I: Iterator<Item = Job>> Transfer<I> {
    /// Works off `jobs` through `client`.
    pub fn new(client: Client, jobs: I, options: OutputOptions) -> Self {
        Self {
            client,
            jobs: jobs.peekable(),
            options,
            active: VecDeque::new(),
            current: None,
            events: VecDeque::new(),
            may_send: true,
        }
    }

    /// The next thing that happens; `None` when all jobs are done.
    ///
    /// # Errors
    /// The session is over: see [`Error`]. What has not been delivered leaves nothing behind.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.may_send {
                self.send()?;
            }
            if self.active.is_empty() {
                if self.events.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            let record = self.client.next_record()?;
            self.take(&record)?;
        }
    }

    /// Ends the session properly.
    pub fn close(self) {
        self.client.close();
    }

    fn send(&mut self) -> Result<()> {
        while let Some(job) = self.jobs.peek() {
            match self.client.submit(&job.query) {
                Ok(Some(id)) => {
                    let Some(job) = self.jobs.next() else {
                        return Ok(());
                    };
                    self.active.push_back(Active {
                        id,
                        job,
                        tree: None,
                        failed: false,
                    });
                }
                Ok(None) => {
                    self.may_send = false;
                    return Ok(());
                }
                // A name that cannot be asked for spoils only itself.
                Err(error @ Error::Usage(_)) => {
                    let name = self.jobs.next().map(|job| job.query.path).unwrap_or_default();
                    self.events.push_back(Event::Failed { name, error });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) -> Result<()> {
        match (record.kind, &mut self.current) {
            (Kind::Begin, None) => self.begin(record)?,
            (Kind::Data, Some(incoming)) => {
                let events = &mut self.events;
                incoming.data(&self.client, record, |bytes| {
                    events.push_back(Event::Progress { bytes })
                })?;
                self.give_up_if_failed();
            }
            (Kind::Hole, Some(incoming)) => {
                incoming.hole(&self.client, record)?;
                self.events.push_back(Event::Progress { bytes: record.extent });
                self.give_up_if_failed();
            }
            (Kind::End, Some(_)) => self.end(record)?,
            (Kind::Entry, None) => self.entry(record)?,
            (Kind::Done, None) => return self.done(record),
            _ => return Err(Misbehaviour::Record("a record out of order").into()),
        }
        self.client.finish(record)
    }

    fn active(&mut self) -> Result<&mut Active> {
        self.active
            .front_mut()
            .ok_or_else(|| Misbehaviour::Record("an answer that nobody asked for").into())
    }

    fn read_entry(&mut self, record: &Record) -> Result<Entry> {
        let mut payload = Vec::new();
        self.client.payload(record, &mut payload);
        Ok(Entry::decode(&payload)?)
    }

    fn begin(&mut self, record: &Record) -> Result<()> {
        let entry = self.read_entry(record)?;
        if record.offset != 0 || record.extent != entry.size || entry.size > i64::MAX as u64 {
            return Err(Misbehaviour::Record("a BEGIN that contradicts itself").into());
        }
        let options = self.options;
        let direct = self.client.slot_bytes();
        let active = self.active()?;
        let name = shown_name(&active.job, &entry);
        let verify = active.job.query.flags & FLAG_VERIFY != 0;
        let sink = if active.failed {
            Ok(Sink::Nowhere)
        } else {
            active.open_sink(&entry, options)
        };
        self.events.push_back(Event::Begun {
            name: name.clone(),
            size: entry.size,
        });
        let (sink, error) = match sink {
            Ok(sink) => (sink, None),
            Err(error) => (Sink::Nowhere, Some(error)),
        };
        self.current = Some(Incoming::new(name, entry, sink, verify, direct, error));
        self.give_up_if_failed();
        Ok(())
    }

    /// An output that failed: says so once, and tells the server to save itself the rest of a single file.
    fn give_up_if_failed(&mut self) {
        let Some(incoming) = &mut self.current else { return };
        let Some(error) = incoming.take_error() else {
            return;
        };
        let name = incoming.name().to_vec();
        self.events.push_back(Event::Failed { name, error });
        if let Some(active) = self.active.front()
            && active.job.query.op == Op::Get
            && active.job.query.flags & FLAG_PATTERN == 0
        {
            self.client.cancel_up_to(active.id);
        }
    }

    fn end(&mut self, record: &Record) -> Result<()> {
        let Some(incoming) = self.current.take() else {
            return Ok(());
        };
        let mut payload = Vec::new();
        self.client.payload(record, &mut payload);
        let name = incoming.name().to_vec();
        if incoming.has_failed() {
            return Ok(());
        }
        if record.status != Status::Ok {
            let text = escape(&payload);
            self.events.push_back(Event::Refused {
                name,
                refusal: Refusal::new(record.status, text),
            });
            return Ok(());
        }
        let size = incoming.size();
        match incoming.complete(record, &payload)? {
            Ok(()) => self.events.push_back(Event::Delivered { name, size }),
            Err(error) => self.events.push_back(Event::Failed { name, error }),
        }
        Ok(())
    }

    fn entry(&mut self, record: &Record) -> Result<()> {
        let entry = self.read_entry(record)?;
        let options = self.options;
        let active = self.active()?;
        let name = shown_name(&active.job, &entry);
        if record.status != Status::Ok {
            let refusal = Refusal::new(record.status, escape(&entry.text));
            self.events.push_back(Event::Refused { name, refusal });
            return Ok(());
        }
        let stored = if active.failed || active.job.query.op != Op::Tree {
            Ok(())
        } else {
            active.store_entry(&entry, options)
        };
        self.events.push_back(match stored {
            Ok(()) => Event::Entry(Entry { name, ..entry }),
            Err(error) => Event::Failed { name, error },
        });
        Ok(())
    }

    fn done(&mut self, record: &Record) -> Result<()> {
        let mut payload = Vec::new();
        self.client.payload(record, &mut payload);
        self.client.finish(record)?;
        self.may_send = true;
        let Some(active) = self.active.pop_front() else {
            return Ok(());
        };
        let name = active.job.query.path;
        if record.status != Status::Ok && !(record.status == Status::Cancelled) {
            self.events.push_back(Event::Refused {
                name: name.clone(),
                refusal: Refusal::new(record.status, escape(&payload)),
            });
        }
        if let Some(tree) = active.tree
            && let Err(error) = tree.finish()
        {
            self.events.push_back(Event::Failed {
                name,
                error: error.into(),
            });
        }
        Ok(())
    }
}

/// The name that people see: what they asked for, or what was found below it.
fn shown_name(job: &Job, entry: &Entry) -> Vec<u8> {
    match job.query.op {
        Op::Get if job.query.flags & FLAG_PATTERN == 0 => job.query.path.clone(),
        Op::Tree if entry.name == b"." || entry.name == job.query.path => job.query.path.clone(),
        Op::Tree if tidy(&job.query.path).is_empty() => entry.name.clone(),
        Op::Tree => [&job.query.path, b"/".as_slice(), &entry.name].concat(),
        _ => entry.name.clone(),
    }
}

fn unusable(name: &[u8], why: impl std::fmt::Display) -> Error {
    Error::Usage(format!("cannot be stored under the name {}: {why}", escape(name)))
}

impl Active {
    /// The path that the tree's own directory gets.
    fn tree_path(&self, options: OutputOptions) -> Result<PathBuf> {
        let directory = match &self.job.target {
            Target::Tree(path) => return Ok(path.clone()),
            Target::TreeUnder(directory) => directory,
            _ => return Err(Misbehaviour::Record("a tree that nobody asked for").into()),
        };
        let name = tidy(&self.job.query.path);
        if name.is_empty() {
            return Ok(directory.clone());
        }
        check_relative(&name).map_err(|error| unusable(&name, error))?;
        let path = directory.join(OsStr::from_bytes(&name));
        open_or_create_directory(path.parent().unwrap_or(directory), options.umask)?;
        Ok(path)
    }

    /// Where the bytes of the file that begins now go.
    fn open_sink(&mut self, entry: &Entry, options: OutputOptions) -> Result<Sink> {
        let output = match &self.job.target {
            Target::Discard => return Ok(Sink::Nowhere),
            Target::Stream(file) => OutputFile::stream(file.clone()),
            Target::File(path) => create_at(path, options)?,
            Target::Under(directory) => {
                let pattern = self.job.query.flags & FLAG_PATTERN != 0;
                let name = if pattern {
                    entry.name.clone()
                } else {
                    tidy(&self.job.query.path)
                };
                check_relative(&name).map_err(|error| unusable(&name, error))?;
                let root = open_or_create_directory(directory, options.umask)?;
                create_below(&root, &name, options)?
            }
            Target::Tree(_) | Target::TreeUnder(_) if entry.name == b"." => {
                create_at(&self.tree_path(options)?, options)?
            }
            Target::Tree(_) | Target::TreeUnder(_) => {
                check_relative(&entry.name).map_err(|error| unusable(&entry.name, error))?;
                let tree = self
                    .tree
                    .as_mut()
                    .ok_or(Misbehaviour::Record("a tree without its own directory"))?;
                tree.file(&entry.name)?
            }
        };
        Ok(Sink::Output(output))
    }

    /// A directory or link of a tree.
    fn store_entry(&mut self, entry: &Entry, options: OutputOptions) -> Result<()> {
        if !matches!(self.job.target, Target::Tree(_) | Target::TreeUnder(_)) {
            return Ok(());
        }
        if entry.name == b"." && entry.kind == EntryKind::Directory && self.tree.is_none() {
            let tree = self
                .tree_path(options)
                .and_then(|path| Ok(TreeOutput::begin(&path, entry, options)?));
            self.tree = Some(tree.inspect_err(|_| self.failed = true)?);
            return Ok(());
        }
        check_relative(&entry.name).map_err(|error| unusable(&entry.name, error))?;
        let tree = self
            .tree
            .as_mut()
            .ok_or(Misbehaviour::Record("a tree without its own directory"))?;
        match entry.kind {
            EntryKind::Directory => Ok(tree.directory(entry)?),
            EntryKind::Symlink if link_stays_inside(&entry.name, &entry.text) => Ok(tree.symlink(entry)?),
            EntryKind::Symlink => Err(unusable(&entry.name, "a link that may lead out of the tree")),
            _ => Err(Misbehaviour::Record("an entry of a tree that is neither directory nor link").into()),
        }
    }
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

fn create_at(path: &std::path::Path, options: OutputOptions) -> Result<OutputFile> {
    let name = base_name(path.as_os_str().as_bytes()).to_vec();
    check_relative(&name).map_err(|error| unusable(&name, error))?;
    let place = Place::open(path.parent().unwrap_or(std::path::Path::new(".")))?;
    Ok(OutputFile::create(&place, &name, options)?)
}

fn create_below(root: &Place, name: &[u8], options: OutputOptions) -> Result<OutputFile> {
    let slash = name.iter().rposition(|byte| *byte == b'/');
    let (place, base) = match slash {
        Some(slash) => (
            descend(root, &name[..slash], Some(options.umask))?,
            &name[slash + 1..],
        ),
        None => (root.clone(), name),
    };
    Ok(OutputFile::create(&place, base, options)?)
}
