//! The state word of a session and the decisions around it. Pure: the drivers (`shmeld::file::client`, `shmeld::file::session`) look at
//! the world, ask here what it means, and do it.
//!
//! ```
//! use shmeld_core::session::{SliceStep, SliceView, State, slice_step};
//! use std::time::Duration;
//!
//! assert_eq!(State::from_word(State::Refused(7).to_word()), Some(State::Refused(7)));
//!
//! // The peer's lease is free, and then a look at the ring finds something: it was published before the death, so it is valid.
//! let (owed_for, stall) = (Duration::from_secs(3600), Duration::from_secs(600));
//! let view = SliceView { peer_leased: false, work_after_lease: true, owed_for, stall };
//! assert_eq!(slice_step(view), SliceStep::Work);
//! assert_eq!(slice_step(SliceView { work_after_lease: false, ..view }), SliceStep::PeerGone);
//! // Time alone never makes a peer dead.
//! assert_eq!(slice_step(SliceView { peer_leased: true, work_after_lease: false, ..view }), SliceStep::Stalled);
//! ```

use std::time::Duration;

/// The byte of a region that the client leases.
pub const CLIENT_LEASE_BYTE: u64 = 0;
/// The byte of a region that the server leases.
pub const SERVER_LEASE_BYTE: u64 = 1;

/// What the state word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The server has not looked yet.
    Offered,
    /// The server holds its lease and answers.
    Attached,
    /// The server ended the session, for this reason (0: after CLOSE).
    Ended(u32),
    /// The server does not take the region, for this reason.
    Refused(u32),
}

const KIND_BITS: u32 = 8;
/// The largest code that fits beside the kind.
pub const CODE_MAX: u32 = u32::MAX >> KIND_BITS;

impl State {
    /// The word that means this state.
    #[must_use]
    pub fn to_word(self) -> u32 {
        match self {
            Self::Offered => 0,
            Self::Attached => 1,
            Self::Ended(code) => 2 | code.min(CODE_MAX) << KIND_BITS,
            Self::Refused(code) => 3 | code.min(CODE_MAX) << KIND_BITS,
        }
    }

    /// What a word means; `None` if no state has it.
    #[must_use]
    pub fn from_word(word: u32) -> Option<Self> {
        let code = word >> KIND_BITS;
        match word & ((1 << KIND_BITS) - 1) {
            0 if code == 0 => Some(Self::Offered),
            1 if code == 0 => Some(Self::Attached),
            2 => Some(Self::Ended(code)),
            3 => Some(Self::Refused(code)),
            _ => None,
        }
    }
}

/// What a client that has offered its region sees after a slice.
#[derive(Debug, Clone, Copy)]
pub struct OfferView {
    /// The state word, `None` if it is no state.
    pub state: Option<State>,
    /// The queue still has its name.
    pub queue_linked: bool,
    /// A server holds its lease on the queue.
    pub queue_leased: bool,
}

impl OfferView {
    /// Looks in the order that the conclusion rests on: first at the queue (has it its name, has it a lease), then at the state word. A
    /// server that attached before its queue went is found to have attached.
    ///
    /// # Errors
    /// What the look at the queue says.
    pub fn look<E>(
        queue: impl FnOnce() -> Result<(bool, bool), E>,
        state: impl FnOnce() -> Option<State>,
    ) -> Result<Self, E> {
        let (queue_linked, queue_leased) = queue()?;
        Ok(Self {
            state: state(),
            queue_linked,
            queue_leased,
        })
    }
}

/// What a client that has offered its region does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferStep {
    /// Keep waiting.
    Wait,
    /// Remove the region's name and read answers.
    Attached,
    /// The server has gone or was replaced before it attached: find it again and send the same request for the same region.
    Reconnect,
    /// Give up: the server said why.
    Refused(u32),
    /// The session was attached and is over already; what was published before is valid.
    Ended(u32),
    /// The state word is impossible.
    Misbehaved,
}

/// Decides what an offering client does. The state word comes first: a server that attached and then died has still attached.
#[must_use]
pub fn offer_step(view: OfferView) -> OfferStep {
    match view.state {
        None => OfferStep::Misbehaved,
        Some(State::Attached) => OfferStep::Attached,
        Some(State::Refused(code)) => OfferStep::Refused(code),
        Some(State::Ended(code)) => OfferStep::Ended(code),
        Some(State::Offered) if view.queue_linked && view.queue_leased => OfferStep::Wait,
        Some(State::Offered) => OfferStep::Reconnect,
    }
}

/// What a side of an attached session sees after a slice without progress.
#[derive(Debug, Clone, Copy)]
pub struct SliceView {
    /// The peer's lease is held.
    pub peer_leased: bool,
    /// There is work, seen by a look at the sequence word made *after* the look at the lease: what was published before a death is valid.
    pub work_after_lease: bool,
    /// How long the peer has owed the next step.
    pub owed_for: Duration,
    /// How long it may.
    pub stall: Duration,
}

/// What a side of an attached session does after a slice without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceStep {
    /// There is work: go on.
    Work,
    /// Keep waiting.
    Wait,
    /// The peer is dead and nothing is left to read.
    PeerGone,
    /// The peer lives and has done nothing for too long.
    Stalled,
}

/// Decides what a waiting side does. Time alone never makes a peer dead: only its lease does.
#[must_use]
pub fn slice_step(view: SliceView) -> SliceStep {
    if view.work_after_lease {
        SliceStep::Work
    } else if !view.peer_leased {
        SliceStep::PeerGone
    } else if view.owed_for >= view.stall {
        SliceStep::Stalled
    } else {
        SliceStep::Wait
    }
}

/// What a client of an attached session sees after a slice without progress, or when the state word has changed.
#[derive(Debug, Clone, Copy)]
pub struct AttachedView {
    /// The state word, seen *after* the look at the lease; `None` if it is no state.
    pub state: Option<State>,
    /// The rest; `work_after_lease` comes last of all.
    pub slice: SliceView,
}

impl AttachedView {
    /// Looks in the order that the conclusions rest on: lease, state word, sequence word. A server writes ENDED before it gives up its
    /// lease, and publishes before it writes ENDED: so a free lease without ENDED is a death, and ENDED or a free lease with an empty ring
    /// is the end.
    ///
    /// # Errors
    /// What the looks say.
    pub fn look<E>(
        peer_leased: impl FnOnce() -> Result<bool, E>,
        state: impl FnOnce() -> Option<State>,
        work: impl FnOnce() -> Result<bool, E>,
        owed_for: Duration,
        stall: Duration,
    ) -> Result<Self, E> {
        let peer_leased = peer_leased()?;
        let state = state();
        let slice = SliceView {
            peer_leased,
            work_after_lease: work()?,
            owed_for,
            stall,
        };
        Ok(Self { state, slice })
    }
}

/// What a client of an attached session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachedStep {
    /// There is work: go on.
    Work,
    /// Keep waiting.
    Wait,
    /// The server is dead and nothing is left to read.
    PeerGone,
    /// The server lives and has done nothing for too long.
    Stalled,
    /// The server ended the session, and nothing is left to read.
    Ended(u32),
    /// The state word is impossible.
    Misbehaved,
}

/// Decides what a client of an attached session does. What has been published is read first, whatever became of the server.
#[must_use]
pub fn attached_step(view: AttachedView) -> AttachedStep {
    let ended = match view.state {
        Some(State::Attached) => None,
        Some(State::Ended(code)) => Some(code),
        _ => return AttachedStep::Misbehaved,
    };
    match (slice_step(view.slice), ended) {
        (SliceStep::Work, _) => AttachedStep::Work,
        (_, Some(code)) => AttachedStep::Ended(code),
        (SliceStep::Wait, None) => AttachedStep::Wait,
        (SliceStep::PeerGone, None) => AttachedStep::PeerGone,
        (SliceStep::Stalled, None) => AttachedStep::Stalled,
    }
}

/// Whether these words, looked at under the server's lease, are those of a region that nobody has attached or refused: another server
/// may have, since this one admitted it.
#[must_use]
pub fn is_on_offer(state: u32, written: u32, read: u32) -> bool {
    (state, written, read) == (State::Offered.to_word(), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_word() {
        for state in [
            State::Offered,
            State::Attached,
            State::Ended(0),
            State::Ended(13),
            State::Refused(8),
        ] {
            assert_eq!(State::from_word(state.to_word()), Some(state));
        }
    }

    #[test]
    fn words_that_are_no_state_are_recognised() {
        for word in [4, 255, 0x100, 0x101, u32::MAX] {
            assert_eq!(State::from_word(word), None, "{word:#x}");
        }
    }

    #[test]
    fn an_attached_region_is_never_offered_again_even_if_the_queue_is_gone() {
        let view = OfferView {
            state: Some(State::Attached),
            queue_linked: false,
            queue_leased: false,
        };
        assert_eq!(offer_step(view), OfferStep::Attached);
    }

    #[test]
    fn a_lost_queue_or_lease_means_to_connect_again() {
        for (queue_linked, queue_leased) in [(false, true), (true, false), (false, false)] {
            let view = OfferView {
                state: Some(State::Offered),
                queue_linked,
                queue_leased,
            };
            assert_eq!(offer_step(view), OfferStep::Reconnect);
        }
    }

    #[test]
    fn what_was_published_before_a_death_is_used_first() {
        let dead = SliceView {
            peer_leased: false,
            work_after_lease: true,
            owed_for: Duration::from_secs(3600),
            stall: Duration::from_secs(1),
        };
        assert_eq!(slice_step(dead), SliceStep::Work);
        assert_eq!(
            slice_step(SliceView {
                work_after_lease: false,
                ..dead
            }),
            SliceStep::PeerGone
        );
    }

    #[test]
    fn a_silent_peer_that_lives_is_stalled_not_dead() {
        let silent = SliceView {
            peer_leased: true,
            work_after_lease: false,
            owed_for: Duration::from_secs(30),
            stall: Duration::from_secs(30),
        };
        assert_eq!(slice_step(silent), SliceStep::Stalled);
        assert_eq!(
            slice_step(SliceView {
                owed_for: Duration::from_secs(29),
                ..silent
            }),
            SliceStep::Wait
        );
    }

    fn attached(state: Option<State>, peer_leased: bool, work_after_lease: bool) -> AttachedStep {
        let look = AttachedView::look::<()>(
            || Ok(peer_leased),
            || state,
            || Ok(work_after_lease),
            Duration::ZERO,
            Duration::from_secs(1),
        );
        attached_step(look.unwrap())
    }

    #[test]
    fn what_was_published_before_the_end_is_used_first() {
        let ended = Some(State::Ended(14));
        assert_eq!(attached(ended, false, true), AttachedStep::Work);
        assert_eq!(attached(ended, true, true), AttachedStep::Work);
        assert_eq!(attached(ended, true, false), AttachedStep::Ended(14));
        assert_eq!(attached(ended, false, false), AttachedStep::Ended(14));
    }

    /// The state word was looked at before the lease: a server that stopped in between, properly, with ENDED, was called dead.
    #[test]
    fn server_that_ends_while_it_is_looked_at_has_not_died() {
        let state = std::cell::Cell::new(State::Attached);
        let look = AttachedView::look::<()>(
            || {
                state.set(State::Ended(14));
                Ok(false)
            },
            || Some(state.get()),
            || Ok(false),
            Duration::ZERO,
            Duration::from_secs(1),
        );
        assert_eq!(attached_step(look.unwrap()), AttachedStep::Ended(14));
    }

    #[test]
    fn attached_state_cannot_go_back() {
        for state in [None, Some(State::Offered), Some(State::Refused(8))] {
            assert_eq!(attached(state, true, true), AttachedStep::Misbehaved);
        }
        assert_eq!(attached(Some(State::Attached), true, false), AttachedStep::Wait);
        assert_eq!(
            attached(Some(State::Attached), false, false),
            AttachedStep::PeerGone
        );
    }

    #[test]
    fn only_a_fresh_region_is_on_offer() {
        assert!(is_on_offer(0, 0, 0));
        for (state, written, read) in [(State::Attached.to_word(), 0, 0), (2, 0, 0), (0, 1, 0), (0, 0, 1)] {
            assert!(!is_on_offer(state, written, read));
        }
    }
}
