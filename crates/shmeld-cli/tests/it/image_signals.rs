//! Both sides of a channel of images, told to end while they are blocked on a pipe, and told once more. No channel is left.

use std::fs;

use shmeld_os::name::escape;

use crate::content;
use crate::endings::{SIGNALS, await_blocked, tell};
use crate::gallery::Gallery;
use crate::processes::{Running, full_pipe};
use crate::world::{World, eventually};

const NAME: &str = "5-64x48x3";

/// The requester was ended where it stood, blocked in a write, with its four objects.
#[test]
fn requester_whose_words_nobody_takes_leaves_no_channel() {
    let gallery = Gallery::new("image-signal-blocked");
    gallery.put(NAME);
    let provider = gallery.provide().arg("-q").start();
    let ways = [("--json", 4), ("--print", 1), ("--print", 4)];
    for ((signal, code), (what, times)) in SIGNALS.into_iter().zip(ways) {
        let (_reader, writer) = full_pipe(10);
        let requester = gallery.request().args([NAME, what, "-n", "1000"]);
        let requester = requester.stdout(writer).start();
        await_blocked(&requester);
        assert_eq!(gallery.left().len(), 4);
        tell(&requester, signal, times, code);
        gallery.assert_nothing_left();
    }
    provider.kill();
    gallery.finish();
}

/// A second signal ended it while it removed the channel.
#[test]
fn requester_told_twice_leaves_no_channel() {
    let gallery = Gallery::new("image-signal-twice");
    for (signal, code) in SIGNALS {
        let requester = gallery.request().args([NAME, "--print", "--explain"]).start();
        requester.wait_for_stderr("sem_post");
        tell(&requester, signal, 4, code);
        gallery.assert_nothing_left();
    }
    gallery.finish();
}

/// The names come from somebody who says nothing, or nothing yet.
#[test]
fn requester_that_reads_its_names_ends_at_once_and_has_made_nothing() {
    let gallery = Gallery::new("image-signal-names");
    let world = gallery.world();
    let fifo = world.root().join("fifo");
    world.tool("mkfifo").arg(&fifo).run().expect_code(0);
    for (signal, code) in SIGNALS {
        // Opened for both, it has no end; opened to be read, it has no beginning.
        let endless = format!("exec <>'{}'", fifo.display());
        for (names, script) in [("-", endless.as_str()), (fifo.to_str().unwrap(), "true")] {
            let requester = gallery.request().args(["--names-from", names]);
            let requester = requester.after(script).start();
            await_thread(&requester, "names");
            tell(&requester, signal, 2, code);
            gallery.assert_nothing_left();
        }
    }
    gallery.finish();
}

/// A provider removes the channel of a requester that died: also if nobody takes its words.
#[test]
fn provider_whose_words_nobody_takes_removes_the_channel_of_the_dead() {
    let gallery = Gallery::new("image-signal-provider");
    gallery.put(NAME);
    for (signal, code) in SIGNALS {
        let (_reader, writer) = full_pipe(10);
        let provider = gallery.provide().arg("--json").stdout(writer).start();
        let requester = gallery.request().args([NAME, "-q", "-n", "1000"]).start();
        await_blocked(&provider);
        requester.kill();
        tell(&provider, signal, 4, code);
        gallery.assert_nothing_left();
    }
    gallery.finish();
}

#[test]
fn demonstration_of_images_told_twice_leaves_nothing() {
    let world = World::new("image-signal-demo");
    let stages = world.root().join("stages");
    fs::create_dir(&stages).unwrap();
    let export = format!("export TMPDIR='{}'", stages.display());
    for (signal, code) in SIGNALS {
        let before = channels();
        let demo = world.shmeld("demo").arg("image").after(&export).start();
        eventually("it has begun", || {
            let names = content::names_below(&stages);
            names.iter().any(|name| content::base(name) == "provider.log")
        });
        tell(&demo, signal, 4, code);
        assert!(content::names_below(&stages).is_empty(), "{signal}");
        let left: Vec<_> = channels()
            .into_iter()
            .filter(|name| !before.contains(name))
            .collect();
        // Those of other tests that run meanwhile go by themselves.
        eventually("nothing is left", || {
            !left.iter().any(|name| channels().contains(name))
        });
    }
    world.finish();
}

/// What is there of channels of demonstrations.
fn channels() -> Vec<String> {
    let names = shmeld_os::listing::shared_memory_names("").unwrap();
    let names = names.iter().map(|name| escape(name));
    names.filter(|name| name.contains("_shmeld-demo-")).collect()
}

/// Waits for a thread of this name.
#[track_caller]
fn await_thread(process: &Running, name: &str) {
    let threads = format!("/proc/{}/task", process.pid());
    let is_it = |thread: fs::DirEntry| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|found| found.trim() == name)
    };
    eventually("the thread is there", || {
        fs::read_dir(&threads).is_ok_and(|threads| threads.flatten().any(is_it))
    });
}
