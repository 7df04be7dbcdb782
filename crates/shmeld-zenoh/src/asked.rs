//! One question to one export, while it is under way and after.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use shmeld::file::{Refusal, Status};
use zenoh::bytes::ZBytes;

use crate::chunk::Chunk;
use crate::key::ExportId;
use crate::list_wire::LIST_BYTES_MAX;
use crate::listing::{ListBudget, Room};
use crate::replicas::Replicas;
use crate::wire::{HEAD_BYTES_MAX, Head, Malformed, Request, is_of_a_name};

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
    limit: Limit,
}

/// How much of an answer is kept until somebody looks.
#[derive(Debug)]
pub(crate) enum Limit {
    /// So many bytes: no honest answer is longer.
    Bytes(usize),
    /// A list: as long as there is room for lists.
    List(ListBudget),
}

impl Limit {
    fn bytes_max(&self) -> usize {
        match self {
            Self::Bytes(bytes) => *bytes,
            Self::List(_) => LIST_BYTES_MAX,
        }
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    UnderWay,
    /// The answer, not yet looked at: head, body, when it came, and the room that it takes.
    Answered(ZBytes, ZBytes, Instant, Option<Arc<Room>>),
    /// A list for which there is no room.
    TooMany,
    Over(String),
}

/// What became of a question.
#[derive(Debug)]
pub enum Outcome {
    /// A good answer; nothing in it has been compared with what was asked for.
    Good(Box<Head>, ZBytes),
    /// The export refuses the name.
    Refused(Refusal),
    /// This export cannot answer, or did not.
    Failed(String),
}

impl Asked {
    /// A question to this export, which counts among its tasks as long as it is pending.
    pub(crate) fn new(
        export: ExportId,
        limit: Limit,
        replicas: &Arc<Mutex<Replicas>>,
    ) -> (Arc<Self>, Pending) {
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
            limit,
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
            State::Answered(head, body, ..) => read(head, body.clone()),
            State::TooMany => {
                let text = "too many large directories are being walked at once";
                Outcome::Refused(Refusal::new(Status::Busy, text))
            }
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

    /// The room that a list takes which came.
    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        match &*self.state() {
            State::Answered(_, _, _, room) => room.clone(),
            _ => None,
        }
    }

    /// Whether there is no answer, and will be none.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(*self.state(), State::Over(_)) || matches!(self.checked.get(), Some(Checked::Failed(_)))
    }

    /// How long the answer took; nothing if there is none.
    pub fn took(&self) -> Duration {
        match *self.state() {
            State::Answered(_, _, when, _) => when.duration_since(self.when),
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
        if head.len() > HEAD_BYTES_MAX || body.len() > self.limit.bytes_max() {
            return self.failed("it answered with more than a bridge says".to_owned());
        }
        let room = match &self.limit {
            Limit::Bytes(_) => None,
            Limit::List(budget) => match budget.take(body.len()) {
                None => return self.asked.settle(State::TooMany),
                room => room,
            },
        };
        self.asked
            .settle(State::Answered(head, body, Instant::now(), room));
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
        None => Outcome::Good(Box::new(head), body),
        Some(refusal) if !head.unable && is_of_a_name(refusal.status) => Outcome::Refused(refusal),
        Some(refusal) => Outcome::Failed(refusal.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::id;

    #[test]
    fn answer_longer_than_any_honest_one_is_not_kept() {
        for (head, body, is_kept) in [(0, 10, true), (0, 11, false), (HEAD_BYTES_MAX + 1, 0, false)] {
            let (asked, pending) = Asked::new(id(1), Limit::Bytes(10), &Arc::default());
            pending.answered(vec![0; head].into(), vec![0; body].into());
            assert_eq!(!asked.has_failed(), is_kept, "{head} {body}");
        }
    }

    #[test]
    fn list_for_which_there_is_no_room_is_not_kept_and_its_export_not_blamed() {
        let budget = ListBudget::default();
        let ask = || Asked::new(id(1), Limit::List(budget.clone()), &Arc::default());
        let held: Vec<_> = (0..4)
            .map(|_| {
                let (asked, pending) = ask();
                pending.answered(ZBytes::new(), vec![0; LIST_BYTES_MAX].into());
                assert!(asked.room().is_some());
                asked
            })
            .collect();
        let (asked, pending) = ask();
        pending.answered(ZBytes::new(), vec![0].into());
        assert!(matches!(asked.outcome(), Outcome::Refused(refusal) if refusal.status == Status::Busy));
        drop(held);
        let (asked, pending) = ask();
        pending.answered(ZBytes::new(), vec![0].into());
        assert!(asked.room().is_some());
    }
}
