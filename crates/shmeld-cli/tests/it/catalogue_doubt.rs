//! What `shmeld ipc ls` and `clean` must not conclude: objects that look as if nobody had them, and somebody has.

use crate::catalogue::{at, is_held};
use crate::peers::holder_python_or_skip;
use crate::processes::Running;
use crate::shore::Shore;
use crate::world::{NOBODY, eventually, has_or_skip};

impl Shore {
    /// A Python program that runs until it is killed.
    fn script(&self, script: &str) -> Option<Running> {
        let python = holder_python_or_skip()?;
        let script = format!("{script}\nsys.stderr.write('ready\\n')\ntime.sleep(1000)\n");
        let program = self
            .world
            .tool(python.to_str().unwrap())
            .args(["-c", script.as_str()]);
        let running = self.island.with(program).start();
        running.wait_for_stderr("ready");
        Some(running)
    }

    /// What a user who may not see everything is told about an object, with a /proc that is mounted with these options.
    fn seen_by_nobody(&self, proc_options: &str, address: &str) -> serde_json::Value {
        let list = self.world.ipc(&["ls", "--json", "--any-stale"]).as_user(NOBODY);
        let list = list.after(&format!("mount -t proc -o {proc_options} none /proc"));
        let list = self.island.with(list.wrapped(&["unshare", "--mount"]));
        let any_stale = list.run().expect_code(0).json_lines();
        assert!(
            any_stale.iter().all(|object| object["address"] != address),
            "{any_stale:?}"
        );
        let list = self.world.ipc(&["ls", "--json"]).as_user(NOBODY);
        let list = list.after(&format!("mount -t proc -o {proc_options} none /proc"));
        let list = self.island.with(list.wrapped(&["unshare", "--mount"]));
        at(&list.run().expect_code(0).json_lines(), address).clone()
    }
}

/// The beginning of a Python program that uses single semaphores of large sets.
const SETS: &str = "import ctypes, os, sys, time
libc = ctypes.CDLL(None)
def add(set, index):
    assert libc.semop(set, (ctypes.c_short * 3)(index, 1, 0), ctypes.c_size_t(1)) == 0
";

/// `mq_open` with O_CREAT opens what is there: a program that knows nothing of us can take a dead server's queue for its own.
#[test]
fn queue_of_a_dead_server_that_another_program_has_open_stays_and_so_does_its_gate() {
    let Some(shore) = Shore::or_skip("adopted") else {
        return;
    };
    let left = ["posix:/shmeld.adopted.gate", "mq:/adopted"];
    shore.server("/adopted").kill();
    assert_eq!(shore.listed(&["--stale"]), left);
    let script = "import posix_ipc, sys, time\nqueue = posix_ipc.MessageQueue('/adopted', posix_ipc.O_CREAT)";
    let Some(user) = shore.script(script) else { return };
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

/// The name alone makes no queue a server's: a dead one's can have been removed, and another program's be made since.
#[test]
fn queue_that_no_server_made_stays_beside_the_gate_of_a_dead_one() {
    let Some(shore) = Shore::or_skip("renewed") else {
        return;
    };
    shore.server("/renewed").kill();
    let script = "import posix_ipc, sys, time
posix_ipc.unlink_message_queue('/renewed')
posix_ipc.MessageQueue('/renewed', posix_ipc.O_CREX, max_messages=10, max_message_size=2048).send(b'job')";
    let Some(program) = shore.script(script) else {
        return;
    };
    program.kill();
    assert_eq!(shore.listed(&["--stale"]), ["posix:/shmeld.renewed.gate"]);
    assert_eq!(shore.cleaned("removed", &[]), ["posix:/shmeld.renewed.gate"]);
    assert_eq!(shore.listed(&[]), ["mq:/renewed"]);
    shore.finish();
}

/// How many objects a run of the cleaner kept, and removed.
fn kept_and_removed(shore: &Shore) -> (usize, usize) {
    let lines = shore.ipc(&["clean", "--json"]).run().expect_code(0).json_lines();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    (count("kept"), count("removed"))
}

/// Of the semaphores of a set each has a last user of its own, and of a large one not all are asked.
#[test]
fn set_whose_last_users_are_not_all_known_is_in_doubt() {
    let Some(shore) = Shore::or_skip("large-set") else {
        return;
    };
    let script = "set = libc.semget(0, 100, 0o600 | 0o1000)
if os.fork() == 0:
    add(set, 0)
    os._exit(0)
os.wait()
add(set, 80)";
    let Some(user) = shore.script(&format!("{SETS}{script}")) else {
        return;
    };
    let set = &shore.objects(&["--kind", "sysv-sem"])[0];
    assert_eq!(set["state"], "unknown", "{set}");
    assert_eq!(shore.listed(&["--any-stale"]), [""; 0]);
    user.kill();
    shore.finish();
}

/// A process that /proc hides lives nevertheless.
#[test]
fn last_user_of_a_set_whom_proc_hides_is_not_gone() {
    let Some(shore) = Shore::or_skip("hidden-user").filter(|_| has_or_skip("setpriv")) else {
        return;
    };
    // Made by another user, whose process is gone.
    let script = format!(
        "if os.fork() == 0:
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY}); os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    libc.semget(0x77, 1, 0o600 | 0o1000)
    os._exit(0)
os.wait()
add(libc.semget(0x77, 1, 0), 0)"
    );
    let Some(user) = shore.script(&format!("{SETS}{script}")) else {
        return;
    };
    let address = shore.listed(&["--kind", "sysv-sem"]).remove(0);
    let set = shore.seen_by_nobody("hidepid=2", &address);
    let expected = format!(
        "the kernel does not count who uses it; process {} (?), which used it last, lives",
        user.pid()
    );
    assert_eq!(
        (&set["state"], &set["proof"]),
        (&"unknown".into(), &expected.into())
    );
    user.kill();
    shore.finish();
}

/// A /proc that lists the processes of others and shows nothing of them hides them.
#[test]
fn processes_that_proc_shows_nothing_of_are_hidden() {
    let Some(shore) = Shore::or_skip("hidden").filter(|_| has_or_skip("setpriv")) else {
        return;
    };
    let script = format!("exec 3> /dev/shm/held && chown {NOBODY} /dev/shm/held && echo ready >&2");
    let holder = shore.world.tool("sleep").arg("1000").after(&script);
    let holder = shore.island.with(holder).start();
    holder.wait_for_stderr("ready");
    let held = shore.seen_by_nobody("hidepid=1", "posix:/held");
    assert_eq!(
        (&held["state"], &held["proof"]),
        (
            &"unknown".into(),
            &"no process that we may look into has it open or mapped; others may".into()
        )
    );
    holder.kill();
    shore.finish();
}

/// A program in a `chroot` has the same memory under a longer name.
#[test]
fn descriptor_of_a_mount_elsewhere_is_seen() {
    let Some(shore) = Shore::or_skip("elsewhere") else {
        return;
    };
    let root = shore.world.root().join("root/dev/shm");
    std::fs::create_dir_all(&root).unwrap();
    let root = root.display();
    shore.shell(&format!("mount --bind /dev/shm {root}"));
    let script = format!("exec 3> {root}/held && echo ready >&2");
    let holder = shore.world.tool("sleep").arg("1000").after(&script);
    let holder = shore.island.with(holder).start();
    holder.wait_for_stderr("ready");
    let listed = shore.objects(&["--kind", "shm"]);
    let held = at(&listed, "posix:/held");
    assert!(is_held(held, holder.pid(), "open"), "{held}");
    holder.kill();
    shore.finish();
}

/// The first thread of a program can end before the others; /proc shows a dead process without memory then.
#[test]
fn program_whose_first_thread_has_ended_holds_what_it_has() {
    let Some(shore) = Shore::or_skip("thread").filter(|_| has_or_skip("python3")) else {
        return;
    };
    let script = "import ctypes, mmap, os, sys, threading, time
def hold():
    memory = os.open('/dev/shm/held', os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(memory, 4096)
    kept = mmap.mmap(memory, 4096)
    sys.stderr.write('ready\\n')
    time.sleep(1000)
threading.Thread(target=hold).start()
EXIT_OF_ONE_THREAD = 60
ctypes.CDLL(None).syscall(EXIT_OF_ONE_THREAD, 0)
";
    let holder = shore.world.tool("python3").args(["-c", script]);
    let holder = shore.island.with(holder).start();
    holder.wait_for_stderr("ready");
    let stat = format!("/proc/{}/stat", holder.pid());
    eventually("its first thread has ended", || {
        std::fs::read_to_string(&stat).unwrap().contains(") Z ")
    });
    let held = &shore.objects(&["--kind", "shm"])[0];
    assert!(
        is_held(held, holder.pid(), "mapped") && is_held(held, holder.pid(), "open"),
        "{held}"
    );
    holder.kill();
    shore.finish();
}

/// What is removed is said, with the proof. Where that cannot be said, the rest stays, and one complaint is enough.
#[test]
fn clean_stops_when_it_cannot_say_what_it_removes() {
    let Some(shore) = Shore::or_skip("unheard") else {
        return;
    };
    shore.shell(
        "for one in 1 2 3 4 5 6 7 8 9; do printf 'SHMELD1\\001' > /dev/shm/shmeld.0123456789abcdef0123456789abcde$one; done",
    );
    let clean = shore
        .ipc(&["clean"])
        .stdout(std::fs::File::create("/dev/full").unwrap());
    let outcome = clean.run().expect_code(1);
    assert_eq!(
        outcome.stderr.matches("write standard output").count(),
        1,
        "{}",
        outcome.stderr
    );
    assert_eq!(shore.listed(&["--stale"]).len(), 8);
    assert_eq!(shore.cleaned("removed", &[]).len(), 8);
    shore.finish();
}
