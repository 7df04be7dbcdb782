//! What the values of the five semaphores mean. No system calls.

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
    /// How many finished and were not counted yet.
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

    /// Whether a poster that has opened the board and not closed it can find these values, whatever readers do.
    pub(super) fn is_posted(self) -> bool {
        self.poster > 0 && self.open > 0
    }
}

/// How things stand for a reader that could not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A poster is about to open or to close, or has only made the set so far.
    Wait,
    /// There was a poster, and it died: one that ends well removes the set.
    Died,
}

/// `was_operated`: somebody has operated on the set before the values were read. A new set that nobody has operated on is a poster's
/// that has not come to its next step.
pub(super) fn standing(values: Values, was_operated: bool) -> Standing {
    if was_operated && values.poster == 0 && values.open == 0 {
        Standing::Died
    } else {
        Standing::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(poster: u16, open: u16) -> Values {
        Values {
            poster,
            open,
            ..Values::default()
        }
    }

    #[test]
    fn poster_is_dead_only_if_the_kernel_took_its_token_back() {
        assert_eq!(standing(values(0, 0), true), Standing::Died);
        for (poster, open, was_operated) in [(1, 0, true), (1, 1, true), (0, 1, true), (0, 0, false)] {
            assert_eq!(
                standing(values(poster, open), was_operated),
                Standing::Wait,
                "{poster} {open}"
            );
        }
    }

    #[test]
    fn what_readers_do_does_not_disturb_a_posted_message() {
        let busy = Values {
            inside: 7,
            arrived: 3,
            done: 9,
            ..values(1, 1)
        };
        assert!(busy.is_posted());
        assert!(!values(0, 1).is_posted() && !values(1, 0).is_posted());
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
