//! A tree that did not become whole is removed again, and nothing else is touched on the way.

use std::os::unix::fs::symlink;

use crate::content;
use crate::world::{NOBODY, World, eventually, has_or_skip, is_root_or_skip};

/// Directories with their final modes have to be opened up before they can be removed. That was done by their paths: whoever could rename in
/// the output directory put a link to the user's home in the place of the tree, and modes there were changed.
#[test]
fn tree_that_is_exchanged_for_a_link_while_it_is_removed_changes_nothing_where_the_link_leads() {
    if !is_root_or_skip() || !has_or_skip("setpriv") || !has_or_skip("strace") {
        return;
    }
    let world = World::new("tree-exchanged");
    world.put("tree/locked/file", b"x");
    content::set_mode(&world.source("tree/locked"), 0o555);
    content::set_mode(world.root(), 0o777);
    content::set_mode(&world.output(""), 0o777);
    let home = world.root().join("home");
    std::fs::create_dir_all(home.join("locked")).unwrap();
    for path in [home.clone(), home.join("locked")] {
        content::set_mode(&path, 0o755);
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    world.server().as_user(NOBODY).start().wait_for_stderr("serving");
    for is_exchanged in [false, true] {
        // The first unlinkat is the region's; by the second the file should be removed, which its directory does not allow yet. It stops there.
        let stop = "inject=unlinkat:signal=STOP:when=2";
        let taken = "inject=renameat2:error=EEXIST";
        let strace = [
            "strace", "-D", "-f", "-qq", "-o", "calls", "-e", stop, "-e", taken,
        ];
        let client = world.client().args(["-q", "-r", "tree", "-o"]);
        let client = client
            .arg(world.output(""))
            .wrapped(&strace)
            .as_user(NOBODY)
            .start();
        eventually("it stands still", || {
            let calls = std::fs::read_to_string(world.root().join("calls"));
            calls.is_ok_and(|calls| calls.contains("stopped by SIGSTOP"))
        });
        let mut names = content::names_below(&world.output(""));
        let aside = world.output(names.remove(0).to_str().unwrap());
        assert!(aside.join("locked/file").exists());
        if is_exchanged {
            std::fs::rename(&aside, world.output("elsewhere")).unwrap();
            symlink(&home, &aside).unwrap();
        }
        client.signal("CONT");
        client.finish().expect_code(1).expect_said("EEXIST");
        assert_eq!(content::mode(&home.join("locked")), 0o755);
        assert_eq!(aside.is_symlink(), is_exchanged);
        if is_exchanged {
            std::fs::remove_file(&aside).unwrap();
        } else {
            world.assert_no_output();
        }
        std::fs::remove_file(world.root().join("calls")).unwrap();
    }
    world.finish();
}
