//! Whatever else may have the four names of a channel, and a requester killed at each step of its start and its end.

use shmeld_os::ObjectName;
use shmeld_os::posix::shm::SharedMemory;

use crate::gallery::Gallery;
use crate::world::{eventually, has_or_skip};

/// Something under a name of the channel that is removed with the test.
struct Squatter(String);

impl Squatter {
    fn new(gallery: &Gallery, name: &str, kind: &str) -> Self {
        let path = format!("/dev/shm/{}", name.replace('#', gallery.channel()));
        match kind {
            "directory" => std::fs::create_dir(&path).unwrap(),
            "link" => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
            "fifo" => drop(gallery.world().tool("mkfifo").arg(&path).run().expect_code(0)),
            _ => std::fs::write(&path, "short").unwrap(),
        }
        Squatter(path)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Row N4 of the catalogue, for channels.
#[test]
fn what_is_no_segment_is_refused_by_both_sides_and_kept() {
    let gallery = Gallery::new("image-squat");
    gallery.put("1-4x3x1");
    for kind in ["fifo", "link", "directory"] {
        let head = Squatter::new(&gallery, "SEG_#_HEAD", kind);
        let requester = gallery
            .request()
            .args(["--force", "1-4x3x1"])
            .run()
            .expect_code(3);
        requester.expect_said("hint: something else has that name");
        // A provider looks at HEAD once the semaphores are there.
        let semaphores = ["sem.SEM_#_REQ", "sem.SEM_#_RES"].map(|name| {
            let squatter = Squatter::new(&gallery, name, "file");
            std::fs::write(&squatter.0, [0; 32]).unwrap();
            squatter
        });
        let provider = gallery.provide().args(["--timeout", "1s"]).run().expect_code(3);
        provider.expect_said(&format!("/SEG_{}_HEAD", gallery.channel()));
        drop(semaphores);
        assert!(std::fs::symlink_metadata(&head.0).is_ok(), "{kind} is kept");
        let request = Squatter::new(&gallery, "sem.SEM_#_REQ", kind);
        let provider = gallery.provide().args(["--timeout", "1s"]).run().expect_code(3);
        provider.expect_said(&format!("/sem.SEM_{}_REQ", gallery.channel()));
        drop((head, request));
    }
    // A file that is too short for a semaphore has been left by somebody: a requester replaces it, a provider does not touch it.
    let short = Squatter::new(&gallery, "sem.SEM_#_REQ", "file");
    gallery.provide().run().expect_code(3).expect_said("sem_open");
    let requester = gallery.request().arg("1-4x3x1").start();
    eventually("the requester replaced it", || {
        std::fs::metadata(&short.0).is_ok_and(|found| found.len() == 32)
    });
    gallery.provide().args(["-n", "1"]).run().expect_code(0);
    requester.finish().expect_code(0);
    drop(short);
    gallery.finish();
}

/// Rows C1 and C15 of the catalogue: four objects, each of which has its name only when it is complete, in an order that can be taken over.
#[test]
fn requester_killed_at_a_step_leaves_what_the_next_one_removes() {
    let gallery = Gallery::new("image-steps");
    if !has_or_skip("strace") {
        return;
    }
    gallery.put("1-4x3x1");
    let provider = gallery.provide().start();
    let steps = [
        ("linkat", 4),
        ("fchmod", 4),
        ("fcntl", 2),
        ("unlink", 4),
        ("pwrite64", 3),
        ("mmap", 3),
    ];
    for (call, count) in steps {
        for number in 1..=count {
            let number = if call == "mmap" { number + 40 } else { number };
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &inject];
            gallery.request().arg("1-4x3x1").wrapped(&traced).run();
            for name in gallery.left().iter().filter(|name| name.starts_with("sem")) {
                let stat = SharedMemory::stat_name(&ObjectName::new(name).unwrap());
                assert!(
                    stat.is_ok_and(|stat| stat.bytes == 32 && stat.mode == 0o600),
                    "{name} after {inject}"
                );
            }
            gallery.request().arg("1-4x3x1").run().expect_code(0);
            gallery.assert_got("1-4x3x1");
            gallery.assert_nothing_left();
        }
    }
    provider.signal("INT");
    provider.finish().expect_code(130);
    gallery.finish();
}

/// Row N9 of the catalogue: an administrator's `rm /dev/shm/*`.
#[test]
fn channel_that_is_removed_under_both_sides_is_made_again() {
    let gallery = Gallery::new("image-removed");
    gallery.put("1-4x3x1");
    let requester = gallery.request().args(["1-4x3x1", "-n", "3", "--json"]).start();
    eventually("the channel is there", || gallery.left().len() == 4);
    for name in gallery.left() {
        SharedMemory::unlink(&ObjectName::new(&name).unwrap()).unwrap();
    }
    eventually("it is there again", || gallery.left().len() == 4);
    gallery.provide().args(["-n", "3"]).run().expect_code(0);
    requester.finish().expect_code(0);
    gallery.finish();
}
