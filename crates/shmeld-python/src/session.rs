//! One session with a file server: requests go in, events come out, as in `shmeld::file::Transfer`.
//!
//! What is made of the events (bytes, files, iterators, exceptions) is Python's: `shmeld/files.py`.

use std::iter::{Once, once};
use std::path::PathBuf;
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use shmeld::ServerName;
use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::wire::{FLAG_RECURSIVE, FLAG_VERIFY, Op};
use shmeld::file::{Client, ClientOptions, Event, Job, OutputOptions, Query, Target, Transfer, fetch_status};
use shmeld::os::name::escape;
use shmeld::os::sigbus;

use crate::errors::{Context, broken_lock, not_stored, os_error, raise, refusal, refuse};
use crate::guard::Guarded;
use crate::waiting::{Ear, duration};

/// Region that fits everything but a crowd of little clients; a page where there is no room.
const REGION_BYTES: u64 = 1 << 20;

enum State {
    Idle(Box<Client>),
    Busy(Box<Transfer<Once<Job>>>),
    Closed,
}

/// A session with a server.
#[pyclass(frozen, module = "shmeld._native")]
pub struct Session {
    state: Mutex<Guarded<State>>,
    ear: Ear,
    server: String,
}

/// How outputs are made.
#[pyclass(frozen, module = "shmeld._native")]
pub struct Outputs {
    options: OutputOptions,
}

#[pymethods]
impl Outputs {
    #[new]
    #[pyo3(signature = (*, umask, preserve, no_clobber, sync, resume))]
    fn new(umask: u32, preserve: bool, no_clobber: bool, sync: bool, resume: bool) -> Self {
        Self {
            options: OutputOptions {
                umask,
                process_umask: None,
                preserve,
                no_clobber,
                sync,
                resume,
            },
        }
    }
}

#[pymethods]
impl Session {
    /// Waits for the server and makes a region for it.
    #[new]
    #[pyo3(signature = (server, *, wait, region_bytes, server_uids, silence))]
    fn new(
        py: Python<'_>,
        server: &str,
        wait: Option<f64>,
        region_bytes: Option<u64>,
        server_uids: Vec<u32>,
        silence: f64,
    ) -> PyResult<Self> {
        let context = Context::new("connect", format!("server {server}"));
        sigbus::install().map_err(os_error)?;
        let name = server_name(server)?;
        let ear = Ear::default();
        let default = ClientOptions::default();
        let options = ClientOptions {
            server_uids,
            wait: duration(wait)?,
            region_bytes: region_bytes.unwrap_or(REGION_BYTES),
            or_one_page: region_bytes.is_none(),
            silence_max: duration(Some(silence))?.unwrap_or(default.silence_max),
            interrupt: ear.interrupt(),
            name,
        };
        let client = py
            .detach(|| Client::connect(options))
            .map_err(|error| ear.exception(&error, &context))?;
        Ok(Self {
            state: Mutex::new(Guarded::new(State::Idle(Box::new(client)))),
            ear,
            server: server.to_owned(),
        })
    }

    /// Whether a request can be started.
    fn is_idle(&self) -> bool {
        let state = self.state.try_lock();
        state.is_ok_and(|state| matches!(state.get(), Ok(State::Idle(_))))
    }

    /// Starts one request; its events come from `next`. To a path, below one, or (`None`) to the caller.
    #[pyo3(signature = (kind, name, *, target, below, verify, outputs))]
    fn start(
        &self,
        kind: &str,
        name: Vec<u8>,
        target: Option<PathBuf>,
        below: bool,
        verify: bool,
        outputs: &Outputs,
    ) -> PyResult<()> {
        let (op, mut flags) = match kind {
            "get" => (Op::Get, 0),
            "tree" => (Op::Tree, 0),
            "list" => (Op::List, 0),
            "list-all" => (Op::List, FLAG_RECURSIVE),
            _ => return Err(refuse(&self.context(), "no such kind of request", None)),
        };
        if verify {
            flags |= FLAG_VERIFY;
        }
        let target = match (op, target, below) {
            (Op::List, ..) => Target::Discard,
            (_, None, _) => Target::Caller,
            (Op::Tree, Some(path), true) => Target::TreeUnder(path),
            (Op::Tree, Some(path), false) => Target::Tree(path),
            (_, Some(path), true) => Target::Under(path),
            (_, Some(path), false) => Target::File(path),
        };
        let job = Job {
            query: Query {
                op,
                path: name,
                flags,
                resume: None,
            },
            target,
        };
        self.with(|state| match std::mem::replace(state, State::Closed) {
            State::Idle(client) => {
                let transfer = Transfer::new(*client, once(job), outputs.options);
                *state = State::Busy(Box::new(transfer));
                Ok(())
            }
            other => {
                *state = other;
                Err(refuse(&self.context(), "the session is closed or at work", None))
            }
        })
    }

    /// The next event, or `None` when the request is done.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let event = self.with(|state| {
            let State::Busy(transfer) = state else {
                return Ok(None);
            };
            match py.detach(|| transfer.next_event()) {
                Ok(Some(event)) => Ok(Some(event)),
                Ok(None) => {
                    if let State::Busy(transfer) = std::mem::replace(state, State::Closed)
                        && let Some(client) = transfer.into_client()
                    {
                        *state = State::Idle(Box::new(client));
                    }
                    Ok(None)
                }
                Err(error) => {
                    // What has not arrived whole leaves nothing behind.
                    *state = State::Closed;
                    Err(self.ear.exception(&error, &self.context()))
                }
            }
        })?;
        event.map(|event| self.tuple(py, event)).transpose()
    }

    /// What the server says about itself, as JSON. Ends the session.
    fn status(&self, py: Python<'_>) -> PyResult<String> {
        self.with(|state| match std::mem::replace(state, State::Closed) {
            State::Idle(client) => py
                .detach(|| fetch_status(*client))
                .map(|status| status.to_json())
                .map_err(|error| self.ear.exception(&error, &self.context())),
            _ => Err(refuse(&self.context(), "the session is closed or at work", None)),
        })
    }

    /// Ends the session. In a fork of the process that began it nothing happens.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Ok(mut guarded) = self.state.try_lock() else {
            return Err(self.in_use());
        };
        let Ok(state) = guarded.get_mut() else {
            return Ok(());
        };
        let ended = std::mem::replace(state, State::Closed);
        py.detach(|| {
            if let State::Idle(client) = ended {
                client.close();
            }
        });
        Ok(())
    }
}

impl Session {
    fn context(&self) -> Context {
        Context::new("get", format!("server {}", self.server))
    }

    fn in_use(&self) -> PyErr {
        let hint = Some("one session serves one thread; make a Client for each");
        refuse(&self.context(), "another thread is using this session", hint)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> PyResult<T>) -> PyResult<T> {
        use std::sync::TryLockError;
        let mut guarded = self.state.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => self.in_use(),
            TryLockError::Poisoned(_) => broken_lock(),
        })?;
        work(guarded.get_mut()?)
    }

    fn tuple<'py>(&self, py: Python<'py>, event: Event) -> PyResult<Bound<'py, PyTuple>> {
        match event {
            Event::Begun { name, size } => ("begun", PyBytes::new(py, &name), size).into_pyobject(py),
            Event::Resumed { name, bytes } => ("resumed", PyBytes::new(py, &name), bytes).into_pyobject(py),
            Event::Restarted { name, bytes } => {
                ("restarted", PyBytes::new(py, &name), bytes).into_pyobject(py)
            }
            Event::Bytes(bytes) => ("bytes", PyBytes::new(py, &bytes)).into_pyobject(py),
            Event::Zeros { bytes } => ("zeros", bytes).into_pyobject(py),
            Event::Progress { bytes } => ("progress", bytes).into_pyobject(py),
            Event::Delivered { name, size } => ("delivered", PyBytes::new(py, &name), size).into_pyobject(py),
            Event::Entry(entry) => entry_tuple(py, &entry),
            Event::Refused { name, refusal: why } => {
                let error = refusal(&escape(&name), &why).into_value(py);
                ("failed", PyBytes::new(py, &name), error).into_pyobject(py)
            }
            Event::Failed { name, error } => {
                let error = not_stored(&escape(&name), &error).into_value(py);
                ("failed", PyBytes::new(py, &name), error).into_pyobject(py)
            }
        }
    }
}

fn entry_tuple<'py>(py: Python<'py>, entry: &Entry) -> PyResult<Bound<'py, PyTuple>> {
    let kind = match entry.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Other | EntryKind::Unknown => "other",
    };
    let name = PyBytes::new(py, &entry.name);
    let target = PyBytes::new(py, &entry.text);
    let modified = entry.modified.seconds as f64 + f64::from(entry.modified.nanoseconds) / 1e9;
    let owner = (entry.uid, entry.gid);
    (
        "entry", name, kind, entry.size, entry.mode, modified, owner, target,
    )
        .into_pyobject(py)
}

/// Checks the name of a server.
pub fn server_name(name: &str) -> PyResult<ServerName> {
    let context = Context::new("name", format!("server {}", escape(name.as_bytes())));
    ServerName::new(name).map_err(|error| refuse(&context, &error.to_string(), None))
}

/// How an error of a server that could not be reached would read.
pub fn server_error(error: &shmeld::Error, server: &str) -> PyErr {
    raise(error, &Context::new("serve", format!("server {server}")))
}
