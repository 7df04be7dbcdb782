//! A third user beside a server and a client of two others: it can neither read, nor take, nor disturb, nor pass for somebody else, nor use
//! up what is there for all (rows N1, N2, N7, Q8 and Q12 of the fault catalogue across users). And what kills leave across users.

use std::io::{PipeReader, Read};
use std::path::PathBuf;

use shmeld_os::ObjectName;

use crate::content;
use crate::midway::MIB;
use crate::peers::python_or_skip;
use crate::processes::{Outcome, Program, Running};
use crate::users::{Users, serve, stop};
use crate::world::{World, eventually, has_or_skip};

fn path_of(name: &ObjectName) -> PathBuf {
    PathBuf::from("/dev/shm").join(name.as_str())
}

fn put(world: &World, len: usize) -> Vec<u8> {
    let bytes = world.put_random("file", len);
    content::set_mode(&world.source("file"), 0o644);
    bytes
}

fn client(world: &World, users: &Users) -> Program {
    world
        .client()
        .args(["--server-uid", &users.a.to_string(), "file"])
}

/// A region on offer has a name that everybody can see, and an access control list. Each of these is one thing that the third user tries.
#[test]
fn third_user_can_neither_read_nor_change_nor_remove_a_region_on_offer() {
    let world = World::new("third-region");
    let Some(users) = Users::of(&world) else { return };
    if !has_or_skip("getfacl") {
        return;
    }
    let bytes = put(&world, 300_000);
    let server = serve(&world, &users, users.a, &["--public"]);
    server.signal("STOP");
    let waiting = client(&world, &users).args(["-o", "-"]).as_user(users.b).start();
    eventually("it has made its offer", || !users.regions().is_empty());
    let region = path_of(&users.regions()[0]);
    let gate = path_of(&world.gate_name());
    let list = world
        .tool("getfacl")
        .args(["-cn"])
        .arg(&region)
        .run()
        .expect_code(0)
        .stdout_text();
    let expected = format!(
        "user::rw-\nuser:{}:rw-\ngroup::---\nmask::rw-\nother::---\n\n",
        users.a
    );
    assert_eq!(list, expected);
    // The line of the client and the two semaphores are its own while it waits: it says on which CPU it runs, and that it sleeps.
    let still = || {
        let mut bytes = std::fs::read(&region).unwrap();
        bytes[128..320].fill(0);
        bytes
    };
    let before = still();
    for object in [&region, &gate] {
        for attempt in [
            "cat $0",
            "printf x >> $0",
            "printf x 1<> $0",
            "truncate -s 0 $0",
            "flock -n $0 true",
            "rm -f $0",
            "mv $0 $0.x",
            "ln $0 $0.x",
            "chmod 666 $0",
            "setfacl -m o::rw $0",
        ] {
            let outcome = world
                .tool("sh")
                .args(["-c", attempt])
                .arg(object)
                .as_user(users.c)
                .run();
            assert_ne!(outcome.code, Some(0), "{attempt} {}", object.display());
            assert!(outcome.stdout.is_empty(), "{attempt} {}", object.display());
        }
    }
    assert!(still() == before, "the region was changed");
    server.signal("CONT");
    assert!(waiting.finish().expect_code(0).stdout == bytes);
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// What a sender may do with the queue of a public server: send. Locks that it can take are no lease, and in nobody's way.
#[test]
fn third_user_can_send_and_nothing_else_with_a_public_queue() {
    const SCRIPT: &str = r#"
import fcntl, os, posix_ipc, struct, sys, time
name, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)

def refused(what, attempt):
    try:
        attempt()
    except (OSError, posix_ipc.Error):
        return
    sys.exit(what)

refused("receive", lambda: posix_ipc.MessageQueue(name, read=True, write=False))
refused("receive and send", lambda: posix_ipc.MessageQueue(name))
refused("unlink", lambda: posix_ipc.unlink_message_queue(name))
queue = posix_ipc.MessageQueue(name, read=False, write=True)
refused("receive through it", lambda: queue.receive(0))
refused("chmod", lambda: os.fchmod(queue.mqd, 0o666))
refused("chown", lambda: os.fchown(queue.mqd, os.getuid(), -1))
for kind in (fcntl.F_RDLCK, fcntl.F_WRLCK):
    lock = struct.pack("hhqqi4x", kind, os.SEEK_SET, 0, 0, 0)
    refused("lock", lambda: fcntl.fcntl(queue.mqd, fcntl.F_OFD_SETLK, lock))
fcntl.flock(queue.mqd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("holds", file=sys.stderr, flush=True)
while not os.path.exists("go-on"):
    time.sleep(0.01)
"#;
    let world = World::new("third-queue");
    let Some(users) = Users::of(&world) else { return };
    let Some(python) = python_or_skip() else { return };
    let bytes = put(&world, 100_000);
    let server = serve(&world, &users, users.a, &["--public"]);
    let third = world
        .tool(python.to_str().unwrap())
        .args(["-c", SCRIPT, world.name()]);
    let third = third.arg(users.c.to_string()).start();
    third.wait_for_stderr("holds");
    let honest = || {
        client(&world, &users)
            .args(["-o", "-"])
            .as_user(users.b)
            .run()
            .expect_code(0)
    };
    assert!(honest().stdout == bytes);
    // The third user's own client is a client like others, as long as it trusts the server.
    let own = client(&world, &users)
        .args(["-o", "-"])
        .as_user(users.c)
        .run()
        .expect_code(0);
    assert!(own.stdout == bytes);
    std::fs::write(world.root().join("go-on"), "").unwrap();
    third.finish().expect_code(0);
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// Whoever takes the name of a server first is not taken for it by anybody who has not said so.
#[test]
fn third_user_who_takes_the_name_first_is_neither_joined_nor_believed() {
    let world = World::new("third-name");
    let Some(users) = Users::of(&world) else { return };
    put(&world, 1000);
    for options in [&["--public"][..], &[]] {
        let squatter = serve(&world, &users, users.c, options);
        let said = format!("uid {}", users.c);
        for uid in [users.a, 0] {
            let refused = users
                .run_as(world.server().arg("--public"), uid)
                .run()
                .expect_code(3);
            refused.expect_said(&said).expect_said("--name");
        }
        for uid in [users.a, users.b, 0] {
            let program = client(&world, &users).args(["--wait", "0", "-o", "-"]);
            let refused = users.run_as(program, uid).run().expect_code(3);
            let closed = options.is_empty() && uid != 0;
            let refused = refused.expect_said(if closed {
                "permission denied (EACCES)"
            } else {
                &said
            });
            assert!(refused.stdout.is_empty());
        }
        stop(&squatter);
    }
    users.assert_nothing_left();
    world.finish();
}

/// How many sessions the server has, without the one that asks.
fn sessions(world: &World, users: &Users) -> u64 {
    let status = world.shmeld("status").args(["--json", "--name", world.name()]);
    let status = status.as_user(users.a).run().expect_code(0);
    status.json_lines()[0]["sessions"].as_u64().unwrap() - 1
}

/// A client that waits for somebody to read what it writes, and so keeps its session.
struct Held {
    client: Running,
    output: PipeReader,
}

impl Held {
    /// It is the `number`th of them.
    fn start(world: &World, users: &Users, uid: u32, number: usize) -> Self {
        let (output, sink) = std::io::pipe().unwrap();
        let client = client(world, users).args(["-o", "-"]).stdout(sink);
        let client = users.run_as(client, uid).start();
        eventually("its session has begun", || {
            sessions(world, users) == number as u64
        });
        Held { client, output }
    }

    #[track_caller]
    fn finish(self, code: i32) -> Vec<u8> {
        let (ended, bytes) = self.end();
        ended.expect_code(code);
        bytes
    }

    fn end(mut self) -> (Outcome, Vec<u8>) {
        let mut bytes = Vec::new();
        self.output.read_to_end(&mut bytes).unwrap();
        (self.client.finish(), bytes)
    }
}

/// One user cannot take all places: by default a quarter of them. The server's own user can.
#[test]
fn one_user_gets_a_part_of_the_places_and_the_others_are_served() {
    let world = World::new("third-greedy");
    let Some(users) = Users::of(&world) else { return };
    let bytes = put(&world, 2 * MIB as usize);
    for (options, places) in [
        (&["--public", "--max-sessions", "8"][..], 2),
        (
            &["--public", "--max-sessions", "8", "--max-sessions-per-user", "1"],
            1,
        ),
        (&["--public", "--max-sessions", "4"], 1),
    ] {
        let server = serve(&world, &users, users.a, options);
        let mut held: Vec<Held> = Vec::new();
        let ask = |uid: u32| {
            let client = client(&world, &users).args(["--wait", "0", "-o", "-"]);
            users.run_as(client, uid).run()
        };
        for _ in 0..places {
            held.push(Held::start(&world, &users, users.c, held.len() + 1));
        }
        // At once: those that hold the places lose them if they do nothing for 5 s.
        let refused = ask(users.c).expect_code(3).expect_said("(BUSY)");
        refused.expect_said("--max-sessions-per-user");
        for _ in 0..2 {
            held.push(Held::start(&world, &users, users.a, held.len() + 1));
        }
        assert!(ask(users.b).expect_code(0).stdout == bytes);
        for held in held {
            assert!(held.finish(0) == bytes);
        }
        // It waits for a place like everybody else.
        let patient = client(&world, &users).args(["-o", "-"]);
        assert!(patient.as_user(users.c).run().expect_code(0).stdout == bytes);
        stop(&server);
    }
    users.assert_nothing_left();
    world.finish();
}

/// A user had as many clients as one gets, all of them paused, and could start no other one until they were gone: only a server without any
/// free place took one from somebody. (Review of what protects users from each other.) Takes the 5 s after which a client counts as stalled.
#[test]
fn paused_client_loses_its_place_to_another_one_of_its_user_and_nobody_else_does() {
    let world = World::new("third-paused");
    let Some(users) = Users::of(&world) else { return };
    let bytes = put(&world, 2 * MIB as usize);
    let server = serve(&world, &users, users.a, &["--public", "--max-sessions", "8"]);
    let other = Held::start(&world, &users, users.b, 1);
    let paused = [2, 3].map(|number| Held::start(&world, &users, users.c, number));
    let patient = client(&world, &users).args(["-o", "-"]).as_user(users.c).run();
    assert!(patient.expect_code(0).stdout == bytes);
    let mut ends = paused.map(Held::end);
    ends.sort_by_key(|(ended, _)| ended.code);
    let [(kept, whole), (evicted, _)] = ends;
    kept.expect_code(0);
    evicted.expect_code(4);
    assert!(whole == bytes && other.finish(0) == bytes);
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// Started by strace, which kills it at a call that nothing before it makes.
fn killed_at(program: Program, call: &str, number: u32) -> Running {
    let (trace, inject) = (
        format!("trace={call}"),
        format!("inject={call}:signal=KILL:when={number}"),
    );
    program
        .wrapped(&["strace", "-f", "-qq", "-o", "killed", "-e", &trace, "-e", &inject])
        .start()
}

/// C1, C2 and C3 across users: what is left of a client that was killed is its own user's or root's to remove, and so with servers.
#[test]
fn kills_across_users_leave_nothing_once_root_has_swept() {
    let world = World::new("third-kills");
    let Some(users) = Users::of(&world) else { return };
    if !has_or_skip("strace") {
        return;
    }
    let bytes = put(&world, 2 * MIB as usize);
    let sweep = || {
        let other = World::new("third-sweeper");
        stop(&other.start_server());
        other.finish();
    };
    let server = serve(&world, &users, users.a, &["--public"]);
    for (call, number) in [
        ("fsetxattr", 1),
        ("linkat", 1),
        ("mq_timedsend", 1),
        ("unlinkat", 1),
        ("mq_timedsend", 2),
    ] {
        let killed = killed_at(
            client(&world, &users).args(["-o", "-"]).as_user(users.b),
            call,
            number,
        );
        assert_eq!(killed.finish().code, None, "{call} was not reached");
        let alive = client(&world, &users).args(["-o", "-"]).as_user(users.c).run();
        assert!(alive.expect_code(0).stdout == bytes, "after {call}");
        sweep();
        users.assert_nothing_left();
    }
    // The server dies under a client of another user, which notices and leaves nothing.
    let held = Held::start(&world, &users, users.b, 1);
    server.kill();
    assert!(held.finish(4).len() < bytes.len());
    users.assert_nothing_left();
    // And at its own steps. Root's sweep takes its queue and its gate as well.
    let group = users.group.to_string();
    for (options, call) in [
        (&["--group", &group][..], "fchown"),
        (&["--public"], "mq_timedreceive"),
    ] {
        let server = world.server().args(options).as_member(users.a, &[users.group]);
        let killed = killed_at(server, call, 1);
        if call == "mq_timedreceive" {
            killed.wait_for_stderr("serving");
            let trusting = client(&world, &users).args(["--wait", "0", "-o", "-"]);
            trusting.as_user(users.b).run().expect_code(3);
        }
        assert_eq!(killed.finish().code, None, "{call} was not reached");
        // What it left may be gone already: each server of root that starts meanwhile sweeps.
        sweep();
        users.assert_nothing_left();
        assert!(!path_of(&world.gate_name()).exists());
    }
    world.finish();
}
