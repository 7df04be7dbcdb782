//! Images under random kills: requesters and providers of one channel, round after round; some of them die at any moment.
//!
//! The pixels of an image follow from its name, so that one that came under another's name is found out. A killed provider is replaced at
//! once, and its requester asks the next one; a killed requester's channel is taken over by the next round. At the end a round without
//! kills must leave nothing at all.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use shmeld_os::ObjectName;
use shmeld_os::posix::shm::SharedMemory;

use crate::chance::Chance;
use crate::program::{Program, Running};
use crate::row::{Obstacle, Row, Setup, Tally};
use crate::tracer::Exit;
use crate::world::World;

/// How many images a requester asks for.
const IMAGES_A_ROUND: u64 = 50;
/// Whoever has not ended by then hangs: a second for each death, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The mean time between two kills: most rounds see several.
const LIFE: Duration = Duration::from_millis(60);

/// The row of this file.
pub fn row() -> Row {
    Row {
        name: "image-kills",
        about: "requesters and providers of images are killed at random: no wrong pixel, no hang, nothing left",
        run,
    }
}

fn run(setup: &Setup) -> Result<Tally, Obstacle> {
    let images: u64 = if setup.full { 10_000 } else { 600 };
    let mut channel = Channel::new(setup)?;
    let outcome = channel.rage(images);
    channel.clean();
    outcome?;
    let mut tally = Tally {
        points: images,
        failures: channel.failures,
        ..Tally::default()
    };
    if channel.providers_killed.min(channel.requesters_killed) == 0 {
        tally
            .failures
            .push("nobody was killed on one of the sides".to_owned());
    }
    let killed = format!(
        "{} requesters, {} providers",
        channel.requesters_killed, channel.providers_killed
    );
    tally.figures.push(("killed", killed));
    tally.figures.push(("images", channel.images.to_string()));
    Ok(tally)
}

/// A channel of its own, and what became of it.
struct Channel {
    world: World,
    program: PathBuf,
    name: String,
    pictures: PathBuf,
    chance: Chance,
    provider: Option<Running>,
    failures: Vec<String>,
    images: u64,
    requesters_killed: u64,
    providers_killed: u64,
}

impl Channel {
    fn new(setup: &Setup) -> Result<Self, String> {
        let world = World::new(setup, "image")?;
        let pictures = world.output().join("pictures");
        std::fs::create_dir_all(&pictures).map_err(|error| format!("{}: {error}", pictures.display()))?;
        Ok(Self {
            program: setup.programs.join("shmeld"),
            name: format!("shmeld-chaos-image-{}", std::process::id()),
            world,
            pictures,
            chance: Chance::new(setup.seed, 8000),
            provider: None,
            failures: Vec::new(),
            images: 0,
            requesters_killed: 0,
            providers_killed: 0,
        })
    }

    fn rage(&mut self, images: u64) -> Result<(), String> {
        let mut round = 0;
        while self.images < images && self.failures.is_empty() {
            let result = self.round(round, true)?;
            self.note(round, result);
            round += 1;
        }
        let result = self.round(round, false)?;
        self.note(round, result);
        let result = self.end();
        self.note(round, result);
        Ok(())
    }

    fn note(&mut self, round: u64, result: Result<(), String>) {
        let failure = result
            .err()
            .map(|what| format!("channel {}, round {round}: {what}", self.name));
        self.failures.extend(failure);
    }

    /// One requester, from its start to its end or death; the inner result is what did not hold.
    fn round(&mut self, round: u64, with_kills: bool) -> Result<Result<(), String>, String> {
        let output = self.world.output().join("arrived");
        let _ = std::fs::remove_dir_all(&output);
        let names = self.make_pictures(round)?;
        self.replace_provider()?;
        let arguments = ["image", "request", &self.name, "-q", "--format", "raw", "-o"];
        let mut arguments: Vec<&str> = arguments.to_vec();
        let target = output.to_string_lossy().into_owned();
        arguments.push(&target);
        arguments.extend(names.iter().map(String::as_str));
        let program = Program::new(&self.program, &arguments).stdout(Stdio::null());
        let mut requester = program.start(&self.world.said())?;
        let deadline = Instant::now() + PATIENCE;
        let mut is_killed = false;
        while with_kills && !requester.is_over() && Instant::now() < deadline {
            std::thread::sleep(self.chance.around(LIFE));
            if requester.is_over() {
                break;
            }
            if self.chance.below(4) == 0 {
                requester.signal(Signal::SIGKILL);
                self.requesters_killed += 1;
                is_killed = true;
                break;
            }
            self.kill_provider(deadline)?;
            self.replace_provider()?;
        }
        let ended = match requester.finish(deadline) {
            Ok(ended) => ended,
            Err(what) => return Ok(Err(format!("hangs: {what}"))),
        };
        let arrived = match self.count_arrived(&output, &names) {
            Ok(arrived) => arrived,
            Err(what) => return Ok(Err(what)),
        };
        self.images += arrived;
        Ok(match ended.exit {
            Exit::Signal(Signal::SIGKILL) if is_killed => Ok(()),
            Exit::Code(0) if arrived == IMAGES_A_ROUND => Ok(()),
            exit => Err(format!(
                "the requester ended with {exit:?} after {arrived} images: {}",
                ended.stderr
            )),
        })
    }

    /// New pictures for each round: what is left of an old one is never right by chance.
    fn make_pictures(&mut self, round: u64) -> Result<Vec<String>, String> {
        // The folder itself stays: a provider has it open.
        for old in std::fs::read_dir(&self.pictures)
            .map_err(|error| error.to_string())?
            .flatten()
        {
            let _ = std::fs::remove_file(old.path());
        }
        let mut names = Vec::new();
        for number in 0..IMAGES_A_ROUND {
            let [width, height] = [0; 2].map(|_: usize| 1 + self.chance.below(200));
            let channels = 1 + self.chance.below(4);
            let name = format!("{}-{width}x{height}x{channels}", round * IMAGES_A_ROUND + number);
            let pixels = pixels_of(&name)?;
            let shape = format!(
                r#"{{"bytes":{},"width":{width},"height":{height},"channels":{channels}}}"#,
                pixels.len()
            );
            let put = |ending: &str, bytes: &[u8]| {
                std::fs::write(self.pictures.join(format!("{name}{ending}")), bytes)
            };
            put(".raw", &pixels).map_err(|error| error.to_string())?;
            put(".raw.json", shape.as_bytes()).map_err(|error| error.to_string())?;
            names.push(name);
        }
        Ok(names)
    }

    fn replace_provider(&mut self) -> Result<(), String> {
        if self.provider.as_mut().is_some_and(|provider| !provider.is_over()) {
            return Ok(());
        }
        let folder = self.pictures.to_string_lossy().into_owned();
        let program = Program::new(&self.program, &["image", "provide", &self.name, &folder, "-q"]);
        self.provider = Some(program.start(&self.world.said())?);
        Ok(())
    }

    fn kill_provider(&mut self, deadline: Instant) -> Result<(), String> {
        if let Some(provider) = self.provider.take() {
            provider.signal(Signal::SIGKILL);
            provider.finish(deadline)?;
            self.providers_killed += 1;
        }
        Ok(())
    }

    /// How many of these images are there; each that is must be right.
    fn count_arrived(&self, output: &std::path::Path, names: &[String]) -> Result<u64, String> {
        let mut arrived = 0;
        for name in names {
            let Ok(found) = std::fs::read(output.join(format!("{name}.raw"))) else {
                continue;
            };
            if found != pixels_of(name)? {
                return Err(format!("{name} has wrong pixels ({} bytes)", found.len()));
            }
            arrived += 1;
        }
        Ok(arrived)
    }

    /// The provider is asked to end, and nothing is left.
    fn end(&mut self) -> Result<(), String> {
        if let Some(provider) = self.provider.take() {
            provider.signal(Signal::SIGTERM);
            let ended = provider.finish(Instant::now() + PATIENCE)?;
            if ended.exit != Exit::Code(143) {
                return Err(format!(
                    "the provider ended with {:?}: {}",
                    ended.exit, ended.stderr
                ));
            }
        }
        match self.objects().find(|name| SharedMemory::stat_name(name).is_ok()) {
            Some(name) => Err(format!("{name} is left")),
            None => Ok(()),
        }
    }

    fn objects(&self) -> impl Iterator<Item = ObjectName> {
        let names = ["sem.SEM_#_REQ", "sem.SEM_#_RES", "SEG_#_HEAD", "SEG_#_DATA"];
        let names = names.map(|name| ObjectName::new(&name.replace('#', &self.name)));
        names.into_iter().flatten()
    }

    /// Removes what a failed row leaves.
    fn clean(&mut self) {
        self.provider = None;
        for name in self.objects() {
            let _ = SharedMemory::unlink(&name);
        }
    }
}

/// Bytes that no other name has.
fn pixels_of(name: &str) -> Result<Vec<u8>, String> {
    let numbers: Option<Vec<usize>> = name.split(['-', 'x']).map(|number| number.parse().ok()).collect();
    let Some([seed, width, height, channels]) = numbers.as_deref() else {
        return Err(format!("{name} is no name of a picture"));
    };
    let mut state = (*seed as u32).wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    Ok((0..width * height * channels).map(|_| next()).collect())
}
