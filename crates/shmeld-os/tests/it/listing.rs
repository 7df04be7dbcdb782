//! Listing objects.

use shmeld_os::listing::{QueueDirectory, shared_memory_names};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::shm::SharedMemory;

use crate::support::{Helper, Name, in_mount_namespace, say};

#[test]
fn shared_memory_is_listed_by_prefix_and_sorted() {
    let (one, two) = (Name::new("list"), Name::new("list"));
    for name in [&two, &one] {
        SharedMemory::create_new(name, 0o600).expect("a new object");
    }
    let prefix = format!("shmeld-os-test-{}-", std::process::id());
    let names = shared_memory_names(&prefix).expect("readable");
    for name in [&one, &two] {
        assert!(names.iter().any(|found| found == name.as_str().as_bytes()));
    }
    assert!(names.is_sorted());
    assert_eq!(
        shared_memory_names(one.as_str()).expect("readable"),
        [one.as_str().as_bytes()]
    );
    assert!(
        shared_memory_names("no such prefix")
            .expect("readable")
            .is_empty()
    );
}

#[test]
fn queues_are_listed_from_wherever_they_are_mounted() {
    // Not at /dev/mqueue, and with a space in the path.
    let place = crate::support::Directory::new("a queue");
    let prepare = format!("mount -t mqueue none '{}'", place.display());
    if let Some(wrapper) = in_mount_namespace(&prepare) {
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut helper = Helper::start_wrapped(&wrapper, "list_queues", &[]);
        helper.wait_for("done");
        helper.finish_well();
    }
}

pub fn list_queues() {
    let name = Name::new("listed");
    let _queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("a new queue");
    let names = || {
        let mut found = QueueDirectory::all().expect("readable").into_iter();
        let mounted = found.find(|one| one.path.is_some()).expect("mounted");
        let queues = mounted.queues().expect("readable");
        queues.into_iter().map(|queue| queue.name).collect::<Vec<_>>()
    };
    let ours = name.as_str().as_bytes().to_vec();
    assert!(names().contains(&ours));
    MessageQueue::unlink(&name).expect("ours");
    assert!(!names().contains(&ours));
    say("done");
}
