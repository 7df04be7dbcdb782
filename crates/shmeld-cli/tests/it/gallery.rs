//! A channel of images of its own for each test: pictures whose pixels follow from their names, both sides, a careless C++ program for
//! either, and the proof that nothing is left.

use std::path::PathBuf;

use shmeld_os::ObjectName;
use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::peers::PEERS;
use crate::processes::{Program, Running};
use crate::world::{World, has_or_skip};

/// See the module. End each test with [`Gallery::finish`].
pub struct Gallery {
    world: Option<World>,
    channel: String,
}

impl Gallery {
    pub fn new(what: &str) -> Self {
        let world = World::new(what);
        Gallery {
            channel: world.name()[1..].to_owned(),
            world: Some(world),
        }
    }

    pub fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// A picture that `provide` finds: SEED-WIDTHxHEIGHTxCHANNELS.
    pub fn put(&self, name: &str) {
        let [width, height, channels] = shape_of(name);
        let bytes = width * height * channels;
        let shape = format!(r#"{{"bytes":{bytes},"width":{width},"height":{height},"channels":{channels}}}"#);
        self.world().put(&format!("{name}.raw"), &pixels_of(name));
        self.world().put(&format!("{name}.raw.json"), shape.as_bytes());
    }

    /// `shmeld image provide CHANNEL SOURCE`
    pub fn provide(&self) -> Program {
        let program = self.world().shmeld("image").args(["provide", &self.channel]);
        program.arg(self.world().source(""))
    }

    /// `shmeld image request CHANNEL -o OUTPUT --format raw`
    pub fn request(&self) -> Program {
        let program = self
            .world()
            .shmeld("image")
            .args(["request", &self.channel, "-o"]);
        let program = program.arg(self.world().output(""));
        program.args(["--format", "raw"])
    }

    /// `naive_image ROLE CHANNEL`, compiled in the test's folder.
    pub fn naive_or_skip(&self, role: &str) -> Option<Program> {
        let binary = self.world().root().join("naive_image");
        if !binary.exists() {
            if !has_or_skip("g++") {
                return None;
            }
            let source = PathBuf::from(PEERS).join("naive_image.cpp");
            let compiler = self.world().tool("g++");
            let compiler = compiler.args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]);
            let compiler = compiler.arg(&binary).arg(source).args(["-pthread", "-lrt"]);
            compiler.run().expect_code(0);
        }
        let naive = self.world().tool(binary.to_str().unwrap());
        Some(naive.args([role, &self.channel]))
    }

    /// A naive provider that has made its semaphores.
    pub fn start_naive_provider(&self, arguments: &[&str]) -> Option<Running> {
        let running = self.naive_or_skip("provide")?.args(arguments).start();
        running.wait_for_stderr("ready");
        Some(running)
    }

    /// Insists that the picture arrived as `request` writes it.
    #[track_caller]
    pub fn assert_got(&self, name: &str) {
        self.world()
            .assert_output(&format!("{name}.raw"), &pixels_of(name));
    }

    /// The names in /dev/shm that this channel has.
    pub fn left(&self) -> Vec<String> {
        let names = ["sem.SEM_#_REQ", "sem.SEM_#_RES", "SEG_#_HEAD", "SEG_#_DATA"];
        let names = names.map(|name| name.replace('#', &self.channel));
        let is_there = |name: &String| SharedMemory::stat_name(&ObjectName::new(name).unwrap()).is_ok();
        names.into_iter().filter(is_there).collect()
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(self.left(), [""; 0], "of the channel");
    }

    #[track_caller]
    pub fn finish(mut self) {
        self.assert_nothing_left();
        if let Some(world) = self.world.take() {
            world.finish();
        }
    }
}

impl Drop for Gallery {
    fn drop(&mut self) {
        // What a failed test leaves; its processes first.
        drop(self.world.take());
        for name in self.left() {
            let _ = SharedMemory::unlink(&ObjectName::new(&name).unwrap());
        }
    }
}

/// Width, height and channels in a name.
fn shape_of(name: &str) -> [usize; 3] {
    let (_, shape) = name.split_once('-').unwrap();
    let numbers: Vec<usize> = shape.split('x').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// The pixels of a picture, as naive_image.cpp makes them.
pub fn pixels_of(name: &str) -> Vec<u8> {
    let seed: u32 = name.split('-').next().unwrap().parse().unwrap();
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes = shape_of(name).iter().product();
    (0..bytes).map(|_| next()).collect()
}

/// Insists on what the naive requester wrote.
#[track_caller]
pub fn assert_naive_got(gallery: &Gallery, name: &str) {
    content::assert_file(&gallery.world().output(&format!("{name}.bin")), &pixels_of(name));
}
