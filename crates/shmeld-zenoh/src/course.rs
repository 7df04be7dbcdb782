//! From which export the next chunk of a file comes.
//!
//! All bytes of a file come from one export, and from one state of the file there: each chunk says by its identity to which it belongs. When
//! that export goes, another one may go on, once it has shown by the digests of the chunks that were given already that it has the same ones.
//! No client ever gets a mixture.
//!
//! ```text
//! Seeking --an export has the chunk--> Bound --chunk after chunk-->
//!    ^  \--and others were given----> Proving --its digests are the same--> Bound
//!    +---------it is gone, or its file is another one--------+
//! ```

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use shmeld::file::record::Entry;
use shmeld::file::{Refusal, Status};

use crate::ahead::{AHEAD_MAX, next_ahead};
use crate::asked::{Asked, Checked, Outcome, unusable};
use crate::chase::Chase;
use crate::chunk::{Chain, Chunk};
use crate::key::{ExportId, Service};
use crate::remote::Remote;
use crate::replicas::Choice;
use crate::shelf::Label;
use crate::wire::{CHUNK_BYTES, Request};

/// See the module.
#[derive(Debug)]
pub struct Course {
    phase: Phase,
    /// The chunk that is being read.
    chunk: Option<Arc<Chunk>>,
    /// What was given of the file so far, and from where.
    given: Chain,
    origin: Option<Origin>,
    /// Exports whose file is another one.
    excluded: Vec<ExportId>,
    /// Since when the next chunk has been waited for.
    since: Option<Instant>,
    /// How many chunks are asked for at once.
    ahead: usize,
}

/// One state of a file at one export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    export: ExportId,
    identity: [u8; 32],
}

#[derive(Debug)]
enum Phase {
    /// Nobody has been found yet, or nobody any more.
    Seeking(Chase),
    /// Somebody has the chunk that is wanted; whether it has those before, too, is being asked.
    Proving(Box<Proof>),
    /// One export is asked for chunk after chunk: those that begin at `first` and behind it, in their order.
    Bound { asked: VecDeque<Arc<Asked>>, first: u64 },
}

#[derive(Debug)]
struct Proof {
    origin: Origin,
    chunk: Arc<Chunk>,
    chain: Chain,
    asked: VecDeque<Arc<Asked>>,
    next: u64,
}

/// The file that a course is for.
#[derive(Debug)]
pub struct Aim {
    /// Where it can be had.
    pub remote: Arc<Remote>,
    /// Its name.
    pub path: Vec<u8>,
    /// What it is, as soon as that is known.
    pub entry: OnceCell<Entry>,
}

impl Aim {
    fn ask(&self, export: ExportId, request: Request) -> Arc<Asked> {
        self.remote.ask(export, Service::Get, &self.path, request)
    }
}

fn bytes_at(offset: u64) -> Request {
    Request {
        offset,
        digest_only: false,
    }
}

fn digest_at(offset: u64) -> Request {
    Request {
        offset,
        digest_only: true,
    }
}

impl Course {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(aim: &Aim) -> Self {
        Self {
            phase: Phase::Seeking(Chase::begin(
                &aim.remote,
                Service::Get,
                bytes_at(0),
                Instant::now(),
            )),
            chunk: None,
            given: Chain::new(0),
            origin: None,
            excluded: Vec::new(),
            since: None,
            ahead: 1,
        }
    }

    /// The chunk that begins at `offset`, if it is there.
    #[must_use]
    pub fn chunk(&self, offset: u64) -> Option<&Chunk> {
        self.chunk.as_deref().filter(|chunk| chunk.offset() == offset)
    }

    /// The identity of the file at the export from which it comes.
    #[must_use]
    pub fn identity(&self) -> Option<[u8; 32]> {
        self.origin.map(|origin| origin.identity)
    }

    /// Looks for the chunk at `wanted`, until `until` at most. `false` if it is not there by then.
    ///
    /// # Errors
    /// It cannot be had: why, for the client.
    pub fn look(&mut self, aim: &Aim, wanted: u64, until: Instant) -> Result<bool, Refusal> {
        while self.chunk(wanted).is_none() {
            self.since.get_or_insert_with(Instant::now);
            if aim.remote.is_stopping() {
                return Err(Status::Stopping.into());
            }
            let has_moved = match self.phase {
                Phase::Seeking(_) => self.seek(aim, wanted, until)?,
                Phase::Proving(_) => self.prove(aim, until)?,
                Phase::Bound { .. } => self.fetch(aim, wanted, until)?,
            };
            if !has_moved {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn since(&self) -> Instant {
        self.since.unwrap_or_else(Instant::now)
    }

    fn seek_anew(&mut self, aim: &Aim, wanted: u64) {
        let chase = Chase::begin(&aim.remote, Service::Get, bytes_at(wanted), self.since());
        self.phase = Phase::Seeking(chase.without(&self.excluded));
    }

    fn seek(&mut self, aim: &Aim, wanted: u64, until: Instant) -> Result<bool, Refusal> {
        let Phase::Seeking(chase) = &mut self.phase else {
            return Ok(true);
        };
        if chase.request().offset != wanted {
            self.seek_anew(aim, wanted);
            return Ok(true);
        }
        let caught = match chase.poll(&aim.remote, &aim.path, until) {
            Ok(Some(caught)) => caught,
            Ok(None) => return Ok(false),
            Err(refusal) => return Err(self.refused(refusal)),
        };
        let (export, head, body) = caught;
        let chunk = match Chunk::check(&head, body, bytes_at(wanted)) {
            Ok(chunk) => Arc::new(chunk),
            Err(error) => {
                chase.failed(&aim.remote, export, unusable(error));
                return Ok(true);
            }
        };
        aim.remote.replicas().succeeded(export);
        let origin = Origin {
            export,
            identity: head.identity,
        };
        if wanted != self.given.until() {
            self.given = Chain::new(wanted);
        }
        let needs_no_proof = self.given.is_empty() || self.origin == Some(origin);
        if needs_no_proof {
            aim.entry.get_or_init(|| head.entry.clone());
        }
        if aim.entry.get().is_some_and(|entry| entry.size != head.entry.size) {
            return self.differs(aim, export, wanted);
        }
        if needs_no_proof {
            self.bind(origin, chunk);
            return Ok(true);
        }
        tracing::info!(
            target: "shmeld::bridge",
            "{}: going on at export {export} after {} bytes, if it has the same ones",
            shmeld::os::name::escape(&aim.path),
            self.given.until(),
        );
        self.phase = Phase::Proving(Box::new(Proof {
            origin,
            chunk,
            chain: Chain::new(self.given.from()),
            asked: VecDeque::new(),
            next: self.given.from(),
        }));
        Ok(true)
    }

    /// What a refusal means once bytes were given.
    fn refused(&self, refusal: Refusal) -> Refusal {
        match refusal.status {
            Status::Fnf | Status::NotAFile if !self.given.is_empty() => Refusal::new(
                Status::Changed,
                format!("gone while it was read: {}", refusal.text),
            ),
            _ => refusal,
        }
    }

    /// This export has another file under the name: others are asked, if there are any.
    fn differs(&mut self, aim: &Aim, export: ExportId, wanted: u64) -> Result<bool, Refusal> {
        self.excluded.push(export);
        if aim.remote.replicas().choose(&self.excluded, Instant::now()) == Choice::Nobody {
            let text = "the export that had it is gone, and the others have another file of this name";
            return Err(Refusal::new(Status::Changed, text));
        }
        self.seek_anew(aim, wanted);
        Ok(true)
    }

    /// Gives the chunk, and goes on at its export.
    fn bind(&mut self, origin: Origin, chunk: Arc<Chunk>) {
        let first = chunk.offset() + CHUNK_BYTES;
        self.give(chunk);
        self.origin = Some(origin);
        self.phase = Phase::Bound {
            asked: VecDeque::new(),
            first,
        };
    }

    fn give(&mut self, chunk: Arc<Chunk>) {
        self.given.push(&chunk.digest(), chunk.end() - chunk.offset());
        self.chunk = Some(chunk);
        self.since = None;
    }

    fn prove(&mut self, aim: &Aim, until: Instant) -> Result<bool, Refusal> {
        let Phase::Proving(proof) = &mut self.phase else {
            return Ok(true);
        };
        let (export, wanted) = (proof.origin.export, proof.chunk.offset());
        if proof.chain.until() >= self.given.until() {
            if proof.chain != self.given {
                return self.differs(aim, export, wanted);
            }
            let proof = std::mem::replace(
                &mut self.phase,
                Phase::Bound {
                    asked: VecDeque::new(),
                    first: 0,
                },
            );
            if let Phase::Proving(proof) = proof {
                self.bind(proof.origin, proof.chunk);
            }
            return Ok(true);
        }
        while proof.asked.len() < AHEAD_MAX && proof.next < self.given.until() {
            proof.asked.push_back(aim.ask(export, digest_at(proof.next)));
            proof.next += CHUNK_BYTES;
        }
        let Some(asked) = proof.asked.front() else {
            return Ok(true);
        };
        if !asked.wait(until) {
            return Ok(false);
        }
        let outcome = asked.outcome();
        proof.asked.pop_front();
        let request = digest_at(proof.chain.until());
        match outcome {
            Outcome::Good(head, body) => match head.check_chunk(request, body.len()) {
                Ok(()) if head.identity == proof.origin.identity => {
                    proof.chain.push(&head.digest, u64::from(head.len));
                    self.since = Some(Instant::now());
                }
                Ok(()) => return self.differs(aim, export, wanted),
                Err(error) => self.lost(aim, export, wanted, &unusable(error)),
            },
            Outcome::Refused(_) => return self.differs(aim, export, wanted),
            Outcome::Failed(reason) => self.lost(aim, export, wanted, &reason),
        }
        Ok(true)
    }

    /// An export could not answer: another one is looked for, or the same one once more.
    fn lost(&mut self, aim: &Aim, export: ExportId, wanted: u64, reason: &str) {
        tracing::debug!(target: "shmeld::bridge", "export {export}: {reason}");
        aim.remote.replicas().failed(export, Instant::now());
        self.seek_anew(aim, wanted);
    }

    fn fetch(&mut self, aim: &Aim, wanted: u64, until: Instant) -> Result<bool, Refusal> {
        let (Phase::Bound { asked, first }, Some(origin)) = (&mut self.phase, self.origin) else {
            self.seek_anew(aim, wanted);
            return Ok(true);
        };
        if *first != wanted {
            (*asked, *first) = (VecDeque::new(), wanted);
            self.given = Chain::new(wanted);
        }
        let size = aim.entry.get().map_or(0, |entry| entry.size);
        while asked.len() < self.ahead {
            let offset = *first + asked.len() as u64 * CHUNK_BYTES;
            // The chunk that is wanted is asked for even if it is the empty one at the end.
            if offset >= size && offset > wanted {
                break;
            }
            let label = Label {
                export: origin.export,
                path: aim.path.clone(),
                identity: origin.identity,
                offset,
            };
            match aim.remote.ask_ahead(&label) {
                Some(question) => asked.push_back(question),
                None if offset == wanted => asked.push_back(aim.ask(origin.export, bytes_at(offset))),
                None => break,
            }
        }
        let Some(front) = asked.front() else {
            return Ok(true);
        };
        let had_to_wait = !front.wait(Instant::now());
        if had_to_wait && !front.wait(until) {
            if !aim.remote.replicas().has(origin.export) {
                self.lost(aim, origin.export, wanted, "it is gone");
                return Ok(true);
            }
            return Ok(false);
        }
        let (took, checked) = (front.took(), front.chunk(bytes_at(wanted)));
        asked.pop_front();
        *first += CHUNK_BYTES;
        match checked {
            Checked::Chunk(identity, _) if identity != origin.identity => Err(Status::Changed.into()),
            Checked::Chunk(_, chunk) => {
                self.ahead = next_ahead(self.ahead, had_to_wait, took, aim.remote.timeout());
                self.give(chunk);
                Ok(true)
            }
            Checked::Refused(refusal) => Err(self.refused(refusal)),
            Checked::Failed(reason) => {
                self.lost(aim, origin.export, wanted, &reason);
                Ok(true)
            }
        }
    }
}
