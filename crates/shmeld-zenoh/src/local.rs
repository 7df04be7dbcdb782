//! The local server as an export reads it: through a client of shared memory like every other, so that every rule of the server holds.

use std::time::Duration;

use shmeld::ServerName;
use shmeld::file::record::{Entry, EntryKind, Kind, Record};
use shmeld::file::wire::{FLAG_RANGE, FLAG_WALK, Op};
use shmeld::file::{Client, ClientOptions, Interrupt, Query, Range, Refusal, Status};
use shmeld::os::name::escape;

use crate::arriving::Arriving;
use crate::list_wire::{LIST_BYTES_MAX, push_listed};
use crate::wire::{CHUNK_BYTES, Head, Request};

/// Four slots of a quarter of a megabyte: what is fast between two processes (docs/BENCHMARKS.md).
const REGION_BYTES: u64 = 1 << 20;
/// The longest status that is passed on.
const STATUS_BYTES_MAX: usize = 64 * 1024;

/// How the local server is found.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Its name.
    pub name: ServerName,
    /// How long it may be silent.
    pub timeout: Duration,
    /// The wish to stop.
    pub interrupt: Interrupt,
}

/// A session with the local server, opened when it is needed.
#[derive(Debug)]
pub struct Local {
    options: LocalOptions,
    client: Option<Client>,
}

/// An answer: its head, and what follows it.
pub type Answer = (Head, Vec<u8>);

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refuses the name.
    Refused(Refusal),
    /// The session is over.
    Session(shmeld::Error),
}

impl From<shmeld::Error> for Failure {
    fn from(error: shmeld::Error) -> Self {
        Self::Session(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<shmeld::Misbehaviour> for Failure {
    fn from(misbehaviour: shmeld::Misbehaviour) -> Self {
        Self::Session(misbehaviour.into())
    }
}

impl Local {
    /// No session yet.
    #[must_use]
    pub fn new(options: LocalOptions) -> Self {
        Self {
            options,
            client: None,
        }
    }

    /// A chunk of a file.
    pub fn get(&mut self, path: &[u8], request: Request) -> Answer {
        self.answer(|client| get(client, path, request))
    }

    /// What a directory holds, itself first, or the file that has this name.
    pub fn list(&mut self, path: &[u8]) -> Answer {
        self.answer(|client| list(client, path))
    }

    /// What the server says about itself, as JSON.
    pub fn status(&mut self) -> Answer {
        self.answer(status)
    }

    /// Whether there is a session.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.client.is_some()
    }

    /// Ends the session, if there is one: an idle one takes a place from others.
    pub fn rest(&mut self) {
        if let Some(client) = self.client.take() {
            client.close();
        }
    }

    /// A session that was there already may have ended meanwhile, which is no reason not to answer: then it is tried once more with a new one.
    fn answer(&mut self, ask: impl Fn(&mut Client) -> Result<Answer, Failure>) -> Answer {
        loop {
            let is_used = self.client.is_some();
            match self.connected().map_err(Failure::from).and_then(&ask) {
                Ok(answer) => return answer,
                Err(Failure::Refused(refusal)) => return (Head::refusal(&refusal, false), Vec::new()),
                Err(Failure::Session(error)) => {
                    self.client = None;
                    if is_used && !matches!(error, shmeld::Error::Interrupted) {
                        continue;
                    }
                    let refusal =
                        Refusal::new(Status::Io, format!("the local server of the export: {error}"));
                    return (Head::refusal(&refusal, true), Vec::new());
                }
            }
        }
    }

    fn connected(&mut self) -> shmeld::Result<&mut Client> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(ClientOptions {
                name: self.options.name.clone(),
                wait: Some(Duration::ZERO),
                region_bytes: REGION_BYTES,
                or_one_page: true,
                silence_max: self.options.timeout,
                interrupt: self.options.interrupt.clone(),
                ..ClientOptions::default()
            })?,
        };
        Ok(self.client.insert(client))
    }
}

/// Sends a request; its id.
fn submit(client: &mut Client, query: &Query) -> shmeld::Result<u64> {
    match client.submit(query)? {
        Some(id) => Ok(id),
        // Nothing else is under way on this session.
        None => Err(shmeld::Misbehaviour::Record("a session that takes no request").into()),
    }
}

pub(crate) fn payload(client: &Client, record: &Record) -> Vec<u8> {
    let mut payload = Vec::new();
    client.payload(record, &mut payload);
    payload
}

fn get(client: &mut Client, path: &[u8], request: Request) -> Result<Answer, Failure> {
    let range = Range {
        offset: request.offset,
        len: CHUNK_BYTES,
    };
    submit(
        client,
        &Query {
            flags: FLAG_RANGE,
            resume: Some(range.into()),
            ..Query::new(Op::Get, path)
        },
    )?;
    let mut arriving = None;
    let mut refused = None;
    loop {
        let record = client.next_record()?;
        match (record.kind, &mut arriving) {
            (Kind::Begin, None) => arriving = Some(Arriving::begin(client, &record, request)?),
            (Kind::Data, Some(arriving)) => arriving.data(client, &record)?,
            (Kind::Hole, Some(arriving)) => arriving.hole(&record)?,
            (Kind::End, Some(arriving)) if record.status != Status::Ok => {
                let text = escape(&payload(client, &record));
                arriving.fails(Refusal::new(record.status, text));
            }
            (Kind::End, Some(_)) => {}
            (Kind::Entry, None) if record.status != Status::Ok => {
                let entry = record.entry(&payload(client, &record))?;
                refused = Some(Refusal::new(record.status, escape(&entry.text)));
            }
            (Kind::Done, _) => {
                refused = refused.or(refusal_of_all(client, &record));
                client.finish(&record)?;
                break;
            }
            _ => return Err(shmeld::Misbehaviour::Record("a record out of order").into()),
        }
        client.finish(&record)?;
    }
    match (refused, arriving) {
        (Some(refusal), _) => Err(refusal.into()),
        (None, Some(arriving)) => arriving.finish(request),
        (None, None) => Err(shmeld::Misbehaviour::Record("an answer without what was asked for").into()),
    }
}

/// What DONE says, if it is nothing good.
fn refusal_of_all(client: &Client, record: &Record) -> Option<Refusal> {
    let text = || escape(&payload(client, record));
    (record.status != Status::Ok).then(|| Refusal::new(record.status, text()))
}

fn list(client: &mut Client, path: &[u8]) -> Result<Answer, Failure> {
    let id = submit(
        client,
        &Query {
            flags: FLAG_WALK,
            ..Query::new(Op::List, path)
        },
    )?;
    let mut body = Vec::new();
    let mut is_cut = false;
    let mut first = None;
    loop {
        let record = client.next_record()?;
        match record.kind {
            Kind::Entry => {
                let entry = record.entry(&payload(client, &record))?;
                if first.is_none() {
                    first = Some((record.status, entry.clone()));
                }
                if !is_cut && !push_listed(&mut body, record.status, &entry) {
                    is_cut = true;
                    client.cancel_up_to(id);
                }
            }
            Kind::Done => {
                let refusal = refusal_of_all(client, &record);
                client.finish(&record)?;
                return listed(first, body, if is_cut { Some(too_long()) } else { refusal });
            }
            _ => return Err(shmeld::Misbehaviour::Record("a record out of order").into()),
        }
        client.finish(&record)?;
    }
}

fn too_long() -> Refusal {
    let most = LIST_BYTES_MAX >> 20;
    Refusal::new(
        Status::TooLarge,
        format!("a directory whose list is longer than {most} MiB does not travel between machines"),
    )
}

fn listed(
    first: Option<(Status, Entry)>,
    body: Vec<u8>,
    refusal: Option<Refusal>,
) -> Result<Answer, Failure> {
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let Some((status, itself)) = first else {
        return Err(shmeld::Misbehaviour::Record("an answer without what was asked for").into());
    };
    // A walk begins with what it was asked for.
    if status != Status::Ok {
        return Err(Refusal::new(status, escape(&itself.text)).into());
    }
    let entry = Entry {
        name: Vec::new(),
        text: Vec::new(),
        ..itself
    };
    Ok(whole(entry, body))
}

fn status(client: &mut Client) -> Result<Answer, Failure> {
    submit(client, &Query::new(Op::Status, ""))?;
    let mut body = Vec::new();
    loop {
        let record = client.next_record()?;
        if record.kind == Kind::Data {
            client.payload(&record, &mut body);
        }
        if body.len() > STATUS_BYTES_MAX {
            return Err(shmeld::Misbehaviour::Record("a status that is none").into());
        }
        client.finish(&record)?;
        if record.kind == Kind::Done {
            break;
        }
    }
    let mut entry = Entry::refusal(b"", &Refusal::new(Status::Ok, ""));
    (entry.kind, entry.size) = (EntryKind::File, body.len() as u64);
    Ok(whole(entry, body))
}

/// An answer that is no chunk of a file: it is sent at once, and nothing is identified by it.
fn whole(entry: Entry, body: Vec<u8>) -> Answer {
    let head = Head {
        status: Status::Ok,
        unable: false,
        zeros: false,
        offset: 0,
        len: body.len() as u32,
        identity: [0; 32],
        digest: blake3::hash(&body).into(),
        entry,
    };
    (head, body)
}
