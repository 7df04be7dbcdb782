//! Peers that lie: messages that are no requests, requests aimed at the regions of others, a flood, and
//! clients that pull their own memory away. The server lives, counts them, and serves the honest exactly.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};

use crate::content;
use crate::midway::{MIB, Trickle, assert_same, put_large};
use crate::peers::{EXAMPLES, PEERS, python_or_skip};
use crate::processes::Running;
use crate::world::{World, eventually};

const GET: u16 = 1;
const CLOSE: u16 = 5;
const PAGE: u64 = 4096;

/// A request as docs/PROTOCOL.md draws it in section 3, made here by hand.
#[derive(Clone)]
struct Message {
    magic: [u8; 4],
    version: u16,
    op: u16,
    request_id: u64,
    region_id: [u8; 16],
    nonce: [u8; 16],
    region_bytes: u64,
    flags: u32,
    path_bytes: u32,
    path: Vec<u8>,
}

impl Message {
    fn new(op: u16, request_id: u64, path: &str) -> Self {
        Message {
            magic: *b"SHMR",
            version: 1,
            op,
            request_id,
            region_id: [0xab; 16],
            nonce: [0xcd; 16],
            region_bytes: PAGE,
            flags: 0,
            path_bytes: path.len() as u32,
            path: path.as_bytes().to_vec(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.op.to_le_bytes());
        bytes.extend(self.request_id.to_le_bytes());
        bytes.extend(self.region_id);
        bytes.extend(self.nonce);
        bytes.extend(self.region_bytes.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(self.flags.to_le_bytes());
        bytes.extend(self.path_bytes.to_le_bytes());
        bytes.extend([0; 32]);
        bytes.extend(&self.path);
        bytes
    }
}

/// Messages that no server can take for a request.
fn junk() -> Vec<Vec<u8>> {
    let good = Message::new(GET, 1, "file");
    let broken: [&dyn Fn(&mut Message); 8] = [
        &|message| message.magic = *b"RMHS",
        &|message| message.version = 0,
        &|message| message.version = 2,
        &|message| message.request_id = 0,
        &|message| message.path_bytes = 3,
        &|message| message.path_bytes = u32::MAX,
        &|message| message.path = b"fi\0e".to_vec(),
        &|message| (message.path_bytes, message.path) = (901, vec![b'x'; 901]),
    ];
    let mut messages: Vec<Vec<u8>> = broken
        .iter()
        .map(|breaks| {
            let mut message = good.clone();
            breaks(&mut message);
            message.bytes()
        })
        .collect();
    messages.push(Vec::new());
    messages.push(vec![0]);
    messages.push(good.bytes()[..103].to_vec());
    messages.push(vec![0; 1024]);
    messages.push(vec![0xff; 1024]);
    messages.extend((0..20).map(|seed| content::random_bytes(0x5eed + seed, 40 * seed as usize)));
    messages
}

fn send_all(world: &World, messages: &[Vec<u8>]) {
    let queue = MessageQueue::open(&world.queue_name(), Access::Send).unwrap();
    for message in messages {
        queue.send(message, PRIORITY_MAX, None).unwrap();
    }
}

/// A number in the server's status.
fn count(world: &World, name: &str) -> u64 {
    world.status()[name].as_u64().unwrap()
}

/// The region of a client at work, found as its own user can: through its open descriptors.
struct Found {
    id: [u8; 16],
    nonce: [u8; 16],
}

impl Found {
    #[track_caller]
    fn of(client: &Running) -> Self {
        for entry in std::fs::read_dir(format!("/proc/{}/fd", client.pid())).unwrap() {
            let path = entry.unwrap().path();
            let target = std::fs::read_link(&path).unwrap_or_default();
            if let Some(digits) = target.to_string_lossy().strip_prefix("/dev/shm/shmeld.") {
                let byte = |index: usize| u8::from_str_radix(&digits[2 * index..][..2], 16).unwrap();
                let mut nonce = [0; 16];
                std::fs::File::open(path)
                    .unwrap()
                    .read_exact_at(&mut nonce, 24)
                    .unwrap();
                let id = std::array::from_fn(byte);
                return Found { id, nonce };
            }
        }
        panic!("no region among the descriptors of {}", client.label);
    }

    /// A request for this region.
    fn message(&self, op: u16, request_id: u64) -> Message {
        let (region_id, nonce) = (self.id, self.nonce);
        Message {
            region_id,
            nonce,
            ..Message::new(op, request_id, "poison")
        }
    }
}

#[test]
fn messages_that_are_no_requests_are_dropped_and_counted() {
    let world = World::new("junk");
    let bytes = world.put_random("file", 50_000);
    let _server = world.start_server();
    let messages = junk();
    send_all(&world, &messages);
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    assert_eq!(count(&world, "junk_messages_total"), messages.len() as u64);
    // Sound ones for regions that do not exist.
    let refused = count(&world, "refused_regions_total");
    let strangers = (0..20).map(|number| Message {
        region_id: [number; 16],
        ..Message::new([GET, CLOSE][usize::from(number % 2)], 1, "file")
    });
    send_all(
        &world,
        &strangers.map(|message| message.bytes()).collect::<Vec<_>>(),
    );
    assert_eq!(count(&world, "refused_regions_total"), refused + 20);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

#[test]
fn forged_requests_for_the_region_of_another_change_nothing() {
    let world = World::new("forged");
    let names: Vec<String> = (0..12).map(|number| format!("part-{number}")).collect();
    let whole: Vec<u8> = names
        .iter()
        .flat_map(|name| world.put_random(name, 200_000))
        .collect();
    world.put("poison", b"poison");
    let _server = world.start_server();
    let victim = Trickle::start(world.client().args(&names));
    let region = Found::of(&victim.client);
    let forged: Vec<Vec<u8>> = (0..200_u64)
        .map(|number| {
            let op = [GET, CLOSE][number as usize % 2];
            let mut message = region.message(op, 1000 + number);
            match number % 3 {
                0 => message.nonce[number as usize % 16] ^= 1,
                1 => message.nonce = [0; 16],
                _ => message.region_bytes += PAGE,
            }
            message.bytes()
        })
        .collect();
    send_all(&world, &forged);
    // With the right nonce, which only the region's own user can know: ids that were used already.
    let replayed: Vec<Vec<u8>> = (0..20).map(|_| region.message(GET, 1).bytes()).collect();
    send_all(&world, &replayed);
    let refused = count(&world, "refused_regions_total");
    assert_eq!(
        refused,
        forged.len() as u64,
        "the forged ones, and only they, are counted"
    );
    let client = victim.client.clone();
    content::assert_bytes("the victim's output", &victim.finish(), &whole);
    client.finish().expect_code(0);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

#[test]
fn flood_of_junk_does_not_keep_an_honest_client_from_its_files() {
    let world = World::new("flood");
    let names: Vec<String> = (0..100).map(|number| format!("file-{number}")).collect();
    let contents: Vec<Vec<u8>> = names.iter().map(|name| world.put_random(name, 20_000)).collect();
    let large = put_large(&world, "large", 64);
    let _server = world.start_server();
    let queue = Arc::new(MessageQueue::open(&world.queue_name(), Access::Send).unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let flooders: Vec<_> = (0..3)
        .map(|number| {
            let (queue, over) = (queue.clone(), over.clone());
            let message = vec![number; 1024];
            std::thread::spawn(move || {
                let mut sent = 0_u64;
                while !over.load(Ordering::Relaxed) {
                    // A full queue is what a flooder wants; it goes on after the slice.
                    let slice = Instant::now() + Duration::from_millis(50);
                    sent += u64::from(queue.send(&message, PRIORITY_MAX, Some(slice)).is_ok());
                }
                sent
            })
        })
        .collect();
    // The flood ends with the test, also if the test fails here.
    let outcome = world
        .client()
        .arg("-o")
        .arg(world.output(""))
        .arg("large")
        .args(&names)
        .run();
    over.store(true, Ordering::Relaxed);
    let sent: u64 = flooders.into_iter().map(|flooder| flooder.join().unwrap()).sum();
    outcome.expect_code(0);
    assert!(sent > 100, "only {sent} messages are no flood");
    for (name, bytes) in names.iter().zip(&contents) {
        world.assert_output(name, bytes);
    }
    assert_same(&world.output("large"), &large);
    assert_eq!(count(&world, "junk_messages_total"), sent);
    world.finish();
}

/// A client that breaks the protocol with its own region, see peers/hostile.py; returns what it saw.
#[track_caller]
fn misbehave(world: &World, python: &Path, mode: &str, file: &str) -> String {
    let script = Path::new(PEERS).join("hostile.py");
    let tool = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    let outcome = tool.args([world.name(), mode, file]).run().expect_code(0);
    outcome.stdout_text().trim().to_owned()
}

#[test]
fn clients_that_pull_their_memory_away_or_forge_its_words_hurt_only_themselves() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("hostile");
    let bytes = world.put_random("file", 5 * MIB as usize);
    let small = world.put_random("small", 10_000);
    let _server = world.start_server();
    let honest = Trickle::start(world.client().arg("file"));
    let modes = [
        ("truncate", "GONE"),
        // The kernel frees pages of a hole until none is left: also the one in which the server has just written ENDED.
        ("punch", ""),
        ("read_ahead", "ended: MISBEHAVED"),
        ("read_back", "ended: MISBEHAVED"),
        // What is left of the state word is the server's or the client's, whoever wrote last.
        ("scribble", ""),
        ("crowd", "ended: MISBEHAVED"),
    ];
    for (misbehaved, (mode, expected)) in (1..).zip(modes) {
        let seen = misbehave(&world, &python, mode, "file");
        assert!(expected.is_empty() || seen == expected, "{mode}: {seen}");
        eventually("the server counts it", || {
            count(&world, "misbehaved_total") == misbehaved
        });
        world.fetch(&["small"]).expect_code(0);
        world.assert_output("small", &small);
    }
    let client = honest.client.clone();
    content::assert_bytes("the honest client's output", &honest.finish(), &bytes);
    client.finish().expect_code(0);
    world.finish();
}

#[test]
fn forged_semaphores_cost_time_and_nothing_else() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("semaphores");
    let bytes = world.put_random("file", MIB as usize);
    let _server = world.start_server();
    assert_eq!(misbehave(&world, &python, "semaphores", "file"), "went on");
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    assert_eq!(count(&world, "misbehaved_total"), 0);
    world.finish();
}

/// A client that says GET and CLOSE in one breath once got ENDED and no answer: what shared a slot with
/// nothing else was never published.
#[test]
fn close_right_behind_a_request_does_not_swallow_its_answer() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("hasty");
    world.put_random("file", 1000);
    let server = world.start_server();
    // Both are in the queue before the server looks.
    server.signal("STOP");
    let script = PathBuf::from(PEERS).join("hostile.py");
    let tool = world
        .tool(python.to_str().unwrap())
        .arg("-B")
        .arg(script)
        .arg(EXAMPLES);
    let client = tool.args([world.name(), "hasty", "file"]).start();
    let queue = MessageQueue::open(&world.queue_name(), Access::Receive).unwrap();
    eventually("both are sent", || queue.attributes().unwrap().messages == 2);
    server.signal("CONT");
    let outcome = client.finish().expect_code(0);
    assert_eq!(outcome.stdout_text(), "1000 bytes\n");
    world.finish();
}
