//! `shmeld ipc ls` beside programs of others, which make and hold objects of every kind.

use serde_json::Value;
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::{How, message_queue, semaphore::SemaphoreSet, shared_memory::Segment};

use crate::ipc_world::Places;
use crate::world::World;

impl World {
    /// What `ls --json` and these options say, object by object; what was seen comes last.
    #[track_caller]
    pub fn listed(&self, options: &[&str]) -> Vec<Value> {
        let outcome = self.ipc(&[&["ls", "--json"], options].concat()).run();
        outcome.expect_code(0).json_lines()
    }
}

/// The object at this address. Others come and go meanwhile.
#[track_caller]
pub fn at<'v>(listed: &'v [Value], address: &str) -> &'v Value {
    let found: Vec<&Value> = listed
        .iter()
        .filter(|object| object["address"] == address)
        .collect();
    assert_eq!(found.len(), 1, "{address} is there {} times", found.len());
    found[0]
}

/// Whether a process is said to hold an object in this way.
pub fn is_held(object: &Value, pid: u32, role: &str) -> bool {
    let holders = object["holders"].as_array().unwrap();
    let mut of_pid = holders.iter().filter(|holder| holder["pid"] == pid);
    of_pid.any(|holder| holder["roles"].as_array().unwrap().contains(&role.into()))
}

/// Removes what is there under the key and the name, of every kind, when the test ends.
pub struct AllKinds(pub Places);

impl Drop for AllKinds {
    fn drop(&mut self) {
        let Places { key, name } = &self.0;
        // What is not there was never made.
        let _ = MessageQueue::unlink(name);
        let _ = NamedSemaphore::unlink(name);
        let _ = SemaphoreSet::open(*key, 0).and_then(|set| set.remove());
        let _ = message_queue::MessageQueue::open(*key).and_then(|queue| queue.remove());
    }
}

/// One object of each kind, made by this process and held by it, as far as the kind can be.
#[test]
fn objects_of_every_kind_are_listed_with_their_holders() {
    let (world, guard) = (World::new("kinds"), AllKinds(Places::new()));
    let places = &guard.0;
    let pid = std::process::id();
    let name = places.name.as_str();
    let memory = SharedMemory::create_new(&places.name, 0o640).unwrap();
    memory.reserve(8192).unwrap();
    let queue = MessageQueue::create_new(&places.name, 4, 100, 0o600).unwrap();
    queue.send(b"hello", 0, None).unwrap();
    let semaphore = NamedSemaphore::create_new(&places.name, 0o600, 3).unwrap();
    let segment = Segment::create_new(places.key, 5678, 0o620).unwrap();
    let attached = segment.attach(How::default()).unwrap();
    let set = SemaphoreSet::create_new(places.key, 3, 0o600).unwrap();
    set.set_value(1, 7).unwrap();
    let messages = message_queue::MessageQueue::create_new(places.key, 0o600).unwrap();
    messages.send(1, b"hello", None).unwrap();

    let listed = world.listed(&[]);
    let shm = at(&listed, &format!("posix:/{name}"));
    assert_eq!(
        (&shm["size"], &shm["used"], &shm["mode"]),
        (&8192.into(), &8192.into(), &"0640".into())
    );
    assert!(is_held(shm, pid, "open") && shm["state"] == "live", "{shm}");
    let mq = at(&listed, &format!("mq:/{name}"));
    assert_eq!(
        (&mq["size"], &mq["used"], &mq["messages"]),
        (&400.into(), &5.into(), &1.into())
    );
    assert!(is_held(mq, pid, "open"), "{mq}");
    let sem = at(&listed, &format!("sem:/{name}"));
    assert_eq!(sem["values"], serde_json::json!([3]));
    assert!(is_held(sem, pid, "mapped"), "{sem}");
    let shown = at(&listed, &format!("sysv:#{}", segment.id()));
    assert_eq!(
        (&shown["size"], &shown["attached"], &shown["mode"]),
        (&5678.into(), &1.into(), &"0620".into())
    );
    assert_eq!(shown["key"], places.key.to_string());
    assert!(
        is_held(shown, pid, "attached") && is_held(shown, pid, "creator"),
        "{shown}"
    );
    let shown = at(&listed, &format!("sysv-sem:#{}", set.id()));
    assert_eq!(
        (&shown["values"], &shown["semaphores"]),
        (&serde_json::json!([0, 7, 0]), &3.into())
    );
    let shown = at(&listed, &format!("sysv-msg:#{}", messages.id()));
    assert_eq!((&shown["messages"], &shown["used"]), (&1.into(), &5.into()));
    assert!(is_held(shown, pid, "last user"), "{shown}");
    assert_eq!(listed.last().unwrap()["event"], "sight");

    drop((attached, semaphore, queue, memory));
    drop(guard);
    world.finish();
}
