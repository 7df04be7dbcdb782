//! What `shmeld ipc ls` and `show` tell those who may not see everything, and of names that nobody should see as they are.

use crate::catalogue::{at, is_held};
use crate::peers::holder_python_or_skip;
use crate::shore::Shore;
use crate::world::{NOBODY, has_or_skip};

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
    assert_eq!(hidden("sem:/peer"), serde_json::json!(["values"]));
    assert_eq!(
        hidden("mq:/hidden"),
        serde_json::json!(["owner", "mode", "messages", "used"])
    );
    assert_eq!(at(&listed, "posix:/peer-memory")["state"], "unknown");
    let sight = listed.last().unwrap();
    assert_eq!(sight["lists_queues"], false);
    assert!(sight["hidden_processes"].as_u64().unwrap() > 0, "{sight}");
    let said = nobody(&["ls"]);
    said.expect_said("of other users cannot be looked into")
        .expect_said("message queues cannot be listed: no message queue file system is mounted")
        .expect_said("hint: mount -t mqueue none /dev/mqueue");
    let shown = nobody(&["show", "sem:/peer", "mq:/hidden"]).stdout_text();
    for line in [
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
