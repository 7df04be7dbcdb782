//! Outputs on file systems that have no unnamed files (NFS, FUSE, FAT; here strace says so for them): a hidden name beside the final one, which
//! is removed whatever happens.

use std::path::Path;

use crate::content;
use crate::midway::{MIB, put_large, wait_until_written};
use crate::processes::Program;
use crate::world::{World, has_or_skip};

/// A world with a server and two files, `large` and `small`.
fn world_with_files(what: &str) -> World {
    let world = World::new(what);
    put_large(&world, "large", 128);
    world.put_random("small", 10_000);
    content::set_mode(&world.source("small"), 0o640);
    world.start_server();
    world
}

fn get(world: &World, arguments: &[&str]) -> Program {
    let client = world.client().args(["--region", "1M"]).args(arguments);
    client.arg("-o").arg(world.output(""))
}

/// Which of the client's opens is the first that asks for an unnamed file in the output directory.
fn number_of_the_open(world: &World) -> usize {
    let words = ["strace", "-f", "-qq", "-o", "opens", "-e", "trace=openat"];
    get(world, &["small"]).wrapped(&words).run().expect_code(0);
    std::fs::remove_file(world.output("small")).unwrap();
    let calls = std::fs::read_to_string(world.root().join("opens")).unwrap();
    let is_it = |call: &str| call.contains("\".\"") && call.contains("O_TMPFILE");
    let opens = calls.lines().filter(|call| call.contains(" openat("));
    1 + opens.take_while(|call| !is_it(call)).count()
}

/// The program, for which that open fails, and perhaps another call.
fn without_unnamed(program: Program, number: usize, more: &str) -> Program {
    // Kernels and file systems say it in several ways, which take turns here.
    let errno = ["EOPNOTSUPP", "EISDIR", "EINVAL", "ENOENT"][more.len() % 4];
    let inject = format!("inject=openat:error={errno}:when={number}");
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o", "calls", "-e", &inject];
    if !more.is_empty() {
        words.extend(["-e", more]);
    }
    program.wrapped(&words)
}

#[test]
fn file_has_its_name_at_once_its_mode_and_its_order_of_syncs() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("temporary");
    let number = number_of_the_open(&world);
    for old in [None, Some(0o600), Some(0o666)] {
        if let Some(mode) = old {
            std::fs::write(world.output("small"), "old").unwrap();
            content::set_mode(&world.output("small"), mode);
        }
        let client = get(&world, &["--sync", "small"]);
        let client = without_unnamed(client, number, "trace=fsync,/^rename,openat");
        client.after("umask 022").run().expect_code(0);
        world.assert_output("small", &content::of("small", 10_000));
        let expected = old.map_or(0o640, |mode| mode & 0o640);
        assert_eq!(content::mode(&world.output("small")), expected);
        let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
        let name = |line: &str| Some(line.split_whitespace().nth(1)?.split('(').next()?.to_owned());
        let last: Vec<_> = calls.lines().filter_map(name).collect();
        let last: Vec<&str> = last
            .iter()
            .map(String::as_str)
            .filter(|call| *call != "openat")
            .collect();
        assert!(calls.contains("(INJECTED)"), "{calls}");
        assert!(
            matches!(last[..], ["fsync", "rename" | "renameat", "fsync"]),
            "{calls}"
        );
        assert_eq!(content::names_below(&world.output("")), [Path::new("small")]);
    }
    world.finish();
}

#[test]
fn whatever_fails_leaves_no_hidden_name() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("temporary-fails");
    let number = number_of_the_open(&world);
    for (inject, said) in [
        ("inject=pwrite64:error=ENOSPC:when=1", "write"),
        ("inject=fsync:error=EIO:when=1", "fsync"),
        ("inject=fchmod:error=EPERM:when=2", "fchmod"),
        ("inject=/^renameat?$:error=EACCES:when=1", "rename"),
    ] {
        let client = get(&world, &["--sync", "small", "large"]);
        let outcome = without_unnamed(client, number, inject).run().expect_code(1);
        let path = world.output("small").display().to_string();
        outcome
            .expect_said(&format!("get small: {said}"))
            .expect_said(&path);
        assert_eq!(
            content::names_below(&world.output("")),
            [Path::new("large")],
            "{inject}"
        );
        std::fs::remove_file(world.output("large")).unwrap();
    }
    // Ended by a signal in the middle.
    let client = without_unnamed(get(&world, &["large"]), number, "").start();
    wait_until_written(&client, MIB);
    client.signal("INT");
    client.finish().expect_code(130);
    world.assert_no_output();
    world.finish();
}

/// There the rename must refuse, where `linkat` does so by itself.
#[test]
fn name_that_is_taken_during_the_transfer_is_kept_with_no_clobber() {
    if !has_or_skip("strace") {
        return;
    }
    let world = world_with_files("temporary-keep");
    let number = number_of_the_open(&world);
    // Without RENAME_NOREPLACE, as some file systems are, by a hard link.
    for inject in ["", "inject=renameat2:error=EINVAL"] {
        let client = get(&world, &["--no-clobber", "large"]);
        let client = without_unnamed(client, number, inject).start();
        wait_until_written(&client, MIB);
        client.signal("STOP");
        std::fs::write(world.output("large"), "mine").unwrap();
        client.signal("CONT");
        client.finish().expect_code(1).expect_said("EEXIST");
        world.assert_output("large", b"mine");
        assert_eq!(content::names_below(&world.output("")), [Path::new("large")]);
        std::fs::remove_file(world.output("large")).unwrap();
    }
    world.finish();
}
