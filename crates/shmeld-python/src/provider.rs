//! The providing end of an image channel: images from a folder of files, decoded here, or from a function of Python.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use numpy::{PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shmeld::Error;
use shmeld::image::{ChannelName, Folder, Geometry, ImageError, ImageSource, Provider, ProviderOptions};
use shmeld::os::name::escape;

use crate::errors::{Context, broken_lock, os_error, refuse};
use crate::guard::Guarded;
use crate::requester::channel_name;
use crate::waiting::{Ear, deadline};

/// A channel whose requests this process answers.
#[pyclass(frozen, module = "shmeld._native")]
pub struct ImageProvider {
    state: Mutex<Guarded<State>>,
    ear: Ear,
    stopped: Arc<AtomicBool>,
    channel: ChannelName,
    options: ProviderOptions,
}

struct State {
    /// `None` until the channel was there.
    provider: Option<Provider>,
    source: Source,
}

enum Source {
    Folder(Box<Folder>),
    Function(Function),
}

/// A function of Python: name to array of shape (height, width, channels), or an exception.
struct Function {
    function: Py<PyAny>,
    /// What it raised that is not for the requester only: Ctrl-C, for example.
    raised: Option<PyErr>,
}

#[pymethods]
impl ImageProvider {
    /// Images of a folder, or of a function.
    #[new]
    #[pyo3(signature = (channel, *, folder, function, requester_uids))]
    fn new(
        channel: &str,
        folder: Option<PathBuf>,
        function: Option<Py<PyAny>>,
        requester_uids: Vec<u32>,
    ) -> PyResult<Self> {
        let channel = channel_name(channel)?;
        let context = Context::new("provide", format!("channel {channel}"));
        let source = match (folder, function) {
            (Some(folder), None) => {
                let folder = Folder::open(&folder).map_err(os_error)?;
                Source::Folder(Box::new(folder))
            }
            (None, Some(function)) => Source::Function(Function {
                function,
                raised: None,
            }),
            _ => return Err(refuse(&context, "needs a folder or a function", None)),
        };
        let stopped = Arc::new(AtomicBool::new(false));
        let state = State {
            provider: None,
            source,
        };
        Ok(Self {
            state: Mutex::new(Guarded::new(state)),
            ear: Ear::until(stopped.clone()),
            stopped,
            channel,
            options: ProviderOptions { requester_uids },
        })
    }

    /// The name as both sides use it.
    #[getter]
    fn channel(&self) -> String {
        self.channel.to_string()
    }

    /// Waits for a request and answers it: the name and what the requester was told instead of getting an image, if it was. `None`: the time
    /// is over, or `stop` was called.
    #[pyo3(signature = (timeout))]
    fn serve_next<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<Option<(Bound<'py, PyBytes>, Option<String>)>> {
        let context = Context::new("provide", format!("channel {}", self.channel));
        let end = deadline(timeout)?;
        let mut guarded = self.state.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => refuse(&context, "another thread is using this provider", None),
            TryLockError::Poisoned(_) => broken_lock(),
        })?;
        let state = guarded.get_mut()?;
        let interrupt = self.ear.interrupt();
        let served = py.detach(|| -> shmeld::Result<_> {
            let left = || end.map(|end| end.saturating_duration_since(std::time::Instant::now()));
            let provider = match &mut state.provider {
                Some(provider) => provider,
                none => {
                    let options = self.options.clone();
                    none.insert(Provider::open(&self.channel, options, left(), &interrupt)?)
                }
            };
            let served = provider.serve_next(&mut state.source, left(), &interrupt)?;
            Ok((served.name.to_vec(), served.outcome.err()))
        });
        if let Source::Function(function) = &mut state.source
            && let Some(raised) = function.raised.take()
        {
            return Err(raised);
        }
        match served {
            Ok((name, problem)) => Ok(Some((PyBytes::new(py, &name), problem))),
            Err(Error::Image(ImageError::NoRequest { .. })) => Ok(None),
            Err(Error::Interrupted) if self.stopped.load(Ordering::Relaxed) => Ok(None),
            Err(error) => Err(self.ear.exception(&error, &context)),
        }
    }

    /// Makes a `serve_next` in another thread end soon, and every later one at once.
    fn stop(&self) {
        // Relaxed: the flag publishes nothing but itself.
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Leaves the channel, if no thread is serving. In a fork of the process that made it nothing happens.
    fn close(&self, py: Python<'_>) {
        if let Ok(mut guarded) = self.state.try_lock()
            && let Ok(state) = guarded.get_mut()
        {
            let provider = state.provider.take();
            py.detach(|| drop(provider));
        }
    }
}

impl ImageSource for Source {
    fn load(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
        match self {
            Self::Folder(folder) => {
                let loaded = folder.load(name, pixels);
                // Nobody here to tell it; the documentation says it.
                let _ = folder.take_note();
                loaded
            }
            Self::Function(function) => function.load(name, pixels),
        }
    }
}

impl ImageSource for Function {
    fn load(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
        Python::attach(|py| {
            let loaded = self.call(py, name, pixels);
            loaded.map_err(|error| {
                let text = sentence(py, &error, name);
                if !error.is_instance_of::<PyException>(py) {
                    self.raised = Some(error);
                }
                text
            })
        })
    }
}

impl Function {
    fn call(&self, py: Python<'_>, name: &[u8], pixels: &mut Vec<u8>) -> PyResult<Geometry> {
        let image = self.function.call1(py, (PyBytes::new(py, name),))?;
        let array: PyReadonlyArray3<'_, u8> = image.extract(py)?;
        let [height, width, channels] = *array.shape() else {
            return Err(refuse(
                &Context::new("load", escape(name)),
                "it is no image",
                None,
            ));
        };
        let geometry = Geometry::new(width as u64, height as u64, channels as u64)
            .map_err(|error| refuse(&Context::new("load", escape(name)), &error.to_string(), None))?;
        let bytes = array.as_slice()?;
        py.detach(|| {
            pixels.clear();
            pixels.extend_from_slice(bytes);
        });
        Ok(geometry)
    }
}

/// What the requester is told of an exception.
fn sentence(py: Python<'_>, error: &PyErr, name: &[u8]) -> String {
    if error.is_instance_of::<pyo3::exceptions::PyKeyError>(py) {
        return format!("{}: no such image", escape(name));
    }
    if !error.is_instance_of::<PyException>(py) {
        return "the provider was interrupted".to_owned();
    }
    format!("{}: {}", escape(name), error.value(py))
}
