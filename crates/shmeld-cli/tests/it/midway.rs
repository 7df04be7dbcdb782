//! A transfer caught in the middle: files large enough to be interrupted, how far a client has come, and a
//! reader that decides how fast it may go on.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::content;
use crate::processes::{PATIENCE, Program, Running};
use crate::world::World;

pub const MIB: u64 = 1 << 20;
/// What is promised within half a second or a second must happen within this on a loaded machine.
pub const SOON: Duration = Duration::from_secs(8);
const PAGE: usize = 4096;
const TRICKLE_BYTES: usize = 16 * 1024;

/// A file in the source tree that is quickly made and has no two pages alike.
pub fn put_large(world: &World, name: &str, mebibytes: u64) -> PathBuf {
    let mut block = content::random_bytes(mebibytes, MIB as usize);
    let path = world.source(name);
    let mut file = File::create(&path).unwrap();
    for number in 0..mebibytes {
        for (page, bytes) in (0..).zip(block.chunks_exact_mut(PAGE)) {
            let stamp: u64 = number * MIB / PAGE as u64 + page;
            bytes[..8].copy_from_slice(&stamp.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
    path
}

/// Insists that two large files are equal.
#[track_caller]
pub fn assert_same(found: &Path, expected: &Path) {
    let open = |path: &Path| File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut found_file, mut expected_file) = (open(found), open(expected));
    let [mut left, mut right] = [vec![0; MIB as usize], vec![0; MIB as usize]];
    for number in 0.. {
        let (left_len, right_len) = (
            fill(&mut found_file, &mut left),
            fill(&mut expected_file, &mut right),
        );
        let same = left[..left_len] == right[..right_len];
        assert!(same, "{} differs in MiB {number}", found.display());
        if left_len == 0 {
            return;
        }
    }
}

fn fill(file: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]).unwrap() {
            0 => break,
            bytes => len += bytes,
        }
    }
    len
}

/// How many bytes a process has written so far.
fn written(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("wchar: ")?.parse().ok())
}

/// Waits until a client has written so many bytes of its output, and not all of it.
#[track_caller]
pub fn wait_until_written(client: &Running, bytes: u64) {
    let end = Instant::now() + PATIENCE;
    while written(client.pid()).is_some_and(|now| now < bytes) {
        assert!(Instant::now() < end, "it never got so far\n{}", client.stderr());
        std::thread::sleep(Duration::from_micros(300));
    }
    let said = client.stderr();
    assert!(
        client.is_running(),
        "it was done before it could be disturbed\n{said}"
    );
}

/// A client that writes to a pipe, and whoever reads that pipe: a little at a time, so that the transfer is
/// under way for as long as the test likes, and then all the rest.
pub struct Trickle {
    pub client: Running,
    hurry: Arc<AtomicBool>,
    reader: JoinHandle<Vec<u8>>,
}

impl Trickle {
    /// Starts `client`, which is told to write to standard output.
    pub fn start(client: Program) -> Self {
        let (mut source, sink) = std::io::pipe().unwrap();
        let client = client.args(["-o", "-"]).stdout(sink).start();
        let hurry = Arc::new(AtomicBool::new(false));
        let hurried = hurry.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut buffer = vec![0; TRICKLE_BYTES];
            loop {
                match source.read(&mut buffer).unwrap() {
                    0 => return bytes,
                    len => bytes.extend_from_slice(&buffer[..len]),
                }
                if !hurried.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        let trickle = Trickle {
            client,
            hurry,
            reader,
        };
        wait_until_written(&trickle.client, 1);
        trickle
    }

    /// Reads the rest without pausing: all that the client wrote.
    pub fn finish(self) -> Vec<u8> {
        self.hurry.store(true, Ordering::Relaxed);
        self.reader.join().unwrap()
    }
}
