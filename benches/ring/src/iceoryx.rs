//! iceoryx2: two publish/subscribe services, one for each direction, polled by both sides, which is how its
//! own latency benchmark uses it. Messages are written into loaned samples; what comes is bounced by one
//! copy from sample to sample.
//!
//! It keeps files in a directory and in /dev/shm. Both get a prefix with our pid, so that whatever a killed
//! run leaves can be told from the files of real applications.

use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, Instant};

use iceoryx2::port::BackpressureAction;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use iceoryx2::service::port_factory::{PortFactory as _, publish_subscribe::PortFactory};

use crate::channel::{Channel, Outcome};
use crate::work::Kind;

const SHARED_MEMORY: &str = "/dev/shm";
const PREFIX: &str = "ring-bench-";
/// How long the two sides look for each other.
const MEETING_MAX: Duration = Duration::from_secs(10);
/// As many as our ring has slots.
const BUFFER_SAMPLES: usize = 4;

type Bytes = PortFactory<ipc::Service, [u8], ()>;

/// One process's end. The fields are dropped in this order: ports, services, node.
pub struct IceoryxEnd {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
    _services: [Bytes; 2],
    _node: Node<ipc::Service>,
}

impl IceoryxEnd {
    /// `owner` is the pid of the measuring process, which both sides know; `is_pong` is the other one.
    pub fn new(owner: u32, is_pong: bool, message_bytes: usize, kind: Kind) -> Outcome<Self> {
        let mut config = Config::default();
        config.global.prefix = FileName::new(prefix(owner).as_bytes())?;
        let root = directory(owner).to_string_lossy().into_owned();
        config.global.set_root_path(&Path::new(root.as_bytes())?);
        let node = NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<ipc::Service>()?;
        let (there, back) = (open(&node, "there", kind)?, open(&node, "back", kind)?);
        let (outgoing, incoming) = if is_pong { (back, there) } else { (there, back) };
        let publisher = outgoing
            .publisher_builder()
            .initial_max_slice_len(message_bytes)
            .max_loaned_samples(2)
            // Not the default, which soon sleeps: the receiver's next look makes room.
            .set_backpressure_handler(|_| {
                std::hint::spin_loop();
                BackpressureAction::Retry
            })
            .create()?;
        let subscriber = incoming.subscriber_builder().create()?;
        let met = Instant::now() + MEETING_MAX;
        for service in [&outgoing, &incoming] {
            let counts = service.dynamic_config();
            while counts.number_of_publishers() == 0 || counts.number_of_subscribers() == 0 {
                if Instant::now() > met {
                    return Err("iceoryx2: the other process did not come".into());
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        publisher.update_connections()?;
        Ok(Self {
            publisher,
            subscriber,
            _services: [outgoing, incoming],
            _node: node,
        })
    }

    #[inline]
    fn next(&self) -> Outcome<Sample<ipc::Service, [u8], ()>> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return Ok(sample);
            }
            std::hint::spin_loop();
        }
    }

    #[inline]
    fn publish(&self, message: &[u8]) -> Outcome<()> {
        let sample = self.publisher.loan_slice_uninit(message.len())?;
        sample.write_from_slice(message).send()?;
        Ok(())
    }
}

fn open(node: &Node<ipc::Service>, name: &str, kind: Kind) -> Outcome<Bytes> {
    let service = node
        .service_builder(&name.try_into()?)
        .publish_subscribe::<[u8]>();
    let service = service
        .max_publishers(1)
        .max_subscribers(1)
        .max_nodes(2)
        .history_size(0)
        .subscriber_max_borrowed_samples(2);
    // An echo has one message under way; one way nothing may be lost.
    Ok(match kind {
        Kind::Echo => service
            .subscriber_max_buffer_size(1)
            .enable_safe_overflow(true)
            .open_or_create()?,
        Kind::OneWay => service
            .subscriber_max_buffer_size(BUFFER_SAMPLES)
            .enable_safe_overflow(false)
            .open_or_create()?,
    })
}

impl Channel for IceoryxEnd {
    #[inline]
    fn send(&mut self, message: &[u8]) -> Outcome<()> {
        self.publish(message)
    }

    #[inline]
    fn receive(&mut self, message: &mut [u8]) -> Outcome<()> {
        message.copy_from_slice(self.next()?.payload());
        Ok(())
    }

    #[inline]
    fn bounce(&mut self, _message: &mut [u8]) -> Outcome<()> {
        let sample = self.next()?;
        self.publish(sample.payload())
    }
}

fn prefix(owner: u32) -> String {
    format!("{PREFIX}{owner}-")
}

fn directory(owner: u32) -> PathBuf {
    std::env::temp_dir().join(format!("{PREFIX}{owner}"))
}

/// Removes what a run of process `owner` may have left. Called when its processes have ended.
pub fn sweep(owner: u32) {
    // What cannot be removed, or is gone already, is nothing that one could mend here.
    let _ = std::fs::remove_dir_all(directory(owner));
    for name in names_in(FilePath::new(SHARED_MEMORY)) {
        if name.starts_with(&prefix(owner)) {
            let _ = std::fs::remove_file(FilePath::new(SHARED_MEMORY).join(name));
        }
    }
}

/// Removes what runs have left whose process is dead: one that was killed cannot clean up.
pub fn sweep_the_dead() {
    let mut found = names_in(FilePath::new(SHARED_MEMORY));
    found.extend(names_in(&std::env::temp_dir()));
    for name in found {
        let digits = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let owner = digits.and_then(|digits| digits.parse::<u32>().ok());
        if let Some(owner) = owner.filter(|owner| !FilePath::new(&format!("/proc/{owner}")).exists()) {
            sweep(owner);
        }
    }
}

fn names_in(directory: &FilePath) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
