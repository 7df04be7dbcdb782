//! A server whose source lies about names: what a client makes of them on its own disk.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::source::{Source, SourceFile, Walk, WalkItem};
use shmeld::file::wire::{FLAG_PATTERN, Op};
use shmeld::file::{
    Client, ClientOptions, Event, Job, OutputOptions, Query, Refusal, Server, ServerOptions, Status, Target,
    Transfer,
};
use shmeld::{Error, ServerName};

/// Names that would put something outside, or nowhere.
const NAMES: [&[u8]; 14] = [
    b"../evil",
    b"a/../../evil",
    b"a/..",
    b"..",
    b"",
    b"/tmp/shmeld-evil",
    b"//evil",
    b"a//b",
    b"a/",
    b"./a",
    b"a/./b",
    b"nul\0byte",
    b"\0",
    b"good",
];

#[derive(Clone)]
struct Liar {
    kind: EntryKind,
}

fn entry(kind: EntryKind, name: &[u8], text: &[u8]) -> Entry {
    Entry {
        kind,
        mode: 0o755,
        text: text.to_vec(),
        ..Entry::file(name, if kind == EntryKind::File { 4 } else { 0 })
    }
}

struct LyingFile(Entry);

impl SourceFile for LyingFile {
    fn entry(&self) -> &Entry {
        &self.0
    }
    fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<usize, Refusal> {
        let rest = b"evil".get(position as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
    fn is_unchanged(&self) -> Result<bool, Refusal> {
        Ok(true)
    }
}

/// The directory itself, and then all the names.
struct LyingWalk {
    kind: EntryKind,
    next: usize,
}

impl Walk for LyingWalk {
    fn next_item(&mut self) -> Option<WalkItem> {
        let number = self.next;
        self.next += 1;
        let entry = match number.checked_sub(1) {
            None => entry(EntryKind::Directory, b".", b""),
            Some(number) if self.kind == EntryKind::Symlink => {
                entry(self.kind, NAMES.get(number)?, b"somewhere")
            }
            Some(number) => entry(self.kind, NAMES.get(number)?, b""),
        };
        Some(WalkItem { entry, refusal: None })
    }
    fn open_last(&mut self) -> Result<Box<dyn SourceFile>, Refusal> {
        Ok(Box::new(LyingFile(entry(
            EntryKind::File,
            NAMES[self.next - 2],
            b"",
        ))))
    }
}

impl Source for Liar {
    fn open(&self, path: &[u8]) -> Result<Box<dyn SourceFile>, Refusal> {
        if path.contains(&b'*') {
            return Err(Status::Fnf.into());
        }
        Ok(Box::new(LyingFile(entry(EntryKind::File, path, b""))))
    }
    fn walk(&self, _path: &[u8], _levels_max: usize) -> Result<Box<dyn Walk>, Refusal> {
        Ok(Box::new(LyingWalk {
            kind: self.kind,
            next: 0,
        }))
    }
}

/// Everything below a directory, links not followed.
fn names_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(names_below(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

/// Asks for `query` into `root/out/in`; returns what was stored and how much failed.
fn fetch(
    what: &str,
    kind: EntryKind,
    query: Query,
    target: impl Fn(PathBuf) -> Target,
) -> (Vec<PathBuf>, usize) {
    let id = format!("shmeld-liar-{}-{what}", std::process::id());
    let root = std::env::temp_dir().join(&id);
    std::fs::create_dir_all(root.join("out/in")).unwrap();
    let name = ServerName::new(&id).unwrap();
    let options = ServerOptions {
        name: name.clone(),
        ..ServerOptions::default()
    };
    let server = Server::start(Arc::new(Liar { kind }), options).unwrap();
    let stopper = server.stopper();
    let thread = std::thread::spawn(move || server.run().unwrap());
    let client = Client::connect(ClientOptions {
        name,
        ..ClientOptions::default()
    });
    let job = Job {
        query,
        target: target(root.join("out/in")),
    };
    let mut transfer = Transfer::new(client.unwrap(), std::iter::once(job), OutputOptions::default());
    let mut failed = 0;
    let outcome = loop {
        match transfer.next_event() {
            Ok(Some(Event::Failed { .. } | Event::Refused { .. })) => failed += 1,
            Ok(Some(_)) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    drop(transfer);
    stopper.stop();
    thread.join().unwrap();
    let found = names_below(&root)
        .into_iter()
        .map(|path| path.strip_prefix(&root).unwrap().to_owned());
    let found: Vec<PathBuf> = found
        .filter(|path| path.as_os_str().as_bytes() != b"out")
        .collect();
    std::fs::remove_dir_all(&root).unwrap();
    assert!(!Path::new("/tmp/shmeld-evil").exists());
    // The end of the session is a right answer to such a server as well.
    assert!(
        matches!(outcome, Ok(()) | Err(Error::Peer(_))),
        "{what}: {outcome:?}"
    );
    (found, failed)
}

fn query(op: Op, path: &str, flags: u32) -> Query {
    Query {
        op,
        path: path.as_bytes().to_vec(),
        flags,
        resume: None,
    }
}

#[test]
fn names_of_a_tree_that_lead_outside_are_stored_nowhere() {
    for (what, kind) in [
        ("files", EntryKind::File),
        ("directories", EntryKind::Directory),
        ("links", EntryKind::Symlink),
    ] {
        let (found, failed) = fetch(what, kind, query(Op::Tree, "tree", 0), Target::TreeUnder);
        let expected: Vec<PathBuf> = ["out/in", "out/in/tree", "out/in/tree/good"]
            .map(PathBuf::from)
            .to_vec();
        assert_eq!(found, expected, "{what}");
        assert_eq!(failed, NAMES.len() - 1, "{what}");
    }
}

/// The server of this library passes only names on that match the pattern, so each of these is for one kind of lie.
#[test]
fn names_found_by_a_pattern_that_lead_outside_are_stored_nowhere() {
    for (what, pattern, stores_good) in [("any", "**", true), ("dots", ".*/*", false), ("dot", ".*", false)] {
        let query = query(Op::Get, pattern, FLAG_PATTERN);
        let (found, failed) = fetch(what, EntryKind::File, query, Target::Under);
        let is_good = |path: &PathBuf| path.as_os_str() == "out/in" || path.as_os_str() == "out/in/good";
        assert!(found.iter().all(is_good), "{pattern}: {found:?}");
        assert_eq!(found.len(), 1 + usize::from(stores_good), "{pattern}: {found:?}");
        assert!(failed > 0, "{pattern}");
    }
}
