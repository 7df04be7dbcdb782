//! Bridges as services: the unit files in packaging/systemd.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::bridge;
use crate::need::has_or_skip;
use crate::pair::Pair;
use crate::world::World;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd");
const NAMES: [&str; 2] = ["shmeld-bridge-export@.service", "shmeld-bridge-import@.service"];

fn text_of(name: &str) -> String {
    std::fs::read_to_string(PathBuf::from(UNITS).join(name)).unwrap()
}

#[test]
fn unit_files_are_sound_and_expose_little_but_the_network() {
    /// In tenths, as systemd counts: half of it is the network.
    const EXPOSURE_MAX: &str = "--threshold=16";
    let Some(world) = World::or_skip("units") else {
        return;
    };
    if !has_or_skip("systemd-analyze") {
        return;
    }
    for name in NAMES {
        let text = text_of(name);
        assert!(text.contains("ExecStart=/usr/bin/shmeld-bridge "));
        let text = text.replace("/usr/bin/shmeld-bridge", env!("CARGO_BIN_EXE_shmeld-bridge"));
        let unit = world.put(name, text.as_bytes());
        let analyze = |words: &[&str]| world.tool("systemd-analyze").args(words).arg(&unit).run();
        // With its manual: once it named a page that nothing makes.
        analyze(&["verify"]).expect_code(0).expect_silence();
        analyze(&["security", "--offline=yes", EXPOSURE_MAX]).expect_code(0);
    }
    world.finish();
}

/// The calls that the unit's filter lets pass: each line adds to those above it, or takes from them.
fn allowed(world: &World, name: &str) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let text = text_of(name);
    for filter in text
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
    {
        let mut calls = BTreeSet::new();
        expand(world, filter.trim_start_matches('~'), &mut calls);
        match filter.strip_prefix('~') {
            Some(_) => allowed = &allowed - &calls,
            None => allowed.append(&mut calls),
        }
    }
    allowed
}

fn expand(world: &World, words: &str, calls: &mut BTreeSet<String>) {
    for word in words.split_whitespace() {
        if !word.starts_with('@') {
            calls.insert(word.to_owned());
            continue;
        }
        let listed = world.tool("systemd-analyze").args(["syscall-filter", word]).run();
        let listed = listed.expect_code(0).stdout_text();
        for member in listed
            .lines()
            .skip(1)
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
        {
            expand(world, member, calls);
        }
    }
}

/// A filter that is too narrow would show as errors on machines that none of us has.
#[test]
fn unit_files_allow_every_system_call_that_a_bridge_makes() {
    let Some((pair, _)) = Pair::or_skip("calls") else {
        return;
    };
    if !has_or_skip("systemd-analyze") || !has_or_skip("strace") {
        return;
    }
    let bytes = pair.put("tree/file", 3_000_000);
    let trace = |name: &str| pair.world.path(&format!("{name}.trace"));
    let traced = |name: &str| -> Vec<String> {
        let trace = trace(name).to_str().unwrap().to_owned();
        ["strace", "-D", "-f", "-qq", "-o", &trace]
            .map(str::to_owned)
            .into()
    };
    let start = |name: &str, program: crate::processes::Program| {
        let words = traced(name);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        bridge::start(program.wrapped(&words))
    };
    bridge::start_server(&pair.world, &pair.origin, &[]);
    let export = start("export", pair.export());
    let import = start("import", pair.import());
    pair.fetch(&["-r", "--verify", "tree", "missing"]).expect_code(1);
    pair.assert_output("tree/file", &bytes);
    for (program, name) in [(import, NAMES[1]), (export, NAMES[0])] {
        program.signal("TERM");
        program.finish().expect_code(0);
        let kind = if name == NAMES[0] { "export" } else { "import" };
        let text = std::fs::read_to_string(trace(kind)).unwrap();
        // What leads to the machine is behind: the bridge begins with the last execve.
        let own = text.rsplit_once("execve(").map_or(text.as_str(), |(_, own)| own);
        let made: BTreeSet<&str> = own.lines().filter_map(call_of).collect();
        assert!(
            made.contains("mq_open") && made.contains("connect") | made.contains("accept4"),
            "{made:?}"
        );
        let allowed = allowed(&pair.world, name);
        // What a server tries without needing it: a mount of the queues, which only root may make.
        let optional = ["fsopen", "fsconfig", "fsmount"];
        let is_missing = |call: &&&str| !allowed.contains(**call) && !optional.contains(call);
        let missing: Vec<_> = made.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "the filter of {name} refuses {missing:?}");
    }
    pair.world.finish();
}

/// The name in a line `PID name(...`.
fn call_of(line: &str) -> Option<&str> {
    let rest = line.split_once(' ')?.1.trim_start();
    let (name, _) = rest.split_once('(')?;
    name.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        .then_some(name)
}
