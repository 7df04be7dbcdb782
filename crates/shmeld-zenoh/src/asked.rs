//! One question to one export, while it is under way and after.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use shmeld::file::Refusal;
use zenoh::bytes::ZBytes;

use crate::chunk::Chunk;
use crate::key::ExportId;
use crate::replicas::Replicas;
use crate::wire::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Head, Malformed, Request};

/// As whoever asked sees it.
#[derive(Debug)]
pub struct Asked {
    /// Who was asked.
    pub export: ExportId,
    when: Instant,
    state: Mutex<State>,
    changed: Condvar,
    checked: OnceLock<Checked>,
}

/// What became of a question for a chunk.
#[derive(Debug, Clone)]
pub(crate) enum Checked {
    /// Here it is, and to which state of its file it belongs.
    Chunk([u8; 32], Arc<Chunk>),
    /// As [`Outcome::Refused`].
    Refused(Refusal),
    /// As [`Outcome::Failed`], or the answer cannot be used.
    Failed(String),
}

/// As the network sees it: it gives at most one answer, and when it lets go of this there will be none any more.
#[derive(Debug)]
pub struct Pending {
    asked: Arc<Asked>,
    replicas: Arc<Mutex<Replicas>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    UnderWay,
    /// The answer, not yet looked at: head, body, and when it came.
    Answered(ZBytes, ZBytes, Instant),
    Over(String),
}

/// What became of a question.
#[derive(Debug)]
pub enum Outcome {
    /// A good answer; nothing in it has been compared with what was asked for.
    Good(Head, ZBytes),
    /// The export refuses the name.
    Refused(Refusal),
    /// This export cannot answer, or did not.
    Failed(String),
}

impl Asked {
    /// A question to this export, which counts among its tasks as long as it is pending.
    pub(crate) fn new(export: ExportId, replicas: &Arc<Mutex<Replicas>>) -> (Arc<Self>, Pending) {
        let asked = Arc::new(Self {
            export,
            when: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
            checked: OnceLock::new(),
        });
        let pending = Pending {
            asked: asked.clone(),
            replicas: replicas.clone(),
        };
        pending.replicas().asked(export);
        (asked, pending)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is known what became of it; that is waited for until `end`.
    pub fn wait(&self, end: Instant) -> bool {
        let mut state = self.state();
        while matches!(*state, State::UnderWay) {
            let rest = end.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, rest);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// What became of it, after [`Asked::wait`] has said that it is known.
    pub fn outcome(&self) -> Outcome {
        match &*self.state() {
            State::Answered(head, body, _) => read(head, body.clone()),
            State::Over(reason) => Outcome::Failed(reason.clone()),
            State::UnderWay => Outcome::Failed("it has not answered yet".to_owned()),
        }
    }

    /// The chunk that came, checked. Several clients may read it: the first one that looks computes its digest.
    pub(crate) fn chunk(&self, request: Request) -> Checked {
        let check = || match self.outcome() {
            Outcome::Good(head, body) => match Chunk::check(&head, body, request) {
                Ok(chunk) => Checked::Chunk(head.identity, Arc::new(chunk)),
                Err(error) => Checked::Failed(unusable(error)),
            },
            Outcome::Refused(refusal) => Checked::Refused(refusal),
            Outcome::Failed(reason) => Checked::Failed(reason),
        };
        self.checked.get_or_init(check).clone()
    }

    /// Whether there is no answer, and will be none.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(*self.state(), State::Over(_)) || matches!(self.checked.get(), Some(Checked::Failed(_)))
    }

    /// How long the answer took; nothing if there is none.
    pub fn took(&self) -> Duration {
        match *self.state() {
            State::Answered(_, _, when) => when.duration_since(self.when),
            _ => Duration::ZERO,
        }
    }

    fn settle(&self, settled: State) {
        let mut state = self.state();
        // The first answer counts: nobody is believed who goes on answering.
        if matches!(*state, State::UnderWay) {
            *state = settled;
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl Pending {
    /// An answer came.
    pub fn answered(&self, head: ZBytes, body: ZBytes) {
        // What is too long is not kept until somebody looks.
        if head.len() > HEAD_BYTES_MAX || body.len() > BODY_BYTES_MAX {
            return self.failed("it answered with more than a bridge says".to_owned());
        }
        self.asked.settle(State::Answered(head, body, Instant::now()));
    }

    /// None will come; `reason` is free of control bytes.
    pub fn failed(&self, reason: String) {
        self.asked.settle(State::Over(reason));
    }

    fn replicas(&self) -> MutexGuard<'_, Replicas> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.replicas().over(self.asked.export);
        self.failed("it did not answer".to_owned());
    }
}

/// What is said of an export whose answer is none.
pub(crate) fn unusable(error: Malformed) -> String {
    format!("its answer cannot be used: {error}")
}

fn read(head: &ZBytes, body: ZBytes) -> Outcome {
    let head = match Head::decode(&head.to_bytes()) {
        Ok(head) => head,
        Err(error) => return Outcome::Failed(unusable(error)),
    };
    match head.to_refusal() {
        None => Outcome::Good(head, body),
        Some(refusal) if head.unable => Outcome::Failed(refusal.text),
        Some(refusal) => Outcome::Refused(refusal),
    }
}
