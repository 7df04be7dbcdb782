//! What people read and scripts rely on: help, exit codes, messages with their cure, completions, pages.

use std::path::Path;

use crate::content;
use crate::world::{World, has_or_skip};

#[test]
fn short_help_fits() {
    let world = World::new("help");
    for program in ["server", "client", "serve", "get", "cp"] {
        let tool = match program {
            "server" => world.tool(env!("CARGO_BIN_EXE_shm_server")),
            "client" => world.tool(env!("CARGO_BIN_EXE_shm_client")),
            command => world.shmeld(command),
        };
        let short = tool.arg("-h").run().expect_code(0).expect_silence().stdout_text();
        assert!(
            short.starts_with(|first: char| first.is_uppercase()),
            "{program}: {short}"
        );
        assert!(
            short.lines().count() <= 48,
            "{program} -h has {} lines",
            short.lines().count()
        );
        assert!(!short.contains("Exit codes"), "{program}");
    }
    world.finish();
}

#[test]
fn version_names_the_program_and_its_version() {
    let world = World::new("version");
    for program in [
        env!("CARGO_BIN_EXE_shm_server"),
        env!("CARGO_BIN_EXE_shm_client"),
        env!("CARGO_BIN_EXE_shmeld"),
    ] {
        let name = content::base(Path::new(program));
        let text = world
            .tool(program)
            .arg("--version")
            .run()
            .expect_code(0)
            .stdout_text();
        assert_eq!(text, format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
    }
    world.finish();
}

#[test]
fn what_cannot_be_understood_ends_with_2_and_names_what_it_was() {
    let world = World::new("usage");
    let client: [(&[&str], &str); 14] = [
        (&[], "required"),
        (&["--no-such-option", "x"], "--no-such-option"),
        (&["--region", "5000", "x"], "5000"),
        (&["--region", "0", "x"], "4096"),
        (&["--region", "2G", "x"], "1 GiB"),
        (&["--region", "many", "x"], "many"),
        (&["--wait", "5", "x"], "500ms"),
        (&["--wait=-1s", "x"], "-1s"),
        (&["-n", "0", "x"], "--count"),
        (&["-n", "x", "x"], "write one of 1 or more"),
        (&["--server-uid", "bob", "x"], "id -u NAME"),
        (&["--name", "", "x"], "name"),
        (&["--name", "a/b", "x"], "a/b"),
        (&["--name", "..", "x"], ".."),
    ];
    for (arguments, text) in client {
        let outcome = world
            .tool(env!("CARGO_BIN_EXE_shm_client"))
            .args(arguments)
            .run()
            .expect_code(2);
        assert!(outcome.stdout.is_empty(), "{arguments:?}");
        outcome.expect_said(text);
    }
    let server: [(&[&str], &str); 6] = [
        (&["--stall", "soon"], "soon"),
        (&["--max-sessions", "0"], "--max-sessions"),
        (&["--max-sessions", "99999"], "--max-sessions"),
        (&["--region-max", "1"], "4096"),
        (&["one", "two"], "two"),
        (&["--name", "x\ny"], "--name"),
    ];
    for (arguments, text) in server {
        world
            .tool(env!("CARGO_BIN_EXE_shm_server"))
            .args(arguments)
            .run()
            .expect_code(2)
            .expect_said(text);
    }
    let shmeld: [(&[&str], &str); 6] = [
        (&[], "Usage"),
        (&["fetch"], "fetch"),
        (&["cp", "only-one"], "DESTINATION"),
        (&["completions", "cobol"], "cobol"),
        (&["get"], "required"),
        (&["status", "--openmetricks"], "--openmetricks"),
    ];
    for (arguments, text) in shmeld {
        world
            .tool(env!("CARGO_BIN_EXE_shmeld"))
            .args(arguments)
            .run()
            .expect_code(2)
            .expect_said(text);
    }
    world.finish();
}

#[test]
fn absent_server_ends_with_3_and_names_object_time_and_cure() {
    let world = World::new("no-server");
    let name = world.name().to_owned();
    // Who has not waited was told to wait longer.
    for (wait, waited, or_wait) in [
        ("0", "", "for one: --wait 30s"),
        ("300ms", " (waited 0.3 s)", "longer: --wait forever"),
    ] {
        let outcome = world.fetch(&["--wait", wait, "x"]).expect_code(3);
        let outcome = outcome.expect_line(&format!("shm_client: server {name}: not running{waited}"));
        assert_eq!(
            outcome.stderr.contains("waiting"),
            wait != "0",
            "{}",
            outcome.stderr
        );
        // Which cure depends on whether some other server runs at this moment: those of other tests do.
        let start = format!("hint: start one: shm_server DIR --name {name}; or wait {or_wait}");
        let cure = outcome.stderr.lines().last().unwrap();
        assert!(
            cure == start || cure.starts_with("hint: servers that run here: "),
            "{}",
            outcome.stderr
        );
    }
    world.assert_no_output();
    world.finish();
}

#[test]
fn absent_server_makes_the_client_name_those_that_do_run() {
    let (world, other) = (World::new("others"), World::new("others"));
    other.start_server();
    let outcome = world.fetch(&["--wait", "0", "x"]).expect_code(3);
    outcome
        .expect_said("hint: servers that run here: ")
        .expect_said(other.name());
    other.finish();
    world.finish();
}

#[test]
fn server_of_what_is_no_directory_ends_with_3_and_names_it() {
    let world = World::new("no-directory");
    std::fs::write(world.root().join("file"), b"").unwrap();
    for (what, reason) in [("absent", "ENOENT"), ("file", "ENOTDIR")] {
        let server = world
            .tool(env!("CARGO_BIN_EXE_shm_server"))
            .args(["--name", world.name(), what]);
        server.run().expect_code(3).expect_said(what).expect_said(reason);
    }
    world.finish();
}

#[test]
fn explained_transfer_names_each_step_its_object_and_why() {
    let world = World::new("explain");
    world.put("file", b"x");
    let server = world.server().args(["--once", "--explain"]).start();
    server.wait_for_stderr("serving");
    let client = world.fetch(&["--explain", "file"]).expect_code(0);
    let server = server.finish().expect_code(0);
    for step in ["mq_open", "mq_timedsend", "shm_unlink", world.name(), "/shmeld."] {
        assert!(client.stderr.contains(step), "{step} in\n{}", client.stderr);
    }
    for step in [
        "mq_open",
        "fcntl(F_OFD_SETLK)",
        "openat2",
        world.name(),
        "mq_unlink",
    ] {
        assert!(server.stderr.contains(step), "{step} in\n{}", server.stderr);
    }
    world.finish();
}

#[test]
fn completions_are_scripts_that_their_shells_can_read() {
    let world = World::new("completions");
    for shell in ["bash", "zsh", "fish"] {
        let script = world
            .shmeld("completions")
            .arg(shell)
            .run()
            .expect_code(0)
            .expect_silence()
            .stdout_text();
        for program in ["shmeld", "shm_server", "shm_client"] {
            assert!(script.contains(program), "{program} for {shell}");
        }
        assert!(script.contains("files-from"), "{shell}");
        let path = world.root().join(shell);
        std::fs::write(&path, script).unwrap();
        // Only bash is asked for: the others are few machines' shells.
        if shell == "bash" && !has_or_skip("bash") {
            continue;
        }
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|path| path.join(shell).is_file());
        if found {
            world
                .tool(shell)
                .arg("-n")
                .arg(&path)
                .run()
                .expect_code(0)
                .expect_silence();
        }
    }
    // What makes the scripts panics where it cannot write; so did the command.
    let full = std::fs::File::create("/dev/full").unwrap();
    let lost = world.shmeld("completions").arg("bash").stdout(full).run();
    lost.expect_code(1)
        .expect_said("write standard output: no space left (ENOSPC)");
    let script = "source ./bash && complete -p shm_client shm_server shmeld";
    world
        .tool("bash")
        .args(["-c", script])
        .run()
        .expect_code(0)
        .expect_silence();
    world.finish();
}

#[test]
fn manual_has_a_page_for_each_command_with_its_options() {
    let world = World::new("man");
    world
        .shmeld("man")
        .arg(world.output("man1"))
        .after("umask 022")
        .run()
        .expect_code(0)
        .expect_silence();
    let pages = content::names_below(&world.output("man1"));
    for (page, option) in [
        ("shmeld.1", "shmeld"),
        ("shm_server.1", "once"),
        ("shm_client.1", "files"),
        ("shmeld-cp.1", "recursive"),
        ("shmeld-get.1", "region"),
        ("shmeld-ls.1", "long"),
        ("shmeld-status.1", "json"),
    ] {
        assert!(
            pages.iter().any(|found| found == Path::new(page)),
            "{page} among {pages:?}"
        );
        let path = world.output("man1").join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        // They were 0600 once: installed by root, nobody else could read them.
        assert_eq!(content::mode(&path), 0o644, "{page}");
        assert!(text.contains(".TH ") && text.contains(option), "{page}: {text}");
    }
    let text = std::fs::read_to_string(world.output("man1").join("shm_client.1")).unwrap();
    assert!(text.contains("EXIT STATUS"), "the exit codes stand in the manual");
    world.finish();
}

#[test]
fn options_belong_to_demonstrations_that_have_them() {
    let world = World::new("demo-options");
    for (words, why) in [
        (
            &["--role", "a"][..],
            "transfer: --role is for demo meld and board",
        ),
        (&["--object", "/x"], "transfer: --object is for demo meld"),
        (
            &["image", "--role", "a"],
            "image: --role is for demo meld and board",
        ),
        (
            &["board", "--role", "provider"],
            "board: --role requester or provider is for demo image",
        ),
        (&["board", "--object", "/x"], "board: --object is for demo meld"),
        (
            &["meld", "--samples", "x"],
            "meld: --samples is for demo transfer",
        ),
        (
            &["--wait", "1s"],
            "transfer: --wait is for demo meld, and for board and image with --role",
        ),
        (
            &["board", "--wait", "1s"],
            "board: --wait is for demo meld, and for board and image with --role",
        ),
    ] {
        let outcome = world.shmeld("demo").args(words).run().expect_code(2);
        outcome.expect_line(&format!("shmeld: demo {why}"));
    }
    let unknown = world.shmeld("demo").args(["meld", "--role", "c"]).run();
    unknown.expect_code(2);
    world.finish();
}
