//! A server that is another user can open its clients' regions. With that it must not pass for them at other servers (rows N7 and Q7 of the
//! fault catalogue across users).

use std::path::{Path, PathBuf};

use shmeld_os::ObjectName;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;

use crate::books;
use crate::content;
use crate::raw_region::{GET, ONE_SLOT, RawRegion, STATE, WRITTEN, name_of};
use crate::users::{Users, serve, stop};
use crate::world::{World, eventually};

fn path_of(name: &ObjectName) -> PathBuf {
    PathBuf::from("/dev/shm").join(name.as_str())
}

/// The server's user gives the region of a client a second name. When the client has gone, and its own name with it, the object has one name
/// again, belongs to the client's user, and holds what the server's user writes there. `None` if a server of root that another test starts
/// at this moment has swept it away: for that moment nobody holds its lease.
fn relayed(world: &World, users: &Users, target: &World) -> Option<RawRegion> {
    let server = serve(world, users, users.a, &["--public"]);
    server.signal("STOP");
    let trusted = users.a.to_string();
    let client = world.client().args(["--server-uid", &trusted, "-o", "-", "file"]);
    let client = client.as_user(users.b).start();
    eventually("it has made its offer", || !users.regions().is_empty());
    let offered = path_of(&users.regions()[0]);
    let mut region = RawRegion::unnamed(target, 4096, ONE_SLOT);
    let second = path_of(&name_of(&region.id));
    let as_a = |script: &str| {
        let shell = world.tool("sh").args(["-c", script]).arg(&offered).arg(&second);
        shell.as_user(users.a).run().expect_code(0);
    };
    // It may write there: what follows is done by the test for it.
    as_a("ln $0 $1 && : 1<> $1");
    region.memory = SharedMemory::open(&name_of(&region.id), true).unwrap();
    client.signal("INT");
    client.finish().expect_code(130);
    assert!(lease::try_take(region.memory.as_file(), Range::byte(0), Kind::Write, "region").unwrap());
    server.signal("CONT");
    stop(&server);
    let stat = region.memory.stat().unwrap();
    if stat.links == 0 {
        return None;
    }
    assert_eq!((stat.uid, stat.links), (users.b, 1));
    region.put(0, &[0; 320]);
    region.initialise();
    Some(region)
}

/// A server of one user linked the region of its client before that removed its name, wrote another header into it, and sent it to the
/// server of root, which took it for that client's: files went out in the client's name, its places were used up, and the audit log
/// said that it had been it. (Review of what protects users from each other.)
#[test]
fn server_cannot_pass_for_its_client_at_another_server() {
    let world = World::new("relay-first");
    let Some(users) = Users::of(&world) else { return };
    // Any other could not open the region at all.
    for uid in [0, users.b] {
        let target = World::new("relay-target");
        let bytes = target.put_random("file", 10_000);
        content::set_mode(&target.source("file"), 0o644);
        let log = log_of(&target, uid);
        let options = ["--public", "--audit", log.to_str().unwrap()];
        let server = serve(&target, &users, uid, &options);
        let region = (0..10).find_map(|_| relayed(&world, &users, &target));
        let region = region.expect("it is not swept away each time");
        region.send(GET, "file");
        let ignored = || {
            let lines = books::lines(&log);
            let of_b = lines.iter().filter(|line| line["region_owner"] == users.b);
            of_b.filter(|line| line["status"] == "IGNORED").count()
        };
        eventually("it is ignored", || ignored() == 1);
        assert_eq!((region.word(STATE), region.word(WRITTEN)), (0, 0));
        drop(region);
        // The client itself is served, and is what the log speaks of.
        let trusted = uid.to_string();
        let client = target
            .client()
            .args(["--server-uid", &trusted, "-o", "-", "file"]);
        assert!(client.as_user(users.b).run().expect_code(0).stdout == bytes);
        stop(&server);
        let lines = books::lines(&log);
        let sessions = lines.iter().filter(|line| line["event"] == "session");
        let sessions: Vec<_> = sessions.map(|line| (&line["uid"], &line["files"])).collect();
        assert_eq!(sessions.len(), 1);
        assert!(*sessions[0].0 == users.b && *sessions[0].1 == 1);
        target.finish();
    }
    users.assert_nothing_left();
    world.finish();
}

/// A log in a directory of the server's user.
fn log_of(world: &World, uid: u32) -> PathBuf {
    let folder = world.root().join("logs");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::chown(Path::new(&folder), Some(uid), None).unwrap();
    folder.join("audit")
}

/// Root cleans up after everybody, but not under the name that it wanted: what a dead server of another user had left there stopped it.
/// (Review of what protects users from each other.)
#[test]
fn root_takes_over_the_name_of_a_dead_server_of_another_user_and_not_that_of_a_live_one() {
    let world = World::new("relay-name");
    let Some(users) = Users::of(&world) else { return };
    let bytes = world.put_random("file", 1000);
    let first = serve(&world, &users, users.a, &["--public"]);
    let refused = world.server().run().expect_code(3);
    refused.expect_said(&format!("it belongs to uid {}, not to us", users.a));
    first.kill();
    let second = world.start_server();
    let client = world.client().args(["-o", "-", "file"]);
    assert!(client.run().expect_code(0).stdout == bytes);
    stop(&second);
    world.finish();
}

/// A client that did not find its server named all that ran, of whomever: ten thousand gates of a stranger made a hint of ten thousand names,
/// each of its choice. (Review of what protects users from each other.)
#[test]
fn hint_names_a_few_servers_and_none_of_strangers() {
    let world = World::new("relay-hint");
    let Some(users) = Users::of(&world) else { return };
    let _server = serve(&world, &users, users.c, &["--public"]);
    let trusting = ["--server-uid", &users.c.to_string()];
    for (uid, options, is_named) in [(users.c, &[][..], true), (0, &[], false), (0, &trusting, true)] {
        let ask = world
            .shmeld("get")
            .args(["--name", "shmeld-no-such-server", "--wait", "0", "file"]);
        let refused = users.run_as(ask.args(options), uid).run().expect_code(3);
        let mut words = refused.stderr.split([' ', ',']);
        // Many servers of root, of other tests, may come before it.
        let is_there =
            words.any(|word| word == world.name()) || (is_named && refused.stderr.contains(" more "));
        assert_eq!(is_there, is_named, "{uid}: {}", refused.stderr);
    }
    world.finish();
}
