//! What the programs say while they work: JSON for programs, little or nothing for people who ask for that.

use std::io::Read;
use std::time::Duration;

use crate::processes::Program;
use crate::world::{World, has_or_skip};

/// What is said about a transfer that takes longer than half a second: it is held at a FIFO for so long.
fn told_about_slow_work(what: &str, wrap: impl FnOnce(&World, Program) -> Program) -> String {
    let world = World::new(what);
    world.put("gate", b"open");
    let bytes = world.put_random("big", 8 << 20);
    world
        .tool("mkfifo")
        .arg(world.output("gate"))
        .run()
        .expect_code(0);
    world.start_server();
    let client = world.client().args(["gate", "big", "-o"]).arg(world.output(""));
    let client = wrap(&world, client).start();
    std::thread::sleep(Duration::from_millis(800));
    let mut gate = std::fs::File::open(world.output("gate")).unwrap();
    gate.read_to_end(&mut Vec::new()).unwrap();
    let outcome = client.finish().expect_code(0);
    world.assert_output("big", &bytes);
    world.finish();
    outcome.stdout_text() + &outcome.stderr
}

#[test]
fn slow_work_shows_a_bar_on_a_terminal() {
    if !has_or_skip("script") {
        return;
    }
    let told = told_about_slow_work("bar", |world, client| {
        let words: Vec<String> = client.words().iter().map(|word| format!("'{word}'")).collect();
        // The typescript of the session goes to /dev/null; what the terminal shows to standard output.
        world
            .tool("script")
            .args(["-q", "-e", "-c", &words.join(" "), "/dev/null"])
    });
    assert!(told.contains("8.00 MiB") && told.contains('\x1b'), "{told:?}");
}

#[test]
fn slow_work_writes_plain_lines_where_no_terminal_is() {
    let told = told_about_slow_work("plain", |_, client| client);
    assert!(!told.contains(['\r', '\x1b']), "{told:?}");
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("shm_client: 2 files, 8.0 MiB in "), "{told}");
}

#[test]
fn json_lines_tell_what_the_exit_code_tells() {
    let world = World::new("json");
    world.put("a", b"12345");
    world.put("odd\nname", b"x");
    std::fs::create_dir(world.output("blocked")).unwrap();
    world.put("blocked", b"x");
    world.start_server();
    for (arguments, code) in [
        (&["a"][..], 0),
        (&["a", "nope"], 1),
        (&["nope"], 1),
        (&["a", "blocked"], 1),
        (&["odd\nname", "../x", ""], 1),
        (&["*"], 1),
    ] {
        let client = world
            .client()
            .arg("--json")
            .args(arguments)
            .arg("-o")
            .arg(world.output(""))
            .run();
        let client = client.expect_code(code);
        let lines = client.json_lines();
        let (summary, events) = lines.split_last().unwrap();
        assert_eq!(
            (&summary["event"], &summary["exit_code"]),
            (&"summary".into(), &code.into()),
            "{arguments:?}"
        );
        let count = |event: &str| events.iter().filter(|line| line["event"] == event).count();
        assert_eq!(summary["files"], count("delivered"), "{arguments:?}");
        assert_eq!(summary["refused"], count("refused"), "{arguments:?}");
        assert_eq!(summary["failed"], count("failed"), "{arguments:?}");
        assert_eq!(
            code == 0,
            count("refused") + count("failed") == 0,
            "{arguments:?}"
        );
        let bytes: u64 = events.iter().filter_map(|line| line["size"].as_u64()).sum();
        assert_eq!(summary["bytes"], bytes);
        assert!(
            client.stderr.lines().all(|line| !line.contains(" in 0.")),
            "no summary for people: {}",
            client.stderr
        );
    }
    let outcome = world
        .client()
        .args(["--json", "nope", "-o"])
        .arg(world.output(""))
        .run();
    let refused = &outcome.json_lines()[0];
    assert_eq!(
        (&refused["name"], &refused["status"]),
        (&"nope".into(), &"FNF".into())
    );
    world.finish();
}

#[test]
fn json_of_an_absent_server_still_ends_in_a_code_and_a_message() {
    let world = World::new("json-none");
    let outcome = world
        .client()
        .args(["--json", "--wait", "0", "x"])
        .run()
        .expect_code(3);
    outcome.json_lines();
    outcome.expect_said("not running");
    world.finish();
}

#[test]
fn json_of_cp_names_every_file_once() {
    let world = World::new("json-cp");
    for name in ["t/a", "t/b", "t/c/d"] {
        world.put(name, name.as_bytes());
    }
    let cp = world
        .shmeld("cp")
        .args(["--json", "-r"])
        .arg(world.source("t"))
        .arg(world.output("copy"));
    let mut names = cp.run().expect_code(0).expect_silence().names_of("delivered");
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    for (name, end) in names.iter().zip(["a", "b", "c/d"]) {
        assert!(name.ends_with(end), "{names:?}");
    }
    world.finish();
}

#[test]
fn quiet_programs_say_nothing_but_errors() {
    let world = World::new("quiet");
    world.put("file", b"x");
    let server = world.server().arg("-q").start();
    let status = world
        .shmeld("status")
        .args(["--wait", "20s", "-q", "--json", "--name", world.name()]);
    status.run().expect_code(0).expect_silence();
    world.fetch(&["-q", "file"]).expect_code(0).expect_silence();
    let outcome = world.fetch(&["-q", "file", "nope"]).expect_code(1);
    assert_eq!(outcome.stderr, "shm_client: get nope: no such file (FNF)\n");
    server.signal("TERM");
    server.finish().expect_code(0).expect_silence();
    let outcome = world.fetch(&["-q", "--wait", "100ms", "file"]).expect_code(3);
    assert!(!outcome.stderr.contains("waiting"), "{}", outcome.stderr);
    world.finish();
}

#[test]
fn nothing_but_files_is_written_to_standard_output() {
    let world = World::new("stdout");
    world.put("file", b"x");
    world.start_server();
    assert!(world.fetch(&["file", "nope"]).stdout.is_empty());
    assert_eq!(
        world.client().args(["-o", "-", "file", "nope"]).run().stdout,
        b"x"
    );
    assert_eq!(
        world.client().args(["-o", "-", "--explain", "file"]).run().stdout,
        b"x"
    );
    world.finish();
}
