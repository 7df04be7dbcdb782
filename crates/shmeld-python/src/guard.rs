//! What belongs to the process that made it.
//!
//! A forked child gets a copy of every Python object of its parent, and its garbage collector ends them. Ended there, an object would take names
//! away that the parent uses, and unmap addresses at which the child has something else by then (mappings are not inherited). So in another
//! process than the one that made it a value is neither used nor dropped.

use pyo3::PyResult;

use crate::errors::{Context, refuse};

/// See the module.
pub struct Guarded<T> {
    pid: u32,
    /// `None` only while it is being dropped.
    value: Option<T>,
}

impl<T> Guarded<T> {
    pub fn new(value: T) -> Self {
        Self {
            pid: std::process::id(),
            value: Some(value),
        }
    }

    /// The value, in the process that made it.
    pub fn get(&self) -> PyResult<&T> {
        self.check()?;
        self.value.as_ref().ok_or_else(closed)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self) -> PyResult<&mut T> {
        self.check()?;
        self.value.as_mut().ok_or_else(closed)
    }

    fn check(&self) -> PyResult<()> {
        if self.is_ours() {
            return Ok(());
        }
        let reason = format!("it belongs to process {}, of which this one is a fork", self.pid);
        Err(refuse(
            &Context::new("use", "this object"),
            &reason,
            Some("make a new one after the fork"),
        ))
    }

    fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }
}

fn closed() -> pyo3::PyErr {
    refuse(&Context::new("use", "this object"), "it is closed", None)
}

impl<T> Drop for Guarded<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            // The parent's: its memory here is a copy, and what it stands for is not ours to end.
            std::mem::forget(self.value.take());
        }
    }
}
