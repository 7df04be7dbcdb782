//! The first commands of the bridge that anybody reads, in the README and at the top of docs/BRIDGE.md: each one is taken from there and run by
//! a shell, as it stands but for the address and the folder of the files, on the machine that it is for.

use std::path::Path;

use clap::Parser;
use shmeld_zenoh::args::Bridge;

use crate::machine::Cable;
use crate::processes::Running;
use crate::world::World;

const README: &str = include_str!("../../../../README.md");
const DOCUMENT: &str = include_str!("../../../../docs/BRIDGE.md");

/// A command, and whether it is for the machine with the files.
#[derive(Debug, PartialEq)]
struct Step {
    is_origin: bool,
    command: String,
}

/// The block of the README: comments say where one is.
fn steps_of_the_readme() -> Vec<Step> {
    let (_, block) = README.split_once("\n```sh\n").unwrap();
    let (block, _) = block.split_once("\n```").unwrap();
    let mut is_origin = false;
    let mut steps = Vec::new();
    for line in block.lines() {
        if line.starts_with('#') {
            is_origin = line.starts_with("# Where the files are");
        } else {
            let command = line.trim_end_matches(" &").to_owned();
            steps.push(Step { is_origin, command });
        }
    }
    steps
}

/// The lines of the document with a prompt.
fn steps_of_the_document() -> Vec<Step> {
    let prompts = DOCUMENT
        .lines()
        .filter_map(|line| line.trim_start().split_once("$ "));
    let prompts = prompts.filter(|(machine, _)| matches!(*machine, "A" | "B"));
    prompts
        .map(|(machine, command)| Step {
            is_origin: machine == "A",
            command: command.trim_end_matches(" &").to_owned(),
        })
        .collect()
}

/// What a program that goes on says when it can be used; `None` of one that ends.
fn ready_word(command: &str) -> Option<&'static str> {
    let words: Vec<&str> = command.split(' ').take(2).collect();
    match words[..] {
        ["shm_server", _] => Some("serving"),
        ["shmeld-bridge", "export"] => Some("exporting"),
        ["shmeld-bridge", "import"] => Some("importing"),
        _ => None,
    }
}

fn follow(what: &str, steps: &[Step]) {
    let Some(world) = World::or_skip(what) else {
        return;
    };
    let (Some(origin), Some(branch)) = (world.machine_or_skip("origin"), world.machine_or_skip("branch"))
    else {
        return;
    };
    let address = Cable::between(&world, &origin, &branch, 1).left();
    let bytes = world.put_random("origin/films/trailer.mp4", 3_000_000);
    let bridge = Path::new(env!("CARGO_BIN_EXE_shmeld-bridge")).parent().unwrap();
    let mut running: Vec<Running> = Vec::new();
    for Step { is_origin, command } in steps {
        let machine = if *is_origin { &origin } else { &branch };
        let own = command
            .replace("192.0.2.10", &address)
            .replace("/srv/films", origin.path("films").to_str().unwrap());
        let folders = [world.programs(), bridge].map(|folder| folder.display().to_string());
        let script = format!(
            "cd '{}' && PATH='{}':\"$PATH\" && exec {own}",
            machine.path("").display(),
            folders.join("':'")
        );
        let program = machine.with(world.tool("sh").args(["-c", &script])).start();
        if let Some(word) = ready_word(command) {
            program.wait_for_stderr(word);
            running.push(program);
        } else {
            let outcome = program.finish().expect_code(0);
            assert_eq!(
                outcome.stdout_text().contains("trailer.mp4"),
                command.starts_with("shmeld ls"),
                "{command}"
            );
        }
    }
    world.assert_file("branch/trailer.mp4", &bytes);
    for program in running.iter().rev() {
        program.signal("TERM");
        program.finish().expect_code(0);
    }
    world.finish();
}

#[test]
fn the_block_of_the_readme_brings_a_file_from_one_machine_to_another() {
    let steps = steps_of_the_readme();
    assert_eq!(steps.len(), 4, "{steps:?}");
    follow("readme", &steps);
}

#[test]
fn the_first_block_of_the_document_does_too_and_lists() {
    let steps = steps_of_the_document();
    assert_eq!(steps.len(), 5, "{steps:?}");
    assert_eq!(steps[..4], steps_of_the_readme(), "the README has the same");
    follow("first", &steps);
}

/// With the files of `--config` they are run by `networks.rs`.
#[test]
fn every_other_command_of_the_document_is_understood() {
    let lines = DOCUMENT.lines().map(str::trim);
    let commands: Vec<&str> = lines.filter(|line| line.starts_with("shmeld-bridge ")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let parsed = Bridge::try_parse_from(command.split(' '));
        assert!(parsed.is_ok(), "{command}: {parsed:?}");
    }
}
