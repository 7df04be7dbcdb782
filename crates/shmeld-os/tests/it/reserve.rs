//! Growing shared memory beside others who change its size at the same time.

use shmeld_os::ErrorKind;
use shmeld_os::posix::shm::SharedMemory;

use crate::support::assert_kind;

/// More than two steps of a reservation.
const MANY: u64 = 20 << 20;

/// A growth that found no room cut the object back to the size that it had seen first: what another process had added meanwhile, and filled,
/// was gone.
#[test]
fn growth_that_fails_cuts_off_what_it_has_added_and_nothing_of_others() {
    for (others, left) in [(None, 4096), (Some(30 << 20), 30 << 20), (Some(5000), 5000)] {
        let memory = SharedMemory::create_unnamed().expect("tmpfs");
        memory.reserve(4096).expect("space");
        let mut steps = 0;
        let outcome = memory.grow(MANY, || {
            steps += 1;
            if let (2, Some(bytes)) = (steps, others) {
                memory.as_file().set_len(bytes).expect("another process");
            }
            steps < 2
        });
        assert_kind(outcome, ErrorKind::Interrupted);
        assert_eq!(memory.stat().expect("stat").bytes, left, "{others:?}");
    }
}

#[test]
fn growth_beside_a_growth_that_is_larger_loses_nothing() {
    let memory = SharedMemory::create_unnamed().expect("tmpfs");
    let go_on = || {
        memory.as_file().set_len(2 * MANY).expect("another process");
        true
    };
    memory.grow(MANY, go_on).expect("space");
    let stat = memory.stat().expect("stat");
    assert_eq!((stat.bytes, stat.blocks_512 * 512), (2 * MANY, MANY));
    let never = || panic!("it is long enough");
    memory.grow(MANY, never).expect("nothing to do");
}
