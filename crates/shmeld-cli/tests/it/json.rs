//! What `--json` prints is what docs/JSON.md names: no field more, none less.

use std::collections::{BTreeMap, BTreeSet};

use shmeld_os::process;

use crate::gallery::Gallery;
use crate::ipc_world::Places;
use crate::outcome::Outcome;
use crate::shore::Shore;
use crate::world::{World, eventually};

const DOCUMENT: &str = include_str!("../../../../docs/JSON.md");

/// The fields of one line: those that are always there, and those that its row puts in brackets.
#[derive(Debug, Default, Clone)]
struct Fields {
    always: BTreeSet<String>,
    sometimes: BTreeSet<String>,
}

/// By command and event; the event of lines without one is empty.
struct Document(BTreeMap<(String, String), Fields>);

impl Document {
    fn read() -> Self {
        let mut rows = BTreeMap::new();
        let mut commands = Vec::new();
        for line in DOCUMENT.lines().filter(|line| line.starts_with("| ")) {
            let mut cells = line.trim_matches('|').split(" | ");
            let [command, events, fields] = [(); 3].map(|()| cells.next().unwrap());
            if !command.trim().is_empty() {
                commands = codes(command);
            }
            let fields = fields_of(fields);
            let events = match codes(events) {
                events if events.is_empty() => vec![String::new()],
                events => events,
            };
            for command in &commands {
                for event in &events {
                    rows.insert((command.clone(), event.clone()), fields.clone());
                }
            }
        }
        Self(rows)
    }

    /// Each line of the outcome has the fields of its row; the events are these.
    #[track_caller]
    fn check(&self, command: &str, outcome: &Outcome, events: &[&str]) {
        let lines = outcome.json_lines();
        let mut seen = BTreeSet::new();
        for line in &lines {
            let event = line.get("event").map_or("", |event| event.as_str().unwrap());
            let row = (command.to_owned(), event.to_owned());
            let fields = self.0.get(&row).unwrap_or_else(|| panic!("no row for {row:?}"));
            let found = line.as_object().unwrap().keys().filter(|key| *key != "event");
            let found: BTreeSet<String> = found.cloned().collect();
            let all: BTreeSet<String> = fields.always.union(&fields.sometimes).cloned().collect();
            let (lacking, unnamed) = (fields.always.difference(&found), found.difference(&all));
            let (lacking, unnamed): (Vec<_>, Vec<_>) = (lacking.collect(), unnamed.collect());
            assert!(
                lacking.is_empty() && unnamed.is_empty(),
                "{row:?}: {lacking:?} are not in {line}, {unnamed:?} not in the document"
            );
            seen.insert(event);
        }
        assert_eq!(seen, events.iter().copied().collect(), "{}", outcome.story);
    }
}

/// The words between backquotes.
fn codes(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Of what is in square brackets nothing is a field of this line; what is in round ones is sometimes there.
fn fields_of(text: &str) -> Fields {
    let (mut fields, mut rest) = (Fields::default(), text);
    while let Some(start) = rest.find(['(', '[']) {
        let (before, bracketed) = rest.split_at(start);
        let (inside, behind) = bracketed.split_once([')', ']']).unwrap();
        fields.always.extend(codes(before));
        if inside.starts_with('(') {
            fields.sometimes.extend(codes(inside));
        }
        rest = behind;
    }
    fields.always.extend(codes(rest));
    fields
}

#[test]
fn lines_of_transfers_are_as_documented() {
    let (world, document) = (World::new("json-files"), Document::read());
    world.put("a.txt", b"hello");
    std::os::unix::fs::symlink("a.txt", world.source("link")).unwrap();
    let _server = world.start_server();
    let get = |arguments: &[&str]| {
        let get = world.shmeld("get").args(["--name", world.name(), "--json"]);
        get.args(arguments).run()
    };
    let output = world.output("").display().to_string();
    let outcome = get(&["-o", &output, "a.txt", "missing"]).expect_code(1);
    document.check("get", &outcome, &["delivered", "refused", "summary"]);
    let outcome = world
        .shmeld("cp")
        .args(["--json", &world.source("a.txt").display().to_string(), &output])
        .run();
    document.check("cp", &outcome.expect_code(0), &["delivered", "summary"]);
    let ls = world.shmeld("ls").args(["--name", world.name(), "--json"]).run();
    document.check("ls", &ls.expect_code(0), &[""]);
    let status = world
        .shmeld("status")
        .args(["--name", world.name(), "--json"])
        .run();
    document.check("status", &status.expect_code(0), &[""]);
    world.finish();
}

#[test]
fn lines_of_images_and_messages_are_as_documented() {
    let (gallery, document) = (Gallery::new("json-images"), Document::read());
    gallery.put("1-8x8x3");
    let provider = gallery.provide().args(["-n", "2", "--json"]).start();
    let outcome = gallery.request().args(["--json", "1-8x8x3", "none"]).run();
    document.check("image request", &outcome, &["image", "failed", "summary"]);
    let provided = provider.finish();
    document.check("image provide", &provided, &["provided", "failed", "summary"]);

    let key = gallery.world().put("key", b"");
    let board = |role: &str| {
        let board = gallery.world().shmeld("board");
        board.args([role, "--ftok", &format!("{}:7", key.display()), "--json"])
    };
    let poster = board("post").args(["--readers", "2", "hello"]).start();
    for _ in 0..2 {
        document.check("board read", &board("read").run().expect_code(0), &["read"]);
    }
    document.check(
        "board post",
        &poster.finish().expect_code(0),
        &["posted", "summary"],
    );
    gallery.finish();
}

#[test]
fn lines_about_objects_are_as_documented() {
    let (world, places, document) = (World::new("json-ipc"), Places::new(), Document::read());
    let file = world.put("bytes", b"hello").display().to_string();
    let ipc = |arguments: &[&str]| world.ipc(arguments).arg("--json").run().expect_code(0);
    for address in places.both() {
        let check = |arguments: &[&str], event: &str| {
            let command = format!("ipc {}", arguments[0]);
            document.check(&command, &ipc(arguments), &[event]);
        };
        check(&["create", &address, "--size", "8K"], "created");
        check(&["create", &address], "opened");
        check(&["open", &address], "opened");
        check(&["write", &address, &file], "written");
        check(
            &[
                "read",
                &address,
                "--length",
                "5",
                "-o",
                &world.output("read").display().to_string(),
            ],
            "read",
        );
        check(&["show", &address], "segment");
        check(&["chmod", &address, "0600"], "mode");
        check(
            &["chown", &address, &process::effective_uid().to_string()],
            "owner",
        );
        if address.starts_with("posix") {
            check(&["resize", &address, "16K"], "resized");
        }
        let attached = ipc(&["attach", &address, "--for", "1ms"]);
        document.check("ipc attach", &attached, &["attached", "detached"]);
        check(&["rm", &address], "removed");
    }
    let found = world.ipc(&["doctor", "--json"]).run();
    document.check("ipc doctor", &found, &["finding", "summary"]);
    world.finish();
}

#[test]
fn lines_of_a_clean_up_are_as_documented() {
    let Some(shore) = Shore::or_skip("json-clean") else {
        return;
    };
    let document = Document::read();
    shore.server("/dead").kill();
    eventually("the kernel has taken the lease back", || {
        shore.listed(&["--stale"]).len() == 2
    });
    let run = |words: &[&str]| shore.ipc(words).arg("--json").run().expect_code(0);
    document.check("ipc show", &run(&["show", "mq:/dead"]), &["object"]);
    document.check("ipc ls", &run(&["ls"]), &["object", "sight"]);
    document.check("ipc clean", &run(&["clean", "--dry-run"]), &["would_remove"]);
    document.check("ipc clean", &run(&["clean"]), &["removed"]);
    shore.finish();
}
