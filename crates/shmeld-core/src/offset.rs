//! Numbers in the place of pointers: the same memory lies at another address in each process, and a peer's pointer would be an attack.
//!
//! ```
//! use shmeld_core::{Misbehaviour, Offset};
//!
//! assert_eq!(Offset::<u64>::new(4088).check(4096), Ok(4088));
//! for unsound in [0, 4, 4096, u64::MAX] { // no place, not aligned, outside
//!     assert_eq!(Offset::<u64>::new(unsound).check(4096), Err(Misbehaviour::Offset));
//! }
//! ```

use std::fmt;
use std::marker::PhantomData;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::Misbehaviour;
use crate::field::Field;

/// How many bytes from the start of the region a `T` lies. Eight bytes that may stand in shared memory.
///
/// It is an allegation: whoever can write the region can write any number here. Each use checks that a whole `T` lies there, inside the
/// region and aligned; what it finds there are plain bytes that anybody may have written, and never more than that.
///
/// Zero is [`Offset::NONE`], so memory that nobody has written holds no offsets. What lies at the start of a region is reached without one.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Offset<T> {
    bytes: u64,
    of: PhantomData<fn(T) -> T>,
}

impl<T> Offset<T> {
    /// No place.
    pub const NONE: Self = Self::new(0);

    /// The place `bytes` bytes from the start of the region.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self {
            bytes,
            of: PhantomData,
        }
    }

    /// The number, as it was found.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }

    /// Whether it leads nowhere on purpose.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.bytes == 0
    }

    /// The place of a field of the `T` that lies here. A sum too large stays one that no check lets pass.
    #[must_use]
    pub const fn field<F>(self, field: Field<T, F>) -> Offset<F> {
        Offset::new(self.bytes.saturating_add(field.at() as u64))
    }

    /// The place in a region of `region_bytes` bytes, if a whole `T` lies there.
    ///
    /// # Errors
    /// [`Misbehaviour::Offset`] if it is [`Offset::NONE`], not a multiple of the alignment of `T`, or if the `T` would not end within the
    /// region.
    pub fn check(self, region_bytes: usize) -> Result<usize, Misbehaviour> {
        usize::try_from(self.bytes)
            .ok()
            .filter(|&at| at != 0 && at.is_multiple_of(align_of::<T>()))
            .filter(|at| {
                at.checked_add(size_of::<T>())
                    .is_some_and(|end| end <= region_bytes)
            })
            .ok_or(Misbehaviour::Offset)
    }
}

impl<T> Clone for Offset<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Offset<T> {}

impl<T> PartialEq for Offset<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Offset<T> {}

impl<T> fmt::Debug for Offset<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Offset({})", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_places_of_whole_values_inside_pass() {
        let checked = |bytes| Offset::<u32>::new(bytes).check(4096);
        for good in [4, 8, 4092] {
            assert_eq!(checked(good), Ok(good as usize));
        }
        for bad in [
            0,
            1,
            6,
            4093,
            4096,
            4100,
            u64::MAX,
            u64::MAX - 3,
            1 << 63,
            1 << 32,
        ] {
            assert_eq!(checked(bad), Err(Misbehaviour::Offset), "{bad}");
        }
        assert_eq!(
            Offset::<[u8; 4096]>::new(1).check(4096),
            Err(Misbehaviour::Offset)
        );
    }

    #[test]
    fn a_field_of_what_lies_nowhere_lies_nowhere() {
        #[repr(C)]
        struct Pair {
            first: u32,
            second: u32,
        }
        let second = crate::field!(Pair, second);
        assert_eq!(Offset::new(8).field(second).check(16), Ok(12));
        for bad in [u64::MAX, u64::MAX - 3, 13, 12] {
            assert_eq!(
                Offset::new(bad).field(second).check(16),
                Err(Misbehaviour::Offset)
            );
        }
        let Pair { first, second } = Pair { first: 1, second: 2 };
        assert!(first < second);
    }
}
