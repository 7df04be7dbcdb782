//! The process to which a place at a board belongs.

use shmeld_os::process;

/// Whoever made this. A child that was forked has a copy of everything and nothing to give back: the kernel undoes nothing for it, and
/// what it would remove is its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
}

impl Owner {
    /// This process.
    pub(super) fn this_process() -> Self {
        Self { pid: process::pid() }
    }

    /// Whether it is still this process.
    pub(super) fn is_here(self) -> bool {
        self.pid == process::pid()
    }

    /// Another process, as a child sees its parent.
    #[cfg(test)]
    pub(super) fn parent() -> Self {
        Self {
            pid: process::pid() + 1,
        }
    }
}
