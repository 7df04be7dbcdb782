//! What a transfer tells its caller.

use super::record::Entry;
use super::status::Refusal;
use crate::Error;

/// What happens while jobs are worked off.
#[derive(Debug)]
pub enum Event {
    /// A file begins.
    Begun {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Bytes.
        size: u64,
    },
    /// The file that has begun goes on where an earlier transfer of it ended.
    Resumed {
        /// Its name as asked for.
        name: Vec<u8>,
        /// How many bytes are there already.
        bytes: u64,
    },
    /// What an earlier transfer left is not the beginning of the file that has begun: it is fetched anew.
    Restarted {
        /// Its name as asked for.
        name: Vec<u8>,
        /// How many bytes were there.
        bytes: u64,
    },
    /// [`Target::Caller`](super::Target::Caller): the next bytes of the present file. Only with [`Event::Delivered`] are all of them what the file had.
    Bytes(Vec<u8>),
    /// [`Target::Caller`](super::Target::Caller): the next bytes of the present file are so many zeros.
    Zeros {
        /// How many: as many as the server likes, up to the size of the file.
        bytes: u64,
    },
    /// So many more bytes of the present file have arrived (holes included).
    Progress {
        /// How many.
        bytes: u64,
    },
    /// A file is whole and has its name.
    Delivered {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Bytes.
        size: u64,
    },
    /// A directory, a link, or an entry of a listing.
    Entry(Entry),
    /// The server does not deliver something.
    Refused {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Why.
        refusal: Refusal,
    },
    /// Something arrived and could not be stored.
    Failed {
        /// Its name as asked for or found.
        name: Vec<u8>,
        /// Why.
        error: Error,
    },
}
