//! A ring of slots between two processes that need not trust each other: `cargo run -p shmeld-core --example ring`. The program starts itself
//! again as the producer, which is never asked whether it lives: its lease says so.
#![allow(clippy::print_stdout)]

use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, error::Error, thread};

use shmeld_core::attach::{Candidate, Offer, RegionId};
use shmeld_core::layout::Header;
use shmeld_core::ring::{Consumer, Producer};
use shmeld_core::wait::{SLICE, Waited};
use shmeld_os::ObjectName;

const MESSAGES: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    shmeld_os::sigbus::install()?; // whoever cuts the object off is found out, and ends no process
    match env::args().nth(1) {
        Some(name) => produce(&ObjectName::new(&name)?),
        None => consume(),
    }
}

/// The consumer makes the region: whole, leased, and only then under a name.
fn consume() -> Result<(), Box<dyn Error>> {
    let mut offer = Offer::publish(1 << 20)?;
    let geometry = *offer.region().geometry();
    println!(
        "a ring of {} slots of {} bytes each",
        geometry.slot_count(),
        geometry.slot_bytes()
    );
    let mut producer = Command::new(env::current_exe()?)
        .arg(offer.id().name().to_string())
        .spawn()?;
    let attached = wait_for_producer(&offer);
    offer.remove_name(); // from here on nothing is left behind, whoever dies
    let outcome = attached.and_then(|()| read_all(&offer));
    let ended = producer.wait()?;
    outcome?;
    if ended.success() {
        return Ok(());
    }
    Err("the producer failed".into())
}

fn wait_for_producer(offer: &Offer) -> Result<(), Box<dyn Error>> {
    let end = Instant::now() + Duration::from_secs(10);
    while !offer.server_leased()? {
        if Instant::now() > end {
            return Err("nobody has attached the region within 10 s".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn read_all(offer: &Offer) -> Result<(), Box<dyn Error>> {
    let region = offer.region();
    let mut consumer = Consumer::new(region.geometry().slot_count());
    let mut messages = 0;
    loop {
        // First the lease, then the ring: what was published before a death is valid.
        let producer_lives = offer.server_leased()?;
        while consumer.is_filled(region)? {
            let mut number = [0; 8];
            region.slot(consumer.index()).read(0, &mut number); // once, into our own memory: it may change at any moment
            consumer.release(region)?;
            if u64::from_le_bytes(number) != messages {
                return Err(format!("message {messages} has another number").into());
            }
            messages += 1;
        }
        if !producer_lives {
            println!("{messages} messages came, each in its turn");
            println!("the other process is dead and nothing is left to read");
            return Ok(());
        }
        // At most for a slice: then the lease is looked at again.
        consumer.wait_filled(region, Instant::now() + SLICE, || false)?;
    }
}

/// The other process finds the region by its name, and believes nothing in it before it has been checked.
fn produce(name: &ObjectName) -> Result<(), Box<dyn Error>> {
    let id = RegionId::from_name(name.as_str().as_bytes()).ok_or("that is no region's name")?;
    let candidate = Candidate::open(id)?;
    let header = Header::check(&candidate.raw_header()?, candidate.stat().bytes)?;
    let attached = candidate
        .attach(header.geometry)
        .map_err(|refused| refused.error)?;
    let region = attached.region();
    let mut producer = Producer::new(header.geometry.slot_count());
    for number in 0..MESSAGES {
        while !producer.is_free(region)? {
            let waited = producer.wait_free(region, Instant::now() + SLICE)?;
            if waited != Waited::Ready && !attached.client_leased()? {
                return Err("the consumer has died".into());
            }
        }
        region.slot(producer.index()).write(0, &u64::to_le_bytes(number));
        producer.publish(region)?;
    }
    Ok(()) // and the lease goes with the process
}
