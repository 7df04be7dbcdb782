//! The name of a server, and the kernel objects that follow from it.

use std::fmt;
use std::str::FromStr;

use shmeld_core::attach::NAME_PREFIX;
use shmeld_os::ObjectName;
use shmeld_os::name::NameError;

/// The name by which clients find a server: that of its message queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    queue: ObjectName,
    gate: ObjectName,
}

/// What makes the name of a gate of a server's.
const GATE_ENDING: &str = ".gate";
/// A server's name is part of its gate's, which is an object's.
const SERVER_NAME_BYTES_MAX: usize = 188;
const _: () = assert!(NAME_PREFIX.len() + SERVER_NAME_BYTES_MAX + GATE_ENDING.len() == ObjectName::BYTES_MAX);

impl ServerName {
    /// The name used when none is given.
    pub const DEFAULT: &str = "/shmeld";

    /// Checks a name: one leading `/` or none, no other, no control characters, neither `.` nor `..`, at most 188 bytes.
    ///
    /// # Errors
    /// Says what is wrong with the name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let too_long = |error| match error {
            NameError::TooLong { .. } => NameError::TooLong {
                bytes_max: SERVER_NAME_BYTES_MAX,
            },
            error => error,
        };
        let queue = ObjectName::new(name).map_err(too_long)?;
        let gate =
            ObjectName::new(&format!("{NAME_PREFIX}{}{GATE_ENDING}", queue.as_str())).map_err(too_long)?;
        Ok(Self { queue, gate })
    }

    /// The name of the message queue.
    #[must_use]
    pub fn queue(&self) -> &ObjectName {
        &self.queue
    }

    /// The name of the empty shared memory object whose lock says who owns the queue.
    #[must_use]
    pub fn gate(&self) -> &ObjectName {
        &self.gate
    }

    /// The server's name in the name of a gate; `None` if that is no gate.
    pub(crate) fn from_gate(gate: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(gate).ok()?;
        Self::new(text.strip_prefix(NAME_PREFIX)?.strip_suffix(GATE_ENDING)?).ok()
    }
}

impl Default for ServerName {
    fn default() -> Self {
        Self::new(Self::DEFAULT).unwrap_or_else(|_| unreachable!("the default name is sound"))
    }
}

impl FromStr for ServerName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.queue.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_leads_back_to_its_server() {
        let name = ServerName::new("/frames").unwrap();
        assert_eq!(name.gate().to_string(), "/shmeld.frames.gate");
        assert_eq!(ServerName::from_gate(name.gate().as_str().as_bytes()), Some(name));
    }

    #[test]
    fn names_that_no_kernel_object_can_have_are_refused() {
        let long = "x".repeat(SERVER_NAME_BYTES_MAX + 1);
        assert!(ServerName::new(&long[1..]).is_ok());
        let told = ServerName::new(&long).unwrap_err().to_string();
        assert_eq!(told, "the name has at most 188 bytes");
        for name in ["", "/", ".", "..", "/..", "a/b", "//a", "a\nb", "a\0b", &long] {
            assert!(ServerName::new(name).is_err(), "{name:?}");
        }
    }
}
