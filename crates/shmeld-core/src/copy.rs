//! The one routine that copies bytes between private memory and memory that a peer may write at the same moment.
//!
//! A plain `memcpy` would be a data race, which Rust's memory model does not define. Inline assembly is outside that model: the compiler
//! must assume that the instructions do what the processor does, and the processor copies whatever bytes it finds. Elsewhere than on
//! x86-64 the copy is made of volatile loads and stores.
#![allow(unsafe_code)]

/// Copies `len` bytes from `source` to `target`, either of which may be shared memory.
///
/// # Safety
/// `source` must be valid for reads and `target` for writes of `len` bytes for the whole call (a mapping may lose its pages: the SIGBUS
/// guard of a binary then substitutes zero pages and the copy is restarted by the processor). The two must not overlap, and whichever is
/// private must not be accessed by anybody else meanwhile.
#[inline]
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn copy_bytes(source: *const u8, target: *mut u8, len: usize) {
    // SAFETY: the contract of this function; the direction flag is clear by the calling convention; `rep movsb` touches exactly `len`
    // bytes on each side and changes only the three registers named.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") len => _,
            inout("rsi") source => _,
            inout("rdi") target => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies `len` bytes from `source` to `target`, either of which may be shared memory.
///
/// # Safety
/// As on x86-64: both sides valid for `len` bytes, not overlapping, and the private one not accessed by anybody else.
#[inline]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn copy_bytes(source: *const u8, target: *mut u8, len: usize) {
    let aligned = source.addr() % 8 == 0 && target.addr() % 8 == 0;
    let words = if aligned { len / 8 } else { 0 };
    for index in 0..words {
        // SAFETY: index * 8 + 8 <= len, and both addresses are multiples of eight.
        let word = unsafe { source.cast::<u64>().add(index).read_volatile() };
        // SAFETY: as above.
        unsafe { target.cast::<u64>().add(index).write_volatile(word) };
    }
    for index in words * 8..len {
        // SAFETY: index < len.
        let byte = unsafe { source.add(index).read_volatile() };
        // SAFETY: index < len.
        unsafe { target.add(index).write_volatile(byte) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn copies_exactly_the_bytes_asked_for(bytes in proptest::collection::vec(any::<u8>(), 0..9000), skip in 0usize..16) {
            let skip = skip.min(bytes.len());
            let source = &bytes[skip..];
            let mut target = vec![0xAA; source.len() + 2];
            // SAFETY: the target has room for the source and one byte on either side.
            unsafe { copy_bytes(source.as_ptr(), target[1..].as_mut_ptr(), source.len()) };
            prop_assert_eq!(&target[1..=source.len()], source);
            prop_assert_eq!((target[0], target[source.len() + 1]), (0xAA, 0xAA));
        }
    }
}
