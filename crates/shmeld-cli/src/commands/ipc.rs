//! `shmeld ipc`: what its commands have in common.

use std::fmt;
use std::io::Write;

use serde_json::{Value, json};
use shmeld::segment::{Address, Segment};

use super::{
    ipc_attach, ipc_bytes, ipc_change, ipc_clean, ipc_create, ipc_doctor, ipc_ls, ipc_show, ipc_top,
};
use crate::args_ipc::{IpcArgs, IpcCommand};
use crate::args_talk::TalkArgs;
use crate::narrate::{self, Loudness};
use crate::program::{Program, exit};

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &IpcArgs) -> u8 {
    match &args.command {
        IpcCommand::Ls(args) => ipc_ls::run(&Talk::new(program, args.talk), args),
        IpcCommand::Clean(args) => ipc_clean::run(&Talk::new(program, args.talk), args),
        IpcCommand::Doctor(args) => ipc_doctor::run(program, args),
        IpcCommand::Top(args) => ipc_top::run(program, args),
        IpcCommand::Create(args) => ipc_create::create(&Talk::new(program, args.talk), args),
        IpcCommand::Open(args) => ipc_create::open(&Talk::new(program, args.talk), args),
        IpcCommand::Attach(args) => ipc_attach::run(&Talk::new(program, args.talk), args),
        IpcCommand::Show(args) => ipc_show::run(&Talk::new(program, args.talk), args),
        IpcCommand::Read(args) => ipc_bytes::read(&Talk::new(program, args.talk), args),
        IpcCommand::Write(args) => ipc_bytes::write(&Talk::new(program, args.talk), args),
        IpcCommand::Resize(args) => ipc_change::resize(&Talk::new(program, args.talk), args),
        IpcCommand::Chmod(args) => ipc_change::chmod(&Talk::new(program, args.talk), args),
        IpcCommand::Chown(args) => ipc_change::chown(&Talk::new(program, args.talk), args),
        IpcCommand::Rm(args) => ipc_change::rm(&Talk::new(program, args.talk), args),
    }
}

/// What is printed where: data on standard output, news on standard error, one JSON object a line if that is wanted.
pub(super) struct Talk<'p> {
    pub program: &'p Program,
    pub args: TalkArgs,
}

impl<'p> Talk<'p> {
    fn new(program: &'p Program, args: TalkArgs) -> Self {
        narrate::install(
            program.name,
            Loudness::from_options(args.quiet || args.json, args.explain),
        );
        Self { program, args }
    }

    /// What was done, as a line of text or as JSON: somebody has to hear of it.
    pub fn data(&self, text: impl fmt::Display, json: impl FnOnce() -> Value) -> u8 {
        let written = self.write(text, json);
        written.map_or_else(|error| self.program.unprinted(&error), |()| exit::DONE)
    }

    /// The same for what was only asked for.
    pub fn answer(&self, text: impl fmt::Display, json: impl FnOnce() -> Value) -> u8 {
        self.program.printed(self.write(text, json))
    }

    fn write(&self, text: impl fmt::Display, json: impl FnOnce() -> Value) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.args.json {
            writeln!(out, "{}", json())?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }

    /// News for people, which are data only as JSON.
    pub fn news(&self, text: impl fmt::Display, json: impl FnOnce() -> Value) -> u8 {
        if self.args.json {
            return self.data("", json);
        }
        if !self.args.quiet {
            self.program.complain(&text.to_string(), None);
        }
        exit::DONE
    }

    /// The exit code of what has been tried; an error is told.
    pub fn code(&self, outcome: Result<u8, shmeld::Error>) -> u8 {
        outcome.unwrap_or_else(|error| self.program.fail(&error))
    }
}

/// An event about a segment, as JSON.
pub(super) fn event(name: &str, address: &Address, rest: Value) -> Value {
    let mut object = json!({"event": name, "address": address.to_string()});
    if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
        object.extend(rest);
    }
    object
}

/// The segment whatever its mode is, to describe it and to change its mode and owner.
pub(super) fn find(address: &Address) -> Result<Segment, shmeld::Error> {
    Segment::find(address)
}

/// The segment, for reading or for both.
pub(super) fn open(address: &Address, writable: bool) -> Result<Segment, shmeld::Error> {
    Segment::open(address, 0, writable)
}
