//! Chance that can be repeated: the same seed, the same numbers.

use std::time::Duration;

/// A small generator (SplitMix64): good enough to choose victims, and in one word.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A generator of its own for each `part` of a row, so that threads do not take each other's numbers.
    pub fn new(seed: u64, part: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.wrapping_mul(0xd1b5_4a32_d192_ed03))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    /// One of some things.
    pub fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }

    /// A time from nothing to twice the mean.
    pub fn around(&mut self, mean: Duration) -> Duration {
        let micros = usize::try_from(mean.as_micros()).unwrap_or_default();
        Duration::from_micros(u64::try_from(self.below(2 * micros + 1)).unwrap_or_default())
    }

    /// So many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_repeats_and_parts_differ() {
        let numbers = |seed, part| {
            let mut chance = Chance::new(seed, part);
            (0..4).map(|_| chance.next()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(1, 3));
        assert_ne!(numbers(1, 2), numbers(2, 2));
    }
}
