//! User namespaces: the uid that stands for all users whom a namespace does not know is nobody in particular (row O16 of the fault
//! catalogue).

use shmeld_os::posix::shm::SharedMemory;

use crate::content;
use crate::processes::Program;
use crate::users::{Users, stop};
use crate::world::{NOBODY, World, has_or_skip, skip};

/// A namespace in which the user is root and knows nobody else.
pub const ALONE: [&str; 2] = ["unshare", "--map-root-user"];
/// A namespace in which nobody is known, not even the user itself.
pub const NOBODY_KNOWN: [&str; 2] = ["unshare", "--user"];

/// Users of a world in which anybody may make a namespace.
pub fn users_or_skip(world: &World) -> Option<Users> {
    let users = Users::of(world)?;
    if !has_or_skip("unshare") {
        return None;
    }
    for namespace in [ALONE, NOBODY_KNOWN] {
        let tried = world.tool(namespace[0]).args([namespace[1], "true"]);
        if tried.as_user(users.a).run().code != Some(0) {
            skip("user namespaces for every user");
            return None;
        }
    }
    Some(users)
}

fn put(world: &World) -> Vec<u8> {
    let bytes = world.put_random("file", 100_000);
    content::set_mode(&world.source("file"), 0o644);
    bytes
}

fn client(world: &World, options: &[&str]) -> Program {
    world
        .client()
        .args(["--wait", "0", "-o", "-", "file"])
        .args(options)
}

/// Its own gate looks to such a server like everybody else's.
#[test]
fn server_that_does_not_know_itself_starts_only_if_told_to() {
    let world = World::new("unmapped-self");
    let Some(users) = users_or_skip(&world) else {
        return;
    };
    let bytes = put(&world);
    let server = |options: &[&str]| {
        world
            .server()
            .args(options)
            .wrapped(&NOBODY_KNOWN)
            .as_user(users.a)
    };
    let refused = server(&[]).run().expect_code(3);
    let refused = refused.expect_said(&format!("it belongs to uid {NOBODY}, not to us"));
    refused
        .expect_said("stands for every user that it does not know")
        .expect_said("--allow-unmapped");
    // The gate that it had made and could not recognise is gone: it would stop all others.
    assert!(SharedMemory::stat_name(&world.gate_name()).is_err());
    let allowed = server(&["--allow-unmapped"]).start();
    allowed.wait_for_stderr("serving");
    let outcome = client(&world, &[]).as_user(users.a).run().expect_code(0);
    assert!(outcome.stdout == bytes);
    stop(&allowed);
    users.assert_nothing_left();
    world.finish();
}

/// A server in a namespace, clients outside: all look the same to it.
#[test]
fn server_in_a_namespace_serves_unknown_users_only_if_told_to() {
    let world = World::new("unmapped-clients");
    let Some(users) = users_or_skip(&world) else {
        return;
    };
    let bytes = put(&world);
    let trusted = users.a.to_string();
    for (options, is_served) in [
        (&["--public"][..], false),
        (&["--public", "--allow-unmapped"], true),
        (&["--allow-unmapped"], false),
    ] {
        let server = world
            .server()
            .args(options)
            .wrapped(&ALONE)
            .as_user(users.a)
            .start();
        server.wait_for_stderr("serving");
        let outcome = client(&world, &["--server-uid", &trusted]).as_user(users.b).run();
        if is_served {
            assert!(outcome.expect_code(0).stdout == bytes);
        } else if options[0] == "--public" {
            let outcome = outcome.expect_code(3).expect_said("refused this client");
            outcome.expect_said("(DENIED)").expect_said("--allow-unmapped");
        } else {
            outcome.expect_code(3).expect_said("(EACCES)");
        }
        // Its own user is known in there.
        let own = client(&world, &[]).as_user(users.a).run().expect_code(0);
        assert!(own.stdout == bytes);
        stop(&server);
    }
    users.assert_nothing_left();
    world.finish();
}

/// A client in a namespace: the owner of the queue can be anybody. It can be told not to mind, and cannot name that user in a list; so only
/// the server of root, or of its own user, can open what it offers.
#[test]
fn client_in_a_namespace_takes_no_queue_of_an_unknown_user_unless_told_to() {
    let world = World::new("unmapped-server");
    let Some(users) = users_or_skip(&world) else {
        return;
    };
    let bytes = put(&world);
    let server = world.server().arg("--public").start();
    server.wait_for_stderr("serving");
    let everybody = NOBODY.to_string();
    for namespace in [ALONE, NOBODY_KNOWN] {
        let ask = |options: &[&str]| client(&world, options).wrapped(&namespace).as_user(users.b).run();
        let refused = ask(&[])
            .expect_code(3)
            .expect_said(&format!("it belongs to uid {NOBODY}, not to us"));
        refused
            .expect_said("stands for every user that it does not know")
            .expect_said("--server-uid");
        assert!(ask(&["--server-uid", &everybody]).expect_code(0).stdout == bytes);
    }
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// Where all users are known nobody is a user like others.
#[test]
fn nobody_is_a_user_where_all_are_known() {
    let world = World::new("mapped-nobody");
    let Some(users) = Users::of(&world) else { return };
    let bytes = put(&world);
    let server = world.server().arg("--public").as_user(NOBODY).start();
    server.wait_for_stderr("serving");
    let trusted = NOBODY.to_string();
    let of_b = client(&world, &["--server-uid", &trusted]).as_user(users.b).run();
    assert!(of_b.expect_code(0).stdout == bytes);
    let of_nobody = client(&world, &[]).as_user(NOBODY).run();
    assert!(of_nobody.expect_code(0).stdout == bytes);
    stop(&server);
    world.finish();
}

/// A file of any group that a namespace does not know shows as one of the overflow gid: a server for that group would have shown its members
/// the files of all of them. (Review of what protects users from each other.)
#[test]
fn group_that_stands_for_all_unknown_ones_is_refused() {
    let world = World::new("unmapped-group");
    let Some(users) = users_or_skip(&world) else {
        return;
    };
    let server = world.server().args(["--group", &NOBODY.to_string()]);
    let refused = server.wrapped(&ALONE).as_user(users.a).run().expect_code(2);
    refused
        .expect_said("stands for every group that it does not know")
        .expect_said("--allow-unmapped");
    world.finish();
}
