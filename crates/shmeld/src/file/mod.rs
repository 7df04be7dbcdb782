//! Files from one process to another: a server that offers a directory, a client that fetches from it.
//!
//! ```
//! use std::{fs, sync::Arc, thread};
//! use shmeld::ServerName;
//! use shmeld::file::{Client, ClientOptions, Directory, DirectoryOptions, Server, ServerOptions};
//! use shmeld::file::{Event, Job, OutputOptions, Query, Status, Target, Transfer, wire::Op};
//!
//! let id = format!("shmeld-example-file-{}", std::process::id());
//! let (name, here) = (ServerName::new(&id)?, std::env::temp_dir().join(&id));
//! fs::create_dir(&here)?;
//! fs::write(here.join("a.txt"), "hello")?;
//! shmeld::os::sigbus::install()?; // whoever cuts its memory off ends its session, and not this process
//!
//! // The server: mostly another process, and perhaps another user's. It can be asked for nothing outside its directory.
//! let source = Arc::new(Directory::open(&here, DirectoryOptions::default())?);
//! let server = Server::start(source, ServerOptions { name: name.clone(), ..ServerOptions::default() })?;
//! let stopper = server.stopper();
//! let serving = thread::spawn(move || server.run());
//!
//! // The client: jobs go in, events come out. A file appears under its name when it is whole.
//! let client = Client::connect(ClientOptions { name, ..ClientOptions::default() })?;
//! let target = |path: &str| Target::File(here.join(path).with_extension("copy"));
//! let jobs = ["a.txt", "b.txt"].map(|path| Job { query: Query::new(Op::Get, path), target: target(path) });
//! let mut transfer = Transfer::new(client, jobs.into_iter(), OutputOptions::default());
//! while let Some(event) = transfer.next_event()? {
//!     match event {
//!         Event::Delivered { size, .. } => assert_eq!(size, 5),
//!         Event::Refused { refusal, .. } => assert_eq!(refusal.status, Status::Fnf), // there is no b.txt
//!         Event::Failed { error, .. } => return Err(error.into()),
//!         _ => {}
//!     }
//! }
//! transfer.close();
//! assert_eq!(fs::read(here.join("a.copy"))?, b"hello");
//! stopper.stop();
//! # serving.join().unwrap()?;
//! # fs::remove_dir_all(here)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | room | what for |
//! |---|---|
//! | [`Server`], [`ServerOptions`], [`Stopper`] | the server: its name, its sessions, its end |
//! | [`Directory`], [`mod@source`] | what it offers: files beneath a directory, or whatever you call files |
//! | [`Confined`], [`Needs`] | what a server gives up once it has started |
//! | [`Audit`] | who got what and who was refused what, as lines of a file |
//! | [`fetch_status`], [`ServerStatus`] | what a server counts about itself, asked through a client |
//! | [`running_servers`] | the names of those that run here |
//! | [`Transfer`], [`Job`], [`Target`], [`Event`] | the client's work: what is asked for, where it goes, what happens |
//! | [`OutputOptions`], [`Prefix`] | how files appear; what is there already of one |
//! | [`Client`], [`ClientOptions`], [`Query`] | the session beneath it, for those who want the records themselves |
//! | [`Status`], [`Refusal`] | why something is not delivered |
//! | [`Interrupt`] | the caller's wish to stop, asked for in every wait |
//! | [`wire`], [`record`], [`path`] | a request and an answer as bytes; names from the other side |
//!
//! docs/PROTOCOL.md has every byte and state. Each side survives the other: what was published before a death is valid, and nothing else.

mod acceptor;
mod account;
mod admission;
mod answer;
mod answer_account;
mod answer_file;
mod audit;
mod audit_file;
mod audit_line;
mod audit_queue;
mod audit_writer;
mod client;
mod client_state;
mod client_watch;
mod collected;
mod confined;
mod connection;
mod context;
mod digest;
mod directory;
mod entry;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod gate;
mod inbox;
mod incoming;
mod limiter;
mod node;
mod output;
mod partial;
pub mod path;
mod pattern;
mod place;
mod prefix;
pub mod record;
mod reservation;
mod running;
#[cfg(test)]
mod sample;
mod server;
mod server_options;
mod session;
mod session_log;
mod sessions;
#[cfg(test)]
mod simulation;
pub(crate) mod single_output;
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
mod users;
mod walk;
pub mod wire;

pub use audit::Audit;
pub use client::{Client, ClientOptions, Query};
pub use confined::{Confined, Needs};
pub use connection::Interrupt;
pub use context::ServerStatus;
pub use directory::{Directory, DirectoryOptions};
pub use event::Event;
pub use output::OutputOptions;
pub use prefix::{Prefix, Range};
pub use running::running_servers;
pub use server::Server;
pub use server_options::ServerOptions;
pub use shmeld_os::fs::Audience;
pub use status::{Refusal, Status};
pub use status_query::fetch_status;
pub use stopper::{Ending, Stopper};
pub use target::{Job, Target};
pub use transfer::Transfer;
pub use tree::make_directories;
pub use walk::LEVELS_MAX;
