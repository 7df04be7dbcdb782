//! `shmeld ipc doctor` on machines that lack something, made by limits and namespaces: it names what is wrong, exits with 1, and the cure
//! that it prints makes it go away when a shell is given it.

use serde_json::Value;

use crate::faults_host::can_or_skip;
use crate::processes::Program;
use crate::shore::{Shore, kinds};
use crate::world::{NOBODY, World, has_or_skip};

fn doctor(world: &World) -> Program {
    world.shmeld("ipc").args(["doctor", "--json"])
}

/// CAP_SYS_RESOURCE, which root has outside of containers.
fn has_resource_capability() -> bool {
    let privileges = shmeld_os::surroundings::privileges();
    privileges.is_some_and(|privileges| privileges.exceeds_limits)
}

/// The finding about a subject.
#[track_caller]
fn about(lines: &[Value], subject: &str) -> Value {
    let found = lines.iter().find(|line| line["subject"] == subject);
    found
        .unwrap_or_else(|| panic!("nothing about {subject}: {lines:?}"))
        .clone()
}

/// Its first cure, which root gives.
#[track_caller]
fn cure(finding: &Value) -> String {
    assert_eq!(finding["severity"], "failure", "{finding}");
    finding["cures"][0]["command"].as_str().unwrap().to_owned()
}

#[track_caller]
fn expect_cured(program: Program, subject: &str) {
    let cured = program.run().expect_code(0);
    assert_eq!(about(&cured.json_lines(), subject)["severity"], "ok", "{subject}");
}

/// Whatever else this machine is, these say so in both forms, and people read the cures below the finding.
#[test]
fn machine_on_which_tests_run_is_healthy() {
    let world = World::new("doctor");
    let lines = doctor(&world).run().expect_code(0).json_lines();
    assert!(lines.len() > 12, "{lines:?}");
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["failures"], &summary["exit_code"]),
        (&0.into(), &0.into())
    );
    let text = world
        .shmeld("ipc")
        .arg("doctor")
        .run()
        .expect_code(0)
        .stdout_text();
    assert!(
        text.lines().count() > 12 && text.ends_with("warnings\n") || text.ends_with("1 warning\n"),
        "{text}"
    );
    let explained = world
        .shmeld("ipc")
        .args(["doctor", "-q", "--explain"])
        .run()
        .expect_code(0);
    explained.expect_said("mq_open").expect_said("mq_unlink");
    world.finish();
}

#[test]
fn limit_of_queue_bytes_is_named_and_its_cure_cures_it() {
    let world = World::new("doctor-q");
    if !has_or_skip("prlimit") || !can_or_skip(&world, "--ipc", "true") {
        return;
    }
    let limited = |program: Program| program.wrapped(&["prlimit", "--msgqueue=0:0", "--"]);
    let ill = limited(doctor(&world)).run().expect_code(1);
    let finding = about(&ill.json_lines(), "RLIMIT_MSGQUEUE");
    assert!(finding["text"].as_str().unwrap().contains("0 bytes"), "{finding}");
    // A server fails as it says, and starts once it is cured.
    limited(world.server()).run().expect_code(3).expect_said("EMFILE");
    if has_resource_capability() {
        let cured = |program: Program| limited(program.after(&cure(&finding)));
        expect_cured(cured(doctor(&world)), "RLIMIT_MSGQUEUE");
        let server = cured(world.server()).start();
        server.wait_for_stderr("serving");
        server.signal("TERM");
        server.finish().expect_code(0);
    } else {
        let text = finding["text"].as_str().unwrap();
        assert!(text.contains("root may not raise it here"), "{text}");
    }
    // The soft limit is anybody's to raise.
    let soft = |program: Program| {
        program
            .as_user(NOBODY)
            .wrapped(&["prlimit", "--msgqueue=0:50000", "--"])
    };
    let ill = soft(doctor(&world)).run().expect_code(1);
    let finding = about(&ill.json_lines(), "RLIMIT_MSGQUEUE");
    assert_eq!(finding["cures"][0]["needs_root"], false, "{finding}");
    expect_cured(soft_and_cured(&world, &cure(&finding)), "RLIMIT_MSGQUEUE");
    world.finish();
}

/// The cure is given by the user itself: after it has become that user.
fn soft_and_cured(world: &World, cure: &str) -> Program {
    let script = format!("{cure} && exec \"$0\" \"$@\"");
    let shell = world
        .tool("sh")
        .args(["-c", &script])
        .args(doctor(world).as_user(NOBODY).words());
    shell
        .as_user(NOBODY)
        .wrapped(&["prlimit", "--msgqueue=0:50000", "--"])
}

#[test]
fn small_shared_memory_is_named_and_its_cure_cures_it() {
    let world = World::new("doctor-shm");
    let small = "mount -t tmpfs -o size=64k,mode=1777 none /dev/shm";
    if !can_or_skip(&world, "--mount", small) {
        return;
    }
    let alone = |program: Program, script: &str| program.after(script).wrapped(&["unshare", "--mount"]);
    let ill = alone(doctor(&world), small).run().expect_code(1);
    let finding = about(&ill.json_lines(), "space in /dev/shm");
    assert!(finding["text"].as_str().unwrap().contains("65536"), "{finding}");
    let cured = format!("{small} && {}", cure(&finding));
    expect_cured(alone(doctor(&world), &cured), "space in /dev/shm");
    // Full of names, not of bytes; and no shared memory at all.
    let names = "mount -t tmpfs -o nr_inodes=3,mode=1777 none /dev/shm && : >/dev/shm/a && : >/dev/shm/b";
    let disk = "mount --bind / /dev/shm";
    for (script, subject) in [(names, "objects in /dev/shm"), (disk, "/dev/shm")] {
        let ill = alone(doctor(&world), script).run().expect_code(1);
        let finding = about(&ill.json_lines(), subject);
        expect_cured(
            alone(doctor(&world), &format!("{script} && {}", cure(&finding))),
            subject,
        );
    }
    world.finish();
}

/// They count for whoever lacks CAP_SYS_RESOURCE; root is told of it as of others' trouble.
#[test]
fn limits_of_the_kernel_are_named_and_their_cures_cure_them() {
    let world = World::new("doctor-mq");
    let settings = [
        ("fs/mqueue/msg_max", "1", "fs.mqueue.msg_max"),
        ("fs/mqueue/msgsize_max", "512", "fs.mqueue.msgsize_max"),
        ("fs/mqueue/queues_max", "0", "fs.mqueue.queues_max"),
        ("kernel/shmmax", "100", "kernel.shmmax"),
        ("kernel/shmall", "0", "kernel.shmall"),
        ("kernel/shmmni", "0", "kernel.shmmni"),
        ("kernel/sem", "'4 32000 32 128'", "kernel.sem"),
    ];
    if !has_or_skip("sysctl") {
        return;
    }
    for (file, value, subject) in settings {
        let script = format!("echo {value} >/proc/sys/{file}");
        if !can_or_skip(&world, "--ipc", &script) {
            return;
        }
        let alone = |program: Program, script: &str| program.after(script).wrapped(&["unshare", "--ipc"]);
        let ill = alone(doctor(&world).as_user(NOBODY), &script)
            .run()
            .expect_code(1);
        let finding = about(&ill.json_lines(), subject);
        // sysctl says on standard output what it has set.
        let cured = format!("{script} && {} >&2", cure(&finding));
        expect_cured(alone(doctor(&world).as_user(NOBODY), &cured), subject);
        if subject.starts_with("fs.mqueue") {
            let (code, word) = if has_resource_capability() {
                (0, "warning")
            } else {
                (1, "failure")
            };
            let root = alone(doctor(&world), &script).run().expect_code(code);
            assert_eq!(about(&root.json_lines(), subject)["severity"], word);
        }
    }
    world.finish();
}

/// All at once, as a bad container has it: one run names each of them, in the form for people.
#[test]
fn several_things_that_are_wrong_are_named_in_one_run() {
    let world = World::new("doctor-all");
    let script = "mount -t tmpfs -o size=64k,mode=1777 none /dev/shm && echo 1 >/proc/sys/fs/mqueue/msg_max && ulimit -f 100";
    if !has_or_skip("prlimit") || !can_or_skip(&world, "--mount", "mount -t tmpfs none /dev/shm") {
        return;
    }
    let program = world
        .shmeld("ipc")
        .args(["doctor", "-q"])
        .as_user(NOBODY)
        .after(script);
    let program = program.wrapped(&["prlimit", "--msgqueue=0:0", "--", "unshare", "--mount", "--ipc"]);
    let text = program.run().expect_code(1).stdout_text();
    for line in [
        "FAILS   RLIMIT_MSGQUEUE: 0 bytes",
        "FAILS   fs.mqueue.msg_max: 1 messages a queue",
        "FAILS   space in /dev/shm: 65536 bytes",
        "FAILS   RLIMIT_FSIZE: 51200 bytes",
        "        cure: sysctl -w fs.mqueue.msg_max=10    (as root)",
        "        cure: mount -o remount,size=1073741824 /dev/shm    (as root)",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "no {line:?} in\n{text}"
        );
    }
    assert!(!text.contains("\nok"), "{text}");
    world.finish();
}

/// Nobody knew what it left.
#[test]
fn queue_of_a_killed_doctor_is_stale_and_goes() {
    let Some(shore) = Shore::or_skip("doctor-killed") else {
        return;
    };
    if !has_or_skip("strace") {
        return;
    }
    let kill = [
        "-e",
        "trace=mq_unlink",
        "-e",
        "inject=mq_unlink:signal=KILL:when=1",
    ];
    let strace = [&["strace", "-f"], &kill[..]].concat();
    let doctor = doctor(&shore.world).wrapped(&strace);
    let outcome = shore.island.with(doctor).run();
    assert_ne!(outcome.code, Some(0), "{}", outcome.story);
    let stale = shore.listed(&["--stale"]);
    assert_eq!(stale.len(), 1, "{stale:?}");
    assert!(kinds(&stale)[0].starts_with("mq:/shmeld.trial."), "{stale:?}");
    assert_eq!(shore.cleaned("removed", &[]), stale);
    assert_eq!(shore.listed(&[]), [""; 0]);
    shore.finish();
}
