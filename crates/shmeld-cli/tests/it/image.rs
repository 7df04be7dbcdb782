//! Images between two processes of ours: in any order, many names, one missing, what is told, and what is refused.

use std::time::{Duration, Instant};

use crate::gallery::Gallery;
use crate::world::{eventually, has_or_skip, is_root_or_skip};

const NAMES: [&str; 4] = ["1-4x3x1", "2-640x480x3", "3-1x1x4", "4-100x50x2"];

#[test]
fn images_arrive_whole_whichever_side_comes_first() {
    let gallery = Gallery::new("image-orders");
    NAMES.iter().for_each(|name| gallery.put(name));
    let provider = gallery.provide().args(["-n", "4"]).start();
    provider.wait_for_stderr("providing");
    gallery.request().args(NAMES).run().expect_code(0);
    provider.finish().expect_code(0);
    NAMES.iter().for_each(|name| gallery.assert_got(name));
    gallery.assert_nothing_left();
    let requester = gallery.request().args(NAMES).start();
    eventually("the channel is there", || gallery.left().len() == 4);
    let provider = gallery.provide().args(["-n", "4"]).start();
    requester.finish().expect_code(0);
    provider.finish().expect_code(0);
    gallery.finish();
}

#[test]
fn missing_image_is_an_error_of_its_own_and_the_others_come() {
    let gallery = Gallery::new("image-missing");
    gallery.put("1-4x3x1");
    let provider = gallery.provide().start();
    let outcome = gallery
        .request()
        .args(["nope", "1-4x3x1", "a/b", "..", "", "nope"])
        .run();
    let outcome = outcome.expect_code(1);
    let reason = "shmeld: image nope: there is neither nope nor nope.*";
    assert_eq!(outcome.stderr.matches(reason).count(), 2, "{}", outcome.stderr);
    // The name was told twice, and the empty one as nothing.
    let outcome = outcome.expect_said("shmeld: image a/b: the name of an image has no /");
    outcome.expect_said("shmeld: image \"\": an image has ");
    gallery.assert_got("1-4x3x1");
    assert!(provider.is_running());
    gallery.request().arg("1-4x3x1").run().expect_code(0);
    provider.signal("TERM");
    provider.finish().expect_code(143);
    gallery.finish();
}

#[test]
fn names_come_from_a_list_by_chance_and_are_told_as_json() {
    let gallery = Gallery::new("image-list");
    NAMES.iter().for_each(|name| gallery.put(name));
    let provider = gallery.provide().args(["-n", "30", "--json"]).start();
    let list = NAMES.join("\n");
    let requester =
        gallery
            .world()
            .shmeld("image")
            .args(["request", gallery.channel(), "--print", "--json", "-q"]);
    let requester = requester
        .args(["--names-from", "-", "--random", "-n", "30"])
        .input(list.as_bytes());
    let outcome = requester.run().expect_code(0).expect_silence();
    let names = outcome.names_of("image");
    assert_eq!(names.len(), 30);
    assert!(
        names.iter().all(|name| NAMES.contains(&name.as_str())),
        "{names:?}"
    );
    let last = outcome.json_lines().pop().unwrap();
    assert_eq!((&last["images"], &last["exit_code"]), (&30.into(), &0.into()));
    assert_eq!(provider.finish().expect_code(0).names_of("provided"), names);
    gallery.world().assert_no_output();
    gallery.finish();
}

#[test]
fn printed_numbers_are_those_of_the_channel() {
    let gallery = Gallery::new("image-print");
    gallery.put("2-640x480x3");
    let provider = gallery.provide().args(["-n", "1", "-q"]).start();
    let requester =
        gallery
            .world()
            .shmeld("image")
            .args(["request", gallery.channel(), "--print", "-q", "2-640x480x3"]);
    let outcome = requester.run().expect_code(0).expect_silence();
    assert_eq!(outcome.stdout_text(), "2-640x480x3 921600 640 480 3\n");
    provider.finish().expect_code(0).expect_silence();
    gallery.finish();
}

#[test]
fn either_side_waits_as_long_as_it_is_told() {
    let gallery = Gallery::new("image-waits");
    let start = Instant::now();
    let requester = gallery
        .request()
        .args(["x", "--timeout", "300ms"])
        .run()
        .expect_code(3);
    requester
        .expect_said("no provider (waited 0.3 s)")
        .expect_said("hint: start one: shmeld image provide");
    gallery.assert_nothing_left();
    let provider = gallery
        .provide()
        .args(["--timeout", "300ms"])
        .run()
        .expect_code(3);
    provider.expect_said("no request (waited 0.3 s)");
    assert!(start.elapsed() < Duration::from_secs(5));
    gallery.finish();
}

#[test]
fn either_side_asked_to_end_ends_with_its_code_and_leaves_nothing() {
    let gallery = Gallery::new("image-signals");
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let requester = gallery.request().arg("x").start();
        eventually("the channel is there", || gallery.left().len() == 4);
        requester.wait_for_stderr("waiting for a provider");
        requester.signal(signal);
        requester.finish().expect_code(code);
        gallery.assert_nothing_left();
        let provider = gallery.provide().start();
        provider.wait_for_stderr("providing");
        provider.signal(signal);
        provider.finish().expect_code(code);
    }
    gallery.finish();
}

#[test]
fn second_requester_is_refused_and_second_provider_waits() {
    let gallery = Gallery::new("image-second");
    gallery.put("1-4x3x1");
    let requester = gallery.request().args(["1-4x3x1", "-n", "3"]).start();
    eventually("the channel is there", || gallery.left().len() == 4);
    let second = gallery.request().arg("1-4x3x1").run().expect_code(3);
    second
        .expect_said("in use by a requester that lives")
        .expect_said("--force");
    let first = gallery.provide().args(["-n", "2"]).start();
    let second = gallery.provide().args(["-n", "1"]).start();
    let asked = requester.finish().expect_code(0);
    for provider in [first, second] {
        provider.finish().expect_code(0);
    }
    assert_eq!(asked.stderr.matches("image 1-4x3x1").count(), 3);
    gallery.finish();
}

#[test]
fn channel_that_is_taken_by_force_is_lost_to_its_first_requester() {
    let gallery = Gallery::new("image-force");
    gallery.put("1-4x3x1");
    let first = gallery.request().arg("x").start();
    eventually("the channel is there", || gallery.left().len() == 4);
    let second = gallery.request().args(["--force", "1-4x3x1"]).start();
    first
        .finish()
        .expect_code(3)
        .expect_said("in use by a requester that lives");
    let provider = gallery.provide().args(["-n", "1"]).start();
    second.finish().expect_code(0);
    provider.finish().expect_code(0);
    gallery.finish();
}

/// Rows N1 and N2 of the catalogue, for channels.
#[test]
fn channel_of_another_user_is_neither_replaced_nor_served() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let gallery = Gallery::new("image-foreign");
    gallery.put("1-4x3x1");
    let theirs = gallery
        .request()
        .args(["--public", "--print", "1-4x3x1"])
        .as_user(54321)
        .start();
    eventually("the channel is there", || gallery.left().len() == 4);
    let mine = gallery
        .request()
        .args(["--force", "1-4x3x1"])
        .run()
        .expect_code(3);
    mine.expect_said("belongs to uid 54321, not to us");
    gallery
        .provide()
        .run()
        .expect_code(3)
        .expect_said("belongs to uid 54321");
    let provider = gallery
        .provide()
        .args(["--requester-uid", "54321", "-n", "1"])
        .run();
    provider.expect_code(0);
    theirs.finish().expect_code(1).expect_said("permission denied");
    gallery.finish();
}

#[test]
fn channel_is_private_unless_it_is_public() {
    if !is_root_or_skip() || !has_or_skip("setpriv") {
        return;
    }
    let gallery = Gallery::new("image-private");
    gallery.put("1-4x3x1");
    for (option, code) in [("-q", 3), ("--public", 0)] {
        let requester = gallery.request().args([option, "1-4x3x1"]).start();
        eventually("the channel is there", || gallery.left().len() == 4);
        let provider = gallery.provide().args(["-n", "1"]).as_user(54321).run();
        let provider = provider.expect_code(code);
        if code == 0 {
            requester.finish().expect_code(0);
        } else {
            provider.expect_said("hint: only its own user may use this channel");
            requester.signal("INT");
            requester.finish().expect_code(130);
        }
    }
    gallery.finish();
}

#[test]
fn explained_exchange_names_each_step_its_object_and_why() {
    let gallery = Gallery::new("image-explain");
    gallery.put("1-4x3x1");
    let provider = gallery.provide().args(["-n", "1", "--explain"]).start();
    let requester = gallery
        .request()
        .args(["--explain", "1-4x3x1"])
        .run()
        .expect_code(0);
    let provider = provider.finish().expect_code(0);
    for step in [
        "O_TMPFILE",
        "fcntl(F_OFD_SETLK)",
        "linkat",
        "sem_open(O_CREAT|O_EXCL)",
        "sem_post",
        "sem_wait",
        "shm_unlink",
    ] {
        assert!(requester.stderr.contains(step), "{step} in\n{}", requester.stderr);
    }
    for step in [
        "shm_open",
        "fcntl(F_OFD_SETLK)",
        "sem_wait",
        "asks for 1-4x3x1",
        "sem_post",
    ] {
        assert!(provider.stderr.contains(step), "{step} in\n{}", provider.stderr);
    }
    gallery.finish();
}

/// Its decoder indexes beyond a row. That is caught; it used to be told as if the provider had ended, with paths of where it was built.
#[test]
fn file_that_makes_its_decoder_panic_is_a_broken_file_and_no_more() {
    let gallery = Gallery::new("image-panic");
    gallery.world().put("bad.jpg", include_bytes!("panicking.jpg"));
    gallery.put("1-4x3x1");
    let provider = gallery.provide().args(["-n", "2"]).start();
    let outcome = gallery.request().args(["bad", "1-4x3x1"]).run();
    outcome
        .expect_code(1)
        .expect_said("image bad: bad.jpg: it is a broken jpg file");
    gallery.assert_got("1-4x3x1");
    let provider = provider.finish().expect_code(0);
    assert!(!provider.stderr.contains("panicked"), "{}", provider.stderr);
    gallery.finish();
}
