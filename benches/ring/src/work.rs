//! What is measured: an echo, and bytes in one direction. The same for every contestant.

use std::hint::black_box;
use std::time::Instant;

use crate::channel::{Channel, Contestant, Outcome};

/// How many bytes go one way before the clock starts.
const WARM_UP_BYTES: usize = 64 << 20;

/// The kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message there and the same one back.
    Echo,
    /// Messages one way; the receiver copies every byte out.
    OneWay,
}

/// One measurement's work, known to both sides.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Echo or one way.
    pub kind: Kind,
    /// Size of a message.
    pub bytes: usize,
    /// Messages before the clock starts.
    pub warm_up: usize,
    /// Messages while it runs.
    pub count: usize,
}

impl Work {
    /// So many round trips that they take some hundredths of a second.
    pub fn echo(contestant: Contestant, bytes: usize) -> Self {
        let count = match (contestant.is_memory(), bytes) {
            (true, ..4096) => 100_000,
            (false, ..4096) => 4_000,
            (true, _) => 4_000,
            (false, _) => 1_500,
        };
        Self {
            kind: Kind::Echo,
            bytes,
            warm_up: count / 10,
            count,
        }
    }

    /// `total` bytes in messages of `bytes`.
    pub fn one_way(bytes: usize, total: usize) -> Self {
        Self {
            kind: Kind::OneWay,
            bytes,
            warm_up: WARM_UP_BYTES.min(total) / bytes,
            count: total / bytes,
        }
    }

    /// The measuring side: seconds for a round trip, or for all messages one way.
    pub fn ping(self, channel: &mut impl Channel) -> Outcome<f64> {
        let mut message: Vec<u8> = (0..self.bytes).map(|at| at as u8).collect();
        let mut reply = vec![0; self.bytes];
        match self.kind {
            Kind::Echo => {
                self.round_trips(channel, self.warm_up, &mut message, &mut reply)?;
                let start = Instant::now();
                self.round_trips(channel, self.count, &mut message, &mut reply)?;
                Ok(start.elapsed().as_secs_f64() / self.count as f64)
            }
            Kind::OneWay => {
                let mut run = |count: usize| {
                    for number in 0..count {
                        message[..8].copy_from_slice(&number.to_le_bytes());
                        channel.send(&message)?;
                    }
                    // One message back says that all have been copied out.
                    channel.receive(&mut reply)?;
                    check(&message, &reply)
                };
                run(self.warm_up)?;
                let start = Instant::now();
                run(self.count)?;
                Ok(start.elapsed().as_secs_f64())
            }
        }
    }

    fn round_trips(
        self,
        channel: &mut impl Channel,
        count: usize,
        message: &mut [u8],
        reply: &mut [u8],
    ) -> Outcome<()> {
        for number in 0..count {
            message[..8].copy_from_slice(&number.to_le_bytes());
            channel.send(black_box(message))?;
            channel.receive(black_box(reply))?;
            // Eight bytes of each message are looked at, so that a reply that is late or old is noticed.
            if message[..8] != reply[..8] {
                return Err(format!("the reply to message {number} is another one").into());
            }
        }
        check(message, reply)
    }

    /// The answering side.
    pub fn pong(self, channel: &mut impl Channel) -> Outcome<()> {
        let mut message = vec![0; self.bytes];
        for count in [self.warm_up, self.count] {
            for _ in 0..count {
                match self.kind {
                    Kind::Echo => channel.bounce(black_box(&mut message))?,
                    Kind::OneWay => channel.receive(black_box(&mut message))?,
                }
            }
            if self.kind == Kind::OneWay {
                channel.send(&message)?;
            }
        }
        Ok(())
    }
}

fn check(message: &[u8], reply: &[u8]) -> Outcome<()> {
    if message == reply {
        Ok(())
    } else {
        Err("what came back is not what was sent".into())
    }
}
