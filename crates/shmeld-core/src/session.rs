//! The state word of a session and the decisions around it. Pure: the drivers (`shmeld::file::client`, `shmeld::file::session`) look at
//! the world, ask here what it means, and do it.

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
}
