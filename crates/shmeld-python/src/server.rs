//! A file server on a thread of this process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pyo3::prelude::*;
use shmeld::file::{
    Audience, Directory, DirectoryOptions, Ending, Server as FileServer, ServerOptions, Stopper,
};
use shmeld::os::fs::Links;
use shmeld::os::sigbus;

use crate::errors::{Context, os_error, refuse};
use crate::guard::Guarded;
use crate::session::{server_error, server_name};

/// How often a wait for the server's end asks the interpreter.
const SLICE: Duration = Duration::from_millis(50);

/// Guards mapped memory against peers that cut it off: for the whole process, so only where somebody asks.
#[pyfunction]
pub fn install_sigbus_guard() -> PyResult<()> {
    sigbus::install().map_err(os_error)
}

type Ended = shmeld::Result<Ending>;

/// A server that runs.
#[pyclass(frozen, module = "shmeld._native")]
pub struct Server {
    name: String,
    stopper: Guarded<Stopper>,
    thread: Mutex<Guarded<Option<JoinHandle<Ended>>>>,
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (directory, name, *, group, public, serve_private, follow_symlinks, once, sessions_max, file_bytes_max, region_bytes_max))]
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "they have names in Python"
    )]
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        name: &str,
        group: Option<u32>,
        public: bool,
        serve_private: bool,
        follow_symlinks: bool,
        once: bool,
        sessions_max: usize,
        file_bytes_max: Option<u64>,
        region_bytes_max: u64,
    ) -> PyResult<Self> {
        let context = Context::new("serve", format!("server {name}"));
        sigbus::install().map_err(os_error)?;
        let audience = match group {
            Some(_) if public => {
                return Err(refuse(&context, "group and public exclude each other", None));
            }
            Some(gid) => Some(Audience::Group(gid)),
            None => public.then_some(Audience::Others),
        };
        let options = DirectoryOptions {
            links: if follow_symlinks {
                Links::Follow
            } else {
                Links::Refuse
            },
            file_bytes_max: file_bytes_max.unwrap_or(u64::MAX),
            audience: audience.filter(|_| !serve_private),
        };
        let server_options = ServerOptions {
            name: server_name(name)?,
            once,
            sessions_max,
            audience,
            region_bytes_max,
            ..ServerOptions::default()
        };
        let started = py.detach(|| -> shmeld::Result<FileServer> {
            let directory = Arc::new(Directory::open(&directory, options)?);
            FileServer::start(directory, server_options)
        });
        let server = started.map_err(|error| server_error(&error, name))?;
        let stopper = server.stopper();
        let thread = std::thread::Builder::new()
            .name("shmeld-server".to_owned())
            .spawn(move || server.run())
            .map_err(|error| refuse(&context, &format!("no thread: {error}"), None))?;
        Ok(Self {
            name: name.to_owned(),
            stopper: Guarded::new(stopper),
            thread: Mutex::new(Guarded::new(Some(thread))),
        })
    }

    /// Whether it serves.
    fn is_running(&self) -> bool {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(thread.get(), Ok(Some(thread)) if !thread.is_finished())
    }

    /// Lets sessions at work finish for a few seconds, removes what the server made, and waits for that. In a fork nothing happens.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        if let Ok(stopper) = self.stopper.get() {
            stopper.stop();
        }
        self.wait(py).map(drop)
    }

    /// Waits until the server has ended: `True` if its last client was served to the end.
    fn wait(&self, py: Python<'_>) -> PyResult<bool> {
        loop {
            let mut guarded = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(thread) = guarded.get_mut() else {
                return Ok(true);
            };
            if thread.as_ref().is_none_or(JoinHandle::is_finished) {
                let ended = thread.take().map(JoinHandle::join);
                drop(guarded);
                return match ended {
                    None => Ok(true),
                    Some(Ok(Ok(ending))) => Ok(ending != Ending::OnceFailed),
                    Some(Ok(Err(error))) => Err(server_error(&error, &self.name)),
                    Some(Err(_)) => Err(crate::errors::broken_lock()),
                };
            }
            drop(guarded);
            py.detach(|| std::thread::sleep(SLICE));
            py.check_signals()?;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Forgotten in Python: it stops by itself and removes what it made, without anybody waiting for it.
        if let Ok(stopper) = self.stopper.get() {
            stopper.stop();
        }
    }
}
