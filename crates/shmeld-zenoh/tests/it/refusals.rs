//! What the server refuses on its machine is refused in the same words and by the same codes on the other.

use std::time::Duration;

use crate::bridge;
use crate::content;
use crate::need::eventually;
use crate::pair::Pair;

const NOBODY: u32 = 65534;

/// Missing, not a file, not to be read, too large, no name: each with the status it has without a bridge, and the rest is delivered.
#[test]
fn refusals_are_those_of_the_server() {
    let Some((pair, _)) = Pair::or_skip("refusals") else {
        return;
    };
    let good = pair.put("good", 100_000);
    pair.put("large", 3_000_000);
    pair.put("tree/file", 10);
    std::os::unix::fs::symlink("/etc/hostname", pair.source("outside")).unwrap();
    pair.start_with(&["--file-max", "2MiB"], &[], &[]);
    let long = "x".repeat(899);
    let names = [
        "missing",
        "good",
        "tree",
        "large",
        "outside",
        "../good",
        "tree/file/below",
        &long,
    ];
    let local = {
        let client = pair
            .world
            .program("shm_client")
            .args(["--name", bridge::SERVER, "--json", "-o"]);
        let client = client.arg(pair.origin.path("local")).args(names);
        pair.origin.with(client).run().expect_code(1)
    };
    let remote = pair.fetch(&[&["--json"], &names[..]].concat()).expect_code(1);
    let refusals = |outcome: &crate::processes::Outcome| -> Vec<(String, String)> {
        let lines = outcome.json_lines();
        let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        let refused = lines.iter().filter(|line| line["event"] == "refused");
        let mut refused: Vec<_> = refused
            .map(|line| (text(line, "name"), text(line, "status")))
            .collect();
        refused.sort();
        refused
    };
    assert_eq!(refusals(&remote), refusals(&local));
    assert_eq!(
        refusals(&remote).len(),
        names.len() - 1,
        "{}",
        remote.stdout_text()
    );
    pair.assert_output("good", &good);
    pair.world.finish();
}

/// A policy of the server holds beyond its machine: the exporting bridge is a client like any other, here of another user.
#[test]
fn server_that_shows_only_what_others_may_read_shows_no_more_through_a_bridge() {
    let Some((pair, _)) = Pair::or_skip("policy") else {
        return;
    };
    if !crate::need::has_or_skip("setpriv") {
        return;
    }
    let open = pair.put("open", 1000);
    pair.put("closed", 1000);
    content::set_mode(&pair.source("closed"), 0o640);
    content::set_mode(&pair.source("open"), 0o644);
    content::set_mode(&pair.source(""), 0o755);
    content::set_mode(&pair.world.path(""), 0o755);
    bridge::start_server(&pair.world, &pair.origin, &["--public"]);
    bridge::start(pair.export_as(NOBODY));
    bridge::start(pair.import());
    let outcome = pair.fetch(&["open", "closed"]).expect_code(1);
    pair.assert_output("open", &open);
    assert!(!pair.output("closed").exists());
    assert!(outcome.stderr.contains("DENIED"), "{}", outcome.stderr);
    pair.world.finish();
}

/// A file that changes while its chunks are fetched is refused as such: no mixture of both arrives.
#[test]
fn file_that_changes_between_chunks_is_not_delivered() {
    let Some((pair, _)) = Pair::or_skip("changed") else {
        return;
    };
    pair.put("file", 64 << 20);
    pair.start();
    let (reader, writer) = std::io::pipe().unwrap();
    let slow = pair
        .world
        .program("shm_client")
        .args(["--name", bridge::IMPORTED, "-o", "-", "file"]);
    let slow = pair.branch.with(slow).stdout(writer).start();
    let mut reader = reader;
    let mut some = vec![0; 2 << 20];
    std::io::Read::read_exact(&mut reader, &mut some).unwrap();
    // It waits for us now, with most of the file to come.
    let changed = content::of("changed", 64 << 20);
    std::fs::write(pair.source("file"), &changed).unwrap();
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let outcome = slow.finish();
    assert_eq!(outcome.code, Some(1), "{}", outcome.story);
    assert!(outcome.stderr.contains("CHANGED"), "{}", outcome.stderr);
    // The next client gets what there is now.
    pair.fetch(&["file"]).expect_code(0);
    pair.assert_output("file", &changed);
    pair.world.finish();
}

/// What `list`, patterns and `status` say on the one machine they say on the other.
#[test]
fn lists_patterns_and_status_work_through_a_bridge() {
    let Some((pair, _)) = Pair::or_skip("lists") else {
        return;
    };
    for name in ["a.txt", "b.txt", "c.bin", "tree/d.txt"] {
        pair.put(name, 1000);
    }
    pair.start();
    let list = |machine: &crate::machine::Machine, name: &str| {
        let list = pair
            .world
            .program("shmeld")
            .args(["ls", "--name", name, "-r", "--json"]);
        let outcome = machine.with(list).run().expect_code(0);
        let mut lines: Vec<String> = outcome.stdout_text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let listed = list(&pair.branch, bridge::IMPORTED);
    assert_eq!(listed, list(&pair.origin, bridge::SERVER));
    assert!(listed.len() >= 5, "{listed:?}");
    pair.fetch(&["*.txt"]).expect_code(0);
    let mut arrived = content::names_below(&pair.output(""));
    arrived.sort();
    assert_eq!(arrived, ["a.txt", "b.txt"].map(std::path::PathBuf::from));
    let status = pair
        .world
        .program("shmeld")
        .args(["status", "--name", bridge::IMPORTED, "--json"]);
    pair.branch.with(status).run().expect_code(0);
    pair.world.finish();
}

/// A server that ends, or has not begun, is no reason for the bridge to end: clients hear what is wrong, and later are served.
#[test]
fn bridge_outlives_its_server() {
    let Some((pair, _)) = Pair::or_skip("outlives") else {
        return;
    };
    let bytes = pair.put("file", 1_000_000);
    let bridges = pair.start_with(&[], &["--timeout", "2s"], &["--timeout", "2s"]);
    pair.fetch(&["file"]).expect_code(0);
    bridges.server.signal("TERM");
    bridges.server.finish().expect_code(0);
    let refused = pair.fetch(&["file"]);
    assert_eq!(refused.code, Some(1), "{}", refused.story);
    bridge::start_server(&pair.world, &pair.origin, &[]);
    eventually("the new server serves through the old bridges", || {
        std::thread::sleep(Duration::from_millis(100));
        pair.fetch(&["file"]).code == Some(0)
    });
    pair.assert_output("file", &bytes);
    pair.world.finish();
}
