//! Servers and clients of different users: who is served by whom, what a server's queue looks like, and what is left when one is killed
//! (rows N1, N2, Q8, C1 and C2 of the fault catalogue across users).

use shmeld_os::listing;
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName};

use crate::content;
use crate::midway::MIB;
use crate::processes::{Outcome, Program, Running};
use crate::world::{World, eventually, has_or_skip, is_root_or_skip};

/// Users and a group of a test's own, so that what they leave is told from what other tests leave.
pub struct Users {
    /// The server's.
    pub a: u32,
    /// Another one.
    pub b: u32,
    /// A third one.
    pub c: u32,
    /// A member of the group.
    pub member: u32,
    pub group: u32,
}

impl Users {
    /// `None`, and a word about it, where a test cannot be somebody else.
    pub fn of(world: &World) -> Option<Self> {
        if !is_root_or_skip() || !has_or_skip("setpriv") {
            return None;
        }
        let mut numbers = world
            .name()
            .rsplit('-')
            .map(|number| number.parse::<u32>().unwrap());
        let (number, pid) = (numbers.next().unwrap(), numbers.next().unwrap());
        let base = 1_000_000 + (pid % 65_536) * 4096 + number * 8;
        Some(Users {
            a: base,
            b: base + 1,
            c: base + 2,
            member: base + 3,
            group: base + 4,
        })
    }

    /// A program that runs as one of them; root as what it is.
    pub fn run_as(&self, program: Program, uid: u32) -> Program {
        match uid {
            0 => program,
            uid if uid == self.member => program.as_member(uid, &[self.group]),
            uid => program.as_user(uid),
        }
    }

    /// Regions of theirs that have a name.
    pub fn regions(&self) -> Vec<ObjectName> {
        let names = listing::shared_memory_names("shmeld.").unwrap();
        let names = names.iter().filter_map(|name| std::str::from_utf8(name).ok());
        names
            .filter(|name| !name.ends_with(".gate"))
            .filter_map(|name| ObjectName::new(name).ok())
            .filter(|name| {
                SharedMemory::stat_name(name).is_ok_and(|stat| (self.a..=self.group).contains(&stat.uid))
            })
            .collect()
    }

    /// Insists that no region of theirs is left.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        eventually("no region of these users is left", || self.regions().is_empty());
    }
}

/// A server of this user, with these options.
pub fn serve(world: &World, users: &Users, uid: u32, options: &[&str]) -> Running {
    let server = users.run_as(world.server().args(options), uid).start();
    server.wait_for_stderr("serving");
    server
}

#[track_caller]
pub fn stop(server: &Running) {
    server.signal("TERM");
    server.finish().expect_code(0);
}

/// Fetches to standard output, which is open to every user.
fn fetch(world: &World, users: &Users, uid: u32, options: &[&str], name: &str) -> Outcome {
    let client = world
        .client()
        .args(["--wait", "0", "-o", "-"])
        .args(options)
        .arg(name);
    users.run_as(client, uid).run()
}

#[track_caller]
fn expect_refusal(outcome: Outcome, said: &str, cure: &str) {
    let outcome = outcome.expect_code(3).expect_said(said).expect_said(cure);
    assert!(outcome.stdout.is_empty(), "{}", outcome.label);
}

/// The table of who is served by whom. Whoever may not send hears that from the kernel; whoever could send to a stranger refuses by itself.
#[test]
fn each_user_is_served_where_the_mode_and_the_client_allow_it_and_nowhere_else() {
    let world = World::new("users-table");
    let Some(users) = Users::of(&world) else { return };
    let bytes = world.put_random("file", 300_000);
    content::set_mode(&world.source("file"), 0o644);
    let group = users.group.to_string();
    for server_uid in [users.a, 0] {
        for mode in [&[][..], &["--group", &group], &["--public"]] {
            // Who gives a queue to a group is a member of it, or root.
            let server = world.server().args(mode);
            let server = match server_uid {
                0 => server.start(),
                uid => server.as_member(uid, &[users.group]).start(),
            };
            server.wait_for_stderr("serving");
            for client_uid in [users.a, users.b, users.member, 0] {
                let may_send = client_uid == 0
                    || client_uid == server_uid
                    || mode == ["--public"]
                    || (!mode.is_empty() && client_uid == users.member);
                let trusted = server_uid.to_string();
                for options in [&[][..], &["--server-uid", "7", "--server-uid", &trusted]] {
                    let trusts = server_uid == 0 || client_uid == server_uid || !options.is_empty();
                    let outcome = fetch(&world, &users, client_uid, options, "file");
                    if may_send && trusts {
                        assert!(outcome.expect_code(0).stdout == bytes);
                    } else if may_send {
                        expect_refusal(
                            outcome,
                            &format!("it belongs to uid {server_uid}, not to us"),
                            "--server-uid",
                        );
                    } else {
                        expect_refusal(outcome, "permission denied (EACCES)", "--group or --public");
                    }
                }
            }
            stop(&server);
            users.assert_nothing_left();
        }
    }
    world.finish();
}

/// Regions of every shape, several files, a tree, a listing and the status, across users and with ends of files that are no multiples of
/// anything.
#[test]
fn everything_that_a_client_can_do_works_across_users() {
    let world = World::new("users-all");
    let Some(users) = Users::of(&world) else { return };
    let sizes = [0, 1, 3776, 4096, 100_001, 3 * MIB as usize + 1];
    let names: Vec<String> = sizes.iter().map(|size| format!("tree/{size}")).collect();
    let files: Vec<Vec<u8>> = sizes
        .iter()
        .zip(&names)
        .map(|(size, name)| world.put_random(name, *size))
        .collect();
    content::set_mode(&world.source("tree"), 0o755);
    for name in &names {
        content::set_mode(&world.source(name), 0o644);
    }
    let (home, trusted) = (world.root().join("home"), users.a.to_string());
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(users.b), None).unwrap();
    let _server = serve(&world, &users, users.a, &["--public"]);
    let as_b = |command: &str| {
        let program = world
            .shmeld(command)
            .args(["--name", world.name(), "--server-uid", &trusted]);
        users.run_as(program, users.b)
    };
    for region in ["4096", "64K", "1MiB"] {
        let target = home.join(region);
        let get = as_b("get").args(["--region", region, "--verify", "-r", "tree", "-o"]);
        get.arg(&target).run().expect_code(0);
        for (name, bytes) in names.iter().zip(&files) {
            content::assert_file(&target.join(name), bytes);
        }
    }
    let listed = as_b("ls").args(["-r", "tree"]).run().expect_code(0).stdout_text();
    assert_eq!(listed.lines().count(), sizes.len(), "{listed}");
    let status = as_b("status")
        .arg("--json")
        .run()
        .expect_code(0)
        .json_lines()
        .remove(0);
    assert_eq!(status["files_total"], 3 * sizes.len());
    users.assert_nothing_left();
    world.finish();
}

/// Q8: the queue has its lease before it has its mode, and its group before that; nobody but its server may ever read it. The same when it
/// is made again.
#[test]
fn queue_lets_others_send_and_never_receive() {
    let world = World::new("users-queue");
    let Some(users) = Users::of(&world) else { return };
    if !has_or_skip("strace") {
        return;
    }
    let group = users.group.to_string();
    let stat = || {
        let queue = MessageQueue::open(&world.queue_name(), Access::Both).ok()?;
        let stat = queue.stat().unwrap();
        Some((stat.uid, stat.gid, stat.mode))
    };
    for (options, gid, mode) in [
        (&["--group", &group][..], users.group, 0o620),
        (&["--public"], users.a, 0o622),
        (&[], users.a, 0o600),
    ] {
        // Confined, a server that is not root makes its queue again only where the queues are mounted.
        let program = world
            .server()
            .args(options)
            .arg("--no-sandbox")
            .after("umask 000");
        let program = program.as_member(users.a, &[users.group]);
        let calls = "trace=mq_open,fcntl,fchown,fchmod";
        // -D: the server is our child and hears our signals.
        let server = program
            .wrapped(&["strace", "-D", "-f", "-qq", "-o", "trace", "-e", calls])
            .start();
        server.wait_for_stderr("serving");
        assert_eq!(stat(), Some((users.a, gid, mode)));
        let read = || std::fs::read_to_string(world.root().join("trace")).unwrap();
        eventually("the trace is complete", || {
            read().contains(&format!(", 0{mode:o})"))
        });
        let trace = read();
        let at = |mark: &str| {
            trace
                .find(mark)
                .unwrap_or_else(|| panic!("no {mark} in\n{trace}"))
        };
        assert!(
            at("O_EXCL") < at("l_type=F_RDLCK") && trace.contains("O_CLOEXEC, 0600,"),
            "{trace}"
        );
        if !options.is_empty() {
            assert!(at("l_type=F_RDLCK") < at(&format!(", 0{mode:o})")), "{trace}");
        }
        if gid == users.group {
            assert!(
                at("l_type=F_RDLCK") < at("fchown(") && at("fchown(") < at(", 0620)"),
                "{trace}"
            );
        }
        MessageQueue::unlink(&world.queue_name()).unwrap();
        eventually("the queue is made again, with its mode", || {
            stat() == Some((users.a, gid, mode))
        });
        stop(&server);
        std::fs::remove_file(world.root().join("trace")).unwrap();
    }
    world.finish();
}

/// Only root and members may give a queue to a group.
#[test]
fn server_that_is_no_member_of_its_group_says_so_and_leaves_nothing() {
    let world = World::new("users-group");
    let Some(users) = Users::of(&world) else { return };
    let group = users.group.to_string();
    let outcome = world.server().args(["--group", &group]).as_user(users.a).run();
    let outcome = outcome
        .expect_code(3)
        .expect_said(&format!("fchown {}", world.name()));
    outcome.expect_said("not permitted (EPERM)").expect_said("id -G");
    let queue = MessageQueue::open(&world.queue_name(), Access::Both).map(drop);
    assert!(queue.is_err_and(|error| error.kind() == ErrorKind::NotFound));
    assert!(SharedMemory::stat_name(&world.gate_name()).is_err());
    world.finish();
}

#[test]
fn options_that_contradict_each_other_or_name_no_group_end_with_2() {
    let world = World::new("users-options");
    for (options, said) in [
        (&["--group", "0", "--public"][..], "cannot be used with"),
        (&["--serve-private"], "--group"),
        (&["--group", "no-such-group-here"], "/etc/group has no group"),
        (&["--max-sessions-per-user", "0"], "write one of 1 to 2000"),
    ] {
        world
            .server()
            .args(options)
            .run()
            .expect_code(2)
            .expect_said(said);
    }
    world.finish();
}

/// Root in a container often has no CAP_DAC_OVERRIDE: then modes stop it as they stop others, and it could open no region of another user.
#[test]
fn root_without_capabilities_serves_other_users_too() {
    let world = World::new("users-bounded");
    let Some(users) = Users::of(&world) else { return };
    let bytes = world.put_random("file", 300_000);
    content::set_mode(&world.source("file"), 0o644);
    let bounds = "-dac_override,-dac_read_search";
    let server = world.server().arg("--public");
    let server = server.wrapped(&["setpriv", "--bounding-set", bounds]).start();
    server.wait_for_stderr("serving");
    for uid in [users.b, 0] {
        assert!(fetch(&world, &users, uid, &[], "file").expect_code(0).stdout == bytes);
    }
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// Without access control lists a region cannot be opened to the server. Root seldom needs them.
#[test]
fn client_without_access_control_lists_says_so_and_leaves_nothing() {
    let world = World::new("users-no-lists");
    let Some(users) = Users::of(&world) else { return };
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    content::set_mode(&world.source("file"), 0o644);
    let client = |trusted: u32| {
        let client = world
            .client()
            .args(["--server-uid", &trusted.to_string(), "-o", "-", "file"]);
        let inject = "inject=fsetxattr:error=EOPNOTSUPP";
        let strace = ["-e", "trace=fsetxattr", "-e", inject];
        client.as_user(users.b).traced("trace", &strace).run()
    };
    let server = serve(&world, &users, users.a, &["--public"]);
    let refused = client(users.a).expect_said("fsetxattr /dev/shm");
    expect_refusal(refused, "(EOPNOTSUPP)", "CONFIG_TMPFS_POSIX_ACL");
    stop(&server);
    let server = serve(&world, &users, 0, &["--public"]);
    assert!(client(0).expect_code(0).stdout == bytes);
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// A client that has offered its region to a server of one user, and finds one of another user in its place, makes a region for that one.
#[test]
fn client_that_finds_a_server_of_another_user_opens_a_new_region_to_it() {
    let world = World::new("users-successor");
    let Some(users) = Users::of(&world) else { return };
    let bytes = world.put_random("file", 300_000);
    content::set_mode(&world.source("file"), 0o644);
    let first = serve(&world, &users, users.a, &["--public"]);
    first.signal("STOP");
    let (a, c) = (users.a.to_string(), users.c.to_string());
    let client = world
        .client()
        .args(["--server-uid", &a, "--server-uid", &c, "-o", "-", "file"]);
    let client = client.as_user(users.b).start();
    eventually("it has made its offer", || !users.regions().is_empty());
    let offered = users.regions();
    first.kill();
    // Root's sweep makes the name free again: nobody else may remove what that server left.
    let other = World::new("users-sweeper");
    stop(&other.start_server());
    other.finish();
    assert!(
        MessageQueue::open(&world.queue_name(), Access::Send).is_err(),
        "the queue is left"
    );
    let second = serve(&world, &users, users.c, &["--public"]);
    assert!(client.finish().expect_code(0).stdout == bytes);
    assert!(users.regions().iter().all(|name| !offered.contains(name)));
    stop(&second);
    users.assert_nothing_left();
    world.finish();
}
