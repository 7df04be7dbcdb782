//! A typed region: shared memory in which a `T` lies, read and written by several processes at once.
//!
//! ```
//! use shmeld_core::{Offset, Shared, field};
//! use shmeld_os::posix::shm::SharedMemory;
//! use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
//!
//! #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
//! #[repr(C)]
//! struct Board {
//!     written: u32,
//!     color: [u8; 4],
//!     first: Offset<[u8; 16]>,
//! }
//!
//! let object = SharedMemory::create_unnamed()?;
//! object.reserve(1024)?;
//! let (mine, yours) = (Shared::<Board>::map(&object)?, Shared::<Board>::map(&object)?);
//!
//! mine.write_field(field!(Board, color), &[1, 2, 3, 4]);
//! mine.store(field!(Board, written), 7); // after what it announces
//! assert_eq!(yours.load(field!(Board, written)), 7);
//! assert_eq!(yours.read().color, [1, 2, 3, 4]);
//!
//! let text = Offset::new(512); // the rest of the region is reached by offsets
//! mine.write_at(text, b"offset, no point")?;
//! mine.store(field!(Board, first), text);
//! let found = yours.load(field!(Board, first)); // a number that a peer wrote
//! assert_eq!(&yours.read_at(found)?, b"offset, no point");
//! assert!(yours.read_at(Offset::<[u8; 16]>::new(1020)).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There is never a reference: the peer would write behind it. [`Shared::read`] and [`Shared::write`] copy, and may meet a peer in the
//! middle of his write (they *tear*); a [scalar](crate::field::Scalar) field is loaded and stored by one atomic access and does not;
//! [`SeqLocked`](crate::SeqLocked) is for larger values that must not. Not here: waiting, and who makes and removes the object.

use std::marker::PhantomData;

use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::{Misbehaviour, Result, check_room};
use crate::field::{Field, Scalar};
use crate::memory::Memory;
use crate::offset::Offset;

/// A page on every machine that Linux runs on is at least this long, and memory begins at a page.
const ALIGNMENT_MAX: usize = 4096;

/// Plain old data: every sequence of bytes is a value of it, every value is a sequence of bytes, and it means the same in every process.
///
/// Nobody implements it; deriving the four traits of zerocopy is enough.
///
/// ```
/// use shmeld_core::shared::Plain;
/// use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
///
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: u32,
///     weight: f32,
/// }
/// fn is_plain<T: Plain>() {}
/// is_plain::<Entry>();
/// ```
///
/// What differs from that in one respect does not compile. A pointer means nothing to a peer, and his means an attack to us:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: *const u8,
/// }
/// ```
///
/// A reference is a pointer with promises:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: &'static u32,
/// }
/// ```
///
/// A `bool` that is neither 0 nor 1 is undefined behaviour, and a peer can write 2:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: u8,
///     known: bool,
/// }
/// ```
///
/// The same holds for a `char` that is none:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: u32,
///     letter: char,
/// }
/// ```
///
/// And for an enum without that variant:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{Immutable, IntoBytes, KnownLayout, TryFromBytes};
/// #[derive(TryFromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(u32)]
/// enum Entry {
///     Number,
///     Weight,
/// }
/// fn is_plain<T: Plain>() {}
/// is_plain::<Entry>();
/// ```
///
/// Padding would show a peer what this process had in memory before:
///
/// ```compile_fail,E0277
/// # use shmeld_core::shared::Plain;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C)]
/// struct Entry {
///     number: u8,
///     weight: f32,
/// }
/// ```
///
/// `usize` compiles, and is a bad idea where programs of 32 and 64 bits meet.
pub trait Plain: FromBytes + IntoBytes + Immutable + KnownLayout {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout> Plain for T {}

/// Shared memory that begins with a `T`. See the [module](self).
///
/// It is used by one thread at a time (`Send`, not `Sync`); another thread maps the object again. Memory begins at a page, so a `T` that
/// must be aligned to more does not compile:
///
/// ```compile_fail,E0080
/// # use shmeld_core::Shared;
/// # use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
/// #[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
/// #[repr(C, align(8192))]
/// struct Huge([u8; 8192]);
/// let object = shmeld_os::posix::shm::SharedMemory::create_unnamed().unwrap();
/// let shared = Shared::<Huge>::map(&object);
/// ```
#[derive(Debug)]
pub struct Shared<T> {
    memory: Memory,
    of: PhantomData<fn(T) -> T>,
}

impl<T: Plain> Shared<T> {
    /// Takes over memory that is at least as long as a `T`: a mapping, or an attached System V segment.
    ///
    /// # Errors
    /// [`Error::TooSmall`](crate::Error::TooSmall).
    pub fn new(memory: impl Into<Memory>) -> Result<Self> {
        const {
            assert!(size_of::<T>() > 0, "a type without bytes shares nothing");
            assert!(align_of::<T>() <= ALIGNMENT_MAX, "memory begins at a page");
        }
        let memory = memory.into();
        check_room(memory.label(), memory.len(), size_of::<T>())?;
        Ok(Self {
            memory,
            of: PhantomData,
        })
    }

    /// Maps a POSIX object, all of it, as long as it is now; what comes behind the `T` is for [`Offset`]s.
    ///
    /// # Errors
    /// [`Error::TooSmall`](crate::Error::TooSmall) if it is shorter than a `T`: whoever makes it has not got to its size yet, or it holds something else.
    /// [`Error::Os`](crate::Error::Os) if it cannot be mapped for reading and writing.
    pub fn map(object: &SharedMemory) -> Result<Self> {
        let bytes = usize::try_from(object.stat()?.bytes).unwrap_or(usize::MAX);
        check_room(object.label(), bytes, size_of::<T>())?;
        Self::new(Mapping::new(object, bytes, object.label())?)
    }

    /// The memory, for what has no type.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Gives the memory back: see [`Memory::detach`].
    #[must_use]
    pub fn into_memory(self) -> Memory {
        self.memory
    }

    /// Whether the memory vanished under an access, and the [guard](shmeld_os::sigbus) put zeros there: to be asked after reading and
    /// before believing. Without the guard such an access ends the process. System V segments do not vanish.
    #[must_use]
    pub fn faulted(&self) -> bool {
        self.memory.faulted()
    }

    /// A copy of the `T`. It may tear: a peer who writes at this moment leaves a mixture of old and new bytes in it.
    #[must_use]
    pub fn read(&self) -> T {
        self.copy_out(0)
    }

    /// Copies `value` into the memory. It may tear: a peer who reads at this moment sees a part of it, and of two writers each may win a
    /// part.
    ///
    /// # Panics
    /// If the memory is [read-only](Memory::is_read_only): our own mistake, which a peer cannot cause.
    pub fn write(&self, value: &T) {
        self.memory.write(0, value.as_bytes());
    }

    /// Loads one scalar field at once (Acquire: see [`Scalar`]).
    #[must_use]
    #[inline]
    pub fn load<F: Scalar>(&self, field: Field<T, F>) -> F {
        F::load(&self.memory, field.at())
    }

    /// Stores one scalar field at once (Release: see [`Scalar`]).
    ///
    /// # Panics
    /// As [`Shared::write`].
    #[inline]
    pub fn store<F: Scalar>(&self, field: Field<T, F>, value: F) {
        self.store_scalar(field.at(), value);
    }

    /// A copy of one field of any size. It may tear, as [`Shared::read`].
    #[must_use]
    pub fn read_field<F: Plain>(&self, field: Field<T, F>) -> F {
        self.copy_out(field.at())
    }

    /// Copies a value of any size into one field. It may tear, as [`Shared::write`].
    ///
    /// # Panics
    /// As [`Shared::write`].
    pub fn write_field<F: Plain>(&self, field: Field<T, F>, value: &F) {
        self.memory.write(field.at(), value.as_bytes());
    }

    /// A copy of the value at an offset. It may tear, as [`Shared::read`].
    ///
    /// # Errors
    /// [`Misbehaviour::Offset`] if the offset leads to no such value.
    pub fn read_at<U: Plain>(&self, place: Offset<U>) -> Result<U, Misbehaviour> {
        Ok(self.copy_out(place.check(self.memory.len())?))
    }

    /// Copies a value to an offset. It may tear, as [`Shared::write`].
    ///
    /// # Errors
    /// As [`Shared::read_at`].
    ///
    /// # Panics
    /// As [`Shared::write`].
    pub fn write_at<U: Plain>(&self, place: Offset<U>, value: &U) -> Result<(), Misbehaviour> {
        self.memory
            .write(place.check(self.memory.len())?, value.as_bytes());
        Ok(())
    }

    /// Loads the scalar at an offset at once, as [`Shared::load`].
    ///
    /// # Errors
    /// As [`Shared::read_at`].
    pub fn load_at<F: Scalar>(&self, place: Offset<F>) -> Result<F, Misbehaviour> {
        Ok(F::load(&self.memory, place.check(self.memory.len())?))
    }

    /// Stores the scalar at an offset at once, as [`Shared::store`].
    ///
    /// # Errors
    /// As [`Shared::read_at`].
    ///
    /// # Panics
    /// As [`Shared::write`].
    pub fn store_at<F: Scalar>(&self, place: Offset<F>, value: F) -> Result<(), Misbehaviour> {
        self.store_scalar(place.check(self.memory.len())?, value);
        Ok(())
    }

    fn copy_out<U: Plain>(&self, at: usize) -> U {
        let mut value = U::new_zeroed();
        self.memory.read(at, value.as_mut_bytes());
        value
    }

    #[inline]
    fn store_scalar<F: Scalar>(&self, at: usize, value: F) {
        assert!(
            !self.memory.is_read_only(),
            "a store into memory that is read-only"
        );
        value.store(&self.memory, at);
    }
}
