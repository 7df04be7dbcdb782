//! Limits of the machine, and the cures that errors name.

use rustix::process::{Resource, getrlimit};
use shmeld_os::posix::mqueue::MessageQueue;
use shmeld_os::{Errno, ErrorKind, limits};

use crate::support::{NOBODY, Name, as_user, assert_kind, is_root_or_skip};

#[test]
fn a_queue_beyond_msg_max_is_refused_with_the_limit_and_its_value() {
    if !is_root_or_skip() {
        return;
    }
    let name = Name::new("msg-max");
    let messages_max = limits::queue_messages_max().expect("mqueue");
    let message_bytes_max = limits::queue_message_bytes_max().expect("mqueue");
    as_user(NOBODY, || {
        for (messages, bytes) in [
            (messages_max + 1, 64),
            (1, message_bytes_max + 1),
            (0, 64),
            (1, 0),
        ] {
            let outcome = MessageQueue::create_new(&name, messages as usize, bytes as usize, 0o600);
            let error = assert_kind(outcome, ErrorKind::Invalid);
            let hint = error.hint().expect("a hint");
            assert!(hint.contains(&messages_max.to_string()), "{hint}");
            assert!(hint.contains("sysctl -w fs.mqueue.msg_max=10"), "{hint}");
        }
    });
    let outcome = MessageQueue::create_new(&name, usize::MAX, 64, 0o600);
    assert_kind(outcome, ErrorKind::Invalid);
}

#[test]
fn the_bytes_of_all_queues_of_a_user_are_limited_as_the_formula_says() {
    if !is_root_or_skip() {
        return;
    }
    let limit = getrlimit(Resource::Msgqueue).current;
    let (messages, bytes) = (10, 8192);
    let fits = limit.map_or(u64::MAX, |limit| {
        limit / limits::queue_bytes_charged(messages, bytes)
    });
    if fits > 200 || limits::queues_max().is_some_and(|queues| queues < 2 * fits) {
        return crate::support::skip("the usual RLIMIT_MSGQUEUE");
    }
    // A user that nobody else has: the limit counts all processes of a user.
    const UID: u32 = 61_234;
    as_user(UID, || {
        let mut queues = Vec::new();
        for number in 0..=fits {
            let name = Name::new("rlimit");
            match MessageQueue::create_new(&name, messages as usize, bytes as usize, 0o600) {
                Ok(queue) => queues.push((queue, name)),
                Err(error) => {
                    assert_eq!(number, fits, "{error}");
                    assert_eq!((error.errno(), error.kind()), (Errno::MFILE, ErrorKind::Limit));
                    let hint = error.hint().expect("a hint");
                    assert!(hint.contains("RLIMIT_MSGQUEUE, now"), "{hint}");
                    return;
                }
            }
        }
        panic!("{fits} queues and one more were made");
    });
}
