//! Everything in one process: a server of a directory, an export of it, an import of that, and a client, with zenoh in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use shmeld::ServerName;
use shmeld::file::wire::{FLAG_PATTERN, FLAG_VERIFY, Op};
use shmeld::file::{
    Client, ClientOptions, Directory, DirectoryOptions, Event, Job, OutputOptions, Query, Server,
    ServerOptions, Status, Stopper, Target, Transfer,
};
use zenoh::{Session, Wait};

use crate::config::Network;
use crate::config::Options;
use crate::export::Export;
use crate::fake::content;
use crate::import::Import;
use crate::wire::{CHUNK_BYTES, Request};

/// A server on a thread.
struct Running {
    name: ServerName,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct World {
    root: PathBuf,
    /// Dropped first, and in this order.
    import: Option<Running>,
    exports: Vec<Export>,
    server: Option<Running>,
    near: Session,
    far: Session,
}

fn name(role: &str, number: u32) -> ServerName {
    ServerName::new(&format!("shmeld-loop-{role}-{}-{number}", std::process::id())).unwrap()
}

/// A session that finds nobody but at these places. Sockets with names: nobody else can have taken the port.
fn join(connect: Vec<String>, listen: Vec<String>) -> Session {
    let network = Network {
        connect,
        listen,
        ..Network::default()
    };
    let mut config = network.config().unwrap();
    config
        .insert_json5("scouting/multicast/enabled", "false")
        .unwrap();
    config.insert_json5("scouting/gossip/enabled", "false").unwrap();
    zenoh::open(config).wait().unwrap()
}

impl World {
    fn new(exports: usize) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("shmeld-loop-{}-{number}", std::process::id()));
        std::fs::create_dir_all(root.join("files")).unwrap();
        let socket = |side| vec![format!("unixsock-stream/{}", root.join(side).display())];
        let far = join(Vec::new(), socket(".far"));
        let near = join(socket(".far"), socket(".near"));
        let mut world = Self {
            root,
            import: None,
            exports: Vec::new(),
            server: None,
            near,
            far,
        };
        let source =
            Arc::new(Directory::open(&world.root.join("files"), DirectoryOptions::default()).unwrap());
        let options = ServerOptions {
            name: name("far", number),
            ..ServerOptions::default()
        };
        let server = Server::start(source, options).unwrap();
        let (server_name, stopper) = (name("far", number), server.stopper());
        let thread = Some(std::thread::spawn(move || {
            server.run().unwrap();
        }));
        world.server = Some(Running {
            name: server_name.clone(),
            stopper,
            thread,
        });
        let key: crate::key::Prefix = "loop/back".parse().unwrap();
        for _ in 0..exports {
            let options = Options {
                name: server_name.clone(),
                key: key.clone(),
                timeout: Duration::from_secs(20),
            };
            world.exports.push(Export::start(&world.far, &options).unwrap());
        }
        let options = Options {
            name: name("near", number),
            key,
            timeout: Duration::from_secs(20),
        };
        let mut import = Import::start(&world.near, &options).unwrap();
        let stopper = import.stopper();
        let thread = std::thread::spawn(move || {
            import.serve().unwrap();
            import.end();
        });
        world.import = Some(Running {
            name: options.name,
            stopper,
            thread: Some(thread),
        });
        world
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.root.join("files").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// What a client of the import hears.
    fn ask(&self, op: Op, path: &[u8], flags: u32) -> Vec<Event> {
        let client = Client::connect(ClientOptions {
            name: self.import.as_ref().unwrap().name.clone(),
            region_bytes: 1 << 20,
            ..ClientOptions::default()
        })
        .unwrap();
        let query = Query {
            op,
            path: path.to_vec(),
            flags,
            resume: None,
        };
        let jobs = [Job {
            query,
            target: Target::Caller,
        }]
        .into_iter();
        let mut transfer = Transfer::new(client, jobs, OutputOptions::default());
        let mut events = Vec::new();
        while let Some(event) = transfer.next_event().unwrap() {
            events.push(event);
        }
        transfer.close();
        events
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, Status> {
        let mut bytes = Vec::new();
        for event in self.ask(Op::Get, path.as_bytes(), FLAG_VERIFY) {
            match event {
                Event::Bytes(more) => bytes.extend(more),
                Event::Zeros { bytes: more } => bytes.resize(bytes.len() + more as usize, 0),
                Event::Refused { refusal, .. } => return Err(refusal.status),
                _ => {}
            }
        }
        Ok(bytes)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.import = None;
        self.exports.clear();
        self.server = None;
        let _ = self.near.close().wait();
        let _ = self.far.close().wait();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

#[test]
fn files_arrive_exactly_and_refusals_as_they_are() {
    let world = World::new(1);
    let chunk = CHUNK_BYTES as usize;
    for size in [0, 1, 4095, 4097, chunk - 1, chunk, chunk + 1, 3 * chunk + 7] {
        let bytes = content(size, 3);
        world.put("dir/f*[1]", &bytes);
        assert!(world.get("dir/f*[1]") == Ok(bytes), "{size}");
    }
    let sparse = std::fs::File::create(world.root.join("files/sparse")).unwrap();
    sparse.set_len(3 * CHUNK_BYTES + 5).unwrap();
    assert!(world.get("sparse") == Ok(vec![0; 3 * chunk + 5]));
    for (path, status) in [
        ("nope", Status::Fnf),
        ("dir", Status::NotAFile),
        ("../x", Status::Denied),
        ("/etc/passwd", Status::Denied),
        ("dir/f?[1]", Status::Fnf),
    ] {
        assert_eq!(world.get(path), Err(status), "{path}");
    }
}

#[test]
fn lists_patterns_and_trees_are_those_of_the_exported_directory() {
    let world = World::new(1);
    for file in ["a.txt", "b.txt", "d/c.txt", "d/e/x"] {
        world.put(file, file.as_bytes());
    }
    std::os::unix::fs::symlink("a.txt", world.root.join("files/link")).unwrap();
    let names = |op, path: &str, flags| {
        let mut names: Vec<String> = world
            .ask(op, path.as_bytes(), flags)
            .into_iter()
            .filter_map(|event| match event {
                Event::Entry(entry) => Some(String::from_utf8(entry.name).unwrap()),
                Event::Delivered { name, .. } => Some(String::from_utf8(name).unwrap() + "!"),
                Event::Refused { name, refusal } => {
                    Some(format!("{}?{}", String::from_utf8(name).unwrap(), refusal.status))
                }
                _ => None,
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(Op::List, "", 0), ["a.txt", "b.txt", "d", "link"]);
    assert_eq!(names(Op::Get, "*.txt", FLAG_PATTERN), ["a.txt!", "b.txt!"]);
    assert_eq!(names(Op::Get, "**/c*", FLAG_PATTERN), ["d/c.txt!"]);
    assert_eq!(names(Op::Tree, "d", 0), ["d", "d/c.txt!", "d/e", "d/e/x!"]);
    assert_eq!(names(Op::Tree, "nope", 0), ["nope?FNF"]);
    assert_eq!(names(Op::List, "no*", 0), ["no*?FNF"]);
}

#[test]
fn two_exports_share_the_load_and_one_that_leaves_is_not_missed() {
    let mut world = World::new(2);
    let bytes = content(2 * CHUNK_BYTES as usize, 9);
    world.put("f", &bytes);
    for round in 0..6 {
        if round == 3 {
            world.exports.remove(0).end();
        }
        assert!(world.get("f") == Ok(bytes.clone()), "{round}");
    }
}

/// What a program that knows nothing of bridges sees: the status of the server, as JSON.
#[test]
fn status_is_for_everybody_who_asks() {
    let world = World::new(1);
    // Not before this side knows of the export.
    assert_eq!(world.get("nope"), Err(Status::Fnf));
    for key in [
        "loop/back/*/status",
        &format!("loop/back/{}/status", world.exports[0].id()),
    ] {
        let replies = world.near.get(key).wait().unwrap();
        let reply = replies.recv().unwrap().into_result().unwrap();
        let status = reply.payload().try_to_string().unwrap().into_owned();
        assert!(
            status.starts_with('{') && status.contains("\"sessions_max\":1024"),
            "{status}"
        );
    }
}

/// A thousand queries may wait: whatever a query has that no bridge sends would wait with it.
#[test]
fn what_brings_more_than_a_request_is_let_go() {
    let world = World::new(1);
    world.put("f", b"x");
    assert_eq!(world.get("f").unwrap(), b"x");
    let own = format!("loop/back/{}", world.exports[0].id());
    let request = Request {
        offset: 0,
        digest_only: false,
    };
    let answers = |selector: String, payload: Vec<u8>, attachment: usize| {
        let mut asked = world.near.get(selector).payload(payload);
        if attachment > 0 {
            asked = asked.attachment(vec![7; attachment]);
        }
        asked.wait().unwrap().into_iter().count()
    };
    let long = "x".repeat(10_000);
    assert_eq!(answers(format!("{own}/get/f"), request.encode(), 0), 1);
    assert_eq!(
        answers(format!("{own}/get/f"), vec![7; 30], 0),
        1,
        "another version"
    );
    assert_eq!(answers(format!("{own}/get/f"), vec![7; 4 << 20], 0), 0);
    assert_eq!(answers(format!("{own}/get/f"), request.encode(), 4 << 20), 0);
    assert_eq!(answers(format!("{own}/get/f?{long}"), request.encode(), 0), 0);
    assert_eq!(answers(format!("{own}/status"), Vec::new(), 1 << 20), 0);
}
