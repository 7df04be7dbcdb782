//! Plays of README's rows about files, servers and clients: see `readme.rs`.

use crate::content;
use crate::midway::{MIB, put_large};
use crate::need::{eventually, has_or_skip, skip};
use crate::readme::{By, Paper, Play};
use crate::world::NOBODY;

pub const FILES: [Play; 18] = [
    ("offer a directory", By::Play(offer)),
    ("fetch files", By::Play(|paper| fetch(paper, "shm_client"))),
    (
        "the same, through a larger region",
        By::Play(|paper| fetch(paper, "shmeld get")),
    ),
    ("names from a list", By::Play(names_from_a_list)),
    ("a large file", By::Play(large_file)),
    ("to a pipe", By::Play(pipe)),
    ("everything that matches", By::Play(pattern)),
    ("a whole directory", By::Play(directory)),
    ("copy, both sides", By::Play(copy)),
    ("what a server offers", By::Play(list)),
    ("how a server is doing", By::Play(status)),
    ("who got what", By::Play(audit)),
    ("serve other users", By::Play(other_users)),
    ("one client, then", By::Play(once)),
    ("run it as a service", By::Play(service)),
    ("see what happens", By::Play(explain)),
    ("completions, manual", By::Play(completions_and_manual)),
    ("two processes in one memory", By::Play(meld)),
];

fn offer(paper: &Paper) {
    let server = paper.start(&paper.take("shm_server"), "serving");
    assert!(paper.printed("shmeld ls").lines().any(|name| name == "a.jpg"));
    paper.stop(&server);
}

fn fetch(paper: &Paper, program: &str) {
    let server = paper.serve();
    paper.run(&paper.take(program)).expect_said("3 files, ");
    paper.assert_arrived("OUT", &["a.jpg", "b.pdf", "c.c"]);
    paper.stop(&server);
}

fn names_from_a_list(paper: &Paper) {
    let server = paper.serve();
    paper.run(&paper.take("shm_client")).expect_said("20 files, ");
    paper.assert_arrived("OUT", &["a.jpg", "b.pdf", "c.c"]);
    paper.stop(&server);
}

fn large_file(paper: &Paper) {
    let source = put_large(&paper.shore.world, "big.iso", 32);
    std::fs::rename(source, paper.path("DIR/big.iso")).unwrap();
    let server = paper.serve();
    let text = paper.take("shm_client");
    let client = paper.program(&text).start();
    let part = paper.path("OUT/.big.iso.shmeld-part");
    eventually("some of it is there", || {
        !client.is_running() || std::fs::metadata(&part).is_ok_and(|part| part.len() > 2 * MIB)
    });
    client.kill();
    // Unless it was faster than we.
    let is_resumed = part.exists();
    let outcome = paper.run(&text);
    assert_eq!(
        outcome.stderr.contains("resuming"),
        is_resumed,
        "{}",
        outcome.stderr
    );
    paper.assert_arrived("OUT", &["big.iso"]);
    paper.stop(&server);
}

fn pipe(paper: &Paper) {
    let text = paper.take("shm_client");
    if !has_or_skip("less") {
        return;
    }
    let server = paper.serve();
    let expected = std::fs::read(paper.path("DIR/a.log")).unwrap();
    content::assert_bytes("from the pipe", &paper.run(&text).stdout, &expected);
    paper.stop(&server);
}

fn pattern(paper: &Paper) {
    let server = paper.serve();
    paper.run(&paper.take("shmeld get"));
    paper.assert_arrived("OUT", &["c.c"]);
    paper.stop(&server);
}

fn directory(paper: &Paper) {
    let server = paper.serve();
    paper.run(&paper.take("shmeld get"));
    paper.assert_arrived("OUT", &["sub/one", "sub/two"]);
    paper.stop(&server);
}

fn copy(paper: &Paper) {
    paper.run(&paper.take("shmeld cp"));
    let tree = |name: &str| content::tree(&paper.path(name), false);
    content::assert_trees(&tree("DST"), &tree("SRC"));
}

fn list(paper: &Paper) {
    let server = paper.serve();
    let printed = paper.printed(&paper.take("shmeld ls"));
    let has = |name: &str, bytes: &str| {
        let is_it = |line: &str| {
            line.ends_with(&format!(" {name}")) && line.split_whitespace().any(|word| word == bytes)
        };
        printed.lines().any(is_it)
    };
    assert!(has("a.jpg", "25258") && has("empty.dat", "0"), "{printed}");
    paper.stop(&server);
}

fn status(paper: &Paper) {
    let server = paper.serve();
    paper.run("shm_client -o OUT/ a.jpg");
    let [people, programs] = [(); 2].map(|()| paper.printed(&paper.take("shmeld status")));
    assert!(people.contains("files     1, 24.7 KiB"), "{people}");
    assert!(
        programs.contains("\nshmeld_files_total{server=\"/shmeld\"} 1\n"),
        "{programs}"
    );
    assert!(programs.ends_with("# EOF\n"), "{programs}");
    paper.stop(&server);
}

fn audit(paper: &Paper) {
    let server = paper.start(&paper.take("shm_server"), "serving");
    let ask = |name: &str, code| {
        let client = paper.program(&format!("shm_client -o OUT/ {name}"));
        client.run().expect_code(code);
    };
    let has = |file: &str, event: &str, field: &str| {
        let text = std::fs::read_to_string(paper.path(file)).unwrap_or_default();
        let is_it = |line: &str| line.contains(&format!("\"event\":\"{event}\"")) && line.contains(field);
        text.lines().any(is_it)
    };
    ask("nope", 1);
    ask("a.jpg", 0);
    eventually("who got what is in the file", || {
        has("FILE", "session", "\"files\":1") && has("FILE", "refused", "\"path\":\"nope\"")
    });
    std::fs::rename(paper.path("FILE"), paper.path("FILE.1")).unwrap();
    server.signal("HUP");
    eventually("there is another file", || paper.path("FILE").exists());
    ask("not-either", 1);
    eventually("it goes on there", || {
        has("FILE", "refused", "\"path\":\"not-either\"")
    });
    paper.stop(&server);
}

/// `shm_client` of another user.
fn fetch_as(paper: &Paper, options: &str, groups: &[u32], code: i32) {
    let folder = paper.path("theirs");
    std::fs::create_dir_all(&folder).unwrap();
    content::set_mode(&folder, 0o777);
    let client = paper.shore.world.tool(env!("CARGO_BIN_EXE_shm_client"));
    let client = client.args(options.split(' ')).args(["--wait", "0", "-o"]);
    let client = client
        .arg(folder.join("a.jpg"))
        .arg("a.jpg")
        .as_member(NOBODY, groups);
    paper.shore.island.with(client).run().expect_code(code);
    if code == 0 {
        paper.assert_arrived("theirs", &["a.jpg"]);
        std::fs::remove_file(folder.join("a.jpg")).unwrap();
    }
}

fn other_users(paper: &Paper) {
    let for_a_group = paper.take("shm_server");
    let for_all = paper.take("--public");
    // The tests' own: root.
    let client = paper.take("--server-uid UID").replace("UID", "0");
    if !has_or_skip("setpriv") || !has_or_skip("getent") {
        return;
    }
    let for_all = format!("{} {for_all}", for_a_group.split(" --").next().unwrap());
    let server = paper.start(&for_all, "serving");
    fetch_as(paper, &client, &[], 0);
    paper.stop(&server);

    let group = paper.shore.world.tool("getent").args(["group", "staff"]).run();
    let group = group.stdout_text();
    let Some(Ok(group)) = group.split(':').nth(2).map(str::parse) else {
        return skip("a group staff");
    };
    let server = paper.start(&for_a_group, "serving");
    fetch_as(paper, &client, &[], 3);
    fetch_as(paper, &client, &[group], 0);
    paper.stop(&server);
}

fn once(paper: &Paper) {
    let server = paper.start(&paper.take("shm_server"), "serving");
    paper.run("shm_client -o OUT/ a.jpg");
    server.finish().expect_code(0);
}

/// The unit file is tried in `service.rs`.
fn service(paper: &Paper) {
    let unit = paper.take("packaging/");
    assert!(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(unit)
            .is_file()
    );
    let server = paper.start(
        &format!("shm_server DIR {}", paper.take("--print-sandbox")),
        "serving",
    );
    let said = String::from_utf8(server.stdout()).unwrap();
    assert!(
        said.contains("landlock: ") && said.contains("new privileges: none"),
        "{said}"
    );
    paper.stop(&server);
}

/// That all the others have the option is known where options are: in `help.rs`.
fn explain(paper: &Paper) {
    paper.take("ipc top");
    let option = paper.take("--explain");
    let server = paper.start(&format!("shm_server DIR --once {option}"), "serving");
    let client = format!("shm_client -o OUT a.jpg b.pdf c.c {option}");
    paper.run(&client).expect_said("mq_timedsend /shmeld");
    server
        .finish()
        .expect_code(0)
        .expect_said("openat2(RESOLVE_BENEATH) a.jpg");
}

fn completions_and_manual(paper: &Paper) {
    let completions = paper.printed(&paper.take("shmeld completions"));
    assert!(completions.contains("complete "), "{completions}");
    paper.run(&paper.take("shmeld man"));
    assert!(paper.path("DIR/shmeld.1").is_file() && paper.path("DIR/shm_server.1").is_file());
}

fn meld(paper: &Paper) {
    let text = paper.take("shmeld demo");
    paper.run(&text);
    let [a, b] = ["--role a", "--role b"].map(|role| format!("{text} {}", paper.take(role)));
    let first = paper.start(&a, "wait /shm-demo");
    paper.run(&b);
    first.finish().expect_code(0);
}
