//! Files from one process to another: a server that offers a directory, a client that fetches from it.

mod admission;
mod answer;
mod client;
mod connection;
mod context;
mod digest;
mod directory;
mod gate;
mod incoming;
mod output;
pub mod path;
pub mod record;
mod server;
mod session;
mod slot_reader;
mod slot_writer;
pub mod source;
mod staging;
mod status;
mod status_query;
mod transfer;
mod tree;
mod walk;
pub mod wire;

pub use client::{Client, ClientOptions, Query};
pub use connection::Interrupt;
pub use context::ServerStatus;
pub use directory::{Directory, DirectoryOptions};
pub use output::OutputOptions;
pub use server::{Ending, Server, ServerOptions, Stopper};
pub use status::{Refusal, Status};
pub use status_query::fetch_status;
pub use transfer::{Event, Job, Target, Transfer};
pub use tree::make_directories;
