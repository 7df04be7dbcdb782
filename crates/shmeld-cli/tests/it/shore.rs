//! A world on an island: where objects of the test are all that there is, and `shmeld ipc` looks at them.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::island::Island;
use crate::processes::{Program, Running};
use crate::world::{World, eventually};

/// A world on an island.
pub struct Shore {
    pub world: World,
    pub island: Island,
}

impl Shore {
    pub fn or_skip(what: &str) -> Option<Self> {
        let world = World::new(what);
        let island = Island::or_skip(&world)?;
        Some(Shore { world, island })
    }

    pub fn ipc(&self, words: &[&str]) -> Program {
        self.island.with(self.world.ipc(words))
    }

    pub fn shell(&self, script: &str) {
        self.island
            .with(self.world.tool("sh").args(["-c", script]))
            .run()
            .expect_code(0);
    }

    pub fn server(&self, name: &str) -> Running {
        let serve = self
            .world
            .shmeld("serve")
            .args(["--name", name])
            .arg(self.world.source(""));
        let server = self.island.with(serve).start();
        server.wait_for_stderr("serving");
        server
    }

    pub fn poster(&self, key: &str) -> Running {
        let post = self
            .world
            .shmeld("board")
            .args(["post", "a message", "--key", key]);
        let poster = self.island.with(post).start();
        poster.wait_for_stderr("posted");
        poster
    }

    /// A channel of images at work until one of the two is killed: requester and provider.
    pub fn channel(&self, name: &str) -> [Running; 2] {
        self.world.put("dot.raw", b"rgb");
        let shape = br#"{"bytes":3,"width":1,"height":1,"channels":3}"#;
        self.world.put("dot.raw.json", shape);
        let provide = self.world.shmeld("image").args(["provide", name]);
        let provider = self.island.with(provide.arg(self.world.source(""))).start();
        let requester = self.requester(name, &["dot", "-n", "1000000000"]);
        provider.wait_for_stderr("image dot");
        [requester, provider]
    }

    /// A requester that asks for these images.
    pub fn requester(&self, channel: &str, what: &[&str]) -> Running {
        let request = self.world.shmeld("image").args(["request", channel, "-q"]);
        // Printed, because who is killed while it writes a file leaves what it has of it.
        let request = request.args(["--timeout", "1h", "--print"]).args(what);
        let requester = self.island.with(request).stdout(Stdio::null()).start();
        let last = format!("sem:/SEM_{channel}_REQ");
        eventually("the channel is there", || self.listed(&[]).contains(&last));
        requester
    }

    /// Addresses of what `ls` and these options list, memfds left out: they are everybody's.
    pub fn listed(&self, options: &[&str]) -> Vec<String> {
        let kinds: &[&str] = if options.contains(&"--kind") {
            &[]
        } else {
            &["--kind", "posix,sysv"]
        };
        let lines = self
            .ipc(&[&["ls", "--json"], kinds, options].concat())
            .run()
            .expect_code(0)
            .json_lines();
        addresses(&lines, "object")
    }

    /// What `ls` and these options say, object by object; what was seen comes last.
    pub fn objects(&self, options: &[&str]) -> Vec<Value> {
        let words = [&["ls", "--json"], options].concat();
        self.ipc(&words).run().expect_code(0).json_lines()
    }

    /// What `clean` and these options say, by event.
    pub fn cleaned(&self, event: &str, options: &[&str]) -> Vec<String> {
        let lines = self
            .ipc(&[&["clean", "--json"], options].concat())
            .run()
            .expect_code(0)
            .json_lines();
        addresses(&lines, event)
    }

    /// A Python program that holds one object of each kind until it is killed.
    pub fn holder(&self, python: &Path, name: &str, key: &str) -> Running {
        let fifo = self.world.root().join("fifo");
        if !fifo.exists() {
            self.world.tool("mkfifo").arg(&fifo).run().expect_code(0);
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/holder.py");
        let holder = self
            .world
            .tool(python.to_str().unwrap())
            .args([script, name, key]);
        // Its standard input is a pipe that nobody closes.
        let holder = holder.after(&format!("exec 0<> {}", fifo.display()));
        let holder = self.island.with(holder).start();
        holder.wait_for_stderr("ready");
        holder
    }

    /// What the holder says that it made.
    pub fn holder_said(&self, holder: &Running) -> Vec<u8> {
        eventually("it says what it made", || holder.stdout().ends_with(b"\n"));
        holder.stdout()
    }

    /// What other programs left, as soon as nothing of it changes any more: memory goes a moment after its process.
    pub fn unheld(&self) -> Vec<String> {
        let mut unheld = self.listed(&["--any-stale"]);
        eventually("memory is given back", || {
            let before = std::mem::replace(&mut unheld, self.listed(&["--any-stale"]));
            before == unheld
        });
        unheld
    }

    pub fn finish(self) {
        self.island.leave();
        self.world.finish();
    }
}

pub fn addresses(lines: &[Value], event: &str) -> Vec<String> {
    let events = lines.iter().filter(|line| line["event"] == event);
    events
        .map(|line| line["address"].as_str().unwrap().to_owned())
        .collect()
}

/// Numbers of System V differ from run to run.
pub fn kinds(addresses: &[String]) -> Vec<&str> {
    let kind = |address: &'_ String| -> usize { address.find('#').unwrap_or(address.len()) };
    addresses
        .iter()
        .map(|address| &address[..kind(address)])
        .collect()
}
