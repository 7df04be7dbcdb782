//! Channels of images in the catalogue: what killed programs of ours left is stale, and goes as a whole; nothing else does.

use std::time::Duration;

use shmeld_os::ObjectName;
use shmeld_os::lease::while_alone;
use shmeld_os::posix::shm::SharedMemory;

use crate::gallery::Gallery;
use crate::shore::Shore;
use crate::world::eventually;

fn objects(channel: &str) -> [String; 4] {
    let names = [
        "posix:/SEG_#_DATA",
        "posix:/SEG_#_HEAD",
        "sem:/SEM_#_REQ",
        "sem:/SEM_#_RES",
    ];
    names.map(|name| name.replace('#', channel))
}

/// Whichever side dies, and in whatever order: the channel is live as long as one of the two is there.
#[test]
fn what_killed_requesters_and_providers_left_is_stale_and_goes_as_a_whole() {
    let Some(shore) = Shore::or_skip("channels") else {
        return;
    };
    let alive = shore.channel("alive");
    for (name, order) in [("requester", [0, 1]), ("provider", [1, 0])] {
        let mut pair = shore.channel(name).map(Some);
        for one in order {
            assert_eq!(shore.listed(&["--stale"]), [""; 0], "{name}");
            assert_eq!(shore.cleaned("removed", &[]), [""; 0], "{name}");
            pair[one].take().unwrap().kill();
        }
        eventually("memory is given back", || {
            shore.listed(&["--stale"]) == objects(name)
        });
        let said = shore.ipc(&["show", &objects(name)[1]]).run().expect_code(0);
        let proof = "stale: the leases of its channel are free: its requester is dead, and no provider of ours is there; ";
        assert!(said.stdout_text().contains(proof), "{}", said.stdout_text());
        assert_eq!(shore.cleaned("removed", &[]), objects(name));
        assert_eq!(shore.listed(&[]), objects("alive"));
    }
    // One that nobody has served yet.
    let waiting = shore.requester("waiting", &["dot"]);
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    waiting.kill();
    eventually("memory is given back", || {
        shore.listed(&["--stale"]) == objects("waiting")
    });
    assert_eq!(shore.cleaned("removed", &[]), objects("waiting"));
    assert!(alive.iter().all(|one| one.is_running()));
    alive.into_iter().for_each(|one| one.kill());
    assert_eq!(shore.cleaned("removed", &[]), objects("alive"));
    shore.finish();
}

/// A program of another kind made it, and a provider of ours has been there: that makes it nobody's whom we know.
#[test]
fn channel_of_another_program_is_never_stale() {
    let Some(shore) = Shore::or_skip("foreign") else {
        return;
    };
    let semaphore = |name: &str, count: &str| {
        format!(
            "{{ head -c 16 /dev/zero; printf '{count}'; head -c 15 /dev/zero; }} > /dev/shm/sem.SEM_f_{name}"
        )
    };
    shore.shell(&format!(
        "cd /dev/shm; : > SEG_f_HEAD; : > SEG_f_DATA; {}; {}",
        semaphore("RES", "\\001"),
        semaphore("REQ", "\\0")
    ));
    assert_eq!(shore.listed(&[]), objects("f"));
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    // Neither is one of ours of which another program made the segments anew.
    shore.requester("g", &["dot"]).kill();
    shore.shell("cd /dev/shm; rm SEG_g_DATA; : > SEG_g_DATA");
    assert_eq!(shore.cleaned("removed", &[]), [""; 0]);
    assert_eq!(shore.listed(&["--stale"]), [""; 0]);
    shore.finish();
}

/// The catalogue has what it looks at for itself for an instant. Whoever comes then to use what is left tries again.
#[test]
fn requester_and_provider_that_start_beside_a_look_are_not_turned_away() {
    const NAME: &str = "7-64x48x3";
    let gallery = Gallery::new("image-beside-a-look");
    gallery.put(NAME);
    let victim = gallery.request().args([NAME, "-q"]).start();
    eventually("the channel is there", || gallery.left().len() == 4);
    victim.kill();
    let open = |name: String| SharedMemory::open(&ObjectName::new(&name).unwrap(), true).unwrap();
    let head = open(format!("SEG_{}_HEAD", gallery.channel()));
    let request = open(format!("sem.SEM_{}_REQ", gallery.channel()));
    let start = || {
        let sides = [gallery.provide().start(), gallery.request().arg(NAME).start()];
        // Longer than both need to come to the door, on a machine that has nothing else to do.
        std::thread::sleep(Duration::from_millis(200));
        sides
    };
    let sides = || while_alone(&head, "head", || while_alone(&request, "request", start)).unwrap();
    let mut begun = None;
    eventually("what the victim had is given back", || {
        begun = sides().and_then(Result::unwrap);
        begun.is_some()
    });
    drop((head, request));
    let [provider, requester] = begun.unwrap();
    requester.finish().expect_code(0);
    gallery.assert_got(NAME);
    assert!(provider.is_running());
    provider.signal("TERM");
    provider.finish().expect_code(143);
    gallery.finish();
}
