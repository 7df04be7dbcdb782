//! `shmeld ipc ls` and `show` on a machine of their own: beside the tools of the system, in numbers, in motion.

use serde_json::Value;

use crate::catalogue::{at, is_held};
use crate::island::Island;
use crate::peers::holder_python_or_skip;
use crate::shore::Shore;
use crate::world::{NOBODY, World, eventually, has_or_skip};

impl Shore {
    /// What a program of the system says, word by word, without its first line.
    fn words_of(&self, program: &str, arguments: &[&str]) -> Vec<Vec<String>> {
        let outcome = self
            .island
            .with(self.world.tool(program).args(arguments))
            .run()
            .expect_code(0);
        let text = outcome.stdout_text();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        text.lines().skip(1).map(words).collect()
    }

    fn line_of(&self, program: &str, script: &str) -> String {
        let outcome = self
            .island
            .with(self.world.tool(program).args(["-c", script]))
            .run();
        outcome.expect_code(0).stdout_text().trim().to_owned()
    }
}

/// multiprocessing.shared_memory, posix_ipc and sysv_ipc make what the catalogue, ipcs, lsipc and the file systems show alike.
#[test]
fn objects_of_python_programs_agree_with_the_tools_of_the_system() {
    let Some(shore) = Shore::or_skip("python") else {
        return;
    };
    let Some(python) = holder_python_or_skip().filter(|_| has_or_skip("lsipc")) else {
        return;
    };
    let holder = shore.holder(&python, "peer", "0x5555");
    let made: Value = serde_json::from_slice(&shore.holder_said(&holder)).unwrap();
    let number = |what: &str| made[what].as_u64().unwrap();
    let pid = u32::try_from(number("pid")).unwrap();
    let listed = shore.objects(&[]);
    for (address, size, mode, how) in [
        ("posix:/peer-frames".to_owned(), 5000, "0600", "mapped"),
        ("posix:/peer-memory".to_owned(), 12345, "0640", "open"),
        ("sem:/peer".to_owned(), 32, "0600", "mapped"),
        ("mq:/peer".to_owned(), 400, "0600", "open"),
        (format!("memfd:#{}", number("memfd")), 8192, "0777", "open"),
        (format!("sysv:#{}", number("segment")), 5678, "0660", "attached"),
    ] {
        let object = at(&listed, &address);
        assert_eq!(
            (&object["size"], &object["mode"]),
            (&size.into(), &mode.into()),
            "{object}"
        );
        assert!(is_held(object, pid, how) && object["state"] == "live", "{object}");
    }
    // By lsipc: identifier, size, attachments, creator, mode.
    let columns = ["-m", "-b", "-r", "-o", "ID,SIZE,NATTCH,CPID,PERMS"];
    let segments = shore.words_of("lsipc", &columns);
    let segment = at(&listed, &format!("sysv:#{}", number("segment")));
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0][1..3], ["5678", &segment["attached"].to_string()]);
    assert!(segments[0][3] == pid.to_string() && is_held(segment, pid, "creator"));
    // By ipcs: key, identifier, owner, mode, and what the kind counts.
    let set = at(&listed, &format!("sysv-sem:#{}", number("set")));
    let sets = shore.words_of("ipcs", &["-s"]);
    let line = sets
        .iter()
        .find(|line| line.first().is_some_and(|key| key == "0x00005555"))
        .unwrap();
    assert_eq!((line[3].as_str(), line[4].as_str()), ("600", "1"));
    assert_eq!(
        (&set["values"], &set["semaphores"]),
        (&serde_json::json!([6]), &1.into())
    );
    let queue = at(&listed, &format!("sysv-msg:#{}", number("messages")));
    let queues = shore.words_of("ipcs", &["-q"]);
    let line = queues
        .iter()
        .find(|line| line.first().is_some_and(|key| key == "0x00005555"))
        .unwrap();
    assert_eq!(
        line[3..6],
        ["620", &queue["used"].to_string(), &queue["messages"].to_string()]
    );
    let shm = at(&listed, "posix:/peer-memory");
    let stat = shore.line_of("sh", "stat -c '%s %i' /dev/shm/peer-memory");
    assert_eq!(stat, format!("{} {}", shm["size"], shm["inode"]));
    let text = shore.line_of("sh", "mount -t mqueue none /mnt && cat /mnt/peer && umount /mnt");
    assert!(
        text.starts_with(&format!("QSIZE:{} ", at(&listed, "mq:/peer")["used"])),
        "{text}"
    );
    holder.kill();
    shore.finish();
}

#[test]
fn ipcmk_makes_what_is_listed() {
    let Some(shore) = Shore::or_skip("ipcmk").filter(|_| has_or_skip("ipcmk")) else {
        return;
    };
    shore.shell("ipcmk -M 10000 -p 0640 && ipcmk -S 3 && ipcmk -Q");
    let listed = shore.objects(&["--kind", "sysv"]);
    let kinds: Vec<&Value> = listed.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds[..3], ["sysv-shm", "sysv-sem", "sysv-msg"]);
    assert_eq!(
        (&listed[0]["size"], &listed[0]["mode"]),
        (&10000.into(), &"0640".into())
    );
    assert_eq!(listed[1]["values"], serde_json::json!([0, 0, 0]));
    shore.finish();
}

#[test]
fn a_table_fits_its_terminal_and_a_pipe_gets_tabs() {
    let Some(shore) = Shore::or_skip("table").filter(|_| has_or_skip("script")) else {
        return;
    };
    shore.shell(": > /dev/shm/a-very-long-name-of-an-object-that-does-not-fit-into-any-column-of-a-narrow-terminal && ipcmk -Q");
    shore.shell("printf 'SHMELD1' > /dev/shm/日本語の名前の長い共有メモリ日本語の名前の長い共有メモリ");
    let piped = shore.ipc(&["ls"]).run().expect_code(0).stdout_text();
    for line in piped.lines() {
        assert_eq!(line.matches('\t').count(), 8, "{line}");
    }
    for columns in [5, 20, 40, 60, 80, 132] {
        let command = format!(
            "stty cols {columns}; {} ipc ls --holders --sort age 2>/dev/null",
            env!("CARGO_BIN_EXE_shmeld")
        );
        let script = shore.world.tool("script").args(["-qec", &command, "/dev/null"]);
        let outcome = shore.island.with(script).run().expect_code(0);
        let text = outcome.stdout_text();
        for line in text.lines().filter(|line| !line.starts_with("    ")) {
            let width = ratatui::text::Span::raw(line.trim_end()).width();
            assert!(width <= columns, "{columns}: {line}");
        }
        let heading = text.lines().next().unwrap();
        assert!(heading.starts_with("STATE") == (columns > 20), "{text}");
        assert!(
            heading.contains("AGE") == (columns > 20) && text.contains('…'),
            "{text}"
        );
    }
    shore.finish();
}

#[test]
fn objects_come_in_the_order_and_the_choice_that_is_asked_for() {
    let Some(shore) = Shore::or_skip("order").filter(|_| has_or_skip("ipcmk")) else {
        return;
    };
    shore.shell("head -c 10 /dev/zero > /dev/shm/a; head -c 30 /dev/zero > /dev/shm/b; head -c 20 /dev/zero > /dev/shm/c");
    shore.shell(&format!("ipcmk -S 1; chown {NOBODY} /dev/shm/b"));
    assert_eq!(
        shore.listed(&["--kind", "shm", "--sort", "size"]),
        ["posix:/b", "posix:/c", "posix:/a"]
    );
    assert_eq!(
        shore.listed(&["--kind", "shm", "--sort", "owner"]),
        ["posix:/a", "posix:/c", "posix:/b"]
    );
    assert_eq!(
        shore.listed(&["--kind", "shm", "--mine"]),
        ["posix:/a", "posix:/c"]
    );
    let holder = shore
        .world
        .tool("sleep")
        .arg("1000")
        .after("echo ready >&2 && exec 3< /dev/shm/c");
    let holder = shore.island.with(holder).start();
    holder.wait_for_stderr("ready");
    let is_held = || shore.listed(&["--kind", "shm", "--sort", "holders"])[0] == "posix:/c";
    eventually("it is open", is_held);
    let tree = shore
        .ipc(&["ls", "--tree", "--kind", "shm"])
        .run()
        .expect_code(0)
        .stdout_text();
    let lines: Vec<&str> = tree.lines().collect();
    assert_eq!(lines[0], format!("{} (sleep), uid 0", holder.pid()));
    assert_eq!(lines[1], "└─ posix:/c 20B: open");
    assert_eq!(lines[2], "nobody who can be seen");
    holder.kill();
    shore.finish();
}

/// 10,000 objects, 8,000 of them in the memory of one process.
#[test]
fn ten_thousand_objects_are_listed_in_less_than_a_second() {
    let Some(shore) = Shore::or_skip("many") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let script = "import mmap, os, sys, time\nkept = []\nfor number in range(10000):\n    \
        memory = os.open(f'/dev/shm/many-{number}', os.O_CREAT | os.O_RDWR, 0o600)\n    \
        os.ftruncate(memory, 4096)\n    \
        if number < 8000: kept.append(mmap.mmap(memory, 4096, mmap.MAP_SHARED))\n    \
        os.close(memory)\nsys.stderr.write('ready\\n')\ntime.sleep(1000)\n";
    // Python's mmap keeps a descriptor of its own of each file.
    let holder = shore
        .world
        .tool(python.to_str().unwrap())
        .args(["-c", script])
        .after("ulimit -n 20000");
    let holder = shore.island.with(holder).start();
    holder.wait_for_stderr("ready");
    // By the CPU's clock: other tests run at the same time.
    let timed = format!(
        "\"$0\" \"$@\" > {} && times >&2 && true",
        shore.world.root().join("list").display()
    );
    let list = shore.world.ipc(&["ls"]).after(&timed);
    let outcome = shore.island.with(list).run().expect_code(0);
    let children = outcome
        .stderr
        .lines()
        .filter(|line| line.contains('m') && line.ends_with('s'))
        .nth(1)
        .unwrap()
        .to_owned();
    let seconds: f64 = children.split_whitespace().map(seconds).sum();
    assert!(seconds < 1.0, "{seconds} s of CPU time");
    let listed = shore.listed(&["--kind", "shm"]);
    assert_eq!(listed.len(), 10_000);
    holder.kill();
    shore.finish();
}

/// `0m0.210000s`, as a shell says it.
fn seconds(time: &str) -> f64 {
    let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
}

/// Processes and objects that come and go while they are looked at are normal.
#[test]
fn what_vanishes_during_the_look_is_no_error() {
    let world = World::new("churn");
    let Some(island) = Island::or_skip(&world) else {
        return;
    };
    let churn =
        "while :; do : > /dev/shm/x; sh -c 'exec 3< /dev/shm/x; :' 2> /dev/null; rm -f /dev/shm/x; done";
    let churn = island.with(world.tool("sh").args(["-c", churn])).start();
    for _ in 0..40 {
        let list = world.ipc(&["ls", "--json", "--any-stale"]);
        let lines = island.with(list).run().expect_code(0).json_lines();
        assert_eq!(lines.last().unwrap()["failures"], serde_json::json!([]));
    }
    churn.kill();
    island.leave();
    world.finish();
}

/// Everything about one object, of each kind; what is not there is told as that.
#[test]
fn show_tells_everything_about_one_object() {
    let Some(shore) = Shore::or_skip("show") else {
        return;
    };
    let Some(python) = holder_python_or_skip() else {
        return;
    };
    let holder = shore.holder(&python, "peer", "0x7777");
    let made: Value = serde_json::from_slice(&shore.holder_said(&holder)).unwrap();
    let memfd = format!("memfd:#{}", made["memfd"]);
    let addresses = [
        "posix:/peer-frames",
        "sem:/peer",
        "mq:peer",
        "sysv:0x7777",
        "sysv-sem:0x7777",
        "sysv-msg:0x7777",
        &memfd,
    ];
    let shown = shore
        .ipc(&[&["show"], &addresses[..]].concat())
        .run()
        .expect_code(0)
        .stdout_text();
    let pid = &made["pid"];
    let listed = shore.objects(&[]);
    let namespace = |address| {
        format!(
            "namespace   {}",
            at(&listed, address)["namespace"].as_str().unwrap()
        )
    };
    for line in [
        "kind        POSIX segment".to_owned(),
        format!("processes   {pid} (python), uid 0: mapped, open; 8.0 KiB"),
        "kind        POSIX semaphore".to_owned(),
        "values      3".to_owned(),
        "kind        POSIX message queue".to_owned(),
        "messages    1 of 4, each of at most 100 bytes".to_owned(),
        "kind        System V segment".to_owned(),
        format!("processes   {pid} (python), uid 0: attached, creator, last user; 8.0 KiB"),
        "kind        System V set of semaphores".to_owned(),
        "kind        System V message queue".to_owned(),
        "kind        memfd".to_owned(),
        namespace("posix:/peer-frames"),
        namespace("sysv-msg:#0"),
        "name        peer".to_owned(),
    ] {
        assert!(shown.lines().any(|said| said == line), "no {line:?} in\n{shown}");
    }
    for address in [
        "sem:/none",
        "mq:/none",
        "sysv-sem:#2147483647",
        "memfd:#1",
        "unlinked-posix:#1",
    ] {
        let refused = shore.ipc(&["show", address]).run().expect_code(3);
        refused
            .expect_line(&format!(
                "shmeld: show {address}: no such file or directory (ENOENT)"
            ))
            .expect_said("hint: shmeld ipc ls lists what is there");
    }
    holder.kill();
    shore.finish();
}

/// Memory that lost its name still takes space in /dev/shm, and no directory shows it.
#[test]
fn what_was_unlinked_is_listed_as_long_as_somebody_has_it() {
    let Some(shore) = Shore::or_skip("unlinked") else {
        return;
    };
    let script = "head -c 5000 /dev/zero > /dev/shm/gone && exec 3< /dev/shm/gone && rm /dev/shm/gone && echo ready >&2";
    let holder = shore
        .island
        .with(shore.world.tool("sleep").arg("1000").after(script))
        .start();
    holder.wait_for_stderr("ready");
    let listed = shore.objects(&["--kind", "shm"]);
    let gone = &listed[0];
    assert!(
        gone["address"].as_str().unwrap().starts_with("unlinked-posix:#"),
        "{gone}"
    );
    assert_eq!(
        (&gone["former_name"], &gone["size"]),
        (&"gone".into(), &5000.into())
    );
    assert!(is_held(gone, holder.pid(), "open"), "{gone}");
    holder.kill();
    shore.finish();
}
