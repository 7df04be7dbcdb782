//! What servers that serve others show them: what the modes of files and of the directories above them let that group or everybody read
//! (row F6 of the fault catalogue).

use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use crate::content;
use crate::processes::{Outcome, Running};
use crate::users::{Users, serve, stop};
use crate::world::{World, has_or_skip};

/// A tree in which each name says whether others may reach it.
///
/// ```text
/// open/yes  open/no 0600   open/link -> yes   open/secret-link -> no   open/way -> ../closed/yes   open/up -> ../closed/../open/yes
/// closed 0700: yes 0644, deep/yes 0644
/// passable 0711: yes 0644    readable 0744: yes 0644
/// ```
fn furnish(world: &World) {
    for name in [
        "open/yes",
        "open/no",
        "closed/yes",
        "closed/deep/yes",
        "passable/yes",
        "readable/yes",
    ] {
        world.put(name, name.as_bytes());
    }
    let modes = [
        ("open", 0o755),
        ("open/yes", 0o604),
        ("open/no", 0o600),
        ("closed/deep", 0o755),
        ("closed/deep/yes", 0o644),
        ("closed/yes", 0o644),
        ("closed", 0o700),
        ("passable/yes", 0o644),
        ("passable", 0o711),
        ("readable/yes", 0o644),
        ("readable", 0o744),
    ];
    for (name, mode) in modes {
        content::set_mode(&world.source(name), mode);
    }
    for (target, name) in [
        ("yes", "open/link"),
        ("no", "open/secret-link"),
        ("../closed/yes", "open/way"),
        ("../closed/../open/yes", "open/up"),
    ] {
        symlink(target, world.source(name)).unwrap();
    }
}

fn give_to(path: &Path, uid: u32, gid: u32) {
    for name in content::names_below(path) {
        let path = path.join(name);
        if !path.is_symlink() {
            chown(path, Some(uid), Some(gid)).unwrap();
        }
    }
}

struct Visitor<'w> {
    world: &'w World,
    users: &'w Users,
    uid: u32,
}

impl Visitor<'_> {
    fn ask(&self, command: &str, arguments: &[&str]) -> Outcome {
        let trusted = self.users.a.to_string();
        let program =
            self.world
                .shmeld(command)
                .args(["--name", self.world.name(), "--server-uid", &trusted]);
        self.users.run_as(program.args(arguments), self.uid).run()
    }

    #[track_caller]
    fn expect(&self, name: &str, bytes: &str) {
        let outcome = self.ask("get", &["-o", "-", name]).expect_code(0);
        assert_eq!(outcome.stdout_text(), bytes, "{name}");
    }

    #[track_caller]
    fn expect_denied(&self, name: &str, what: &str) {
        let outcome = self
            .ask("get", &["-o", "-", name])
            .expect_code(1)
            .expect_said("(DENIED)");
        assert!(outcome.expect_said(what).stdout.is_empty(), "{name}");
    }
}

fn public(world: &World, users: &Users, more: &[&str]) -> Running {
    serve(world, users, users.a, &[&["--public"], more].concat())
}

/// One by one: the file itself, the directories on its way, through links and `..`, and what is not there.
#[test]
fn public_server_gives_out_what_everybody_may_read_and_nothing_else() {
    let world = World::new("users-modes");
    let Some(users) = Users::of(&world) else { return };
    furnish(&world);
    give_to(&world.source(""), users.a, users.a);
    // The root itself is what is offered, whatever its mode.
    content::set_mode(&world.source(""), 0o700);
    chown(world.source(""), Some(users.a), Some(users.a)).unwrap();
    let server = public(&world, &users, &[]);
    for uid in [users.b, users.a, 0] {
        let visitor = Visitor {
            world: &world,
            users: &users,
            uid,
        };
        for name in ["open/yes", "open/link", "passable/yes", "passable/../open/yes"] {
            let shown = if name.starts_with("passable/y") {
                name
            } else {
                "open/yes"
            };
            visitor.expect(name, shown);
        }
        for name in ["open/no", "open/secret-link"] {
            visitor.expect_denied(name, "others may not read it");
        }
        // Also on the way through, and for what is not there: a closed directory does not tell what it holds.
        for name in [
            "closed/yes",
            "closed/deep/yes",
            "open/way",
            "open/up",
            "readable/yes",
            "closed/nothing",
        ] {
            visitor.expect_denied(name, "others may not search a directory on the way to it");
        }
        let missing = visitor.ask("get", &["-o", "-", "open/nothing"]).expect_code(1);
        missing.expect_said("(FNF)");
    }
    stop(&server);
    let server = public(&world, &users, &["--serve-private"]);
    let visitor = Visitor {
        world: &world,
        users: &users,
        uid: users.b,
    };
    for (name, shown) in [
        ("open/no", "open/no"),
        ("open/secret-link", "open/no"),
        ("closed/yes", "closed/yes"),
        ("open/way", "closed/yes"),
        ("readable/yes", "readable/yes"),
    ] {
        visitor.expect(name, shown);
    }
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// Fetches everything, and says which names arrived.
fn tree(visitor: &Visitor<'_>, into: &Path) -> (Outcome, String) {
    let outcome = visitor.ask("get", &["-r", "-o", into.to_str().unwrap(), "."]);
    let names = content::names_below(into);
    let mut names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    names.sort();
    (outcome, names.join(" "))
}

/// In trees, by patterns and in lists. A name can be seen by whoever may list its directory, as on the disk.
#[test]
fn public_server_walks_only_where_everybody_may() {
    let world = World::new("users-walk");
    let Some(users) = Users::of(&world) else { return };
    furnish(&world);
    give_to(&world.source(""), users.a, users.a);
    let home = home_of(&world, users.b);
    let visitor = Visitor {
        world: &world,
        users: &users,
        uid: users.b,
    };
    let server = public(&world, &users, &[]);
    let (outcome, names) = tree(&visitor, &home.join("shown"));
    let outcome = outcome
        .expect_code(1)
        .expect_said("open/no: others may not read it");
    for closed in ["closed", "passable", "readable"] {
        let said = format!("get {closed}: others may not list it and search it");
        assert!(outcome.stderr.contains(&said), "{}", outcome.stderr);
    }
    assert_eq!(names, "open open/link open/secret-link open/way open/yes");
    let into = home.join("pattern");
    let found = visitor.ask("get", &["--json", "-o", into.to_str().unwrap(), "**/*"]);
    let mut found = found.expect_code(1).names_of("delivered");
    found.sort();
    assert_eq!(found, ["open/link", "open/yes"]);
    let outcome = visitor.ask("get", &["-o", "-", "closed/*"]).expect_code(1);
    assert!(outcome.expect_said("(DENIED)").stdout.is_empty());
    stop(&server);
    let server = public(&world, &users, &["--serve-private"]);
    let (outcome, names) = tree(&visitor, &home.join("all"));
    // A tree keeps its links, and this one goes up and down.
    outcome
        .expect_code(1)
        .expect_said("open/up")
        .expect_said("1 not delivered");
    assert!(
        names.contains("closed/deep/yes") && names.contains("open/no"),
        "{names}"
    );
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

#[test]
fn public_server_lists_only_what_everybody_may_list() {
    let world = World::new("users-list");
    let Some(users) = Users::of(&world) else { return };
    furnish(&world);
    give_to(&world.source(""), users.a, users.a);
    let visitor = Visitor {
        world: &world,
        users: &users,
        uid: users.b,
    };
    let server = public(&world, &users, &[]);
    let listed = visitor.ask("ls", &["-r"]).expect_code(0).stdout_text();
    let mut names: Vec<&str> = listed.lines().collect();
    names.sort_unstable();
    let open = [
        "open/",
        "open/link",
        "open/no",
        "open/secret-link",
        "open/up",
        "open/way",
        "open/yes",
    ];
    assert_eq!(
        names,
        [&["closed/"][..], &open, &["passable/", "readable/"]].concat()
    );
    for (name, what) in [
        ("closed", "list it"),
        ("passable", "list it"),
        ("readable", "list it"),
        ("closed/deep", "on the way"),
        ("open/no", "read it"),
        ("closed/*", "on the way"),
    ] {
        let outcome = visitor.ask("ls", &[name]).expect_code(1).expect_said("(DENIED)");
        assert!(outcome.expect_said(what).stdout.is_empty(), "{name}");
    }
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// A directory of this user's, for outputs.
fn home_of(world: &World, uid: u32) -> PathBuf {
    let home = world.root().join("home");
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(uid), None).unwrap();
    home
}

/// Name, mode, whether the file is the group's, what setfacl adds, and whether a member of the group may read it.
const FILES: [(&str, u32, bool, &str, bool); 10] = [
    ("plain", 0o640, true, "", true),
    ("not-the-groups", 0o640, false, "", false),
    ("for-others", 0o604, false, "", true),
    ("for-others-but-us", 0o604, true, "", false),
    ("listed", 0o600, false, "g:GROUP:r", true),
    ("listed-but-masked", 0o600, false, "g:GROUP:r,m::-", false),
    ("mask-only", 0o600, true, "u:7:rw,g::-", false),
    ("listed-for-another", 0o640, false, "g:7:r", false),
    ("named-and-excluded", 0o644, false, "g:GROUP:-", false),
    ("owner-and-list", 0o640, true, "u:7:rw", true),
];

fn add_to_list(world: &World, list: &str, path: &Path) {
    world
        .tool("setfacl")
        .args(["-m", list])
        .arg(path)
        .run()
        .expect_code(0);
}

fn furnish_with_lists(world: &World, users: &Users) {
    for directory in ["", "shut/"] {
        for (name, mode, is_groups, list, _) in FILES {
            let path = world.put(&format!("{directory}{name}"), name.as_bytes());
            let gid = if is_groups { users.group } else { users.a };
            chown(&path, Some(users.a), Some(gid)).unwrap();
            content::set_mode(&path, mode);
            if !list.is_empty() {
                add_to_list(world, &list.replace("GROUP", &users.group.to_string()), &path);
            }
        }
    }
    // A directory that looks open to its group, and is not.
    let shut = world.source("shut");
    chown(&shut, Some(users.a), Some(users.group)).unwrap();
    content::set_mode(&shut, 0o755);
    add_to_list(world, "u:7:rwx,g::-", &shut);
}

/// What a group may read is what its bits say if it is the file's group, else the bits for others; where there is an access control list
/// the group's bits are the mask of the list, and the list decides. The kernel is asked for its opinion of the same.
#[test]
fn group_server_shows_what_modes_and_lists_give_that_group() {
    let world = World::new("users-lists");
    let Some(users) = Users::of(&world) else { return };
    if !has_or_skip("setfacl") {
        return;
    }
    furnish_with_lists(&world, &users);
    let group = users.group.to_string();
    let server = world.server().args(["--group", &group]);
    let server = server.as_member(users.a, &[users.group]).start();
    server.wait_for_stderr("serving");
    let visitor = Visitor {
        world: &world,
        users: &users,
        uid: users.member,
    };
    for (name, .., is_shown) in FILES {
        let member = users.run_as(world.tool("cat").arg(world.source(name)), users.member);
        assert_eq!(member.run().code == Some(0), is_shown, "the kernel about {name}");
        if is_shown {
            visitor.expect(name, name);
        } else {
            visitor.expect_denied(name, &format!("group {group} may not read it"));
        }
        let said = format!("group {group} may not search a directory");
        visitor.expect_denied(&format!("shut/{name}"), &said);
    }
    let home = home_of(&world, users.member);
    let outcome = visitor.ask("get", &["--json", "-r", "-o", home.to_str().unwrap(), "."]);
    let mut delivered = outcome.expect_code(1).names_of("delivered");
    delivered.sort();
    let mut shown: Vec<&str> = FILES.iter().filter(|file| file.4).map(|file| file.0).collect();
    shown.sort_unstable();
    assert_eq!(delivered, shown);
    stop(&server);
    users.assert_nothing_left();
    world.finish();
}

/// A FIFO was opened before its kind was looked at. That let the process go that waited to write into it, which then died of SIGPIPE: any
/// client could do that to a FIFO of mode 0600. (Review of what protects users from each other.)
#[test]
fn public_server_does_not_open_what_is_no_file() {
    let world = World::new("files-fifo");
    let Some(users) = Users::of(&world) else { return };
    world.put("file", b"file");
    content::set_mode(&world.source("file"), 0o644);
    let pipe = world.source("pipe");
    world
        .tool("mkfifo")
        .args(["-m", "600"])
        .arg(&pipe)
        .run()
        .expect_code(0);
    symlink("pipe", world.source("link")).unwrap();
    let writer = world.tool("sh").args(["-c", "echo waits >&2; echo text > $0"]);
    let writer = writer.arg(&pipe).start();
    writer.wait_for_stderr("waits");
    let server = serve(&world, &users, 0, &["--public"]);
    let visitor = Visitor {
        world: &world,
        users: &users,
        uid: users.b,
    };
    for name in ["pipe", "link"] {
        let refused = visitor.ask("get", &["-o", "-", name]).expect_code(1);
        refused.expect_said("(NOT_A_FILE)").expect_said("FIFO");
    }
    visitor.expect("file", "file");
    assert!(writer.is_running(), "it was let go");
    assert_eq!(std::fs::read(&pipe).unwrap(), b"text\n");
    writer.finish().expect_code(0);
    stop(&server);
    world.finish();
}
