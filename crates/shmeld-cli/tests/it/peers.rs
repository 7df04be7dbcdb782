//! Clients that share no code with the project, written from docs/PROTOCOL.md alone: a Python example and a
//! textbook C program that operates the semaphores with libc's sem_wait and sem_post.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use shmeld_os::process;

use crate::content;
use crate::midway::{MIB, Trickle, assert_same, put_large, wait_until_written};
use crate::processes::{Program, Running};
use crate::world::{World, has_or_skip, skip};

pub const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python");
pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

/// Nothing, one byte, one slot of a page with its records and a little less or more, many slots.
const SIZES: [usize; 9] = [0, 1, 3600, 3744, 3776, 4096, 100_000, 1_000_000, 5_000_000];

/// A Python with posix_ipc: SHMELD_PYTHON, or python3.
pub fn python_or_skip() -> Option<PathBuf> {
    python_with_or_skip("import posix_ipc, fcntl; fcntl.F_OFD_GETLK", "posix_ipc")
}

/// One that also has System V: see `peers/holder.py`.
pub fn holder_python_or_skip() -> Option<PathBuf> {
    python_with_or_skip("import posix_ipc, sysv_ipc", "posix_ipc and sysv_ipc")
}

/// One that reads metrics as Prometheus does.
pub fn metrics_python_or_skip() -> Option<PathBuf> {
    python_with_or_skip(
        "from prometheus_client.openmetrics import parser",
        "prometheus_client",
    )
}

/// `SHMELD_PYTHON`, or python3, if it passes a check; `needs` says what that wants.
pub fn python_with_or_skip(check: &str, needs: &str) -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("SHMELD_PYTHON").unwrap_or("python3".into()));
    let mut command = Command::new(&python);
    let works = command
        .args(["-c", check])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if works {
        return Some(python);
    }
    skip(&format!("Python 3.9 with {needs} (set SHMELD_PYTHON)"));
    None
}

/// `fetch.py --name NAME -o OUTPUT`
pub fn example(world: &World, python: &Path, output: &Path) -> Program {
    let script = Path::new(EXAMPLES).join("fetch.py");
    let program = world.tool(python.to_str().unwrap()).arg("-B").arg(script);
    program.args(["--name", world.name(), "-o"]).arg(output)
}

/// The C program of this name, compiled in the test's folder.
pub fn compile_or_skip(world: &World, name: &str) -> Option<PathBuf> {
    if !has_or_skip("gcc") {
        return None;
    }
    let binary = world.root().join(name);
    let compiler = world
        .tool("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-o"]);
    let source = Path::new(PEERS).join(format!("{name}.c"));
    compiler
        .arg(&binary)
        .arg(source)
        .args(["-pthread", "-lrt"])
        .run()
        .expect_code(0);
    Some(binary)
}

/// `textbook_client -n NAME -o OUTPUT`
fn textbook(world: &World, binary: &Path, output: &Path) -> Program {
    world
        .tool(binary.to_str().unwrap())
        .args(["-n", world.name(), "-o"])
        .arg(output)
}

/// Files of all sizes in the source tree, one of them in a folder, and their contents.
pub fn put_all_sizes(world: &World) -> Vec<(String, Vec<u8>)> {
    let name = |size: &usize| {
        if *size == 1 {
            "folder/1".to_owned()
        } else {
            size.to_string()
        }
    };
    SIZES
        .iter()
        .map(|size| (name(size), world.put_random(&name(size), *size)))
        .collect()
}

#[track_caller]
fn assert_all_sizes(output: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        content::assert_file(&output.join(name), bytes);
    }
    // The folder is the one surplus name; nothing unfinished lies about.
    assert_eq!(content::names_below(output).len(), files.len() + 1);
}

/// Nobody died, broke the protocol or sent junk, as far as the server can tell.
#[track_caller]
pub fn assert_clean(world: &World) {
    let status = world.status();
    for name in [
        "died_total",
        "misbehaved_total",
        "junk_messages_total",
        "refused_regions_total",
    ] {
        assert_eq!(status[name], 0, "{name}: {status}");
    }
}

#[test]
fn python_example_fetches_files_of_all_sizes_and_says_what_is_missing() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("python");
    let files = put_all_sizes(&world);
    content::set_mode(&world.source("0"), 0o640);
    let _server = world.start_server();
    let names = files.iter().map(|(name, _)| name.as_str());
    let outcome = example(&world, &python, &world.output(""))
        .args(names)
        .arg("nope")
        .run();
    outcome
        .expect_code(1)
        .expect_line("fetch.py: get nope: no such file (FNF)");
    assert_all_sizes(&world.output(""), &files);
    assert_eq!(content::mode(&world.output("0")), 0o640);
    let outcome = example(&world, &python, &world.output(""))
        .args(["folder", "../source/0"])
        .run();
    outcome
        .expect_code(1)
        .expect_said("(NOT_A_FILE)")
        .expect_said("(DENIED)");
    example(&world, &python, &world.output(""))
        .arg("4096")
        .run()
        .expect_code(0)
        .expect_silence();
    assert_clean(&world);
    world.finish();
}

#[test]
fn python_example_copies_holes_as_holes() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("python-sparse");
    let path = world.put("sparse", b"begin");
    let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.set_len(200 * MIB).unwrap();
    std::fs::write(world.source("all-hole"), "").unwrap();
    let hole = std::fs::OpenOptions::new()
        .write(true)
        .open(world.source("all-hole"))
        .unwrap();
    hole.set_len(MIB).unwrap();
    let _server = world.start_server();
    example(&world, &python, &world.output(""))
        .args(["sparse", "all-hole"])
        .run()
        .expect_code(0);
    assert_same(&world.output("sparse"), &path);
    assert_same(&world.output("all-hole"), &world.source("all-hole"));
    world.finish();
}

#[test]
fn python_example_waits_for_a_server_and_gives_up_when_told() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("python-waits");
    let bytes = world.put_random("file", 10_000);
    let outcome = example(&world, &python, &world.output(""))
        .args(["--wait", "0.2", "file"])
        .run();
    outcome.expect_code(3).expect_said("no server");
    let client = example(&world, &python, &world.output("")).arg("file").start();
    std::thread::sleep(Duration::from_millis(300));
    let _server = world.start_server();
    client.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

/// Insists that a client of `large` ends with these codes for these signals, and with 4 when its server is killed; and leaves nothing.
#[track_caller]
pub fn assert_notices_signals_and_death(
    world: &World,
    server: &Running,
    client: impl Fn() -> Program,
    signals: &[(&str, Option<i32>)],
) {
    let start = || {
        let client = client().arg("large").start();
        wait_until_written(&client, MIB);
        client
    };
    for (signal, code) in signals {
        let client = start();
        client.signal(signal);
        assert_eq!(client.finish().code, *code);
        world.assert_no_output();
    }
    let client = start();
    server.kill();
    client.finish().expect_code(4).expect_said("died");
    world.assert_no_output();
}

#[test]
fn python_example_notices_the_death_of_the_server_and_signals() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("python-dies");
    put_large(&world, "large", 256);
    let server = world.start_server();
    let client = || example(&world, &python, &world.output(""));
    assert_notices_signals_and_death(
        &world,
        &server,
        client,
        &[("INT", Some(130)), ("TERM", Some(143))],
    );
    let _next = world.start_server();
    world.finish();
}

#[test]
fn textbook_client_fetches_files_of_all_sizes_through_regions_of_several_shapes() {
    let world = World::new("textbook");
    let Some(binary) = compile_or_skip(&world, "textbook_client") else {
        return;
    };
    let files = put_all_sizes(&world);
    let _server = world.start_server();
    let names = || files.iter().map(|(name, _)| name.as_str());
    // Region and slot bytes: one slot; some; a count that is no power of two; large ones.
    let shapes = [
        (4096, 4096),
        (65_536, 4096),
        (65_536, 12_288),
        (1_048_576, 262_144),
    ];
    for (region, slot) in shapes {
        let output = world.output(&format!("{region}-{slot}"));
        std::fs::create_dir(&output).unwrap();
        let client = textbook(&world, &binary, &output);
        let client = client.args(["-r", &region.to_string(), "-s", &slot.to_string()]);
        let outcome = client.args(names()).arg("nope").run().expect_code(1);
        outcome.expect_line("textbook_client: get nope: no such file (FNF)");
        assert_all_sizes(&output, &files);
    }
    assert_clean(&world);
    world.finish();
}

#[test]
fn textbook_client_completes_with_the_server_on_one_cpu() {
    let world = World::new("one-cpu");
    let Some(binary) = compile_or_skip(&world, "textbook_client") else {
        return;
    };
    if !has_or_skip("taskset") {
        return;
    }
    let files = put_all_sizes(&world);
    let large = put_large(&world, "large", 32);
    let cpu = process::cpus_allowed_list()[0].to_string();
    let server = world.server().wrapped(&["taskset", "-c", &cpu]).start();
    server.wait_for_stderr("serving");
    let names = files.iter().map(|(name, _)| name.as_str());
    let client = textbook(&world, &binary, &world.output(""))
        .args(names)
        .arg("large");
    client.wrapped(&["taskset", "-c", &cpu]).run().expect_code(0);
    assert_same(&world.output("large"), &large);
    std::fs::remove_file(world.output("large")).unwrap();
    assert_all_sizes(&world.output(""), &files);
    assert_clean(&world);
    world.finish();
}

/// Stops and continues a process again and again while a client is at work.
fn hinder(who: &Running, client: &Running) {
    for round in 0..200_u64 {
        if !client.is_running() {
            return;
        }
        who.signal("STOP");
        std::thread::sleep(Duration::from_micros(500 + round % 7 * 700));
        who.signal("CONT");
        std::thread::sleep(Duration::from_micros(300 + round % 5 * 900));
    }
}

/// The textbook client sleeps in sem_wait without a time limit: one bell that is not rung and it hangs.
#[test]
fn textbook_client_completes_however_the_two_sides_are_held_up() {
    let world = World::new("held-up");
    let Some(binary) = compile_or_skip(&world, "textbook_client") else {
        return;
    };
    let large = put_large(&world, "large", 128);
    let server = world.start_server();
    for hinder_server in [true, false] {
        let client = textbook(&world, &binary, &world.output("")).arg("large").start();
        wait_until_written(&client, 1);
        hinder(if hinder_server { &server } else { &client }, &client);
        client.finish().expect_code(0);
        assert_same(&world.output("large"), &large);
    }
    assert_clean(&world);
    world.finish();
}

#[test]
fn our_client_and_foreign_ones_are_served_at_the_same_time() {
    let world = World::new("together");
    let Some(binary) = compile_or_skip(&world, "textbook_client") else {
        return;
    };
    let Some(python) = python_or_skip() else { return };
    let bytes = world.put_random("file", 5 * MIB as usize);
    let large = put_large(&world, "large", 64);
    let _server = world.start_server();
    // Ours is under way for the whole time.
    let ours = Trickle::start(world.client().arg("file"));
    let outputs = ["textbook", "python", "client"].map(|name| world.output(name));
    outputs
        .iter()
        .for_each(|output| std::fs::create_dir(output).unwrap());
    let others = [
        textbook(&world, &binary, &outputs[0])
            .args(["large", "file"])
            .start(),
        example(&world, &python, &outputs[1])
            .args(["large", "file"])
            .start(),
        world
            .client()
            .arg("-o")
            .arg(&outputs[2])
            .args(["large", "file"])
            .start(),
    ];
    for (client, output) in others.iter().zip(&outputs) {
        client.finish().expect_code(0);
        content::assert_file(&output.join("file"), &bytes);
        assert_same(&output.join("large"), &large);
    }
    let client = ours.client.clone();
    assert!(client.is_running(), "{}", client.stderr());
    content::assert_bytes("our client's output", &ours.finish(), &bytes);
    client.finish().expect_code(0);
    assert_clean(&world);
    world.finish();
}
