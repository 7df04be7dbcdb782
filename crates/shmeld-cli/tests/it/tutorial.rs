//! docs/TUTORIAL.md shows what the programs really say: each of its commands is run, and what it prints is compared. So it is with the README of
//! this crate.
//!
//! A block of the kind `console` begins with `$ ` and one command; a command that ends in ` &` goes on while the blocks below it run, up to
//! the next heading. The rest of the block is what the command prints. `exit=N` behind `console` is its exit code. A line
//! of three dots stands for any lines. Names, ids, addresses, times and rates differ from run to run, and columns are narrower on paper.

use crate::content;
use crate::ipc_world::Places;
use crate::outcome::Outcome;
use crate::processes::{Program, Running};
use crate::world::World;

const TUTORIAL: &str = include_str!("../../../../docs/TUTORIAL.md");
const README: &str = include_str!("../../README.md");
/// What stands for any lines.
const ANY: &str = "...";

/// A command with what it prints, or a heading.
#[derive(Debug, PartialEq)]
enum Part {
    Heading,
    Block(Block),
}

#[derive(Debug, PartialEq)]
struct Block {
    words: Vec<String>,
    in_background: bool,
    code: i32,
    prints: Vec<String>,
}

/// The headings and blocks of a text, in their order.
fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("##") {
            parts.push(Part::Heading);
        } else if let Some(kind) = line.strip_prefix("```console") {
            let inside: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let command = inside[0]
                .strip_prefix("$ ")
                .expect("a block begins with a command");
            let words = command.split(' ').map(|word| word.trim_matches('\'').to_owned());
            let mut words: Vec<String> = words.collect();
            let in_background = words.last().is_some_and(|word| word == "&");
            words.truncate(words.len() - usize::from(in_background));
            parts.push(Part::Block(Block {
                words,
                in_background,
                code: kind
                    .trim()
                    .strip_prefix("exit=")
                    .map_or(0, |code| code.parse().unwrap()),
                prints: inside[1..].iter().map(|line| (*line).to_owned()).collect(),
            }));
        } else if line.starts_with("```") {
            // A block of another kind, which is not run.
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
        }
    }
    parts
}

/// Where the commands are run, under names and a key of its own.
struct Stage {
    world: World,
    places: Places,
}

/// The channel of images on paper.
const CHANNEL: &str = "camera";
/// The key on paper.
const KEY: &str = "0x1234";

impl Stage {
    fn new() -> Self {
        let world = World::new("tutorial");
        let samples = world.root().join("samples");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples");
        let copy = world.tool("cp").args(["-r", source]).arg(&samples);
        copy.run().expect_code(0);
        content::set_mode(&samples, 0o755);
        let places = Places::new();
        Self { world, places }
    }

    fn object(&self) -> String {
        format!("{}-object", self.world.name())
    }

    fn channel(&self) -> String {
        format!("{}-channel", &self.world.name()[1..])
    }

    fn program(&self, words: &[String]) -> Program {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["shm_server", ..] => self
                .world
                .tool(env!("CARGO_BIN_EXE_shm_server"))
                .args(&words[1..]),
            ["shm_client", ..] => self
                .world
                .tool(env!("CARGO_BIN_EXE_shm_client"))
                .args(&words[1..]),
            ["shmeld", "demo", "meld", ..] => {
                let demo = self.world.shmeld("demo").args(&words[2..]);
                return demo.args(["--object", &self.object()]);
            }
            ["shmeld", "image", ..] => {
                let own = words[2..]
                    .iter()
                    .map(|word| word.replace(CHANNEL, &self.channel()));
                return self.world.shmeld("image").args(own.collect::<Vec<_>>());
            }
            ["shmeld", command @ ("board" | "ipc"), ..] => {
                let own = words[2..]
                    .iter()
                    .map(|word| word.replace(KEY, &self.places.key.to_string()));
                return self.world.shmeld(command).args(own.collect::<Vec<_>>());
            }
            _ => panic!("the tutorial runs {words:?}, which this test does not know"),
        }
        .args(["--name", self.world.name()])
    }

    /// What was printed, as the tutorial would print it.
    fn as_on_paper(&self, outcome: &Outcome) -> String {
        let mut printed = outcome.stdout_text();
        if !printed.is_empty() && !printed.ends_with('\n') {
            // As a terminal shows it.
            printed.push('\n');
        }
        printed += &outcome.stderr;
        // A server may find what other tests have killed at this moment.
        let own = printed
            .lines()
            .filter(|line| !line.contains("server: removed the "));
        own.map(|line| format!("{line}\n"))
            .collect::<String>()
            .replace(&format!(" --object {}", self.object()), "")
            .replace(&self.object(), "/shm-demo")
            .replace(&self.channel(), CHANNEL)
            .replace(&self.places.key.to_string(), "0x00001234")
            .replace(&self.world.root().display().to_string(), "/home/me")
            .replace(&self.world.name()[1..], "shmeld")
    }

    #[track_caller]
    fn compare(&self, block: &Block, outcome: Outcome) {
        let outcome = outcome.expect_code(block.code);
        let printed = self.as_on_paper(&outcome);
        let expected: Vec<String> = block.prints.iter().map(|line| normalised(line)).collect();
        let found: Vec<String> = printed.lines().map(normalised).collect();
        assert!(
            is_like(&expected, &found),
            "the document does not show what this prints: {}\n{printed}",
            block.words.join(" ")
        );
    }
}

/// Behind these words stands the number of an object, a process or a user.
const NUMBERED: [&str; 4] = ["number", "pid", "uid", "gid"];

/// A line without what differs from run to run.
fn normalised(line: &str) -> String {
    let mut is_number_next = false;
    let words = line.split_ascii_whitespace().map(|word| {
        let is_number = is_number_next && word != "is";
        is_number_next = NUMBERED.contains(&word) || (is_number_next && word == "is");
        let bare = word.trim_start_matches('(').trim_end_matches([')', ',']);
        let id = word.rsplit('.').next().unwrap_or_default();
        if bare.parse::<f64>().is_ok() && bare.contains('.') {
            "#"
        } else if word.starts_with("sysv:#") || is_number {
            "<number>"
        } else if (word.len(), word.ends_with('Z')) == (20, true) {
            "<time>"
        } else if word.starts_with('(') && bare.trim_end_matches('s').parse::<u32>().is_ok() {
            "(<seconds>"
        } else if bare.ends_with("B/s") {
            "<rate>"
        } else if word.starts_with("0x") {
            "<address>"
        } else if word.starts_with("ipc:[") {
            "<namespace>"
        } else if word.starts_with("/shmeld.") && id.len() == 32 {
            "/shmeld.<id>"
        } else {
            word
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether lines are those expected, where [`ANY`] stands for any number of them.
fn is_like(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == ANY => (0..=found.len()).any(|from| is_like(rest, &found[from..])),
        Some((line, rest)) => found.first() == Some(line) && is_like(rest, &found[1..]),
    }
}

/// What a program in the background says when it can be used.
fn ready_word(words: &[String]) -> &'static str {
    match words[1].as_str() {
        "board" => "posted",
        "image" => "providing",
        "ipc" => "can be read",
        _ => "serving",
    }
}

/// What is still running at a heading ends by itself then.
fn end_running(stage: &Stage, running: &mut Vec<(&Block, Running)>) {
    for (block, process) in running.drain(..) {
        stage.compare(block, process.finish());
    }
}

#[test]
fn every_command_of_the_tutorial_prints_what_stands_there() {
    let fences = |beginning: &str| TUTORIAL.matches(beginning).count();
    assert_eq!(
        fences("\n```"),
        2 * fences("\n```console"),
        "a block of another kind is not run"
    );
    follow(TUTORIAL);
}

#[test]
fn every_command_of_the_readme_of_this_crate_prints_what_stands_there() {
    follow(README);
}

/// Runs the commands of a text in their order.
fn follow(text: &str) {
    let parts = parts(text);
    let stage = Stage::new();
    let mut running = Vec::new();
    for part in &parts {
        match part {
            Part::Heading => end_running(&stage, &mut running),
            Part::Block(block) => {
                let process = stage.program(&block.words).start();
                if block.in_background {
                    process.wait_for_stderr(ready_word(&block.words));
                    running.push((block, process));
                } else {
                    stage.compare(block, process.finish());
                }
            }
        }
    }
    end_running(&stage, &mut running);
    stage.places.assert_empty();
    stage.world.finish();
}

#[test]
fn the_test_of_the_tutorial_sees_what_is_wrong() {
    let text = "## One\ntext\n```console exit=3\n$ shmeld a b &\none  0.12 ms\n...\nlast\n```\n```rust\n## no page\n```\n### Two\n";
    let block = Block {
        words: ["shmeld", "a", "b"].map(str::to_owned).to_vec(),
        in_background: true,
        code: 3,
        prints: ["one  0.12 ms", ANY, "last"].map(str::to_owned).to_vec(),
    };
    assert_eq!(parts(text), [Part::Heading, Part::Block(block), Part::Heading]);
    let like = |expected: &[&str], found: &[&str]| {
        let lines = |lines: &[&str]| lines.iter().map(|line| normalised(line)).collect::<Vec<_>>();
        is_like(&lines(expected), &lines(found))
    };
    assert!(like(
        &["a  0.1 ms x", ANY, "z"],
        &["a 72.34 ms   x", "b", "c", "z"]
    ));
    assert!(like(&[ANY], &[]) && like(&["in 0.1 s (1.5 MiB/s), x"], &["in 7.0 s (88.5 KiB/s), x"]));
    assert!(
        like(&["number is 7", "pid 3"], &["number is 9", "pid 15"]) && !like(&["OPEN is 1"], &["OPEN is 0"])
    );
    assert!(like(
        &["2026-11-21T21:49:54Z (0s ago)"],
        &["2027-01-01T00:00:00Z (12s ago)"]
    ));
    let id = "/shmeld.0123456789abcdef0123456789abcdef";
    assert!(like(&[id], &["/shmeld.ffffffffffffffffffffffffffffffff"]));
    for wrong in [&["a", "c"][..], &["a"], &["a", "b", "c"], &["a", "B"]] {
        assert!(!like(&["a", "b"], wrong), "{wrong:?}");
    }
    assert!(!like(&["a 1 bytes"], &["a 2 bytes"]) && !like(&["a", ANY, "z"], &["a", "b"]));
}
