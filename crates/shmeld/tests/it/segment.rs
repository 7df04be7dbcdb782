//! Segments as a program uses them: memory that is asked for politely instead of dereferenced.

use shmeld::Error;
use shmeld::file::Interrupt;
use shmeld::os::{ErrorKind, sigbus};
use shmeld::segment::{Address, Creation, How, Made, Removal, Segment, SegmentError};

/// An address that no other test uses; what is there is removed with the guard.
struct Place(Address);

impl Place {
    fn sysv() -> Self {
        // Without a key: each creation makes another one.
        Self("sysv:0".parse().unwrap())
    }

    fn posix(what: &str) -> Self {
        let address = format!("posix:/shmeld-lib-{}-{what}", std::process::id());
        Self(address.parse().unwrap())
    }

    /// From here on the guard knows it by its number.
    fn create(&mut self, bytes: u64) -> Segment {
        let creation = Creation {
            bytes,
            mode: 0o600,
            exclusive: true,
        };
        let (segment, made) = Segment::create(&self.0, creation, &Interrupt::default()).unwrap();
        assert_eq!(made, Made::New);
        self.0 = segment.lasting_address();
        segment
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Segment::remove(&self.0);
    }
}

const READ_ONLY: How = How {
    read_only: true,
    address: None,
    round: false,
};

/// A store of a C program would end it here.
#[test]
fn read_only_attachment_refuses_to_be_written_and_lives_on() {
    for mut place in [Place::sysv(), Place::posix("read-only")] {
        let segment = place.create(100);
        let writable = segment.attach(How::default()).unwrap();
        writable.write(90, b"0123456789").unwrap();
        let attachment = segment.attach(READ_ONLY).unwrap();
        assert!(attachment.is_read_only() && attachment.len() == 100);
        let refused = attachment.write(0, b"x").unwrap_err();
        assert!(
            refused.to_string().ends_with("it is attached read-only (EACCES)") && refused.exit_code() == 3,
            "{refused}"
        );
        let mut bytes = [1; 4];
        attachment.read(88, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\x0001");
        attachment.detach().unwrap();
    }
}

#[test]
fn bytes_beyond_the_end_are_an_error_and_no_access() {
    for mut place in [Place::sysv(), Place::posix("beyond")] {
        let segment = place.create(100);
        let attachment = segment.attach(How::default()).unwrap();
        for (offset, len) in [(100, 1), (99, 2), (101, 0), (u64::MAX, 1)] {
            let mut bytes = vec![0; len];
            for outcome in [
                attachment.write(offset, &bytes.clone()),
                attachment.read(offset, &mut bytes),
            ] {
                let refused = outcome.unwrap_err();
                let is_beyond = matches!(
                    &refused,
                    Error::Segment(SegmentError::BeyondEnd { size: 100, .. })
                );
                assert!(is_beyond && refused.exit_code() == 1, "{refused}");
            }
        }
        attachment.write(100, b"").unwrap();
    }
}

#[test]
fn memory_that_vanishes_is_an_error_where_the_guard_is_installed() {
    sigbus::install().unwrap();
    let mut place = Place::posix("vanishes");
    let segment = place.create(3 * 4096);
    let attachment = segment.attach(How::default()).unwrap();
    attachment.write(8192, b"there").unwrap();
    segment.resize(4096, &Interrupt::default()).unwrap();
    let refused = attachment.read(8192, &mut [0; 5]).unwrap_err();
    assert!(
        matches!(refused, Error::Segment(SegmentError::Changed { .. })),
        "{refused}"
    );
    // What the guard has put there is not the segment any more: nothing of it is believed.
    assert!(attachment.read(0, &mut [0; 5]).is_err());
    segment
        .attach(How::default())
        .unwrap()
        .write(0, b"again")
        .unwrap();
}

#[test]
fn removed_segments_tell_what_is_left_of_them() {
    let mut place = Place::sysv();
    let segment = place.create(100);
    let first = segment.attach(How::default()).unwrap();
    let second = segment.attach(READ_ONLY).unwrap();
    assert_eq!(
        Segment::remove(&place.0).unwrap(),
        Removal::Marked { attached: 2 }
    );
    drop(first);
    assert_eq!(
        Segment::remove(&place.0).unwrap(),
        Removal::Marked { attached: 1 }
    );
    drop(second);
    let gone = Segment::remove(&place.0).unwrap_err();
    assert!(
        matches!(&gone, Error::Os(error) if error.kind() == ErrorKind::Invalid),
        "{gone}"
    );
    let mut place = Place::posix("removed");
    place.create(100);
    assert_eq!(Segment::remove(&place.0).unwrap(), Removal::Unnamed);
}

/// Two programs that start at the same time and both call it: one makes it, the others find it, none fails.
#[test]
fn segment_that_many_create_at_once_is_made_by_one() {
    let key = format!("sysv:{:#x}", std::process::id() << 10 | 0x3ff);
    for place in [Place(key.parse().unwrap()), Place::posix("many")] {
        for _ in 0..50 {
            let creation = Creation {
                bytes: 4096,
                mode: 0o600,
                exclusive: false,
            };
            let create = || Segment::create(&place.0, creation, &Interrupt::default());
            let made: Vec<Made> = std::thread::scope(|scope| {
                let threads = [(); 4].map(|()| scope.spawn(|| create().unwrap().1));
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(
                made.iter().filter(|made| **made == Made::New).count(),
                1,
                "{made:?}"
            );
            Segment::remove(&place.0).unwrap();
        }
    }
}
