//! The audit log of a server, added up; and the same numbers as clients have seen them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::outcome::Outcome;
use crate::processes::{Program, Running};
use crate::world::World;

/// Numbers by name: `refused FNF`, `session OK`, `files`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Books(BTreeMap<String, u64>);

impl Books {
    pub fn add(&mut self, name: &str, number: u64) {
        if number > 0 {
            *self.0.entry(name.to_owned()).or_default() += number;
        }
    }

    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Leaves out what a test does not know beforehand.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// Adds up what the lines say, those that sum up others included.
    #[track_caller]
    pub fn of_lines(lines: &[Value]) -> Self {
        let mut books = Books::default();
        for line in lines {
            let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name}: {line}"));
            match text("event") {
                "suppressed" => books.enter(line, text("of"), number(line, "count")),
                "lost" => books.add("lost", number(line, "lines")),
                // A run of the server, not of a client.
                "start" | "stop" => {}
                "junk" => books.add("junk", number(line, "messages")),
                event => books.enter(line, event, 1),
            }
        }
        books
    }

    fn enter(&mut self, line: &Value, event: &str, count: u64) {
        let status = line["status"].as_str().unwrap();
        self.add(&format!("{event} {status}"), count);
        if event == "session" {
            for name in ["requests", "files", "bytes", "refused", "cancelled"] {
                self.add(name, number(line, name));
            }
        }
    }

    /// Adds what a client of `--json` saw.
    #[track_caller]
    pub fn take_client(&mut self, outcome: &Outcome) {
        for line in outcome.json_lines() {
            match line["event"].as_str() {
                Some("delivered") => {
                    self.add("files", 1);
                    self.add("bytes", number(&line, "size"));
                }
                Some("refused") => {
                    self.add("refused", 1);
                    self.add(&format!("refused {}", line["status"].as_str().unwrap()), 1);
                }
                _ => {}
            }
        }
    }
}

#[track_caller]
fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_else(|| panic!("{name}: {line}"))
}

/// The lines of an audit log, each of which must be one printable line of JSON.
#[track_caller]
pub fn lines(path: &Path) -> Vec<Value> {
    let (lines, torn) = lines_and_torn(path);
    assert_eq!(torn, 0, "{}", path.display());
    lines
}

/// The same for a disk that was full: lines, and parts of lines.
#[track_caller]
pub fn lines_and_torn(path: &Path) -> (Vec<Value>, usize) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut lines, mut torn) = (Vec::new(), 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = std::str::from_utf8(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let controls = text.chars().filter(|found| found.is_control()).count();
        assert_eq!(
            controls,
            usize::from(text.ends_with('\n')),
            "control characters in {text:?}"
        );
        match text.strip_suffix('\n').map(serde_json::from_str) {
            Some(Ok(object)) => lines.push(object),
            _ => torn += 1,
        }
    }
    (lines, torn)
}

/// The same without those that say that a server began and ended.
#[track_caller]
pub fn lines_of_clients(path: &Path) -> Vec<Value> {
    let mut lines = lines(path);
    lines.retain(|line| line["event"] != "start" && line["event"] != "stop");
    lines
}

/// Where a test has its audit log.
pub fn log_of(world: &World) -> PathBuf {
    world.root().join("audit.log")
}

/// A server with an audit log.
pub fn server(world: &World) -> Program {
    world.server().arg("--audit").arg(log_of(world))
}

pub fn start_server(world: &World) -> Running {
    let server = server(world).start();
    server.wait_for_stderr("serving");
    server
}

/// Ends a server and adds up its log.
#[track_caller]
pub fn close(world: &World, server: &Running) -> Books {
    server.signal("TERM");
    server.finish().expect_code(0);
    Books::of_lines(&lines(&log_of(world)))
}
