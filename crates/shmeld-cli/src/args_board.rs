//! The options of `shmeld board`.

use std::ffi::OsString;

use clap::{Args, Subcommand};
use shmeld::os::sysv::{FileKey, Key};

use crate::args_talk::TalkArgs;
use crate::help;
use crate::values::{Wait, number, parse_key, parse_mark, parse_size, parse_wait};

/// Post and read messages under a System V key.
#[derive(Debug, Args)]
pub struct BoardArgs {
    #[command(subcommand)]
    pub command: BoardCommand,
}

/// The two sides.
#[derive(Debug, Subcommand)]
pub enum BoardCommand {
    /// Post a message and wait for its readers
    ///
    /// The message lies in a segment of System V shared memory; a set of five semaphores says who is where. Readers may come first or last,
    /// in any order; a reader that dies is not waited for. When the last one has finished, both objects are removed.
    #[command(after_long_help = help::POST)]
    Post(PostArgs),
    /// Read a message, waiting until it is posted
    ///
    /// The message goes to standard output as it is, byte by byte.
    #[command(after_long_help = help::READ)]
    Read(ReadArgs),
}

/// Where the board is: one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct KeyArgs {
    /// The key as a number: 0x1234 or 5678
    #[arg(long, value_parser = parse_key)]
    pub key: Option<Key>,
    /// The key that ftok(3) makes of a file and a number of 1 to 255, or a character
    #[arg(long, value_name = "PATH:ID")]
    pub ftok: Option<FileKey>,
}

/// How the two sides agree that a message was read.
#[derive(Debug, Args)]
pub struct HandshakeArgs {
    /// Speak the handshake of textbooks, for plain C programs: no semaphores; the reader stores C over the first byte
    #[arg(long, value_name = "C", value_parser = parse_mark)]
    pub ack: Option<u8>,
}

/// Options of `board post`.
#[derive(Debug, Args)]
pub struct PostArgs {
    /// The message; - or nothing reads it from standard input
    pub message: Option<OsString>,
    #[command(flatten)]
    pub key: KeyArgs,
    /// Size of the segment; what the message needs, and a page at least
    #[arg(long, value_parser = parse_size)]
    pub size: Option<u64>,
    /// For how many readers to wait; without it the message stays until --timeout or a signal
    #[arg(long, value_name = "N", value_parser = number(1_u32, None), conflicts_with = "ack")]
    pub readers: Option<u32>,
    /// How long to wait for readers: 500ms, 10s, 2m or forever
    #[arg(long, alias = "wait", value_name = "DUR", default_value = "forever", value_parser = parse_wait)]
    pub timeout: Wait,
    #[command(flatten)]
    pub handshake: HandshakeArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// Options of `board read`.
#[derive(Debug, Args)]
pub struct ReadArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// How long to wait for a message: 500ms, 10s, 2m or forever
    #[arg(long, alias = "wait", value_name = "DUR", default_value = "30s", value_parser = parse_wait)]
    pub timeout: Wait,
    #[command(flatten)]
    pub handshake: HandshakeArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

impl KeyArgs {
    /// The key, made of the file now if there is one.
    ///
    /// # Errors
    /// The file is not there.
    pub fn key(&self) -> shmeld::os::Result<Key> {
        match (self.key, &self.ftok) {
            (Some(key), _) => Ok(key),
            (None, Some(file)) => file.key(),
            // The group above lets nobody come here.
            (None, None) => Ok(Key::PRIVATE),
        }
    }
}
