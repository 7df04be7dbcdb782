//! What follows from what is seen on a channel, without system calls.

/// What a requester sees when a slice of its wait for an answer is over, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// All four objects still have names.
    pub(super) named: bool,
    /// The unit that was posted for the request is gone.
    pub(super) taken: bool,
    /// The provider of ours that serves the channel.
    pub(super) provider: Option<u64>,
    /// The time is up.
    pub(super) is_over: bool,
}

/// What a requester does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for another slice.
    Wait,
    /// Whoever removed the names has left: make the channel anew and ask again.
    AskAgain,
    /// The provider that took the request is dead.
    Died,
    /// The time is up, and nobody took the request.
    NoProvider,
    /// The time is up for whoever took it.
    Silent,
}

/// One request on its way.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The last provider of ours that was seen before the request was gone.
    provider: Option<u64>,
}

impl Waiting {
    /// `provider` is the one seen just before the request was posted.
    pub(super) fn new(provider: Option<u64>) -> Self {
        Self { provider }
    }

    /// Before anything but [`Next::Wait`] is believed, the caller looks for the answer once more: what was published before a death or a
    /// farewell is valid.
    pub(super) fn next(&mut self, seen: Seen) -> Next {
        if !seen.named {
            return Next::AskAgain;
        }
        // One that was never seen holds no lease: a naive peer, or one that came and went within a slice.
        if seen.taken && self.provider.is_some() && seen.provider != self.provider {
            return Next::Died;
        }
        if !seen.taken || self.provider.is_none() {
            self.provider = seen.provider;
        }
        match (seen.is_over, seen.taken) {
            (false, _) => Next::Wait,
            (true, false) => Next::NoProvider,
            (true, true) => Next::Silent,
        }
    }
}

/// What an object of the channel is to somebody who wants to be its requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// There is none.
    Absent,
    /// A living requester of ours holds it.
    Leased,
    /// Nobody holds a lease on it, but some process has it mapped: a naive peer in the midst of a call.
    Mapped,
    /// Neither.
    Stale,
}

/// What a requester does with the channel as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Make the four objects; semaphores on which somebody waits already are taken as they are.
    Join,
    /// Remove what is there, and make the four objects.
    Replace,
    /// Leave it alone.
    Refuse,
}

/// Semaphores of a naive provider that was started first are used only where there are no segments: beside segments, an answer to somebody
/// else may still be on its way to them.
pub(super) fn plan(head: Head, has_data: bool, force: bool) -> Plan {
    match head {
        Head::Absent if !has_data => Plan::Join,
        Head::Absent | Head::Stale => Plan::Replace,
        Head::Leased | Head::Mapped if force => Plan::Replace,
        Head::Leased | Head::Mapped => Plan::Refuse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(taken: bool, provider: Option<u64>) -> Seen {
        Seen {
            named: true,
            taken,
            provider,
            is_over: false,
        }
    }

    #[test]
    fn provider_that_took_the_request_and_lost_its_lease_is_dead() {
        let mut waiting = Waiting::new(Some(7));
        assert_eq!(waiting.next(seen(false, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, None)), Next::Died);
    }

    /// The next provider takes the lease within a slice, and knows nothing of the request that died with the one before.
    #[test]
    fn successor_of_a_dead_provider_is_not_taken_for_it() {
        let mut waiting = Waiting::new(Some(7));
        assert_eq!(waiting.next(seen(true, Some(8))), Next::Died);
        // The same, if the first one was seen only after it had the request.
        let mut waiting = Waiting::new(None);
        assert_eq!(waiting.next(seen(true, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, Some(8))), Next::Died);
    }

    #[test]
    fn request_that_nobody_took_outlives_providers() {
        let mut waiting = Waiting::new(Some(7));
        for provider in [None, Some(8), None, Some(9)] {
            assert_eq!(waiting.next(seen(false, provider)), Next::Wait);
        }
        assert_eq!(waiting.next(seen(true, Some(9))), Next::Wait);
    }

    #[test]
    fn naive_peer_without_lease_is_given_its_time() {
        let mut waiting = Waiting::new(None);
        assert_eq!(waiting.next(seen(true, None)), Next::Wait);
        let over = |taken| Seen {
            is_over: true,
            ..seen(taken, None)
        };
        assert_eq!(waiting.next(over(true)), Next::Silent);
        assert_eq!(waiting.next(over(false)), Next::NoProvider);
        let removed = Seen {
            named: false,
            ..over(true)
        };
        assert_eq!(waiting.next(removed), Next::AskAgain);
    }

    #[test]
    fn what_is_in_use_is_replaced_by_force_only() {
        for head in [Head::Leased, Head::Mapped] {
            assert_eq!(plan(head, true, false), Plan::Refuse);
            assert_eq!(plan(head, true, true), Plan::Replace);
        }
        assert_eq!(plan(Head::Stale, true, false), Plan::Replace);
        assert_eq!(plan(Head::Absent, true, false), Plan::Replace);
        assert_eq!(plan(Head::Absent, false, false), Plan::Join);
    }
}
