//! `shmeld ipc clean`: what is stale goes, and nothing else.

use crate::desk::LONG_BYTES;
use crate::peers::holder_python_or_skip;
use crate::shore::{Shore, addresses, kinds};
use crate::world::{NOBODY, eventually, has_or_skip};

/// A region whose client died before a server came: `SHMELD1` and its version.
const DEAD_REGION: &str = "shmeld.0123456789abcdef0123456789abcdef";
const YOUNG_REGION: &str = "shmeld.fedcba9876543210fedcba9876543210";

#[test]
fn clean_removes_exactly_what_killed_processes_left() {
    let Some(shore) = Shore::or_skip("clean") else {
        return;
    };
    let (server, neighbour) = (shore.server("/dead"), shore.server("/alive"));
    let (poster, other_poster) = (shore.poster("0x1111"), shore.poster("0x2222"));
    let (channel, other_channel) = (shore.channel("dead"), shore.channel("alive"));
    shore.shell(&format!(
        "printf 'SHMELD1\\001' > /dev/shm/{DEAD_REGION} && : > /dev/shm/{YOUNG_REGION} && : > /dev/shm/somebody-elses"
    ));
    let before = shore.listed(&[]);
    assert_eq!(shore.listed(&["--stale"]), [format!("posix:/{DEAD_REGION}")]);
    server.kill();
    poster.kill();
    channel.into_iter().for_each(|one| one.kill());
    eventually("the kernel has taken the token back", || {
        shore.listed(&["--stale"]).len() == 9
    });
    let stale = shore.listed(&["--stale"]);
    let expected = [
        "posix:/SEG_dead_DATA",
        "posix:/SEG_dead_HEAD",
        &format!("posix:/{DEAD_REGION}"),
        "posix:/shmeld.dead.gate",
        "sem:/SEM_dead_REQ",
        "sem:/SEM_dead_RES",
        "mq:/dead",
        "sysv:",
        "sysv-sem:",
    ];
    assert_eq!(kinds(&stale), expected);

    assert_eq!(
        sorted(shore.cleaned("would_remove", &["--dry-run"])),
        sorted(stale.clone())
    );
    assert_eq!(shore.listed(&[]), before, "a dry run removes nothing");
    assert_eq!(sorted(shore.cleaned("removed", &[])), sorted(stale.clone()));
    let left: Vec<String> = before
        .into_iter()
        .filter(|address| !stale.contains(address))
        .collect();
    assert_eq!(shore.listed(&[]), left);
    // The neighbours are as they were.
    let status = shore.world.shmeld("status").args(["--name", "/alive"]);
    shore.island.with(status).run().expect_code(0);
    let read = shore.world.shmeld("board").args(["read", "--key", "0x2222"]);
    let read = shore.island.with(read).run().expect_code(0);
    assert_eq!(read.stdout, b"a message");
    assert!(neighbour.is_running() && shore.cleaned("removed", &[]).is_empty());
    assert!(other_channel.iter().all(|one| one.is_running()));
    other_channel.into_iter().for_each(|one| one.kill());
    other_poster.kill();
    neighbour.kill();
    shore.finish();
}

fn sorted(mut addresses: Vec<String>) -> Vec<String> {
    addresses.sort();
    addresses
}

#[test]
fn clean_says_the_proof_of_each() {
    let Some(shore) = Shore::or_skip("proof") else {
        return;
    };
    let alive = shore.server("/alive");
    shore.server("/dead").kill();
    shore.shell(&format!(
        "printf 'SHMELD1\\001' > /dev/shm/{DEAD_REGION}; : > /dev/shm/other"
    ));
    let said = shore
        .ipc(&["clean", "--dry-run", "--explain"])
        .run()
        .expect_code(0);
    let text = said.stdout_text();
    for line in [
        format!("would remove posix:/{DEAD_REGION}: its lease (byte 0) is free: its client is dead"),
        "would remove posix:/shmeld.dead.gate: its lock is free: server /dead is dead".to_owned(),
        "would remove mq:/dead: its lease is free, and so is the lock of its gate: server /dead is dead"
            .to_owned(),
    ] {
        assert!(text.lines().any(|said| said == line), "no {line:?} in\n{text}");
    }
    said.expect_said("posix:/other stays: un")
        .expect_said("posix:/shmeld.alive.gate stays: live: server /alive holds its lock");
    alive.kill();
    shore.finish();
}

/// What other programs left is removed only if that is asked for, and if it is old enough.
#[test]
fn what_others_left_stays_unless_it_is_asked_for() {
    let Some(shore) = Shore::or_skip("others") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let holder = shore.holder(&python, "dead", "0x3333");
    holder.kill();
    let unheld = shore.unheld();
    let expected = [
        "posix:/dead-frames",
        "posix:/dead-memory",
        "sem:/dead",
        "mq:/dead",
        "sysv:",
        "sysv-sem:",
        "sysv-msg:",
    ];
    assert_eq!(kinds(&unheld), expected);
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    let young = shore.cleaned("would_remove", &["--any-stale", "--dry-run"]);
    assert_eq!(young, [""; 0], "they are too young");
    let old = shore.cleaned("would_remove", &["--any-stale", "--dry-run", "--older", "0"]);
    assert_eq!(old, unheld);
    let refused = shore
        .ipc(&["clean", "--any-stale", "--older", "0"])
        .run()
        .expect_code(2);
    refused
        .expect_said("there is no terminal")
        .expect_said("hint: list them with --dry-run");
    assert_eq!(shore.unheld(), unheld);
    shore.finish();
}

/// Each look reads a text about each queue, which sets the time of its last change: whoever looked every minute could never clean.
#[test]
fn a_queue_grows_old_however_often_it_is_looked_at() {
    let Some(shore) = Shore::or_skip("looks") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    shore.holder(&python, "old", "0x3333").kill();
    eventually("it is old enough", || {
        let would = shore.cleaned("would_remove", &["--any-stale", "--dry-run", "--older", "3s"]);
        would.contains(&"mq:/old".to_owned())
    });
    shore.finish();
}

#[test]
fn what_others_left_goes_only_after_a_question() {
    let Some(shore) = Shore::or_skip("question") else {
        return;
    };
    let Some(python) = holder_python_or_skip().filter(|_| has_or_skip("script")) else {
        return;
    };
    let (dead, alive) = (
        shore.holder(&python, "dead", "0x3333"),
        shore.holder(&python, "alive", "0x4444"),
    );
    let before = shore.listed(&[]);
    dead.kill();
    let unheld = shore.unheld();
    let command = format!("{} ipc clean --any-stale --older 0", env!("CARGO_BIN_EXE_shmeld"));
    let ask = |answers: &[u8]| {
        let script = shore.world.tool("script").args(["-qec", &command, "/dev/null"]);
        let script = shore.island.with(script).input(answers).run();
        script.expect_code(0).stdout_text()
    };
    // No to the first, yes to the next, and what follows is left.
    let said = ask(b"n\ny\nq\n");
    let question = "remove posix:/dead-frames (POSIX segment, 4.9K, uid 0): nobody has it open or mapped";
    assert!(said.contains(question), "{said}");
    assert_eq!(shore.unheld(), [&unheld[..1], &unheld[2..]].concat());
    ask(&b"y\n".repeat(6));
    let left: Vec<String> = { before }
        .into_iter()
        .filter(|address| !unheld.contains(address))
        .collect();
    assert_eq!(shore.listed(&[]), left);
    alive.kill();
    shore.finish();
}

/// A board with the textbook's handshake is a segment like anybody's: its mark is inside, and nobody looks into segments of others.
#[test]
fn a_dead_posters_text_is_offered_with_what_others_left() {
    let Some(shore) = Shore::or_skip("text") else {
        return;
    };
    let post = ["post", "a message", "--key", "0x1111", "--ack", "*"];
    let post = || {
        let poster = shore.island.with(shore.world.shmeld("board").args(post)).start();
        poster.wait_for_stderr("posted");
        poster
    };
    let poster = post();
    assert_eq!(shore.listed(&["--any-stale"]), [""; 0]);
    poster.kill();
    assert_eq!(kinds(&shore.unheld()), ["sysv:"]);
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    let any = ["--any-stale", "--dry-run", "--older", "0"];
    assert_eq!(kinds(&shore.cleaned("would_remove", &any)), ["sysv:"]);
    // Its successor replaces it, and is live.
    let next = post();
    assert_eq!(shore.cleaned("would_remove", &any), [""; 0]);
    next.signal("TERM");
    next.finish().expect_code(143);
    assert_eq!(shore.listed(&[]), [""; 0]);
    shore.finish();
}

/// Other users' objects are no user's but root's to clean, and of those of other programs not even root's.
#[test]
fn clean_touches_nothing_of_other_users() {
    let Some(shore) = Shore::or_skip("users") else {
        return;
    };
    if !has_or_skip("setpriv") {
        return;
    }
    shore.shell(&format!(
        "printf 'SHMELD1\\001' > /dev/shm/{DEAD_REGION} && cp /dev/shm/{DEAD_REGION} /dev/shm/{YOUNG_REGION} && : > /dev/shm/roots \
         && : > /dev/shm/nobodys && chown {NOBODY} /dev/shm/{YOUNG_REGION} /dev/shm/nobodys"
    ));
    let any = ["clean", "--json", "--any-stale", "--dry-run", "--older", "0"];
    let nobody = shore
        .island
        .with(shore.world.ipc(&any).as_user(NOBODY))
        .run()
        .expect_code(0);
    let nobodys = [format!("posix:/{YOUNG_REGION}"), "posix:/nobodys".to_owned()];
    assert_eq!(
        sorted(addresses(&nobody.json_lines(), "would_remove")),
        sorted(nobodys.to_vec())
    );
    let root = shore.cleaned("would_remove", &any[2..]);
    let roots = [
        format!("posix:/{DEAD_REGION}"),
        format!("posix:/{YOUNG_REGION}"),
        "posix:/roots".to_owned(),
    ];
    assert_eq!(sorted(root), sorted(roots.to_vec()));
    let clean = shore
        .island
        .with(shore.world.ipc(&["clean", "--json"]).as_user(NOBODY))
        .run()
        .expect_code(0);
    assert_eq!(
        addresses(&clean.json_lines(), "removed"),
        [format!("posix:/{YOUNG_REGION}")]
    );
    shore.finish();
}

/// A reader that is inside a dead poster's board has its message still to copy.
#[test]
fn a_dead_posters_board_stays_as_long_as_a_reader_is_inside() {
    let Some(shore) = Shore::or_skip("inside") else {
        return;
    };
    let post = shore
        .world
        .shmeld("board")
        .args(["post", "--key", "0x1111", "--readers", "2"]);
    let poster = shore.island.with(post).input(&vec![b'x'; LONG_BYTES]).start();
    poster.wait_for_stderr("posted");
    let (output, writer) = std::io::pipe().unwrap();
    let read = shore.world.shmeld("board").args(["read", "--key", "0x1111"]);
    let reader = shore.island.with(read).stdout(writer).start();
    let inside = || shore.objects(&["--kind", "sysv-sem"])[0]["values"][2] == 1;
    eventually("the reader is inside", inside);
    poster.kill();
    eventually("the kernel has taken the token back", || {
        shore.objects(&["--kind", "sysv-sem"])[0]["values"][0] == 0
    });
    let set = &shore.objects(&["--kind", "sysv-sem"])[0];
    let proof = set["proof"].as_str().unwrap();
    assert!(
        set["state"] == "live" && proof.starts_with("its poster is dead, but readers are there: 1 inside"),
        "{set}"
    );
    assert_eq!(
        (shore.listed(&["--stale"]), shore.cleaned("removed", &[])),
        (vec![], vec![])
    );
    reader.kill();
    drop(output);
    eventually("the kernel has taken it out", || {
        shore.listed(&["--stale"]).len() == 2
    });
    assert_eq!(kinds(&shore.cleaned("removed", &[])), ["sysv:", "sysv-sem:"]);
    assert_eq!(shore.listed(&[]), [""; 0]);
    shore.finish();
}

/// Neighbours of every kind at work, and cleaners beside them. The chaos row `clean-runs` has a thousand of them.
#[test]
fn neighbours_of_every_kind_live_on_beside_cleaners() {
    let Some(shore) = Shore::or_skip("neighbours") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    shore.world.put_random("file", 300_000);
    let (server, poster) = (shore.server("/busy"), shore.poster("0x2222"));
    let holder = shore.holder(&python, "held", "0x8888");
    let shmeld = env!("CARGO_BIN_EXE_shmeld");
    let work = format!(
        "set -e; while [ ! -e stop ]; do {shmeld} get file -q --name /busy -o copy; cmp copy source/file; \
         [ \"$({shmeld} board read --key 0x2222)\" = 'a message' ]; done"
    );
    let work = format!("cd {}; {work}", shore.world.root().display());
    let busy = shore
        .island
        .with(shore.world.tool("sh").args(["-c", &work]))
        .start();
    let neighbours = [
        "posix:/held-",
        "sem:/held",
        "mq:/held",
        "posix:/shmeld.busy.gate",
        "mq:/busy",
        "sysv",
    ];
    for round in 0..20 {
        shore.shell(&format!("printf 'SHMELD1\\001' > /dev/shm/{DEAD_REGION}"));
        if round % 2 == 0 {
            let dry = ["--any-stale", "--dry-run", "--older", "0"];
            let would = shore.cleaned("would_remove", &dry);
            assert!(
                would
                    .iter()
                    .all(|address| !neighbours.iter().any(|name| address.starts_with(name))),
                "{would:?}"
            );
        }
        assert_eq!(shore.cleaned("removed", &[]), [format!("posix:/{DEAD_REGION}")]);
    }
    std::fs::write(shore.world.root().join("stop"), b"").unwrap();
    busy.finish().expect_code(0);
    assert!(server.is_running() && poster.is_running() && holder.is_running());
    let left = shore.listed(&[]);
    assert_eq!(
        left.iter().filter(|address| address.contains("/held")).count(),
        4,
        "{left:?}"
    );
    assert_eq!(
        left.iter().filter(|address| address.starts_with("sysv")).count(),
        5,
        "{left:?}"
    );
    for one in [server, poster, holder] {
        one.kill();
    }
    shore.finish();
}

/// C15: `sem_open` of the GNU C library makes `sem.XXXXXX` before it gives a semaphore its name, and leaves it if it is killed there.
#[test]
fn half_made_semaphores_are_known_by_their_names_and_asked_for() {
    let Some(shore) = Shore::or_skip("half") else {
        return;
    };
    shore.shell("head -c 32 /dev/zero > /dev/shm/sem.aB3xYz && head -c 33 /dev/zero > /dev/shm/sem.aB3xY0");
    let shown = shore
        .ipc(&["show", "sem:/aB3xYz", "sem:/aB3xY0"])
        .run()
        .expect_code(0);
    let text = shown.stdout_text();
    let found: Vec<&str> = text.lines().filter(|line| line.starts_with("part of")).collect();
    assert_eq!(found, ["part of     sem_open?"], "{text}");
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    let would = shore.cleaned("would_remove", &["--any-stale", "--dry-run", "--older", "0"]);
    assert_eq!(would, ["sem:/aB3xY0", "sem:/aB3xYz"]);
    shore.finish();
}
