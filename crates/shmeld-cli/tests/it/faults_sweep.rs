//! What a start removes of what it finds in /dev/shm (row C8 of the fault catalogue).

use std::os::unix::fs::{FileExt, chown};
use std::path::PathBuf;

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::process;

use crate::content;
use crate::raw_region::{ONE_SLOT, PAGE, header};
use crate::world::{NOBODY, World, can_unshare_or_skip, eventually, has_or_skip, is_root_or_skip};

/// The digits of a region's name.
fn digits() -> String {
    let id = process::random_bytes::<16>().unwrap();
    id.map(|byte| format!("{byte:02x}")).concat()
}

/// An object of mode 0600 in /dev/shm.
fn make(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from("/dev/shm").join(name);
    let file = std::fs::File::create_new(&path).unwrap();
    content::set_mode(&path, 0o600);
    file.write_all_at(bytes, 0).unwrap();
    path
}

/// C8: what a start removes is ours (or anybody's, if we are root), has our name, and is dead; each with a line that says so.
#[test]
fn sweep_takes_what_is_dead_and_ours_and_nothing_else() {
    let world = World::new("sweep");
    let header = header(PAGE, &[7; 16], ONE_SLOT);
    let dead = make(&format!("shmeld.{}", digits()), &header);
    let kept = [
        ("another prefix", make(&format!("shmelt.{}", digits()), &header)),
        (
            "digits missing",
            make(&format!("shmeld.{}", &digits()[1..]), &header),
        ),
        (
            "capitals",
            make(
                &format!(
                    "shmeld.{}",
                    digits().to_uppercase().replace(char::is_numeric, "A")
                ),
                &header,
            ),
        ),
        ("not finished yet", make(&format!("shmeld.{}", digits()), b"")),
        ("leased", make(&format!("shmeld.{}", digits()), &header)),
        (
            "another user's, leased",
            make(&format!("shmeld.{}", digits()), &header),
        ),
        ("a FIFO", PathBuf::from(format!("/dev/shm/shmeld.{}", digits()))),
        ("a link", PathBuf::from(format!("/dev/shm/shmeld.{}", digits()))),
        (
            "a gate that is held",
            make(&format!("shmeld.shmeld-sweep-{}.gate", std::process::id()), b""),
        ),
    ];
    let path = |what: &str| &kept.iter().find(|(name, _)| *name == what).unwrap().1;
    world.tool("mkfifo").arg(path("a FIFO")).run().expect_code(0);
    std::os::unix::fs::symlink(&dead, path("a link")).unwrap();
    let open = |what: &str| {
        std::fs::OpenOptions::new()
            .write(true)
            .read(true)
            .open(path(what))
            .unwrap()
    };
    let (region, gate) = (open("leased"), open("a gate that is held"));
    let foreign = open("another user's, leased");
    assert!(lease::try_take(&foreign, Range::byte(0), Kind::Write, "region").unwrap());
    assert!(lease::try_take(&region, Range::byte(0), Kind::Write, "region").unwrap());
    assert!(lease::try_take(&gate, Range::WHOLE, Kind::Write, "gate").unwrap());
    if is_root_or_skip() {
        chown(path("another user's, leased"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let server = world.start_server();
    // Servers of other tests sweep as well, and under the same rules.
    eventually("the dead one is gone", || !dead.exists());
    let gone: Vec<&str> = kept
        .iter()
        .filter(|(_, path)| path.symlink_metadata().is_err())
        .map(|(what, _)| *what)
        .collect();
    for (_, path) in &kept {
        let _ = std::fs::remove_file(path);
    }
    assert_eq!(gone, [""; 0], "these were not to be removed\n{}", server.stderr());
    world.finish();
}

/// C8: the lines. In a /dev/shm of its own, so that nobody else sweeps first.
#[test]
fn sweep_says_what_it_removes_and_why() {
    if !is_root_or_skip() || !can_unshare_or_skip() {
        return;
    }
    let world = World::new("sweep-log");
    let region = "shmeld.0123456789abcdef0123456789abcdef";
    let script = format!(
        "mount -t tmpfs none /dev/shm && printf 'SHMELD1\\001' > /dev/shm/{region} && : > /dev/shm/shmeld.shmeld-gone.gate \
         && cp -p /dev/shm/{region} /dev/shm/shmeld.ffffffffffffffffffffffffffffffff \
         && chown 65534 /dev/shm/shmeld.ffffffffffffffffffffffffffffffff"
    );
    let server = world
        .server()
        .after(&script)
        .wrapped(&["unshare", "--mount"])
        .start();
    server.wait_for_stderr("serving");
    let said = server.stderr();
    for line in [
        format!("removed the region /{region}: it is ours and its client is dead (lease free)"),
        "removed the region /shmeld.ffffffffffffffffffffffffffffffff: it is of uid 65534 and its client is dead (lease free)"
            .to_owned(),
        "removed the gate /shmeld.shmeld-gone.gate: it is ours and no server holds its lock".to_owned(),
    ] {
        assert!(said.contains(&line), "no {line:?} in\n{said}");
    }
    assert_eq!(said.matches("removed").count(), 3, "{said}");
    world.finish();
}

/// C8: root must not be talked into removing the queue of one user by the gate of another. Anybody can make a gate.
#[test]
fn sweep_of_root_removes_no_queue_for_the_gate_of_somebody_else() {
    if !is_root_or_skip() {
        return;
    }
    let (world, victim) = (World::new("sweep-deputy"), World::new("sweep-victim"));
    let queue = MessageQueue::create_new(&victim.queue_name(), 10, 64, 0o600).unwrap();
    let gate = make(victim.gate_name().as_str(), b"");
    chown(&gate, Some(NOBODY), Some(NOBODY)).unwrap();
    let server = world.start_server();
    assert_eq!(queue.stat().unwrap().links, 1, "{}", server.stderr());
    MessageQueue::unlink(&victim.queue_name()).unwrap();
    // Without the queue it is a gate that a dead server left.
    let next = World::new("sweep-next");
    let _next = next.start_server();
    eventually("the gate is gone", || !gate.exists());
    for world in [next, world, victim] {
        world.finish();
    }
}

/// C8: the same by a user who is not root: what others left is theirs to remove.
#[test]
fn sweep_of_a_user_takes_nothing_of_others() {
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("sweep-user");
    let (ours, roots) = (
        "shmeld.0123456789abcdef0123456789abcdef",
        "shmeld.ffffffffffffffffffffffffffffffff",
    );
    let script = format!(
        "mount -t tmpfs -o mode=1777 none /dev/shm && printf 'SHMELD1\\001' > /dev/shm/{ours} && cp /dev/shm/{ours} /dev/shm/{roots} \
         && chown 65534 /dev/shm/{ours} && : > /dev/shm/shmeld.shmeld-gone.gate"
    );
    let program = world.server().as_user(NOBODY).after(&script);
    let server = program.wrapped(&["unshare", "--mount"]).start();
    server.wait_for_stderr("serving");
    let said = server.stderr();
    assert!(
        said.contains(&format!("removed the region /{ours}: it is ours")),
        "{said}"
    );
    assert_eq!(said.matches("removed").count(), 1, "{said}");
    world.finish();
}

/// Anybody can leave as many objects as there is room for, and root's server looked at all of them before it served. (Review of what
/// protects users from each other.) A delay at each lock stands for many of them.
#[test]
fn sweep_of_root_takes_its_own_first_and_of_others_what_a_second_allows() {
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("strace") {
        return;
    }
    let world = World::new("sweep-many");
    let ours = format!("shmeld.{}", "f".repeat(32));
    let script = format!(
        "mount -t tmpfs none /dev/shm && printf 'SHMELD1\\001' > /dev/shm/{ours} && for number in $(seq 10 29); do \
         cp /dev/shm/{ours} /dev/shm/shmeld.${{number}}000000000000000000000000000000; done; chown 65534 /dev/shm/shmeld.??0*"
    );
    let strace = ["strace", "-D", "-f", "-qq", "-o", "trace", "-e", "trace=fcntl"];
    let slow = ["-e", "inject=fcntl:delay_enter=100000"];
    let server = world
        .server()
        .wrapped(&[&strace[..], &slow].concat())
        .after(&script);
    let server = server.wrapped(&["unshare", "--mount"]).start();
    server.wait_for_stderr("serving");
    let said = server.stderr();
    let removed = format!("removed the region /{ours}: it is ours");
    assert!(said.contains(&removed), "{said}");
    assert!(
        said.contains("objects of other users to the next start: those before them took 1 s"),
        "{said}"
    );
    assert!(said.matches("it is of uid 65534").count() < 20, "{said}");
    world.finish();
}
