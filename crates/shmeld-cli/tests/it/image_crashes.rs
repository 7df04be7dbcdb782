//! Either side of a channel killed and started again; what is noticed, how fast, and what is left.

use std::time::{Duration, Instant};

use crate::gallery::Gallery;
use crate::world::{eventually, has_or_skip};

const NAME: &str = "7-64x48x3";

/// Row C1 of the catalogue, for channels.
#[test]
fn channel_of_a_killed_requester_is_taken_over_by_the_next_one() {
    let gallery = Gallery::new("image-dead-requester");
    gallery.put(NAME);
    let provider = gallery.provide().start();
    for _ in 0..3 {
        let victim = gallery.request().args([NAME, "-n", "100000", "-q"]).start();
        eventually("an image came", || {
            gallery.world().output(&format!("{NAME}.raw.json")).exists()
        });
        victim.kill();
        assert_eq!(gallery.left().len(), 4);
        provider.wait_for_stderr("its requester died");
        let next = gallery.request().arg(NAME).run().expect_code(0);
        next.expect_said("removing what a requester left that is gone");
        gallery.assert_got(NAME);
        std::fs::remove_file(gallery.world().output(&format!("{NAME}.raw.json"))).unwrap();
        gallery.assert_nothing_left();
    }
    provider.signal("INT");
    provider.finish().expect_code(130);
    gallery.finish();
}

#[test]
fn provider_removes_the_channel_of_its_dead_requester_at_its_end() {
    let gallery = Gallery::new("image-both-dead");
    let requester = gallery.request().arg("x").start();
    eventually("the channel is there", || gallery.left().len() == 4);
    let provider = gallery.provide().start();
    provider.wait_for_stderr("image x");
    requester.finish().expect_code(1);
    let victim = gallery.request().args(["x", "-n", "100000", "-q"]).start();
    eventually("it is served", || {
        provider.stderr().matches("image x").count() > 1
    });
    victim.kill();
    provider.wait_for_stderr("its requester died");
    provider.signal("TERM");
    provider.finish().expect_code(143);
    gallery.finish();
}

/// Row C2 of the catalogue, for channels. Most of the time the provider is busy with a request: of ten deaths some hit one.
#[test]
fn killed_provider_is_noticed_within_a_second_and_the_next_one_is_asked() {
    const LARGE: &str = "8-1920x1080x3";
    let gallery = Gallery::new("image-dead-provider");
    gallery.put(LARGE);
    let requester = gallery
        .world()
        .shmeld("image")
        .args(["request", gallery.channel(), "--print"]);
    let requester = requester.args([LARGE, "-n", "1000000"]).start();
    let deaths = || requester.stderr().matches("the provider died").count();
    for _ in 0..10 {
        let provider = gallery.provide().start();
        eventually("it serves", || provider.stderr().matches("image 8-").count() > 3);
        let (before, start) = (deaths(), Instant::now());
        provider.kill();
        // One that had nothing to do dies unnoticed.
        while deaths() == before && start.elapsed() < Duration::from_secs(1) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(deaths() > 0, "none of ten deaths was told within a second");
    assert!(requester.is_running());
    requester.signal("INT");
    requester.finish().expect_code(130);
    gallery.finish();
}

/// It came, took the request and died before anybody looked: the requester waited for its whole timeout, and called it silent.
#[test]
fn provider_that_dies_as_soon_as_it_comes_is_missed_within_a_second() {
    let gallery = Gallery::new("image-short-lived");
    gallery.put(NAME);
    if !has_or_skip("strace") {
        return;
    }
    for _ in 0..3 {
        let requester = gallery.request().args([NAME, "--timeout", "20s"]).start();
        eventually("the channel is there", || gallery.left().len() == 4);
        // The first file that it opens for a request.
        let inject = [
            "strace",
            "-e",
            "trace=openat2",
            "-e",
            "inject=openat2:signal=KILL:when=1",
        ];
        let provider = gallery.provide().wrapped(&inject).run();
        assert_ne!(provider.code, Some(0), "{}", provider.story);
        let start = Instant::now();
        requester.wait_for_stderr("the provider died");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        requester.signal("TERM");
        requester.finish().expect_code(143);
        gallery.assert_nothing_left();
    }
    gallery.finish();
}

#[test]
fn killed_provider_without_a_successor_ends_the_requester_with_four_or_three() {
    let gallery = Gallery::new("image-no-successor");
    gallery.put(NAME);
    let provider = gallery.provide().start();
    let requester = gallery
        .request()
        .args([NAME, "-n", "1000000", "-q", "--timeout", "1s"])
        .start();
    eventually("an image came", || {
        gallery.world().output(&format!("{NAME}.raw.json")).exists()
    });
    provider.kill();
    let start = Instant::now();
    let outcome = requester.finish();
    assert!(matches!(outcome.code, Some(3 | 4)), "{}", outcome.story);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    gallery.finish();
}

#[test]
fn stopped_provider_is_waited_for_and_goes_on() {
    let gallery = Gallery::new("image-stopped");
    gallery.put(NAME);
    let provider = gallery.provide().start();
    gallery.request().arg(NAME).run().expect_code(0);
    provider.signal("STOP");
    let requester = gallery.request().args(["-q", NAME]).start();
    std::thread::sleep(Duration::from_millis(700));
    assert!(requester.is_running());
    provider.signal("CONT");
    requester.finish().expect_code(0).expect_silence();
    provider.kill();
    gallery.finish();
}
