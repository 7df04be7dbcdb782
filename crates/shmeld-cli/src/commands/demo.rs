//! `shmeld demo`: two real processes at work on real files, told step by step; what arrived and what is left is looked at, not believed.

use std::path::Path;
use std::time::Instant;

use shmeld::ServerName;

use super::demo_board;
use super::demo_image;
use super::demo_leftovers::Leftovers;
use super::demo_material::{Fate, Material, Tree};
use super::demo_meld;
use super::demo_page;
use super::demo_process::Trouble;
use super::demo_run::Theatre;
use super::demo_stage::{TemporaryDirectory, random_tag};
use super::demo_story::{Story, command_for, counted, grouped};
use super::demo_tree;
use crate::args_demo::DemoArgs;
use crate::program::{Program, exit};

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &DemoArgs) -> u8 {
    if let Some((option, whose)) = args.stray() {
        program.complain(
            &format!("demo {}: {option} is for demo {whose}", args.which),
            None,
        );
        return exit::USAGE;
    }
    match args.which.as_str() {
        "meld" => demo_meld::run(program, args),
        "board" => demo_board::run(program, args),
        "image" => demo_image::run(program, args),
        _ => transfer(program, args),
    }
}

fn transfer(program: &Program, args: &DemoArgs) -> u8 {
    let start = Instant::now();
    let mut story = Story::new();
    match play(program, args, &mut story) {
        Ok(()) => conclude(program, args, &story, start),
        Err(trouble) => trouble.tell(program),
    }
}

fn play(program: &Program, args: &DemoArgs, story: &mut Story) -> Result<(), Trouble> {
    let interrupt = program.interrupt_and_clean_up();
    let tag = random_tag();
    let stage = TemporaryDirectory::of_demo(&tag)?;
    let theatre = Theatre {
        stage: stage.path(),
        interrupt: &interrupt,
        umask: program.umask,
    };
    let mut leftovers = Leftovers::default();
    story.title("shmeld demo: files from one process to another through one page of memory");

    let material = Material::prepare(&args.samples, stage.path())?;
    tell_material(story, &material, &args.samples);
    let name = server_name(&format!("shmeld-demo-{tag}"));
    leftovers.expect_server(&name);
    demo_page::play(story, &theatre, &material, &name, &mut leftovers)?;

    let tree = Tree::choose(&args.samples, stage.path())?;
    let name = server_name(&format!("shmeld-tree-{tag}"));
    leftovers.expect_server(&name);
    demo_tree::play(story, &theatre, &tree, &name, &mut leftovers)?;

    tell_leftovers(story, &leftovers, stage);
    Ok(())
}

fn server_name(name: &str) -> ServerName {
    ServerName::new(name).unwrap_or_else(|_| unreachable!("letters, digits and dashes make a sound name"))
}

fn tell_material(story: &mut Story, material: &Material, samples: &Path) {
    story.step("The files");
    let samples = samples.display();
    if material.made_up {
        story.tell(&format!(
            "There is no {samples}/filelist.txt here, so files were made up; they lie in"
        ));
    } else {
        story.tell(&format!(
            "Copies of the files in {samples}, and a large.bin made just now, lie in"
        ));
    }
    story.tell(&format!("{}.", material.offered.display()));
    let is_absent = |name: &&String| material.fate(name) != Fate::Delivered;
    let absent = material.names.iter().filter(is_absent).count() as u64;
    let names = counted(material.names.len() as u64, "name");
    if absent == 0 {
        story.tell(&format!("filelist.txt there has {names}, all of files."));
    } else {
        story.tell(&format!(
            "filelist.txt there has {names}, {absent} of no file on purpose: what is"
        ));
        story.tell("missing must not disturb the rest.");
    }
}

fn tell_leftovers(story: &mut Story, leftovers: &Leftovers, stage: TemporaryDirectory) {
    story.step("What is left of all this");
    let found = leftovers.find();
    story.check(
        found.is_empty(),
        "no kernel object of this run is left",
        &found.join(", "),
    );
    let (memory, queues) = leftovers.counts();
    if found.is_empty() {
        story.tell(&format!(
            "{} of shared memory and {} existed; all are gone again.",
            counted(memory, "object"),
            counted(queues, "message queue")
        ));
    }
    match leftovers.of_others() {
        Ok(0) => story.tell("/dev/shm has no name that begins with shmeld."),
        Ok(others) => story.tell(&format!(
            "({} more in /dev/shm: other programs that use shmeld at this moment.)",
            counted(others as u64, "object")
        )),
        Err(error) => story.check(
            false,
            "the directory of shared memory can be read",
            &error.to_string(),
        ),
    }
    match stage.remove() {
        Ok(()) => story.tell("The temporary directory is removed; both servers have ended."),
        Err(message) => story.check(false, "the temporary directory can be removed", &message),
    }
}

fn conclude(program: &Program, args: &DemoArgs, story: &Story, start: Instant) -> u8 {
    let (held, failed) = story.verdict();
    let seconds = start.elapsed().as_secs_f64();
    if !failed.is_empty() {
        story.conclude(&format!(
            "{} of {} checks failed:",
            failed.len(),
            grouped(u64::from(held) + failed.len() as u64)
        ));
        for claim in failed {
            program.complain(&format!("demo: {claim}"), None);
        }
        return exit::NOT_DELIVERED;
    }
    story.conclude(&format!(
        "{} checks held in {seconds:.2} s: nothing left behind.",
        grouped(u64::from(held))
    ));
    tell_next(story, args);
    exit::DONE
}

fn tell_next(story: &Story, args: &DemoArgs) {
    let shmeld = command_for("shmeld").unwrap_or_else(|| "shmeld".to_owned());
    let server = command_for("shm_server").unwrap_or_else(|| format!("{shmeld} serve"));
    let client = command_for("shm_client").unwrap_or_else(|| format!("{shmeld} get --region 4096"));
    let (directory, file) = if args.samples.join("a.jpg").is_file() {
        (args.samples.display().to_string(), "a.jpg")
    } else {
        (".".to_owned(), "FILE")
    };
    story.conclude("Now you, in two terminals (in either order, the client waits):");
    story.tell(&format!("{server} {directory}"));
    story.tell(&format!("{client} -o /tmp/inbox/ {file}"));
    story.tell("With --explain each side tells every step. How fast it is here:");
    story.tell(&format!("{shmeld} bench"));
}
