//! A message queue between two processes: `cargo run -p shmeld-os --example queue`. The program starts itself again as the sender.
#![allow(clippy::print_stdout)]

use std::process::{self, Command};
use std::time::{Duration, Instant};
use std::{env, error::Error};

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::{ErrorKind, ObjectName};

const MESSAGES_MAX: usize = 10;
const MESSAGE_BYTES_MAX: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(name) = env::args().nth(1) {
        return send(&ObjectName::new(&name)?);
    }
    let name = ObjectName::new(&format!("/shmeld-example-queue-{}", process::id()))?;
    // Exactly this mode, whatever the umask is: only we may send and receive.
    let queue = MessageQueue::create_new(&name, MESSAGES_MAX, MESSAGE_BYTES_MAX, 0o600)?;
    let received = receive(&queue);
    MessageQueue::unlink(&name)?; // a queue outlives its processes: who made it removes it
    received
}

/// The other process finds the queue by its name.
fn send(name: &ObjectName) -> Result<(), Box<dyn Error>> {
    let queue = MessageQueue::open(name, Access::Send)?;
    queue.send(b"first", 0, None)?;
    queue.send(b"second", 0, None)?;
    queue.send(b"urgent", 9, None)?; // overtakes those of lower priority
    Ok(())
}

fn receive(queue: &MessageQueue) -> Result<(), Box<dyn Error>> {
    let mut sender = Command::new(env::current_exe()?);
    if !sender.arg(queue.name().to_string()).status()?.success() {
        return Err("the sender failed".into());
    }
    // The sender has ended; the kernel keeps what it sent.
    println!("{} messages wait", queue.attributes()?.messages);
    let mut buffer = [0; MESSAGE_BYTES_MAX];
    loop {
        let deadline = Instant::now() + Duration::from_millis(50);
        match queue.receive(&mut buffer, Some(deadline)) {
            Ok((bytes, priority)) => {
                println!("{} ({priority})", String::from_utf8_lossy(&buffer[..bytes]));
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                println!("{error}"); // every error names the call, the object and the reason
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
