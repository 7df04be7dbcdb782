//! `shmeld ipc top` in a terminal of tmux, driven by keys and signals as people do it.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::island::Island;
use crate::processes::PATIENCE;
use crate::world::{World, eventually, has_or_skip};

/// Makes `play_a_panic` play.
const PANIC: &str = "SHMELD_TOP_PANIC";

/// A terminal of 80 columns and 24 rows with a shell in it. Its server is its own, and ends with it.
pub struct Terminal {
    socket: String,
}

impl Terminal {
    pub fn or_skip(world: &World) -> Option<Self> {
        if !has_or_skip("tmux") {
            return None;
        }
        // Not in the world's directory, which may go before this does.
        let socket = std::env::temp_dir().join(format!("{}.tmux", &world.name()[1..]));
        let socket = socket.display().to_string();
        let terminal = Self { socket };
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "env",
            "PS1=ready$ ",
            "sh",
        ]);
        terminal.wait_for("ready$");
        Some(terminal)
    }

    #[track_caller]
    fn tmux(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.socket])
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "tmux {words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub fn line(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    fn picture(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let picture = self.picture();
            if is_so(&picture) {
                return picture;
            }
            assert!(Instant::now() < end, "never so: {what}\n{picture}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |picture| picture.contains(text))
    }

    /// Starts `ipc top` from the shell; the picture is there when this returns.
    fn start(&self, options: &str) {
        // What the shell says of its terminal before and after must be the same.
        self.line("stty -g >before");
        self.start_by("", options);
    }

    /// The same by another command, such as one that leads into a namespace.
    pub fn start_by(&self, way: &str, options: &str) {
        let top = env!("CARGO_BIN_EXE_shmeld");
        self.line(&format!("{way} {top} ipc top {options}; echo code $?"));
        self.wait_for("objects,");
    }

    /// Insists that the shell has its terminal back as it was.
    #[track_caller]
    pub fn expect_end(&self, world: &World, code: &str) {
        self.wait_until(code, |picture| {
            picture.contains(code) && !picture.contains("q quit")
        });
        self.line("stty -g >after; echo compared");
        self.wait_for("compared");
        eventually("stty has said it", || {
            std::fs::read(world.root().join("after")).is_ok_and(|after| !after.is_empty())
        });
        let said = |name: &str| std::fs::read_to_string(world.root().join(name)).unwrap();
        assert_eq!(said("before"), said("after"));
        let shown = self.tmux(&["display-message", "-p", "#{cursor_flag} #{alternate_on}"]);
        assert_eq!(shown.trim(), "1 0", "the cursor is shown, and no other screen");
        std::fs::remove_file(world.root().join("after")).unwrap();
        self.line("clear");
    }

    fn pid_of_top(&self) -> String {
        let shell = self.tmux(&["display-message", "-p", "#{pane_pid}"]);
        let children = format!("/proc/{0}/task/{0}/children", shell.trim());
        std::fs::read_to_string(children).unwrap().trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid_of_top()])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It removes its socket by itself; a test that failed early may have none.
        let _ = Command::new("tmux")
            .args(["-S", &self.socket, "kill-server"])
            .status();
        let _ = std::fs::remove_file(&self.socket);
    }
}

pub fn world_and_terminal(what: &str) -> Option<(World, Terminal)> {
    let world = World::new(what);
    let terminal = Terminal::or_skip(&world)?;
    terminal.line(&format!("cd {}", world.root().display()));
    Some((world, terminal))
}

/// Objects of this test have its name in theirs, so a filter shows them and no others.
#[test]
fn picture_is_sorted_filtered_and_explained_by_keys() {
    let Some((world, terminal)) = world_and_terminal("top") else {
        return;
    };
    let name = &world.name()[1..];
    let address = |letter: char| format!("posix:/{name}-{letter}");
    let ipc = |words: &[&str]| world.shmeld("ipc").args(words).run().expect_code(0);
    for (letter, size) in [('a', "64K"), ('b', "256K"), ('c', "16K")] {
        ipc(&["create", &address(letter), "--size", size]);
    }
    terminal.start("--interval 200ms --kind shm");
    let picture = terminal.picture();
    assert!(
        picture.lines().all(|line| line.chars().count() <= 80) && picture.lines().count() <= 24,
        "{picture}"
    );
    terminal.keys(&["/"]);
    terminal.tmux(&["send-keys", "-l", &format!("{name}-")]);
    terminal.keys(&["Enter"]);
    terminal.wait_for("(3 shown)");
    let order = |picture: &str| -> String {
        let lines = picture.lines().filter(|line| !line.starts_with("filter"));
        let ends = lines.filter_map(|line| line.split_once(&format!("{name}-"))?.1.chars().next());
        ends.collect()
    };
    assert_eq!(order(&terminal.picture()), "abc");
    terminal.keys(&["s"]);
    terminal.wait_until("by size", |picture| {
        picture.contains("by size") && order(picture) == "bac"
    });
    terminal.keys(&["r"]);
    terminal.wait_until("reversed", |picture| order(picture) == "cab");
    // The cursor stays on what it is on, whatever comes and goes.
    terminal.keys(&["Home", "Down"]);
    terminal.keys(&["Enter"]);
    let details = terminal.wait_for("POSIX segment");
    assert!(
        details.contains(&address('a')) && details.contains("65536 bytes"),
        "{details}"
    );
    ipc(&["rm", &address('a')]);
    terminal.wait_for("It is gone.");
    terminal.keys(&["Escape"]);
    terminal.wait_for("(2 shown)");
    ipc(&["create", &address('d'), "--size", "4K"]);
    terminal.wait_for("(3 shown)");
    terminal.keys(&["?"]);
    terminal.wait_for("only what is stale");
    terminal.keys(&["x"]);
    terminal.wait_for("(3 shown)");
    terminal.tmux(&["resize-window", "-x", "60", "-y", "10"]);
    terminal.wait_until("it fits", |picture| {
        picture.lines().all(|line| line.chars().count() <= 60) && picture.contains("(3 shown)")
    });
    terminal.keys(&["q"]);
    terminal.expect_end(&world, "code 0");
    ipc(&["rm", &address('b'), &address('c'), &address('d')]);
    world.finish();
}

/// Rates come from what servers say of themselves; one that is stopped is silent and holds up nothing. On an island, where no other test
/// has servers.
#[test]
fn transfers_of_running_servers_are_shown_with_rates() {
    let Some((world, terminal)) = world_and_terminal("top-rates") else {
        return;
    };
    let Some(island) = Island::or_skip(&world) else {
        return;
    };
    world.put_random("file", 1 << 20);
    let server = island.with(world.server()).start();
    server.wait_for_stderr("serving");
    terminal.line("stty -g >before");
    terminal.start_by(&island.way(), "--interval 300ms --kind mq");
    let fields = |picture: &str| -> Vec<String> {
        let line = picture.lines().find(|line| line.starts_with(world.name()));
        let fields = line.unwrap_or_default().split_whitespace();
        fields.map(str::to_owned).collect()
    };
    let is = |picture: &str, sessions: &str, is_busy: bool| match fields(picture).as_slice() {
        [_, first, rate, ..] => first == sessions && rate != "-" && (rate != "0") == is_busy,
        _ => false,
    };
    terminal.wait_until("idle", |picture| is(picture, "0", false));
    // Its own questions are nobody's: the queue has its server, and nobody else.
    let address = format!("mq:{}", world.name());
    for _ in 0..20 {
        let picture = terminal.picture();
        let line = picture.lines().find(|line| line.contains(&address)).unwrap();
        // Where a process hides what it has, at least one.
        let held = line.split_whitespace().nth(6).unwrap();
        assert_eq!(held.trim_start_matches(">="), "1", "{picture}");
        std::thread::sleep(Duration::from_millis(30));
    }
    let client = world.client().args(["-n", "100000", "-o", "/dev/null", "file"]);
    let client = island.with(client).start();
    let busy = terminal.wait_until("a rate", |picture| is(picture, "1", true));
    assert!(
        busy.contains("BYTES/s") && busy.contains(&format!("mq:{}", world.name())),
        "{busy}"
    );
    client.signal("TERM");
    client.finish().expect_code(143);
    terminal.wait_until("idle again", |picture| is(picture, "0", false));
    server.signal("STOP");
    terminal.wait_until("silent", |picture| {
        fields(picture).get(1).is_some_and(|word| word == "silent")
    });
    server.signal("CONT");
    terminal.wait_until("it answers", |picture| is(picture, "0", false));
    terminal.keys(&["q"]);
    terminal.expect_end(&world, "code 0");
    server.signal("TERM");
    server.finish().expect_code(0);
    let left = island.with(world.tool("ls").args(["-A", "/dev/shm"])).run();
    assert_eq!(left.expect_code(0).stdout_text(), "");
    island.leave();
    world.finish();
}

#[test]
fn terminal_is_given_back_whatever_ends_it() {
    let Some((world, terminal)) = world_and_terminal("top-ends") else {
        return;
    };
    for (signal, code) in [
        ("TERM", "code 143"),
        ("INT", "code 130"),
        ("HUP", "code 129"),
        ("QUIT", "code 131"),
    ] {
        terminal.start("");
        terminal.signal(signal);
        terminal.expect_end(&world, code);
    }
    terminal.start("");
    terminal.keys(&["C-c"]);
    terminal.expect_end(&world, "code 130");
    world.finish();
}

/// A process of another session gets no SIGHUP: this one read the end of its input for ever, and took more memory all the time.
#[test]
fn it_ends_when_its_terminal_goes_without_a_signal() {
    let Some((world, terminal)) = world_and_terminal("top-gone") else {
        return;
    };
    // It must not outlive a test that failed.
    let guard = r#"timeout --foreground -s KILL 30 "$@"; echo $? >ended"#;
    terminal.start_by(&format!("setsid -w sh -c '{guard}' sh"), "");
    terminal.tmux(&["kill-server"]);
    let ended = world.root().join("ended");
    eventually("it has ended", || {
        std::fs::read(&ended).is_ok_and(|code| !code.is_empty())
    });
    assert_eq!(std::fs::read_to_string(ended).unwrap(), "129\n");
    world.finish();
}

/// Ctrl-Z, and a signal that means the same: the shell works meanwhile, and the picture comes back.
#[test]
fn it_stops_and_goes_on_as_other_programs_do() {
    let Some((world, terminal)) = world_and_terminal("top-stops") else {
        return;
    };
    terminal.line("set -m");
    terminal.start("");
    for way in ["key", "signal"] {
        if way == "key" {
            terminal.keys(&["C-z"]);
        } else {
            terminal.signal("TSTP");
        }
        terminal.wait_until("the shell", |picture| {
            picture.contains("Stopped") && !picture.contains("q quit")
        });
        terminal.line("clear; echo works");
        terminal.wait_for("works");
        terminal.line("clear; fg");
        terminal.wait_for("q quit");
    }
    terminal.keys(&["q"]);
    terminal.wait_until("the shell", |picture| !picture.contains("q quit"));
    terminal.line("stty -g >after; cmp before after && echo the same");
    terminal.wait_for("the same");
    world.finish();
}

/// Not a test by itself: the program whose panic another test watches.
#[test]
fn play_a_panic() {
    if std::env::var_os(PANIC).is_some() {
        let mut screen = shmeld_cli::screen::Screen::open().unwrap();
        screen.draw(|_| ()).unwrap();
        panic!("as if something were wrong");
    }
}

#[test]
fn terminal_is_given_back_before_a_panic_is_told() {
    let Some((world, terminal)) = world_and_terminal("top-panic") else {
        return;
    };
    terminal.line("stty -g >before");
    let this = std::env::current_exe().unwrap();
    let test = format!(
        "{PANIC}=1 {} top::play_a_panic --exact --nocapture",
        this.display()
    );
    terminal.line(&format!("RUST_BACKTRACE=0 {test}; echo code $?"));
    terminal.wait_for("as if something were wrong");
    terminal.expect_end(&world, "code 101");
    world.finish();
}

#[test]
fn without_a_terminal_it_says_what_to_use_instead() {
    let world = World::new("top-pipe");
    let outcome = world.shmeld("ipc").arg("top").run().expect_code(2);
    outcome.expect_said("no terminal").expect_said("shmeld ipc ls");
    world.finish();
}
