//! `shmeld ipc` beside C programs that use segments in the common way, and beside ipcs and ipcrm.

use crate::ipc_world::Places;
use crate::peers::compile_or_skip;
use crate::world::{World, eventually, has_or_skip};

#[test]
fn c_program_uses_segments_made_by_shmeld() {
    let (world, places) = (World::new("c-user"), Places::new());
    let Some(binary) = compile_or_skip(&world, "segment_user") else {
        return;
    };
    let peer = |words: &[&str]| world.tool(binary.to_str().unwrap()).args(words);
    let key = places.key.to_string();
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "27"]);
    world.ipc_written(&lasting, b"from shmeld\0");
    assert_eq!(
        peer(&["print", &key]).run().expect_code(0).stdout_text(),
        "from shmeld\n"
    );
    // open_segment finds it, by a size up to its own, and is refused with more.
    let found = peer(&["create", &key, "20", "from C"])
        .run()
        .expect_code(0)
        .stdout_text();
    assert_eq!(format!("sysv:#{}", found.trim_end()), lasting);
    peer(&["create", &key, "28", "from C"])
        .run()
        .expect_code(1)
        .expect_said("shmget: EINVAL");
    assert!(
        world
            .ipc(&["read", &lasting])
            .run()
            .stdout
            .starts_with(b"from C\0")
    );
    world.ipc_done(&["rm", &places.sysv()]);
    // The same with a POSIX segment.
    world.ipc_done(&["create", &places.posix(), "--size", "100"]);
    world.ipc_written(&places.posix(), b"from shmeld\0");
    let printed = peer(&["posix-print", &places.name.to_string()])
        .run()
        .expect_code(0);
    assert_eq!(printed.stdout_text(), "from shmeld\n");
    world.ipc_done(&["rm", &places.posix()]);
    places.assert_empty();
    world.finish();
}

#[test]
fn segment_that_a_c_program_holds_is_marked_and_its_number_still_leads_to_it() {
    let (world, places) = (World::new("c-holder"), Places::new());
    let Some(binary) = compile_or_skip(&world, "segment_user") else {
        return;
    };
    let peer = |words: &[&str]| world.tool(binary.to_str().unwrap()).args(words);
    let key = places.key.to_string();
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "27"]);
    world.ipc_written(&lasting, b"a text\0");
    let hold = peer(&["hold", &key]).after("exec 0< fifo");
    world.tool("mkfifo").arg("fifo").run().expect_code(0);
    let held = hold.start();
    let writer = std::fs::OpenOptions::new()
        .write(true)
        .open(world.root().join("fifo"))
        .unwrap();
    held.wait_for_stderr("attached");
    world
        .ipc(&["rm", &places.sysv()])
        .run()
        .expect_code(0)
        .expect_said("1 attached, and it goes when that one");
    peer(&["print", &key])
        .run()
        .expect_code(1)
        .expect_said("shmget: ENOENT");
    let number = &lasting["sysv:".len()..];
    assert_eq!(
        peer(&["print", number]).run().expect_code(0).stdout_text(),
        "a text\n"
    );
    drop(writer);
    held.finish().expect_code(0);
    world.ipc_refused(3, &["show", &lasting]).expect_said("(EINVAL)");
    peer(&["print", number])
        .run()
        .expect_code(1)
        .expect_said("shmat: EINVAL");
    places.assert_empty();
    world.finish();
}

#[test]
fn shmeld_uses_segments_made_by_a_c_program() {
    let (world, places) = (World::new("c-maker"), Places::new());
    let Some(binary) = compile_or_skip(&world, "segment_user") else {
        return;
    };
    let peer = |words: &[&str]| world.tool(binary.to_str().unwrap()).args(words);
    let key = places.key.to_string();
    let made = peer(&["create", &key, "5678", "a text"])
        .run()
        .expect_code(0)
        .stdout_text();
    let shown = world.ipc_shown(&places.sysv());
    assert_eq!(shown["address"], format!("sysv:#{}", made.trim_end()));
    assert_eq!((&shown["size"], &shown["mode"]), (&5678.into(), &"0660".into()));
    assert!(
        world
            .ipc(&["read", &places.sysv()])
            .run()
            .stdout
            .starts_with(b"a text\0")
    );
    world
        .ipc(&["write", &places.sysv(), "--offset", "2"])
        .input(b"word\0")
        .run()
        .expect_code(0);
    assert_eq!(peer(&["print", &key]).run().stdout_text(), "a word\n");
    assert_eq!(
        world.ipc_done(&["create", &places.sysv(), "--size", "27"]),
        shown["address"]
    );
    peer(&["remove", &key]).run().expect_code(0);
    world
        .ipc_refused(3, &["show", &places.sysv()])
        .expect_said("(ENOENT)");
    let name = places.name.to_string();
    peer(&["posix-create", &name, "5000", "a text"])
        .run()
        .expect_code(0);
    assert_eq!(world.ipc_shown(&places.posix())["size"], 5000);
    assert!(
        world
            .ipc(&["read", &places.posix()])
            .run()
            .stdout
            .starts_with(b"a text\0")
    );
    world.ipc_done(&["rm", &places.posix()]);
    places.assert_empty();
    world.finish();
}

/// The line of `ipcs -m` about a segment, as words: key, number, owner, mode, bytes, attachments, status.
fn line_of_ipcs(world: &World, number: &str) -> Option<Vec<String>> {
    let text = world.tool("ipcs").arg("-m").run().expect_code(0).stdout_text();
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines
        .into_iter()
        .find(|words| words.get(1).is_some_and(|word| word == number))
}

#[test]
fn ipcs_and_ipcrm_agree_with_show_and_rm() {
    if !has_or_skip("ipcs") || !has_or_skip("ipcrm") {
        return;
    }
    let (world, places) = (World::new("ipcs"), Places::new());
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "5000", "--mode", "640"]);
    let number = &lasting["sysv:#".len()..];
    let line = line_of_ipcs(&world, number).unwrap();
    assert_eq!(
        (line[0].as_str(), line[3].as_str(), &line[4..6]),
        (
            places.key.to_string().as_str(),
            "640",
            &["5000".to_owned(), "0".to_owned()][..]
        )
    );
    let holder = world.ipc(&["attach", &lasting]).start();
    eventually("it holds it", || world.ipc_shown(&lasting)["attached"] == 1);
    assert_eq!(line_of_ipcs(&world, number).unwrap()[5], "1");
    // What ipcrm has marked is shown as marked.
    world.tool("ipcrm").args(["-m", number]).run().expect_code(0);
    let line = line_of_ipcs(&world, number).unwrap();
    assert_eq!((line[0].as_str(), line[6].as_str()), ("0x00000000", "dest"));
    let shown = world.ipc_shown(&lasting);
    assert_eq!(
        (&shown["marked"], &shown["key"]),
        (&true.into(), &"0x00000000".into())
    );
    holder.signal("TERM");
    holder
        .finish()
        .expect_code(143)
        .expect_said(", which is gone now");
    assert_eq!(line_of_ipcs(&world, number), None);
    // And the other way round; a key that ipcrm has removed is free.
    let lasting = world.ipc_done(&["create", &places.sysv(), "--size", "1"]);
    world
        .ipc(&["rm", &places.sysv()])
        .run()
        .expect_code(0)
        .expect_line(&format!("shmeld: removed {}", places.sysv()));
    assert_eq!(line_of_ipcs(&world, &lasting["sysv:#".len()..]), None);
    world.ipc_done(&["create", &places.sysv(), "--size", "1"]);
    world
        .tool("ipcrm")
        .args(["-M", &places.key.to_string()])
        .run()
        .expect_code(0);
    world
        .ipc_refused(3, &["open", &places.sysv()])
        .expect_said("(ENOENT)");
    places.assert_empty();
    world.finish();
}
