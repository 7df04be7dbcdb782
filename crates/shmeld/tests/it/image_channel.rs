//! A channel of images as a library: late answers, forked numbers of requests, and memory that is used again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld::file::Interrupt;
use shmeld::image::{
    ChannelName, Geometry, ImageError, Provider, ProviderOptions, Requester, RequesterOptions,
};
use shmeld::os::posix::kernel_semaphore::KernelSemaphore;
use shmeld::os::posix::shm::SharedMemory;
use shmeld::{Error, Result};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
const SHORT: Option<Duration> = Some(Duration::from_millis(100));

fn channel() -> ChannelName {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    ChannelName::new(&format!("shmeld-lib-{}-{number}", std::process::id())).unwrap()
}

/// Every pixel is the first byte of the name; `slow` takes its time.
fn load(name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
    if name == b"slow" {
        std::thread::sleep(Duration::from_millis(400));
    }
    pixels.clear();
    pixels.resize(64 * name.len(), name[0]);
    Geometry::new(64, name.len() as u64, 1).map_err(|error| error.to_string())
}

/// A provider in a thread, until it has answered so often.
fn provide(channel: &ChannelName, answers: usize) -> JoinHandle<Result<()>> {
    let channel = channel.clone();
    std::thread::spawn(move || {
        let interrupt = Interrupt::default();
        let mut provider = Provider::open(&channel, ProviderOptions::default(), LIMIT, &interrupt)?;
        for _ in 0..answers {
            provider.serve_next(&mut load, LIMIT, &interrupt)?;
        }
        Ok(())
    })
}

fn ask(requester: &mut Requester, name: &str, timeout: Option<Duration>) -> Result<Vec<u8>> {
    let mut pixels = Vec::new();
    let geometry = requester.request(name.as_bytes(), &mut pixels, timeout, &Interrupt::default())?;
    assert_eq!(geometry.bytes(), pixels.len() as u64);
    Ok(pixels)
}

/// The answer to a request that was given up came under the next name: the layout has no number that would tell them apart.
#[test]
fn late_answer_never_comes_under_the_next_name() {
    let channel = channel();
    let mut requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    let provider = provide(&channel, 3);
    assert_eq!(ask(&mut requester, "first", LIMIT).unwrap(), vec![b'f'; 320]);
    let late = ask(&mut requester, "slow", SHORT).unwrap_err();
    assert!(matches!(late, Error::Image(ImageError::Silent { .. })), "{late}");
    assert_eq!(ask(&mut requester, "next", LIMIT).unwrap(), vec![b'n'; 256]);
    assert_eq!(ask(&mut requester, "other", LIMIT).unwrap(), vec![b'o'; 320]);
    provider.join().unwrap().unwrap();
}

/// The same with a peer that holds on to what it has opened and posts whatever comes.
#[test]
fn stubborn_peer_answers_into_the_void() {
    let channel = channel();
    let mut requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    let request = KernelSemaphore::open(channel.request()).unwrap();
    let answer = KernelSemaphore::open(channel.answer()).unwrap();
    let open = |name| SharedMemory::open(name, true).unwrap();
    let (head, data) = (open(channel.head()), open(channel.data()));
    let stubborn = std::thread::spawn(move || {
        assert_eq!(
            request.take_until(Instant::now() + Duration::from_secs(20), Duration::ZERO),
            Ok(true)
        );
        std::thread::sleep(Duration::from_millis(300));
        let numbers: Vec<u8> = [4u64, 2, 2, 1]
            .iter()
            .flat_map(|number| number.to_ne_bytes())
            .collect();
        data.write_at(b"late", 0).unwrap();
        head.write_at(&numbers, 0).unwrap();
        answer.post().unwrap();
    });
    assert!(ask(&mut requester, "a", SHORT).is_err());
    let provider = provide(&channel, 1);
    // While this one is under way, the late answer comes.
    assert_eq!(ask(&mut requester, "slow", LIMIT).unwrap(), vec![b's'; 256]);
    stubborn.join().unwrap();
    provider.join().unwrap().unwrap();
}

/// An answer that is there before anybody asked would be taken for that of the next request.
#[test]
fn answer_to_nothing_is_not_taken_for_one() {
    let channel = channel();
    let mut requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    KernelSemaphore::open(channel.answer()).unwrap().post().unwrap();
    let provider = provide(&channel, 1);
    assert_eq!(ask(&mut requester, "x", LIMIT).unwrap(), vec![b'x'; 64]);
    provider.join().unwrap().unwrap();
}

#[test]
fn requester_that_is_interrupted_can_ask_again() {
    let channel = channel();
    let mut requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    let wanted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let interrupt = Interrupt::from_flag(wanted.clone());
    let provider = provide(&channel, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            wanted.store(true, Ordering::Relaxed);
        });
        let mut pixels = vec![7; 9];
        let outcome = requester.request(b"slow", &mut pixels, LIMIT, &interrupt);
        assert!(matches!(outcome, Err(Error::Interrupted)));
        assert!(pixels.is_empty());
    });
    assert_eq!(ask(&mut requester, "y", LIMIT).unwrap(), vec![b'y'; 64]);
    provider.join().unwrap().unwrap();
}

#[test]
fn memory_of_the_pixels_is_used_again() {
    let channel = channel();
    let mut requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    let provider = provide(&channel, 3);
    let mut pixels = Vec::new();
    let mut addresses = Vec::new();
    for name in [&b"longest"[..], b"z", b"longer"] {
        requester
            .request(name, &mut pixels, LIMIT, &Interrupt::default())
            .unwrap();
        assert_eq!(pixels, vec![name[0]; 64 * name.len()]);
        addresses.push(pixels.as_ptr());
    }
    assert!(addresses.iter().all(|address| *address == addresses[0]));
    provider.join().unwrap().unwrap();
}

#[test]
fn channel_of_a_living_requester_is_not_replaced_and_is_gone_with_it() {
    let channel = channel();
    let requester = Requester::create(&channel, RequesterOptions::default()).unwrap();
    let second = Requester::create(&channel, RequesterOptions::default()).unwrap_err();
    assert!(
        matches!(second, Error::Image(ImageError::InUse { .. })),
        "{second}"
    );
    drop(requester);
    for name in channel.objects() {
        assert!(SharedMemory::stat_name(name).is_err(), "{name} is left");
    }
}
