//! What follows from what is seen on a channel, without system calls.

/// What a requester sees when a slice of its wait for an answer is over, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// All four objects still have names.
    pub(super) is_named: bool,
    /// How many providers of ours have come so far: looked at before the unit, because each of them counts itself before it takes one.
    pub(super) providers: u64,
    /// The unit that was posted for the request is gone.
    pub(super) is_taken: bool,
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
    /// How many had come by then.
    providers: u64,
}

impl Waiting {
    /// `provider` is the one seen just before the request was posted; of `providers` that had come before.
    pub(super) fn new(provider: Option<u64>, providers: u64) -> Self {
        Self { provider, providers }
    }

    /// Before anything but [`Next::Wait`] is believed, the caller looks for the answer once more: what was published before a death or a
    /// farewell is valid.
    pub(super) fn next(&mut self, seen: Seen) -> Next {
        if !seen.is_named {
            return Next::AskAgain;
        }
        if seen.is_taken && self.is_dead(seen) {
            return Next::Died;
        }
        if !seen.is_taken || self.provider.is_none() {
            self.provider = seen.provider;
        }
        if !seen.is_taken {
            self.providers = seen.providers;
        }
        match (seen.is_over, seen.is_taken) {
            (false, _) => Next::Wait,
            (true, false) => Next::NoProvider,
            (true, true) => Next::Silent,
        }
    }

    /// Whether a provider of ours died that may have the request.
    fn is_dead(&self, seen: Seen) -> bool {
        if self.provider.is_some() {
            return seen.provider != self.provider;
        }
        // Nobody was seen: a naive peer has it, or one of those that came since. Of two only the second can be alive.
        match seen.providers.wrapping_sub(self.providers) {
            0 => false,
            1 => seen.provider.is_none(),
            _ => true,
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

    fn seen(is_taken: bool, provider: Option<u64>) -> Seen {
        Seen {
            is_named: true,
            providers: 5,
            is_taken,
            provider,
            is_over: false,
        }
    }

    #[test]
    fn provider_that_took_the_request_and_lost_its_lease_is_dead() {
        let mut waiting = Waiting::new(Some(7), 5);
        assert_eq!(waiting.next(seen(false, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, None)), Next::Died);
    }

    /// The next provider takes the lease within a slice, and knows nothing of the request that died with the one before.
    #[test]
    fn successor_of_a_dead_provider_is_not_taken_for_it() {
        let mut waiting = Waiting::new(Some(7), 5);
        assert_eq!(waiting.next(seen(true, Some(8))), Next::Died);
        // The same, if the first one was seen only after it had the request.
        let mut waiting = Waiting::new(None, 5);
        assert_eq!(waiting.next(seen(true, Some(7))), Next::Wait);
        assert_eq!(waiting.next(seen(true, Some(8))), Next::Died);
    }

    /// It joined, took the request and died within one slice: the requester used to wait until its time was up.
    #[test]
    fn provider_that_was_never_seen_alive_is_missed_all_the_same() {
        let came = |providers, seen| Seen { providers, ..seen };
        let mut waiting = Waiting::new(None, 5);
        assert_eq!(waiting.next(came(5, seen(false, None))), Next::Wait);
        assert_eq!(waiting.next(came(6, seen(true, None))), Next::Died);
        // One that lives is given its time, as is a naive peer.
        let mut waiting = Waiting::new(None, 5);
        assert_eq!(waiting.next(came(6, seen(true, Some(7)))), Next::Wait);
        assert_eq!(waiting.next(came(6, seen(true, Some(7)))), Next::Wait);
        assert_eq!(waiting.next(came(6, seen(true, None))), Next::Died);
        // The second of two, which knows nothing of what the first one took.
        let mut waiting = Waiting::new(None, u64::MAX);
        assert_eq!(waiting.next(came(1, seen(true, Some(8)))), Next::Died);
        // One that came and went, and left the request for another one.
        let mut waiting = Waiting::new(None, 5);
        assert_eq!(waiting.next(came(6, seen(false, None))), Next::Wait);
        assert_eq!(waiting.next(came(6, seen(true, None))), Next::Wait);
    }

    #[test]
    fn request_that_nobody_took_outlives_providers() {
        let mut waiting = Waiting::new(Some(7), 5);
        for provider in [None, Some(8), None, Some(9)] {
            assert_eq!(waiting.next(seen(false, provider)), Next::Wait);
        }
        assert_eq!(waiting.next(seen(true, Some(9))), Next::Wait);
    }

    #[test]
    fn naive_peer_without_lease_is_given_its_time() {
        let mut waiting = Waiting::new(None, 5);
        assert_eq!(waiting.next(seen(true, None)), Next::Wait);
        let over = |is_taken| Seen {
            is_over: true,
            ..seen(is_taken, None)
        };
        assert_eq!(waiting.next(over(true)), Next::Silent);
        assert_eq!(waiting.next(over(false)), Next::NoProvider);
        let removed = Seen {
            is_named: false,
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
