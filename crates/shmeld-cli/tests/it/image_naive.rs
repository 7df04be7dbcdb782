//! Careless C++ programs on the channel: in either role, in any order, killed and started again, and lying.

use std::time::{Duration, Instant};

use crate::gallery::{Gallery, assert_naive_got};
use crate::world::eventually;

const NAMES: [&str; 3] = ["1-4x3x1", "2-640x480x3", "3-1x1x4"];

#[test]
fn naive_provider_serves_in_either_order_and_its_exit_is_no_harm() {
    let gallery = Gallery::new("image-naive-provider");
    // It is there first, and has made the semaphores.
    let Some(provider) = gallery.start_naive_provider(&["-n", "4"]) else {
        return;
    };
    let names = [NAMES[0], NAMES[1], NAMES[2], NAMES[0]];
    gallery.request().args(names).run().expect_code(0);
    provider.finish();
    NAMES.iter().for_each(|name| gallery.assert_got(name));
    // It comes second; at its end it removes the channel, which comes again for the next one.
    let requester = gallery.request().args(NAMES).args(["-n", "6"]).start();
    eventually("the channel is there", || gallery.left().len() == 4);
    for blocks in [false, true] {
        gallery
            .start_naive_provider(if blocks { &["-b", "-n", "3"] } else { &["-n", "3"] })
            .unwrap()
            .finish()
            .expect_code(0);
    }
    requester.finish().expect_code(0);
    gallery.finish();
}

#[test]
fn naive_requester_is_served_in_either_order_and_again() {
    let gallery = Gallery::new("image-naive-requester");
    NAMES.iter().for_each(|name| gallery.put(name));
    let provider = gallery.provide().start();
    provider.wait_for_stderr("providing");
    let output = gallery.world().output("");
    let output = output.to_str().unwrap();
    for blocks in [false, true, true] {
        let Some(requester) = gallery.naive_or_skip("request") else {
            return;
        };
        let requester = if blocks { requester.arg("-b") } else { requester };
        let outcome = requester.args(["-o", output]).args(NAMES).run().expect_code(0);
        assert!(outcome.stdout_text().contains("2-640x480x3 921600 640 480 3"));
        NAMES.iter().for_each(|name| assert_naive_got(&gallery, name));
    }
    provider.signal("TERM");
    provider.finish().expect_code(143);
    let requester = gallery
        .naive_or_skip("request")
        .unwrap()
        .args(["-o", output, NAMES[1]])
        .start();
    requester.wait_for_stderr("ready");
    gallery.provide().args(["-n", "1"]).run().expect_code(0);
    requester.finish().expect_code(0);
    gallery.finish();
}

/// It makes the segments anew and keeps the semaphores.
#[test]
fn killed_naive_requester_has_a_successor_that_is_served() {
    let gallery = Gallery::new("image-naive-killed");
    NAMES.iter().for_each(|name| gallery.put(name));
    let provider = gallery.provide().start();
    let output = gallery.world().output("");
    let output = output.to_str().unwrap();
    for _ in 0..3 {
        let Some(victim) = gallery.naive_or_skip("request") else {
            return;
        };
        let victim = victim.args(["-n", "100000", "-o", output, NAMES[0]]).start();
        eventually("it got one", || {
            gallery.world().output(&format!("{}.bin", NAMES[0])).exists()
        });
        victim.kill();
    }
    // What a killed one leaves half done may cost its successor an image, which is its own affair; ours goes on.
    assert!(provider.is_running());
    // A requester of ours takes the channel over: nobody holds a lease.
    gallery.request().args(NAMES).run().expect_code(0);
    NAMES.iter().for_each(|name| gallery.assert_got(name));
    provider.signal("TERM");
    provider.finish().expect_code(143);
    gallery.finish();
}

#[test]
fn killed_naive_provider_costs_its_time_and_the_next_one_serves() {
    let gallery = Gallery::new("image-naive-dies");
    let Some(victim) = gallery.start_naive_provider(&["--lie", "die"]) else {
        return;
    };
    let start = Instant::now();
    let outcome = gallery
        .request()
        .args([NAMES[0], "--timeout", "500ms"])
        .run()
        .expect_code(4);
    outcome.expect_said("no answer, although a provider took the request");
    assert!(start.elapsed() < Duration::from_secs(3));
    victim.kill();
    gallery.assert_nothing_left();
    let provider = gallery.start_naive_provider(&["-n", "1"]).unwrap();
    gallery.request().arg(NAMES[0]).run().expect_code(0);
    gallery.assert_got(NAMES[0]);
    provider.finish();
    gallery.finish();
}

/// Rows R1, R10, R19 and R20 of the catalogue: each lie is an error of that image, never a signal, a hang or pixels.
#[test]
fn lies_of_a_provider_are_errors() {
    let gallery = Gallery::new("image-lies");
    for (lie, code, said) in [
        (
            "short-data",
            4,
            "HEAD promises 921600 bytes of pixels, and DATA has 460800",
        ),
        (
            "no-data",
            4,
            "HEAD promises 921600 bytes of pixels, and DATA has 0",
        ),
        ("overflow", 4, "has more than"),
        ("half", 4, "has more than"),
        ("product", 4, "921599 bytes are not 640 x 480 x 3"),
        ("channels", 4, "one to 4 channels, not 5"),
        (
            "huge",
            4,
            "HEAD promises 1073741824 bytes of pixels, and DATA has",
        ),
        ("short-head", 4, "HEAD has 31 bytes, and an answer 32"),
        ("text", 1, "image 2-640x480x3: "),
        ("cut-answer", 4, "RES was made shorter"),
        ("mute", 4, "no answer, although a provider took the request"),
        ("cut-request", 4, "REQ was made shorter"),
    ] {
        let Some(provider) = gallery.start_naive_provider(&["--lie", lie]) else {
            return;
        };
        // What is wrong with REQ is found by the next request.
        let count = if lie == "cut-request" { "2" } else { "1" };
        let requester = gallery.request().args(["--timeout", "1s", "-n", count, NAMES[1]]);
        let outcome = requester.run();
        let fits = outcome.code == Some(code) && outcome.stderr.contains(said);
        assert!(fits, "{lie}: {:?}\n{}", outcome.code, outcome.story);
        if count == "1" {
            gallery.world().assert_no_output();
        }
        gallery.assert_nothing_left();
        provider.kill();
    }
    gallery.finish();
}

/// Row R10: libc would abort or hang on some of these, and the provider's own does: the first one costs it its life after its first answer.
/// The second one makes its own post wrap to 0, so that the answer is not heard of, unless we looked in between. Takes its time:
/// both silences are waited out.
#[test]
fn forged_semaphores_cost_time_at_most() {
    let gallery = Gallery::new("image-forged");
    for (lie, codes, is_answered) in [
        ("forge-shared", &[0, 3][..], true),
        ("forge-value", &[0, 3, 4], false),
        ("forge-units", &[0], true),
    ] {
        let Some(provider) = gallery.start_naive_provider(&["--lie", lie]) else {
            return;
        };
        let start = Instant::now();
        let requester = gallery.request().args(["--timeout", "2s", NAMES[1], NAMES[2]]);
        let outcome = requester.run();
        let code = outcome.code.unwrap_or(-1);
        assert!(codes.contains(&code), "{lie}: {code}\n{}", outcome.story);
        let lasted = start.elapsed();
        assert!(lasted < Duration::from_secs(6), "{lie}: {lasted:?}");
        for (name, must_be_there) in [(NAMES[1], is_answered || code == 0), (NAMES[2], code == 0)] {
            let path = gallery.world().output(&format!("{name}.raw"));
            if must_be_there || path.exists() {
                gallery.assert_got(name);
                std::fs::remove_file(path).unwrap();
            }
        }
        gallery.assert_nothing_left();
        provider.kill();
        let honest = gallery.start_naive_provider(&["-n", "1"]).unwrap();
        gallery.request().arg(NAMES[0]).run().expect_code(0);
        gallery.assert_got(NAMES[0]);
        std::fs::remove_file(gallery.world().output(&format!("{}.raw", NAMES[0]))).unwrap();
        honest.finish();
    }
    gallery.finish();
}

#[test]
fn lies_of_a_requester_are_answered_and_the_next_one_is_served() {
    let gallery = Gallery::new("image-requester-lies");
    gallery.put(NAMES[0]);
    let provider = gallery.provide().start();
    for (lie, said) in [
        ("long-name", "a name of 201 bytes is longer than 200"),
        ("half-name", "a name of 9223372036854775808 bytes is longer"),
        ("no-name", "a name of at least one byte"),
        ("short-name", "HEAD promises a name of 7 bytes, and DATA has 1"),
        ("short-head", "HEAD has 7 bytes, and a request 8"),
        ("nul", "has no / and no NUL"),
        ("slash", "has no / and no NUL"),
    ] {
        let Some(liar) = gallery.naive_or_skip("request") else {
            return;
        };
        liar.args(["--lie", lie, NAMES[0]]).run().expect_code(0);
        provider.wait_for_stderr(said);
        gallery.request().arg(NAMES[0]).run().expect_code(0);
        gallery.assert_got(NAMES[0]);
    }
    provider.signal("INT");
    provider.finish().expect_code(130);
    gallery.finish();
}
