//! What the values of the five semaphores mean. No system calls.

/// What DONE holds from the first poster on: a number that other programs hardly count to. "SB".
pub(super) const MARK: u16 = 0x5342;

/// The values at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Values {
    /// 1 while a poster has the board; taken back when it dies.
    pub(super) poster: u16,
    /// 1 while readers may come in; taken back when the poster dies.
    pub(super) open: u16,
    /// How many readers are inside; taken back when they die.
    pub(super) inside: u16,
    /// How many readers came in and were not counted yet.
    pub(super) arrived: u16,
    /// [`MARK`], and how many finished and were not counted yet.
    pub(super) done: u16,
}

impl Values {
    /// From a set of five; anything else is none of ours.
    pub(super) fn from_all(all: &[u16]) -> Option<Self> {
        let &[poster, open, inside, arrived, done] = all else {
            return None;
        };
        Some(Self {
            poster,
            open,
            inside,
            arrived,
            done,
        })
    }

    /// Whether a poster that has opened the board, and closed it or not, can find these values, whatever readers do.
    pub(super) fn is_posted(self, is_open: bool) -> bool {
        self.poster > 0 && (self.open > 0) == is_open && self.done >= MARK
    }

    /// Whether there is nothing but the mark: so a poster leaves it that dies before its message is there, or after it is gone.
    pub(super) fn is_bare(self) -> bool {
        let bare = Self {
            done: MARK,
            ..Self::default()
        };
        self == bare
    }

    /// For messages.
    pub(super) fn to_all(self) -> [u16; 5] {
        [self.poster, self.open, self.inside, self.arrived, self.done]
    }

    /// Whether the poster lives, by what the kernel took back if it does not.
    pub(super) fn standing(self) -> Standing {
        if self.poster == 0 && self.open == 0 {
            Standing::Died
        } else {
            Standing::Wait
        }
    }
}

/// How things stand for a reader that could not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A poster is about to open, has closed, or has only made the set so far.
    Wait,
    /// There was a poster, and it died: one that ends well removes the set.
    Died,
}

/// What a set of five semaphores is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody has operated on it: a poster's that has not come to its next step.
    New,
    /// A board's.
    Board(Values),
}

impl State {
    /// `None`: it is another program's. `was_operated`: somebody has operated on the set before the values were read. The first poster does
    /// so, and leaves its mark.
    pub(super) fn of(values: Values, was_operated: bool) -> Option<Self> {
        if values.done >= MARK {
            Some(Self::Board(values))
        } else if !was_operated && values == Values::default() {
            Some(Self::New)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(poster: u16, open: u16) -> Values {
        Values {
            poster,
            open,
            done: MARK,
            ..Values::default()
        }
    }

    #[test]
    fn poster_is_dead_only_if_the_kernel_took_its_token_back() {
        assert_eq!(values(0, 0).standing(), Standing::Died);
        for (poster, open) in [(1, 0), (1, 1), (0, 1)] {
            assert_eq!(values(poster, open).standing(), Standing::Wait, "{poster} {open}");
        }
    }

    #[test]
    fn set_without_the_mark_is_a_board_only_if_nobody_was_there() {
        let without = |done| Values { done, ..values(0, 0) };
        assert_eq!(State::of(without(0), false), Some(State::New));
        for done in [0, 1, MARK - 1] {
            assert_eq!(State::of(without(done), true), None, "{done}");
        }
        // SETVAL is no operation.
        assert_eq!(State::of(without(1), false), None);
        let posted = Values {
            done: 0,
            ..values(1, 1)
        };
        assert_eq!(State::of(posted, true), None);
        for (done, was_operated) in [(MARK, true), (MARK + 9, true), (MARK, false)] {
            assert_eq!(
                State::of(without(done), was_operated),
                Some(State::Board(without(done)))
            );
        }
    }

    #[test]
    fn what_readers_do_does_not_disturb_a_posted_message() {
        let busy = Values {
            inside: 7,
            arrived: 3,
            done: MARK + 9,
            ..values(1, 1)
        };
        assert!(busy.is_posted(true) && !busy.is_posted(false));
        assert!(values(1, 0).is_posted(false));
        assert!(!values(0, 1).is_posted(true) && !values(1, 0).is_posted(true));
    }

    #[test]
    fn only_five_values_are_those_of_a_board() {
        assert_eq!(
            Values::from_all(&[1, 1, 2, 0, 3]).map(|values| values.done),
            Some(3)
        );
        assert_eq!(Values::from_all(&[1, 1, 2, 0]), None);
        assert_eq!(Values::from_all(&[0; 6]), None);
    }
}
