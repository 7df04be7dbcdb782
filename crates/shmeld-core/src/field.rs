//! Fields of a type that lies in shared memory, by name, and the scalars that are loaded and stored as one atomic access.
//!
//! [`field!`](crate::field!) makes a [`Field`] of a type and the name of one of its fields. The compiler checks that the field exists and
//! knows its type and its place; no reference is made to find that out.
//!
//! ```
//! use shmeld_core::{Shared, field};
//! use shmeld_os::posix::shm::SharedMemory;
//! use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
//!
//! #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
//! #[repr(C)]
//! struct Frame {
//!     number: u64,
//!     position: [f32; 4],
//! }
//!
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(4096)?;
//! let shared = Shared::<Frame>::map(&object)?;
//! shared.write_field(field!(Frame, position), &[1.0, 2.0, 3.0, 1.0]); // a copy, which may tear
//! shared.store(field!(Frame, number), 7); // one atomic access: who sees it sees the position too
//! assert_eq!((field!(Frame, position).at(), shared.read().number), (8, 7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::marker::PhantomData;

use crate::memory::Memory;
use crate::offset::Offset;
use crate::shared::Plain;
use crate::sync::Ordering;

/// Where the field of type `F` lies in a `T`. Made by [`field!`](crate::field!).
pub struct Field<T, F> {
    at: usize,
    of: PhantomData<fn(T) -> F>,
}

impl<T, F> Field<T, F> {
    /// For [`field!`](crate::field!), which lets the compiler work it out: the function is never called, it tells the type of the field.
    ///
    /// # Panics
    /// At compile time: if the field is not aligned, as in a `repr(packed)` type, or no part of `T`.
    #[doc(hidden)]
    #[must_use]
    pub const fn of(at: usize, _: fn(T) -> F) -> Self {
        assert!(
            at.is_multiple_of(align_of::<F>()),
            "a field of a packed type has no atomic access"
        );
        assert!(at + size_of::<F>() <= size_of::<T>(), "no field of this type");
        Self { at, of: PhantomData }
    }

    /// How many bytes before it belong to `T`.
    #[must_use]
    pub const fn at(self) -> usize {
        self.at
    }
}

impl<T, F> Clone for Field<T, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, F> Copy for Field<T, F> {}

impl<T, F> fmt::Debug for Field<T, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Field({})", self.at)
    }
}

/// The [`Field`] of a type, by its name: `field!(Header, len)`, or of a type inside: `field!(Header, origin.x)`.
///
/// It is worked out by the compiler. What is no field does not compile:
///
/// ```compile_fail,E0609
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Header {
///     len: u32,
/// }
/// let width = shmeld_core::field!(Header, width);
/// ```
///
/// Nor does a field that lies where no processor loads it at once:
///
/// ```compile_fail,E0080
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C, packed)]
/// struct Header {
///     kind: u8,
///     len: u32,
/// }
/// let len = shmeld_core::field!(Header, len);
/// ```
#[macro_export]
macro_rules! field {
    ($type:ty, $($name:ident).+) => {
        const {
            $crate::Field::of(::core::mem::offset_of!($type, $($name).+), |whole: $type| whole.$($name).+)
        }
    };
}

/// A number of 1, 2, 4 or 8 bytes: loaded and stored whole, by one atomic access, so it never tears.
///
/// Loads are Acquire, stores Release: who loads what a peer has stored also sees everything that the peer wrote before that store. So
/// write the value first and then store the word that says that it is there; load that word first and then read the value.
///
/// All integers of fixed size, floating-point numbers, and [`Offset`]s. `usize` is none of them: it has another size in other programs.
pub trait Scalar: Plain + Copy + sealed::Sealed {
    /// One atomic load, with Acquire.
    #[doc(hidden)]
    fn load(memory: &Memory, at: usize) -> Self;
    /// One atomic store, with Release.
    #[doc(hidden)]
    fn store(self, memory: &Memory, at: usize);
}

mod sealed {
    pub trait Sealed {}
}

/// A scalar by the atomic of its width, and the two functions that change it to and from that.
macro_rules! scalars {
    ($($scalar:ty, $word:ident, $from:expr, $to:expr;)*) => {
        $(
            impl sealed::Sealed for $scalar {}
            impl Scalar for $scalar {
                #[inline]
                fn load(memory: &Memory, at: usize) -> Self {
                    // Acquire: pairs with the Release of `store` in the peer.
                    $from(memory.$word(at).load(Ordering::Acquire))
                }
                #[inline]
                fn store(self, memory: &Memory, at: usize) {
                    // Release: pairs with the Acquire of `load` in the peer.
                    memory.$word(at).store($to(self), Ordering::Release);
                }
            }
        )*
    };
}

scalars! {
    u8, atomic_u8, u8::from, u8::from;
    u16, atomic_u16, u16::from, u16::from;
    u32, atomic_u32, u32::from, u32::from;
    u64, atomic_u64, u64::from, u64::from;
    i8, atomic_u8, u8::cast_signed, i8::cast_unsigned;
    i16, atomic_u16, u16::cast_signed, i16::cast_unsigned;
    i32, atomic_u32, u32::cast_signed, i32::cast_unsigned;
    i64, atomic_u64, u64::cast_signed, i64::cast_unsigned;
    f32, atomic_u32, f32::from_bits, f32::to_bits;
    f64, atomic_u64, f64::from_bits, f64::to_bits;
}

impl<T> sealed::Sealed for Offset<T> {}

impl<T> Scalar for Offset<T> {
    #[inline]
    fn load(memory: &Memory, at: usize) -> Self {
        Self::new(u64::load(memory, at))
    }
    #[inline]
    fn store(self, memory: &Memory, at: usize) {
        self.bytes().store(memory, at);
    }
}
