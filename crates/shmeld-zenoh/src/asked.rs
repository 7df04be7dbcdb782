//! One question to one export, while it is under way and after.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shmeld::file::Refusal;
use zenoh::bytes::ZBytes;

use crate::key::ExportId;
use crate::replicas::Replicas;
use crate::wire::{BODY_BYTES_MAX, HEAD_BYTES_MAX, Head};

/// As whoever asked sees it.
#[derive(Debug)]
pub struct Asked {
    /// Who was asked.
    pub export: ExportId,
    when: Instant,
    state: Mutex<State>,
    changed: Condvar,
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
    Taken,
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

    /// What became of it; once, after [`Asked::wait`] has said that it is known.
    pub fn take(&self) -> Outcome {
        match std::mem::replace(&mut *self.state(), State::Taken) {
            State::Answered(head, body, _) => read(&head, body),
            State::Over(reason) => Outcome::Failed(reason),
            State::UnderWay | State::Taken => Outcome::Failed("it was not asked".to_owned()),
        }
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

fn read(head: &ZBytes, body: ZBytes) -> Outcome {
    let head = match Head::decode(&head.to_bytes()) {
        Ok(head) => head,
        Err(error) => return Outcome::Failed(format!("its answer cannot be used: {error}")),
    };
    match head.to_refusal() {
        None => Outcome::Good(head, body),
        Some(refusal) if head.unable => Outcome::Failed(refusal.text),
        Some(refusal) => Outcome::Refused(refusal),
    }
}
