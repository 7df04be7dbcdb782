//! The examples of docs/BRIDGE.md do what they say: each file is taken from there, with the addresses and folders of the test in the place of
//! those on paper.

use std::path::PathBuf;

use crate::bridge;
use crate::machine::{Cable, Machine};
use crate::need::has_or_skip;
use crate::processes::{Outcome, Running};
use crate::roles;
use crate::world::World;

const DOCUMENT: &str = include_str!("../../../../docs/BRIDGE.md");
const KEY_ON_PAPER: &str = "plant/7";
const ADDRESS_ON_PAPER: &str = "192.0.2.10";

/// The block of the document that begins with a comment of this name.
fn block(name: &str) -> &'static str {
    let blocks = DOCUMENT.split("```").skip(1).step_by(2);
    let is_it = |block: &&str| {
        let first = block.lines().nth(1).unwrap_or_default();
        first.rsplit(['/', ' ']).next() == Some(name)
    };
    let block = blocks.into_iter().find(is_it);
    let block = block.unwrap_or_else(|| panic!("docs/BRIDGE.md has no {name}"));
    block.split_once('\n').unwrap().1
}

/// Two machines, or more, as the document has them.
struct Paper {
    world: World,
    origin: Machine,
    branch: Machine,
    /// That of whoever listens.
    address: String,
}

impl Paper {
    fn or_skip(what: &str) -> Option<Self> {
        let world = World::or_skip(what)?;
        let (origin, branch) = (world.machine_or_skip("origin")?, world.machine_or_skip("branch")?);
        let address = Cable::between(&world, &origin, &branch, 1).left();
        Some(Paper {
            world,
            origin,
            branch,
            address,
        })
    }

    fn on_stage(&self, text: &str) -> String {
        text.replace(KEY_ON_PAPER, bridge::KEY)
            .replace(ADDRESS_ON_PAPER, &self.address)
            .replace("/etc/shmeld-bridge", self.world.path("etc").to_str().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        let text = self.on_stage(block(name));
        self.world.put(&format!("etc/{name}"), text.as_bytes())
    }

    fn make_certificates(&self, names: &str) {
        let script = self
            .on_stage(block("make-certificates"))
            .replace("origin branch", names);
        let folder = self.world.path("etc");
        std::fs::create_dir_all(&folder).unwrap();
        let make = self.world.tool("sh").args(["-e", "-c", &script]);
        make.current_dir(folder).run().expect_code(0);
    }

    fn start_export(&self, config: &str) -> Running {
        bridge::start_server(&self.world, &self.origin, &[]);
        bridge::start(bridge::export(&self.world, &self.origin, &self.file(config)))
    }

    fn start_import(&self, config: &str) -> Running {
        let import = bridge::import(&self.world, &self.branch, &self.file(config));
        bridge::start(import.args(["--timeout", "5s"]))
    }

    fn fetch(&self) -> Outcome {
        bridge::fetch(&self.world, &self.branch, &["file"])
    }

    #[track_caller]
    fn assert_fetches(&self, bytes: &[u8]) {
        self.fetch().expect_code(0);
        self.world.assert_file("branch/output/file", bytes);
        std::fs::remove_file(self.branch.path("output/file")).unwrap();
    }

    fn put(&self) -> Vec<u8> {
        self.world.put_random("origin/source/file", 3_000_000)
    }
}

#[test]
fn two_machines_as_documented() {
    let Some(paper) = Paper::or_skip("two") else {
        return;
    };
    let bytes = paper.put();
    // Whoever is first waits for the other.
    let import = paper.start_import("import.json5");
    paper.start_export("export.json5");
    crate::need::eventually("it finds the export", || paper.fetch().code == Some(0));
    paper.world.assert_file("branch/output/file", &bytes);
    drop(import);
    paper.world.finish();
}

#[test]
fn many_machines_through_a_router_as_documented() {
    let Some(paper) = Paper::or_skip("router") else {
        return;
    };
    let bytes = paper.put();
    let router = roles::start(
        &paper.world,
        &paper.origin,
        "router",
        &[paper.file("router.json5").to_str().unwrap()],
    );
    paper.start_export("client.json5");
    paper.start_import("client.json5");
    paper.assert_fetches(&bytes);
    router.kill();
    paper.world.finish();
}

#[test]
fn encrypted_and_only_among_acquaintances_as_documented() {
    let Some(paper) = Paper::or_skip("tls") else {
        return;
    };
    if !has_or_skip("openssl") {
        return;
    }
    let bytes = paper.put();
    paper.make_certificates("origin branch");
    paper.start_export("export-tls.json5");
    let import = paper.start_import("import-tls.json5");
    paper.assert_fetches(&bytes);
    end(&import);
    // Another authority's certificate of the same name.
    paper.make_certificates("branch");
    let stranger = bridge::import(&paper.world, &paper.branch, &paper.file("import-tls.json5"));
    let stranger = bridge::start(stranger.args(["--timeout", "2s"]));
    assert_eq!(paper.fetch().code, Some(1), "a stranger is served");
    end(&stranger);
    // Without any.
    let plain = bridge::import(&paper.world, &paper.branch, &paper.file("import.json5"));
    bridge::start(plain.args(["--timeout", "2s"]));
    assert_eq!(paper.fetch().code, Some(1), "a plain connection is served");
    paper.world.finish();
}

#[test]
fn only_who_may_ask_is_answered_as_documented() {
    let Some(paper) = Paper::or_skip("acl") else {
        return;
    };
    if !has_or_skip("openssl") {
        return;
    }
    let bytes = paper.put();
    paper.make_certificates("origin branch other");
    paper.start_export("export-acl.json5");
    let import = paper.start_import("import-tls.json5");
    paper.assert_fetches(&bytes);
    end(&import);
    // Known to the authority, and not to the rules.
    for ending in ["pem", "key"] {
        let etc = paper.world.path("etc");
        std::fs::copy(
            etc.join(format!("other.{ending}")),
            etc.join(format!("branch.{ending}")),
        )
        .unwrap();
    }
    let other = bridge::import(&paper.world, &paper.branch, &paper.file("import-tls.json5"));
    bridge::start(other.args(["--timeout", "2s"]));
    assert_eq!(paper.fetch().code, Some(1), "another machine is served");
    paper.world.finish();
}

#[track_caller]
fn end(bridge: &Running) {
    bridge.signal("TERM");
    bridge.finish().expect_code(0);
}
