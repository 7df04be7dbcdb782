//! What lies in the memory of `demo meld`, and what its turn word means. Not here: any call.
//!
//! ```text
//! byte 0    turn, a word of 4 bytes, and 4 bytes of nothing
//! byte 8    the place of A's thought, as an offset
//! byte 16   the place of B's thought, as an offset
//! byte 24   room for what the offsets lead to
//! ```

use shmeld::Offset;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// All of the object: the size that everybody knows from the textbooks.
pub const BYTES: usize = 1024;
/// Where A puts its thought, and B: in the room, anywhere the other can find it by its offset.
pub const PLACES: [Offset<Thought>; 2] = [Offset::new(64), Offset::new(512)];

/// The type as which both processes see the memory.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Meld {
    /// One of [`turn`]'s. Each process stores its own and waits for the other's.
    pub turn: u32,
    pub nothing: u32,
    /// Written by A before [`turn::A_HAS_SPOKEN`].
    pub of_a: Offset<Thought>,
    /// Written by B before [`turn::B_HAS_ANSWERED`].
    pub of_b: Offset<Thought>,
    pub room: [u8; 1000],
}

/// A text and its length.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Thought {
    pub len: u32,
    pub text: [u8; 124],
}

const _: () = {
    assert!(size_of::<Meld>() == BYTES);
    assert!(std::mem::offset_of!(Meld, of_a) == 8 && std::mem::offset_of!(Meld, of_b) == 16);
    assert!(std::mem::offset_of!(Meld, room) == 24);
    assert!(size_of::<Thought>() == 128);
};

/// The values of the turn word, in the order in which they come. Memory that nobody has written holds 0.
pub mod turn {
    pub const A_HAS_SPOKEN: u32 = 1;
    pub const B_HAS_ANSWERED: u32 = 2;
    pub const A_HAS_READ: u32 = 3;
    pub const B_LETS_GO: u32 = 4;
}

impl Thought {
    /// What is too long is cut.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut thought = Self::new_zeroed();
        let bytes = text.as_bytes();
        let len = bytes.len().min(thought.text.len());
        thought.text[..len].copy_from_slice(&bytes[..len]);
        thought.len = len as u32;
        thought
    }

    /// The text, if its length can be one: both are what the other process wrote.
    #[must_use]
    pub fn text(&self) -> Option<&[u8]> {
        self.text.get(..usize::try_from(self.len).ok()?)
    }
}

/// What a look at the turn word, and then at the other's lease, means to a process that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The other has done its step.
    Go,
    /// Not yet.
    Wait,
    /// The kernel has dropped the lease of a process that held it: it is dead.
    Died,
    /// The turn word is none that could stand there.
    Lies,
}

/// Judges a word that should go from `mine` to `wanted`. `was_there` says whether the other's lease has been seen before, `is_there` whether
/// it was held after the word was loaded; a step that was done before a death counts.
#[must_use]
pub fn judge(word: u32, mine: u32, wanted: u32, was_there: bool, is_there: bool) -> Verdict {
    if word == wanted {
        Verdict::Go
    } else if word != mine {
        Verdict::Lies
    } else if was_there && !is_there {
        Verdict::Died
    } else {
        Verdict::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_done_before_a_death_counts() {
        assert_eq!(judge(2, 1, 2, true, false), Verdict::Go);
        assert_eq!(judge(1, 1, 2, true, false), Verdict::Died);
    }

    #[test]
    fn nobody_dies_before_it_has_come() {
        assert_eq!(judge(1, 1, 2, false, false), Verdict::Wait);
        assert_eq!(judge(1, 1, 2, false, true), Verdict::Wait);
        assert_eq!(judge(1, 1, 2, true, true), Verdict::Wait);
    }

    #[test]
    fn words_that_cannot_stand_there_are_lies() {
        for word in [0, 3, 4, u32::MAX] {
            assert_eq!(judge(word, 1, 2, true, true), Verdict::Lies);
        }
    }

    #[test]
    fn a_forged_length_gives_no_text() {
        let mut thought = Thought::new("I think");
        assert_eq!(thought.text(), Some(&b"I think"[..]));
        for len in [125, u32::MAX] {
            thought.len = len;
            assert_eq!(thought.text(), None);
        }
        assert_eq!(Thought::new(&"x".repeat(999)).text().map(<[u8]>::len), Some(124));
    }
}
