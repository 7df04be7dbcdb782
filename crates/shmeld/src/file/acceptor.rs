//! What the acceptor decides: where a message goes, whether there is a place for a region, and who loses one. Pure: `server` and
//! `sessions` collect the facts and do it; time comes as an argument.

use std::time::{Duration, Instant};

use shmeld_core::layout::Header;

use super::admission::Verdict;
use super::status::Status;
use super::wire::Request;

/// A client that has done nothing for this long loses its place if somebody else needs it.
pub(super) const EVICT_AFTER: Duration = Duration::from_secs(5);
/// A session that has done something within this time is looked at more often.
const LIVELY_FOR: Duration = Duration::from_secs(2);
/// For how many ticks in a row an idle client must be dead. More than one, because a client that says CLOSE and goes is not dead: its
/// message is in the queue and is taken before the second one.
const DEAD_TICKS: u32 = 2;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the session of its region.
    Session,
    /// Its region is not attached: look at the object.
    Region,
    /// Nowhere, for this reason.
    Ignore(&'static str),
}

/// Decides where a request goes, given nonce and size of the session that its region has, if any. The nonce is compared in every message
/// before anything is done with it: an id can be seen in /dev/shm, a nonce cannot.
#[must_use]
pub(super) fn route(request: &Request, session: Option<(&[u8; 16], u64)>) -> Route {
    match session {
        None => Route::Region,
        Some((nonce, region_bytes)) if (nonce, region_bytes) == (&request.nonce, request.region_bytes) => {
            Route::Session
        }
        Some(_) => Route::Ignore("its nonce or size is not that of the session"),
    }
}

/// What the acceptor's table says when a new region comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// The object is attached already, under whatever name.
    pub is_held: bool,
    /// The server is for one session, and that one is there.
    pub once_taken: bool,
    /// Sessions now, and at most.
    pub sessions: usize,
    pub sessions_max: usize,
    /// The same of the region's owner; no limit of its own for the user whose server this is.
    pub sessions_of_user: usize,
    pub sessions_of_user_max: Option<usize>,
}

/// What becomes of a new region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It gets a session.
    Start(Header),
    /// Its client is told why not.
    Refuse(Status),
    /// As `Refuse(Busy)`; and a client that has done nothing for long loses its place, so that this one gets it when it asks again.
    RefuseAndEvict(Among),
    /// Nothing happens, for this reason.
    Ignore(&'static str),
}

/// Whose clients a place can be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Among {
    /// Everybody's: all places are taken.
    All,
    /// Those of the user of the new region, who has as many places as one user gets.
    SameUser,
}

/// Decides about a new region, after `judge` has.
#[must_use]
pub(super) fn admit(verdict: Verdict, places: Places) -> Admission {
    let header = match verdict {
        Verdict::Attach(header) => header,
        Verdict::Refuse(status) => return Admission::Refuse(status),
        Verdict::Ignore(reason) => return Admission::Ignore(reason),
    };
    if places.is_held {
        Admission::Ignore("the object is attached under another name")
    } else if places.once_taken {
        Admission::Refuse(Status::Busy)
    } else if places
        .sessions_of_user_max
        .is_some_and(|most| places.sessions_of_user >= most)
    {
        // Nobody else loses a place for one who has too many; but one paused client does not keep its user's others out for good.
        Admission::RefuseAndEvict(Among::SameUser)
    } else if places.sessions >= places.sessions_max {
        Admission::RefuseAndEvict(Among::All)
    } else {
        Admission::Start(header)
    }
}

/// How soon the acceptor looks at its sessions again; the liveliest of them decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// All have been still for a while.
    Quiet,
    /// One has done something a moment ago.
    Lively,
    /// The client of one seems to be dead.
    Doubtful,
}

/// A session's place, as the acceptor watches it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seat {
    /// How many slots it had published when last looked at, and since when that has not changed.
    progress: (u64, Instant),
    /// For how many ticks in a row its client has been dead.
    dead_ticks: u32,
    is_evicted: bool,
}

impl Seat {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            progress: (0, now),
            dead_ticks: 0,
            is_evicted: false,
        }
    }

    /// Notes how many slots have been published by `now`.
    pub(super) fn note(&mut self, slots: u64, now: Instant) {
        if slots != self.progress.0 {
            self.progress = (slots, now);
        }
    }

    /// At each tick: whether its client is idle and has been dead for long enough to be believed.
    pub(super) fn tick(&mut self, slots: u64, is_abandoned: bool, now: Instant) -> bool {
        self.note(slots, now);
        self.dead_ticks = if is_abandoned { self.dead_ticks + 1 } else { 0 };
        self.dead_ticks >= DEAD_TICKS
    }

    /// How soon this session wants to be looked at again.
    pub(super) fn pace(&self, is_abandoned: bool, now: Instant) -> Pace {
        if is_abandoned {
            Pace::Doubtful
        } else if now.duration_since(self.progress.1) < LIVELY_FOR {
            Pace::Lively
        } else {
            Pace::Quiet
        }
    }

    pub(super) fn evict(&mut self) {
        self.is_evicted = true;
    }
}

/// Whose place is taken if one is needed, by anybody or by this user: the one whose client owes the next step, or is idle, and has done
/// nothing for longest. One at a time: while one that lost its place is still there, nobody. Each seat comes with its user and with
/// whether its client owes or is idle.
pub(super) fn seat_to_take<K>(
    seats: impl Iterator<Item = (K, u32, Seat, bool)>,
    of_user: Option<u32>,
    now: Instant,
) -> Option<K> {
    let mut stalest: Option<(K, Instant)> = None;
    for (key, uid, seat, owes) in seats {
        if of_user.is_some_and(|user| user != uid) {
            continue;
        }
        if seat.is_evicted {
            return None;
        }
        let since = seat.progress.1;
        let is_stale = owes && now.saturating_duration_since(since) >= EVICT_AFTER;
        if is_stale && stalest.as_ref().is_none_or(|(_, other)| since < *other) {
            stalest = Some((key, since));
        }
    }
    stalest.map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::sample;
    use crate::file::wire::Op;
    use shmeld_core::layout::Geometry;

    const SECOND: Duration = Duration::from_secs(1);

    fn header() -> Header {
        Header {
            nonce: [3; 16],
            geometry: Geometry::for_region(4096).unwrap(),
        }
    }

    #[test]
    fn a_request_goes_to_the_session_of_its_region_only_with_its_nonce_and_size() {
        let request = sample::request(Op::Close, b"");
        assert_eq!(route(&request, None), Route::Region);
        assert_eq!(route(&request, Some((&request.nonce, 4096))), Route::Session);
        assert!(matches!(
            route(&request, Some((&[4; 16], 4096))),
            Route::Ignore(_)
        ));
        assert!(matches!(
            route(&request, Some((&[3; 16], 8192))),
            Route::Ignore(_)
        ));
    }

    #[test]
    fn an_object_that_is_attached_already_changes_nothing_and_a_full_server_says_busy() {
        let free = Places {
            is_held: false,
            once_taken: false,
            sessions: 3,
            sessions_max: 4,
            sessions_of_user: 2,
            sessions_of_user_max: None,
        };
        let attach = Verdict::Attach(header());
        assert_eq!(admit(attach, free), Admission::Start(header()));
        let held = Places {
            is_held: true,
            ..free
        };
        assert!(matches!(admit(attach, held), Admission::Ignore(_)));
        let once = Places {
            once_taken: true,
            ..free
        };
        assert_eq!(admit(attach, once), Admission::Refuse(Status::Busy));
        let full = Places { sessions: 4, ..free };
        assert_eq!(admit(attach, full), Admission::RefuseAndEvict(Among::All));
        let greedy = Places {
            sessions_of_user_max: Some(2),
            ..full
        };
        let own_place = Admission::RefuseAndEvict(Among::SameUser);
        assert_eq!(admit(attach, greedy), own_place);
        let greedy_once = Places {
            once_taken: true,
            ..greedy
        };
        assert_eq!(admit(attach, greedy_once), Admission::Refuse(Status::Busy));
        let modest = Places {
            sessions_of_user_max: Some(3),
            ..free
        };
        assert_eq!(admit(attach, modest), Admission::Start(header()));
        assert_eq!(
            admit(Verdict::Refuse(Status::BadRegion), full),
            Admission::Refuse(Status::BadRegion)
        );
        assert_eq!(admit(Verdict::Ignore("why"), full), Admission::Ignore("why"));
    }

    #[test]
    fn the_longest_still_seat_is_taken_one_at_a_time() {
        let start = Instant::now();
        let mut seats = [
            Seat::new(start + 2 * SECOND),
            Seat::new(start + SECOND),
            Seat::new(start),
        ];
        let take = |seats: &[Seat], owes: [bool; 3], now| {
            let seats = (0..3).map(|index| (index, 1000, seats[index], owes[index]));
            seat_to_take(seats, None, now)
        };
        assert_eq!(take(&seats, [true; 3], start + 4 * SECOND), None);
        assert_eq!(take(&seats, [true; 3], start + 9 * SECOND), Some(2));
        assert_eq!(take(&seats, [true, true, false], start + 9 * SECOND), Some(1));
        assert_eq!(take(&seats, [false; 3], start + 9 * SECOND), None);
        seats[1].note(1, start + 8 * SECOND);
        assert_eq!(take(&seats, [true, true, false], start + 9 * SECOND), Some(0));
        seats[0].evict();
        assert_eq!(take(&seats, [true; 3], start + 9 * SECOND), None);
    }

    #[test]
    fn a_user_who_has_too_many_loses_a_place_of_its_own_and_nobody_else_does() {
        let start = Instant::now();
        let mut seats = [
            (0, 1001, Seat::new(start), true),
            (1, 1000, Seat::new(start + 2 * SECOND), true),
            (2, 1000, Seat::new(start + SECOND), true),
        ];
        let later = start + 9 * SECOND;
        let take =
            |seats: [(u32, u32, Seat, bool); 3], uid| seat_to_take(seats.into_iter(), Some(uid), later);
        assert_eq!(seat_to_take(seats.into_iter(), None, later), Some(0));
        assert_eq!(take(seats, 1000), Some(2));
        assert_eq!(take(seats, 1002), None);
        // One of another user that is on its way out is in nobody's way.
        seats[0].2.evict();
        assert_eq!((take(seats, 1000), take(seats, 1001)), (Some(2), None));
    }

    #[test]
    fn an_idle_client_is_dead_after_two_ticks_in_a_row() {
        let now = Instant::now();
        let mut seat = Seat::new(now);
        assert!(!seat.tick(0, true, now));
        assert!(!seat.tick(0, false, now));
        assert!(!seat.tick(0, true, now));
        assert!(seat.tick(0, true, now));
    }
}
