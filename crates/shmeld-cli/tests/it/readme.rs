//! README.md shows commands that do what it says: each one of its table is taken from there and run by a shell, as a reader would, in a folder that
//! has what it names (`DIR`, `SRC`, `LIST`, `filelist.txt`), on an island where keys, names and numbers are free. What is done before and
//! after a command, and what must come of it, is a play; a row without one fails the test.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::content;
use crate::processes::{Outcome, Program, Running};
use crate::readme_files::FILES;
use crate::readme_objects::{CATALOGUE, OBJECTS};
use crate::shore::Shore;

const README: &str = include_str!("../../../../README.md");
const CI: &str = include_str!("../../../../.ci/run");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// How the task of a row begins, and who runs its commands.
pub type Play = (&'static str, By);

pub enum By {
    /// A function here.
    Play(fn(&Paper)),
    /// Something else, for a reason; the file must be there.
    Other(&'static str),
}

/// Rows of which a test cannot run the commands as they stand.
const OTHERS: [Play; 3] = [
    // Containers are made of namespaces there: not every machine has docker or Kubernetes.
    (
        "between containers",
        By::Other("crates/shmeld-cli/tests/it/containers.rs"),
    ),
    // It builds with --release, and installs on a copy of the machine's files.
    ("a Debian package", By::Other("xtask/src/deb.rs")),
    // As it stands it takes minutes: with less to measure.
    (
        "measure on this machine",
        By::Other("crates/shmeld-cli/tests/it/bench.rs"),
    ),
];

/// A row of the table: its task, and what stands in backquotes beside it.
struct Row {
    task: String,
    quoted: Vec<String>,
}

/// The rows of the table of commands, without those that only head others.
fn rows() -> Vec<Row> {
    let (_, table) = README.split_once("| task | command |\n|---|---|\n").unwrap();
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines
        .filter(|line| !line.starts_with("| **"))
        .map(|line| {
            let line = line.replace("\\|", "\0");
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [task, commands] = cells[..] else {
                panic!("no row of two cells: {line}");
            };
            let quoted = commands.split('`').skip(1).step_by(2);
            Row {
                task: task.to_owned(),
                quoted: quoted.map(|text| text.replace('\0', "|")).collect(),
            }
        })
        .collect()
}

/// A row of the README on a stage: a shore, and a folder with all that the rows name.
pub struct Paper {
    pub shore: Shore,
    row: Row,
    taken: RefCell<Vec<bool>>,
}

impl Paper {
    fn or_skip(row: Row) -> Option<Self> {
        let shore = Shore::or_skip("readme")?;
        let taken = RefCell::new(vec![false; row.quoted.len()]);
        let paper = Paper { shore, row, taken };
        let copy = "cp -r \"$0\" DIR && cd DIR && mkdir sub && cp c.c sub/one && cp b.pdf sub/two && cp poem.txt a.log && \
                    cp a.jpg cat.jpg && mv d.png dog.png && cp -r . ../SRC && cd .. && printf 'cat\\ndog\\n' > LIST && \
                    printf 'a.jpg\\nb.pdf\\nc.c\\n' > filelist.txt && chmod -R a+rX .";
        let samples = format!("{REPOSITORY}/samples");
        let copy = paper.shore.world.tool("sh").args(["-ec", copy, &samples]);
        copy.run().expect_code(0);
        Some(paper)
    }

    /// The next of the row's texts that begins so, as it stands.
    #[track_caller]
    pub fn take(&self, beginning: &str) -> String {
        let mut taken = self.taken.borrow_mut();
        let found = (0..taken.len()).find(|at| !taken[*at] && self.row.quoted[*at].starts_with(beginning));
        let at = found.unwrap_or_else(|| panic!("{}: no {beginning} in the README", self.row.task));
        taken[at] = true;
        self.row.quoted[at].clone()
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.shore.world.root().join(name)
    }

    /// What a shell of the folder is told before each command.
    pub fn prologue(&self) -> String {
        let programs = Path::new(env!("CARGO_BIN_EXE_shmeld")).parent().unwrap();
        let folder = self.shore.world.root().display();
        format!("cd '{folder}' && PATH='{}':\"$PATH\"", programs.display())
    }

    /// The command, to be run by a shell in the folder.
    pub fn program(&self, text: &str) -> Program {
        // A signal to the shell is for the command then.
        let exec = if text.contains('|') { "" } else { "exec " };
        let script = format!("{} && {exec}{text}", self.prologue());
        let shell = self.shore.world.tool("sh").args(["-c", &script]);
        self.shore.island.with(shell)
    }

    #[track_caller]
    pub fn run(&self, text: &str) -> Outcome {
        self.program(text).run().expect_code(0)
    }

    /// What a command that ends well prints.
    #[track_caller]
    pub fn printed(&self, text: &str) -> String {
        self.run(text).stdout_text()
    }

    /// Starts a command, and waits until it has said this.
    #[track_caller]
    pub fn start(&self, text: &str, said: &str) -> Running {
        let running = self.program(text).start();
        running.wait_for_stderr(said);
        running
    }

    /// A server that is not the row's own.
    pub fn serve(&self) -> Running {
        self.start("shm_server DIR", "serving")
    }

    /// Ends a server, which ends well.
    #[track_caller]
    pub fn stop(&self, server: &Running) {
        server.signal("TERM");
        server.finish().expect_code(0);
    }

    /// Insists that these files have arrived, and no others.
    #[track_caller]
    pub fn assert_arrived(&self, folder: &str, files: &[&str]) {
        let there = content::names_below(&self.path(folder));
        let there: Vec<_> = there
            .iter()
            .filter(|name| self.path(folder).join(name).is_file())
            .collect();
        assert_eq!(there, files.iter().map(Path::new).collect::<Vec<_>>());
        for name in files {
            let expected = std::fs::read(self.path("DIR").join(name)).unwrap();
            content::assert_file(&self.path(folder).join(name), &expected);
        }
    }

    fn finish(self) {
        for (text, taken) in self.row.quoted.iter().zip(self.taken.take()) {
            assert!(taken, "{}: nobody has run {text}", self.row.task);
        }
        self.shore.finish();
    }
}

/// The play of a row.
#[track_caller]
fn played_by<'a>(plays: &'a [&Play], row: &Row) -> &'a Play {
    let mut found = plays.iter().filter(|play| row.task.starts_with(play.0));
    match (found.next(), found.next()) {
        (Some(play), None) => play,
        (None, _) => panic!("no test runs this row of the README: {}", row.task),
        _ => panic!("two plays of this row of the README: {}", row.task),
    }
}

/// Plays the rows that these are for.
fn play(plays: &[Play]) {
    for (task, by) in plays {
        let By::Play(function) = by else {
            continue;
        };
        let row = rows().into_iter().find(|row| row.task.starts_with(task));
        let row = row.unwrap_or_else(|| panic!("no row of the README begins so: {task}"));
        let Some(paper) = Paper::or_skip(row) else {
            return;
        };
        function(&paper);
        paper.finish();
    }
}

#[test]
fn each_row_of_the_readme_has_its_play_and_each_play_its_row() {
    let all: Vec<&Play> = [&FILES[..], &OBJECTS, &CATALOGUE, &OTHERS]
        .into_iter()
        .flatten()
        .collect();
    let rows = rows();
    for row in &rows {
        if let By::Other(path) = played_by(&all, row).1 {
            assert!(Path::new(REPOSITORY).join(path).is_file(), "{path}");
        }
    }
    assert_eq!(rows.len(), all.len(), "a play without a row");
}

#[test]
fn rows_about_files_do_what_they_say() {
    play(&FILES);
}

/// Over 5 s: one of them is the demonstration of images.
#[test]
fn rows_about_messages_segments_and_images_do_what_they_say() {
    play(&OBJECTS);
}

#[test]
fn rows_about_what_there_is_do_what_they_say() {
    play(&CATALOGUE);
}

/// The blocks of the README of one kind, such as `python`.
pub fn blocks(kind: &str) -> Vec<&'static str> {
    let blocks = README.split("\n```").skip(1).step_by(2);
    let is_it = |block: &&str| block.lines().next() == Some(kind);
    blocks
        .filter(is_it)
        .map(|block| block.split_once('\n').unwrap().1)
        .collect()
}

/// The block of Rust is an example of the crate's own README, which `cargo test --doc` runs, Python is run by the tests of the package, the
/// bridge by those of the bridge, and the first commands of all by CI.
#[test]
fn each_block_of_the_readme_is_run_by_somebody() {
    let all = README.split("\n```").skip(1).step_by(2).count();
    let first = blocks("");
    let known = ["rust", "python", "sh"].map(|kind| blocks(kind).len());
    assert_eq!(
        (first.len(), known, all),
        (1, [1, 1, 1], 4),
        "a block that nobody runs"
    );
    for line in first[0].lines() {
        let command = line.split('#').next().unwrap().trim();
        assert!(
            CI.lines().any(|run| run.ends_with(command)),
            ".ci/run has no {command}"
        );
    }
    for (path, takes) in [
        ("crates/shmeld-python/tests/test_readme.py", "```python"),
        ("crates/shmeld-zenoh/tests/it/readme.rs", "```sh\\n"),
        ("crates/shmeld/README.md", blocks("rust")[0].trim_end()),
    ] {
        let text = std::fs::read_to_string(Path::new(REPOSITORY).join(path)).unwrap();
        assert!(
            text.contains(takes),
            "{path} does not have its block from the README"
        );
    }
}
