//! A server of files that are on no disk: `cargo run -p shmeld --example source`. Whatever implements `Source` can be offered, with all that a
//! client can ask for.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::{error::Error, iter, process, thread};

use shmeld::ServerName;
use shmeld::file::record::Entry;
use shmeld::file::source::{Source, SourceFile, Walk, WalkItem};
use shmeld::file::wire::Op;
use shmeld::file::{
    Client, ClientOptions, Event, Job, OutputOptions, Query, Refusal, Server, ServerOptions, Status, Target,
    Transfer,
};

/// Its files are tables: `7.txt` has the multiples of seven.
struct Tables;

struct Table {
    entry: Entry,
    text: String,
}

impl Source for Tables {
    /// `path` is what a client sent: nothing about it has been checked.
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        let number = str::from_utf8(path).ok();
        let number = number.and_then(|path| path.strip_suffix(".txt")?.parse::<u64>().ok());
        let number = number.ok_or_else(|| Refusal::new(Status::Fnf, "there are tables of numbers only"))?;
        let lines = (1..=10_u64).map(|factor| format!("{}\n", number.saturating_mul(factor)));
        let text: String = lines.collect();
        let entry = Entry::file(path, text.len() as u64);
        Ok(Box::new(Table { entry, text }))
    }

    /// For lists, patterns and trees. These files cannot be counted.
    fn walk(&self, _path: &[u8], _levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        Ok(Box::new(Nothing))
    }
}

impl SourceFile for Table {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn is_unchanged(&self) -> Result<bool, Refusal> {
        Ok(true)
    }
}

struct Nothing;

impl Walk for Nothing {
    fn next_item(&mut self) -> Option<WalkItem> {
        None
    }

    fn open_last(&mut self) -> Result<Box<dyn SourceFile>, Refusal> {
        Err(Status::Fnf.into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    shmeld::os::sigbus::install()?; // whoever cuts its memory off ends its session, and not this process
    let name = ServerName::new(&format!("/shmeld-example-source-{}", process::id()))?;
    let options = ServerOptions {
        name: name.clone(),
        ..ServerOptions::default()
    };
    let server = Server::start(Arc::new(Tables), options)?;
    let stopper = server.stopper();
    let serving = thread::spawn(move || server.run());
    let fetched = fetch(name);
    stopper.stop();
    serving.join().map_err(|_| "the server panicked")??;
    fetched
}

/// The client, which could be `shmeld get 7.txt` just as well.
fn fetch(name: ServerName) -> Result<(), Box<dyn Error>> {
    let options = ClientOptions {
        name,
        ..ClientOptions::default()
    };
    let job = Job {
        query: Query::new(Op::Get, "7.txt"),
        target: Target::Caller, // not into a file: as events
    };
    let mut transfer = Transfer::new(
        Client::connect(options)?,
        iter::once(job),
        OutputOptions::default(),
    );
    let mut text = Vec::new();
    while let Some(event) = transfer.next_event()? {
        match event {
            Event::Bytes(bytes) => text.extend(bytes),
            Event::Delivered { .. } => print!("{}", str::from_utf8(&text)?), // now it is whole
            Event::Refused { refusal, .. } => println!("refused: {refusal}"),
            _ => {}
        }
    }
    transfer.close();
    Ok(())
}
