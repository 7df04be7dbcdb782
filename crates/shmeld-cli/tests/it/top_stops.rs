//! Ctrl-Z in `shmeld ipc top`, where it is not alone with a shell.

use crate::top::world_and_terminal;

/// A script that runs it stops with it, or its shell would wait for ever behind a terminal without a prompt.
#[test]
fn a_script_that_runs_it_stops_with_it() {
    let Some((world, terminal)) = world_and_terminal("top-script") else {
        return;
    };
    terminal.line("set -m");
    terminal.line("stty -g >before");
    terminal.start_by(r#"sh -c '"$@"; echo script $?' sh"#, "");
    terminal.keys(&["C-z"]);
    terminal.wait_until("the shell", |picture| {
        picture.contains("Stopped") && !picture.contains("q quit")
    });
    terminal.line("clear; fg");
    terminal.wait_for("q quit");
    terminal.keys(&["q"]);
    terminal.expect_end(&world, "script 0");
    world.finish();
}

/// As in `ssh -t HOST shmeld ipc top`: nobody is there who could continue it, so it stopped for ever.
#[test]
fn where_no_shell_would_continue_it_it_does_not_stop() {
    let Some((world, terminal)) = world_and_terminal("top-alone") else {
        return;
    };
    terminal.line("stty -g >before");
    // It must not outlive a test that failed.
    terminal.start_by("setsid -w timeout --foreground -s KILL 60", "");
    terminal.keys(&["C-z", "?"]);
    terminal.wait_for("any other key: back");
    terminal.keys(&["x", "q"]);
    terminal.expect_end(&world, "code 0");
    world.finish();
}
