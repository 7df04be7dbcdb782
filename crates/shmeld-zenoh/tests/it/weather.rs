//! A road between two machines that has weather: IP packets are delayed, lost and doubled, and overtake each other, or none arrives at all.
//! Each machine has a TUN device; socat carries its packets to this process and back. Nothing of the kernel is needed that decides about
//! packets, and TCP with its own repair goes over it as over a real network.

use std::collections::BinaryHeap;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::need::{eventually, has_or_skip, skip};
use crate::world::World;

/// How long the end of the road may go unnoticed.
const TICK: Duration = Duration::from_millis(20);

/// What happens to packets in both directions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// How long each packet takes.
    pub delay: Duration,
    /// By how much it can take longer: packets that take different times overtake each other.
    pub jitter: Duration,
    pub lost_percent: u64,
    pub doubled_percent: u64,
    /// Nothing arrives, and nobody is told.
    pub is_cut: bool,
}

impl Weather {
    /// How long each copy of a packet takes; none if it is lost.
    fn fate(self, dice: &mut Dice) -> Vec<Duration> {
        if self.is_cut || dice.percent() < self.lost_percent {
            return Vec::new();
        }
        let copies = if dice.percent() < self.doubled_percent {
            2
        } else {
            1
        };
        let mut time = || self.delay + self.jitter.mul_f64(dice.percent() as f64 / 100.0);
        (0..copies).map(|_| time()).collect()
    }
}

/// Chance that is the same in each run.
struct Dice(u64);

impl Dice {
    /// 0 to 99.
    fn percent(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % 100
    }
}

/// The road. The left end is [`Road::LEFT`].
pub struct Road {
    shared: Arc<Shared>,
    carriers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    weather: Mutex<Weather>,
    lost: AtomicU64,
    is_over: AtomicBool,
}

impl Road {
    pub const LEFT: &str = "10.78.0.1";
    const RIGHT: &str = "10.78.0.2";

    /// Says why there is none, where there is none.
    pub fn or_skip(world: &World, left: &Machine, right: &Machine, weather: Weather) -> Option<Self> {
        if !has_or_skip("socat") {
            return None;
        }
        if !Path::new("/dev/net/tun").exists() {
            skip("/dev/net/tun");
            return None;
        }
        let shared = Arc::new(Shared {
            weather: Mutex::new(weather),
            ..Shared::default()
        });
        let (left, right) = (
            End::new(world, left, Self::LEFT),
            End::new(world, right, Self::RIGHT),
        );
        let directions = [(&left, &right, 0x9e37_79b9), (&right, &left, 0x7f4a_7c15)];
        let mut carriers = Vec::new();
        for (from, to, seed) in directions {
            let under_way = Arc::new(UnderWay::default());
            let taker = Taker {
                from: from.socket.try_clone().unwrap(),
                dice: Dice(seed),
                under_way: Arc::clone(&under_way),
                shared: Arc::clone(&shared),
            };
            let giver = Giver {
                to: to.socket.try_clone().unwrap(),
                gate: to.gate.clone(),
                under_way,
                shared: Arc::clone(&shared),
            };
            // One thread for both would wait for a socat that waits for it.
            carriers.push(std::thread::spawn(move || taker.work()));
            carriers.push(std::thread::spawn(move || giver.work()));
        }
        Some(Road { shared, carriers })
    }

    pub fn change(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// How many packets were lost on purpose.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for carrier in self.carriers.drain(..) {
            // A carrier that panicked has told why.
            let _ = carrier.join();
        }
    }
}

/// One end: a device on its machine, and a socket here to which its packets come.
struct End {
    socket: UnixDatagram,
    /// Where packets for the device go.
    gate: PathBuf,
}

impl End {
    fn new(world: &World, machine: &Machine, address: &str) -> Self {
        let (here, gate) = (machine.path("road"), machine.path("gate"));
        let socket = UnixDatagram::bind(&here).unwrap();
        let device = format!("TUN:{address}/24,up,iff-no-pi,tun-name=road");
        let carrier = format!("UNIX-SENDTO:{},bind={}", here.display(), gate.display());
        let socat = world.keeper("socat").args(["-b", "65536", &device, &carrier]);
        machine.with(socat).start();
        let is_up = || {
            machine
                .shell(world, "ip -o link show")
                .stdout_text()
                .contains("road: <")
        };
        eventually("the device is there", || gate.exists() && is_up());
        End { socket, gate }
    }
}

/// The packets that are on the road in one direction.
#[derive(Default)]
struct UnderWay {
    packets: Mutex<BinaryHeap<Packet>>,
    changed: Condvar,
}

/// One under way; the heap gives the one first that arrives first.
#[derive(PartialEq, Eq)]
struct Packet {
    arrives: Instant,
    bytes: Vec<u8>,
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.arrives.cmp(&self.arrives)
    }
}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Takes packets from one end.
struct Taker {
    from: UnixDatagram,
    dice: Dice,
    under_way: Arc<UnderWay>,
    shared: Arc<Shared>,
}

impl Taker {
    fn work(mut self) {
        self.from.set_read_timeout(Some(TICK)).unwrap();
        let mut buffer = vec![0; 65536];
        while !self.shared.is_over.load(Ordering::Relaxed) {
            if let Ok(len) = self.from.recv(&mut buffer) {
                self.take(&buffer[..len]);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let weather = *self.shared.weather.lock().unwrap();
        let copies = weather.fate(&mut self.dice);
        if copies.is_empty() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        let packets = copies.into_iter().map(|time| Packet {
            arrives: now + time,
            bytes: bytes.to_vec(),
        });
        self.under_way.packets.lock().unwrap().extend(packets);
        self.under_way.changed.notify_one();
    }
}

/// Gives them to the other, each in its time.
struct Giver {
    to: UnixDatagram,
    gate: PathBuf,
    under_way: Arc<UnderWay>,
    shared: Arc<Shared>,
}

impl Giver {
    fn work(self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            if let Some(packet) = self.next() {
                // A device that is gone has no use for it.
                let _ = self.to.send_to(&packet.bytes, &self.gate);
            }
        }
    }

    /// The next packet if its time has come, else nothing after a while.
    fn next(&self) -> Option<Packet> {
        let mut packets = self.under_way.packets.lock().unwrap();
        let wait = packets.peek().map_or(TICK, |packet| {
            packet.arrives.saturating_duration_since(Instant::now())
        });
        if !wait.is_zero() {
            let waited = self
                .under_way
                .changed
                .wait_timeout(packets, wait.min(TICK))
                .unwrap();
            packets = waited.0;
        }
        let is_due = |packet: &Packet| packet.arrives <= Instant::now();
        if packets.peek().is_some_and(is_due) {
            packets.pop()
        } else {
            None
        }
    }
}
