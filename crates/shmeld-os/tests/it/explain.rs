//! The narration of `--explain`: each step of control once, in plain words; probes never, and what only the
//! caller understands (leases, messages) by the caller.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::Once;

use shmeld_os::lease::{Kind, Range, probe, try_take};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::mqueue::{Access, MessageQueue};
use shmeld_os::posix::semaphore::NamedSemaphore;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::tracing::field::{Field, Visit};
use shmeld_os::tracing::span::{Attributes, Id, Record};
use shmeld_os::tracing::{Event, Level, Metadata, Subscriber, subscriber};

use crate::support::{Name, within};

/// Collects (call, object, why) of each event, for the thread that it happens in. One for the whole process: subscribers that come and
/// go with the tests beside this one can make `tracing` take an event for one that nobody wants.
struct Listener;

thread_local! {
    static STEPS: RefCell<Vec<Step>> = const { RefCell::new(Vec::new()) };
}

#[derive(Default, Clone)]
struct Step {
    call: String,
    object: String,
    why: String,
}

impl Visit for Step {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "call" => self.call = format!("{value:?}"),
            "object" => self.object = format!("{value:?}"),
            "why" => self.why = format!("{value:?}"),
            other => panic!("a field of another name: {other}"),
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "shmeld::explain"
    }

    fn event(&self, event: &Event<'_>) {
        assert_eq!(*event.metadata().level(), Level::DEBUG);
        let mut step = Step::default();
        event.record(&mut step);
        STEPS.with_borrow_mut(|steps| steps.push(step));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn steps_of(run: impl FnOnce()) -> Vec<Step> {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| subscriber::set_global_default(Listener).expect("the only one"));
    STEPS.take();
    run();
    STEPS.take()
}

#[test]
fn each_step_of_control_is_told_once_with_its_object_and_its_reason() {
    let name = Name::new("explain");
    let steps = steps_of(|| {
        let memory = SharedMemory::create_unnamed().expect("tmpfs");
        memory.reserve(4096).expect("space");
        assert!(try_take(&memory, Range::byte(0), Kind::Write, "the region").expect("no error"));
        let _mapping = Mapping::new(&memory, 4096, "the region").expect("mapped");
        memory.publish(&name).expect("free");
        let opened = SharedMemory::open(&name, true).expect("there");
        assert!(
            probe(&opened, Range::byte(0), Kind::Read, "the region")
                .expect("probed")
                .is_some()
        );
        SharedMemory::unlink(&name).expect("ours");
        let queue = MessageQueue::create_new(&name, 1, 64, 0o600).expect("new");
        let sender = MessageQueue::open(&name, Access::Send).expect("there");
        sender.send(b"text", 0, within(0)).expect("room");
        queue.receive(&mut [0; 64], within(0)).expect("a message");
        MessageQueue::unlink(&name).expect("ours");
    });
    let calls: Vec<&str> = steps.iter().map(|step| step.call.as_str()).collect();
    assert_eq!(
        calls,
        [
            "open(O_TMPFILE)",
            "posix_fallocate",
            "mmap",
            "linkat",
            "shm_open",
            "shm_unlink",
            "mq_open(O_CREAT|O_EXCL)",
            "fchmod",
            "mq_open",
            "mq_unlink",
        ]
    );
    for step in &steps {
        assert!(
            !step.object.is_empty() && step.why.len() > 15,
            "{}: {}",
            step.call,
            step.why
        );
    }
    assert_eq!(steps[3].object, name.to_string());
}

#[test]
fn a_failed_step_is_an_error_and_not_a_story() {
    let name = Name::new("explain-failure");
    let steps = steps_of(|| {
        assert!(SharedMemory::open(&name, true).is_err());
        assert!(MessageQueue::open(&name, Access::Send).is_err());
        assert!(NamedSemaphore::open(&name).is_err());
        assert!(SharedMemory::unlink(&name).is_err());
    });
    assert!(steps.is_empty());
}
