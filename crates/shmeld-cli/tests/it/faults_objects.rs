//! Other objects than a server or client expects under a name: squatters, substitutes, names that are none, objects that go away (rows N2
//! to N7 and N9 of the fault catalogue).

use std::os::unix::fs::chown;
use std::path::PathBuf;

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ObjectName, process};

use crate::content;
use crate::faults_crash::region_name;
use crate::midway::{SOON, Trickle};
use crate::raw_region::{
    GET, PAGE, REFUSED_DENIED, RawRegion, STATE, WRITTEN, assert_served, count, meanwhile, message, name_of,
    send,
};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

fn path_of(name: &ObjectName) -> PathBuf {
    PathBuf::from("/dev/shm").join(name.as_str())
}

/// N2: a queue of another user who even holds the lease of a server. Nothing is said to it.
#[test]
fn server_of_a_stranger_is_told_nothing() {
    if !is_root_or_skip() {
        return;
    }
    let world = World::new("stranger");
    let queue = MessageQueue::create_new(&world.queue_name(), 10, 1024, 0o666).unwrap();
    queue.set_owner(Some(NOBODY), Some(NOBODY)).unwrap();
    assert!(lease::try_take(&queue, Range::WHOLE, Kind::Read, "queue").unwrap());
    let outcome = world
        .client()
        .args(["--wait", "5s", "file", "-o", "output"])
        .run();
    outcome.expect_code(3).expect_said("uid 65534");
    assert_eq!(queue.attributes().unwrap().messages, 0);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    world.finish();
}

/// N3: somebody has the name. It is drawn from 2^128, so that only a broken kernel can say so more than once.
#[test]
fn taken_name_of_a_region_is_not_used() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("taken");
    let bytes = world.put_random("file", 10_000);
    let _server = world.start_server();
    let client = |calls: &str| {
        let inject = format!("inject=linkat:error=EEXIST:when={calls}");
        let client = world.client().arg("file").arg("-o").arg(world.output("file"));
        client
            .traced("trace", &["-e", "trace=linkat", "-e", &inject])
            .run()
    };
    client("1..3").expect_code(0);
    world.assert_output("file", &bytes);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let mut names: Vec<&str> = trace
        .split('"')
        .filter(|text| text.starts_with("shmeld."))
        .collect();
    let tries = names.len();
    names.dedup();
    assert_eq!((names.len(), tries), (4, 4), "each time another name: {trace}");
    std::fs::remove_file(world.output("file")).unwrap();
    client("1+").expect_code(3).expect_said("EEXIST");
    world.assert_no_output();
    world.finish();
}

/// Makes something under the name of a region. False if it cannot be made here.
type Make = fn(&World, &RawRegion, &std::path::Path) -> bool;

fn no_regions() -> Vec<(&'static str, Make)> {
    vec![
        ("a FIFO", |world, _, path| {
            world.tool("mkfifo").arg(path).run().code == Some(0)
        }),
        ("a directory", |_, _, path| std::fs::create_dir(path).is_ok()),
        ("a socket", |_, _, path| {
            std::os::unix::net::UnixListener::bind(path).is_ok()
        }),
        ("a device", |world, _, path| {
            world.tool("mknod").arg(path).args(["c", "1", "5"]).run().code == Some(0)
        }),
        ("a symbolic link", |_, region, path| {
            std::os::unix::fs::symlink(path_of(&region.name()), path).is_ok()
        }),
        ("a dangling link", |_, _, path| {
            std::os::unix::fs::symlink("/dev/shm/shmeld.nothing", path).is_ok()
        }),
        ("a second name", |_, region, path| {
            std::fs::hard_link(path_of(&region.name()), path).is_ok()
        }),
        ("an empty file", |_, _, path| std::fs::write(path, "").is_ok()),
        ("a text", |_, _, path| {
            std::fs::write(path, "no region at all".repeat(256)).is_ok()
        }),
    ]
}

/// N4 and N7.
#[test]
fn whatever_is_no_region_is_left_alone() {
    let world = World::new("no-region");
    let bytes = world.put_random("file", 10_000);
    let _server = world.start_server();
    for (what, make) in no_regions() {
        let region = RawRegion::new(&world);
        let id: [u8; 16] = process::random_bytes().unwrap();
        let path = path_of(&name_of(&id));
        if make(&world, &region, &path) {
            let refused = count(&world, "refused_regions_total");
            send(&region.queue, &message(GET, 1, &id, &region.nonce, PAGE, "file"));
            eventually(what, || count(&world, "refused_regions_total") == refused + 1);
            if what == "a second name" {
                // Under its own name neither: somebody may want to keep it after both sides have let it go.
                region.send(GET, "file");
                eventually(what, || count(&world, "refused_regions_total") == refused + 2);
            }
            assert_eq!((region.word(STATE), region.word(WRITTEN)), (0, 0), "{what}");
            assert!(
                path.symlink_metadata().is_ok(),
                "{what}: it was not the server's to remove"
            );
            assert_served(&world, "file", &bytes);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
    }
    world.finish();
}

/// N4: a region that others may write is left alone; one that belongs to somebody else who has proven to have made it is refused.
#[test]
fn region_open_to_others_is_left_alone_and_one_of_another_user_denied() {
    let world = World::new("wrong-owner");
    let bytes = world.put_random("file", 10_000);
    let _server = world.start_server();
    for mode in [0o602, 0o604, 0o601, 0o666, 0o660, 0o640, 0o610] {
        let region = RawRegion::new(&world);
        region.memory.set_mode(mode).unwrap();
        let refused = count(&world, "refused_regions_total");
        region.send(GET, "file");
        eventually("it is refused", || {
            count(&world, "refused_regions_total") == refused + 1
        });
        assert_eq!((region.word(STATE), region.word(WRITTEN)), (0, 0), "{mode:o}");
    }
    if is_root_or_skip() {
        let region = RawRegion::new(&world);
        chown(path_of(&region.name()), Some(NOBODY), Some(NOBODY)).unwrap();
        let refused = count(&world, "refused_regions_total");
        region.send(GET, "file");
        eventually("it is refused", || {
            count(&world, "refused_regions_total") == refused + 1
        });
        assert_eq!((region.word(STATE), region.word(WRITTEN)), (REFUSED_DENIED, 0));
    }
    assert_served(&world, "file", &bytes);
    world.finish();
}

/// N7: a region's mode keeps others from giving it a second name, where the kernel looks (fs.protected_hardlinks).
#[test]
fn nobody_else_can_link_a_region() {
    let looks =
        std::fs::read_to_string("/proc/sys/fs/protected_hardlinks").is_ok_and(|text| text.trim() == "1");
    if !is_root_or_skip() || !has_or_skip("setpriv") || !looks {
        return;
    }
    let world = World::new("linked");
    world.put_random("file", 10_000);
    let _server = world.start_server();
    let region = RawRegion::new(&world);
    let (from, to) = (
        path_of(&region.name()),
        path_of(&name_of(&process::random_bytes().unwrap())),
    );
    let outcome = world.tool("ln").arg(&from).arg(&to).as_user(NOBODY).run();
    assert_ne!(outcome.code, Some(0));
    assert!(!to.exists());
    world.finish();
}

/// N6: two objects change places under one name, all the time. Whatever the server opens, it looks at what it opened, and never touches the
/// one for which it was not asked.
#[test]
fn object_that_is_exchanged_between_two_looks_is_never_touched() {
    let world = World::new("exchanged");
    let bytes = world.put_random("file", 3000);
    let _server = world.start_server();
    let victim = RawRegion::new(&world);
    let aside = path_of(&name_of(&process::random_bytes().unwrap()));
    let (mut attached, mut ignored) = (0, 0);
    for round in 0..3000 {
        // Both are seen soon; how soon is the machine's affair.
        if round >= 200 && attached > 0 && ignored > 0 {
            break;
        }
        let mine = RawRegion::new(&world);
        let (name, victims_name) = (path_of(&mine.name()), path_of(&victim.name()));
        let before = count(&world, "refused_regions_total");
        let disturb = || {
            // mine -> aside, the victim's -> mine; and back.
            std::fs::rename(&name, &aside).unwrap();
            std::fs::rename(&victims_name, &name).unwrap();
            std::fs::rename(&name, &victims_name).unwrap();
            std::fs::rename(&aside, &name).unwrap();
        };
        meanwhile(disturb, || {
            mine.send(GET, "file");
            eventually("the server decides", || {
                mine.word(STATE) != 0 || count(&world, "refused_regions_total") > before
            });
        });
        if mine.word(STATE) == 1 {
            assert_eq!(mine.answer(|_| {}), bytes);
            attached += 1;
        } else {
            ignored += 1;
        }
        assert_eq!(
            (victim.word(STATE), victim.word(WRITTEN)),
            (0, 0),
            "the victim was touched"
        );
    }
    assert!(
        attached > 0 && ignored > 0,
        "{attached} attached, {ignored} ignored: no race"
    );
    assert!(!aside.exists());
    assert_served(&world, "file", &bytes);
    world.finish();
}

/// N9: `rm /dev/shm/*` and the queue with it, under a live session.
#[test]
fn everything_that_has_a_name_can_go_under_a_live_session() {
    let world = World::new("all-gone");
    let names: Vec<String> = (0..30).map(|number| format!("part-{number}")).collect();
    let whole: Vec<u8> = names
        .iter()
        .flat_map(|name| world.put_random(name, 100_000))
        .collect();
    let small = world.put_random("small", 10_000);
    let server = world.start_server();
    let session = Trickle::start(world.client().args(&names));
    SharedMemory::unlink(&world.gate_name()).unwrap();
    // Without a gate the queue's lease still says who is the server.
    world.server().run().expect_code(3).expect_said("already running");
    assert_served(&world, "small", &small);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    let unlinked = std::time::Instant::now();
    eventually("there is a queue again", || {
        world.shmeld("status").args(["--name", world.name()]).run().code == Some(0)
    });
    assert!(unlinked.elapsed() < SOON, "{:?}", unlinked.elapsed());
    assert_served(&world, "small", &small);
    let client = session.client.clone();
    content::assert_bytes("the live session's output", &session.finish(), &whole);
    client.finish().expect_code(0);
    server.signal("TERM");
    server.finish().expect_code(0);
    world.finish();
}

/// N9: `rm /dev/shm/*` before the server has come to the region. It waited for half a minute and then blamed the server.
#[test]
fn region_that_loses_its_name_before_it_is_attached_is_offered_anew() {
    let world = World::new("unfindable");
    let bytes = world.put_random("file", 10_000);
    let server = world.start_server();
    server.signal("STOP");
    let client = world.fetching("file");
    let mut name = None;
    eventually("the client has offered its region", || {
        name = region_name(&client);
        name.is_some()
    });
    SharedMemory::unlink(&name.unwrap()).unwrap();
    server.signal("CONT");
    let continued = std::time::Instant::now();
    client.finish().expect_code(0);
    assert!(continued.elapsed() < SOON, "{:?}", continued.elapsed());
    world.assert_output("file", &bytes);
    world.finish();
}

/// N5: names that the kernel would take for something else. No queue is looked for under them.
#[test]
fn names_that_are_none_reach_no_system_call() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("no-names");
    let (long, longer) = ("n".repeat(201), "n".repeat(300));
    for name in [
        "", "/", ".", "..", "/..", "a/b", "//x", "x/", "a\nb", "\x1b[2J", "\x7f", &long, &longer,
    ] {
        for program in [
            world.tool(env!("CARGO_BIN_EXE_shm_server")),
            world.tool(env!("CARGO_BIN_EXE_shm_client")).arg("file"),
        ] {
            let traced = program
                .args(["--name", name])
                .traced("trace", &["-e", "trace=mq_open,open"]);
            let outcome = traced.run().expect_code(2);
            assert!(!outcome.stderr.contains(['\x1b', '\x7f']), "{:?}", outcome.stderr);
            assert_eq!(
                std::fs::read_to_string(world.root().join("trace")).unwrap(),
                "",
                "{name:?}"
            );
        }
    }
    world.finish();
}
