//! What a client remembers of its requests, and what it does when a queue or a region is lost. Pure: `client` and `client_watch` look at
//! the world and carry it out.

use std::collections::VecDeque;
use std::time::Duration;

use super::client::Query;
use super::inbox::UNANSWERED_MAX;
use super::record::{Kind, Record};
use super::status::Status;
use shmeld_core::session::State;

/// How long an attached client waits for a queue that lost its name.
const REPUBLISH_PATIENCE: Duration = Duration::from_secs(5);

/// Requests sent and not yet answered.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    last_id: u64,
    /// Oldest first.
    sent: VecDeque<Sent>,
}

#[derive(Debug)]
struct Sent {
    id: u64,
    query: Query,
    /// The number of the queue on which it was last sent; `None` if the region is a new one that no queue has heard of.
    queue: Option<u64>,
    /// Files, entries and refusals of its answer so far, and how many of them failed.
    items: u64,
    refused: u64,
}

impl Outstanding {
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Whether another request may be sent on this queue: not if as many as allowed are unanswered, and not before the queue has been sent
    /// the older ones, which would be dropped behind a newer id.
    pub(super) fn may_send_on(&self, queue: u64) -> bool {
        self.sent.len() < UNANSWERED_MAX && self.unsent_on(queue).is_none()
    }

    /// The id of the next request. Used up by [`Outstanding::sent`] only: what was not sent takes no id.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id + 1
    }

    /// The next request has been sent on this queue.
    pub(super) fn sent(&mut self, query: Query, queue: u64) -> u64 {
        self.last_id += 1;
        self.sent.push_back(Sent {
            id: self.last_id,
            query,
            queue: Some(queue),
            items: 0,
            refused: 0,
        });
        self.last_id
    }

    /// Whether a record with this id may come now: answers come one after the other in the order of the requests.
    pub(super) fn expects(&self, request_id: u64) -> bool {
        self.sent.front().is_some_and(|sent| sent.id == request_id)
    }

    /// Counts a record of the answer to the oldest request.
    pub(super) fn count(&mut self, record: &Record) {
        let Some(sent) = self.sent.front_mut() else { return };
        let is_refused = record.status != Status::Ok;
        sent.items += u64::from(matches!(record.kind, Kind::Begin | Kind::Entry));
        sent.refused += u64::from(is_refused && matches!(record.kind, Kind::End | Kind::Entry));
    }

    /// Files, entries and refusals of the oldest request so far.
    pub(super) fn items(&self) -> u64 {
        self.sent.front().map_or(0, |sent| sent.items)
    }

    /// Whether a DONE says what came before it.
    pub(super) fn agrees_with(&self, done: &Record) -> bool {
        let counted = self.sent.front().map(|sent| (sent.items, sent.refused));
        counted == Some((done.offset, done.extent))
    }

    /// The oldest request has been answered.
    pub(super) fn answered(&mut self) {
        self.sent.pop_front();
    }

    /// The oldest request that has not been sent on this queue. Each is sent once on each queue: what a lost queue had is lost, and the
    /// server drops what it has seen. From the oldest on, because an id behind a higher one is dropped.
    pub(super) fn unsent_on(&self, queue: u64) -> Option<(u64, &Query)> {
        let unsent = self.sent.iter().find(|sent| sent.queue != Some(queue))?;
        Some((unsent.id, &unsent.query))
    }

    /// A request has been sent again, on this queue.
    pub(super) fn sent_again(&mut self, request_id: u64, queue: u64) {
        if let Some(sent) = self.sent.iter_mut().find(|sent| sent.id == request_id) {
            sent.queue = Some(queue);
        }
    }

    /// The region was refused and another one is offered: whatever is unanswered must be sent for that one.
    pub(super) fn begin_anew(&mut self) {
        for sent in &mut self.sent {
            sent.queue = None;
        }
    }
}

/// What a client found that looked for a lost server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reopened {
    /// It is connected.
    Connected,
    /// No server is there, and there is time left.
    NotYet,
    /// It was attached, and its server holds no lease any more: what has been published can be read, and then the session is over.
    SessionOver,
}

/// Whether a slot may come while the state word says this: whoever fills slots has attached.
pub(super) fn may_fill_slots(state: Option<State>) -> bool {
    matches!(state, Some(State::Attached | State::Ended(_)))
}

/// Whether a client stops looking for a server that is not there, `lost_for` after it was lost. `wait_is_over` is `None` if the client
/// waits for ever. A live server that lost its queue makes it again within a second or two, however long ago `wait` ended.
pub(super) fn gives_up_looking(attached: bool, lost_for: Duration, wait_is_over: Option<bool>) -> bool {
    if attached {
        lost_for >= REPUBLISH_PATIENCE
    } else {
        wait_is_over.unwrap_or(false)
    }
}

/// What a client does about REFUSED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalStep {
    /// Offer a region of one page.
    OfferOnePage,
    /// Offer another region after a while: the server is busy.
    OfferLater,
    /// Say why and end.
    GiveUp,
}

/// Decides what a client does about REFUSED with this code.
pub(super) fn refusal_step(code: u32, may_use_one_page: bool, wait_is_over: Option<bool>) -> RefusalStep {
    if code == u32::from(Status::BadRegion.code()) && may_use_one_page {
        RefusalStep::OfferOnePage
    } else if code == u32::from(Status::Busy.code()) && !wait_is_over.unwrap_or(false) {
        RefusalStep::OfferLater
    } else {
        RefusalStep::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::prefix::Prefix;
    use crate::file::wire::Op;

    fn query() -> Query {
        Query {
            op: Op::Get,
            path: Vec::new(),
            flags: 0,
            resume: Some(Prefix {
                bytes: 7,
                digest: [7; 32],
            }),
        }
    }

    fn two_sent_on_queue_0() -> Outstanding {
        let mut outstanding = Outstanding::default();
        assert_eq!((outstanding.next_id(), outstanding.sent(query(), 0)), (1, 1));
        assert_eq!((outstanding.next_id(), outstanding.sent(query(), 0)), (2, 2));
        outstanding
    }

    fn next_on(outstanding: &Outstanding, queue: u64) -> Option<u64> {
        outstanding.unsent_on(queue).map(|(id, _)| id)
    }

    #[test]
    fn each_done_counts_what_came_for_its_own_request() {
        let mut outstanding = two_sent_on_queue_0();
        let record = |kind, status| Record {
            status,
            ..Record::new(kind, 1)
        };
        let done = |items, refused| Record {
            offset: items,
            extent: refused,
            ..Record::new(Kind::Done, 1)
        };
        for (kind, status) in [
            (Kind::Begin, Status::Ok),
            (Kind::Data, Status::Ok),
            (Kind::End, Status::Changed),
            (Kind::Entry, Status::Fnf),
            (Kind::Entry, Status::Ok),
        ] {
            outstanding.count(&record(kind, status));
        }
        assert!(outstanding.agrees_with(&done(3, 2)));
        for (items, refused) in [(3, 1), (2, 2), (0, 0), (u64::MAX, 2)] {
            assert!(
                !outstanding.agrees_with(&done(items, refused)),
                "{items} {refused}"
            );
        }
        outstanding.answered();
        assert!(
            outstanding.agrees_with(&done(0, 0)),
            "the second one begins at nothing"
        );
        outstanding.answered();
        assert!(!outstanding.agrees_with(&done(0, 0)), "nobody asked");
    }

    #[test]
    fn answers_come_in_order() {
        let mut outstanding = two_sent_on_queue_0();
        assert!(outstanding.expects(1) && !outstanding.expects(2));
        outstanding.answered();
        assert!(outstanding.expects(2));
        outstanding.answered();
        assert!(!outstanding.expects(2) && !outstanding.expects(3) && outstanding.is_empty());
    }

    #[test]
    fn each_request_is_sent_once_on_each_queue() {
        let mut outstanding = two_sent_on_queue_0();
        assert_eq!(outstanding.unsent_on(1), Some((1, &query())), "with its prefix");
        assert_eq!(next_on(&outstanding, 0), None);
        for id in [1, 2] {
            assert_eq!(next_on(&outstanding, 1), Some(id));
            outstanding.sent_again(id, 1);
        }
        assert_eq!(next_on(&outstanding, 1), None);
        outstanding.begin_anew();
        assert_eq!(next_on(&outstanding, 1), Some(1));
    }

    /// A server that restarted twice while a client sent its requests again lost those that the client had already sent to the queue in
    /// between: it went on behind them, the new server answered a later request first, and the client called that a broken protocol.
    #[test]
    fn queue_lost_while_requests_are_sent_again_is_sent_everything_from_the_oldest_on() {
        let mut outstanding = two_sent_on_queue_0();
        outstanding.sent_again(1, 1);
        assert_eq!(next_on(&outstanding, 2), Some(1));
        outstanding.sent_again(1, 2);
        assert_eq!(next_on(&outstanding, 2), Some(2));
    }

    #[test]
    fn as_many_may_be_unanswered_as_a_session_takes() {
        let mut outstanding = Outstanding::default();
        for _ in 0..UNANSWERED_MAX {
            assert!(outstanding.may_send_on(0));
            outstanding.sent(query(), 0);
        }
        assert!(!outstanding.may_send_on(0));
    }

    /// A queue was lost while requests were sent again on it; its server still took from it what came. A new request that was sent there
    /// before the rest of the old ones made the server drop those.
    #[test]
    fn new_request_does_not_overtake_what_must_be_sent_again() {
        let mut outstanding = two_sent_on_queue_0();
        outstanding.sent_again(1, 1);
        assert!(!outstanding.may_send_on(1));
        outstanding.sent_again(2, 1);
        assert!(outstanding.may_send_on(1));
    }

    #[test]
    fn client_without_limit_waits_for_ever_unless_it_is_attached() {
        assert!(!gives_up_looking(false, Duration::from_secs(3600), None));
        assert!(gives_up_looking(false, Duration::ZERO, Some(true)));
        assert!(!gives_up_looking(true, Duration::ZERO, Some(true)));
        assert!(gives_up_looking(true, REPUBLISH_PATIENCE, None));
    }

    #[test]
    fn busy_server_is_asked_again_while_the_wait_lasts() {
        let code = |status: Status| u32::from(status.code());
        assert_eq!(
            refusal_step(code(Status::Busy), true, None),
            RefusalStep::OfferLater
        );
        assert_eq!(
            refusal_step(code(Status::Busy), true, Some(true)),
            RefusalStep::GiveUp
        );
        assert_eq!(
            refusal_step(code(Status::BadRegion), true, Some(true)),
            RefusalStep::OfferOnePage
        );
        assert_eq!(
            refusal_step(code(Status::BadRegion), false, None),
            RefusalStep::GiveUp
        );
        assert_eq!(
            refusal_step(code(Status::Misbehaved), true, None),
            RefusalStep::GiveUp
        );
    }
}
