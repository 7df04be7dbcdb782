//! The requests that a session has been handed and has not answered, and why it shall end. Pure: `session` puts a lock around it.

use std::collections::VecDeque;

use shmeld_core::Misbehaviour;

use super::session::End;
use super::wire::{Op, Request};

/// How many requests of a session may be unanswered.
pub(super) const UNANSWERED_MAX: usize = 8;

/// What became of a request that the acceptor handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be answered.
    Taken,
    /// Seen before, or behind CLOSE: nothing happens.
    Dropped,
    /// One too many: the session ends at its next look, not after the first eight are answered, which such a client may never read.
    Flooded,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    requests: VecDeque<Request>,
    is_answering: bool,
    last_id: u64,
    end: Option<End>,
    /// CLOSE has come: nothing is taken after it.
    is_closing: bool,
    is_attached: bool,
    made_get: bool,
}

impl Inbox {
    /// Takes a request in. Ids strictly increase, so whatever is sent twice is answered once.
    pub(super) fn push(&mut self, request: Request) -> Pushed {
        if request.request_id <= self.last_id || self.is_closing {
            return Pushed::Dropped;
        }
        self.last_id = request.request_id;
        self.is_closing = request.op == Op::Close;
        let unanswered = self.requests.len() + usize::from(self.is_answering);
        if unanswered >= UNANSWERED_MAX && request.op != Op::Close {
            self.end(End::Misbehaved(Misbehaviour::Flood));
            return Pushed::Flooded;
        }
        self.made_get |= matches!(request.op, Op::Get | Op::Tree);
        self.requests.push_back(request);
        Pushed::Taken
    }

    /// Ends the session as soon as it is idle. The first reason stands.
    pub(super) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// The last request has been answered: the next one, if one is there.
    ///
    /// # Errors
    /// Nothing is left to answer, and the session shall end.
    pub(super) fn take_next(&mut self) -> Result<Option<Request>, End> {
        self.is_answering = false;
        if let Some(request) = self.requests.pop_front() {
            self.is_answering = true;
            return Ok(Some(request));
        }
        self.end.take().map_or(Ok(None), Err)
    }

    /// The region has been joined.
    pub(super) fn set_attached(&mut self) {
        self.is_attached = true;
    }

    /// Whether nothing is asked for at the moment.
    pub(super) fn is_idle(&self) -> bool {
        self.is_attached && self.requests.is_empty() && !self.is_answering
    }

    /// Whether `--once` waits for such a session: it was attached and asked for a file.
    pub(super) fn counts_for_once(&self) -> bool {
        self.is_attached && self.made_get
    }
}

/// Whether what has been answered must be published now: nothing follows for the moment, or for ever.
pub(super) fn must_flush(next: &Result<Option<Request>, End>) -> bool {
    !matches!(next, Ok(Some(request)) if request.op != Op::Close)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample;

    fn request(op: Op, request_id: u64) -> Request {
        Request {
            request_id,
            ..sample::request(op, b"")
        }
    }

    fn push(inbox: &mut Inbox, op: Op, request_id: u64) -> Pushed {
        inbox.push(request(op, request_id))
    }

    #[test]
    fn request_sent_twice_is_answered_once() {
        let mut inbox = Inbox::default();
        assert_eq!(push(&mut inbox, Op::Get, 3), Pushed::Taken);
        assert_eq!(push(&mut inbox, Op::Get, 3), Pushed::Dropped);
        assert_eq!(push(&mut inbox, Op::Get, 2), Pushed::Dropped);
        assert_eq!(inbox.take_next().unwrap().unwrap().request_id, 3);
        assert_eq!(push(&mut inbox, Op::Get, 3), Pushed::Dropped);
        assert!(inbox.take_next().unwrap().is_none());
    }

    #[test]
    fn ninth_unanswered_request_ends_the_session_and_close_does_not_count() {
        let mut inbox = Inbox::default();
        push(&mut inbox, Op::Get, 1);
        inbox.take_next().unwrap();
        for id in 2..=8 {
            assert_eq!(push(&mut inbox, Op::Get, id), Pushed::Taken);
        }
        assert_eq!(push(&mut inbox, Op::Get, 9), Pushed::Flooded);
        assert_eq!(push(&mut inbox, Op::Close, 10), Pushed::Taken);
        assert_eq!(push(&mut inbox, Op::Get, 11), Pushed::Dropped);
        while inbox.take_next().is_ok_and(|next| next.is_some()) {}
        assert!(!inbox.counts_for_once());
    }

    #[test]
    fn what_was_taken_is_answered_before_the_end() {
        let mut inbox = Inbox::default();
        push(&mut inbox, Op::Get, 1);
        inbox.end(End::Stopping);
        inbox.end(End::Stalled);
        let next = inbox.take_next();
        assert!(!must_flush(&next) && !inbox.is_idle());
        let next = inbox.take_next();
        assert!(must_flush(&next) && matches!(next, Err(End::Stopping)));
    }

    #[test]
    fn session_that_is_not_attached_is_not_idle() {
        let mut inbox = Inbox::default();
        assert!(!inbox.is_idle());
        inbox.set_attached();
        assert!(inbox.is_idle());
        push(&mut inbox, Op::Get, 1);
        assert!(!inbox.is_idle() && inbox.counts_for_once());
    }
}
