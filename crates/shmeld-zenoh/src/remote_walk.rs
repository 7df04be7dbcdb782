//! A walk through a remote export: one directory's list after the other, each asked for when the walk comes to it, and files ahead.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::source::{SourceFile, Walk, WalkItem};
use shmeld::file::{LEVELS_MAX, Refusal, Status};

use crate::asked::unusable;
use crate::chase::Chase;
use crate::key::Service;
use crate::listing::Listing;
use crate::remote::{LOOK, Remote};
use crate::remote_file::RemoteFile;
use crate::source::check_path;
use crate::wire::{Malformed, Request};

/// How many files of a list are asked for ahead, and how large they are at most.
const FILES_AHEAD_MAX: usize = 8;
const FILE_AHEAD_BYTES_MAX: u64 = 64 << 10;

/// See the module.
#[derive(Debug)]
pub struct RemoteWalk {
    remote: Arc<Remote>,
    /// The path where it begins, relative to the exported directory.
    start: Vec<u8>,
    levels_max: usize,
    levels: Vec<Level>,
    opens_files: bool,
    /// The list that is being waited for, and of what.
    awaited: Option<(Chase, Entry)>,
    has_begun: bool,
    next: Option<WalkItem>,
    /// Files that come next, with their names relative to the start.
    ahead: VecDeque<(Vec<u8>, RemoteFile)>,
    last: Vec<u8>,
}

#[derive(Debug)]
struct Level {
    /// In front of its names: empty, or with a slash at the end.
    prefix: Vec<u8>,
    items: Listing,
}

impl RemoteWalk {
    /// A walk that asks when it is first looked at.
    #[must_use]
    pub fn new(remote: Arc<Remote>, start: Vec<u8>, levels_max: usize) -> Self {
        Self {
            remote,
            start,
            levels_max: levels_max.min(LEVELS_MAX),
            levels: Vec::new(),
            opens_files: false,
            awaited: None,
            has_begun: false,
            next: None,
            ahead: VecDeque::new(),
            last: Vec::new(),
        }
    }

    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        path_below(&self.start, name)
    }

    /// Asks for the list of a directory; if its name is too long for a question, that is the next item.
    fn await_list(&mut self, entry: Entry) {
        if let Err(refusal) = check_path(&self.path_of(&entry.name)) {
            self.next = Some(refused(entry, refusal));
            return;
        }
        let request = Request {
            offset: 0,
            digest_only: false,
        };
        let chase = Chase::begin(&self.remote, Service::List, request, Instant::now());
        self.awaited = Some((chase, entry));
    }

    /// What follows, without asking: an item, or the end.
    fn advance(&mut self) {
        while let Some(level) = self.levels.last_mut() {
            let Some((status, entry)) = level.items.next() else {
                self.levels.pop();
                continue;
            };
            let name = [level.prefix.as_slice(), &entry.name].concat();
            let entry = Entry { name, ..entry };
            match (status, entry.kind) {
                (Status::Ok, EntryKind::Directory) if self.levels.len() < self.levels_max => {
                    self.await_list(entry);
                }
                (Status::Ok, EntryKind::Directory) if self.levels.len() >= LEVELS_MAX => {
                    let text = format!("directories more than {LEVELS_MAX} levels deep are not walked");
                    self.next = Some(refused(entry, Refusal::new(Status::Denied, text)));
                }
                (Status::Ok, EntryKind::Other) => {
                    let refusal = Refusal::new(Status::NotAFile, "a device, FIFO or socket, not a file");
                    self.next = Some(refused(entry, refusal));
                }
                (Status::Ok, _) => self.next = Some(WalkItem { entry, refusal: None }),
                (status, _) => {
                    let refusal = Refusal::new(status, shmeld::os::name::escape(&entry.text));
                    self.next = Some(refused(entry, refusal));
                }
            }
            return;
        }
    }

    /// A list has come: its directory is the next item, and what it holds follows.
    fn entered(&mut self, entry: Entry, itself: Entry, items: Listing) {
        let is_start = !std::mem::replace(&mut self.has_begun, true);
        let entry = if is_start { itself } else { entry };
        if entry.kind == EntryKind::Directory && self.levels_max > 0 {
            let prefix = if is_start {
                Vec::new()
            } else {
                [entry.name.as_slice(), b"/"].concat()
            };
            self.levels.push(Level { prefix, items });
        }
        let refusal = (entry.kind == EntryKind::Other)
            .then(|| Refusal::new(Status::NotAFile, "a device, FIFO or socket, not a file"));
        self.next = Some(WalkItem { entry, refusal });
    }

    fn ask_files_ahead(&mut self) {
        let Some(level) = self.levels.last() else { return };
        let files = level
            .items
            .ahead()
            .take(FILES_AHEAD_MAX)
            .take_while(|(_, entry)| entry.kind != EntryKind::Directory)
            .filter(|(status, entry)| *status == Status::Ok && is_asked_for_ahead(entry));
        let names: Vec<Vec<u8>> = files
            .map(|(_, entry)| [level.prefix.as_slice(), &entry.name].concat())
            .collect();
        for name in names {
            let path = self.path_of(&name);
            if check_path(&path).is_ok() && !self.ahead.iter().any(|(known, _)| *known == name) {
                let file = RemoteFile::new(self.remote.clone(), path);
                file.prefetch();
                self.ahead.push_back((name, file));
            }
        }
    }
}

/// A name relative to the start of a walk, as one relative to the exported directory.
fn path_below(start: &[u8], name: &[u8]) -> Vec<u8> {
    if name == b"." {
        return start.to_vec();
    }
    let start = start.strip_suffix(b"/").unwrap_or(start);
    if start.is_empty() || start == b"." {
        return name.to_vec();
    }
    [start, b"/", name].concat()
}

/// Whether a file is small enough: of several large ones at once each would wait for the others.
fn is_asked_for_ahead(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && entry.size <= FILE_AHEAD_BYTES_MAX
}

fn refused(entry: Entry, refusal: Refusal) -> WalkItem {
    WalkItem {
        entry,
        refusal: Some(refusal),
    }
}

impl Walk for RemoteWalk {
    fn is_ready(&mut self) -> Result<bool, Refusal> {
        if self.next.is_some() {
            return Ok(true);
        }
        if !self.has_begun && self.awaited.is_none() {
            self.await_list(Entry::refusal(b".", &Status::Ok.into()));
        } else if self.awaited.is_none() {
            self.advance();
        }
        let Some((chase, entry)) = &mut self.awaited else {
            return Ok(true);
        };
        let name = entry.name.clone();
        let (remote, until) = (self.remote.clone(), Instant::now() + LOOK);
        let path = path_below(&self.start, &name);
        let polled = chase.poll(&remote, &path, until);
        let (export, head, body) = match polled {
            Ok(None) => return Ok(false),
            Ok(Some(caught)) => caught,
            Err(refusal) if !self.has_begun || remote.is_stopping() => return Err(refusal),
            Err(refusal) => {
                if let Some((_, entry)) = self.awaited.take() {
                    self.next = Some(refused(entry, refusal));
                }
                return Ok(true);
            }
        };
        let list = body.to_bytes().into_owned();
        let is_whole = head.len as usize == list.len() && blake3::hash(&list) == head.digest;
        let read = match chase.room() {
            Some(room) if is_whole => Listing::read(list, room),
            _ => Err(Malformed::Impossible("a list that is not that of its digest")),
        };
        match read {
            Ok((itself, items)) => {
                remote.replicas().succeeded(export);
                if let Some((_, entry)) = self.awaited.take() {
                    self.entered(entry, itself, items);
                }
                Ok(true)
            }
            Err(why) => {
                chase.failed(&remote, export, unusable(why));
                Ok(false)
            }
        }
    }

    fn next_item(&mut self) -> Option<WalkItem> {
        let item = self.next.take()?;
        self.last.clone_from(&item.entry.name);
        if self.opens_files {
            // What was passed by is no longer wanted: the walk does not come back.
            if let Some(passed) = self.ahead.iter().position(|(name, _)| *name == self.last) {
                self.ahead.drain(..passed);
            }
            self.ask_files_ahead();
        }
        Some(item)
    }

    fn will_open_files(&mut self) {
        self.opens_files = true;
    }

    fn open_last(&mut self) -> Result<Box<dyn SourceFile>, Refusal> {
        if self.ahead.front().is_some_and(|(name, _)| *name == self.last)
            && let Some((_, file)) = self.ahead.pop_front()
        {
            return Ok(Box::new(file));
        }
        let path = self.path_of(&self.last);
        check_path(&path)?;
        Ok(Box::new(RemoteFile::new(self.remote.clone(), path)))
    }
}

#[cfg(test)]
#[path = "remote_walk_tests.rs"]
mod tests;
