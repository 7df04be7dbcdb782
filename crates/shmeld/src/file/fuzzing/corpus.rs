//! The fuzz targets as ordinary tests: every file of every corpus, and some thousand mutations of them, on stable Rust.
//!
//! A mutation that fails is named by a number, and with the same corpus that number replays it. New seeds are written with
//! `SHMELD_WRITE_SEEDS=1 cargo test -p shmeld --lib fuzzing`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::seeds::Seed;
use super::{header_stream, record, request, seeds, seeds_record, tree_name};

/// A target with all that its tests need to know.
struct Target {
    name: &'static str,
    body: fn(&[u8]) -> &'static str,
    seeds: fn() -> Vec<Seed>,
    /// The longest input worth trying.
    bytes_max: usize,
    mutations: u64,
    /// What must become of some file of the corpus, or the target no longer reaches what it was made for.
    reached: &'static [&'static str],
}

const REQUEST: Target = Target {
    name: "request",
    body: request,
    seeds: seeds::request,
    bytes_max: 1100,
    mutations: 20_000,
    reached: &[
        "decoded",
        "unknown op",
        "pattern",
        "pattern matches",
        "short",
        "magic",
        "version",
        "id",
        "path length",
        "nul",
    ],
};

const HEADER_STREAM: Target = Target {
    name: "header_stream",
    body: header_stream,
    seeds: seeds::header_stream,
    bytes_max: 1024,
    mutations: 3000,
    reached: &[
        "client: starved",
        "client: served",
        "client: vanished",
        "vanished",
        "impossible word",
        "malformed record",
        "server: all sent",
        "server: client gone",
        "server: vanished",
        "server: impossible word",
    ],
};

const RECORD: Target = Target {
    name: "record",
    body: record,
    seeds: seeds_record::record,
    bytes_max: 4096,
    mutations: 4000,
    reached: &[
        "delivered",
        "done",
        "slots are over",
        "interrupted",
        "a record out of order",
        "an answer that nobody asked for",
        "a BEGIN that contradicts itself",
        "an END before the end",
        "bytes out of order or beyond the size",
        "a short entry",
        "an entry whose lengths do not fit",
        "an entry with impossible numbers",
        "unknown kind",
        "unknown status",
        "longer than its slot",
        "a record with something that its kind has not",
        "a size that contradicts its entry",
        "status",
        "status: no JSON",
    ],
};

const TREE_NAME: Target = Target {
    name: "tree_name",
    body: tree_name,
    seeds: seeds::tree_name,
    bytes_max: 2200,
    mutations: 5000,
    reached: &[
        "names",
        "links",
        "link refused",
        "empty",
        "absolute",
        "dots",
        "nul",
        "too long",
    ],
};

/// The largest file of a corpus, and how many it may have: it is replayed at every change.
const FILE_BYTES_MAX: usize = 4096;
const FILES_MAX: usize = 64;
/// Set to write the seeds instead of comparing them.
const WRITE_SEEDS: &str = "SHMELD_WRITE_SEEDS";
/// Set to a number that a failure named, to try that mutation alone.
const ONE_MUTATION: &str = "SHMELD_FUZZ_MUTATION";

/// A small generator (SplitMix64): the same numbers everywhere and for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

impl Target {
    fn folder(&self) -> PathBuf {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.join("../../fuzz/corpus").join(self.name)
    }

    /// Every file of the corpus by its name, in a fixed order.
    fn corpus(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = self.folder();
        let entries =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let corpus: BTreeMap<String, Vec<u8>> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let bytes = std::fs::read(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), bytes)
            })
            .collect();
        assert!(!corpus.is_empty(), "{} is empty", folder.display());
        corpus
    }

    fn check_seeds(&self) {
        let corpus = self.corpus_or_written();
        for (name, bytes) in (self.seeds)() {
            assert_eq!(
                corpus.get(name),
                Some(&bytes),
                "{}/{name} is not the seed: run this test with {WRITE_SEEDS}=1",
                self.name
            );
        }
        assert!(corpus.len() <= FILES_MAX, "{}: minimise it", self.name);
        for (name, bytes) in &corpus {
            assert!(bytes.len() <= FILE_BYTES_MAX, "{}/{name} is too large", self.name);
            let is_hash = name.len() == 40 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
            let is_seed = (self.seeds)().iter().any(|(seed, _)| seed == name);
            assert!(
                is_seed || is_hash,
                "{}/{name} is no seed any more: remove it",
                self.name
            );
        }
    }

    fn corpus_or_written(&self) -> BTreeMap<String, Vec<u8>> {
        if std::env::var_os(WRITE_SEEDS).is_some() {
            std::fs::create_dir_all(self.folder()).unwrap();
            for (name, bytes) in (self.seeds)() {
                std::fs::write(self.folder().join(name), bytes).unwrap();
            }
        }
        self.corpus()
    }

    /// Every file of the corpus returns, and together they reach what the target was made for.
    fn replay(&self) {
        let mut reached = BTreeMap::new();
        for (name, bytes) in self.corpus() {
            let outcome = self.run(&bytes, || format!("{}/{name}", self.folder().display()));
            *reached.entry(outcome).or_insert(0) += 1;
        }
        for outcome in self.reached {
            assert!(
                reached.contains_key(outcome),
                "{}: no file ends with '{outcome}': {reached:?}",
                self.name
            );
        }
    }

    /// Some thousand inputs that nobody wrote; the same ones each time.
    fn mutate(&self) {
        let corpus: Vec<Vec<u8>> = self.corpus().into_values().collect();
        let numbers = match std::env::var(ONE_MUTATION) {
            Ok(number) => number.parse().map(|number| number..=number).unwrap(),
            Err(_) => 1..=self.mutations,
        };
        for number in numbers {
            let input = self.mutation(&corpus, number);
            self.run(&input, || {
                format!(
                    "mutation {number} of {name} ({bytes}): {ONE_MUTATION}={number} cargo test -p shmeld --lib mutations_of_{name}",
                    name = self.name,
                    bytes = input.escape_ascii(),
                )
            });
        }
    }

    fn run(&self, input: &[u8], describe: impl Fn() -> String) -> &'static str {
        catch_unwind(AssertUnwindSafe(|| (self.body)(input)))
            .unwrap_or_else(|_| panic!("see the message above; the input was {}", describe()))
    }

    /// One file of the corpus with some things done to it.
    fn mutation(&self, corpus: &[Vec<u8>], number: u64) -> Vec<u8> {
        let mut random = Random(number);
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            let (at, byte) = (random.below(input.len() + 1), random.next() as u8);
            match random.below(6) {
                0 => input.insert(at, byte),
                1 => input.truncate(at),
                2 => {
                    let other = &corpus[random.below(corpus.len())];
                    let from = random.below(other.len());
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ if at == input.len() => {}
                3 => input[at] = byte,
                4 => input[at] ^= 1 << (byte % 8),
                _ => {
                    let end = input.len().min(at + 4);
                    input[at..end].fill([0, 1, 0x7f, 0x80, 0xff][usize::from(byte % 5)]);
                }
            }
        }
        input.truncate(self.bytes_max);
        input
    }
}

#[test]
fn corpora_hold_every_seed_and_stay_small() {
    for target in [REQUEST, HEADER_STREAM, RECORD, TREE_NAME] {
        target.check_seeds();
    }
}

#[test]
fn corpus_of_request() {
    REQUEST.replay();
}

#[test]
fn corpus_of_header_stream() {
    HEADER_STREAM.replay();
}

#[test]
fn corpus_of_record() {
    RECORD.replay();
}

#[test]
fn corpus_of_tree_name() {
    TREE_NAME.replay();
}

#[test]
fn mutations_of_request() {
    REQUEST.mutate();
}

#[test]
fn mutations_of_header_stream() {
    HEADER_STREAM.mutate();
}

#[test]
fn mutations_of_record() {
    RECORD.mutate();
}

#[test]
fn mutations_of_tree_name() {
    TREE_NAME.mutate();
}
