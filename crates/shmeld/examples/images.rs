//! Images from one process to another, asked for by name: `cargo run -p shmeld --example images`. The program starts itself again as the
//! provider, which paints what it is asked for.
#![allow(clippy::print_stdout)]

use std::process::{self, Command};
use std::time::Duration;
use std::{env, error::Error};

use shmeld::file::Interrupt;
use shmeld::image::{
    ChannelName, Geometry, ImageError, Provider, ProviderOptions, Requester, RequesterOptions,
};

const LIMIT: Option<Duration> = Some(Duration::from_secs(10));
const NAMES: [&str; 3] = ["black", "white", "plaid"];

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(channel) = env::args().nth(1) {
        return provide(&ChannelName::new(&channel)?);
    }
    let channel = ChannelName::new(&format!("shmeld-example-images-{}", process::id()))?;
    // The requester owns the channel: two segments of shared memory and two semaphores. They go with it.
    let mut requester = Requester::create(&channel, RequesterOptions::default())?;
    let mut provider = Command::new(env::current_exe()?)
        .arg(channel.to_string())
        .spawn()?;
    let requested = request(&mut requester);
    if requested.is_err() {
        let _ = provider.kill(); // it may wait for requests that never come
    }
    provider.wait()?;
    requested
}

fn request(requester: &mut Requester) -> Result<(), Box<dyn Error>> {
    let mut pixels = Vec::new(); // its memory is used again for each image
    for name in NAMES {
        match requester.request(name.as_bytes(), &mut pixels, LIMIT, &Interrupt::default()) {
            Ok(shape) => {
                let sum: u64 = pixels.iter().map(|&byte| u64::from(byte)).sum();
                let mean = sum / shape.bytes();
                println!(
                    "{name}: {} by {} pixels, mean {mean}",
                    shape.width(),
                    shape.height()
                );
            }
            Err(shmeld::Error::Image(ImageError::Refused { text })) => println!("{name}: {text}"),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Answers as many requests as will come.
fn provide(channel: &ChannelName) -> Result<(), Box<dyn Error>> {
    let interrupt = Interrupt::default();
    let mut provider = Provider::open(channel, ProviderOptions::default(), LIMIT, &interrupt)?;
    for _ in NAMES {
        provider.serve_next(&mut paint, LIMIT, &interrupt)?;
    }
    Ok(())
}

/// An image of one colour; what is said instead reaches the requester.
fn paint(name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
    let level = match name {
        b"black" => 0,
        b"white" => 255,
        _ => return Err("I paint only black and white".to_owned()),
    };
    let shape = Geometry::new(640, 480, 3).map_err(|error| error.to_string())?;
    pixels.clear();
    pixels.resize(640 * 480 * 3, level);
    Ok(shape)
}
