//! Two machines and their cable; on one of them a server with its export, nginx and a plain zenoh peer, on the other an import.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Instant;

use crate::bridge;
use crate::content;
use crate::machine::{Cable, Machine};
use crate::need::{eventually, has_or_skip};
use crate::processes::{Program, Running};
use crate::report::Resident;
use crate::world::World;

/// See the module.
pub struct Stage {
    world: World,
    origin: Machine,
    branch: Machine,
    address: String,
    size: u64,
    export: Running,
    import: Running,
}

const FILE: &str = "file";
const HOLES: &str = "holes";
const WEB_PORT: u16 = 8080;
const PLAIN_PORTS: [u16; 2] = [7450, 7451];

impl Stage {
    /// Everything but the clients. Says why there is none, where there is none.
    pub fn or_skip(size: u64) -> Option<Self> {
        let world = World::or_skip("bench")?;
        if !has_or_skip("nginx") || !has_or_skip("curl") {
            return None;
        }
        let (origin, branch) = (world.machine_or_skip("origin")?, world.machine_or_skip("branch")?);
        let address = Cable::between(&world, &origin, &branch, 1).left();
        put(&origin.path("source").join(FILE), size);
        let listen = bridge::config(&world, "export", &[bridge::endpoint(&address)], &[], "");
        let connect = bridge::config(&world, "import", &[], &[bridge::endpoint(&address)], "");
        bridge::start_server(&world, &origin, &[]);
        let stage = Stage {
            export: bridge::start(bridge::export(&world, &origin, &listen)),
            import: bridge::start(bridge::import(&world, &branch, &connect)),
            world,
            origin,
            branch,
            address,
            size,
        };
        std::fs::create_dir_all(stage.branch.path("output")).unwrap();
        stage.start_plain(PLAIN_PORTS[0], stage.source(FILE).to_str().unwrap());
        stage.start_plain(PLAIN_PORTS[1], "");
        stage.start_nginx();
        Some(stage)
    }

    fn source(&self, name: &str) -> PathBuf {
        self.origin.path("source").join(name)
    }

    fn output(&self, name: &str) -> PathBuf {
        self.branch.path("output").join(name)
    }

    fn endpoint(&self, port: u16) -> [String; 1] {
        [format!("tcp/{}:{port}", self.address)]
    }

    fn role(&self, words: &[&str]) -> Program {
        let itself = std::env::current_exe().unwrap();
        self.world.keeper(itself.to_str().unwrap()).args(words)
    }

    fn start_plain(&self, port: u16, file: &str) {
        let config = format!("plain-{port}");
        let config = bridge::config(&self.world, &config, &self.endpoint(port), &[], "");
        let plain = self.role(&["plain-serve", config.to_str().unwrap(), file]);
        self.origin.with(plain).start().wait_for_stderr("serving");
    }

    fn start_nginx(&self) {
        let folder = self.world.path("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        let shown = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {shown}/temporary; "))
            .concat();
        let (source, address) = (self.source(""), &self.address);
        let text = format!(
            "user root; daemon off; master_process off; pid {shown}/pid; error_log stderr crit; events {{}}\n\
             http {{ {temporary} access_log off; sendfile on; default_type application/octet-stream;\n\
             server {{ listen {address}:{WEB_PORT}; root {}; }} }}\n",
            source.display()
        );
        let config = self.world.put("nginx/nginx.conf", text.as_bytes());
        let nginx = self
            .world
            .keeper("nginx")
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(config);
        self.origin.with(nginx.args(["-e", "stderr"])).start();
        let head = || {
            let url = format!("http://{address}:{WEB_PORT}/{FILE}");
            let curl = self
                .world
                .tool("curl")
                .args(["--silent", "--fail", "--head", &url]);
            self.branch.with(curl).run().code == Some(0)
        };
        eventually("nginx answers", head);
    }

    /// From the start of a program to its end.
    fn time(&self, program: Program) -> f64 {
        let start = Instant::now();
        program.run().expect_code(0);
        start.elapsed().as_secs_f64()
    }

    fn client(&self, name: &str) -> Program {
        bridge::client(&self.world, &self.branch, &["--quiet", "--region", "1MiB", name])
    }

    /// These are the contestants; each returns its seconds.
    pub fn bridge(&self) -> f64 {
        self.time(self.client(FILE))
    }

    pub fn curl(&self) -> f64 {
        let url = format!("http://{}:{WEB_PORT}/{FILE}", self.address);
        let curl = self.world.tool("curl").args(["--silent", "--fail", "-o"]);
        self.time(self.branch.with(curl.arg(self.output(FILE)).arg(url)))
    }

    pub fn plain_to_file(&self) -> f64 {
        self.plain(PLAIN_PORTS[0], self.output(FILE).to_str().unwrap())
    }

    pub fn plain_to_nowhere(&self) -> f64 {
        self.plain(PLAIN_PORTS[1], "")
    }

    /// Its own time, without that of its start and of meeting the other side, which the bridge has behind it too.
    fn plain(&self, port: u16, output: &str) -> f64 {
        let config = format!("get-{port}");
        let config = bridge::config(&self.world, &config, &[], &self.endpoint(port), "");
        let (config, size) = (config.to_str().unwrap(), self.size.to_string());
        let outcome = self
            .branch
            .with(self.role(&["plain-get", config, output, &size]))
            .run();
        outcome.expect_code(0).stdout_text().trim().parse().unwrap()
    }

    /// Insists that what has arrived is what was to arrive.
    pub fn compare(&self) {
        let same = self
            .world
            .tool("cmp")
            .arg(self.source(FILE))
            .arg(self.output(FILE));
        same.run().expect_code(0);
    }

    pub fn clear(&self) {
        std::fs::remove_dir_all(self.output("")).unwrap();
        std::fs::create_dir_all(self.output("")).unwrap();
    }

    /// 2 GiB and one byte, of which most is a hole: exact, and its seconds.
    pub fn two_gigabytes_of_next_to_nothing(&self) -> f64 {
        put(&self.source(HOLES), 0);
        let file = File::options().write(true).open(self.source(HOLES)).unwrap();
        file.set_len((2 << 30) + 1).unwrap();
        for position in [0, (1 << 30) - 1000, (1 << 31) - 2000] {
            file.write_all_at(&content::of("holes", 2001), position).unwrap();
        }
        let seconds = self.time(self.client(HOLES));
        let same = self
            .world
            .tool("cmp")
            .arg(self.source(HOLES))
            .arg(self.output(HOLES));
        same.run().expect_code(0);
        seconds
    }

    /// The most memory that each bridge has had.
    pub fn resident(&self) -> Resident {
        Resident {
            export_kib: bridge::resident_kib_max(&self.export),
            import_kib: bridge::resident_kib_max(&self.import),
        }
    }

    pub fn finish(self) {
        self.world.finish();
    }
}

/// A file of this length that is not compressible.
fn put(path: &std::path::Path, size: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    let piece = content::of("bench", 16 << 20);
    let mut position = 0;
    while position < size {
        let len = (size - position).min(piece.len() as u64) as usize;
        file.write_all_at(&piece[..len], position).unwrap();
        position += len as u64;
    }
}
