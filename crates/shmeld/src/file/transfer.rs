//! Jobs become requests, records become files.
//!
//! Not here: the session (`client`), how a file appears (`output`), what anybody prints.

use std::collections::VecDeque;
use std::iter::Peekable;

use shmeld_core::Misbehaviour;
use shmeld_os::name::escape;

use super::client::Client;
use super::collected::Collected;
use super::event::Event;
use super::incoming::{Incoming, Sink};
use super::output::OutputOptions;
use super::partial::Partial;
use super::prefix::{Prefix, Start, check_begin};
use super::record::{Entry, Kind, Record};
use super::status::{Refusal, Status};
use super::target::{Active, Job, Recent, find_partial, shown_name};
use super::wire::{FLAG_PATTERN, FLAG_VERIFY, Op};
use crate::{Error, Result};

/// The client's work: [`Job`]s become files, and what happens is a stream of [`Event`]s that the caller pulls. See [`file`](super).
pub struct Transfer<I: Iterator<Item = Job>> {
    client: Client,
    jobs: Peekable<I>,
    options: OutputOptions,
    active: VecDeque<Active>,
    current: Option<Incoming>,
    /// We asked the server to save itself the rest of the present answer.
    is_cancelled: bool,
    collected: Collected,
    recent: Option<Recent>,
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
            is_cancelled: false,
            collected: Collected::default(),
            recent: None,
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
            self.client.check_interrupt()?;
            if self.may_send {
                self.send()?;
            }
            if !self.events.is_empty() {
                continue;
            }
            if self.active.is_empty() {
                return Ok(None);
            }
            let record = self.client.next_record()?;
            self.take(&record)?;
        }
    }

    /// The session behind it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the session properly.
    pub fn close(self) {
        self.client.close();
    }

    /// The session, for another transfer; `None` if answers are under way, which that one would get.
    #[must_use]
    pub fn into_client(self) -> Option<Client> {
        self.active.is_empty().then_some(self.client)
    }

    /// Sends as many requests as can be under way, or up to the first that fails: there may be millions of those.
    fn send(&mut self) -> Result<()> {
        while let Some(job) = self.jobs.peek_mut() {
            // What can be resumed is locked while it is fetched, and one name may be asked for several times.
            if self.options.resume && !self.active.is_empty() {
                self.may_send = false;
                return Ok(());
            }
            let client = &self.client;
            let partial = match prepare(job, self.options, || client.check_interrupt()) {
                Ok(partial) => partial,
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => {
                    let name = self.jobs.next().map(|job| job.query.path).unwrap_or_default();
                    self.events.push_back(Event::Failed { name, error });
                    return Ok(());
                }
            };
            match self.client.submit(&job.query) {
                Ok(Some(id)) => {
                    let Some(job) = self.jobs.next() else {
                        return Ok(());
                    };
                    self.active.push_back(Active {
                        id,
                        job,
                        tree: None,
                        partial,
                        has_failed: false,
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
                    return Ok(());
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
                let mut moved = incoming.data(&self.client, &mut self.collected, record)?;
                self.client.finish(record)?;
                moved += incoming.settle(&mut self.collected);
                self.events.extend(bytes_event(incoming));
                if moved > 0 {
                    self.events.push_back(Event::Progress { bytes: moved });
                }
                self.give_up_if_failed();
                return Ok(());
            }
            (Kind::Hole, Some(incoming)) => {
                let collected = self.collected.bytes().len() as u64;
                incoming.hole(&self.client, &mut self.collected, record)?;
                // No overflow: the hole has been found to lie within the file.
                let bytes = record.extent + collected;
                self.events.extend(bytes_event(incoming));
                if incoming.is_for_caller() {
                    self.events.push_back(Event::Zeros { bytes: record.extent });
                }
                self.events.push_back(Event::Progress { bytes });
                self.give_up_if_failed();
            }
            (Kind::End, Some(_)) => self.end(record)?,
            (Kind::Entry, None) => self.entry(record)?,
            (Kind::Done, None) => return self.done(record),
            _ => return Err(Misbehaviour::Record("a record out of order").into()),
        }
        self.client.finish(record)
    }

    fn read_entry(&mut self, record: &Record) -> Result<Entry> {
        let mut payload = Vec::new();
        self.client.payload(record, &mut payload);
        Ok(record.entry(&payload)?)
    }

    /// Whether a file, entry or refusal may come now. A GET has files and refusals only, a plain one exactly one of them: no second file ever
    /// takes the name of the first.
    fn check_item(&mut self, is_file_or_refusal: bool) -> Result<()> {
        let query = &first(&mut self.active)?.job.query;
        let is_get = query.op == Op::Get;
        let is_full = is_get && query.flags & FLAG_PATTERN == 0 && self.client.items() > 0;
        if is_full || is_get && !is_file_or_refusal {
            return Err(Misbehaviour::Record("an answer to more than was asked for").into());
        }
        Ok(())
    }

    fn begin(&mut self, record: &Record) -> Result<()> {
        let entry = self.read_entry(record)?;
        self.check_item(true)?;
        let options = self.options;
        let slot_bytes = self.client.slot_bytes();
        let active = first(&mut self.active)?;
        let prefix = active.job.query.resume.filter(|_| active.partial.is_some());
        let position = check_begin(record, &entry, prefix)?;
        let name = shown_name(&active.job, &entry);
        let verify = active.job.query.flags & FLAG_VERIFY != 0;
        let hashed = active.partial.as_mut().and_then(Partial::take_hasher);
        let start = match position {
            0 => Start::anew(verify),
            _ => Start {
                position,
                hasher: hashed.filter(|_| verify),
            },
        };
        let sink = if active.has_failed {
            Ok(Sink::Failed)
        } else {
            active.open_sink(&entry, position, options, &mut self.recent)
        };
        self.events.push_back(Event::Begun {
            name: name.clone(),
            size: entry.size,
        });
        if let Some(Prefix { bytes, .. }) = prefix {
            let name = name.clone();
            self.events.push_back(match position {
                0 => Event::Restarted { name, bytes },
                _ => Event::Resumed { name, bytes },
            });
        }
        let (sink, error) = match sink {
            Ok(sink) => (sink, None),
            Err(error) => (Sink::Nowhere, Some(error)),
        };
        self.collected.clear();
        self.current = Some(Incoming::new(name, entry, sink, start, slot_bytes, error));
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
            self.is_cancelled = true;
        }
    }

    fn end(&mut self, record: &Record) -> Result<()> {
        let Some(mut incoming) = self.current.take() else {
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
        let bytes = self.collected.bytes().len() as u64;
        if incoming.is_for_caller() {
            incoming.settle_all(&mut self.collected);
            self.events.extend(bytes_event(&mut incoming));
        }
        if bytes > 0 {
            self.events.push_back(Event::Progress { bytes });
        }
        match incoming.complete(&mut self.collected, record, &payload)? {
            Ok(()) => self.events.push_back(Event::Delivered { name, size }),
            Err(error) => self.events.push_back(Event::Failed { name, error }),
        }
        Ok(())
    }

    fn entry(&mut self, record: &Record) -> Result<()> {
        let entry = self.read_entry(record)?;
        self.check_item(record.status != Status::Ok)?;
        let options = self.options;
        let active = first(&mut self.active)?;
        let name = shown_name(&active.job, &entry);
        if record.status != Status::Ok {
            let refusal = Refusal::new(record.status, escape(&entry.text));
            self.events.push_back(Event::Refused { name, refusal });
            return Ok(());
        }
        let stored = if active.has_failed || active.job.query.op != Op::Tree {
            Ok(())
        } else {
            active.store_entry(&entry, options)
        };
        if active.has_failed {
            // A tree that has no place: spare both sides the rest of it.
            let id = active.id;
            self.client.cancel_up_to(id);
            self.is_cancelled = true;
        }
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
        let is_cancelled = std::mem::take(&mut self.is_cancelled);
        // Only a listing can be empty. Everything else would look like success, without the file.
        if record.status == Status::Ok && record.offset == 0 && active.job.query.op != Op::List {
            return Err(Misbehaviour::Record("an answer without what was asked for").into());
        }
        let name = active.job.query.path;
        let is_as_agreed = record.status == Status::Ok || record.status == Status::Cancelled && is_cancelled;
        if !is_as_agreed {
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

/// Looks for what an earlier transfer left of this file, and says in the request what it is.
fn prepare(
    job: &mut Job,
    options: OutputOptions,
    go_on: impl FnMut() -> Result<()>,
) -> Result<Option<Partial>> {
    // Only what was found here can be gone on with.
    job.query.resume = None;
    let Some(mut partial) = find_partial(job, options)? else {
        return Ok(None);
    };
    job.query.resume = partial.hash(go_on)?;
    Ok(Some(partial))
}

fn bytes_event(incoming: &mut Incoming) -> Option<Event> {
    let bytes = incoming.take_bytes();
    (!bytes.is_empty()).then_some(Event::Bytes(bytes))
}

/// The request whose answer is arriving.
fn first(active: &mut VecDeque<Active>) -> Result<&mut Active> {
    active
        .front_mut()
        .ok_or_else(|| Misbehaviour::Record("an answer that nobody asked for").into())
}
