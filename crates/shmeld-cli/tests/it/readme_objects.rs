//! Plays of README's rows about messages, segments and images, and about all the objects there are: see `readme.rs`.

use crate::need::{eventually, has_or_skip};
use crate::peers::{compile_or_skip, holder_python_or_skip};
use crate::readme::{By, Paper, Play, blocks};
use crate::top::Terminal;
use crate::world::NOBODY;

pub const OBJECTS: [Play; 9] = [
    ("a message for three readers", By::Play(board)),
    ("the same with a textbook's", By::Play(textbook)),
    ("make a segment", By::Play(make)),
    ("fill it, read it", By::Play(fill)),
    ("who made it", By::Play(who_made_it)),
    ("hold it, remove it", By::Play(hold)),
    ("provide the pictures", By::Play(pictures)),
    ("a message board at work", By::Play(board_at_work)),
    ("images between processes", By::Play(images_at_work)),
];

pub const CATALOGUE: [Play; 6] = [
    ("everything that shares", By::Play(everything)),
    ("all about one", By::Play(all_about_one)),
    ("what killed processes left", By::Play(stale)),
    ("the same live", By::Play(live)),
    ("what of this machine", By::Play(doctor)),
    ("what other programs left", By::Play(left_by_others)),
];

fn board(paper: &Paper) {
    let poster = paper.start(&paper.take("shmeld board post"), "posted");
    let read = paper.take("shmeld board read");
    for _ in 0..3 {
        assert_eq!(paper.printed(&read), "hello");
    }
    poster
        .finish()
        .expect_code(0)
        .expect_said("3 of 3 readers have the message");
}

fn textbook(paper: &Paper) {
    let read = paper.take("shmeld board read");
    let world = &paper.shore.world;
    let Some(program) = compile_or_skip(world, "board_server") else {
        return;
    };
    let server = paper
        .shore
        .island
        .with(world.tool(program.to_str().unwrap()))
        .start();
    assert_eq!(paper.printed(&read), "abcdefghijklmnopqrstuvwxyz");
    server.finish().expect_code(0);
}

const MAKE: &str = "shmeld ipc create sysv:0x1234 --size 4096";

fn make(paper: &Paper) {
    let sysv = paper.take(MAKE);
    let posix = paper.take("shmeld ipc create posix:/frames");
    paper
        .run(&sysv)
        .expect_said("created sysv:0x00001234: 4096 bytes");
    paper.run(&sysv).expect_said("opened sysv:0x00001234: 4096 bytes");
    paper
        .run(&posix)
        .expect_said("created posix:/frames: 1048576 bytes");
}

fn fill(paper: &Paper) {
    paper.run(MAKE);
    std::fs::copy(paper.path("DIR/a.log"), paper.path("FILE")).unwrap();
    paper
        .run(&paper.take("shmeld ipc write"))
        .expect_said("wrote 782 bytes");
    let expected = &std::fs::read(paper.path("FILE")).unwrap()[..27];
    assert_eq!(paper.run(&paper.take("shmeld ipc read")).stdout, expected);
}

fn who_made_it(paper: &Paper) {
    paper.run(MAKE);
    let shown = paper.printed(&paper.take("shmeld ipc show"));
    for field in ["creator ", "attached  ", "attached at", "changed at"] {
        assert!(shown.contains(&format!("\n{field}")), "{field} in\n{shown}");
    }
}

fn hold(paper: &Paper) {
    let (hold, remove) = (paper.take("shmeld ipc attach"), paper.take("shmeld ipc rm"));
    if !has_or_skip("ipcmk") {
        return;
    }
    // The kernel counts from 0, and this island is new.
    paper.shore.shell("for each in $(seq 18); do ipcmk -M 4096; done");
    let holder = paper.program(&hold).start();
    eventually("it is held", || {
        let shown = paper.printed("shmeld ipc show sysv:#17");
        shown
            .lines()
            .any(|line| line.split_whitespace().eq(["attached", "1"]))
    });
    // 10 seconds are long.
    holder.signal("TERM");
    holder.finish().expect_code(143);
    paper.run(&remove).expect_said("removed sysv:#17");
    paper.program("shmeld ipc show sysv:#17").run().expect_code(3);
}

fn pictures(paper: &Paper) {
    let provider = paper.start(&paper.take("shmeld image provide"), "providing");
    let request = paper.take("shmeld image request");
    paper
        .run(&request)
        .expect_said("image cat (1440000 bytes, 800 x 600, 3 channels): OUT/cat.png");
    assert!(paper.path("OUT/cat.png").is_file() && paper.path("OUT/dog.png").is_file());
    let ten = request.replace("cat dog", &paper.take("--names-from"));
    let arrived = paper.run(&ten).stderr.matches(": OUT/").count();
    assert_eq!(arrived, 10, "{ten}");
    provider.signal("TERM");
    provider.finish().expect_code(143);
}

fn board_at_work(paper: &Paper) {
    let text = paper.take("shmeld demo");
    assert!(paper.printed(&text).contains("checks held in"));
    let [a, b] = ["--role a", "--role b"].map(|role| format!("{text} {}", paper.take(role)));
    let poster = paper.start(&a, "posted");
    assert_eq!(paper.printed(&b), "The bridge is yours, number one.");
    poster.finish().expect_code(0);
}

fn images_at_work(paper: &Paper) {
    let text = paper.take("shmeld demo");
    assert!(paper.printed(&text).contains("checks held in"));
    let roles = ["--role requester", "--role provider"];
    let [requester, provider] = roles.map(|role| format!("{text} {}", paper.take(role)));
    let requester = paper.program(&requester).start();
    paper
        .run(&provider)
        .expect_said("channel shmeld-demo: providing images");
    assert!(
        requester
            .finish()
            .expect_code(0)
            .stdout_text()
            .contains("dot 3 1 1 3\n")
    );
}

fn everything(paper: &Paper) {
    let holders = paper.take("shmeld ipc ls");
    let server = paper.serve();
    paper.run(MAKE);
    paper.run("shmeld ipc create posix:/frames --size 1M");
    let theirs = format!(": > /dev/shm/theirs && chown {NOBODY} /dev/shm/theirs");
    paper.shore.shell(&theirs);
    let pid = server.pid().to_string();
    let ls = holders.split(" --").next().unwrap().to_owned();
    let with = |option: &str| paper.printed(&format!("{ls} {}", paper.take(option)));
    let place = |printed: &str, what: &str| {
        printed
            .find(what)
            .unwrap_or_else(|| panic!("no {what} in\n{printed}"))
    };

    let printed = paper.printed(&holders);
    place(&printed[place(&printed, "\tmq:/shmeld\t")..], &pid);
    let printed = with("--tree");
    place(
        &printed[place(&printed, &format!("{pid} (shm_server), uid 0\n"))..],
        "mq:/shmeld ",
    );
    let printed = with("--kind sysv");
    assert!(
        printed.contains("sysv:#0") && !printed.contains("posix:/"),
        "{printed}"
    );
    let printed = with("--sort size");
    assert!(
        place(&printed, "posix:/frames") < place(&printed, "sysv:#0"),
        "{printed}"
    );
    let printed = with("--mine");
    assert!(
        printed.contains("posix:/frames") && !printed.contains("posix:/theirs"),
        "{printed}"
    );
    let printed = with("--json");
    let frames = printed
        .lines()
        .find(|line| line.contains("\"posix:/frames\""))
        .unwrap();
    let frames: serde_json::Value = serde_json::from_str(frames).unwrap();
    assert_eq!(frames["size"], 1 << 20, "{frames}");
    paper.stop(&server);
}

fn all_about_one(paper: &Paper) {
    let text = paper.take("shmeld ipc show");
    let Some(python) = holder_python_or_skip().filter(|_| has_or_skip("ipcmk")) else {
        return;
    };
    paper.shore.shell("for each in 0 1 2 3; do ipcmk -S 1; done");
    let server = paper.start("shm_server DIR --name frames", "serving");
    let holder = paper.shore.holder(&python, "other", "0x7777");
    let made: serde_json::Value = serde_json::from_slice(&paper.shore.holder_said(&holder)).unwrap();
    // The kernel gives the number of a memfd: nobody can ask for one.
    let text = text.replace("memfd:#4711", &format!("memfd:#{}", made["memfd"]));
    let shown = paper.printed(&text);
    for kind in ["POSIX message queue", "System V set of semaphores", "memfd"] {
        let found = shown
            .lines()
            .filter(|line| *line == format!("kind        {kind}"));
        assert_eq!(found.count(), 1, "{kind} in\n{shown}");
    }
    holder.kill();
    paper.stop(&server);
}

fn stale(paper: &Paper) {
    let (list, try_it, clean) = (
        paper.take("shmeld ipc ls"),
        paper.take("shmeld ipc clean --dry-run"),
        paper.take("shmeld ipc clean"),
    );
    // The other way round the second would sweep what the first has left.
    let alive = paper.start("shm_server DIR --name alive", "serving");
    paper.serve().kill();
    for address in ["mq:/shmeld", "posix:/shmeld.shmeld.gate"] {
        assert!(paper.printed(&list).contains(address), "{address}");
        let would = format!("would remove {address}: ");
        assert!(paper.printed(&try_it).contains(&would), "{would}");
    }
    let cleaned = paper.printed(&clean);
    assert!(
        cleaned.contains("removed mq:/shmeld: ") && !cleaned.contains("alive"),
        "{cleaned}"
    );
    assert!(!paper.printed(&list).contains("mq:/"));
    paper.stop(&alive);
}

/// The first words of a line of the screen, without figures and their units. Keys that are told last are not if a process cannot be looked into.
fn words(line: &str) -> Vec<&str> {
    let is_word = |word: &&str| {
        !word.starts_with(|first: char| first.is_ascii_digit())
            && !matches!(*word, "B" | "KiB" | "MiB" | "GiB")
    };
    line.split_whitespace().filter(is_word).take(8).collect()
}

/// The picture has what the README's has: the line above, the headings of both tables, the keys.
fn live(paper: &Paper) {
    let text = paper.take("shmeld ipc top");
    let Some(terminal) = Terminal::or_skip(&paper.shore.world) else {
        return;
    };
    let server = paper.start("shm_server DIR --name frames", "serving");
    paper.serve().kill();
    terminal.line(&paper.prologue());
    terminal.line(&format!("{} {text}; echo code $?", paper.shore.island.way()));
    let is_frame = |line: &&str| {
        ["shmeld ipc top: ", "SERVER ", "STATE ", "q quit "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    let on_paper: Vec<&str> = blocks("text")[0].lines().filter(is_frame).collect();
    assert_eq!(on_paper.len(), 4);
    terminal.wait_until("as in the README", |picture| {
        let has = |line: &&str| picture.lines().any(|shown| words(shown) == words(line));
        on_paper.iter().all(has) && picture.contains("/frames ") && picture.contains("mq:/shmeld ")
    });
    terminal.keys(&["q"]);
    terminal.wait_for("code 0");
    paper.stop(&server);
}

fn doctor(paper: &Paper) {
    let outcome = paper.program(&paper.take("shmeld ipc doctor")).run();
    let code = if outcome.stdout_text().contains("\nno failures, ") {
        0
    } else {
        1
    };
    outcome.expect_code(code);
}

fn left_by_others(paper: &Paper) {
    let (list, clean) = (paper.take("shmeld ipc ls"), paper.take("shmeld ipc clean"));
    if !has_or_skip("script") {
        return;
    }
    paper.shore.shell(": > /dev/shm/left");
    eventually("nobody has it", || paper.printed(&list).contains("posix:/left"));
    let answer_yes = |text: &str| {
        let text = format!("{} && {text}", paper.prologue());
        let terminal = paper
            .shore
            .world
            .tool("script")
            .args(["-qec", &text, "/dev/null"]);
        let terminal = paper.shore.island.with(terminal).input(b"y\n").run();
        terminal.expect_code(0).stdout_text()
    };
    // It might be in use by somebody who is only slow.
    let said = answer_yes(&clean);
    assert!(
        !said.contains("posix:/left") && paper.printed(&list).contains("posix:/left"),
        "{said}"
    );
    eventually("it is removed when it is old", || {
        answer_yes(&format!("{clean} --older 0")).contains("remove posix:/left ")
    });
    assert!(!paper.printed(&list).contains("posix:/left"));
}
