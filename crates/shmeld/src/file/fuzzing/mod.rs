//! Fuzz targets as plain functions: whatever the bytes, they return, and what they assert on the way holds.
//!
//! * [`request`]: a queue message, as anybody may send it to a server;
//! * [`header_stream`]: words and slots that change between every two accesses, against either end of a stream of records;
//! * [`record`]: whatever a server can put into a slot, against the client;
//! * [`tree_name`]: names and links that become directories and files on the client's disk.
//!
//! Each returns what became of the input in two or three words, so that a test can tell whether a corpus still reaches what it was made
//! for. `fuzz/` runs them under a fuzzer; `corpus` runs them as ordinary tests, on the corpora kept there. Not here: processes and system
//! calls; nothing in these functions makes one that a peer could influence.

#[cfg(test)]
mod corpus;
mod feed;
pub(super) mod filled;
mod header_stream;
mod hostile;
mod record;
mod request;
mod ring_model;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod seeds_record;
mod tree_name;

pub use header_stream::header_stream;
pub use record::record;
pub use request::request;
pub use tree_name::tree_name;
