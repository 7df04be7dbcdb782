//! Names for descriptors, made up only when there is an error to report.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{Errno, Error, name};

/// The path of a descriptor as the kernel knows it, or its number where /proc is missing.
pub(crate) fn of_descriptor(descriptor: BorrowedFd<'_>) -> String {
    let number = descriptor.as_raw_fd();
    match rustix::fs::readlink(format!("/proc/self/fd/{number}"), Vec::new()) {
        Ok(path) => name::escape(path.as_bytes()),
        Err(_) => format!("descriptor {number}"),
    }
}

/// The path of a name in a directory.
pub(crate) fn of_name(directory: BorrowedFd<'_>, file_name: &[u8]) -> String {
    let mut label = of_descriptor(directory);
    if !matches!(file_name, b"" | b".") {
        if !label.ends_with('/') {
            label.push('/');
        }
        label.push_str(&name::escape(file_name));
    }
    label
}

/// An error of a call on a descriptor.
pub(crate) fn fail_on(operation: &'static str, descriptor: impl AsFd, errno: Errno) -> Error {
    Error::new(operation, of_descriptor(descriptor.as_fd()), errno)
}

/// An error of a call on a name in a directory.
pub(crate) fn fail_at(
    operation: &'static str,
    directory: impl AsFd,
    file_name: &[u8],
    errno: Errno,
) -> Error {
    Error::new(operation, of_name(directory.as_fd(), file_name), errno)
}

/// An error of a call on a path.
pub(crate) fn fail_path(operation: &'static str, path: &Path, errno: Errno) -> Error {
    Error::new(operation, name::escape(path.as_os_str().as_bytes()), errno)
}
