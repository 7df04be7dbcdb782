//! Commands that have made something with a name, told to end once and, while they clean up, once more; by a terminal that goes away,
//! too. Nothing is left, and the exit code is that of the signal.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::Key;
use shmeld_os::sysv::semaphore::SemaphoreSet;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::{ObjectName, listing};

use crate::content;
use crate::desk::{Desk, LONG_BYTES};
use crate::endings::{SIGNALS, SOON, await_blocked, tell};
use crate::ipc_world::Places;
use crate::processes::full_pipe;
use crate::world::{World, eventually, has_or_skip, is_root_or_skip};

/// The signal, and again in the middle of what the first one caused.
const TOLD: usize = 4;

/// A second Ctrl-C, or the hang-up of a terminal, used to kill the poster while it removed its set and its segment.
#[test]
fn poster_told_twice_leaves_nothing() {
    let desk = Desk::new("twice-post");
    for (signal, code) in SIGNALS {
        let poster = desk.start_post(&content::of("message", LONG_BYTES), 2);
        // The poster gives the one inside a moment to end: that is when the second signal comes.
        let (reader, _output) = desk.start_held_reader();
        desk.await_inside(1);
        tell(&poster, signal, TOLD, code);
        desk.assert_nothing_left();
        reader.kill();
    }
    desk.finish();
}

#[test]
fn reader_told_twice_ends_with_its_code_and_has_not_got_the_message() {
    let desk = Desk::new("twice-read");
    for (signal, code) in SIGNALS {
        let reader = desk.read().start();
        reader.wait_for_stderr("waiting");
        tell(&reader, signal, TOLD, code);
        let poster = desk.start_post(&content::of("message", LONG_BYTES), 1);
        let (reader, _output) = desk.start_held_reader();
        desk.await_inside(1);
        tell(&reader, signal, TOLD, code);
        poster
            .finish()
            .expect_code(1)
            .expect_said("0 of 1 reader has the message");
    }
    desk.finish();
}

/// The poster that nobody could hear used to be ended where it stood: blocked in a write, with a set and a segment.
#[test]
fn poster_whose_words_nobody_takes_leaves_nothing() {
    let desk = Desk::new("twice-blocked");
    for (signal, code) in SIGNALS {
        let (_reader, writer) = full_pipe(0);
        let poster = desk.post(1).args(["--json", "hello"]).stdout(writer).start();
        eventually("it is posted", || desk.values()[1] == 1);
        let start = Instant::now();
        poster.signal(signal);
        poster.finish().expect_code(code);
        assert!(start.elapsed() < SOON, "{signal}: {:?}", start.elapsed());
        desk.assert_nothing_left();
    }
    desk.finish();
}

/// One that told its steps, and whose words nobody took any more, was blocked in the words about its removals: it hung with a closed board, and
/// the second signal ended it there. (Second review of issue 6.)
#[test]
fn poster_that_is_blocked_while_it_cleans_up_leaves_nothing() {
    let desk = Desk::new("twice-words");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    let poster = desk.post(1).args(["--explain", "hello"]).after("exec 2>&1");
    let poster = poster.stdout(writer).start();
    eventually("it is posted", || desk.values()[1] == 1);
    let (told, pages) = std::sync::mpsc::channel();
    let filler = std::thread::spawn(move || {
        while filler.write_all(&[b'x'; 4096]).is_ok() {
            let _ = told.send(());
        }
    });
    // Until it is blocked as well.
    while pages.recv_timeout(Duration::from_millis(300)).is_ok() {}
    tell(&poster, "TERM", TOLD, 143);
    desk.assert_nothing_left();
    drop(reader);
    filler.join().unwrap();
    desk.finish();
}

#[test]
fn poster_that_reads_its_message_ends_and_has_made_nothing() {
    let desk = Desk::new("twice-input");
    let fifo = desk.world().root().join("fifo");
    desk.world().tool("mkfifo").arg(&fifo).run().expect_code(0);
    for (signal, code) in SIGNALS {
        // Opened for both: nobody writes, and there is no end.
        let script = format!("exec <>'{}'", fifo.display());
        let poster = desk.post(1).after(&script).start();
        let name = format!("/proc/{}/comm", poster.pid());
        eventually("the shell has become the poster", || {
            fs::read_to_string(&name).is_ok_and(|name| name.trim() == "shmeld")
        });
        let signals = format!("/proc/{}/status", poster.pid());
        eventually("it hears signals", || hears_signals(&signals));
        tell(&poster, signal, TOLD, code);
        desk.assert_nothing_left();
    }
    desk.finish();
}

/// Nothing watches a poster whose user may have no more threads: blocked, it could only be killed. (Second review of issue 6.)
#[test]
fn second_signal_ends_a_poster_that_has_no_thread_to_watch_it() {
    let desk = Desk::new("twice-threads");
    if !is_root_or_skip() || !has_or_skip("prlimit") || !has_or_skip("setpriv") {
        return;
    }
    let fifo = desk.world().root().join("fifo");
    desk.world().tool("mkfifo").arg(&fifo).run().expect_code(0);
    content::set_mode(&fifo, 0o666);
    let script = format!("exec <>'{}'", fifo.display());
    // Nobody else here has this user.
    let poster = desk
        .post(1)
        .wrapped(&["prlimit", "--nproc=1", "--"])
        .after(&script);
    let poster = poster.as_user(54_321).start();
    let signals = format!("/proc/{}/status", poster.pid());
    eventually("it hears signals", || hears_signals(&signals));
    // The handlers are there before all that they do.
    std::thread::sleep(Duration::from_millis(300));
    for _ in 0..2 {
        poster.signal("TERM");
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    assert_eq!(poster.finish().code, None, "ended by the signal");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    desk.finish();
}

/// Whether the process of this `/proc/PID/status` has a handler for SIGTERM, the last that is set.
fn hears_signals(status: &str) -> bool {
    let status = fs::read_to_string(status).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & 1 << (15 - 1) != 0)
}

#[test]
fn poster_started_by_nohup_goes_on_without_its_terminal() {
    let desk = Desk::new("twice-nohup");
    let poster = desk.post(1).arg("hello").after("trap '' HUP").start();
    poster.wait_for_stderr("posted");
    poster.signal("HUP");
    assert_eq!(desk.read().run().expect_code(0).stdout, b"hello");
    poster.finish().expect_code(0);
    desk.finish();
}

/// Nobody has heard where the new segment is: it would be nobody's.
#[test]
fn segment_whose_address_nobody_takes_is_removed_with_the_signal() {
    let world = World::new("twice-create");
    for (signal, code) in SIGNALS {
        let places = Places::new();
        for address in places.both() {
            let (_reader, writer) = full_pipe(0);
            let create = world.ipc(&["create", &address, "--size", "4096"]);
            let creator = create.stdout(writer).start();
            await_blocked(&creator);
            tell(&creator, signal, TOLD, code);
            places.assert_empty();
        }
        // What was there already stays.
        world.ipc_done(&["create", &places.posix(), "--size", "4096"]);
        let (_reader, writer) = full_pipe(0);
        let opener = world.ipc(&["create", &places.posix(), "--size", "4096"]);
        let opener = opener.stdout(writer).start();
        await_blocked(&opener);
        tell(&opener, signal, TOLD, code);
        world.ipc_done(&["rm", &places.posix()]);
    }
    world.finish();
}

#[test]
fn mind_meld_told_twice_leaves_nothing() {
    let world = World::new("twice-meld");
    let object = ObjectName::new(&format!("{}-meld", world.name())).unwrap();
    for (signal, code) in SIGNALS {
        let demo = world
            .shmeld("demo")
            .args(["meld", "--object", &object.to_string()]);
        let a = demo.args(["--role", "a"]).start();
        a.wait_for_stderr(" wait ");
        tell(&a, signal, TOLD, code);
        assert!(SharedMemory::stat_name(&object).is_err(), "{signal}");
        // Both in one terminal, where nobody takes more than the title of what they say: the starter cannot go on, but A can.
        let (_reader, writer) = full_pipe(300);
        let demo = world
            .shmeld("demo")
            .args(["meld", "--object", &object.to_string()]);
        let demo = demo.stdout(writer).start();
        eventually("A has come", || SharedMemory::stat_name(&object).is_ok());
        tell(&demo, signal, TOLD, code);
        assert!(SharedMemory::stat_name(&object).is_err(), "{signal}");
    }
    world.finish();
}

/// A directory in which a demonstration finds room for its stage.
fn stages(world: &World) -> (PathBuf, String) {
    let stages = world.root().join("stages");
    fs::create_dir(&stages).unwrap();
    let export = format!("export TMPDIR='{}'", stages.display());
    (stages, export)
}

/// Waits until a file of this name is on the stage; the stage's own name.
#[track_caller]
fn await_file(stages: &Path, wanted: &str) -> String {
    let mut stage = String::new();
    eventually("it has begun", || {
        let names = content::names_below(stages);
        stage = names.first().map(|name| content::base(name)).unwrap_or_default();
        names.iter().any(|name| content::base(name) == wanted)
    });
    stage
}

#[test]
fn demonstration_of_the_board_told_twice_leaves_nothing() {
    let world = World::new("twice-demo-board");
    let (stages, export) = stages(&world);
    for (signal, code) in SIGNALS {
        let demo = world.shmeld("demo").arg("board").after(&export).start();
        await_file(&stages, "poster.log");
        let told = tell(&demo, signal, TOLD, code);
        assert!(content::names_below(&stages).is_empty(), "{signal}");
        let (_, key) = told.split_once("--key 0x").unwrap();
        let key = Key::new(u32::from_str_radix(&key[..8], 16).unwrap());
        assert!(SemaphoreSet::open(key, 0).is_err(), "{signal}: a set");
        assert!(Segment::open(key, 0).is_err(), "{signal}: a segment");
    }
    world.finish();
}

/// All of its processes, as a terminal tells them: the second signal used to end a server before its gate was gone.
#[test]
fn demonstration_of_transfers_told_twice_leaves_nothing() {
    let world = World::new("twice-demo");
    let (stages, export) = stages(&world);
    for (signal, code) in SIGNALS {
        let demo = world.shmeld("demo").wrapped(&["setsid"]).after(&export).start();
        let name = await_file(&stages, "received");
        let script = format!("kill -{signal} -{0}; sleep 0.02; kill -{signal} -{0}", demo.pid());
        // The second one may find nobody.
        world.tool("sh").args(["-c", &script]).run();
        demo.finish().expect_code(code);
        assert!(content::names_below(&stages).is_empty(), "{signal}");
        for name in [&name, &name.replace("demo", "tree")] {
            let left = listing::shared_memory_names("").unwrap();
            let left: Vec<_> = left.iter().map(|left| String::from_utf8_lossy(left)).collect();
            assert!(!left.iter().any(|left| left.contains(name)), "{signal}: {left:?}");
            let queue = ObjectName::new(&format!("/{name}")).unwrap();
            assert!(
                MessageQueue::open(&queue, Access::Send).is_err(),
                "{signal}: {name}"
            );
        }
    }
    world.finish();
}
