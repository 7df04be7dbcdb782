//! A queue message, as anybody may send it to a server.

use shmeld_core::attach::RegionId;

use super::super::path::has_pattern;
use super::super::pattern::Pattern;
use super::super::wire::{DecodeError, FLAG_PATTERN, MESSAGE_BYTES_MAX, Op, PATH_BYTES_MAX, Request};

/// Where the fields lie, written down a second time: this file is a reading of docs/PROTOCOL.md, not of `wire`.
const HEAD_BYTES: usize = 104;
const OP_BYTES: std::ops::Range<usize> = 6..8;
/// The highest op and all flags of this version.
const OP_MAX: u64 = 5;
const FLAGS_ALL: u64 = 15;
/// Flags that one op knows, by their numbers in the document.
const GET: u64 = 1;
const LIST: u64 = 3;
const FLAG_RANGE: u64 = 16;
const FLAG_WALK: u64 = 32;
/// Longer patterns are taken apart and not compared: each comparison would take as long as decoding a hundred messages.
const COMPARED_BYTES_MAX: usize = 48;
/// A name that a pattern may be compared with: the longest component, as bad as a name gets for it.
const LONG_NAME: [u8; 255] = [b'a'; 255];

/// Decodes a message; what decodes must survive being encoded again, and what does not must be refused for the right reason.
pub fn request(message: &[u8]) -> &'static str {
    let decoded = Request::decode(message);
    assert_eq!(decoded.as_ref().err(), first_fault(message).as_ref());
    let request = match decoded {
        Ok(request) => request,
        Err(error) => return name_of(error),
    };
    assert!(message.len() <= MESSAGE_BYTES_MAX && request.path.len() <= PATH_BYTES_MAX);
    assert_eq!(request.path, message[HEAD_BYTES..]);
    assert!(request.request_id > 0 && !request.path.contains(&0));

    let is_of_the_future = match (number(message, 6, 2), number(message, 64, 4)) {
        (GET, FLAG_RANGE) => false,
        (LIST, flags) => flags & !FLAG_WALK > FLAGS_ALL,
        (op, flags) => !(1..=OP_MAX).contains(&op) || flags > FLAGS_ALL,
    };
    assert_eq!(
        request.op == Op::Unknown,
        is_of_the_future,
        "a flag may change what an op means"
    );

    let again = request.encode();
    if request.op == Op::Unknown {
        // What this version does not know keeps everything but its number.
        assert_eq!(again[..OP_BYTES.start], message[..OP_BYTES.start]);
        assert_eq!(again[OP_BYTES.end..], message[OP_BYTES.end..]);
    } else {
        assert_eq!(again, message);
    }
    assert_eq!(Request::decode(&again).as_ref(), Ok(&request));

    // The server builds the object's name: whatever the id, it is that of a region.
    let name = request.region_id.name();
    assert_eq!(
        RegionId::from_name(name.as_str().as_bytes()),
        Some(request.region_id)
    );

    match request.op {
        Op::Unknown => "unknown op",
        Op::Get if request.flags & FLAG_PATTERN != 0 && has_pattern(&request.path) => pattern(&request.path),
        _ => "decoded",
    }
}

/// What a server does with a pattern before it touches a directory, and with each name that it finds there.
fn pattern(path: &[u8]) -> &'static str {
    let pattern = Pattern::new(path);
    assert!(path.starts_with(pattern.prefix()) && !has_pattern(pattern.prefix()));
    assert!(pattern.levels() >= 1);
    let asks_for_hidden = path
        .split(|byte| *byte == b'/')
        .any(|part| part.starts_with(b"."));
    if path.len() > COMPARED_BYTES_MAX {
        return "pattern";
    }
    for name in [&b".hidden"[..], b"d/.hidden", b".d/f"] {
        assert!(asks_for_hidden || !pattern.matches(name));
    }
    let matches = [&b"a"[..], b"src/main.c", &LONG_NAME]
        .iter()
        .any(|name| pattern.matches(name));
    if matches { "pattern matches" } else { "pattern" }
}

/// The first thing wrong with a message, as the document says it.
fn first_fault(message: &[u8]) -> Option<DecodeError> {
    if message.len() < HEAD_BYTES {
        return Some(DecodeError::Short);
    }
    let path = &message[HEAD_BYTES..];
    if message[..4] != *b"SHMR" {
        Some(DecodeError::Magic)
    } else if number(message, 4, 2) != 1 {
        Some(DecodeError::Version(number(message, 4, 2) as u16))
    } else if number(message, 8, 8) == 0 {
        Some(DecodeError::Id)
    } else if number(message, 68, 4) != path.len() as u64 || path.len() > PATH_BYTES_MAX {
        Some(DecodeError::PathLength)
    } else if path.contains(&0) {
        Some(DecodeError::Nul)
    } else {
        None
    }
}

/// A field, least significant byte first.
fn number(message: &[u8], from: usize, bytes: usize) -> u64 {
    let field = message[from..from + bytes].iter().rev();
    field.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn name_of(error: DecodeError) -> &'static str {
    match error {
        DecodeError::Short => "short",
        DecodeError::Magic => "magic",
        DecodeError::Version(_) => "version",
        DecodeError::Id => "id",
        DecodeError::PathLength => "path length",
        DecodeError::Nul => "nul",
    }
}
