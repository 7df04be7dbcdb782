//! What a server offers and what it says about itself: `ls` and `status`.

use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use crate::content;
use crate::processes::Outcome;
use crate::world::World;

/// A running server with a few of everything.
fn furnished(what: &str) -> World {
    let world = World::new(what);
    world.put("b.txt", b"seven b");
    world.put("a.txt", b"");
    world.put(".hidden", b"h");
    world.put("d/inner.c", b"int x;");
    world.put("d/deep/leaf", b"leaf");
    symlink("b.txt", world.source("link")).unwrap();
    world
        .tool("mkfifo")
        .arg(world.source("pipe"))
        .run()
        .expect_code(0);
    world.start_server();
    world
}

fn ls(world: &World, arguments: &[&str]) -> Outcome {
    world
        .shmeld("ls")
        .args(["--name", world.name()])
        .args(arguments)
        .run()
}

fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.stdout_text().lines().map(str::to_owned).collect()
}

#[test]
fn ls_shows_the_top_sorted_with_slashes_behind_directories() {
    let world = furnished("ls");
    let outcome = ls(&world, &[]).expect_code(0).expect_silence();
    assert_eq!(
        lines(&outcome),
        [".hidden", "a.txt", "b.txt", "d/", "link", "pipe"]
    );
    world.finish();
}

#[test]
fn ls_of_a_directory_a_file_and_a_pattern() {
    let world = furnished("ls-what");
    for (arguments, expected) in [
        (&["d"][..], &["d/deep/", "d/inner.c"][..]),
        (&["d/"], &["d/deep/", "d/inner.c"]),
        (&["b.txt"], &["b.txt"]),
        (&["*.txt"], &["a.txt", "b.txt"]),
        (&["d/*"], &["d/deep/", "d/inner.c"]),
        (&["**/leaf"], &["d/deep/leaf"]),
        (&["-r", "d"], &["d/deep/", "d/deep/leaf", "d/inner.c"]),
        (
            &["-r", "."],
            &[
                ".hidden",
                "a.txt",
                "b.txt",
                "d/",
                "d/deep/",
                "d/deep/leaf",
                "d/inner.c",
                "link",
                "pipe",
            ],
        ),
    ] {
        let outcome = ls(&world, arguments).expect_code(0).expect_silence();
        assert_eq!(lines(&outcome), expected, "{arguments:?}");
    }
    world.finish();
}

#[test]
fn recursive_ls_shows_everything_below() {
    let world = furnished("ls-r");
    let outcome = ls(&world, &["-r"]).expect_code(0);
    let expected = [
        ".hidden",
        "a.txt",
        "b.txt",
        "d/",
        "d/deep/",
        "d/deep/leaf",
        "d/inner.c",
        "link",
        "pipe",
    ];
    assert_eq!(lines(&outcome), expected);
    world.finish();
}

#[test]
fn long_ls_shows_mode_size_time_and_where_links_point() {
    let world = furnished("ls-l");
    content::set_mode(&world.source("b.txt"), 0o640);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    std::fs::File::open(world.source("b.txt"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    let outcome = ls(&world, &["-l"]).expect_code(0);
    let lines = lines(&outcome);
    assert_eq!(lines[2], "-rw-r-----            7 2023-11-14T22:13:20Z b.txt");
    assert!(
        lines[3].starts_with("drwx") && lines[3].ends_with(" d/"),
        "{}",
        lines[3]
    );
    assert!(
        lines[4].starts_with('l') && lines[4].ends_with(" link -> b.txt"),
        "{}",
        lines[4]
    );
    assert!(lines[5].starts_with('?'), "{}", lines[5]);
    world.finish();
}

#[test]
fn ls_as_json_has_one_object_a_line_with_everything_in_it() {
    let world = furnished("ls-json");
    content::set_mode(&world.source("b.txt"), 0o640);
    let outcome = ls(&world, &["--json"]).expect_code(0);
    let objects: Vec<_> = outcome
        .json_lines()
        .into_iter()
        .filter(|line| line.get("kind").is_some())
        .collect();
    let kinds: Vec<_> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["file", "file", "file", "directory", "symlink", "other"]);
    let b = &objects[2];
    assert_eq!(
        (&b["name"], &b["size"], &b["mode"]),
        (&"b.txt".into(), &7.into(), &"0640".into())
    );
    assert!(b["modified"].as_str().unwrap().ends_with('Z') && b["uid"].is_u64() && b["gid"].is_u64());
    assert_eq!(objects[4]["target"], "b.txt");
    world.finish();
}

#[test]
fn ls_of_what_is_not_there_says_so_and_ends_with_1() {
    let world = furnished("ls-none");
    let outcome = ls(&world, &["nope"]).expect_code(1);
    assert!(outcome.stdout.is_empty());
    outcome.expect_line("shmeld: ls nope: no such file (FNF)");
    ls(&world, &["*.pdf"])
        .expect_code(1)
        .expect_line("shmeld: ls *.pdf: nothing matches the pattern (FNF)");
    ls(&world, &[".."]).expect_code(1).expect_said("(DENIED)");
    world.finish();
}

#[test]
fn ls_of_many_files_is_complete() {
    let world = World::new("ls-many");
    for number in 0..3_000 {
        std::fs::write(world.source(&format!("file-number-{number:04}")), b"").unwrap();
    }
    world.start_server();
    let outcome = ls(&world, &[]).expect_code(0);
    let expected: Vec<String> = (0..3_000)
        .map(|number| format!("file-number-{number:04}"))
        .collect();
    assert_eq!(lines(&outcome), expected);
    world.finish();
}

#[test]
fn ls_into_a_pipe_that_closes_early_is_no_drama() {
    let world = furnished("ls-head");
    let program = env!("CARGO_BIN_EXE_shmeld");
    let script = format!("'{program}' ls -r --name {} | head -1", world.name());
    let outcome = world
        .tool("sh")
        .args(["-c", &script])
        .run()
        .expect_code(0)
        .expect_silence();
    assert_eq!(lines(&outcome), [".hidden"]);
    world.finish();
}

#[test]
fn ls_and_status_do_not_wait_for_a_server_unless_told_to() {
    let world = World::new("ls-no-server");
    for command in ["ls", "status"] {
        let outcome = world
            .shmeld(command)
            .args(["--name", world.name()])
            .run()
            .expect_code(3);
        outcome.expect_line(&format!("shmeld: server {}: not running", world.name()));
    }
    let status = world
        .shmeld("status")
        .args(["--json", "--wait", "forever", "--name", world.name()])
        .start();
    status.wait_for_stderr("waiting for server");
    world.start_server();
    let object = status.finish().expect_code(0).json_lines().remove(0);
    assert_eq!(object["name"], world.name());
    world.finish();
}

#[test]
fn status_counts_what_was_delivered_and_what_was_refused() {
    let world = World::new("status");
    world.put_random("thousand", 1_000);
    let server = world.start_server();
    world.fetch(&["thousand", "thousand", "nope"]).expect_code(1);
    let status = world.status();
    for (field, value) in [
        ("files_total", 2),
        ("bytes_total", 2_000),
        ("refused_names_total", 1),
        ("refused_regions_total", 0),
        ("junk_messages_total", 0),
        ("misbehaved_total", 0),
        ("died_total", 0),
        ("sessions_total", 2),
        ("sessions_max", 1_024),
        ("pid", server.pid()),
    ] {
        assert_eq!(status[field], value, "{field} in {status}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    // The asking session is one of them; that of the client before may be about to end.
    let sessions = status["sessions"].as_u64().unwrap();
    assert!((1..=2).contains(&sessions), "{status}");
    world.finish();
}

#[test]
fn status_as_text_shows_the_same_to_people() {
    let world = World::new("status-text");
    world.put_random("f", 2_048);
    let server = world.server().args(["--max-sessions", "7"]).start();
    server.wait_for_stderr("serving");
    world.fetch(&["f"]).expect_code(0);
    let outcome = world
        .shmeld("status")
        .args(["--name", world.name()])
        .run()
        .expect_code(0)
        .expect_silence();
    let text = outcome.stdout_text();
    for part in [
        format!("server    {} (pid {}, version ", world.name(), server.pid()),
        " now, at most 7, 2 since start".to_owned(),
        "files     1, 2.0 KiB".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} in\n{text}");
    }
    assert!(
        text.lines().all(|line| line.split_whitespace().count() > 1),
        "{text}"
    );
    world.finish();
}
