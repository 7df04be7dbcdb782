//! Waiting without the interpreter's lock, and with an ear for Ctrl-C.
//!
//! Python keeps a signal back until its main thread asks. So every wait of this package ends in slices, and between two of them the
//! interpreter is asked; an exception of a signal handler ends the wait and is what the caller sees.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use shmeld::file::Interrupt;
use shmeld::os::ErrorKind;

use crate::errors::{Context, os_error, raise, refuse};

/// How long a wait may be before the interpreter is asked.
const SLICE: Duration = Duration::from_millis(100);
/// How often it is asked at most: to take its lock costs more than a small file.
const QUESTION_INTERVAL: Duration = Duration::from_millis(25);

/// The thread that ends the interpreter, once it does.
static LEAVING: OnceLock<ThreadId> = OnceLock::new();

/// From now on no other thread asks the interpreter anything: Python before 3.14 frees what such a question looks at while it is ending.
#[pyfunction]
pub fn leave() {
    let _ = LEAVING.set(std::thread::current().id());
}

/// Where the interpreter is ending a thread stays outside, for the moment that the process still lives.
fn stay_outside_at_the_end() {
    let leaver = LEAVING.get();
    while leaver.is_some_and(|leaver| *leaver != std::thread::current().id()) {
        std::thread::park();
    }
}

/// Asks the interpreter for waits that take an [`Interrupt`], and keeps what it said.
#[derive(Clone, Default)]
pub struct Ear {
    heard: Arc<Mutex<Option<PyErr>>>,
    stopped: Arc<AtomicBool>,
}

impl Ear {
    /// Waits end when this flag is set, too: by another thread, which no signal reaches.
    pub fn until(stopped: Arc<AtomicBool>) -> Self {
        Self {
            stopped,
            ..Self::default()
        }
    }

    /// One for long work in steps, and what is asked before each step: whether to go on.
    pub fn go_on() -> (Self, impl FnMut() -> bool + Send) {
        let ear = Self::default();
        let interrupt = ear.interrupt();
        (ear, move || interrupt.check().is_ok())
    }

    /// What such a wait is given.
    pub fn interrupt(&self) -> Interrupt {
        let (heard, stopped) = (self.heard.clone(), self.stopped.clone());
        let asked = Mutex::new(Instant::now());
        Interrupt::from_question(move || {
            // Relaxed: the flag publishes nothing but itself.
            if stopped.load(Ordering::Relaxed) {
                return true;
            }
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.elapsed() < QUESTION_INTERVAL {
                return false;
            }
            stay_outside_at_the_end();
            *asked = Instant::now();
            match Python::attach(|py| py.check_signals()) {
                Ok(()) => false,
                Err(error) => {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    true
                }
            }
        })
    }

    /// The exception for an error of the library: that of the signal handler, if one ended the wait.
    pub fn exception(&self, error: &shmeld::Error, context: &Context) -> PyErr {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (error, heard) {
            (shmeld::Error::Interrupted, Some(heard)) => heard,
            _ => raise(error, context),
        }
    }

    /// The same for an error of the kernel's objects.
    pub fn os_exception(&self, error: shmeld::os::Error) -> PyErr {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (error.kind(), heard) {
            (ErrorKind::Interrupted, Some(heard)) => heard,
            _ => os_error(error),
        }
    }
}

/// A time-out in seconds as Python writes it: `None` is for ever.
pub fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    Ok(match duration(timeout)? {
        // So far away that the clock cannot say it is for ever.
        Some(duration) => Instant::now().checked_add(duration),
        None => None,
    })
}

/// The same as a length of time.
pub fn duration(timeout: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        let context = Context::new("wait", "");
        return Err(refuse(&context, "a timeout is a number of seconds or None", None));
    }
    Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok())
}

/// Waits in slices without the interpreter's lock. `None`: the time is over.
pub fn in_slices<T: Send>(
    py: Python<'_>,
    deadline: Option<Instant>,
    mut wait: impl FnMut(Option<Instant>) -> shmeld::os::Result<T> + Send,
) -> PyResult<Option<T>> {
    loop {
        let slice_end = Instant::now() + SLICE;
        let end = deadline.map_or(slice_end, |deadline| deadline.min(slice_end));
        let waited = py.detach(|| {
            let waited = wait(Some(end));
            stay_outside_at_the_end();
            waited
        });
        match waited {
            Ok(value) => return Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::TimedOut => {}
            Err(error) => return Err(os_error(error)),
        }
        py.check_signals()?;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(None);
        }
    }
}
