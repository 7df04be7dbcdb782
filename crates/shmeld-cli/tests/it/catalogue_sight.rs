//! What `shmeld ipc ls` and `show` tell those who may not see everything, and of names that nobody should see as they are.

use crate::catalogue::{at, is_held};
use crate::peers::holder_python_or_skip;
use crate::shore::Shore;
use crate::world::{NOBODY, World, can_unshare_or_skip, eventually, has_or_skip, is_root_or_skip};

/// What permission hides is marked as hidden. The same objects are there for everybody.
#[test]
fn an_ordinary_user_is_told_what_cannot_be_seen() {
    let Some(shore) = Shore::or_skip("ordinary").filter(|_| has_or_skip("setpriv")) else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let server = shore.server("/hidden");
    let holder = shore.holder(&python, "peer", "0x6666");
    let nobody = |words: &[&str]| {
        shore
            .island
            .with(shore.world.ipc(words).as_user(NOBODY))
            .run()
            .expect_code(0)
    };
    let listed = nobody(&["ls", "--json"]).json_lines();
    let of_root = shore.objects(&["--kind", "posix,sysv"]);
    for object in &of_root[..of_root.len() - 1] {
        let address = object["address"].as_str().unwrap();
        // Queues cannot be listed without a mount; those of servers are known by their gates.
        if address != "mq:/peer" {
            assert_eq!(at(&listed, address)["kind"], object["kind"]);
        }
    }
    let hidden = |address: &str| at(&listed, address)["hidden"].clone();
    assert_eq!(hidden("sem:/peer"), serde_json::json!(["values", "holders"]));
    assert_eq!(
        hidden("mq:/hidden"),
        serde_json::json!(["owner", "mode", "messages", "used", "holders"])
    );
    // A holder that cannot be seen is not absent either.
    let attached = listed.iter().find(|object| object["kind"] == "sysv-shm").unwrap();
    assert_eq!(
        (&attached["attached"], &attached["hidden"]),
        (&1.into(), &serde_json::json!(["holders"]))
    );
    assert_eq!(at(&listed, "posix:/peer-memory")["state"], "unknown");
    let sight = listed.last().unwrap();
    assert_eq!(sight["lists_queues"], false);
    assert!(sight["hidden_processes"].as_u64().unwrap() > 0, "{sight}");
    let said = nobody(&["ls"]);
    let table = said.stdout_text();
    said.expect_said("of other users cannot be looked into")
        .expect_said("message queues cannot be listed: no message queue file system is mounted")
        .expect_said("hint: mount -t mqueue none /dev/mqueue");
    let row = table.lines().find(|line| line.contains("posix:/peer-memory"));
    assert_eq!(row.unwrap().split('\t').nth(6), Some("hidden"), "{table}");
    let shown = nobody(&["show", "sem:/peer", "mq:/hidden", "posix:/peer-memory"]).stdout_text();
    for line in [
        "processes   hidden: others may have it whom we may not look into",
        "values      hidden",
        "messages    hidden",
        "owner       hidden",
        "part of     server /hidden",
    ] {
        assert!(shown.lines().any(|said| said == line), "no {line:?} in\n{shown}");
    }
    server.kill();
    holder.kill();
    shore.finish();
}

/// The queues of one's own servers are seen without a mount, and without being root.
#[test]
fn queues_of_own_servers_are_seen_without_a_mount() {
    let Some(shore) = Shore::or_skip("unmounted").filter(|_| has_or_skip("setpriv")) else {
        return;
    };
    let serve = shore
        .world
        .shmeld("serve")
        .args(["--name", "/mine"])
        .arg(shore.world.source(""));
    let server = shore.island.with(serve.as_user(NOBODY)).start();
    server.wait_for_stderr("serving");
    let list = shore.world.ipc(&["ls", "--json", "--kind", "mq"]).as_user(NOBODY);
    let listed = shore.island.with(list).run().expect_code(0).json_lines();
    let queue = at(&listed, "mq:/mine");
    assert_eq!(
        (&queue["messages"], &queue["messages_max"], &queue["state"]),
        (&0.into(), &10.into(), &"live".into())
    );
    assert!(is_held(queue, server.pid(), "open"), "{queue}");
    server.kill();
    shore.finish();
}

/// Names of strangers can have any bytes. They are shown, and not done.
#[test]
fn names_of_strangers_drive_no_terminal() {
    let Some(shore) = Shore::or_skip("names") else {
        return;
    };
    shore.shell("printf x > \"$(printf '/dev/shm/a\\033[2J\\nb')\"");
    let listed = shore.ipc(&["ls"]).run().expect_code(0).stdout_text();
    assert!(listed.contains("posix:/a\\x1b[2J\\nb\t"), "{listed}");
    let address = "posix:/a\\x1b[2J\\nb";
    let shown = shore.ipc(&["show", address]).run().expect_code(0).stdout_text();
    assert!(shown.contains(address) && !shown.contains('\u{1b}'), "{shown}");
    shore.finish();
}

/// Anybody can make a gate beside somebody else's queue. It is no proof against that queue.
#[test]
fn gate_of_another_user_says_nothing_about_a_queue() {
    let Some(shore) = Shore::or_skip("deputy") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    shore.holder(&python, "victim", "0x9999").kill();
    let gate = "/dev/shm/shmeld.victim.gate";
    shore.shell(&format!(
        ": > {gate} && chmod 600 {gate} && chown {NOBODY} {gate}"
    ));
    assert_eq!(shore.listed(&["--stale"]), ["posix:/shmeld.victim.gate"]);
    let cleaned = shore.cleaned("removed", &[]);
    // The gate cannot go either, as the server's sweep has it: its queue is another user's.
    assert_eq!(
        (cleaned, shore.listed(&["--kind", "mq"])),
        (vec![], vec!["mq:/victim".to_owned()])
    );
    shore.finish();
}

/// A mounted file system shows the names of all queues to everybody; what their modes hide is marked.
#[test]
fn a_mount_shows_queues_of_others_with_what_their_modes_hide() {
    let Some(shore) = Shore::or_skip("mounted").filter(|_| has_or_skip("setpriv")) else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let holder = shore.holder(&python, "peer", "0xaaaa");
    shore.shell("mount -t mqueue none /mnt");
    let list = shore.world.ipc(&["ls", "--json", "--kind", "mq"]).as_user(NOBODY);
    let listed = shore.island.with(list).run().expect_code(0).json_lines();
    let queue = at(&listed, "mq:/peer");
    assert_eq!((&queue["mode"], &queue["uid"]), (&"0600".into(), &0.into()));
    let hidden = serde_json::json!(["messages", "used", "holders"]);
    assert_eq!(queue["hidden"], hidden);
    assert_eq!(listed.last().unwrap()["lists_queues"], true);
    holder.kill();
    shore.finish();
}

/// A region has lost its name by the time it is in use. It is listed as what it is: a session, with its server.
#[test]
fn sessions_are_listed_with_their_server_and_their_client() {
    let Some(shore) = Shore::or_skip("session") else {
        return;
    };
    shore.world.put_random("large", 3 << 20);
    let server = shore.server("/frames");
    let (output, writer) = std::io::pipe().unwrap();
    // Nobody reads what it writes: the session lasts as long as the test wants.
    let get = shore
        .world
        .shmeld("get")
        .args(["large", "--name", "/frames", "-o", "-"]);
    let client = shore.island.with(get).stdout(writer).start();
    let session = || {
        let objects = shore.objects(&["--kind", "shm"]);
        objects
            .into_iter()
            .find(|object| object["belongs"] == "session of /frames")
    };
    eventually("the server has attached", || session().is_some());
    let session = session().unwrap();
    assert!(
        session["address"]
            .as_str()
            .unwrap()
            .starts_with("unlinked-posix:#"),
        "{session}"
    );
    assert!(
        session["former_name"].as_str().unwrap().starts_with("shmeld."),
        "{session}"
    );
    assert!(
        is_held(&session, server.pid(), "mapped") && is_held(&session, client.pid(), "mapped"),
        "{session}"
    );
    assert_eq!(
        (&session["state"], &session["mode"]),
        (&"live".into(), &"0600".into())
    );
    drop(output);
    client.kill();
    server.kill();
    shore.finish();
}

/// A /proc that hides the processes of others, or is not there at all, costs what it would have shown, and that is said.
#[test]
fn what_proc_does_not_show_is_said() {
    let world = World::new("proc");
    if !is_root_or_skip() || !can_unshare_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let list = |words: &[&str]| world.ipc(&[&["ls"], words].concat());
    let hiding = list(&["--json"])
        .as_user(NOBODY)
        .after("mount -t proc -o hidepid=2 none /proc");
    let hiding = hiding.wrapped(&["unshare", "--mount"]).run().expect_code(0);
    let sight = hiding.json_lines().pop().unwrap();
    assert_eq!(sight["sees_all_processes"], false, "{sight}");
    let missing = list(&[]).after("mount -t tmpfs none /proc");
    let missing = missing.wrapped(&["unshare", "--mount"]).run().expect_code(1);
    missing
        .expect_said("System V segments: open /proc/sysvipc/shm: no such file or directory (ENOENT)")
        .expect_said("only processes of this container, or of this user, can be seen");
    world.finish();
}
