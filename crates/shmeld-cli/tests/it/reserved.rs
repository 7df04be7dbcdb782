//! Outputs whose storage is reserved ahead of the bytes, and modes that are given when a file is made: what both must not change.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::content;
use crate::midway::MIB;
use crate::world::{NOBODY, World, can_unshare_or_skip, has_or_skip, is_root_or_skip, skip};

/// `fallocate` on a disk with too little room keeps what it got. A sparse file then took all of the disk, and was called delivered.
#[test]
fn sparse_file_on_a_nearly_full_disk_takes_no_more_than_its_bytes() {
    let world = World::new("sparse-full");
    if !is_root_or_skip() || !has_or_skip("mkfs.ext4") || !can_unshare_or_skip() {
        return;
    }
    let source = world.source("sparse");
    std::fs::write(&source, content::random_bytes(1, MIB as usize)).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&source)
        .unwrap()
        .set_len(150 * MIB)
        .unwrap();
    let disk = world.output("");
    let mount = format!(
        "truncate -s 64M disk.image && mkfs.ext4 -q -m 0 disk.image && mount -o loop disk.image '{}'",
        disk.display()
    );
    if world.tool("unshare").args(["-m", "sh", "-c", &mount]).run().code != Some(0) {
        return skip("unshare -m and mount -o loop");
    }
    let script = format!(
        "{mount} && \"$0\" \"$@\" && stat -c %b '{}/sparse'",
        disk.display()
    );
    let cp = world.shmeld("cp").arg(&source).arg(&disk);
    let outcome = cp
        .wrapped(&["unshare", "-m", "sh", "-c", &script])
        .run()
        .expect_code(0);
    let blocks: u64 = outcome.stdout_text().trim().parse().unwrap();
    assert!(
        blocks <= 2 * 1024 + 128,
        "{blocks} blocks of 512 bytes for 1 MiB and a hole"
    );
    world.finish();
}

/// ext4 writes a file to the disk before it replaces another by a rename, but only what was not reserved: after a power cut the name had
/// 0 bytes. A cut cannot be tested here; that nothing is reserved can.
#[test]
fn storage_is_not_reserved_for_a_file_that_replaces_another() {
    let world = World::new("replace-reserved");
    if !has_or_skip("strace") {
        return;
    }
    let bytes = world.put_random("file", 8 * MIB as usize);
    let copy = || {
        let cp = world
            .shmeld("cp")
            .arg(world.source("file"))
            .arg(world.output("file"));
        let strace = ["strace", "-f", "-qq", "-e", "trace=fallocate", "-o", "calls"];
        cp.wrapped(&strace).run().expect_code(0);
        world.assert_output("file", &bytes);
        let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
        calls.lines().filter(|call| call.contains("KEEP_SIZE")).count()
    };
    let is_ext4 = world
        .tool("stat")
        .args(["-f", "-c", "%t"])
        .arg(world.output(""))
        .run();
    let expected = usize::from(is_ext4.stdout_text().trim() == "ef53");
    assert_eq!(copy(), expected, "a new file");
    assert_eq!(copy(), 0, "a file that replaces it");
    world.finish();
}

/// With the user's umask in force, directories were made without the bits that it takes even from the owner, and could not be filled.
#[test]
fn tree_arrives_whole_under_a_umask_that_takes_bits_from_the_owner() {
    let world = World::new("umask-owner");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    world.put_random("tree/sub/file", 5000);
    std::fs::set_permissions(world.root(), PermissionsExt::from_mode(0o777)).unwrap();
    for umask in [0o177, 0o222, 0o277, 0o400, 0o777] {
        let copy = world.root().join(format!("copy-{umask:03o}"));
        let cp = world.shmeld("cp").arg("-r").arg(world.source("tree")).arg(&copy);
        let script = format!("umask {umask:03o}");
        cp.as_user(NOBODY)
            .after(&script)
            .run()
            .expect_code(0)
            .expect_silence();
        let mode = |name: &str| std::fs::metadata(copy.join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode("sub/file"), 0o644 & !umask, "umask {umask:03o}");
        assert_eq!(mode("sub"), 0o755 & !umask, "umask {umask:03o}");
        content::assert_file(&copy.join("sub/file"), &content::of("tree/sub/file", 5000));
    }
    world.finish();
}

/// A default ACL narrows what is made below it, unseen by whoever makes it: `--preserve` then lost bits.
#[test]
fn preserved_modes_do_not_depend_on_a_default_acl() {
    let world = World::new("acl");
    if !has_or_skip("setfacl") {
        return;
    }
    world.put_random("tree/file", 10);
    let acl = world.tool("setfacl").args(["-d", "-m", "u::rwx,g::r-x,o::---"]);
    if acl.arg(world.output("")).run().code != Some(0) {
        return skip("a file system with ACLs");
    }
    let mode = |name: &str| std::fs::metadata(world.output(name)).unwrap().mode() & 0o777;
    let cp = |arguments: &[&str]| {
        let cp = world.shmeld("cp").args(arguments).arg(world.source("tree"));
        let outcome = cp.arg(world.output(arguments[0])).after("umask 022").run();
        outcome.expect_code(0);
    };
    cp(&["-pr"]);
    assert_eq!((mode("-pr"), mode("-pr/file")), (0o755, 0o644));
    // Without it, as `cp` does.
    cp(&["-r"]);
    assert_eq!(mode("-r/file"), 0o640);
    world.finish();
}
