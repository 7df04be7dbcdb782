//! Names: patterns, files that are not there, and everything that is no name of a file. Each has an error
//! of its own, none hurts the files beside it, and the server lives.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::content;
use crate::world::{NOBODY, World, has_or_skip, is_root_or_skip};

#[test]
fn missing_file_is_reported_as_fnf_and_the_others_arrive() {
    let world = World::new("fnf");
    let (first, last) = (world.put_random("first", 5_000), world.put_random("last", 10));
    let server = world.start_server();
    let outcome = world.fetch(&["first", "nope", "last"]).expect_code(1);
    outcome.expect_line("shm_client: get nope: no such file (FNF)");
    world.assert_output("first", &first);
    world.assert_output("last", &last);
    assert!(!world.output("nope").exists());
    assert!(server.is_running());
    world.finish();
}

#[test]
fn missing_file_leaves_no_trace_under_the_name_of_a_single_output() {
    let world = World::new("fnf-single");
    let _server = world.start_server();
    let client = world.client().arg("nope").arg("-o").arg(world.output("there"));
    client
        .run()
        .expect_code(1)
        .expect_line("shm_client: get nope: no such file (FNF)");
    world.assert_no_output();
    world.finish();
}

#[test]
fn missing_file_leaves_an_older_output_as_it_was() {
    let world = World::new("fnf-old");
    std::fs::write(world.output("nope"), b"from yesterday").unwrap();
    let _server = world.start_server();
    world.fetch(&["nope"]).expect_code(1);
    world.assert_output("nope", b"from yesterday");
    world.finish();
}

/// Fetches one bad name between two good ones; returns the line about it.
#[track_caller]
fn complaint_about(world: &World, name: &[u8]) -> String {
    let client = world.client().arg("-o").arg(world.output(""));
    let client = client.arg("good").arg(OsStr::from_bytes(name)).arg("fine");
    let outcome = client.run().expect_code(1);
    world.assert_output("good", b"good");
    world.assert_output("fine", b"fine");
    assert_eq!(
        content::names_below(&world.output("")).len(),
        2,
        "{}",
        outcome.stderr
    );
    for name in ["good", "fine"] {
        std::fs::remove_file(world.output(name)).unwrap();
    }
    let mut lines = outcome.stderr.lines();
    lines.next().unwrap_or_default().to_owned()
}

#[test]
fn whatever_is_no_name_of_a_file_has_a_clear_error_of_its_own() {
    let world = World::new("bad");
    world.put("good", b"good");
    world.put("fine", b"fine");
    world.put("directory/inside", b"x");
    assert!(world.tool("mkfifo").arg(world.source("fifo")).run().code == Some(0));
    let server = world.start_server();
    let long = "n".repeat(300);
    let longer = "x/".repeat(500);
    for (name, shown, text) in [
        (
            &b"directory"[..],
            "directory",
            "a directory, not a file (NOT_A_FILE)",
        ),
        (b"fifo", "fifo", "a FIFO, not a file (NOT_A_FILE)"),
        (b"../x", "../x", "the path leaves the exported directory (DENIED)"),
        (
            b"directory/../../x",
            "directory/../../x",
            "the path leaves the exported directory (DENIED)",
        ),
        (
            b"/etc/passwd",
            "/etc/passwd",
            "the path leaves the exported directory (DENIED)",
        ),
        (b"", "\"\"", "the name is empty or contains NUL (BAD_NAME)"),
        (
            long.as_bytes(),
            &long,
            "a component of the name is longer than 255 bytes (NAME_TOO_LONG)",
        ),
        (
            longer.as_bytes(),
            &longer,
            "a path of 1000 bytes; at most 900 can be asked for",
        ),
        (b"new\nline", "new\\nline", "no such file (FNF)"),
        (b"esc\x1bc", "esc\\x1bc", "no such file (FNF)"),
        (b"bytes\xff\xfe", "bytes\\xff\\xfe", "no such file (FNF)"),
        (
            b"good/x",
            "good/x",
            "no such file: a part of its path is not a directory (FNF)",
        ),
        (
            b"good/",
            "good/",
            "no such file: a part of its path is not a directory (FNF)",
        ),
    ] {
        let expected = format!("shm_client: get {shown}: {text}");
        assert_eq!(complaint_about(&world, name), expected);
    }
    assert!(server.is_running());
    world.finish();
}

#[test]
fn files_of_the_kernel_and_devices_are_not_served() {
    let world = World::new("kernel-files");
    let server = world.shmeld("serve").args(["--name", world.name(), "/"]).start();
    server.wait_for_stderr("serving");
    let outcome = world
        .fetch(&["proc/version", "dev/null", "dev/zero", "sys/kernel/mm"])
        .expect_code(1);
    assert_eq!(
        outcome.stderr.matches("(NOT_A_FILE)").count(),
        4,
        "{}",
        outcome.stderr
    );
    world.finish();
}

#[test]
fn fifo_never_makes_anybody_wait_even_in_a_tree() {
    let world = World::new("fifo");
    let bytes = world.put_random("tree/file", 100);
    world
        .tool("mkfifo")
        .arg(world.source("tree/pipe"))
        .run()
        .expect_code(0);
    let _server = world.start_server();
    let outcome = world.fetch(&["-r", "tree"]).expect_code(1);
    outcome.expect_line("shm_client: get tree/pipe: a FIFO, not a file (NOT_A_FILE)");
    world.assert_output("tree/file", &bytes);
    assert!(!world.output("tree/pipe").exists());
    world.finish();
}

#[test]
fn unreadable_file_is_denied_and_those_beside_it_arrive() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let world = World::new("unreadable");
    world.put("open", b"open");
    content::set_mode(&world.put("closed", b"secret"), 0o600);
    content::set_mode(world.put("room/inside", b"secret").parent().unwrap(), 0o700);
    let server = world.server().as_user(NOBODY).start();
    server.wait_for_stderr("serving");
    // Root may use anybody's queue, but accepts a server of another user only by name.
    let refused = world.fetch(&["open"]).expect_code(3);
    refused.expect_said("belongs to uid 65534, not to us");
    let client = world.client().args(["-o"]).arg(world.output("")).as_user(NOBODY);
    content::set_mode(&world.output(""), 0o777);
    let outcome = client
        .args(["closed", "room/inside", "open"])
        .run()
        .expect_code(1);
    for name in ["closed", "room/inside"] {
        let line = format!("shm_client: get {name}: the server has no permission to read it (DENIED)");
        assert!(
            outcome.stderr.lines().any(|said| said == line),
            "{}",
            outcome.stderr
        );
    }
    world.assert_output("open", b"open");
    assert_eq!(content::names_below(&world.output("")).len(), 1);
    world.finish();
}

#[test]
fn names_with_blanks_dashes_newlines_and_foreign_bytes_are_names() {
    let world = World::new("strange");
    let names = [
        &b" "[..],
        b"-rf",
        b"--help",
        b"a\nb",
        b"\xff\xfe",
        b"\\",
        b"$(x)",
        b".hidden",
        b"...",
        b"%s",
    ];
    for name in names {
        let path = world.source("").join(OsStr::from_bytes(name));
        std::fs::write(path, [b"content of ", name].concat()).unwrap();
    }
    let _server = world.start_server();
    let client = world.client().arg("-o").arg(world.output("")).arg("--");
    client.args(names.map(OsStr::from_bytes)).run().expect_code(0);
    for name in names {
        let path = world.output("").join(OsStr::from_bytes(name));
        content::assert_file(&path, &[b"content of ", name].concat());
    }
    world.finish();
}

#[test]
fn pattern_fetches_what_a_shell_would_match() {
    let world = World::new("pattern");
    for name in ["a.c", "b.c", "c.h", ".hidden.c", "src/d.c", "src/deep/e.c"] {
        world.put(name, name.as_bytes());
    }
    let _server = world.start_server();
    for (pattern, expected) in [
        ("*.c", &["a.c", "b.c"][..]),
        ("[ab].?", &["a.c", "b.c"]),
        ("src/*.c", &["src/d.c"]),
        ("**/*.c", &["a.c", "b.c", "src/d.c", "src/deep/e.c"]),
        ("s*/d*/*", &["src/deep/e.c"]),
        (".h*", &[".hidden.c"]),
    ] {
        let output = world.root().join("pattern-output");
        let client = world.client().args(["--json", pattern, "-o"]).arg(&output);
        let mut names = client.run().expect_code(0).names_of("delivered");
        names.sort();
        assert_eq!(names, expected, "{pattern}");
        for name in expected {
            content::assert_file(&output.join(name), name.as_bytes());
        }
        content::remove_tree(&output);
    }
    world.finish();
}

#[test]
fn pattern_that_matches_nothing_is_fnf() {
    let world = World::new("pattern-none");
    world.put("a.c", b"");
    let _server = world.start_server();
    let outcome = world.fetch(&["*.pdf"]).expect_code(1);
    outcome.expect_line("shm_client: get *.pdf: no file matches the pattern (FNF)");
    world.assert_no_output();
    world.finish();
}

#[test]
fn file_whose_name_looks_like_a_pattern_is_fetched_by_that_name() {
    let world = World::new("literal");
    world.put("[x]*", b"the file itself");
    world.put("x1", b"a match");
    let _server = world.start_server();
    world.fetch(&["[x]*"]).expect_code(0);
    world.assert_output("[x]*", b"the file itself");
    assert_eq!(content::names_below(&world.output("")).len(), 1);
    world.finish();
}

#[test]
fn links_beneath_the_root_are_followed_and_others_denied() {
    let world = World::new("links");
    world.put("real", b"real");
    world.put("d/e", b"deep");
    for (target, link) in [
        ("real", "inside"),
        ("../real", "d/up"),
        ("d", "folder"),
        ("loop", "loop"),
    ] {
        symlink(target, world.source(link)).unwrap();
    }
    for (target, link) in [
        ("/etc/passwd", "absolute"),
        ("../output", "out"),
        ("nothing", "dangling"),
    ] {
        symlink(target, world.source(link)).unwrap();
    }
    let server = world.start_server();
    world.fetch(&["inside", "d/up", "folder/e"]).expect_code(0);
    for (name, text) in [("inside", "real"), ("d/up", "real"), ("folder/e", "deep")] {
        world.assert_output(name, text.as_bytes());
        assert!(!world.output(name).is_symlink(), "{name}");
    }
    let outcome = world
        .fetch(&["absolute", "out/x", "dangling", "loop"])
        .expect_code(1);
    let codes: Vec<&str> = outcome
        .stderr
        .lines()
        .filter_map(|line| line.split(['(', ')']).nth(1))
        .collect();
    assert_eq!(
        codes[..4],
        ["DENIED", "DENIED", "FNF", "DENIED"],
        "{}",
        outcome.stderr
    );
    server.signal("TERM");
    server.finish().expect_code(0);

    let server = world.server().arg("--no-symlinks").start();
    server.wait_for_stderr("serving");
    let outcome = world.fetch(&["inside", "folder/e", "d/e"]).expect_code(1);
    assert_eq!(
        outcome.stderr.matches("(DENIED)").count(),
        2,
        "{}",
        outcome.stderr
    );
    world.finish();
}

#[test]
fn file_beyond_the_servers_largest_size_is_refused_before_a_byte_is_sent() {
    let world = World::new("file-max");
    let just = world.put_random("just", 65_536);
    world.put_random("more", 65_537);
    let server = world.server().args(["--file-max", "64K"]).start();
    server.wait_for_stderr("serving");
    let outcome = world.fetch(&["just", "more"]).expect_code(1);
    outcome.expect_line("shm_client: get more: larger than the server's --file-max (TOO_LARGE)");
    world.assert_output("just", &just);
    assert!(!world.output("more").exists());
    world.finish();
}
