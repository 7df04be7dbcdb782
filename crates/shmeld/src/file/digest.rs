//! Digests of whole files, holes included.

/// How many zero bytes are hashed at a time.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Feeds `len` zero bytes to a digest; `between` is called between pieces, because 5 GiB of zeros take a second.
pub(super) fn hash_zeros<E>(
    hasher: &mut blake3::Hasher,
    mut len: u64,
    mut between: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    while len > 0 {
        let piece = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..piece as usize]);
        len -= piece;
        between()?;
    }
    Ok(())
}
