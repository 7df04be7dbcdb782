//! Digests of whole files, holes included.

/// Zero bytes, to be hashed or written a piece at a time.
pub(super) static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Feeds `len` zero bytes to a digest; between pieces `go_on` may end it, because terabytes of zeros take minutes.
pub(super) fn hash_zeros<E>(
    hasher: &mut blake3::Hasher,
    mut len: u64,
    mut go_on: impl FnMut() -> Result<bool, E>,
) -> Result<(), E> {
    while len > 0 && go_on()? {
        let piece = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..piece as usize]);
        len -= piece;
    }
    Ok(())
}
