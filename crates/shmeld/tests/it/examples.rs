//! The examples do what they say.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use shmeld::ServerName;
use shmeld::file::wire::Op;
use shmeld::os::posix::mqueue::{Access, MessageQueue};
use shmeld::os::sigbus;

use crate::example::{example, told_by};
use crate::raw_peer::{RawPeer, eventually};

#[test]
fn files_fetches_a_directory_from_another_process() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let to = std::env::temp_dir().join(format!("shmeld-example-{}", std::process::id()));
    let arguments = [&from, &to].map(|path| path.to_str().unwrap());
    let Some(told) = told_by("files", &arguments) else {
        return;
    };
    let names = |folder: &Path| -> Vec<_> {
        let mut entries: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        entries.sort();
        entries
    };
    assert_eq!(names(&to), names(&from), "{told}");
    for name in names(&from) {
        assert_eq!(
            std::fs::read(to.join(&name)).unwrap(),
            std::fs::read(from.join(&name)).unwrap()
        );
    }
    assert!(told.ends_with(&format!("{} is whole\n", to.display())), "{told}");
    std::fs::remove_dir_all(&to).unwrap();
}

/// Only the programs asked for the guard against SIGBUS: this example, and every server made after it, died of a client that cut its region off.
#[test]
fn files_outlives_a_client_that_cuts_its_region_off() {
    let Some(program) = example("files") else { return };
    let id = format!("/shmeld-example-cut-{}", std::process::id());
    let name = ServerName::new(&id).unwrap();
    let server = Command::new(program)
        .arg("serve")
        .arg(env!("CARGO_MANIFEST_DIR"))
        .arg(&id)
        .spawn()
        .unwrap();
    let mut server = Killed(server);
    eventually("the server has its queue", || {
        MessageQueue::open(name.queue(), Access::Send).is_ok()
    });
    sigbus::install().unwrap(); // the peer, too, looks at what it has cut off
    let peer = RawPeer::new(&name);
    let region = Path::new("/dev/shm").join(peer.region_name().trim_start_matches('/'));
    let region = File::options().write(true).open(region).unwrap();
    peer.send(Op::Get, 1, "src/file/server.rs"); // more than a slot
    peer.wait_for_slots(1);
    region.set_len(0).unwrap();
    let mut ended = None;
    eventually("the session's end is the server's, which serves one", || {
        ended = server.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().code().is_some(), "{ended:?}: a signal ended it");
    assert!(
        MessageQueue::open(name.queue(), Access::Send).is_err(),
        "its queue is left"
    );
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn images_come_in_their_shape_and_what_there_is_none_of_with_a_reason() {
    let Some(told) = told_by("images", &[]) else {
        return;
    };
    assert_eq!(
        told,
        "black: 640 by 480 pixels, mean 0\nwhite: 640 by 480 pixels, mean 255\nplaid: I paint only black and white\n"
    );
}

#[test]
fn board_shows_its_message_to_every_reader() {
    let Some(told) = told_by("board", &[]) else { return };
    assert_eq!(told, "the kettle boils\n".repeat(3) + "3 of 3 have read it\n");
}

#[test]
fn source_serves_a_file_that_is_on_no_disk() {
    let Some(told) = told_by("source", &[]) else {
        return;
    };
    let sevens: Vec<u64> = told.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(sevens, [7, 14, 21, 28, 35, 42, 49, 56, 63, 70]);
}
