//! Zenoh peers that mean harm: an export that lies, and an import that asks for what there is not.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shmeld::file::record::{Entry, EntryKind};
use shmeld::file::{Refusal, Status};
use shmeld_os::fs::Time;
use shmeld_zenoh::key::{ExportId, Prefix, Service};
use shmeld_zenoh::list_wire::push_listed;
use shmeld_zenoh::wire::{CHUNK_BYTES, Head, Request};
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::query::Query;

use crate::bridge::KEY;
use crate::roles::{open, play};

/// In front of an export's id.
pub const FOUND: &str = "found ";

/// Behind a lie, however long it took.
pub const TOLD: &str = "told";

/// What an export says that is not so, and what its client then hears. Each is a text behind `export CONFIG`.
pub const LIES: [(&str, &str); 23] = [
    ("silence", "Timeout"),
    ("no head", "these are no bytes of a bridge"),
    ("magic", "these are no bytes of a bridge"),
    ("version", "version 3 of the bridge"),
    ("status", "a status that nobody knows"),
    ("head too long", "more than a bridge says"),
    ("entry length", "lengths or flags do not fit"),
    ("short", "a chunk of another length"),
    ("long", "more than a bridge says"),
    ("length", "another chunk than was asked for"),
    ("offset", "another chunk than was asked for"),
    ("digest", "not those of its digest"),
    ("identity", "CHANGED"),
    ("size", "no file"),
    ("directory", "no file"),
    ("zeros", "a chunk of another length"),
    ("control bytes", "owned"),
    ("error", "x1b[2J"),
    ("giant", "Timeout"),
    ("endless", "a chunk of another length"),
    ("list", "get tree"),
    ("long list", "get tree"),
    ("deep list", "get tree"),
];

/// Names of a list that lead outside, or into a terminal. The last one is honest.
const NAMES: [&[u8]; 12] = [
    b"..",
    b"../outside",
    b"../../outside",
    b"a/../../outside",
    b"/tmp/shmeld-outside",
    b"",
    b".",
    b"a\0b",
    b"\x1b]0;title\x07",
    b"a//b",
    b"a/",
    b"honest",
];

fn entry(kind: EntryKind, name: &[u8], size: u64) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        size,
        modified: Time {
            seconds: 0,
            nanoseconds: 0,
        },
        uid: 0,
        gid: 0,
        name: name.to_vec(),
        text: Vec::new(),
    }
}

/// A file of three chunks, of which each byte is 7.
const SIZE: u64 = 2 * CHUNK_BYTES + 77;

fn honest(request: Request) -> (Head, Vec<u8>) {
    let len = SIZE.saturating_sub(request.offset).min(CHUNK_BYTES) as usize;
    let body = vec![7; len];
    let head = Head {
        status: Status::Ok,
        unable: false,
        zeros: false,
        offset: request.offset,
        len: len as u32,
        identity: [1; 32],
        digest: blake3::hash(&body).into(),
        entry: entry(EntryKind::File, b"", SIZE),
    };
    let body = if request.digest_only { Vec::new() } else { body };
    (head, body)
}

/// What a directory holds that never was.
fn list(lie: &str) -> (Head, Vec<u8>) {
    let mut body = Vec::new();
    let mut push = |kind, name: &[u8]| {
        let text = b"../../outside".to_vec();
        let entry = Entry {
            text,
            ..entry(kind, name, SIZE)
        };
        let _ = push_listed(&mut body, Status::Ok, &entry);
    };
    push(EntryKind::Directory, b".");
    match lie {
        // In each there is another one.
        "deep list" => push(EntryKind::Directory, &[b'd'; 255]),
        "long list" => push(EntryKind::File, b"name"),
        _ => {
            for name in NAMES {
                push(EntryKind::File, name);
                if name != b"honest" {
                    push(EntryKind::Directory, name);
                    push(EntryKind::Symlink, name);
                }
            }
        }
    }
    if lie == "long list" {
        // The last entry's length, and the length of its name in it.
        let at = body.len() - b"name../../outside".len() - 48;
        let more = 5000;
        let entry_bytes = 48 + b"name../../outside".len() as u16 + more;
        body[at - 4..at - 2].copy_from_slice(&entry_bytes.to_le_bytes());
        body[at + 36..at + 40].copy_from_slice(&(4 + u32::from(more)).to_le_bytes());
        let name = at + 48;
        body.splice(name..name, vec![b'x'; usize::from(more)]);
    }
    let request = Request {
        offset: 0,
        digest_only: false,
    };
    let head = Head {
        len: body.len() as u32,
        digest: blake3::hash(&body).into(),
        entry: entry(EntryKind::Directory, b"", 0),
        ..honest(request).0
    };
    (head, body)
}

/// Tells one lie, for ever.
pub fn export(config: &str, lie: &str) -> ! {
    let session = open(config);
    let prefix: Prefix = KEY.parse().unwrap();
    let id = ExportId::random().unwrap();
    let (lie, known) = (lie.to_owned(), prefix.clone());
    if lie == "giant" {
        giant();
    }
    let answered = session
        .declare_queryable(prefix.answered_by(id))
        .callback(move |query| {
            // One that answers without end must not keep zenoh from hearing that nobody listens any more.
            let (lie, known) = (lie.clone(), known.clone());
            std::thread::spawn(move || answer(&query, &known, id, &lie));
        });
    let _queryable = answered.wait().unwrap();
    let _token = session
        .liveliness()
        .declare_token(prefix.alive(id))
        .wait()
        .unwrap();
    eprintln!("{FOUND}{id}");
    play()
}

/// Says of thousands of exports that they are there.
pub fn flood(config: &str) -> ! {
    let session = open(config);
    let prefix: Prefix = KEY.parse().unwrap();
    let token = |_| {
        let key = prefix.alive(ExportId::random().unwrap());
        session.liveliness().declare_token(key).wait().unwrap()
    };
    let _tokens: Vec<_> = (0..5000).map(token).collect();
    play()
}

fn answer(query: &Query, prefix: &Prefix, id: ExportId, lie: &str) {
    let Some((service, _)) = prefix.asked_of(id, query.key_expr().as_str()) else {
        return;
    };
    let payload = query.payload().map(ZBytes::to_bytes).unwrap_or_default();
    let Ok(request) = Request::decode(&payload) else {
        return;
    };
    let (head, body) = match service {
        Service::List => list(lie),
        _ => honest(request),
    };
    tell(query, lie, head, body);
    eprintln!("{TOLD}");
}

fn send(query: &Query, head: Vec<u8>, body: impl Into<ZBytes>) -> bool {
    let reply = query.reply(query.key_expr().clone(), body).attachment(head);
    reply.wait().is_ok()
}

/// A gigabyte, made once: what is late is not even sent.
fn giant() -> ZBytes {
    static GIANT: OnceLock<ZBytes> = OnceLock::new();
    GIANT.get_or_init(|| ZBytes::from(vec![0; 1 << 30])).clone()
}

/// Says what is true but for the lie.
fn tell(query: &Query, lie: &str, mut head: Head, mut body: Vec<u8>) {
    static COUNT: AtomicU64 = AtomicU64::new(2);
    let raw = head.encode();
    let with = |at: usize, byte: u8| {
        let mut raw = raw.clone();
        raw[at] ^= byte;
        raw
    };
    match lie {
        "silence" => std::thread::sleep(Duration::from_secs(60)),
        "no head" => drop(send(query, Vec::new(), body)),
        "magic" => drop(send(query, with(0, 1), body)),
        "version" => drop(send(query, with(4, 2), body)),
        "status" => drop(send(query, with(7, 0x7f), body)),
        "head too long" => drop(send(query, [raw, vec![0; 100_000]].concat(), body)),
        "entry length" => drop(send(query, with(27, 0xff), body)),
        "error" => drop(query.reply_err(b"\x1b[2J\x07\0".repeat(1000)).wait()),
        "giant" => drop(send(query, raw, giant())),
        // Bounded in count: what would follow is as little listened to as this.
        "endless" => drop((0..20_000).all(|_| send(query, raw.clone(), vec![7; 1000]))),
        _ => {
            match lie {
                "short" => body.truncate(body.len() / 2),
                "long" => body.push(7),
                "length" => head.len = u32::MAX,
                "offset" => head.offset = u64::MAX - 5,
                "digest" => head.digest[31] ^= 1,
                "identity" => {
                    head.identity[..8].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes())
                }
                "size" => head.entry.size = u64::MAX,
                "directory" => head.entry.kind = EntryKind::Directory,
                // All of this is zeros, it says; of which the digest is another one.
                "zeros" => head.zeros = true,
                "control bytes" => {
                    let refusal = Refusal::new(Status::Denied, "\x1b[2J\x07 \u{9b}2J \r owned".repeat(20));
                    head = Head::refusal(&refusal, false);
                    body.clear();
                }
                _ => {}
            }
            send(query, head.encode(), body);
        }
    }
}

/// Says which export of the key there is.
pub fn find(config: &str) -> ! {
    let session = open(config);
    let prefix: Prefix = KEY.parse().unwrap();
    let tokens = session.liveliness().get(prefix.all_alive()).wait().unwrap();
    while let Ok(token) = tokens.recv() {
        let sample = token.into_result().unwrap();
        if let Some(id) = prefix.export_alive(sample.key_expr().as_str()) {
            eprintln!("{FOUND}{id}");
        }
    }
    play()
}

/// What no bridge asks for.
fn strange_keys(own: &str) -> [String; 15] {
    let long = "x".repeat(5000);
    [
        format!("{own}/get/../outside"),
        format!("{own}/get/%2E%2E/outside"),
        format!("{own}/get/%/etc/hostname"),
        format!("{own}/get/sub/../../outside"),
        format!("{own}/list/.."),
        format!("{own}/list/%"),
        format!("{own}/get/%00"),
        format!("{own}/get/%1B%5B2J"),
        format!("{own}/get/{long}"),
        format!("{own}/get/**"),
        format!("{own}/**"),
        format!("{KEY}/**"),
        "**".to_owned(),
        format!("{own}/put/file"),
        format!("{own}/get"),
    ]
}

/// What no bridge says in asking; and, first, what one does.
fn strange_payloads(request: Request) -> [Vec<u8>; 5] {
    [
        request.encode(),
        Vec::new(),
        vec![0xff; 24],
        vec![7; 4 << 20],
        Request {
            offset: CHUNK_BYTES * 1_000_000,
            digest_only: false,
        }
        .encode(),
    ]
}

/// Asks every export of the key for what it must not get, by keys that no bridge writes; then says how often it asked.
pub fn import(config: &str, id: &str) -> ! {
    let session = open(config);
    let own = format!("{KEY}/{id}");
    let request = Request {
        offset: 0,
        digest_only: false,
    };
    // What an honest import asks is answered: the rest is not left unanswered for another reason.
    let mut answers = session
        .get(format!("{own}/get/file"))
        .payload(request.encode())
        .wait()
        .unwrap()
        .into_iter();
    assert!(
        answers.next().is_some_and(|answer| answer.result().is_ok()),
        "no answer at all"
    );
    for key in strange_keys(&own) {
        for payload in strange_payloads(request) {
            let asked = session
                .get(&key)
                .payload(payload)
                .timeout(Duration::from_millis(500));
            let Ok(answers) = asked.wait() else { continue };
            while let Ok(answer) = answers.recv() {
                let Ok(sample) = answer.into_result() else {
                    continue;
                };
                let body = sample.payload().to_bytes();
                assert!(
                    !body.windows(6).any(|bytes| bytes == b"secret"),
                    "{key} was answered"
                );
            }
        }
    }
    // Thousands of questions at once, to none of which an answer is taken.
    let unheard: Vec<_> = (0..5000)
        .filter_map(|_| {
            session
                .get(format!("{own}/get/file"))
                .payload(request.encode())
                .wait()
                .ok()
        })
        .collect();
    eprintln!("asked {}", unheard.len());
    drop(unheard);
    play()
}
