//! System V objects: shared memory, sets of semaphores, message queues.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shmeld::os::sysv::message_queue::{MessageQueue as Queue, Which};
use shmeld::os::sysv::semaphore::{Operation, SemaphoreSet as Set, VALUE_MAX};
use shmeld::os::sysv::shared_memory::Segment;
use shmeld::os::sysv::{How, Key, Permissions};
use shmeld_core::Memory;

use crate::errors::{Context, os_error, refuse, timed_out};
use crate::guard::Guarded;
use crate::waiting::{deadline, in_slices};

/// key, uid, gid, creator's uid, mode.
type Owner = (u32, u32, u32, u32, u32);

fn owner(permissions: &Permissions) -> Owner {
    (
        permissions.key.bits(),
        permissions.uid,
        permissions.gid,
        permissions.creator_uid,
        permissions.mode,
    )
}

/// How an object is found or made, decided by which of the two numbers is given and by the flags.
enum Found {
    Id(i32),
    Make(Key),
    MakeNew(Key),
    Open(Key),
}

fn found(key: Option<u32>, id: Option<i32>, create: bool, exclusive: bool) -> PyResult<Found> {
    Ok(match (key.map(Key::new), id) {
        (None, Some(id)) => Found::Id(id),
        (Some(key), None) if create && (exclusive || key.is_private()) => Found::MakeNew(key),
        (Some(key), None) if create => Found::Make(key),
        (Some(key), None) => Found::Open(key),
        _ => {
            let context = Context::new("open", "System V object");
            return Err(refuse(&context, "needs either a key or an id", None));
        }
    })
}

/// `ftok(path, project)`.
#[pyfunction]
pub fn ftok(path: PathBuf, project: u8) -> PyResult<u32> {
    Key::of_file(&path, project).map(Key::bits).map_err(os_error)
}

/// An attached segment.
#[pyclass(frozen, module = "shmeld._native")]
pub struct SysvSharedMemory {
    segment: Segment,
    /// A region of memory is for one thread at a time; nobody waits while holding this.
    memory: Mutex<Guarded<Memory>>,
}

#[pymethods]
impl SysvSharedMemory {
    #[new]
    #[pyo3(signature = (key, id, *, bytes, mode, create, exclusive, writable))]
    #[allow(clippy::too_many_arguments, reason = "they have names in Python")]
    fn new(
        key: Option<u32>,
        id: Option<i32>,
        bytes: usize,
        mode: u32,
        create: bool,
        exclusive: bool,
        writable: bool,
    ) -> PyResult<Self> {
        let how = found(key, id, create, exclusive)?;
        let segment = match how {
            Found::Id(id) => Segment::from_id(id),
            Found::Make(key) => Segment::open_or_create(key, bytes, mode).map_err(os_error)?,
            Found::MakeNew(key) => Segment::create_new(key, bytes, mode).map_err(os_error)?,
            Found::Open(key) => Segment::open(key, bytes).map_err(os_error)?,
        };
        let attached = segment.attach(How {
            read_only: !writable,
            ..How::default()
        });
        if attached.is_err() && matches!(how, Found::MakeNew(_)) {
            // Ours, new, and of no use to anybody.
            let _ = segment.remove();
        }
        let memory = Mutex::new(Guarded::new(Memory::from(attached.map_err(os_error)?)));
        Ok(Self { segment, memory })
    }

    #[getter]
    fn id(&self) -> i32 {
        self.segment.id()
    }

    #[getter]
    fn size(&self) -> PyResult<usize> {
        Ok(self.lock().get()?.len())
    }

    /// The owner, the attachments, the maker's process, whether it goes with its last attachment.
    fn stat(&self) -> PyResult<(Owner, u64, u32, bool)> {
        let stat = self.segment.stat().map_err(os_error)?;
        Ok((
            owner(&stat.permissions),
            stat.attached,
            stat.creator_pid,
            stat.is_marked,
        ))
    }

    fn read<'py>(&self, py: Python<'py>, offset: usize, bytes: usize) -> PyResult<Bound<'py, PyBytes>> {
        let guarded = self.lock();
        let memory = guarded.get()?;
        let count = bytes.min(memory.len().saturating_sub(offset));
        PyBytes::new_with(py, count, |buffer| {
            if count > 0 {
                memory.read(offset, buffer);
            }
            Ok(())
        })
    }

    fn write(&self, offset: usize, data: &[u8]) -> PyResult<()> {
        let guarded = self.lock();
        let memory = guarded.get()?;
        let context = Context::new("write", memory.label().to_owned());
        if memory.is_read_only() {
            return Err(refuse(&context, "it is attached read-only", None));
        }
        let end = offset.checked_add(data.len());
        if end.is_none_or(|end| end > memory.len()) {
            let size = memory.len();
            let reason = format!("{} bytes at {offset} do not fit in {size}", data.len());
            let hint = Some("a System V segment never grows: make a larger one");
            return Err(refuse(&context, &reason, hint));
        }
        memory.write(offset, data);
        Ok(())
    }

    fn remove(&self) -> PyResult<()> {
        self.segment.remove().map_err(os_error)
    }
}

impl SysvSharedMemory {
    fn lock(&self) -> MutexGuard<'_, Guarded<Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A set of semaphores.
#[pyclass(frozen, module = "shmeld._native")]
pub struct SysvSemaphoreSet {
    set: Set,
}

#[pymethods]
impl SysvSemaphoreSet {
    #[new]
    #[pyo3(signature = (key, id, *, semaphores, mode, create, exclusive))]
    fn new(
        key: Option<u32>,
        id: Option<i32>,
        semaphores: u16,
        mode: u32,
        create: bool,
        exclusive: bool,
    ) -> PyResult<Self> {
        let set = match found(key, id, create, exclusive)? {
            Found::Id(id) => Ok(Set::from_id(id)),
            Found::Make(key) => Set::open_or_create(key, semaphores, mode),
            Found::MakeNew(key) => Set::create_new(key, semaphores, mode),
            Found::Open(key) => Set::open(key, semaphores),
        };
        Ok(Self {
            set: set.map_err(os_error)?,
        })
    }

    #[getter]
    fn id(&self) -> i32 {
        self.set.id()
    }

    /// The owner, and how many semaphores.
    fn stat(&self) -> PyResult<(Owner, u64)> {
        let stat = self.set.stat().map_err(os_error)?;
        Ok((owner(&stat.permissions), stat.semaphores))
    }

    fn values(&self) -> PyResult<Vec<u16>> {
        self.set.values().map_err(os_error)
    }

    fn set_value(&self, index: u16, value: u16) -> PyResult<()> {
        self.set.set_value(index, value).map_err(os_error)
    }

    /// All steps at once or none: each is an index, a change (0 waits for zero), and whether the kernel undoes it when this process ends.
    fn operate(&self, py: Python<'_>, steps: Vec<(u16, i32, bool)>, timeout: Option<f64>) -> PyResult<bool> {
        let context = Context::new("semtimedop", format!("set #{}", self.set.id()));
        let step = |(index, change, undone): (u16, i32, bool)| {
            let units = u16::try_from(change.unsigned_abs())
                .ok()
                .filter(|units| *units <= VALUE_MAX)?;
            let operation = match change {
                0 => Operation::zero(index),
                1.. => Operation::add(index, units),
                _ => Operation::take(index, units),
            };
            Some(if undone { operation.undone() } else { operation })
        };
        let steps: Option<Vec<Operation>> = steps.into_iter().map(step).collect();
        let Some(steps) = steps else {
            let reason = format!("a change is at most {VALUE_MAX}");
            return Err(refuse(&context, &reason, None));
        };
        let end = deadline(timeout)?;
        let done = in_slices(py, end, |end| self.set.operate(&steps, end))?;
        Ok(done.is_some())
    }

    fn remove(&self) -> PyResult<()> {
        self.set.remove().map_err(os_error)
    }
}

/// A message queue.
#[pyclass(frozen, module = "shmeld._native")]
pub struct SysvMessageQueue {
    queue: Queue,
}

#[pymethods]
impl SysvMessageQueue {
    #[new]
    #[pyo3(signature = (key, id, *, mode, create, exclusive))]
    fn new(key: Option<u32>, id: Option<i32>, mode: u32, create: bool, exclusive: bool) -> PyResult<Self> {
        let queue = match found(key, id, create, exclusive)? {
            Found::Id(id) => Ok(Queue::from_id(id)),
            Found::Make(key) => Queue::open_or_create(key, mode),
            Found::MakeNew(key) => Queue::create_new(key, mode),
            Found::Open(key) => Queue::open(key),
        };
        Ok(Self {
            queue: queue.map_err(os_error)?,
        })
    }

    #[getter]
    fn id(&self) -> i32 {
        self.queue.id()
    }

    /// The owner, how many messages wait, how many bytes they may have together.
    fn stat(&self) -> PyResult<(Owner, u64, u64)> {
        let stat = self.queue.stat().map_err(os_error)?;
        Ok((owner(&stat.permissions), stat.messages, stat.bytes_max))
    }

    fn send(&self, py: Python<'_>, message: &[u8], kind: i64, timeout: Option<f64>) -> PyResult<()> {
        let context = Context::new("msgsnd", format!("queue #{}", self.queue.id()));
        let end = deadline(timeout)?;
        in_slices(py, end, |end| self.queue.send(kind, message, end))?
            .ok_or_else(|| timed_out(&context, "the queue stayed full"))
    }

    /// The oldest message (kind 0), of a type (above), or of the lowest type up to a number (below).
    fn receive<'py>(
        &self,
        py: Python<'py>,
        kind: i64,
        timeout: Option<f64>,
    ) -> PyResult<(Bound<'py, PyBytes>, i64)> {
        let context = Context::new("msgrcv", format!("queue #{}", self.queue.id()));
        let which = match kind {
            0 => Which::Oldest,
            1.. => Which::Type(kind),
            _ => Which::UpTo(kind.saturating_neg()),
        };
        let end = deadline(timeout)?;
        // No message is longer than all together may be.
        let longest = self.queue.stat().map_err(os_error)?.bytes_max;
        let mut buffer = vec![0; usize::try_from(longest).unwrap_or(0)];
        let taken = in_slices(py, end, |end| self.queue.receive(which, &mut buffer, end))?;
        let (length, kind) = taken.ok_or_else(|| timed_out(&context, "no message came"))?;
        Ok((PyBytes::new(py, &buffer[..length]), kind))
    }

    fn remove(&self) -> PyResult<()> {
        self.queue.remove().map_err(os_error)
    }
}
