//! The usual stage: a server and its export on one machine, an import on another, and between them a cable or a road with weather.

use std::path::PathBuf;

use crate::bridge;
use crate::machine::{Cable, Machine};
use crate::processes::{Outcome, Program, Running};
use crate::weather::{Road, Weather};
use crate::world::World;

/// See the module. The server's files are below `origin/source`, what is fetched comes to `branch/output`.
pub struct Pair {
    pub world: World,
    pub origin: Machine,
    pub branch: Machine,
    /// Where the origin's zenoh listens.
    address: String,
}

/// What runs on a [`Pair`].
pub struct Bridges {
    pub server: Running,
    pub export: Running,
    pub import: Running,
}

impl Pair {
    /// Says why there is none, where there is none.
    pub fn or_skip(what: &str) -> Option<(Self, Cable)> {
        let (world, origin, branch) = Self::machines(what)?;
        let cable = Cable::between(&world, &origin, &branch, 1);
        let pair = Pair {
            address: cable.left(),
            world,
            origin,
            branch,
        };
        Some((pair, cable))
    }

    pub fn on_a_road_or_skip(what: &str, weather: Weather) -> Option<(Self, Road)> {
        let (world, origin, branch) = Self::machines(what)?;
        let road = Road::or_skip(&world, &origin, &branch, weather)?;
        let pair = Pair {
            address: Road::LEFT.to_owned(),
            world,
            origin,
            branch,
        };
        Some((pair, road))
    }

    fn machines(what: &str) -> Option<(World, Machine, Machine)> {
        let world = World::or_skip(what)?;
        let (origin, branch) = (world.machine_or_skip("origin")?, world.machine_or_skip("branch")?);
        Some((world, origin, branch))
    }

    fn export_config(&self) -> PathBuf {
        let listen = [bridge::endpoint(&self.address)];
        bridge::config(&self.world, "export", &listen, &[], "")
    }

    pub fn export(&self) -> Program {
        bridge::export(&self.world, &self.origin, &self.export_config())
    }

    /// With the rights of another user.
    pub fn export_as(&self, uid: u32) -> Program {
        let export = bridge::exporter(&self.world, &self.export_config());
        self.origin.with(export.as_user(uid))
    }

    pub fn import(&self) -> Program {
        let connect = [bridge::endpoint(&self.address)];
        let config = bridge::config(&self.world, "import", &[], &connect, "");
        bridge::import(&self.world, &self.branch, &config)
    }

    /// Everything with these options, and no others.
    pub fn start_with(&self, server: &[&str], export: &[&str], import: &[&str]) -> Bridges {
        Bridges {
            server: bridge::start_server(&self.world, &self.origin, server),
            export: bridge::start(self.export().args(export)),
            import: bridge::start(self.import().args(import)),
        }
    }

    pub fn start(&self) -> Bridges {
        self.start_with(&[], &[], &[])
    }

    /// A file of the server that only this name and length have; returns its bytes.
    pub fn put(&self, name: &str, len: usize) -> Vec<u8> {
        self.world.put_random(&format!("origin/source/{name}"), len)
    }

    pub fn source(&self, name: &str) -> PathBuf {
        self.origin.path("source").join(name)
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.branch.path("output").join(name)
    }

    pub fn client(&self, arguments: &[&str]) -> Program {
        bridge::client(&self.world, &self.branch, arguments)
    }

    #[track_caller]
    pub fn fetch(&self, arguments: &[&str]) -> Outcome {
        self.client(arguments).run()
    }

    #[track_caller]
    pub fn assert_output(&self, name: &str, expected: &[u8]) {
        self.world.assert_file(&format!("branch/output/{name}"), expected);
    }
}
