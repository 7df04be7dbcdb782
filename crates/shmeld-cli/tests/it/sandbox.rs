//! The confinement of a server: what it says of itself, and what it then cannot do, even if a debugger tells it to.

use std::path::Path;

use shmeld_os::posix::mqueue::{Access, MessageQueue};

use crate::books;
use crate::content;
use crate::faults_host::can_or_skip;
use crate::midway::{MIB, assert_same, put_large, wait_until_written};
use crate::processes::{Program, Running};
use crate::world::{NOBODY, World, eventually, has_or_skip, skip};

/// Whether this kernel has landlock; else says so.
fn has_landlock_or_skip(world: &World) -> bool {
    let server = world.server().arg("--print-sandbox").start();
    server.wait_for_stderr("serving");
    server.signal("TERM");
    let said = server.finish().expect_code(0).stdout_text();
    let has = said.contains("landlock: on");
    if !has {
        skip("a kernel with landlock");
    }
    has
}

/// What a server prints of its confinement, and what the kernel says of it meanwhile, and of its limits.
#[track_caller]
fn said_by(world: &World, server: Program) -> (String, String) {
    let server = server.arg("--print-sandbox").start();
    server.wait_for_stderr("serving");
    let read = |name| std::fs::read_to_string(format!("/proc/{}/{name}", server.pid())).unwrap();
    let kernel = read("status") + &read("limits");
    // It serves on, whatever it has reached.
    world.fetch(&["file"]).expect_code(0);
    server.signal("TERM");
    (server.finish().expect_code(0).stdout_text(), kernel)
}

#[test]
fn what_a_server_says_of_its_confinement_is_what_the_kernel_says() {
    let world = World::new("said");
    let bytes = world.put_random("file", 10_000);
    if !has_landlock_or_skip(&world) {
        return;
    }
    let (said, kernel) = said_by(&world, books::server(&world));
    world.assert_output("file", &bytes);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("landlock: on, version "), "{said}");
    assert!(lines[0].ends_with(": files outside cannot be opened"), "{said}");
    let [directory, logs] =
        [world.source(""), world.root().to_owned()].map(|path| path.canonicalize().unwrap());
    for line in [
        format!("landlock: allowed: reading beneath {}", directory.display()),
        format!(
            "landlock: allowed: writing and making files beneath {} (--audit)",
            logs.display()
        ),
        "landlock: tried after that: open / EACCES, open /proc/self/status EACCES".to_owned(),
    ] {
        assert!(lines.contains(&&*line), "{line}\n{said}");
    }
    assert!(
        said.contains(&format!("WARNING: {} holds what is served", logs.display())),
        "{said}"
    );
    assert!(
        said.contains("chmod, chown") && said.contains("run it as a user of its own"),
        "{said}"
    );
    assert!(said.contains("\nnew privileges: none"), "{said}");
    assert!(
        said.contains("\ncore dumps: none, neither to a file nor to a handler"),
        "{said}"
    );
    assert!(said.ends_with("\nignored signals: SIGPIPE, SIGXFSZ\n"), "{said}");
    assert!(kernel.contains("NoNewPrivs:\t1\n"), "{kernel}");
    let core = kernel.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["1", "1"], "{kernel}");
    let ignored = kernel.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
    let ignored = u64::from_str_radix(ignored.unwrap(), 16).unwrap();
    let bit = |signal: u64| ignored >> (signal - 1) & 1;
    assert_eq!((bit(13), bit(25)), (1, 1), "{kernel}");
    world.finish();
}

#[test]
fn server_without_its_confinement_says_so_and_serves() {
    let world = World::new("unconfined");
    let bytes = world.put_random("file", 10_000);
    let (said, kernel) = said_by(&world, world.server().arg("--no-sandbox"));
    world.assert_output("file", &bytes);
    let first = format!(
        "landlock: off (--no-sandbox): files outside {} are kept out by openat2 alone\n",
        world.source("").canonicalize().unwrap().display()
    );
    assert!(said.starts_with(&first), "{said}");
    // The rest costs nobody anything.
    assert!(said.contains("new privileges: none") && kernel.contains("NoNewPrivs:\t1\n"));
    world.finish();
}

/// strace answers in the kernel's place.
fn with_answer(server: Program, answer: &str) -> Program {
    let inject = format!("inject={answer}");
    server.traced(
        "/dev/null",
        &[
            "-D",
            "-e",
            "trace=landlock_create_ruleset,landlock_restrict_self",
            "-e",
            &inject,
        ],
    )
}

#[test]
fn server_on_a_kernel_without_landlock_says_so_and_serves() {
    let world = World::new("no-landlock");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    for (errno, reason) in [
        ("ENOSYS", "ENOSYS: not in this kernel, or forbidden by a filter"),
        ("EPERM", "ENOSYS: not in this kernel, or forbidden by a filter"),
        ("EOPNOTSUPP", "EOPNOTSUPP: not enabled at boot"),
    ] {
        let answer = format!("landlock_create_ruleset:error={errno}");
        let (said, kernel) = said_by(&world, with_answer(world.server(), &answer));
        world.assert_output("file", &bytes);
        let first = format!(
            "landlock: not available ({reason}): files outside {} are kept out by openat2 alone\n",
            world.source("").canonicalize().unwrap().display()
        );
        assert!(said.starts_with(&first), "{said}");
        assert!(kernel.contains("NoNewPrivs:\t1\n"), "{kernel}");
    }
    world.finish();
}

/// An old kernel is asked for no more than it has, and the rest is told.
#[test]
fn server_on_a_kernel_with_an_old_landlock_says_what_that_cannot_do() {
    let world = World::new("old-landlock");
    if !has_or_skip("strace") || !has_landlock_or_skip(&world) {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    let answer = "landlock_create_ruleset:retval=1:when=1";
    let (said, _) = said_by(&world, with_answer(world.server(), answer));
    world.assert_output("file", &bytes);
    assert!(said.starts_with("landlock: on, version 1: "), "{said}");
    assert!(said.contains("open / EACCES"), "{said}");
    let gaps = "landlock: version 1 cannot forbid: truncating a file by its name, TCP, ioctl on devices among \
                what may be opened, signals and abstract sockets to others, connecting to sockets by their path, chmod, ";
    assert!(said.contains(gaps), "{said}");
    world.finish();
}

/// It has what it needs and refuses: then nobody is served in the belief that the server is confined.
#[test]
fn server_whose_confinement_is_refused_ends_with_the_reason() {
    let world = World::new("refused-landlock");
    if !has_or_skip("strace") || !has_landlock_or_skip(&world) {
        return;
    }
    let server = with_answer(world.server(), "landlock_restrict_self:error=E2BIG");
    let outcome = server.run().expect_code(3);
    let outcome = outcome
        .expect_line("shm_server: landlock_restrict_self: argument list or structure too large (E2BIG)");
    outcome
        .expect_said("hint: this process runs in as many confinements")
        .expect_said("--no-sandbox");
    world.finish();
}

/// Something that is looked up in /proc or /sys when it is first needed works on one kernel and not on the next: before Linux 6.4 the page
/// size came from /proc/self/auxv, which a confined thread cannot open.
#[test]
fn confined_server_does_not_even_try_to_open_anything_outside() {
    let world = World::new("content");
    if !has_or_skip("strace") || !has_landlock_or_skip(&world) {
        return;
    }
    let bytes = world.put_random("tree/file", 300_000);
    let calls = "trace=open,openat,openat2,prctl,execve";
    let strace = ["strace", "-D", "-f", "-qq", "-o", "trace", "-e", calls];
    let server = world.server().wrapped(&strace).start();
    server.wait_for_stderr("serving");
    for region in ["4096", "1M"] {
        world
            .fetch(&["--region", region, "-r", "--verify", "tree", "missing"])
            .expect_code(1);
        world.assert_output("tree/file", &bytes);
    }
    world.status();
    server.signal("TERM");
    server.finish().expect_code(0);
    let trace = std::fs::read_to_string(world.root().join("trace")).unwrap();
    let denied: Vec<&str> = trace.lines().filter(|line| line.contains("EACCES")).collect();
    assert!(denied.is_empty(), "{denied:#?}");
    let auxiliary = ["PR_GET_AUXV", "0x41555856", "auxv"];
    assert!(!auxiliary.iter().any(|word| trace.contains(word)), "{trace}");
    world.finish();
}

/// What each thread of a server gets when a debugger makes it call `open`: for a file outside, its error number, and for one inside.
#[track_caller]
fn told_by_a_debugger(world: &World, server: &Running, inside: &Path) -> Option<Vec<[i32; 3]>> {
    let script = format!(
        "set language c\n\
         define attempt\n\
         set $outside = ((int (*)(const char *, int)) open)(\"/etc/passwd\", 0)\n\
         set $reason = *((int *(*)(void)) __errno_location)()\n\
         set $inside = ((int (*)(const char *, int)) open)(\"{}\", 0)\n\
         printf \"attempt: %d %d %d\\n\", $outside, $reason, $inside\n\
         end\n\
         thread apply all attempt\n",
        inside.display()
    );
    std::fs::write(world.root().join("attempt.gdb"), script).unwrap();
    let pid = server.pid().to_string();
    let gdb = world
        .tool("gdb")
        .args(["-nx", "--readnever", "-batch", "-p", &pid, "-x", "attempt.gdb"]);
    let outcome = gdb.wrapped(&["env", "DEBUGINFOD_URLS="]).run();
    if outcome.stderr.contains("ptrace: Operation not permitted") {
        skip("ptrace");
        return None;
    }
    let text = outcome.stdout_text();
    let attempts = text.lines().filter_map(|line| line.strip_prefix("attempt: "));
    let numbers = |line: &str| {
        let numbers: Vec<i32> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        <[i32; 3]>::try_from(numbers).unwrap()
    };
    let attempts: Vec<_> = attempts.map(numbers).collect();
    // The acceptor, the thread that hears signals, and a session.
    assert_eq!(attempts.len(), 3, "{text}\n{}", outcome.stderr);
    Some(attempts)
}

/// Whoever takes over a confined server, in whatever thread, can read what it serves and nothing else.
#[test]
fn confined_server_cannot_open_a_file_outside_even_if_a_debugger_makes_it_try() {
    const EACCES: i32 = 13;
    let world = World::new("debugged");
    if !has_or_skip("gdb") {
        return;
    }
    let small = world.put_random("file", 10_000);
    if !has_landlock_or_skip(&world) {
        return;
    }
    let large = put_large(&world, "large", 64);
    for option in [None, Some("--no-sandbox")] {
        let server = world.server().args(option).start();
        server.wait_for_stderr("serving");
        let client = world.fetching("large");
        wait_until_written(&client, MIB);
        client.signal("STOP");
        let Some(attempts) = told_by_a_debugger(&world, &server, &world.source("file")) else {
            client.signal("CONT");
            client.finish();
            return;
        };
        for [outside, reason, inside] in attempts {
            match option {
                None => assert_eq!((outside, reason), (-1, EACCES)),
                // The same hook, where nothing stands in its way.
                Some(_) => assert!(outside > 2, "{outside} ({reason})"),
            }
            assert!(inside > 2, "{inside}");
        }
        client.signal("CONT");
        client.finish().expect_code(0);
        assert_same(&world.output("large"), &large);
        world.fetch(&["file"]).expect_code(0);
        world.assert_output("file", &small);
        server.signal("TERM");
        server.finish().expect_code(0);
    }
    world.finish();
}

fn has_queue(world: &World) -> bool {
    MessageQueue::open(&world.queue_name(), Access::Send).is_ok()
}

/// A user who cannot mount the queues, where nobody else has: the server can be confined and served from, but not make its queue again.
#[test]
fn confined_server_that_cannot_make_its_queue_again_says_so_before_and_ends_when_it_is_lost() {
    let world = World::new("lost");
    let no_queues = "{ umount -a -t mqueue; true; }";
    if !can_or_skip(&world, "--mount", no_queues) || !has_landlock_or_skip(&world) {
        return;
    }
    let bytes = world.put_random("file", 10_000);
    content::set_mode(&world.source("file"), 0o644);
    let server = world
        .server()
        .arg("--print-sandbox")
        .as_user(NOBODY)
        .after(no_queues);
    let server = server.wrapped(&["unshare", "--mount"]).start();
    server.wait_for_stderr("serving");
    let client = world.client().arg("-o").arg(world.output("file")).arg("file");
    content::set_mode(&world.output(""), 0o777);
    client.as_user(NOBODY).run().expect_code(0);
    world.assert_output("file", &bytes);
    MessageQueue::unlink(&world.queue_name()).unwrap();
    let outcome = server.finish().expect_code(3);
    let said = format!(
        "shm_server: server {}: its queue lost its name and cannot be made again in its confinement",
        world.name()
    );
    let outcome = outcome
        .expect_line(&said)
        .expect_said("mount -t mqueue none /dev/mqueue, or --no-sandbox");
    let printed = outcome.stdout_text();
    let warned = "landlock: the queue is lost if it loses its name, and the server then ends with 3";
    assert!(printed.contains(warned), "{printed}");
    assert!(!has_queue(&world), "a queue was made that nobody can open");
    world.finish();
}

/// The same user, where the queues are mounted somewhere.
#[test]
fn confined_server_makes_its_queue_again_where_the_queues_are_mounted() {
    let world = World::new("found-again");
    let place = world.root().join("queues");
    std::fs::create_dir(&place).unwrap();
    let mount = format!("mount -t mqueue none {}", place.display());
    if !can_or_skip(&world, "--mount", &mount) {
        return;
    }
    let server = world
        .server()
        .arg("--print-sandbox")
        .as_user(NOBODY)
        .after(&mount);
    let server = server.wrapped(&["unshare", "--mount"]).start();
    server.wait_for_stderr("serving");
    MessageQueue::unlink(&world.queue_name()).unwrap();
    eventually("the queue is there again", || has_queue(&world));
    server.signal("TERM");
    let said = server.finish().expect_code(0).stdout_text();
    assert!(!said.contains("the queue is lost"), "{said}");
    world.finish();
}
