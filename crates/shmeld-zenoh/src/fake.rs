//! A network that is none: exports in memory, which answer at once, and die, lie or are silent as a test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::source::SourceFile;
use shmeld::file::{Refusal, Status};
use shmeld::os::fs::Time;

use crate::asked::Pending;
use crate::key::{ExportId, Prefix, Service};
use crate::list_wire::push_listed;
use crate::remote::{Network, Remote};
use crate::remote_file::RemoteFile;
use crate::replicas::Replicas;
use crate::wire::{CHUNK_BYTES, Head, Request};

/// Changes an answer.
pub type Lie = fn(&mut Head, &mut Vec<u8>);

/// What an export does when it is asked.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// The truth.
    Honest,
    /// Something else.
    Lying(Lie),
    /// It says that it cannot.
    Unable,
    /// It is gone in the middle.
    Dead,
    /// Nothing, for ever.
    Mute,
}

#[derive(Debug)]
pub struct FakeExport {
    pub id: ExportId,
    pub manner: Manner,
    /// After so many answers it is dead, and its token gone.
    pub answers_left: u32,
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Changed when a file is.
    pub state: u8,
    /// How many questions came.
    pub asked: u32,
    pub digests_asked: u32,
    silenced: Vec<Pending>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct World {
    pub exports: Arc<Mutex<Vec<FakeExport>>>,
    pub replicas: Arc<Mutex<Replicas>>,
}

pub fn id(number: u8) -> ExportId {
    ExportId([number; 16])
}

fn prefix() -> Prefix {
    "fake".parse().unwrap()
}

/// Bytes that no part of repeats.
pub fn content(len: usize, salt: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 + (at >> 8) * 13 + (at >> 16) * 31) as u8 ^ salt)
        .collect()
}

impl World {
    /// So many exports, numbered from 1, each with the same file `f`.
    pub fn new(count: u8, file: &[u8]) -> Self {
        let world = Self {
            exports: Arc::default(),
            replicas: Arc::default(),
        };
        for number in 1..=count {
            world.add(number, file);
        }
        world
    }

    pub fn add(&self, number: u8, file: &[u8]) {
        let files = [(b"f".to_vec(), file.to_vec())].into();
        self.exports.lock().unwrap().push(FakeExport {
            id: id(number),
            manner: Manner::Honest,
            answers_left: u32::MAX,
            files,
            state: 0,
            asked: 0,
            digests_asked: 0,
            silenced: Vec::new(),
        });
        self.replicas.lock().unwrap().appeared(id(number));
    }

    pub fn remote(&self, timeout: Duration) -> Arc<Remote> {
        let network = Box::new(self.clone());
        Arc::new(Remote::new(network, prefix(), timeout, self.replicas.clone()))
    }

    pub fn change(&self, number: u8, change: impl FnOnce(&mut FakeExport)) {
        let mut exports = self.lock();
        change(exports.iter_mut().find(|export| export.id == id(number)).unwrap());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FakeExport>> {
        self.exports.lock().unwrap()
    }
}

impl Network for World {
    fn send(&self, key: String, payload: Vec<u8>, _timeout: Duration, pending: Pending) {
        let mut exports = self.lock();
        let asked = exports
            .iter_mut()
            .find_map(|export| Some((prefix().asked_of(export.id, &key)?, export)));
        let Some(((service, name), export)) = asked else {
            return;
        };
        let request = Request::decode(&payload).unwrap();
        if export.answers_left == 0 {
            export.manner = Manner::Dead;
            self.replicas.lock().unwrap().vanished(export.id);
        }
        export.answers_left = export.answers_left.saturating_sub(1);
        export.asked += 1;
        export.digests_asked += u32::from(request.digest_only);
        let (mut head, mut body) = match service {
            Service::List => export.list(&name),
            _ => export.get(&name, request),
        };
        match export.manner {
            Manner::Honest => {}
            Manner::Lying(lie) => lie(&mut head, &mut body),
            Manner::Unable => {
                let refusal = Refusal::new(Status::Io, "no server here");
                (head, body) = (Head::refusal(&refusal, true), Vec::new());
            }
            Manner::Dead => return,
            Manner::Mute => return export.silenced.push(pending),
        }
        pending.answered(head.encode().into(), body.into());
    }
}

pub fn entry(kind: EntryKind, name: &[u8], size: u64) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        size,
        modified: Time {
            seconds: 1,
            nanoseconds: 0,
        },
        uid: 0,
        gid: 0,
        name: name.to_vec(),
        text: Vec::new(),
    }
}

impl FakeExport {
    fn get(&self, name: &[u8], request: Request) -> (Head, Vec<u8>) {
        let Some(file) = self.files.get(name) else {
            return (Head::refusal(&Status::Fnf.into(), false), Vec::new());
        };
        let start = (request.offset as usize).min(file.len());
        let end = (start + CHUNK_BYTES as usize).min(file.len());
        let bytes = &file[start..end];
        let zeros = !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
        let mut identity = [self.state; 32];
        identity[0] = self.id.0[0];
        let head = Head {
            status: Status::Ok,
            unable: false,
            zeros,
            offset: request.offset,
            len: bytes.len() as u32,
            identity,
            digest: blake3::hash(bytes).into(),
            entry: entry(EntryKind::File, b"", file.len() as u64),
        };
        let is_sent = !request.digest_only && !zeros;
        (head, if is_sent { bytes.to_vec() } else { Vec::new() })
    }

    /// Directories are those that files lie in.
    fn list(&self, name: &[u8]) -> (Head, Vec<u8>) {
        let name = name.strip_suffix(b"/").unwrap_or(name);
        let below = if name.is_empty() || name == b"." {
            Vec::new()
        } else {
            [name, b"/"].concat()
        };
        let mut items = BTreeMap::new();
        for (path, bytes) in &self.files {
            let Some(rest) = path.strip_prefix(below.as_slice()) else {
                continue;
            };
            match rest.iter().position(|byte| *byte == b'/') {
                Some(slash) => items.insert(
                    rest[..slash].to_vec(),
                    entry(EntryKind::Directory, &rest[..slash], 0),
                ),
                None => items.insert(rest.to_vec(), entry(EntryKind::File, rest, bytes.len() as u64)),
            };
        }
        let itself = match self.files.get(name) {
            Some(bytes) => entry(EntryKind::File, b".", bytes.len() as u64),
            None if items.is_empty() => return (Head::refusal(&Status::Fnf.into(), false), Vec::new()),
            None => entry(EntryKind::Directory, b".", 0),
        };
        let mut list = Vec::new();
        assert!(push_listed(&mut list, Status::Ok, &itself));
        for item in items.values() {
            assert!(push_listed(&mut list, Status::Ok, item));
        }
        let head = Head {
            len: list.len() as u32,
            digest: blake3::hash(&list).into(),
            ..self
                .get(
                    self.files.keys().next().unwrap(),
                    Request {
                        offset: 0,
                        digest_only: true,
                    },
                )
                .0
        };
        (head, list)
    }
}

/// Waits as the server does, for ten seconds at most.
pub fn ready(file: &dyn SourceFile, position: u64) -> Result<(), Refusal> {
    let end = Instant::now() + Duration::from_secs(10);
    while !file.is_ready(position)? {
        assert!(Instant::now() < end, "neither bytes nor a refusal");
    }
    Ok(())
}

/// Reads a file in pieces of a slot; `between` is called behind each.
pub fn read_all(file: &RemoteFile, mut between: impl FnMut(u64)) -> Result<Vec<u8>, Refusal> {
    let mut read = Vec::new();
    loop {
        ready(file, read.len() as u64)?;
        let mut piece = vec![0; 258_048];
        match file.read_at(&mut piece, read.len() as u64)? {
            0 => return Ok(read),
            got => read.extend_from_slice(&piece[..got]),
        }
        between(read.len() as u64);
    }
}

/// Fewer than `most` bytes that nobody has chosen, the same for the same seed.
pub fn random_bytes(seed: u64, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; most];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut bytes);
    let len = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize % most;
    bytes.truncate(len);
    bytes
}
