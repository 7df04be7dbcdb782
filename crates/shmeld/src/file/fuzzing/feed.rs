//! The bytes of a fuzz input, one after the other. When they are over, everything is zero: no input is too short.

use std::cell::Cell;

/// See the module. Shared by the memory and by whoever uses it: both are driven by one input.
#[derive(Debug)]
pub(super) struct Feed<'d>(Cell<&'d [u8]>);

impl<'d> Feed<'d> {
    pub(super) fn new(bytes: &'d [u8]) -> Self {
        Self(Cell::new(bytes))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.get().is_empty()
    }

    /// At most `len` bytes, fewer at the end.
    pub(super) fn take(&self, len: usize) -> &'d [u8] {
        let bytes = self.0.get();
        let (taken, rest) = bytes.split_at(len.min(bytes.len()));
        self.0.set(rest);
        taken
    }

    pub(super) fn byte(&self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(super) fn u16(&self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(super) fn u32(&self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }
}
