//! `shmeld demo image`: a requester and providers of images as processes; what each did is told in its own words, what came is compared.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use shmeld::file::Interrupt;
use shmeld::image::ChannelName;
use shmeld::os::posix::shm::SharedMemory;

use super::demo_board_cast::Actor;
use super::demo_process::{Trouble, ourselves, show_status};
use super::demo_stage::{TemporaryDirectory, explain, random_tag};
use super::demo_story::Story;
use super::image;
use crate::args_demo::{DemoArgs, DemoRole};
use crate::args_image::{ImageArgs, ImageCommand, PictureFormat, ProvideArgs, RequestArgs};
use crate::args_talk::TalkArgs;
use crate::program::{Program, exit};

/// Where the two terminals of `--role` meet.
const MEETING_CHANNEL: &str = "shmeld-demo";
/// Name, ending, head and channels of what is made up: portable any-maps, whose pixels follow their head as they are.
const PICTURES: [(&str, &str, &str, usize); 3] = [
    ("grey", "pgm", "P5 64 48 255\n", 64 * 48),
    ("colours", "ppm", "P6 320 200 255\n", 320 * 200 * 3),
    ("dot", "ppm", "P6 1 1 255\n", 3),
];

/// Runs the command.
#[must_use]
pub fn run(program: &Program, args: &DemoArgs) -> u8 {
    let start = Instant::now();
    let mut story = Story::new();
    let outcome = match args.role {
        Some(role) => play_role(program, args, role),
        None => {
            play(program, &mut story).map(|()| story.end(program, start, "image", ["requester", "provider"]))
        }
    };
    outcome.unwrap_or_else(|trouble| trouble.tell(program))
}

/// One side in this terminal: the command that the user would type, with its steps told.
fn play_role(program: &Program, args: &DemoArgs, role: DemoRole) -> Result<u8, Trouble> {
    let channel = channel(MEETING_CHANNEL)?;
    let talk = TalkArgs {
        json: false,
        quiet: false,
        explain: true,
    };
    let stage = TemporaryDirectory::of_demo(&random_tag())?;
    let command = if role == DemoRole::Provider {
        ImageCommand::Provide(ProvideArgs {
            channel,
            directory: make_pictures(stage.path())?,
            count: Some(PICTURES.len() as u64),
            timeout: args.wait,
            requester_uid: Vec::new(),
            talk,
        })
    } else {
        ImageCommand::Request(RequestArgs {
            channel,
            names: PICTURES.map(|(name, ..)| name.into()).to_vec(),
            names_from: None,
            random: false,
            count: None,
            output: None,
            format: PictureFormat::Raw,
            print: true,
            timeout: args.wait,
            public: false,
            force: false,
            talk,
        })
    };
    let code = image::run(program, &ImageArgs { command });
    stage.remove()?;
    Ok(code)
}

fn channel(name: &str) -> Result<ChannelName, Trouble> {
    ChannelName::new(name).map_err(|error| Trouble::Failed(error.to_string()))
}

/// A directory with the pictures.
fn make_pictures(stage: &Path) -> Result<PathBuf, Trouble> {
    let folder = stage.join("pictures");
    std::fs::create_dir(&folder).map_err(explain("mkdir", &folder))?;
    for (name, ending, head, bytes) in PICTURES {
        let file = folder.join(format!("{name}.{ending}"));
        let content = [head.as_bytes(), &pixels(bytes)].concat();
        std::fs::write(&file, content).map_err(explain("write", &file))?;
    }
    Ok(folder)
}

/// A slope of all values: nothing in it is like its neighbour.
fn pixels(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 7 + index / 256) as u8).collect()
}

/// The demonstration's own channel, pictures and processes.
struct Show<'s> {
    stage: &'s Path,
    pictures: PathBuf,
    channel: ChannelName,
    interrupt: &'s Interrupt,
}

impl<'s> Show<'s> {
    fn provider(&self, name: &str) -> Result<Actor<'s>, Trouble> {
        let folder = self.pictures.display().to_string();
        self.start(name, &["provide", &self.channel.to_string(), &folder])
    }

    /// A requester of these names, with its files in a directory of its own.
    fn requester(&self, name: &str, images: &[&str]) -> Result<Actor<'s>, Trouble> {
        let output = self.output(name).display().to_string();
        let channel = self.channel.to_string();
        let options = ["request", &channel, "--format", "raw", "-o", &output];
        self.start(name, &[&options, images].concat())
    }

    fn output(&self, name: &str) -> PathBuf {
        self.stage.join(format!("{name}.images"))
    }

    fn start(&self, name: &str, arguments: &[&str]) -> Result<Actor<'s>, Trouble> {
        let mut command = ourselves();
        command.arg("image").args(arguments).arg("--explain");
        command.stdin(Stdio::null());
        Actor::start(name, command, self.stage, self.interrupt, false)
    }

    /// How many of the pictures have arrived with every pixel.
    fn arrived(&self, name: &str) -> usize {
        let is_whole = |picture: &&(&str, &str, &str, usize)| {
            let file = self.output(name).join(format!("{}.raw", picture.0));
            std::fs::read(file).is_ok_and(|found| found == pixels(picture.3))
        };
        PICTURES.iter().filter(is_whole).count()
    }

    /// Waits until all four objects are there.
    fn await_channel(&self) -> Result<(), Trouble> {
        while self.left().len() < 4 {
            self.interrupt.check().map_err(|_| Trouble::Interrupted)?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(())
    }

    fn left(&self) -> Vec<String> {
        let is_there = |name: &&shmeld::os::ObjectName| SharedMemory::stat_name(name).is_ok();
        let names = self.channel.objects().into_iter().filter(is_there);
        names.map(ToString::to_string).collect()
    }
}

impl Drop for Show<'_> {
    /// A requester that is killed because the demonstration ends early removes nothing. The channel's name is random: what is there is ours.
    fn drop(&mut self) {
        for name in self.channel.objects() {
            let _ = SharedMemory::unlink(name);
        }
    }
}

fn play(program: &Program, story: &mut Story) -> Result<(), Trouble> {
    let interrupt = program.interrupt_and_clean_up();
    let stage = TemporaryDirectory::of_demo(&random_tag())?;
    let show = Show {
        stage: stage.path(),
        pictures: make_pictures(stage.path())?,
        channel: channel(&format!("shmeld-demo-{}", random_tag()))?,
        interrupt: &interrupt,
    };
    story.title("shmeld demo image: pictures by name, from one process to another");
    three_pictures(story, &show)?;
    dead_requester(story, &show)?;
    dead_provider(story, &show)?;
    story.step("What is left of all this");
    let left = show.left();
    story.check(
        left.is_empty(),
        "no segment and no semaphore is left",
        &left.join(", "),
    );
    if left.is_empty() {
        story.tell("Nothing: /dev/shm has none of the four names.");
    }
    drop(show);
    Ok(stage.remove()?)
}

fn three_pictures(story: &mut Story, show: &Show<'_>) -> Result<(), Trouble> {
    story.step("A requester asks for three pictures, and for one that nobody has");
    story.tell("requester  shmeld image request CHANNEL grey colours nope dot");
    story.tell("provider   shmeld image provide CHANNEL DIR");
    let mut requester = show.requester("requester", &["grey", "colours", "nope", "dot"])?;
    show.await_channel()?;
    let mut provider = show.provider("provider")?;
    let status = requester.end()?;
    let arrived = show.arrived("requester");
    story.check(
        arrived == PICTURES.len(),
        "three pictures have arrived, pixel by pixel",
        &format!("{arrived}"),
    );
    story.check(
        status.code() == Some(i32::from(exit::NOT_DELIVERED))
            && requester.has_said("image nope: there is neither nope nor nope.*"),
        "the missing one is an error of its own, with exit code 1",
        &show_status(Ok(status)),
    );
    story.tell("The requester came first, made the channel and waited. The provider has");
    story.tell("said why there is no \"nope\", and went on.");
    provider.kill();
    tell_steps(story, "requester", &requester);
    tell_steps(story, "provider", &provider);
    Ok(())
}

fn dead_requester(story: &mut Story, show: &Show<'_>) -> Result<(), Trouble> {
    story.step("The requester dies: the next one takes the channel over");
    let mut victim = show.requester("victim", &["grey"])?;
    show.await_channel()?;
    victim.kill();
    let left = show.left().len();
    story.check(
        left == 4,
        "a killed requester leaves its four objects",
        &left.to_string(),
    );
    let mut next = show.requester("next", &["grey", "colours", "dot"])?;
    let mut provider = show.provider("provider of the next")?;
    let status = next.end()?;
    story.check(
        status.success() && next.has_said("removing what a requester left that is gone"),
        "the next requester finds the lease free, and removes them",
        &show_status(Ok(status)),
    );
    let arrived = show.arrived("next");
    story.check(
        arrived == PICTURES.len(),
        "its pictures arrive",
        &arrived.to_string(),
    );
    story.tell("Its lease, a lock on the segment HEAD, was free: the kernel had taken it");
    story.tell("back. So the next one may remove all four, and make them anew.");
    provider.kill();
    Ok(())
}

fn dead_provider(story: &mut Story, show: &Show<'_>) -> Result<(), Trouble> {
    story.step("The provider dies: another one is waiting");
    let mut first = show.provider("first provider")?;
    let mut requester = show.requester("patient", &["grey"])?;
    requester.end()?;
    let mut waiting = show.requester("asking", &["nope", "grey", "colours", "dot", "-n", "1000", "-q"])?;
    first.await_word("image nope")?;
    let mut second = show.provider("second provider")?;
    second.await_word("another provider serves it")?;
    first.kill();
    second.await_word("image grey")?;
    let status = waiting.end()?;
    story.check(
        status.code() == Some(i32::from(exit::NOT_DELIVERED)),
        "the requester has gone on with the second provider",
        &show_status(Ok(status)),
    );
    let arrived = show.arrived("asking");
    story.check(
        arrived == PICTURES.len(),
        "no picture is wrong",
        &arrived.to_string(),
    );
    story.tell("1,000 requests; the first provider was killed in the midst of them. The");
    story.tell("second one got the lease on RES, and what was under way was asked again.");
    second.kill();
    Ok(())
}

/// What a process told, in order: the first of each kind.
fn tell_steps(story: &mut Story, who: &str, actor: &Actor<'_>) {
    story.tell("");
    story.tell(&format!(
        "What the {who} told with --explain, each kind of step once:"
    ));
    let mut told: Vec<(String, String)> = Vec::new();
    for (call, why) in actor.steps() {
        // Behind a long name the reason begins late, and then it is told before.
        if told
            .iter()
            .any(|(before, reason)| *before == call && why.ends_with(reason))
        {
            continue;
        }
        story.tell_call(&call, &why);
        told.push((call, why));
    }
}
