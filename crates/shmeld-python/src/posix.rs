//! POSIX objects: shared memory, named semaphores, message queues.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use shmeld::os::ObjectName;
use shmeld::os::name::escape;
use shmeld::os::posix::mqueue::{Access, MessageQueue as Queue};
use shmeld::os::posix::semaphore::NamedSemaphore;
use shmeld::os::posix::shm::SharedMemory as Memory;

use crate::errors::{Context, os_error, refuse, timed_out};
use crate::guard::Guarded;
use crate::waiting::{Ear, deadline, in_slices};

/// Checks the name of an object.
fn object_name(name: &str) -> PyResult<ObjectName> {
    let context = Context::new("name", escape(name.as_bytes()));
    ObjectName::new(name).map_err(|error| refuse(&context, &error.to_string(), None))
}

/// An open shared memory object.
#[pyclass(frozen, module = "shmeld._native")]
pub struct PosixSharedMemory {
    memory: Guarded<Memory>,
    name: ObjectName,
}

#[pymethods]
impl PosixSharedMemory {
    /// Makes an object that did not exist: it gets its name when it has its size, its memory and its mode.
    #[staticmethod]
    fn create(py: Python<'_>, name: &str, bytes: u64, mode: u32) -> PyResult<Self> {
        let name = object_name(name)?;
        let (ear, wanted) = Ear::go_on();
        let made = py.detach(|| {
            let memory = Memory::create_unnamed()?;
            memory.grow(bytes, wanted)?;
            memory.set_mode(mode)?;
            memory.publish(&name)?;
            Ok(memory)
        });
        let memory = Guarded::new(made.map_err(|error| ear.os_exception(error))?);
        Ok(Self { memory, name })
    }

    #[staticmethod]
    fn open(name: &str, writable: bool) -> PyResult<Self> {
        let name = object_name(name)?;
        let memory = Guarded::new(Memory::open(&name, writable).map_err(os_error)?);
        Ok(Self { memory, name })
    }

    #[staticmethod]
    fn unlink(name: &str) -> PyResult<()> {
        let name = object_name(name)?;
        Memory::unlink(&name).map_err(os_error)
    }

    #[getter]
    fn name(&self) -> String {
        self.name.to_string()
    }

    /// uid, gid, mode, bytes, names.
    fn stat(&self) -> PyResult<(u32, u32, u32, u64, u64)> {
        let stat = self.memory.get()?.stat().map_err(os_error)?;
        Ok((stat.uid, stat.gid, stat.mode, stat.bytes, stat.links))
    }

    /// At most `bytes` bytes from `offset`; fewer at the end.
    fn read<'py>(&self, py: Python<'py>, offset: u64, bytes: usize) -> PyResult<Bound<'py, PyBytes>> {
        let memory = self.memory.get()?;
        let size = memory.stat().map_err(os_error)?.bytes;
        let there = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        // Whoever may write it may also say that it has exabytes: where there is no room for them, that is a MemoryError.
        let mut count = 0;
        let read = PyBytes::new_with(py, bytes.min(there), |buffer| {
            let outcome = py.detach(|| read_all(memory, buffer, offset));
            count = outcome.map_err(os_error)?;
            Ok(())
        })?;
        if count == read.as_bytes().len() {
            return Ok(read);
        }
        Ok(PyBytes::new(py, &read.as_bytes()[..count]))
    }

    /// Writes all of `data`, which must fit: nothing grows by it.
    fn write(&self, py: Python<'_>, offset: u64, data: &[u8]) -> PyResult<()> {
        let memory = self.memory.get()?;
        let size = memory.stat().map_err(os_error)?.bytes;
        let end = offset.checked_add(data.len() as u64);
        if end.is_none_or(|end| end > size) {
            let reason = format!("{} bytes at {offset} do not fit in {size}", data.len());
            let context = Context::new("write", self.name.to_string());
            return Err(refuse(&context, &reason, Some("grow() makes it longer")));
        }
        py.detach(|| write_all(memory, data, offset)).map_err(os_error)
    }

    /// Makes it longer, with memory behind what is new.
    fn grow(&self, py: Python<'_>, bytes: u64) -> PyResult<()> {
        let memory = self.memory.get()?;
        let (ear, wanted) = Ear::go_on();
        py.detach(|| memory.grow(bytes, wanted))
            .map_err(|error| ear.os_exception(error))
    }
}

fn read_all(memory: &Memory, buffer: &mut [u8], offset: u64) -> shmeld::os::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match memory.read_at(&mut buffer[done..], offset + done as u64)? {
            // Somebody made it shorter meanwhile.
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn write_all(memory: &Memory, data: &[u8], offset: u64) -> shmeld::os::Result<()> {
    let mut done = 0;
    while done < data.len() {
        done += memory.write_at(&data[done..], offset + done as u64)?;
    }
    Ok(())
}

/// An open named semaphore.
#[pyclass(frozen, module = "shmeld._native")]
pub struct PosixSemaphore {
    semaphore: Guarded<NamedSemaphore>,
    name: ObjectName,
}

#[pymethods]
impl PosixSemaphore {
    #[staticmethod]
    fn create(name: &str, value: u32, mode: u32) -> PyResult<Self> {
        let name = object_name(name)?;
        let semaphore = NamedSemaphore::create_new(&name, mode, value);
        let semaphore = Guarded::new(semaphore.map_err(os_error)?);
        Ok(Self { semaphore, name })
    }

    #[staticmethod]
    fn open(name: &str) -> PyResult<Self> {
        let name = object_name(name)?;
        let semaphore = Guarded::new(NamedSemaphore::open(&name).map_err(os_error)?);
        Ok(Self { semaphore, name })
    }

    #[staticmethod]
    fn unlink(name: &str) -> PyResult<()> {
        let name = object_name(name)?;
        NamedSemaphore::unlink(&name).map_err(os_error)
    }

    #[getter]
    fn name(&self) -> String {
        self.name.to_string()
    }

    /// Takes one unit: `False` if none came in time.
    fn acquire(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let semaphore = self.semaphore.get()?;
        let end = deadline(timeout)?;
        let taken = in_slices(py, end, |end| semaphore.wait_until(end))?;
        Ok(taken.is_some())
    }

    /// Adds one unit.
    fn release(&self) -> PyResult<()> {
        self.semaphore.get()?.post().map_err(os_error)
    }

    #[getter]
    fn value(&self) -> PyResult<i32> {
        self.semaphore.get()?.value().map_err(os_error)
    }
}

/// An open message queue.
#[pyclass(frozen, module = "shmeld._native")]
pub struct PosixMessageQueue {
    queue: Guarded<Queue>,
    name: ObjectName,
}

#[pymethods]
impl PosixMessageQueue {
    #[staticmethod]
    fn create(name: &str, messages_max: usize, message_bytes_max: usize, mode: u32) -> PyResult<Self> {
        let name = object_name(name)?;
        let queue = Queue::create_new(&name, messages_max, message_bytes_max, mode);
        let queue = Guarded::new(queue.map_err(os_error)?);
        Ok(Self { queue, name })
    }

    #[staticmethod]
    fn open(name: &str, send: bool, receive: bool) -> PyResult<Self> {
        let name = object_name(name)?;
        let access = match (send, receive) {
            (true, false) => Access::Send,
            (false, true) => Access::Receive,
            _ => Access::Both,
        };
        let queue = Guarded::new(Queue::open(&name, access).map_err(os_error)?);
        Ok(Self { queue, name })
    }

    #[staticmethod]
    fn unlink(name: &str) -> PyResult<()> {
        let name = object_name(name)?;
        Queue::unlink(&name).map_err(os_error)
    }

    #[getter]
    fn name(&self) -> String {
        self.name.to_string()
    }

    /// The most messages, the longest message, how many wait.
    fn attributes(&self) -> PyResult<(usize, usize, usize)> {
        let attributes = self.queue.get()?.attributes().map_err(os_error)?;
        Ok((
            attributes.messages_max,
            attributes.message_bytes_max,
            attributes.messages,
        ))
    }

    fn send(&self, py: Python<'_>, message: &[u8], priority: u32, timeout: Option<f64>) -> PyResult<()> {
        let queue = self.queue.get()?;
        let context = Context::new("mq_timedsend", self.name.to_string());
        let end = deadline(timeout)?;
        in_slices(py, end, |end| queue.send(message, priority, end))?
            .ok_or_else(|| timed_out(&context, "the queue stayed full"))
    }

    fn receive<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<(Bound<'py, PyBytes>, u32)> {
        let queue = self.queue.get()?;
        let context = Context::new("mq_timedreceive", self.name.to_string());
        let end = deadline(timeout)?;
        let longest = self.attributes()?.1;
        let mut buffer = vec![0; longest];
        let taken = in_slices(py, end, |end| queue.receive(&mut buffer, end))?;
        let (length, priority) = taken.ok_or_else(|| timed_out(&context, "no message came"))?;
        Ok((PyBytes::new(py, &buffer[..length]), priority))
    }
}
