//! Sources that exist nowhere: files whose bytes a test invents, and a server on a thread that offers them, or a directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use shmeld::file::record::Entry;
use shmeld::file::source::{Source, SourceFile, Walk};
use shmeld::file::wire::Op;
use shmeld::file::{
    Client, ClientOptions, Directory, DirectoryOptions, Ending, Query, Refusal, Server, ServerOptions,
    ServerStatus, Status, Stopper, fetch_status,
};
use shmeld::os::ErrorKind;
use shmeld::os::posix::mqueue::{Access, MessageQueue};
use shmeld::os::posix::shm::SharedMemory;
use shmeld::{Error, ServerName};

/// What reading at a position yields: the length of a run of `x`.
type Read = dyn Fn(u64) -> Result<usize, Refusal> + Send + Sync;

/// A source whose every name is a file of `size` bytes, read by `read`; a name with a text of its own in `refusals` is refused with it.
pub struct Invented {
    pub size: u64,
    pub read: Arc<Read>,
    pub refusals: Vec<(&'static str, Refusal)>,
}

struct InventedFile {
    entry: Entry,
    read: Arc<Read>,
}

impl Source for Invented {
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        if let Some((_, refusal)) = self.refusals.iter().find(|(name, _)| name.as_bytes() == path) {
            return Err(refusal.clone());
        }
        let entry = Entry::file(path, self.size);
        let read = self.read.clone();
        Ok(Box::new(InventedFile { entry, read }))
    }

    fn walk(&self, _path: &[u8], _levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        Err(Status::Fnf.into())
    }
}

impl SourceFile for InventedFile {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        let len = (self.read)(position)?.min(buffer.len());
        buffer[..len].fill(b'x');
        Ok(len)
    }

    fn is_unchanged(&self) -> Result<bool, Refusal> {
        Ok(true)
    }
}

/// A server on a thread. It must have a name of its own, and leaves nothing.
pub struct World {
    root: PathBuf,
    name: ServerName,
    stopper: Stopper,
    thread: Option<JoinHandle<Ending>>,
}

impl World {
    /// A server of a directory that is empty at first.
    pub fn new(options: impl FnOnce(&mut ServerOptions)) -> Self {
        let root = Self::new_root();
        let source = Directory::open(&root, DirectoryOptions::default()).unwrap();
        Self::start(root, Arc::new(source), options)
    }

    /// A server of another source.
    pub fn of_source(source: Arc<dyn Source>) -> Self {
        Self::start(Self::new_root(), source, |_| {})
    }

    /// A server of invented files.
    pub fn of(source: Invented) -> Self {
        Self::with(source, |_| {})
    }

    /// The same with options of its own.
    pub fn with(source: Invented, options: impl FnOnce(&mut ServerOptions)) -> Self {
        Self::start(Self::new_root(), Arc::new(source), options)
    }

    fn new_root() -> PathBuf {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("shmeld-regress-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    fn start(root: PathBuf, source: Arc<dyn Source>, change: impl FnOnce(&mut ServerOptions)) -> Self {
        let name = ServerName::new(root.file_name().unwrap().to_str().unwrap()).unwrap();
        let mut options = ServerOptions {
            name: name.clone(),
            ..ServerOptions::default()
        };
        change(&mut options);
        let server = Server::start(source, options).unwrap();
        let stopper = server.stopper();
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        Self {
            root,
            name,
            stopper,
            thread,
        }
    }

    pub fn name(&self) -> &ServerName {
        &self.name
    }

    /// The path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn options(&self) -> ClientOptions {
        ClientOptions {
            name: self.name.clone(),
            wait: Some(Duration::from_secs(20)),
            ..ClientOptions::default()
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.options()).unwrap()
    }

    /// What the server counts about itself; an error if it is no more.
    pub fn try_status(&self) -> Result<ServerStatus, Error> {
        let wait = Some(Duration::ZERO);
        fetch_status(Client::connect(ClientOptions {
            wait,
            ..self.options()
        })?)
    }

    #[track_caller]
    pub fn status(&self) -> ServerStatus {
        self.try_status().unwrap()
    }

    pub fn stop(&mut self) -> Ending {
        self.stopper.stop();
        self.join()
    }

    /// Waits for a server that ends by itself.
    pub fn join(&mut self) -> Ending {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            // What it panicked with has been told already.
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir_all(&self.root);
        let is_gone =
            |what: shmeld::os::Result<()>| what.is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let queue = is_gone(MessageQueue::open(self.name.queue(), Access::Send).map(drop));
        let gate = is_gone(SharedMemory::stat_name(self.name.gate()).map(drop));
        assert!(
            std::thread::panicking() || queue && gate,
            "something of {} is left",
            self.name
        );
    }
}

/// A request for one path.
pub fn query(op: Op, path: &str, flags: u32) -> Query {
    Query {
        op,
        path: path.as_bytes().to_vec(),
        flags,
        resume: None,
    }
}
