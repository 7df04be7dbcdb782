//! The requesting end of an image channel: pixels go straight into memory of numpy or into a new vector that numpy then owns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

use numpy::{PyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use shmeld::image::{ChannelName, Geometry, ImageError, Requester, RequesterOptions, Room};
use shmeld::os::name::escape;

use crate::errors::{Context, broken_lock, refuse};
use crate::guard::Guarded;
use crate::waiting::{Ear, duration};

/// How long `close` waits for a thread that is in a request: several slices of its wait.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Between two looks for that.
const NAP: Duration = Duration::from_millis(2);

/// Height, width, channels, and the pixels if they did not fit where they were wanted.
type Image<'py> = (u64, u64, u64, Option<Bound<'py, PyArray1<u8>>>);

/// A channel that this process owns.
#[pyclass(frozen, module = "shmeld._native")]
pub struct ImageRequester {
    requester: Mutex<Guarded<Option<Requester>>>,
    ear: Ear,
    stopped: Arc<AtomicBool>,
    channel: ChannelName,
}

/// Checks the name of a channel.
pub fn channel_name(name: &str) -> PyResult<ChannelName> {
    let context = Context::new("name", format!("channel {}", escape(name.as_bytes())));
    ChannelName::new(name).map_err(|error| refuse(&context, &error.to_string(), None))
}

#[pymethods]
impl ImageRequester {
    /// Makes the channel.
    #[new]
    #[pyo3(signature = (channel, *, public, force))]
    fn new(py: Python<'_>, channel: &str, public: bool, force: bool) -> PyResult<Self> {
        let channel = channel_name(channel)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let ear = Ear::until(stopped.clone());
        let options = RequesterOptions { public, force };
        let requester = py
            .detach(|| Requester::create(&channel, options))
            .map_err(|error| ear.exception(&error, &Context::new("create", format!("channel {channel}"))))?;
        Ok(Self {
            requester: Mutex::new(Guarded::new(Some(requester))),
            ear,
            stopped,
            channel,
        })
    }

    /// The name as both sides use it.
    #[getter]
    fn channel(&self) -> String {
        self.channel.to_string()
    }

    /// Asks for an image. Its pixels go to `memory` if they fit, else into a new array. With `shape` no other one is wanted.
    #[pyo3(signature = (name, *, memory, shape, timeout))]
    fn request<'py>(
        &self,
        py: Python<'py>,
        name: &[u8],
        memory: Option<PyReadwriteArray1<'py, u8>>,
        shape: Option<(u64, u64, u64)>,
        timeout: Option<f64>,
    ) -> PyResult<Image<'py>> {
        let context = Context::new("request", escape(name));
        let timeout = duration(timeout)?;
        let mut guarded = self.requester.try_lock().map_err(|error| self.locked(&error))?;
        let closed = || refuse(&context, "the requester is closed", None);
        let requester = guarded.get_mut()?.as_mut().ok_or_else(closed)?;
        let mut memory = memory;
        let lent = match memory.as_mut() {
            Some(memory) => Some(memory.as_slice_mut()?),
            None => None,
        };
        let mut place = Place {
            lent,
            new: Vec::new(),
            shape,
        };
        let interrupt = self.ear.interrupt();
        let answered = py.detach(|| requester.request(name, &mut place, timeout, &interrupt));
        let geometry = answered.map_err(|error| match error {
            // Relaxed: the flag publishes nothing but itself.
            shmeld::Error::Interrupted if self.stopped.load(Ordering::Relaxed) => closed(),
            error => self.ear.exception(&error, &context),
        })?;
        let new = std::mem::take(&mut place.new);
        let new = (!new.is_empty()).then(|| PyArray1::from_vec(py, new));
        Ok((geometry.height(), geometry.width(), geometry.channels(), new))
    }

    /// Makes a request in another thread end soon, and every later one at once.
    fn stop(&self) {
        // Relaxed: the flag publishes nothing but itself.
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Ends a request in another thread and removes the channel. In a fork of the process that made it nothing happens.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stop();
        let end = Instant::now() + CLOSE_MAX;
        let mut guarded = loop {
            match self.requester.try_lock() {
                Ok(guarded) => break guarded,
                Err(error) if Instant::now() >= end => return Err(self.locked(&error)),
                Err(_) => py.detach(|| std::thread::sleep(NAP)),
            }
            py.check_signals()?;
        };
        if let Ok(requester) = guarded.get_mut() {
            let requester = requester.take();
            py.detach(|| drop(requester));
        }
        Ok(())
    }
}

impl ImageRequester {
    fn locked<T>(&self, error: &TryLockError<T>) -> PyErr {
        match error {
            TryLockError::WouldBlock => {
                let context = Context::new("request", format!("channel {}", self.channel));
                let hint = Some("one requester serves one thread; ImageLoader uses several channels at once");
                refuse(&context, "another thread is using this requester", hint)
            }
            TryLockError::Poisoned(_) => broken_lock(),
        }
    }
}

/// Where the pixels go: memory of the caller, or what is made when their number is known.
struct Place<'m> {
    lent: Option<&'m mut [u8]>,
    new: Vec<u8>,
    shape: Option<(u64, u64, u64)>,
}

impl Room for Place<'_> {
    fn room(&mut self, geometry: Geometry) -> Result<&mut [u8], ImageError> {
        let found = (geometry.height(), geometry.width(), geometry.channels());
        if let Some(wanted) = self.shape
            && wanted != found
        {
            let reason = format!("the image has the shape {found:?}, and there is room for {wanted:?}");
            return Err(ImageError::Unwanted { reason });
        }
        let bytes = usize::try_from(geometry.bytes()).unwrap_or(usize::MAX);
        match &mut self.lent {
            Some(lent) if lent.len() >= bytes => Ok(&mut lent[..bytes]),
            _ => self.new.room(geometry),
        }
    }
}
