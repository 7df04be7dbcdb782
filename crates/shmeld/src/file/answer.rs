//! What a request is answered with: the records of docs/PROTOCOL.md section 4, in their order.

use std::sync::Arc;

use super::account::Account;
use super::answer_account::path_of_item;
use super::answer_file::first_position;
use super::context::Context;
use super::path::{has_pattern, link_stays_inside};
use super::pattern::{Pattern, join};
use super::record::{Entry, EntryKind, Kind, NAME_BYTES_MAX, Record, TEXT_BYTES_MAX, cut};
use super::session::End;
use super::slot_writer::SlotWriter;
use super::source::{Walk, WalkItem};
use super::status::{Refusal, Status};
use super::walk::LEVELS_MAX;
use super::wire::{FLAG_PATTERN, FLAG_RECURSIVE, FLAG_WALK, Op, Request};

/// How many items an answer had, and how many of them were refused.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) items: u64,
    pub(super) refused: u64,
    /// A file came to no end because the client had cancelled.
    pub(super) is_cancelled: bool,
}

/// Answers the requests of one session.
pub(super) struct Answerer<'s> {
    pub(super) writer: SlotWriter<'s>,
    pub(super) context: &'s Arc<Context>,
    pub(super) account: &'s Account,
}

impl<'s> Answerer<'s> {
    pub(super) fn new(writer: SlotWriter<'s>, context: &'s Arc<Context>, account: &'s Account) -> Self {
        Self {
            writer,
            context,
            account,
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), End> {
        self.writer.flush()
    }

    pub(super) fn answer(&mut self, request: &Request) -> Result<(), End> {
        self.context.counters.requests.add(1);
        self.account.requests.add(1);
        let mut tally = Tally::default();
        let outcome = match request.op {
            Op::Get => self.get(request, &mut tally)?,
            Op::Tree => self.tree(request, &mut tally)?,
            Op::List => self.list(request, &mut tally)?,
            Op::Status => self.status(request, &mut tally)?,
            Op::Close => Ok(()),
            Op::Unknown => Err(Status::Unsupported.into()),
        };
        self.tell_outcome(request, &outcome, &tally);
        let done = Record {
            offset: tally.items,
            extent: tally.refused,
            ..Record::new(Kind::Done, request.request_id)
        };
        match outcome {
            Ok(()) => self.writer.record(&done, |_| {}),
            Err(refusal) => {
                let done = Record {
                    status: refusal.status,
                    ..done
                };
                self.writer.record(&done, |payload| {
                    payload.extend_from_slice(cut(refusal.text.as_bytes(), TEXT_BYTES_MAX))
                })
            }
        }
    }

    fn get(&mut self, request: &Request, tally: &mut Tally) -> Result<Result<(), Refusal>, End> {
        let opened = match self.context.source.open(&request.path) {
            Ok(file) => self
                .await_bytes(request, &*file, first_position(request))?
                .map(|()| file),
            Err(refusal) => Err(refusal),
        };
        match opened {
            Ok(file) => self.file(request, &*file, &request.path, tally)?,
            Err(refusal) => {
                let may_be_pattern = request.flags & FLAG_PATTERN != 0 && has_pattern(&request.path);
                if refusal.status == Status::Fnf && may_be_pattern {
                    return self.get_matching(request, tally);
                }
                self.refuse(request, &request.path, &refusal, tally)?;
            }
        }
        Ok(self.not_cancelled(request))
    }

    fn not_cancelled(&self, request: &Request) -> Result<(), Refusal> {
        if self.writer.is_cancelled(request.request_id) {
            Err(Status::Cancelled.into())
        } else {
            Ok(())
        }
    }

    /// Walks below `start` and hands each item to `visit`, until the client cancels.
    fn walk(
        &mut self,
        request: &Request,
        start: &[u8],
        levels_max: usize,
        mut visit: impl FnMut(&mut Self, &mut dyn Walk, WalkItem) -> Result<(), End>,
    ) -> Result<Result<(), Refusal>, End> {
        let mut walk = match self.context.source.walk(start, levels_max) {
            Ok(walk) => walk,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if request.op == Op::Tree {
            walk.will_open_files();
        }
        loop {
            if let Err(refusal) = self.await_item(request, &mut *walk)? {
                return Ok(Err(refusal));
            }
            let Some(item) = walk.next_item() else { break };
            self.writer.keep_alive(request.request_id)?;
            visit(self, &mut *walk, item)?;
        }
        Ok(Ok(()))
    }

    /// Walks where the request's pattern can match, and hands each match and its name to `visit`. A pattern that matches nothing is a name
    /// that does not exist.
    fn walk_matching(
        &mut self,
        request: &Request,
        tally: &mut Tally,
        nothing: &str,
        visit: impl Fn(&mut Self, &mut dyn Walk, WalkItem, Vec<u8>, &mut Tally) -> Result<(), End>,
    ) -> Result<Result<(), Refusal>, End> {
        let pattern = Pattern::new(&request.path);
        let (prefix, levels) = (pattern.prefix(), pattern.levels());
        let outcome = self.walk(request, prefix, levels, |answerer, walk, item| {
            let name = join(prefix, &item.entry.name);
            // The place where the walk began has no name here.
            if item.entry.name == b"." || !pattern.matches(&name) {
                return Ok(());
            }
            visit(answerer, walk, item, name, tally)
        })?;
        let is_nothing = outcome.is_ok() && tally.items == 0;
        let outcome = if is_nothing {
            Err(Refusal::new(Status::Fnf, nothing))
        } else {
            outcome
        };
        self.refuse_whole(request, outcome, tally)
    }

    /// The end of an answer of many items: that there are none is an item of its own, unless the client cancelled.
    fn refuse_whole(
        &mut self,
        request: &Request,
        outcome: Result<(), Refusal>,
        tally: &mut Tally,
    ) -> Result<Result<(), Refusal>, End> {
        match outcome {
            Err(refusal) if refusal.status != Status::Cancelled => {
                self.refuse(request, &request.path, &refusal, tally)?;
                Ok(Ok(()))
            }
            other => Ok(other),
        }
    }

    /// All files that match the pattern, with their names.
    fn get_matching(&mut self, request: &Request, tally: &mut Tally) -> Result<Result<(), Refusal>, End> {
        let nothing = "no file matches the pattern";
        self.walk_matching(request, tally, nothing, |answerer, walk, item, name, tally| {
            let opened = match item.entry.kind {
                _ if name.len() > NAME_BYTES_MAX => Err(Status::NameTooLong.into()),
                EntryKind::File => walk.open_last(),
                // As a plain GET would: a link is followed as far as it stays beneath the root.
                EntryKind::Symlink => match answerer.context.source.open(&name) {
                    Err(refusal) if refusal.status == Status::NotAFile => return Ok(()),
                    opened => opened,
                },
                _ => return Ok(()),
            };
            match opened {
                Ok(file) => answerer.file(request, &*file, &name, tally),
                Err(refusal) => answerer.refuse(request, &name, &refusal, tally),
            }
        })
    }

    fn tree(&mut self, request: &Request, tally: &mut Tally) -> Result<Result<(), Refusal>, End> {
        let outcome = self.walk(request, &request.path, LEVELS_MAX, |answerer, walk, item| {
            answerer.tree_item(request, walk, item, tally)
        })?;
        self.refuse_whole(request, outcome, tally)
    }

    fn tree_item(
        &mut self,
        request: &Request,
        walk: &mut dyn Walk,
        item: WalkItem,
        tally: &mut Tally,
    ) -> Result<(), End> {
        let WalkItem { entry, refusal } = item;
        if let Some(refusal) = refusal {
            return self.refuse_below(request, &entry.name, &refusal, tally);
        }
        match entry.kind {
            EntryKind::File => match walk.open_last() {
                Ok(file) => self.file(request, &*file, &entry.name, tally),
                Err(refusal) => self.refuse_below(request, &entry.name, &refusal, tally),
            },
            EntryKind::Symlink if !link_stays_inside(&entry.name, &entry.text) => {
                let target = shmeld_os::name::escape(&entry.text);
                let refusal = Refusal::new(
                    Status::Denied,
                    format!("a symbolic link that may lead out of the tree: {target}"),
                );
                self.refuse_below(request, &entry.name, &refusal, tally)
            }
            _ => self.entry(request, &entry, Status::Ok, tally),
        }
    }

    fn list(&mut self, request: &Request, tally: &mut Tally) -> Result<Result<(), Refusal>, End> {
        let recursive = request.flags & FLAG_RECURSIVE != 0;
        let levels_max = if recursive { LEVELS_MAX } else { 1 };
        let as_walk = request.flags & FLAG_WALK != 0;
        let path = &request.path;
        let outcome = self.walk(request, path, levels_max, |answerer, _, item| {
            let itself = item.entry.name == b".";
            match (itself, item.entry.kind) {
                _ if as_walk => answerer.walked(request, &item, tally),
                (true, EntryKind::Directory) => Ok(()),
                (true, _) => answerer.listed(request, item, path.clone(), tally),
                (false, _) => {
                    let name = join(path, &item.entry.name);
                    answerer.listed(request, item, name, tally)
                }
            }
        })?;
        match outcome {
            Err(refusal) if refusal.status == Status::Fnf && has_pattern(path) && !as_walk => {
                let nothing = "nothing matches the pattern";
                self.walk_matching(request, tally, nothing, |answerer, _, item, name, tally| {
                    answerer.listed(request, item, name, tally)
                })
            }
            outcome => self.refuse_whole(request, outcome, tally),
        }
    }

    /// In a listing a FIFO or an unreadable directory is shown like everything else: nobody asked for its bytes.
    fn listed(
        &mut self,
        request: &Request,
        item: WalkItem,
        name: Vec<u8>,
        tally: &mut Tally,
    ) -> Result<(), End> {
        match item.refusal {
            Some(refusal) if item.entry.kind == EntryKind::Unknown => {
                self.refuse(request, &name, &refusal, tally)
            }
            _ if name.len() > NAME_BYTES_MAX => {
                self.refuse(request, &name, &Status::NameTooLong.into(), tally)
            }
            _ => self.entry(request, &Entry { name, ..item.entry }, Status::Ok, tally),
        }
    }

    /// An item as another walk can hand it on: whatever cannot be looked into is refused, but a FIFO is told as one.
    fn walked(&mut self, request: &Request, item: &WalkItem, tally: &mut Tally) -> Result<(), End> {
        match &item.refusal {
            Some(refusal) if item.entry.kind != EntryKind::Other => {
                self.refuse_below(request, &item.entry.name, refusal, tally)
            }
            _ => self.entry(request, &item.entry, Status::Ok, tally),
        }
    }

    fn status(&mut self, request: &Request, tally: &mut Tally) -> Result<Result<(), Refusal>, End> {
        let status = self.context.status();
        let json = match serde_json::to_vec(&status) {
            Ok(json) => json,
            Err(error) => return Ok(Err(Refusal::new(Status::Io, error.to_string()))),
        };
        let entry = Entry {
            mode: 0,
            ..Entry::file(b"status", json.len() as u64)
        };
        tally.items += 1;
        let begin = Record {
            extent: entry.size,
            ..Record::new(Kind::Begin, request.request_id)
        };
        self.writer.record(&begin, |payload| entry.encode_to(payload))?;
        self.writer
            .data(&Record::new(Kind::Data, request.request_id), &json)?;
        let end = Record {
            offset: entry.size,
            ..Record::new(Kind::End, request.request_id)
        };
        self.writer.record(&end, |_| {})?;
        Ok(Ok(()))
    }

    pub(super) fn refuse(
        &mut self,
        request: &Request,
        name: &[u8],
        refusal: &Refusal,
        tally: &mut Tally,
    ) -> Result<(), End> {
        self.account_refusal(request, name, refusal);
        self.refused_entry(request, name, refusal, tally)
    }

    /// As [`Answerer::refuse`], for a name relative to the tree that is asked for.
    fn refuse_below(
        &mut self,
        request: &Request,
        name: &[u8],
        refusal: &Refusal,
        tally: &mut Tally,
    ) -> Result<(), End> {
        self.account_refusal(request, &path_of_item(request, name), refusal);
        self.refused_entry(request, name, refusal, tally)
    }

    pub(super) fn refused_entry(
        &mut self,
        request: &Request,
        name: &[u8],
        refusal: &Refusal,
        tally: &mut Tally,
    ) -> Result<(), End> {
        tally.refused += 1;
        self.context.counters.refused_names.add(1);
        self.entry(request, &Entry::refusal(name, refusal), refusal.status, tally)
    }

    fn entry(
        &mut self,
        request: &Request,
        entry: &Entry,
        status: Status,
        tally: &mut Tally,
    ) -> Result<(), End> {
        tally.items += 1;
        let record = Record {
            status,
            extent: entry.size,
            ..Record::new(Kind::Entry, request.request_id)
        };
        self.writer.record(&record, |payload| entry.encode_to(payload))
    }
}
