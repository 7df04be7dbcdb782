//! The audit log adds up: what it says is what clients saw, however they ended and however many they were. Row O15 of the fault catalogue.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use shmeld_os::name::escape;
use shmeld_os::process;

use crate::books::{self, Books};
use crate::content;
use crate::outcome::Outcome;
use crate::processes::Running;
use crate::raw_region::{DATA, END, GET, READ, RawRegion, count, records, send};
use crate::users::{Users, serve, stop};
use crate::world::{World, eventually};

/// Names of one session: files of all kinds, and all that can be wrong with a name.
const NAMES: &str = "small\npage\nempty\nhole\nmissing\n../secret\ntree\nmedium\nm*\nzz*\ntree/deep/x\n";
const REQUESTS_EACH: u64 = 99;
const SESSIONS: u64 = 10;

fn put_files(world: &World) {
    for (name, len) in [
        ("small", 17),
        ("page", 4096),
        ("empty", 0),
        ("medium", 300_000),
        ("big", 16 << 20),
        ("tree/deep/x", 5000),
        ("tree/y", 1),
    ] {
        world.put_random(name, len);
    }
    let hole = File::create(world.source("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    (&hole).write_all(b"data before the hole").unwrap();
    symlink("/etc/passwd", world.source("tree/out")).unwrap();
    symlink("y", world.source("tree/in")).unwrap();
    make_fifo(world, &world.source("tree/fifo"));
}

fn make_fifo(world: &World, path: &std::path::Path) {
    world.tool("mkfifo").arg(path).run().expect_code(0);
}

/// Many clients at once, each with many requests.
fn crowd(world: &World) -> Vec<Running> {
    std::fs::write(world.root().join("names"), NAMES).unwrap();
    let one = |number: u64| {
        let output = world.output(&format!("crowd-{number}/"));
        let region = ["4096", "1M"][number as usize % 2];
        let client = world.shmeld("get").args(["--name", world.name(), "--json", "-q"]);
        let client = client.args(["-T", "names", "--region", region]);
        let count = REQUESTS_EACH.to_string();
        client.args(["-n", &count, "-o"]).arg(output).start()
    };
    (0..SESSIONS).map(one).collect()
}

fn get(world: &World, arguments: &[&str], output: &str) -> Running {
    let client = world.client().args(["--json", "-q"]).args(arguments);
    client.arg("-o").arg(world.output(output)).start()
}

/// A client that has one file and is killed in the middle of the next.
fn killed_in_the_middle(world: &World, number: u32) -> Outcome {
    let directory = format!("killed-{number}/");
    let fifo = world.output(&directory).join("big");
    std::fs::create_dir(world.output(&directory)).unwrap();
    make_fifo(world, &fifo);
    let client = get(world, &["small", "big"], &directory);
    // The first byte of the second file has come: the first one has been reported. The rest is not read.
    let mut reader = File::open(&fifo).unwrap();
    reader.read_exact(&mut [0]).unwrap();
    let died = count(world, "died_total");
    client.kill();
    eventually("its death is noticed", || count(world, "died_total") > died);
    client.finish()
}

/// The numbers of all clients of a mixed run, of 1,000 requests and more.
fn mixed_run(world: &World) -> Books {
    let mut seen = Books::default();
    let crowd = crowd(world);
    for number in 0..3 {
        seen.take_client(&killed_in_the_middle(world, number));
        seen.add("session CANCELLED", 1);
        seen.add("requests", 2);
    }
    // An output that fails: the client cancels.
    for _ in 0..3 {
        let client = world.client().args(["--json", "-q", "big", "-o", "/dev/full"]);
        seen.take_client(&client.run().expect_code(1));
        seen.add("cancelled", 1);
        seen.add("cancelled CANCELLED", 1);
    }
    // A client that breaks the protocol.
    let hostile = RawRegion::new(world);
    hostile.send(GET, "big");
    hostile.wait_for_slot();
    hostile.set_word(READ, 77);
    hostile.ring();
    hostile.wait_until_misbehaved();
    seen.add("session MISBEHAVED", 1);
    // Regions that are too large: they never become sessions.
    for _ in 0..3 {
        let client = world.client().args(["--region", "128M", "-q", "small"]);
        client.run().expect_code(3).expect_said("BAD_REGION");
        seen.add("region BAD_REGION", 1);
    }
    for number in 0..4 {
        let directory = format!("tree-{number}/");
        let client = get(world, &["-r", "tree"], &directory);
        seen.take_client(&client.finish().expect_code(1));
    }
    let ls = world
        .shmeld("ls")
        .args(["--name", world.name(), "--json", "nope"]);
    ls.run().expect_code(1);
    for name in ["refused", "refused FNF"] {
        seen.add(name, 1);
    }
    for client in crowd {
        seen.take_client(&client.finish().expect_code(1));
    }
    seen.add("requests", SESSIONS * REQUESTS_EACH + 3 + 1 + 4 + 1);
    seen
}

/// A thousand requests of clients that fetch, ask for what they cannot have, cancel, die and misbehave: the log and what they saw are the
/// same numbers.
#[test]
fn audit_lines_of_a_mixed_run_add_up_exactly_to_what_clients_saw() {
    let world = World::new("audit-mixed");
    put_files(&world);
    let server = books::start_server(&world);
    let seen = mixed_run(&world);
    let status = world.status();
    let found = books::close(&world, &server);
    // How often a test looked at the status, with a session and a request each, it does not know.
    let looks = found.get("session OK") - (SESSIONS + 3 + 4 + 1);
    assert_eq!(found.get("requests"), seen.get("requests") + looks);
    let known = |books: Books| books.without("session OK").without("requests");
    assert_eq!(known(found.clone()), known(seen.clone()));
    assert!(seen.get("requests") >= 1000 && seen.get("files") > 500);
    for (status_name, name) in [("files_total", "files"), ("sessions_total", "")] {
        let expected = if name.is_empty() {
            found.get("session OK") + found.get("session CANCELLED") + found.get("session MISBEHAVED")
        } else {
            found.get(name)
        };
        assert_eq!(status[status_name], expected, "{status_name}");
    }
    // Who it was is what the kernel says of the region; several users need a server that admits them.
    let uid = u64::from(process::effective_uid());
    for line in books::lines_of_clients(&books::log_of(&world)) {
        assert_eq!(line["uid"], uid, "{line}");
    }
    // A run of the server is told from the next, and from other servers on the same file.
    let lines = books::lines(&books::log_of(&world));
    let (first, last) = (&lines[0], &lines[lines.len() - 1]);
    assert_eq!(
        (&first["event"], &last["event"]),
        (&"start".into(), &"stop".into())
    );
    let run = (&status["pid"], &status["version"]);
    assert_eq!((&first["pid"], &first["version"]), run);
    assert_eq!((&last["pid"], &last["version"]), run);
    assert!(lines.iter().all(|line| line["server"] == world.name()));
    world.finish();
}

#[test]
fn region_that_finds_no_place_is_in_the_log_and_so_is_one_that_nobody_proved_to_own() {
    let world = World::new("audit-busy");
    world.put_random("file", 100);
    let server = books::server(&world).args(["--max-sessions", "1"]).start();
    server.wait_for_stderr("serving");
    let first = RawRegion::new(&world);
    first.send(GET, "file");
    first.wait_for_slot();
    let second = RawRegion::new(&world);
    second.send(GET, "file");
    eventually("it is refused", || second.word(crate::raw_region::STATE) & 3 == 3);
    // Somebody who has seen the region's name in /dev/shm, and cannot know its nonce.
    let third = RawRegion::new(&world);
    let forged = crate::raw_region::message(GET, 1, &third.id, &[0; 16], third.bytes, "file");
    send(&third.queue, &forged);
    send(&third.queue, b"no request at all");
    send(&third.queue, b"another");
    let found = books::close(&world, &server);
    let lines = books::lines(&books::log_of(&world));
    let region = |status: &str| lines.iter().find(|line| line["status"] == status).unwrap();
    let uid = u64::from(process::effective_uid());
    assert_eq!(
        (
            found.get("region BUSY"),
            found.get("region IGNORED"),
            found.get("junk")
        ),
        (1, 1, 2)
    );
    assert_eq!(
        (&region("BUSY")["uid"], &region("BUSY")["region_owner"]),
        (&uid.into(), &uid.into())
    );
    let ignored = region("IGNORED");
    assert_eq!(
        (ignored["uid"].is_null(), &ignored["region_owner"]),
        (true, &uid.into())
    );
    assert!(ignored["reason"].as_str().unwrap().contains("nonce"), "{ignored}");
    assert_eq!(found.get("session STOPPING"), 1, "{found:?}");
    world.finish();
}

/// However many names are refused, the file gets few lines, and the sums lose none.
#[test]
fn flood_of_refusals_makes_a_small_file_with_exact_sums() {
    const REFUSALS: u64 = 100_000;
    let world = World::new("audit-flood");
    let missing = "m".repeat(200);
    let server = books::start_server(&world);
    let client = world
        .client()
        .args(["--region", "1M", "-o", "/dev/null", &missing]);
    let start = std::time::Instant::now();
    let quiet = client
        .args(["-n", &REFUSALS.to_string()])
        .after("exec 2>/dev/null");
    quiet.run().expect_code(1);
    let seconds = start.elapsed().as_secs();
    let found = books::close(&world, &server);
    assert_eq!(
        (found.get("refused FNF"), found.get("refused")),
        (REFUSALS, REFUSALS)
    );
    assert_eq!((found.get("requests"), found.get("session OK")), (REFUSALS, 1));
    let lines = books::lines(&books::log_of(&world));
    let mut paths = lines.iter().filter_map(|line| line["path"].as_str());
    assert_eq!(paths.next(), Some(&*missing));
    // A second may begin anywhere, but the longest run of long ones is that of two of them.
    let brief = lines.iter().filter(|line| line["path_bytes"] == 200);
    assert!(brief.clone().count() >= 8);
    assert!(brief.clone().all(|line| line["path"] == missing[..100]));
    let bytes = std::fs::metadata(books::log_of(&world)).unwrap().len();
    // Eleven lines a second of less than 350 bytes, most of them with half of the path, and the seconds of starting and ending.
    assert!(
        bytes <= (seconds + 3) * 11 * 350,
        "{bytes} bytes after {seconds} s"
    );
    world.finish();
}

/// Names and link targets that would be lines of their own, colours or titles of a terminal: each stays within its line.
#[test]
fn hostile_names_stay_within_their_lines() {
    let world = World::new("audit-injection");
    let hostile: [&[u8]; 6] = [
        b"a\n{\"event\":\"session\",\"uid\":0}",
        b"\x1b]0;title\x07\x7f",
        b"quote\"back\\slash\t\r",
        b"\xff\xfe\xc0\xaf",
        "\u{9b}31m\u{202e}gpj.exe\u{2028}".as_bytes(),
        &[1; 900],
    ];
    std::fs::create_dir(world.source("tree")).unwrap();
    for name in &hostile[..5] {
        let path = world.source("tree").join(OsStr::from_bytes(name));
        symlink(OsStr::from_bytes(&[b"/", *name].concat()), path).unwrap();
    }
    let server = books::start_server(&world);
    for name in &hostile {
        let client = world.client().arg("-q").arg(OsStr::from_bytes(name));
        client.run().expect_code(1);
    }
    let client = world
        .client()
        .args(["-q", "-r", "tree", "-o"])
        .arg(world.output("tree"));
    let outcome = client.run().expect_code(1);
    let strange = |text: &str| text.chars().any(|found| found.is_control() && found != '\n');
    assert!(!strange(&outcome.stderr), "{}", outcome.stderr);
    let found = books::close(&world, &server);
    let is_too_long = 1;
    assert_eq!(found.get("refused"), hostile.len() as u64 + 5);
    assert_eq!(found.get("refused DENIED"), 5);
    assert_eq!(found.get("refused NAME_TOO_LONG"), is_too_long);
    let lines = books::lines(&books::log_of(&world));
    let has = |path: String| lines.iter().any(|line| line["path"] == path.as_str());
    assert!(hostile.iter().all(|name| has(escape(name))));
    let below = |name: &&[u8]| has(escape(&[b"tree/", *name].concat()));
    assert!(hostile[..5].iter().all(below));
    assert!(!strange(&server.stderr()), "{}", server.stderr());
    world.finish();
}

/// Who did it is the owner of a region, whoever sent the message: a public server tells its clients apart, and adds each up by itself.
#[test]
fn lines_of_a_public_server_add_up_for_each_user_by_itself() {
    let world = World::new("audit-users");
    let Some(users) = Users::of(&world) else { return };
    put_files(&world);
    for name in ["small", "medium", "tree/deep/x"] {
        content::set_mode(&world.source(name), 0o644);
    }
    for name in ["tree", "tree/deep"] {
        content::set_mode(&world.source(name), 0o755);
    }
    // Shown to the server's user and group only.
    content::set_mode(&world.source("page"), 0o640);
    let folder_of = |uid: u32, name: &str| {
        let folder = world.root().join(name);
        let owner = format!("--owner={uid}");
        let install = world.tool("install").args(["-d", &owner]).arg(&folder);
        install.run().expect_code(0);
        folder
    };
    let log = folder_of(users.a, "logs").join("audit");
    let server = serve(
        &world,
        &users,
        users.a,
        &["--public", "--audit", log.to_str().unwrap()],
    );
    let names = ["small", "medium", "tree/deep/x", "page", "missing"];
    let trusted = users.a.to_string();
    let clients: Vec<(u32, Running)> = [users.b, users.c, users.b, 0]
        .into_iter()
        .enumerate()
        .map(|(number, uid)| {
            let client = world.shmeld("get").args(["--name", world.name(), "--json", "-q"]);
            let client = client.args(["--server-uid", &trusted, "-n", "25"]).args(names);
            let client = client.arg("-o").arg(folder_of(uid, &format!("out-{number}")));
            (uid, users.run_as(client, uid).start())
        })
        .collect();
    let mut seen: BTreeMap<u32, Books> = BTreeMap::new();
    for (uid, client) in clients {
        let outcome = client.finish().expect_code(1);
        let books = seen.entry(uid).or_default();
        books.take_client(&outcome);
        books.add("session OK", 1);
        books.add("requests", 25);
    }
    stop(&server);
    let lines = books::lines_of_clients(&log);
    for (uid, seen) in seen {
        let own: Vec<_> = lines.iter().filter(|line| line["uid"] == uid).cloned().collect();
        assert_eq!(Books::of_lines(&own), seen, "uid {uid}");
        assert_eq!(seen.get("refused DENIED"), seen.get("refused FNF"));
    }
    assert!(lines.iter().all(|line| line["uid"].is_u64()));
    world.finish();
}

/// A client that goes when all bytes of a file have been put before it, and not yet its end, has no file: nor has it in the log.
#[test]
fn file_counts_when_its_end_has_been_put_before_the_client() {
    let world = World::new("audit-end");
    let server = books::start_server(&world);
    let mut ends = Vec::new();
    // From one that fits into the only slot with its end, in steps of a quarter of a record, to one that does not fit at all.
    for len in (3560..3760).step_by(8) {
        let name = format!("{len}");
        world.put_random(&name, len);
        let region = RawRegion::new(&world);
        region.send(GET, &name);
        region.wait_for_slot();
        let records = records(&region.slot());
        let got: usize = records
            .iter()
            .filter(|record| record.0 == DATA)
            .map(|record| record.2.len())
            .sum();
        ends.push((got == len, records.iter().any(|record| record.0 == END)));
    }
    let counted = ends.iter().filter(|(_, has_end)| *has_end).count();
    assert!(ends.contains(&(true, true)) && ends.contains(&(true, false)) && ends.contains(&(false, false)));
    eventually("all have died", || {
        count(&world, "died_total") == ends.len() as u64
    });
    assert_eq!(count(&world, "files_total"), counted as u64);
    assert_eq!(books::close(&world, &server).get("files"), counted as u64);
    world.finish();
}
