//! What a start removes of what it finds in /dev/shm (row C8 of the fault catalogue).

use std::os::unix::fs::{FileExt, chown};
use std::path::PathBuf;

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::process;

use crate::content;
use crate::raw_region::{ONE_SLOT, PAGE, header};
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// C8: what a start removes is ours, has our name, and is dead; each with a line that says so.
#[test]
fn sweep_takes_what_is_dead_and_ours_and_nothing_else() {
    let world = World::new("sweep");
    let digits = || {
        process::random_bytes::<16>()
            .unwrap()
            .map(|byte| format!("{byte:02x}"))
            .concat()
    };
    let header = header(PAGE, &[7; 16], ONE_SLOT);
    let make = |name: &str, bytes: &[u8]| {
        let path = PathBuf::from("/dev/shm").join(name);
        let file = std::fs::File::create_new(&path).unwrap();
        content::set_mode(&path, 0o600);
        file.write_all_at(bytes, 0).unwrap();
        path
    };
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
        ("another user's", make(&format!("shmeld.{}", digits()), &header)),
        ("a FIFO", PathBuf::from(format!("/dev/shm/shmeld.{}", digits()))),
        ("a link", PathBuf::from(format!("/dev/shm/shmeld.{}", digits()))),
        ("a gate that is held", make("shmeld.shmeld-sweep-test.gate", b"")),
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
    assert!(lease::try_take(&region, Range::byte(0), Kind::Write, "region").unwrap());
    assert!(lease::try_take(&gate, Range::WHOLE, Kind::Write, "gate").unwrap());
    if is_root_or_skip() {
        chown(path("another user's"), Some(NOBODY), Some(NOBODY)).unwrap();
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
    if !is_root_or_skip() || !has_or_skip("unshare") {
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
        "removed the gate /shmeld.shmeld-gone.gate: it is ours and no server holds its lock".to_owned(),
    ] {
        assert!(said.contains(&line), "no {line:?} in\n{said}");
    }
    assert_eq!(said.matches("removed").count(), 2, "{said}");
    world.finish();
}
