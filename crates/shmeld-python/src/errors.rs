//! Errors of the library as exceptions of `shmeld.errors`: which class, and its operation, object, reason, cure and exit code.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use shmeld::file::{Refusal, Status};
use shmeld::image::ImageError;
use shmeld::os::error::{errno_name, errno_text};
use shmeld::os::{self, ErrorKind};

/// What was done to what, as people call it, for errors that do not say it themselves.
#[derive(Debug, Clone)]
pub struct Context {
    operation: String,
    object: String,
}

impl Context {
    pub fn new(operation: &str, object: impl Into<String>) -> Self {
        Self {
            operation: operation.to_owned(),
            object: object.into(),
        }
    }
}

/// An exception before it is one.
struct Draft<'a> {
    class: &'static str,
    operation: &'a str,
    object: &'a str,
    reason: String,
    hint: Option<String>,
    exit_code: u8,
    errno: Option<i32>,
}

impl Draft<'_> {
    fn exception(&self) -> PyErr {
        Python::attach(|py| self.build(py).unwrap_or_else(|error| error))
    }

    fn build(&self, py: Python<'_>) -> PyResult<PyErr> {
        let class = py.import("shmeld.errors")?.getattr(self.class)?;
        let details = PyDict::new(py);
        details.set_item("operation", self.operation)?;
        details.set_item("object", self.object)?;
        details.set_item("reason", &self.reason)?;
        details.set_item("hint", &self.hint)?;
        details.set_item("exit_code", self.exit_code)?;
        details.set_item("errno", self.errno)?;
        Ok(PyErr::from_value(class.call((), Some(&details))?))
    }
}

/// What the kernel refused.
pub fn os_error(error: os::Error) -> PyErr {
    from_os(&error, 3)
}

fn from_os(error: &os::Error, exit_code: u8) -> PyErr {
    let errno = error.errno();
    Draft {
        class: class_of(error.kind()),
        operation: error.operation(),
        object: error.object(),
        reason: format!("{} ({})", errno_text(errno), errno_name(errno)),
        hint: error.hint(),
        exit_code,
        errno: Some(errno.raw_os_error()),
    }
    .exception()
}

fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "NotFound",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::PermissionDenied => "PermissionDenied",
        ErrorKind::TimedOut => "TimedOut",
        ErrorKind::WouldBlock => "WouldBlock",
        ErrorKind::NoSpace | ErrorKind::Limit => "LimitReached",
        ErrorKind::Invalid => "Invalid",
        ErrorKind::Gone => "Gone",
        _ => "KernelError",
    }
}

/// Any error of the library.
pub fn raise(error: &shmeld::Error, context: &Context) -> PyErr {
    use shmeld::Error as E;
    let class = match error {
        E::Os(error) => return from_os(error, 3),
        E::NoServer { .. } | E::Elsewhere { .. } => "NoServer",
        E::AlreadyRunning { .. } => "AlreadyRunning",
        E::ForeignOwner { .. } => "PermissionDenied",
        E::Refused { .. } => "Refused",
        E::Ended { .. } | E::ServerDied { .. } => "PeerDied",
        E::Silent { .. } | E::NotDraining { .. } => "PeerSilent",
        E::Peer(_) | E::Digest => "PeerBrokeProtocol",
        E::Usage(_) => "Invalid",
        E::Image(error) => class_of_image(error),
        _ => "Error",
    };
    // Most say "object: reason"; what they begin with is the object.
    let text = error.to_string();
    let (object, reason) = match text.split_once(": ") {
        Some((object, reason)) if !matches!(error, E::Peer(_) | E::Usage(_)) => (object, reason),
        _ => (context.object.as_str(), text.as_str()),
    };
    Draft {
        class,
        operation: &context.operation,
        object,
        reason: reason.to_owned(),
        hint: error.hint(),
        exit_code: error.exit_code(),
        errno: None,
    }
    .exception()
}

fn class_of_image(error: &ImageError) -> &'static str {
    match error {
        ImageError::InUse { .. } => "AlreadyRunning",
        ImageError::Foreign { .. } => "PermissionDenied",
        ImageError::NoProvider { .. } => "NoProvider",
        ImageError::NoRequest { .. } => "TimedOut",
        ImageError::Silent { .. } => "PeerSilent",
        ImageError::ProviderDied { .. } => "PeerDied",
        ImageError::Refused { .. } => "NoImage",
        ImageError::Name { .. } | ImageError::Unwanted { .. } => "Invalid",
        ImageError::Broken { .. } => "PeerBrokeProtocol",
        ImageError::NoMemory { .. } => "LimitReached",
        _ => "Error",
    }
}

/// What a server does not deliver.
pub fn refusal(name: &str, refusal: &Refusal) -> PyErr {
    Draft {
        class: match refusal.status {
            Status::Fnf => "NotFound",
            Status::Denied => "PermissionDenied",
            Status::Changed => "Changed",
            _ => "NotDelivered",
        },
        operation: "get",
        object: name,
        reason: refusal.to_string(),
        hint: None,
        exit_code: 1,
        errno: match refusal.status {
            Status::Fnf => Some(os::Errno::NOENT.raw_os_error()),
            Status::Denied => Some(os::Errno::ACCESS.raw_os_error()),
            _ => None,
        },
    }
    .exception()
}

/// Something arrived and could not be stored.
pub fn not_stored(name: &str, error: &shmeld::Error) -> PyErr {
    match error {
        shmeld::Error::Os(error) => from_os(error, 1),
        other => raise(other, &Context::new("get", name)),
    }
}

/// What this package refuses by itself.
pub fn refuse(context: &Context, reason: &str, hint: Option<&str>) -> PyErr {
    Draft {
        class: "Invalid",
        operation: &context.operation,
        object: &context.object,
        reason: reason.to_owned(),
        hint: hint.map(str::to_owned),
        exit_code: 2,
        errno: None,
    }
    .exception()
}

/// The time is over.
pub fn timed_out(context: &Context, reason: &str) -> PyErr {
    Draft {
        class: "TimedOut",
        operation: &context.operation,
        object: &context.object,
        reason: reason.to_owned(),
        hint: None,
        exit_code: 3,
        errno: Some(os::Errno::TIMEDOUT.raw_os_error()),
    }
    .exception()
}

/// A lock whose holder panicked, which is a bug of ours.
pub fn broken_lock() -> PyErr {
    PyRuntimeError::new_err("shmeld: a panic left this object unusable")
}
