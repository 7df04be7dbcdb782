//! The example clients in Python and C: what a stranger is told to start from must be as good as the rest. `peers` has more of the one in
//! Python, `conformance` what they make of each record, `examples_lied_to` what they make of servers that lie in other ways.

use std::path::{Path, PathBuf};

use crate::content;
use crate::fake_server::{FakeServer, NAME};
use crate::midway::{MIB, assert_same, put_large};
use crate::peers::{assert_clean, assert_notices_signals_and_death, example, put_all_sizes, python_or_skip};
use crate::processes::Program;
use crate::users::{Users, serve};
use crate::world::{World, has_or_skip};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/c/fetch.c");

/// `fetch -n NAME -o OUTPUT`
pub fn example_c(world: &World, binary: &Path) -> Program {
    let program = world.tool(binary.to_str().unwrap());
    program.args(["-n", world.name(), "-o"]).arg(world.output(""))
}

/// The C example, compiled in the test's folder without a warning, and to end at the first access that is none of its own.
pub fn sanitized_or_skip(world: &World) -> Option<PathBuf> {
    let sanitizers = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
    compile_or_skip(world, "fetch-sanitized", &sanitizers)
}

fn compile_or_skip(world: &World, name: &str, options: &[&str]) -> Option<PathBuf> {
    if !has_or_skip("gcc") {
        return None;
    }
    let binary = world.root().join(name);
    let warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let compiler = world
        .tool("gcc")
        .args(["-std=c11", "-D_GNU_SOURCE"])
        .args(warnings);
    let compiler = compiler.args(options).arg("-o").arg(&binary).arg(SOURCE);
    compiler.run().expect_code(0).expect_silence();
    Some(binary)
}

/// Both examples, as far as this machine has what they need.
pub fn examples(world: &World) -> Vec<Box<dyn Fn() -> Program + '_>> {
    let mut examples: Vec<Box<dyn Fn() -> Program>> = Vec::new();
    if let Some(python) = python_or_skip() {
        examples.push(Box::new(move || example(world, &python, &world.output(""))));
    }
    if let Some(binary) = sanitized_or_skip(world) {
        examples.push(Box::new(move || example_c(world, &binary)));
    }
    examples
}

#[test]
fn c_example_fetches_files_of_all_sizes_through_regions_of_every_shape() {
    let world = World::new("c");
    let Some(binary) = sanitized_or_skip(&world) else {
        return;
    };
    let files = put_all_sizes(&world);
    content::set_mode(&world.source("0"), 0o640);
    let _server = world.start_server();
    // One slot in the page; one, three and four of whole pages.
    for region in ["4096", "8192", "16384", "65536", "1048576"] {
        let names = files.iter().map(|(name, _)| name.as_str());
        let client = example_c(&world, &binary).args(["-r", region]).args(names);
        let outcome = client
            .args(["nope", "folder", "../source/0"])
            .run()
            .expect_code(1);
        outcome
            .expect_line("fetch: get nope: no such file (FNF)")
            .expect_said("(NOT_A_FILE)")
            .expect_said("(DENIED)");
        for (name, bytes) in &files {
            let found = world.output(name.rsplit('/').next().unwrap());
            content::assert_file(&found, bytes);
            let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(modified(&found), modified(&world.source(name)));
        }
        assert_eq!(content::mode(&world.output("0")), 0o640);
        assert_eq!(content::names_below(&world.output("")).len(), files.len());
    }
    assert_clean(&world);
    world.finish();
}

#[test]
fn python_example_fetches_files_of_all_sizes_through_larger_regions() {
    let Some(python) = python_or_skip() else { return };
    let world = World::new("python-regions");
    let files = put_all_sizes(&world);
    let _server = world.start_server();
    for region in ["8192", "1048576"] {
        let names = files.iter().map(|(name, _)| name.as_str());
        let client = example(&world, &python, &world.output("")).args(["--region", region]);
        client.args(names).run().expect_code(0).expect_silence();
        for (name, bytes) in &files {
            content::assert_file(&world.output(name), bytes);
        }
    }
    assert_clean(&world);
    world.finish();
}

#[test]
fn c_example_copies_holes_as_holes() {
    let world = World::new("c-sparse");
    let Some(binary) = sanitized_or_skip(&world) else {
        return;
    };
    let path = world.put("sparse", b"begin");
    let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.set_len(200 * MIB).unwrap();
    let _server = world.start_server();
    example_c(&world, &binary).arg("sparse").run().expect_code(0);
    assert_same(&world.output("sparse"), &path);
    let blocks = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(world.output("sparse")).unwrap());
    assert!(blocks * 512 < MIB, "{blocks} blocks");
    world.finish();
}

#[test]
fn c_example_waits_for_a_server_and_gives_up_when_told() {
    let world = World::new("c-waits");
    let Some(binary) = sanitized_or_skip(&world) else {
        return;
    };
    let bytes = world.put_random("file", 10_000);
    let outcome = example_c(&world, &binary).args(["-w", "0", "file"]).run();
    outcome.expect_code(3).expect_said("no server");
    let client = example_c(&world, &binary).arg("file").start();
    let _server = world.start_server();
    client.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

#[test]
fn c_example_leaves_nothing_when_it_or_the_server_dies() {
    let world = World::new("c-dies");
    let Some(binary) = compile_or_skip(&world, "fetch", &["-O2"]) else {
        return;
    };
    put_large(&world, "large", 256);
    let server = world.start_server();
    let signals = [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)];
    assert_notices_signals_and_death(&world, &server, || example_c(&world, &binary), &signals);
    let _next = world.start_server();
    world.finish();
}

/// A server took the request and was gone before it attached the region: the next one has to hear the request again.
#[test]
fn examples_ask_the_next_server_again() {
    let world = World::new("examples-again");
    let expected = world.put_random(NAME, 10_000);
    for example in examples(&world) {
        let server = FakeServer::start(&world);
        let client = example().arg(NAME).start();
        let victim = server.accept();
        server.stop();
        drop(victim);
        let server = world.start_server();
        client.finish().expect_code(0);
        world.assert_output(NAME, &expected);
        std::fs::remove_file(world.output(NAME)).unwrap();
        server.signal("TERM");
        server.finish().expect_code(0);
    }
    world.finish();
}

/// A server of another user is trusted by name only, and let into the region by its access control list.
#[test]
fn c_example_opens_its_region_to_a_server_of_another_user_that_it_trusts() {
    let world = World::new("c-users");
    let (Some(users), Some(binary)) = (Users::of(&world), compile_or_skip(&world, "fetch", &["-O2"])) else {
        return;
    };
    let bytes = world.put_random(NAME, 10_000);
    let _server = serve(&world, &users, users.a, &["--public"]);
    let client = || example_c(&world, &binary).args(["-w", "5"]);
    client()
        .arg(NAME)
        .run()
        .expect_code(3)
        .expect_said("belongs to user");
    client()
        .args(["-s", &users.a.to_string(), NAME])
        .run()
        .expect_code(0);
    world.assert_output(NAME, &bytes);
    world.finish();
}
