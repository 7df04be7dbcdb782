//! The main job: files named by a client arrive as they are, in every order of starting and asking.

use std::io::Read;

use crate::content;
use crate::world::{World, eventually};

#[test]
fn files_arrive_equal_through_one_page() {
    let world = World::new("equal");
    let files = [
        ("a.jpg", 60_001),
        ("b.pdf", 100_000),
        ("c.c", 4_242),
        ("empty", 0),
    ];
    let contents = files.map(|(name, len)| (name, world.put_random(name, len)));
    let _server = world.start_server();
    world.fetch(&files.map(|(name, _)| name)).expect_code(0);
    for (name, bytes) in &contents {
        world.assert_output(name, bytes);
    }
    assert_eq!(content::names_below(&world.output("")).len(), files.len());
    world.finish();
}

#[test]
fn modes_are_kept_within_the_umask() {
    let world = World::new("modes");
    let modes = [0o644, 0o755, 0o666, 0o777, 0o600, 0o440, 0o4755];
    for mode in modes {
        content::set_mode(&world.put(&format!("{mode:o}"), b"x"), mode);
    }
    let _server = world.start_server();
    for umask in [0o022, 0o077, 0o002] {
        let output = world.output(&format!("umask-{umask:03o}"));
        let client = world.client().arg("-o").arg(&output);
        let client = client.args(modes.map(|mode| format!("{mode:o}")));
        client.after(&format!("umask {umask:03o}")).run().expect_code(0);
        for mode in modes {
            let found = content::mode(&output.join(format!("{mode:o}")));
            let expected = mode & 0o777 & !umask;
            assert_eq!(found, expected, "{mode:o} under umask {umask:03o}: {found:o}");
        }
        assert_eq!(
            content::mode(&output),
            0o777 & !umask,
            "the directory that was made"
        );
    }
    world.finish();
}

#[test]
fn client_started_first_says_once_that_it_waits_and_then_gets_its_files() {
    let world = World::new("first");
    let bytes = world.put_random("late", 10_000);
    let client = world.client().arg("-o").arg(world.output("")).arg("late").start();
    client.wait_for_stderr(&format!("shm_client: waiting for server {}", world.name()));
    // Long enough for several of its looks.
    std::thread::sleep(std::time::Duration::from_millis(400));
    let _server = world.start_server();
    let outcome = client.finish().expect_code(0);
    assert_eq!(outcome.stderr.matches("waiting").count(), 1, "{}", outcome.stderr);
    world.assert_output("late", &bytes);
    world.finish();
}

#[test]
fn list_of_names_is_gone_through_again_and_again_until_n_requests_are_made() {
    let world = World::new("list");
    let names = ["one", "two", "three"];
    let contents = names.map(|name| world.put_random(name, 5_000));
    let list = world.root().join("filelist.txt");
    // Empty lines are no names; the last line may lack its end.
    std::fs::write(&list, "one\n\ntwo\nthree").unwrap();
    let _server = world.start_server();
    let outcome = world.fetch(&["-n", "20", "--json", "-T", list.to_str().unwrap()]);
    let delivered = outcome.expect_code(0).names_of("delivered");
    let expected: Vec<&str> = names.iter().copied().cycle().take(20).collect();
    assert_eq!(delivered, expected);
    for (name, bytes) in names.iter().zip(&contents) {
        world.assert_output(name, bytes);
    }
    world.finish();
}

#[test]
fn list_of_names_can_come_from_standard_input_and_joins_those_of_the_command_line() {
    let world = World::new("list-stdin");
    let contents = ["x", "y y", "z"].map(|name| world.put_random(name, 100));
    let _server = world.start_server();
    let client = world
        .client()
        .args(["--json", "x", "-T", "-", "-o"])
        .arg(world.output("new"));
    let outcome = client.input(b"y y\nz\n").run().expect_code(0);
    assert_eq!(outcome.names_of("delivered"), ["x", "y y", "z"]);
    for (name, bytes) in ["x", "y y", "z"].iter().zip(&contents) {
        world.assert_output(&format!("new/{name}"), bytes);
    }
    world.finish();
}

#[test]
fn smaller_number_of_requests_than_names_takes_the_first_ones() {
    let world = World::new("fewer");
    for name in ["a", "b", "c"] {
        world.put(name, name.as_bytes());
    }
    let _server = world.start_server();
    let outcome = world.fetch(&["-n", "2", "--json", "a", "b", "c"]).expect_code(0);
    assert_eq!(outcome.names_of("delivered"), ["a", "b"]);
    assert!(!world.output("c").exists());
    world.finish();
}

#[test]
fn list_that_cannot_be_read_or_is_empty_is_a_usage_error_that_names_it() {
    let world = World::new("list-absent");
    let client = world.client().args(["-T", "no-such-list"]).run().expect_code(2);
    client.expect_said("no-such-list");
    let client = world
        .client()
        .args(["-T", "-"])
        .input(b"\n\n")
        .run()
        .expect_code(2);
    client.expect_said("no names");
    world.finish();
}

#[test]
fn eight_clients_at_once_with_regions_of_all_sizes_get_exactly_their_files() {
    let world = World::new("eight");
    let sizes = [0, 1, 3_777, 70_000, 1_000_003, 2 << 20];
    let names = sizes.map(|size| format!("file-{size}"));
    let contents = sizes.map(|size| world.put_random(&format!("file-{size}"), size));
    let server = world.start_server();
    let regions = ["4096", "4096", "8192", "12K", "64K", "256K", "1M", "8M"];
    let clients: Vec<_> = (0..regions.len())
        .map(|number| {
            let client = world.client().args(["--region", regions[number], "-o"]);
            client.arg(world.output(&number.to_string())).args(&names).start()
        })
        .collect();
    for client in &clients {
        client.finish().expect_code(0);
    }
    for number in 0..clients.len() {
        for (name, bytes) in names.iter().zip(&contents) {
            world.assert_output(&format!("{number}/{name}"), bytes);
        }
    }
    let status = world.status();
    assert_eq!(status["files_total"], 8 * sizes.len());
    assert_eq!(
        (&status["died_total"], &status["misbehaved_total"]),
        (&0.into(), &0.into())
    );
    assert!(server.is_running());
    world.finish();
}

#[test]
fn files_go_to_a_pipe_one_after_the_other_in_the_order_asked_for() {
    let world = World::new("pipe");
    let names = ["one", "empty", "two", "three"];
    let sizes = [300_000, 0, 3_744, 1_500_000];
    let mut expected = Vec::new();
    for (name, size) in names.iter().zip(sizes) {
        expected.extend(world.put_random(name, size));
    }
    let _server = world.start_server();
    for region in ["4096", "1M"] {
        let client = world.client().args(["-o", "-", "--region", region]).args(names);
        let outcome = client.run().expect_code(0);
        content::assert_bytes("standard output", &outcome.stdout, &expected);
    }
    world.assert_no_output();
    world.finish();
}

#[test]
fn missing_file_in_a_pipe_leaves_no_byte_among_the_others() {
    let world = World::new("pipe-missing");
    world.put("a", b"first ");
    world.put("b", b"second");
    let _server = world.start_server();
    let outcome = world
        .client()
        .args(["-o", "-", "a", "nope", "b"])
        .run()
        .expect_code(1);
    assert_eq!(outcome.stdout, b"first second");
    outcome.expect_line("shm_client: get nope: no such file (FNF)");
    world.finish();
}

#[test]
fn reader_that_goes_away_ends_the_client_with_an_error_and_nothing_else() {
    let world = World::new("pipe-gone");
    world.put_random("big", 4 << 20);
    let server = world.start_server();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let client = world.client().args(["-o", "-", "big"]).stdout(writer).start();
    reader.read_exact(&mut [0; 100]).unwrap();
    drop(reader);
    client.finish().expect_code(1).expect_said("EPIPE");
    eventually("the session ends", || world.status()["sessions"] == 1);
    assert!(server.is_running());
    world.finish();
}

#[test]
fn server_with_once_and_its_client_both_end_well() {
    let world = World::new("once");
    let bytes = world.put_random("file", 20_000);
    let server = world.server().arg("--once").start();
    server.wait_for_stderr("serving");
    // Looking is not fetching: the server stays for the client that fetches.
    assert_eq!(world.status()["sessions"], 1);
    world
        .shmeld("ls")
        .args(["--name", world.name()])
        .run()
        .expect_code(0);
    assert!(server.is_running());
    world.fetch(&["file"]).expect_code(0);
    // It ends by itself, and takes queue and gate with it.
    server.finish().expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

#[test]
fn missing_file_does_not_keep_a_server_with_once_from_ending_well() {
    let world = World::new("once-missing");
    let server = world.server().arg("--once").start();
    server.wait_for_stderr("serving");
    world.fetch(&["nope"]).expect_code(1);
    server.finish().expect_code(0);
    world.assert_no_output();
    world.finish();
}

#[test]
fn server_without_directory_serves_the_current_one() {
    let world = World::new("current");
    let bytes = world.put_random("file", 100);
    let server = world
        .tool(env!("CARGO_BIN_EXE_shm_server"))
        .args(["--name", world.name()]);
    let server = server.current_dir(world.source("")).start();
    server.wait_for_stderr("serving");
    world.fetch(&["file"]).expect_code(0);
    world.assert_output("file", &bytes);
    world.finish();
}

#[test]
fn two_thousand_requests_in_one_session_all_arrive() {
    let world = World::new("many");
    let names: Vec<String> = (0..50)
        .map(|number| format!("d{}/f{number}", number % 3))
        .collect();
    for name in &names {
        world.put(name, name.as_bytes());
    }
    world.start_server();
    for region in ["4096", "64K"] {
        let client = world
            .client()
            .args(["--json", "-n", "2000", "--region", region, "-o"]);
        let outcome = client.arg(world.output(region)).args(&names).run().expect_code(0);
        let expected: Vec<&String> = names.iter().cycle().take(2_000).collect();
        assert!(outcome.names_of("delivered").iter().eq(expected));
        for name in &names {
            world.assert_output(&format!("{region}/{name}"), name.as_bytes());
        }
    }
    let status = world.status();
    assert_eq!(
        (&status["files_total"], &status["requests_total"]),
        (&4_000.into(), &4_001.into())
    );
    world.finish();
}

#[test]
fn second_client_of_a_server_with_once_is_told_that_it_is_busy() {
    let world = World::new("once-busy");
    let bytes = world.put_random("big", 3 << 20);
    let server = world.server().arg("--once").start();
    server.wait_for_stderr("serving");
    // The first client cannot finish: nobody reads its pipe to the end yet.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let first = world.client().args(["-o", "-", "big"]).stdout(writer).start();
    let mut found = vec![0; 1];
    reader.read_exact(&mut found).unwrap();
    let second = world.fetch(&["--wait", "0", "big"]).expect_code(3);
    second
        .expect_said("BUSY")
        .expect_said("hint:")
        .expect_said("try again");
    world.assert_no_output();
    reader.read_to_end(&mut found).unwrap();
    first.finish().expect_code(0);
    server.finish().expect_code(0);
    content::assert_bytes("the pipe", &found, &bytes);
    world.finish();
}

#[test]
fn verified_transfer_delivers_the_same_bytes() {
    let world = World::new("verify");
    let sizes = [0, 1, 3_800, 1_000_000];
    let contents = sizes.map(|size| (format!("f{size}"), world.put_random(&format!("f{size}"), size)));
    let _server = world.start_server();
    for region in ["4096", "1M"] {
        let client = world
            .client()
            .args(["--verify", "--region", region, "-o"])
            .arg(world.output(region));
        client
            .args(contents.iter().map(|(name, _)| name))
            .run()
            .expect_code(0);
        for (name, bytes) in &contents {
            world.assert_output(&format!("{region}/{name}"), bytes);
        }
    }
    world.finish();
}

#[test]
fn get_and_serve_are_the_same_two_programs_under_other_names() {
    let world = World::new("aliases");
    let bytes = world.put_random("file", 500_000);
    let server = world
        .shmeld("serve")
        .args(["--name", world.name()])
        .arg(world.source(""))
        .start();
    server.wait_for_stderr("shmeld: serving");
    let get = world
        .shmeld("get")
        .args(["--name", world.name(), "file", "nope", "-o"]);
    let outcome = get.arg(world.output("")).run().expect_code(1);
    outcome.expect_line("shmeld: get nope: no such file (FNF)");
    world.assert_output("file", &bytes);
    world.finish();
}
