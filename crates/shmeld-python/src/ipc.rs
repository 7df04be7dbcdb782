//! The catalogue: every object of interprocess communication of this machine.

use std::iter::once;

use pyo3::prelude::*;
use shmeld::catalogue::{Look, Snapshot};

/// One look at all objects, a line of JSON each, as `shmeld ipc ls --json` prints them; the last one says what could not be seen.
#[pyfunction]
pub fn catalogue(py: Python<'_>) -> Vec<String> {
    py.detach(|| {
        let snapshot = Snapshot::take(Look::default());
        let objects = snapshot.objects.iter().map(|object| object.to_json());
        objects
            .chain(once(snapshot.sight.to_json()))
            .map(|line| line.to_string())
            .collect()
    })
}
