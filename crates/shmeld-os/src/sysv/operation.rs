//! One step of what [`SemaphoreSet::operate`](super::semaphore::SemaphoreSet::operate) does at once.

/// The largest value of a semaphore (`SEMVMX`).
pub const VALUE_MAX: u16 = 32767;

/// One step of an operation on a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    index: u16,
    change: i16,
    flags: libc::c_int,
}

impl Operation {
    /// Adds `units` to semaphore `index`.
    #[must_use]
    pub fn add(index: u16, units: u16) -> Self {
        Self::new(index, units.min(VALUE_MAX).cast_signed())
    }

    /// Takes `units` from semaphore `index`, waiting until they are there.
    #[must_use]
    pub fn take(index: u16, units: u16) -> Self {
        Self::new(index, -units.min(VALUE_MAX).cast_signed())
    }

    /// Waits until semaphore `index` is zero.
    #[must_use]
    pub fn zero(index: u16) -> Self {
        Self::new(index, 0)
    }

    fn new(index: u16, change: i16) -> Self {
        Self {
            index,
            change,
            flags: 0,
        }
    }

    /// `IPC_NOWAIT`: EAGAIN instead of waiting.
    #[must_use]
    #[doc(alias = "IPC_NOWAIT")]
    pub fn at_once(self) -> Self {
        Self {
            flags: self.flags | libc::IPC_NOWAIT,
            ..self
        }
    }

    /// `SEM_UNDO`: the kernel takes this change back when this process ends, however it ends. A forked child has nothing to undo.
    #[must_use]
    #[doc(alias = "SEM_UNDO")]
    pub fn undone(self) -> Self {
        Self {
            flags: self.flags | libc::SEM_UNDO,
            ..self
        }
    }

    pub(super) fn is_at_once(self) -> bool {
        self.flags & libc::IPC_NOWAIT != 0
    }

    // The type of the flags has 16 bits in C, and these two fit.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn raw(self) -> libc::sembuf {
        libc::sembuf {
            sem_num: self.index,
            sem_op: self.change,
            sem_flg: self.flags as libc::c_short,
        }
    }
}
