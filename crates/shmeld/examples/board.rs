//! A message for several processes: `cargo run -p shmeld --example board`. The program starts itself again as each of its
//! readers.
#![allow(clippy::print_stdout)]

use std::process::{self, Child, Command};
use std::time::Duration;
use std::{env, error::Error};

use shmeld::board::{self, PostOptions, ReadOptions};
use shmeld::os::sysv::Key;

const READERS: u32 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(key) = env::args().nth(1) {
        return read(key.parse()?);
    }
    let key = Key::new(0x5342_0000 | process::id() & 0xffff);
    let mut options = PostOptions::new(key);
    options.readers = Some(READERS);
    options.timeout = Some(Duration::from_secs(30));
    // A segment and five semaphores of System V. They are removed whatever happens from here on.
    let posted = board::post(b"the kettle boils", options)?;
    let start = |_| Command::new(env::current_exe()?).arg(key.to_string()).spawn();
    let mut readers = (0..READERS).map(start).collect::<Result<Vec<Child>, _>>()?;
    let delivery = posted.wait(); // until all have finished, or the time is up; the dead are not waited for
    for reader in &mut readers {
        reader.wait()?;
    }
    println!("{} of {READERS} have read it", delivery?.done);
    Ok(())
}

fn read(key: Key) -> Result<(), Box<dyn Error>> {
    let reading = board::read(ReadOptions::new(key))?;
    println!("{}", String::from_utf8_lossy(reading.message()));
    reading.finish()?; // without this, by a death for example, it counts as arrived and not as done
    Ok(())
}
