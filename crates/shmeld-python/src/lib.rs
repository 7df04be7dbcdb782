//! The compiled half of the Python package `shmeld`: objects of the kernel and sessions as classes. What users import is in `python/shmeld`,
//! which gives them their signatures, their documentation and the shape that Python people expect.
//!
//! Floor 4. No `unsafe`: shared memory never becomes a Python object, its bytes are copied by the floors below.
#![forbid(unsafe_code)]

mod errors;
mod guard;
mod ipc;
mod posix;
mod provider;
mod requester;
mod server;
mod session;
mod sysv;
mod waiting;

use pyo3::prelude::*;

/// Not for users: see the package `shmeld`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<session::Session>()?;
    module.add_class::<session::Outputs>()?;
    module.add_class::<server::Server>()?;
    module.add_class::<posix::PosixSharedMemory>()?;
    module.add_class::<posix::PosixSemaphore>()?;
    module.add_class::<posix::PosixMessageQueue>()?;
    module.add_class::<sysv::SysvSharedMemory>()?;
    module.add_class::<sysv::SysvSemaphoreSet>()?;
    module.add_class::<sysv::SysvMessageQueue>()?;
    module.add_class::<requester::ImageRequester>()?;
    module.add_class::<provider::ImageProvider>()?;
    module.add_function(wrap_pyfunction!(ipc::catalogue, module)?)?;
    module.add_function(wrap_pyfunction!(sysv::ftok, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::leave, module)?)?;
    module.add_function(wrap_pyfunction!(server::install_sigbus_guard, module)?)?;
    Ok(())
}
