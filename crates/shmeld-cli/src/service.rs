//! What a service manager hears: that the server serves, and that it is about to end. The protocol of sd_notify: one datagram a message, to
//! the socket that `NOTIFY_SOCKET` names. Without that variable there is no socket at all.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use shmeld::os::Errno;

use crate::program::{Program, refused};

/// How long a manager that does not read may hold us up.
const SEND_TIME_MAX: Duration = Duration::from_secs(5);

/// The manager that has started this process, if there is one.
#[derive(Debug, Default)]
pub struct Service(Option<UnixDatagram>);

impl Service {
    /// Connects to the manager's socket. To be called before a confinement, which knows no new sockets. A program that cannot tell its manager
    /// says so and serves nevertheless; the manager will complain in its own time.
    #[must_use]
    pub fn connect(program: &Program) -> Self {
        Self::from_environment().unwrap_or_else(|error| {
            let error = refused("connect", "NOTIFY_SOCKET", &error);
            program.complain(&error.to_string(), error.hint().as_deref());
            Self::default()
        })
    }

    fn from_environment() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address(&name)?)?;
        socket.set_write_timeout(Some(SEND_TIME_MAX))?;
        Ok(Self(Some(socket)))
    }

    /// Clients can connect now. `status` is one line for people, free of control characters.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}"));
    }

    /// No new clients from here on; those at work may finish.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some(socket) = &self.0 {
            // A manager that is gone does not wait for us either.
            let _ = socket.send(message.as_bytes());
        }
    }
}

/// A path, or behind `@` a name in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        [b'@', abstract_name @ ..] => SocketAddr::from_abstract_name(abstract_name),
        _ => Err(Errno::OPNOTSUPP.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        let path = address("/run/notify".as_ref()).expect("a path");
        assert_eq!(path.as_pathname(), Some("/run/notify".as_ref()));
        let name = address("@shmeld".as_ref()).expect("a name");
        assert_eq!(name.as_abstract_name(), Some(&b"shmeld"[..]));
        assert!(address("vsock:2:1".as_ref()).is_err());
        assert!(address("/x".repeat(200).as_str().as_ref()).is_err());
    }
}
