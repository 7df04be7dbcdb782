//! What `shmeld ipc ls` and `clean` must not conclude: objects that look as if nobody had them, and somebody has.

use crate::peers::holder_python_or_skip;
use crate::shore::Shore;

/// `mq_open` with O_CREAT opens what is there: a program that knows nothing of us can take a dead server's queue for its own.
#[test]
fn queue_of_a_dead_server_that_another_program_has_open_stays_and_so_does_its_gate() {
    let Some(shore) = Shore::or_skip("adopted") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let left = ["posix:/shmeld.adopted.gate", "mq:/adopted"];
    shore.server("/adopted").kill();
    assert_eq!(shore.listed(&["--stale"]), left);
    let script = "import posix_ipc, sys, time\nqueue = posix_ipc.MessageQueue('/adopted', posix_ipc.O_CREAT)\n\
        sys.stderr.write('ready\\n')\ntime.sleep(1000)\n";
    let program = shore.world.tool(python.to_str().unwrap()).args(["-c", script]);
    let user = shore.island.with(program).start();
    user.wait_for_stderr("ready");
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    for object in shore.objects(&["--kind", "posix"]) {
        if object["event"] == "object" {
            let proof = object["proof"].as_str().unwrap();
            let is_told = proof.contains(&user.pid().to_string()) || proof.contains("mq:/adopted is live");
            assert!(object["state"] == "live" && is_told, "{object}");
        }
    }
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    // The start of a server of another name sweeps, too.
    let other = shore.server("/other");
    assert_eq!(shore.listed(&["--kind", "mq"]), ["mq:/adopted", "mq:/other"]);
    user.kill();
    other.kill();
    assert_eq!(kept_and_removed(&shore), (0, 4));
    assert_eq!(shore.listed(&[]), [""; 0]);

    // Who has it open by another name than that of a queue is seen by the kernel only.
    shore.server("/adopted").kill();
    shore.shell("mount -t mqueue none /mnt");
    let script = "exec 3< /mnt/adopted && echo ready >&2";
    let user = shore.world.tool("sleep").arg("1000").after(script);
    let user = shore.island.with(user).start();
    user.wait_for_stderr("ready");
    assert_eq!(shore.listed(&["--stale"]), left);
    assert_eq!(kept_and_removed(&shore), (2, 0));
    user.kill();
    assert_eq!(kept_and_removed(&shore), (0, 2));
    shore.finish();
}

/// How many objects a run of the cleaner kept, and removed.
fn kept_and_removed(shore: &Shore) -> (usize, usize) {
    let lines = shore.ipc(&["clean", "--json"]).run().expect_code(0).json_lines();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    (count("kept"), count("removed"))
}
