//! Bridges as services: the unit files in packaging/systemd.

use std::path::PathBuf;

use crate::need::has_or_skip;
use crate::world::World;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/systemd");

#[test]
fn unit_files_are_sound_and_expose_little_but_the_network() {
    /// In tenths, as systemd counts: half of it is the network.
    const EXPOSURE_MAX: &str = "--threshold=16";
    let Some(world) = World::or_skip("units") else {
        return;
    };
    if !has_or_skip("systemd-analyze") {
        return;
    }
    for name in ["shmeld-bridge-export@.service", "shmeld-bridge-import@.service"] {
        let text = std::fs::read_to_string(PathBuf::from(UNITS).join(name)).unwrap();
        assert!(text.contains("ExecStart=/usr/bin/shmeld-bridge "));
        let text = text.replace("/usr/bin/shmeld-bridge", env!("CARGO_BIN_EXE_shmeld-bridge"));
        let unit = world.put(name, text.as_bytes());
        let analyze = |words: &[&str]| world.tool("systemd-analyze").args(words).arg(&unit).run();
        analyze(&["verify", "--man=no"]).expect_code(0).expect_silence();
        analyze(&["security", "--offline=yes", EXPOSURE_MAX]).expect_code(0);
    }
    world.finish();
}
