//! Rows F1 to F3, F5 and O15 of the fault catalogue, as far as other tests do not make them happen: names and links that lead outside, what
//! a log shows of them, and a kernel that lacks or refuses the call that keeps a server inside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::content;
use crate::outcome::Outcome;
use crate::processes::Running;
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// What lies outside, and must never be seen in anything that a client got.
const SECRET: &[u8] = b"THE SECRET OUTSIDE";

/// `shm_client -o - NAME`
fn fetch_to_stdout(world: &World, name: &[u8]) -> Outcome {
    world
        .client()
        .args(["-o", "-", "--"])
        .arg(OsStr::from_bytes(name))
        .run()
}

#[track_caller]
fn assert_no_secret(outcome: &Outcome) {
    let found = outcome
        .stdout
        .windows(SECRET.len())
        .any(|window| window == SECRET);
    assert!(!found, "{}: got the secret", outcome.label);
}

/// What a name is answered with: the bytes of the file, or a code.
type Answer = Result<&'static [u8], &'static str>;

fn names_and_answers() -> Vec<(Vec<u8>, Answer)> {
    let file: Answer = Ok(b"content");
    let fixed: [(&[u8], Answer); 26] = [
        (b"file", file),
        (b"./file", file),
        (b".//./file", file),
        (b"sub/../file", file),
        (b"sub//inner", file),
        (b"sub/deep/../../sub/inner", file),
        (b"../secret", Err("DENIED")),
        (b"../source/file", Err("DENIED")),
        (b"sub/../../secret", Err("DENIED")),
        (b"sub/../../../../../../../etc/passwd", Err("DENIED")),
        (b"/etc/passwd", Err("DENIED")),
        (b"//etc/passwd", Err("DENIED")),
        (b"/", Err("DENIED")),
        (b"..", Err("DENIED")),
        (b".", Err("NOT_A_FILE")),
        (b"sub/", Err("NOT_A_FILE")),
        (b"sub/.", Err("NOT_A_FILE")),
        (b"sub/..", Err("NOT_A_FILE")),
        (b"file/", Err("FNF")),
        (b"file/.", Err("FNF")),
        (b"file/..", Err("FNF")),
        (b"file\n", Err("FNF")),
        (b"\x1b]0;title\x07", Err("FNF")),
        (b"\x7f\x9b31m", Err("FNF")),
        (b"\xff\xfe\xc0\xaf..", Err("FNF")),
        (b"..\xc0\xafsecret", Err("FNF")),
    ];
    let mut names: Vec<(Vec<u8>, Answer)> = fixed
        .iter()
        .map(|(name, answer)| (name.to_vec(), *answer))
        .collect();
    names.push((vec![b'n'; 255], file));
    names.push((vec![b'm'; 255], Err("FNF")));
    names.push((vec![b'n'; 256], Err("NAME_TOO_LONG")));
    names.push(([b"./".repeat(448).as_slice(), b"file"].concat(), file));
    names.push((b"../".repeat(300), Err("DENIED")));
    // More than a message holds: the client says so itself.
    names.push((vec![b'n'; 901], Err("at most 900")));
    names.push((b"d/".repeat(2100), Err("at most 900")));
    names
}

/// Each name has its answer and no other, and neither log nor error shows a control character to a terminal.
#[test]
fn every_name_has_its_answer_and_no_log_shows_it_raw() {
    let world = World::new("names");
    for name in ["file", "sub/inner", "sub/deep/x", &"n".repeat(255)] {
        world.put(name, b"content");
    }
    std::fs::write(world.root().join("secret"), SECRET).unwrap();
    let server = world.server().arg("--explain").start();
    server.wait_for_stderr("serving");
    for (name, expected) in names_and_answers() {
        let shown = String::from_utf8_lossy(&name[..name.len().min(60)]).into_owned();
        let outcome = fetch_to_stdout(&world, &name);
        assert_no_secret(&outcome);
        let controls = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!controls(&outcome.stderr), "{shown:?}: {}", outcome.stderr);
        match expected {
            Ok(bytes) => assert_eq!(outcome.expect_code(0).stdout, bytes, "{shown:?}"),
            Err(code) => assert!(outcome.expect_code(1).expect_said(code).stdout.is_empty()),
        }
    }
    let log = server.stderr();
    let strange = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(strange, None, "in the server's log");
    assert!(log.contains("\\x1b]0;title") && log.contains("file\\n"), "{log}");
    world.finish();
}

/// A crowd of clients that die, or misbehave, must not fill the disk behind a log: ten lines a second about one user and reason, and then
/// one that says how many more there were. None is forgotten.
#[test]
fn log_of_a_server_has_few_lines_for_many_deaths_and_says_how_many_it_left_out() {
    const CLIENTS: usize = 60;
    let world = World::new("log-flood");
    world.put_random("file", 1 << 20);
    let server = world.start_server();
    let (_nobody_reads, sink) = std::io::pipe().unwrap();
    let stuck = || {
        let client = world.client().args(["file", "-o", "-"]);
        client.stdout(sink.try_clone().unwrap()).start()
    };
    let clients: Vec<Running> = (0..CLIENTS).map(|_| stuck()).collect();
    eventually("all are attached", || {
        world.status()["sessions"] == CLIENTS as u64 + 1
    });
    let start = Instant::now();
    clients.iter().for_each(|client| client.kill());
    eventually("all deaths are noticed", || {
        world.status()["died_total"] == CLIENTS as u64
    });
    let lines = || server.stderr().matches("ended a session").count();
    let most = 10 * (start.elapsed().as_secs() as usize + 2);
    assert!(
        (1..=most).contains(&lines()),
        "{} lines\n{}",
        lines(),
        server.stderr()
    );
    assert!(most >= CLIENTS || lines() < CLIENTS);
    eventually("every death is told or counted", || {
        let said = server.stderr();
        let left_out = said.lines().filter_map(|line| {
            let number = line.strip_prefix("shm_server: ")?;
            number
                .split_once(" more like this suppressed")?
                .0
                .parse::<usize>()
                .ok()
        });
        left_out.sum::<usize>() + lines() == CLIENTS
    });
    world.finish();
}

/// In turn a directory of ours and a link to the directory outside stand under `swap`, for as long as `during` runs.
fn while_swapping(folder: &Path, during: impl FnOnce()) {
    let path = |name: &str| folder.join(name);
    std::fs::create_dir(path("real")).unwrap();
    std::fs::write(path("real/file"), b"inside").unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                std::fs::rename(path("real"), path("swap")).unwrap();
                std::fs::rename(path("swap"), path("real")).unwrap();
                symlink("../../outside", path("swap")).unwrap();
                std::fs::remove_file(path("swap")).unwrap();
            }
        });
        // The loop must end also if this panics.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        is_over.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// The race a thousand times; a million times it is a row of `cargo xtask chaos`, and without processes a test of shmeld-os.
#[test]
fn link_that_takes_the_place_of_a_directory_never_leads_outside() {
    let world = World::new("swap");
    std::fs::create_dir(world.root().join("outside")).unwrap();
    std::fs::write(world.root().join("outside/file"), SECRET).unwrap();
    std::fs::create_dir(world.source("race")).unwrap();
    let _server = world.start_server();
    let mut delivered = 0;
    while_swapping(&world.source("race"), || {
        for _ in 0..10 {
            let client = world
                .client()
                .args(["-o", "-", "-q", "-n", "100", "race/swap/file"]);
            let outcome = client.run();
            assert_no_secret(&outcome);
            assert!(
                matches!(outcome.code, Some(0 | 1)),
                "{:?}\n{}",
                outcome.code,
                outcome.stderr
            );
            delivered += outcome.stdout.len() / b"inside".len();
        }
        for number in 0..10 {
            let output = world.output(&number.to_string());
            // What a walk meets may be gone a moment later: then it says so.
            world.client().args(["-q", "-r", "race", "-o"]).arg(&output).run();
            for (path, item) in content::tree(&output, false) {
                assert!(!item.content.starts_with(SECRET), "{}", path.display());
                assert!(item.kind != "link", "a link to {:?}", item.content);
            }
        }
    });
    // How often depends on the load of the machine; that it happens shows that the race was run.
    assert!(delivered > 0, "none of 1000 found the directory there");
    world.finish();
}

/// A hard link cannot be told from the file. What counts are the rights of the file itself, and that the kernel lets nobody link what he
/// may not write (fs.protected_hardlinks).
#[test]
fn hard_link_to_a_file_that_the_server_may_not_read_is_denied() {
    let world = World::new("hard-link");
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let secret = world.root().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    content::set_mode(&secret, 0o600);
    std::fs::hard_link(&secret, world.source("linked")).unwrap();
    std::fs::hard_link(world.put("open", b"open"), world.source("also-open")).unwrap();
    content::set_mode(&world.output(""), 0o777);
    let server = world.server().as_user(NOBODY).start();
    server.wait_for_stderr("serving");
    let client = world
        .client()
        .args(["linked", "open", "also-open", "-o"])
        .arg(world.output(""));
    let outcome = client.as_user(NOBODY).run().expect_code(1);
    outcome.expect_line("shm_client: get linked: the server has no permission to read it (DENIED)");
    world.assert_output("also-open", b"open");
    assert!(!world.output("linked").exists());
    if std::fs::read_to_string("/proc/sys/fs/protected_hardlinks")
        .unwrap()
        .trim()
        == "1"
    {
        let link = world
            .tool("ln")
            .arg(&secret)
            .arg(world.output("mine"))
            .as_user(NOBODY);
        link.run().expect_code(1);
    }
    world.finish();
}

/// Starts a server in its source directory, with what strace does to calls on that directory.
fn strained_server(world: &World, strain: &[&str]) -> Running {
    let directory = std::fs::canonicalize(world.source("")).unwrap();
    let watched = directory.to_str().unwrap();
    let mut words = vec!["strace", "-D", "-f", "-qq", "-o", "../calls", "-P", watched];
    words.extend(strain);
    let server = world.shmeld("serve").args(["--name", world.name(), "."]);
    let server = server.current_dir(&directory).wrapped(&words).start();
    server.wait_for_stderr("serving");
    server
}

#[track_caller]
fn assert_injected(world: &World, call: &str) {
    let calls = std::fs::read_to_string(world.root().join("calls")).unwrap();
    let injected = calls
        .lines()
        .filter(|line| line.contains("(INJECTED)") && line.contains(&format!(" {call}(")));
    assert!(injected.count() > 0, "{calls}");
}

fn put_tree_with_ways_out(world: &World) {
    for name in ["file", "sub/inner", "sub/deep/x"] {
        world.put(name, b"content");
    }
    std::fs::write(world.root().join("secret"), SECRET).unwrap();
    symlink("../file", world.source("sub/up")).unwrap();
    symlink("../../secret", world.source("sub/out")).unwrap();
    symlink("/etc/passwd", world.source("absolute")).unwrap();
}

/// Old kernels say ENOSYS, the filter of a container EPERM.
#[test]
fn without_openat2_files_are_served_and_nothing_outside() {
    if !has_or_skip("strace") {
        return;
    }
    for errno in ["ENOSYS", "EPERM"] {
        let world = World::new("no-openat2");
        put_tree_with_ways_out(&world);
        let inject = format!("inject=openat2:error={errno}");
        let server = strained_server(&world, &["-e", "trace=openat2", "-e", &inject]);
        for name in ["file", "sub/inner", "sub/up", "sub/../sub/deep/x"] {
            let outcome = fetch_to_stdout(&world, name.as_bytes()).expect_code(0);
            assert_eq!(outcome.stdout, b"content", "{name}");
        }
        for name in [
            "../secret",
            "sub/../../secret",
            "sub/out",
            "absolute",
            "/etc/passwd",
        ] {
            let outcome = fetch_to_stdout(&world, name.as_bytes()).expect_code(1);
            assert!(outcome.expect_said("(DENIED)").stdout.is_empty(), "{name}");
        }
        world.fetch(&["-r", "sub/deep"]).expect_code(0);
        world.assert_output("sub/deep/x", b"content");
        server.signal("TERM");
        server.finish().expect_code(0);
        assert_injected(&world, "openat2");
        world.finish();
    }
}

#[test]
fn without_openat2_and_without_a_walk_nothing_is_served() {
    if !has_or_skip("strace") {
        return;
    }
    let world = World::new("no-way");
    put_tree_with_ways_out(&world);
    let inject = "inject=openat,openat2:error=EPERM";
    let server = strained_server(&world, &["-e", "trace=openat,openat2", "-e", inject]);
    for name in ["file", "sub/inner", "sub/up", "../secret", "absolute"] {
        let outcome = fetch_to_stdout(&world, name.as_bytes()).expect_code(1);
        assert!(outcome.expect_said("(DENIED)").stdout.is_empty(), "{name}");
    }
    server.signal("TERM");
    server.finish().expect_code(0);
    assert_injected(&world, "openat2");
    assert_injected(&world, "openat");
    world.finish();
}
