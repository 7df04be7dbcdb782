//! The handshake of many a textbook: one segment, no semaphores.
//!
//! The server puts a text at the first byte of a segment, ended by a NUL, and looks again and again until a client has stored a certain
//! character over its first byte. There is one reader, nobody notices a death, and the key is found before the text is: a reader of ours
//! therefore believes a text that it found twice.
//!
//! ```
//! use std::{thread, time::Duration};
//! use shmeld::board::{PostOptions, ReadOptions, textbook};
//! use shmeld::os::sysv::Key;
//!
//! let key = Key::new(0x5354_0000 | std::process::id() & 0xffff);
//! let timeout = Some(Duration::from_secs(10));
//! let posted = textbook::post(b"hello", b'*', PostOptions { timeout, ..PostOptions::new(key) })?;
//! let reader = thread::spawn(move || { // or a program in C: it prints the text and stores a '*' over its first byte
//!     let reading = textbook::read(b'*', ReadOptions { timeout, ..ReadOptions::new(key) })?;
//!     assert_eq!(reading.message(), b"hello");
//!     reading.finish()
//! });
//! assert!(posted.wait()?);
//! # reader.join().unwrap()?;
//! # Ok::<(), shmeld::Error>(())
//! ```

use shmeld_core::Memory;
use shmeld_os::explain;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::users::{ROOT, is_own_uid};

use super::error::{BoardError, SEGMENT};
use super::layout::{self, MESSAGE_BYTES_MAX};
use super::owner::Owner;
use super::{PostOptions, ReadOptions, check_user, segment};
use crate::patience::{POLL, Patience};
use crate::{Error, Result};

/// How much of a text is looked at together.
const BLOCK_BYTES: usize = 4096;

/// A text that waits for its reader. Dropping it removes the segment.
#[derive(Debug)]
pub struct PostedText {
    segment: Segment,
    memory: Option<Memory>,
    mark: u8,
    key: Key,
    patience: Patience,
    owner: Owner,
}

/// Posts a text; `mark` is the character that its reader stores. The number of readers in `options` is not used: there is one.
///
/// # Errors
/// [`Error::Usage`] for a text that this form cannot carry; else as for [`super::post`].
pub fn post(message: &[u8], mark: u8, options: PostOptions) -> Result<PostedText> {
    check_text(message, mark).map_err(Error::Usage)?;
    let bytes = layout::segment_bytes(layout::text_segment_bytes(message.len()), options.segment_bytes)?;
    let patience = Patience::new(options.timeout, options.interrupt);
    let key = options.key;
    check_user(key)?;
    // From here on it is removed whatever happens.
    let mut posted = PostedText {
        segment: segment::make(key, bytes, &patience)?,
        memory: None,
        mark,
        key,
        patience,
        owner: Owner::this_process(),
    };
    let memory = segment::attach(&posted.segment, false)?.ok_or_else(|| removed(key))?;
    // Whoever finds it without us knows by this that it may go.
    memory.write(layout::text_mark_at(memory.len()), &layout::TEXT_MARK);
    // The first byte last: until then a reader finds the empty text, which is none.
    memory.write(1, &message[1..]);
    memory.write(0, &message[..1]);
    posted.memory = Some(memory);
    Ok(posted)
}

/// What this form can carry: what C calls a string, and neither an empty one nor one that looks acknowledged.
fn check_text(message: &[u8], mark: u8) -> Result<(), String> {
    let first = message
        .first()
        .ok_or("with --ack an empty message looks as if it were not there yet")?;
    if message.contains(&0) {
        return Err("with --ack the message ends at its first NUL, so it can have none".to_owned());
    }
    if *first == mark {
        let mark = char::from(mark);
        return Err(format!(
            "a message that begins with {mark:?} looks as if it were acknowledged already"
        ));
    }
    if layout::is_message(message) {
        return Err(
            "a message that begins with the magic of a board looks as if it had semaphores".to_owned(),
        );
    }
    if message.len() >= MESSAGE_BYTES_MAX {
        return Err(format!("a message has less than {MESSAGE_BYTES_MAX} bytes"));
    }
    Ok(())
}

impl PostedText {
    /// Waits until a reader has stored the mark, and removes the segment. `false` if the time was up before.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; [`BoardError::Removed`].
    pub fn wait(mut self) -> Result<bool> {
        let Some(memory) = self.memory.take() else {
            return Ok(false);
        };
        loop {
            let mut first = [0];
            memory.read(0, &mut first);
            if first[0] == self.mark {
                explain!(
                    "load",
                    self.key,
                    "the first byte is the mark: a reader has the text"
                );
                memory.detach()?;
                return Ok(true);
            }
            if self.patience.is_over() {
                return Ok(false);
            }
            if self.segment.stat().map_or(true, |stat| stat.is_marked) {
                return Err(removed(self.key));
            }
            self.patience.sleep(POLL)?;
        }
    }
}

impl Drop for PostedText {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            // As for a board with semaphores.
            std::mem::forget(self.memory.take());
            return;
        }
        drop(self.memory.take());
        // Gone already, or marked: what should be is.
        let _ = self.segment.remove();
    }
}

/// A text that was read and is not acknowledged yet.
#[derive(Debug)]
pub struct TextReading {
    message: Vec<u8>,
    memory: Memory,
    mark: u8,
    key: Key,
}

impl TextReading {
    /// The text, in private memory.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Stores the mark: the server may end.
    ///
    /// # Errors
    /// What the kernel says at detaching.
    pub fn finish(self) -> Result<()> {
        self.memory.write(0, &[self.mark]);
        explain!(
            "store",
            self.key,
            "the mark at the first byte: its server may end"
        );
        Ok(self.memory.detach()?)
    }
}

/// Reads the text under a key, and waits for it if it is not there yet.
///
/// # Errors
/// [`BoardError::NoMessage`] if none came in time; [`BoardError::HasSemaphores`]; [`BoardError::Foreign`]; [`Error::Interrupted`].
pub fn read(mark: u8, options: ReadOptions) -> Result<TextReading> {
    let patience = Patience::new(options.timeout, options.interrupt);
    let key = options.key;
    check_user(key)?;
    let mut current: Option<(Segment, Memory)> = None;
    let mut seen = None;
    let mut has_told = false;
    loop {
        if current.is_none() {
            current = attach(key)?;
        }
        if current
            .as_ref()
            .is_some_and(|(_, memory)| segment::is_message(memory))
        {
            return Err(BoardError::HasSemaphores { key }.into());
        }
        let text = current.as_ref().and_then(|(_, memory)| text(memory, mark));
        match (text, seen.take()) {
            (Some(message), Some(before)) if message == before => {
                let Some((_, memory)) = current else {
                    unreachable!("a text was found in it")
                };
                return Ok(TextReading {
                    message,
                    memory,
                    mark,
                    key,
                });
            }
            (text, _) => seen = text,
        }
        // A removed segment stays attached and is of no use: its server serves another one, if any.
        let is_gone = |(segment, _): &(Segment, Memory)| segment.stat().map_or(true, |stat| stat.is_marked);
        if current.as_ref().is_some_and(is_gone) {
            (current, seen) = (None, None);
        }
        if patience.is_over() {
            let waited = patience.waited();
            return Err(BoardError::NoMessage { key, waited }.into());
        }
        if seen.is_none() && !has_told {
            has_told = true;
            tracing::info!(target: "shmeld::board", "board {key}: waiting for a message");
        }
        patience.sleep(POLL)?;
    }
}

fn attach(key: Key) -> Result<Option<(Segment, Memory)>> {
    let Some((segment, _)) = segment::find(key, |uid| is_own_uid(uid) || uid == ROOT)? else {
        return Ok(None);
    };
    Ok(segment::attach(&segment, false)?.map(|memory| (segment, memory)))
}

/// What stands before the first NUL; `None` if nothing does, if there is none, or if somebody has acknowledged it.
fn text(memory: &Memory, mark: u8) -> Option<Vec<u8>> {
    let end = memory.len().min(MESSAGE_BYTES_MAX);
    let mut text = Vec::new();
    let mut block = [0; BLOCK_BYTES];
    while text.len() < end {
        let block = &mut block[..BLOCK_BYTES.min(end - text.len())];
        memory.read(text.len(), block);
        let len = block.iter().position(|byte| *byte == 0);
        text.extend_from_slice(&block[..len.unwrap_or(block.len())]);
        if len.is_some() {
            let first = text.first()?;
            return (*first != mark).then_some(text);
        }
    }
    None
}

fn removed(key: Key) -> Error {
    let what = SEGMENT;
    BoardError::Removed { key, what }.into()
}

#[cfg(test)]
impl PostedText {
    /// What a forked child has; the memory is not its own.
    pub(super) fn become_child(&mut self) {
        self.owner = Owner::parent();
    }
}

#[cfg(test)]
mod tests {
    use shmeld_os::sysv::How;

    use super::*;

    #[test]
    fn texts_that_this_form_cannot_carry_are_refused() {
        assert_eq!(check_text(b"hello", b'*'), Ok(()));
        for message in [&b""[..], b"*hello", b"hel\0lo", b"*", b"SHMBORD1..."] {
            assert!(check_text(message, b'*').is_err(), "{message:?}");
        }
        assert_eq!(check_text(b"*hello", b'!'), Ok(()));
    }

    /// A segment of so many bytes that nobody else finds, already removed.
    fn memory(bytes: usize) -> Memory {
        let segment = Segment::create_new(Key::PRIVATE, bytes, 0o600).expect("a segment");
        let mapping = segment.attach(How::default());
        segment.remove().expect("removed");
        Memory::from(mapping.expect("attached"))
    }

    #[test]
    fn text_ends_at_its_nul_and_without_one_it_is_none() {
        for bytes in [27, 4096, 4097, 9000] {
            let memory = memory(bytes);
            assert_eq!(text(&memory, b'*'), None, "empty");
            memory.write(0, &vec![b'a'; bytes]);
            assert_eq!(text(&memory, b'*'), None, "no NUL in {bytes} bytes");
            memory.write(bytes - 1, &[0]);
            assert_eq!(text(&memory, b'*').map(|text| text.len()), Some(bytes - 1));
            memory.write(5, &[0]);
            assert_eq!(text(&memory, b'*').as_deref(), Some(&b"aaaaa"[..]));
            memory.write(0, b"*");
            assert_eq!(text(&memory, b'*'), None, "acknowledged");
            assert_eq!(text(&memory, b'!').as_deref(), Some(&b"*aaaa"[..]));
        }
    }
}
