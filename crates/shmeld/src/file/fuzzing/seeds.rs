//! The seeds of the corpora: inputs written by hand, each with a name that tells what it tries. `corpus` writes them to `fuzz/corpus` and
//! checks that they are there; the other files of a corpus were found by the fuzzer and are named by their hash.

use super::super::sample;

use super::super::wire::{
    FLAG_PATTERN, FLAG_RANGE, FLAG_RECURSIVE, FLAG_RESUME, FLAG_VERIFY, FLAG_WALK, Op, PATH_BYTES_MAX,
    Request,
};

/// A name and an input.
pub(super) type Seed = (&'static str, Vec<u8>);

fn message(op: Op, flags: u32, path: &[u8]) -> Vec<u8> {
    let request = Request {
        flags,
        ..sample::request(op, path)
    };
    request.encode()
}

/// A sound message with some bytes replaced.
fn forged(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut forged = message(Op::Get, 0, b"hi.txt");
    forged[at..at + bytes.len()].copy_from_slice(bytes);
    forged
}

pub(super) fn request() -> Vec<Seed> {
    let get = message(Op::Get, 0, b"hi.txt");
    vec![
        ("get", get.clone()),
        ("get-longest-path", message(Op::Get, 0, &[b'p'; PATH_BYTES_MAX])),
        ("get-pattern", message(Op::Get, FLAG_PATTERN, b"src/*/ma?n.[a-d]")),
        (
            "get-pattern-braces",
            message(Op::Get, FLAG_PATTERN, &[&b"{,,,}".repeat(9)[..], b"*x"].concat()),
        ),
        (
            "get-pattern-many-stars",
            message(Op::Get, FLAG_PATTERN, &b"*a".repeat(24)),
        ),
        ("get-pattern-not", message(Op::Get, FLAG_PATTERN, b"!f*/**/[!a]")),
        (
            "get-hostile-path",
            message(Op::Get, 0, b"../../etc/\x1b[2Jpasswd\n"),
        ),
        ("get-not-utf8", message(Op::Get, 0, b"\xff\xfe")),
        ("get-resume", message(Op::Get, FLAG_RESUME | FLAG_VERIFY, b"f")),
        ("tree", message(Op::Tree, FLAG_VERIFY, b"d")),
        ("list", message(Op::List, FLAG_RECURSIVE, b"")),
        ("status", message(Op::Status, 0, b"")),
        ("close", message(Op::Close, 0, b"")),
        ("op-of-the-future", forged(6, &[6, 0])),
        ("get-range", message(Op::Get, FLAG_RANGE, b"f")),
        ("list-walk", message(Op::List, FLAG_WALK, b"d")),
        ("flag-of-the-future", forged(64, &[64])),
        ("region-size-huge", forged(48, &[0xff; 8])),
        ("region-size-odd", forged(48, &[1, 0x10])),
        ("magic-of-another", forged(0, b"SHMD")),
        ("version-2", forged(4, &[2, 0])),
        ("id-0", forged(8, &[0; 8])),
        ("path-longer-than-message", forged(68, &[7])),
        ("path-shorter-than-message", forged(68, &[5])),
        ("path-length-huge", forged(68, &[0xff; 4])),
        (
            "path-beyond-limit",
            [&forged(68, &901u32.to_le_bytes())[..104], &[b'p'; 901]].concat(),
        ),
        ("path-with-nul", forged(106, &[0])),
        ("one-byte-short-of-a-head", get[..103].to_vec()),
        ("nothing", Vec::new()),
    ]
}

// Steps of the memory in `hostile`, and of the server in `header_stream`.
const AND_MORE: u8 = 0x80;
const SET_WORD: u8 = 1;
const ADVANCE: u8 = 3;
const SCRIBBLE: u8 = 5;
const HEADER: u8 = 6;
const CANCEL: u8 = 7;
const ZERO_SLOTS: u8 = 8;
const VANISH: u8 = 9;
const ALL_WORDS: u8 = 10;
const WRITTEN: u8 = 1;
const SERVER_CPU: u8 = 2;
const READ: u8 = 3;
const DATA_KIND: u8 = 3;

/// Which end, which ring, then `step` as often as `times` says.
fn ring(first: u8, start: &[u8], step: &[u8], times: usize) -> Vec<u8> {
    [&[first], start, &step.repeat(times)].concat()
}

pub(super) fn header_stream() -> Vec<Seed> {
    let mut seeds = Vec::new();
    hostile_servers(|name, first, start, step, times| seeds.push((name, ring(first, start, step, times))));
    hostile_clients(|name, first, start, step, times| seeds.push((name, ring(first, start, step, times))));
    seeds
}

fn jump(word: u8, to: u32) -> Vec<u8> {
    [&[SET_WORD, word][..], &to.to_le_bytes()].concat()
}

/// Against a client that reads slots.
fn hostile_servers(mut add: impl FnMut(&'static str, u8, &[u8], &[u8], usize)) {
    let header = [AND_MORE | HEADER, 0, DATA_KIND, 16, 0];
    let filled = [&header[..], &[ADVANCE]].concat();
    let too_long = [AND_MORE | HEADER, 0, DATA_KIND, 255, 255, ADVANCE];
    let two_pads = [
        &[AND_MORE | HEADER, 0, 1, 0, 0],
        &[AND_MORE | HEADER, 4, 1, 64, 0][..],
    ]
    .concat();
    add("client-nothing", 0, &[], &[], 0);
    add("client-empty-slots-for-ever", 0, &[], &[ADVANCE, 0, 0], 200);
    add("client-honest-data", 6, &filled, &[0, 0, 0, 0, ADVANCE, 0], 80);
    add("client-words-wrap", 22, &filled, &[0, 0, 0, ADVANCE], 80);
    add("client-written-beyond-capacity", 0, &jump(WRITTEN, 2), &[], 0);
    add(
        "client-written-backwards",
        6,
        &jump(WRITTEN, 3),
        &jump(WRITTEN, 2),
        9,
    );
    add("client-written-minus-one", 8, &jump(WRITTEN, u32::MAX), &[], 0);
    add("client-header-flips-after-look", 0, &filled, &header, 40);
    add("client-length-beyond-slot", 0, &too_long, &[0], 9);
    add(
        "client-unknown-kind",
        0,
        &[AND_MORE | HEADER, 0, 200, 0, 0, ADVANCE],
        &[0],
        9,
    );
    add(
        "client-pads-only",
        8,
        &[&two_pads[..], &[ADVANCE]].concat(),
        &[0],
        40,
    );
    add("client-slot-zeroed", 2, &filled, &[0, ZERO_SLOTS, 0], 20);
    add("client-vanishes", 2, &filled, &[0, 0, VANISH], 3);
    add(
        "client-vanishes-behind-a-record",
        2,
        &filled,
        &[0, 0, 0, 0, 0, VANISH],
        1,
    );
    add("client-wake-storm", 0, &[0, 0, 0, 0], &[0, 1, 0, 2], 60);
    add("client-cpu-lie", 0, &jump(SERVER_CPU, 9), &[0, 0], 20);
    add(
        "client-all-words-forged",
        0,
        &[],
        &[ALL_WORDS, 0xff, 0xff, 0xff, 0xff],
        20,
    );
    add(
        "client-scribble",
        4,
        &filled,
        &[SCRIBBLE, 3, 0, 4, 1, 2, 3, 4],
        40,
    );
}

/// Against a server that fills slots. In `start` it is told to send 506 bytes as DATA, which is more than a slot.
fn hostile_clients(mut add: impl FnMut(&'static str, u8, &[u8], &[u8], usize)) {
    let start = [3, 250, 1];
    add("server-nothing", 1, &[], &[], 0);
    add(
        "server-honest-data",
        7,
        &[],
        &[3, 90, 0, 0, 0, 0, ADVANCE, 0, 0, 0],
        60,
    );
    add(
        "server-honest-page",
        9,
        &[],
        &[3, 0, 32, 0, ADVANCE, 0, ADVANCE, 0, ADVANCE],
        60,
    );
    add(
        "server-records",
        3,
        &[],
        &[4, 70, 0, 0, 0, ADVANCE, 5, 20, 0, 0, 0, 0, ADVANCE],
        40,
    );
    add(
        "server-flushes",
        1,
        &[],
        &[4, 8, 0, 0, 0, 0, 0, ADVANCE, 0, 0, ADVANCE],
        40,
    );
    add("server-cancelled", 1, &[CANCEL, 200], &[1, 5, CANCEL, 7, 2], 20);
    add("server-read-ahead-of-written", 1, &start, &jump(READ, 5), 9);
    add("server-read-backwards", 7, &start, &jump(READ, u32::MAX), 9);
    add(
        "server-vanishes",
        1,
        &[&start[..], &[0, 0, 0, VANISH]].concat(),
        &[0],
        20,
    );
    add("server-client-does-nothing", 1, &start, &[0], 30);
    add("server-wake-storm", 1, &start, &[0, 0, 1, 2, 0, 1], 40);
    add(
        "server-scribbled-slots",
        7,
        &[],
        &[3, 90, 0, SCRIBBLE, 3, 0, 4, 9, 9, 9, 9, ADVANCE, 0],
        40,
    );
    add(
        "server-all-words-forged",
        5,
        &[3, 90, 0],
        &[ALL_WORDS, 0xff, 0xff, 0xff, 0xff],
        20,
    );
}

pub(super) fn tree_name() -> Vec<Seed> {
    let long = [b'x'; 256];
    vec![
        ("files", b"a\n.hidden\n-rf\nd/e/f\n...\na/.../b".to_vec()),
        (
            "links",
            b"a\nd/l -> ../a\nd/e/l -> ../../a/b\nl -> .\nm -> ./d//e".to_vec(),
        ),
        (
            "chain-of-links",
            b"a -> b/b\nb -> d\nd/c -> ../a\ne/f/g -> ../../b/c".to_vec(),
        ),
        ("loop", b"a -> b\nb -> a\nd/a -> ../d/a".to_vec()),
        ("link-climbs", b"l -> ..".to_vec()),
        ("link-climbs-behind-a-name", b"d/l -> x/../..".to_vec()),
        ("link-climbs-deeper", b"d/l -> ../../a".to_vec()),
        ("link-absolute", b"l -> /etc/passwd".to_vec()),
        ("link-to-nothing", b"l -> ".to_vec()),
        ("link-with-nul", b"l -> a\0b".to_vec()),
        ("behind-a-link", b"d -> e\nd/l -> ..\ne/d -> ../..".to_vec()),
        ("dots", b"a/../../etc/passwd".to_vec()),
        ("dot", b"./a".to_vec()),
        ("absolute", b"/etc/passwd".to_vec()),
        ("empty-component", b"a//b".to_vec()),
        ("trailing-slash", b"a/".to_vec()),
        ("nul", b"a\0b".to_vec()),
        ("terminal", b"\x1b[2J\r\x07".to_vec()),
        ("not-utf8", b"\xff\xfe/\xc3".to_vec()),
        ("long-component", long.to_vec()),
        ("long-name", [&b"x/".repeat(1024)[..], b"y"].concat()),
        ("longest-component", long[1..].to_vec()),
    ]
}
