//! A lock that says whether a process lives: `cargo run -p shmeld-os --example lease`. The program starts itself again as the holder, and kills it.
#![allow(clippy::print_stdout)]

use std::process::{self, Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, error::Error, io, thread};

use shmeld_os::ObjectName;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(name) = env::args().nth(1) {
        return hold(&ObjectName::new(&name)?);
    }
    let name = ObjectName::new(&format!("/shmeld-example-lease-{}", process::id()))?;
    let object = SharedMemory::create_new(&name, 0o600)?;
    let watched = watch(&object, &name);
    SharedMemory::unlink(&name)?;
    watched
}

/// The other process takes the lease and does nothing more, until it is killed or nobody watches any more.
fn hold(name: &ObjectName) -> Result<(), Box<dyn Error>> {
    let object = SharedMemory::open(name, true)?; // a description of its own: to that the lock belongs
    if !lease::try_take(&object, Range::byte(0), Kind::Write, "the example")? {
        return Err("somebody else holds the lease".into());
    }
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

fn watch(object: &SharedMemory, name: &ObjectName) -> Result<(), Box<dyn Error>> {
    let mut holder = Command::new(env::current_exe()?)
        .arg(name.to_string())
        .stdin(Stdio::piped())
        .spawn()?;
    let watched = watch_die(object, &mut holder);
    let _ = holder.kill(); // also if something failed; it may be dead already
    holder.wait()?;
    watched
}

fn watch_die(object: &SharedMemory, holder: &mut Child) -> Result<(), Box<dyn Error>> {
    wait_for(object, Some(Kind::Write))?;
    println!("the lease is held: its holder lives");
    holder.kill()?; // SIGKILL: it cannot say farewell
    wait_for(object, None)?;
    println!("the lease is free: its holder is dead, although nobody has waited for it yet");
    Ok(())
}

/// Looks at the lease, which changes nothing, until it is held like this; `None` is free.
fn wait_for(object: &SharedMemory, wanted: Option<Kind>) -> Result<(), Box<dyn Error>> {
    let end = Instant::now() + Duration::from_secs(10);
    // A question for a read lock hears of write locks only, and those need the right to write: a reader cannot fake life.
    while lease::probe(object, Range::byte(0), Kind::Read, "the example")? != wanted {
        if Instant::now() > end {
            return Err("the lease did not change within 10 s".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
