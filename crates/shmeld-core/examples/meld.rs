//! Two processes, one memory. In two terminals, in either order: `cargo run -p shmeld-core --example meld a`, and `b` in the other.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};
use std::{env, error::Error, thread};

use shmeld_core::{Shared, field};
use shmeld_os::{ObjectName, posix::shm::SharedMemory};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Meld {
    turn: u32, // 1: A has asked; 2: B has answered
    question: u32,
    answer: u64,
    room: [u8; 1008],
}

fn main() -> Result<(), Box<dyn Error>> {
    shmeld_os::sigbus::install()?; // whoever cuts the object off is found out, and ends no process
    let name = ObjectName::new(&env::args().nth(2).unwrap_or("/shm-demo".to_owned()))?;
    match env::args().nth(1).as_deref() {
        Some("a") => {
            let object = SharedMemory::create_new(&name, 0o600)?; // fails if it is there
            let asked = ask(&object);
            SharedMemory::unlink(&name)?; // exactly one removes the name: who made it
            println!("A: B says {}", asked?);
        }
        Some("b") => println!("B: A asks for the square of {}", answer(&name)?),
        _ => return Err("usage: meld a|b [/NAME]".into()),
    }
    Ok(())
}

fn ask(object: &SharedMemory) -> Result<u64, Box<dyn Error>> {
    object.reserve(size_of::<Meld>() as u64)?;
    let shared = Shared::<Meld>::map(object)?;
    shared.store(field!(Meld, question), 12);
    shared.store(field!(Meld, turn), 1); // last: who sees it also sees the question
    wait_for(|| (shared.load(field!(Meld, turn)) == 2).then_some(()))?;
    Ok(shared.load(field!(Meld, answer)))
}

fn answer(name: &ObjectName) -> Result<u32, Box<dyn Error>> {
    let shared = wait_for(|| {
        let shared = Shared::<Meld>::map(&SharedMemory::open(name, true).ok()?).ok()?;
        (shared.load(field!(Meld, turn)) == 1).then_some(shared)
    })?;
    let question = shared.load(field!(Meld, question));
    shared.store(field!(Meld, answer), u64::from(question).pow(2));
    shared.store(field!(Meld, turn), 2);
    Ok(question)
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Result<T, &'static str> {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if let Some(found) = look() {
            return Ok(found);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err("the other process did not come within 10 s")
}
