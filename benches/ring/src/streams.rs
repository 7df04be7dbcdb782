//! Pipes and unix sockets: what one uses without shared memory. The kernel copies in and out.

use std::io::{Read, Write};

use crate::channel::{Channel, Outcome};

/// One end: something to read and something to write.
pub struct StreamEnd<R, W> {
    /// Where messages come from.
    pub incoming: R,
    /// Where they go.
    pub outgoing: W,
}

impl<R: Read, W: Write> Channel for StreamEnd<R, W> {
    fn send(&mut self, message: &[u8]) -> Outcome<()> {
        Ok(self.outgoing.write_all(message)?)
    }

    fn receive(&mut self, message: &mut [u8]) -> Outcome<()> {
        Ok(self.incoming.read_exact(message)?)
    }
}
