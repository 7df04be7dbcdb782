//! Files from one process to another: a server that offers a directory, a client that fetches from it.

mod acceptor;
mod admission;
mod answer;
mod answer_file;
mod client;
mod client_state;
mod client_watch;
mod collected;
mod confined;
mod connection;
mod context;
mod digest;
mod directory;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod inbox;
mod incoming;
mod node;
mod output;
mod partial;
pub mod path;
mod pattern;
mod place;
mod prefix;
pub mod record;
mod reservation;
mod server;
mod server_options;
mod session;
mod sessions;
#[cfg(test)]
mod simulation;
mod slot_reader;
mod slot_writer;
mod slots;
pub mod source;
mod staging;
mod status;
mod status_query;
mod stopper;
mod target;
mod transfer;
mod tree;
mod walk;
pub mod wire;

pub use client::{Client, ClientOptions, Query};
pub use confined::{Confined, Needs};
pub use connection::Interrupt;
pub use context::ServerStatus;
pub use directory::{Directory, DirectoryOptions};
pub use event::Event;
pub use output::OutputOptions;
pub use prefix::Prefix;
pub use server::Server;
pub use server_options::ServerOptions;
pub use status::{Refusal, Status};
pub use status_query::fetch_status;
pub use stopper::{Ending, Stopper};
pub use target::{Job, Target};
pub use transfer::Transfer;
pub use tree::make_directories;
