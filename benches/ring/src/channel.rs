//! What all contestants can do: send a message and receive one, of a size that both sides know.

use std::error::Error;

/// Anything may fail, and then the whole measurement is of no use.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One end of a connection with a direction each way.
pub trait Channel {
    /// Copies a message in and lets the peer see it. Waits if there is no room.
    fn send(&mut self, message: &[u8]) -> Outcome<()>;

    /// Waits for a message and copies it out. `message` is as long as what was sent.
    fn receive(&mut self, message: &mut [u8]) -> Outcome<()>;

    /// Waits for a message and sends it back. For contestants that can do this with one copy less.
    fn bounce(&mut self, message: &mut [u8]) -> Outcome<()> {
        self.receive(message)?;
        self.send(message)
    }
}

/// Which contestant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    /// Two regions of shmeld-core, one for each direction, waited for as the library waits.
    Ring,
    /// A sequence word and a copy in shared memory, nothing else.
    Bare,
    /// Two publish/subscribe services, polled by both sides.
    Iceoryx,
    /// Two pipes.
    Pipes,
    /// A pair of connected unix sockets of type stream.
    Sockets,
}

impl Contestant {
    /// Ours first, then the rivals in the order of the rows.
    pub const ALL: [Self; 5] = [Self::Ring, Self::Bare, Self::Iceoryx, Self::Pipes, Self::Sockets];

    /// The name in tables, rows and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "shmeld ring",
            Self::Bare => "bare atomics",
            Self::Iceoryx => "iceoryx2",
            Self::Pipes => "pipes",
            Self::Sockets => "unix sockets",
        }
    }

    /// The contestant of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|contestant| contestant.name() == name)
    }

    /// Whether its two sides only look and never sleep: of no use on one CPU.
    pub fn only_polls(self) -> bool {
        matches!(self, Self::Bare | Self::Iceoryx)
    }

    /// Whether it lives in memory, so that a peer that died is not noticed by reading.
    pub fn is_memory(self) -> bool {
        matches!(self, Self::Ring | Self::Bare | Self::Iceoryx)
    }

    /// Why it cannot be measured here; `None` if it can.
    pub fn missing(self, cpus: usize) -> Option<&'static str> {
        if self == Self::Iceoryx && cfg!(not(feature = "iceoryx2")) {
            Some("built without the feature iceoryx2")
        } else if self.only_polls() && cpus < 2 {
            Some("two sides that only poll would wait for each other's time slices on one CPU")
        } else {
            None
        }
    }
}
