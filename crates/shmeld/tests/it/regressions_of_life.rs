//! Bugs that were there once, each with its story: who is alive, who is silent, and who has a place.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shmeld::file::record::Kind;
use shmeld::file::wire::{FLAG_VERIFY, Op};
use shmeld::file::{Client, ClientOptions, Ending, Interrupt, Status};
use shmeld::os::posix::mqueue::{Access, MessageQueue, PRIORITY_MAX};
use shmeld::{Error, ServerName};
use shmeld_core::session::State;

use crate::invented::{Invented, World, query};
use crate::raw_peer::{PATIENCE, RawPeer, eventually};

/// What is promised within a second or two must happen within this on a loaded machine.
const SOON: Duration = Duration::from_secs(10);
/// How long the server of a slow file may be silent, and how long its client does not run: more than that.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const ABSENCE: Duration = Duration::from_millis(2500);
/// How long the server takes after its client runs again: some slices, but less than it may.
const SLOWNESS: Duration = Duration::from_millis(600);

/// A server of one slow file: its first read says so and waits until the test lets it go on.
fn slow_world() -> (World, Receiver<()>, Sender<()>) {
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel();
    let may_go_on = Mutex::new(may_go_on);
    let read = move |_| {
        begun.send(()).unwrap();
        // A test that failed is not waited for.
        let _ = may_go_on.lock().unwrap().recv_timeout(PATIENCE);
        Ok(usize::MAX)
    };
    let world = World::of(Invented {
        size: 100,
        read: Arc::new(read),
        refusals: Vec::new(),
    });
    (world, has_begun, go_on)
}

fn patient_options(name: &ServerName) -> ClientOptions {
    ClientOptions {
        name: name.clone(),
        silence_max: SILENCE_MAX,
        ..ClientOptions::default()
    }
}

/// Fetches a file and throws it away.
fn fetch(client: &mut Client, path: &str) -> Result<(), Error> {
    client.submit(&query(Op::Get, path, 0))?;
    read_to_the_end(client)
}

fn read_to_the_end(client: &mut Client) -> Result<(), Error> {
    loop {
        let record = client.next_record()?;
        client.finish(&record)?;
        if record.kind == Kind::Done {
            return Ok(());
        }
    }
}

/// Time in which the client did something else was counted as the server's silence: a client that came back after half a minute gave up
/// at its first look, however short it had really waited.
#[test]
fn time_in_which_the_client_does_not_wait_is_not_the_servers_silence() {
    let (world, has_begun, go_on) = slow_world();
    let mut client = Client::connect(patient_options(world.name())).unwrap();
    client.submit(&query(Op::Get, "slow", 0)).unwrap();
    has_begun.recv().unwrap();
    std::thread::sleep(ABSENCE);
    let server = std::thread::spawn(move || {
        std::thread::sleep(SLOWNESS);
        go_on.send(()).unwrap();
    });
    read_to_the_end(&mut client).unwrap();
    server.join().unwrap();
    client.close();
}

const PLAYED_BY_A_CHILD: &str = "SHMELD_TEST_SERVER";

/// The client of the next test, in a process that can be stopped.
#[test]
#[ignore = "played by a child process of another test"]
fn play_a_client_that_is_stopped() {
    let Ok(name) = std::env::var(PLAYED_BY_A_CHILD) else {
        return;
    };
    let mut client = Client::connect(patient_options(&ServerName::new(&name).unwrap())).unwrap();
    fetch(&mut client, "slow").unwrap();
    client.close();
}

/// A process that does not outlive its test.
struct Owned(Child);

impl Owned {
    fn signal(&self, signal: &str) {
        let script = format!("kill -{signal} {}", self.0.id());
        let status = Command::new("sh").args(["-c", &script]).status().unwrap();
        assert!(status.success(), "{script}");
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ctrl-Z for longer than half a minute, or a laptop that slept: the first slice afterwards lasted as long as the sleep, and the client
/// took that for the silence of its server and ended with 4.
#[test]
fn time_in_which_the_client_was_stopped_is_not_the_servers_silence() {
    let (world, has_begun, go_on) = slow_world();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture"]);
    command.arg("regressions_of_life::play_a_client_that_is_stopped");
    command.env(PLAYED_BY_A_CHILD, world.name().to_string());
    command.stdout(Stdio::null());
    let mut client = Owned(command.spawn().unwrap());
    has_begun.recv_timeout(PATIENCE).unwrap();
    client.signal("STOP");
    std::thread::sleep(ABSENCE);
    client.signal("CONT");
    std::thread::sleep(SLOWNESS);
    go_on.send(()).unwrap();
    let status = client.0.wait().unwrap();
    assert!(
        status.success() && status.signal().is_none(),
        "the client: {status}"
    );
    // Had it found no role to play, nobody would have been served.
    assert_eq!(world.status().files_total, 1);
}

/// Only clients that owed the server a slot could lose their place. One whose answer fitted the ring, and which then did nothing, kept
/// it for ever: a thousand of them shut everybody else out.
#[test]
fn idle_client_loses_its_place_if_another_needs_it() {
    let world = World::new(|options| options.sessions_max = 1);
    world.put("file", b"content");
    let idle = RawPeer::new(world.name());
    idle.send(Op::Get, 1, "file");
    idle.wait_for_slots(1);
    let mut client = world.client();
    fetch(&mut client, "file").unwrap();
    client.close();
    let stalled = State::Ended(Status::Stalled.code().into());
    assert_eq!(idle.state(), Some(stalled));
}

/// Threads that keep the queue full of what is no request, until they are dropped.
struct Flood {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(server: &ServerName) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let queue = Arc::new(MessageQueue::open(server.queue(), Access::Send).unwrap());
        let flooder = |_| {
            let (over, queue) = (over.clone(), queue.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A full queue is what a flooder wants; it goes on after the slice.
                    let slice = Instant::now() + Duration::from_millis(50);
                    let _ = queue.send(&[0xff; 1024], PRIORITY_MAX, Some(slice));
                }
            })
        };
        let threads = (0..4).map(flooder).collect();
        Self { over, threads }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// Whether an idle client lives was looked at only when the queue had been found empty, because a CLOSE might have been in it. Whoever
/// kept the queue full kept the dead in their places.
#[test]
fn dead_idle_client_is_noticed_while_junk_floods_the_queue() {
    let world = World::new(|_| {});
    let mut idle = RawPeer::new(world.name());
    idle.send(Op::List, 1, "");
    idle.wait_for_slots(1);
    let flood = Flood::start(world.name());
    eventually("the flood has come", || world.status().junk_messages_total > 100);
    let died = Instant::now();
    idle.die();
    eventually("its death is counted", || {
        assert!(died.elapsed() < SOON, "not noticed after {:?}", died.elapsed());
        world.status().died_total == 1
    });
    drop(flood);
}

/// And the other way round: a client that says CLOSE and goes at once is not dead, even if its message stands behind as many others as the
/// queue holds. The server looks at its idle clients every now and then; whoever seems dead is looked at again, and between two looks lies
/// at least one turn in which the whole queue is taken.
#[test]
fn close_that_stands_behind_others_when_its_client_goes_is_no_death() {
    let world = World::new(|_| {});
    // Often enough that some of the server's looks fall between an end and its CLOSE.
    for _ in 0..40 {
        let mut peer = RawPeer::new(world.name());
        peer.send(Op::List, 1, "");
        peer.wait_for_slots(1);
        let queue = MessageQueue::open(world.name().queue(), Access::Send).unwrap();
        for _ in 0..8 {
            queue.send(b"junk", 32767, None).unwrap();
        }
        peer.send(Op::Close, 2, "");
        peer.die();
    }
    eventually("all have gone", || world.status().sessions == 1);
    assert_eq!(world.status().died_total, 0);
}

/// A server with `--once` ended with "the client died" now and then, although its client had said CLOSE and gone, as all clients do.
#[test]
fn client_that_closes_and_goes_is_never_dead() {
    for round in 0..50 {
        let mut world = World::new(|options| options.once = true);
        world.put("file", b"content");
        let mut client = world.client();
        fetch(&mut client, "file").unwrap();
        client.close();
        assert_eq!(world.join(), Ending::OnceClosed, "round {round}");
    }
}

/// A file of a terabyte without a byte in it; `None` where no file can be so large.
fn put_terabyte(world: &World) -> Option<()> {
    let file = std::fs::File::create(world.path("hole")).unwrap();
    if file.set_len(1 << 40).is_ok() {
        return Some(());
    }
    assert!(
        std::env::var("SHMELD_REQUIRE").as_deref() != Ok("all"),
        "needs sparse files of a terabyte"
    );
    println!("skipped: needs sparse files of a terabyte");
    None
}

/// While the server hashed the zeros of a large hole it filled no slots but one every five seconds, to say that it lives, and it looked
/// at its client only when none was free: a dead client's session burned a CPU for half a minute.
#[test]
fn death_is_noticed_while_a_hole_of_a_terabyte_is_hashed() {
    let world = World::new(|_| {});
    if put_terabyte(&world).is_none() {
        return;
    }
    // Room for what the server says meanwhile.
    let mut client = Client::connect(ClientOptions {
        region_bytes: 1 << 20,
        ..world.options()
    })
    .unwrap();
    client.submit(&query(Op::Get, "hole", FLAG_VERIFY)).unwrap();
    assert_eq!(client.next_record().unwrap().kind, Kind::Begin);
    let died = Instant::now();
    drop(client);
    eventually("its death is counted", || {
        assert!(died.elapsed() < SOON, "not noticed after {:?}", died.elapsed());
        world.status().died_total == 1
    });
}

/// Nor could such a request be cancelled.
#[test]
fn cancelled_request_ends_while_a_hole_of_a_terabyte_is_hashed() {
    let world = World::new(|_| {});
    if put_terabyte(&world).is_none() {
        return;
    }
    let give_up = Arc::new(AtomicBool::new(false));
    let mut client = Client::connect(ClientOptions {
        interrupt: Interrupt::from_flag(give_up.clone()),
        ..world.options()
    })
    .unwrap();
    let id = client.submit(&query(Op::Get, "hole", FLAG_VERIFY)).unwrap();
    let begin = client.next_record().unwrap();
    client.finish(&begin).unwrap();
    client.cancel_up_to(id.unwrap());
    let (over, is_over) = channel();
    // A server that does not listen says for minutes that it lives.
    let watch = std::thread::spawn(move || {
        let waited = is_over.recv_timeout(SOON);
        give_up.store(waited.is_err(), Ordering::Relaxed);
    });
    let outcome = read_to_the_end(&mut client);
    over.send(()).unwrap_or_default();
    watch.join().unwrap();
    outcome.unwrap();
    client.close();
}
