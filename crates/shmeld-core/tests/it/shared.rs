//! Typed regions: the same bytes through two mappings, POSIX and System V, and numbers of a peer that lead nowhere.

use shmeld_core::shared::Plain;
use shmeld_core::{Error, Misbehaviour, Offset, SeqLocked, Shared, field};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::shared_memory::Segment;
use shmeld_os::sysv::{How, Key};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::region_pair::install_guard;

#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Inner {
    x: f32,
    y: f32,
}

#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct All {
    a: u64,
    b: i64,
    c: f64,
    first: Offset<Node>,
    d: u32,
    e: i32,
    inner: Inner,
    f: u16,
    g: i16,
    h: u8,
    i: i8,
    text: [u8; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Node {
    next: Offset<Node>,
    number: u64,
}

const ALL: All = All {
    a: 0x0102_0304_0506_0708,
    b: -2,
    c: 2.5,
    first: Offset::new(128),
    d: 0xdead_beef,
    e: -5,
    inner: Inner { x: 1.5, y: -3.25 },
    f: 0xfefe,
    g: -7,
    h: 8,
    i: -9,
    text: *b"ok",
};

fn object(bytes: u64) -> SharedMemory {
    let object = SharedMemory::create_unnamed().expect("there is a tmpfs");
    object.reserve(bytes).expect("there is room");
    object
}

/// Two processes have two mappings; so does this test.
fn pair<T: Plain>(bytes: u64) -> (Shared<T>, Shared<T>) {
    let object = object(bytes);
    let map = || Shared::map(&object).expect("it can be mapped");
    (map(), map())
}

/// Stores each scalar through one mapping and finds it in the copy and in the load of the other.
fn exchange(mine: &Shared<All>, yours: &Shared<All>) {
    macro_rules! scalars {
        ($($($name:ident).+)*) => { $(
            let field = field!(All, $($name).+);
            mine.store(field, ALL.$($name).+);
            assert_eq!(yours.load(field), ALL.$($name).+);
            assert_eq!(yours.read_field(field), ALL.$($name).+);
        )* };
    }
    scalars! { a b c first d e inner.x inner.y f g h i }
    mine.write_field(field!(All, text), &ALL.text);
    assert_eq!(yours.read(), ALL);
    mine.write(&All { d: 1, ..ALL });
    assert_eq!(yours.read_field(field!(All, d)), 1);
    assert_eq!(yours.read(), All { d: 1, ..ALL });
}

#[test]
fn what_one_side_stores_the_other_loads_in_posix_memory() {
    let (mine, yours) = pair(1024);
    exchange(&mine, &yours);
    assert_ne!(mine.memory().address(), yours.memory().address());
    mine.into_memory().detach().expect("it was mapped");
}

#[test]
fn what_one_side_stores_the_other_loads_in_a_system_v_segment() {
    let segment = Segment::create_new(Key::PRIVATE, 1024, 0o600).expect("a segment can be made");
    let attach = || segment.attach(How::default());
    let (mine, yours) = (attach(), attach());
    segment.remove().expect("it is ours");
    let shared = |memory| Shared::new(memory).expect("it is long enough");
    exchange(
        &shared(mine.expect("attached")),
        &shared(yours.expect("attached")),
    );
}

#[test]
fn a_list_of_offsets_is_the_same_list_at_another_address() {
    let (mine, yours) = pair::<All>(1024);
    let places: Vec<Offset<Node>> = (0..5).map(|index| Offset::new(128 + 16 * index)).collect();
    for (index, &place) in places.iter().enumerate() {
        let next = places.get(index + 1).copied().unwrap_or(Offset::NONE);
        let number = index as u64;
        mine.write_at(place, &Node { next, number }).expect("inside");
    }
    mine.store(field!(All, first), places[0]);
    mine.store_at(places[2].field(field!(Node, number)), 77)
        .expect("inside");
    let mut found = Vec::new();
    let mut place = yours.load(field!(All, first));
    while !place.is_none() && found.len() < 10 {
        let node = yours.read_at(place).expect("inside");
        assert_eq!(yours.load_at(place.field(field!(Node, number))), Ok(node.number));
        found.push(node.number);
        place = node.next;
    }
    assert_eq!(found, [0, 1, 77, 3, 4]);
}

/// A peer can write any number where an offset should be.
#[test]
fn an_offset_that_leads_outside_is_the_peers_misbehaviour() {
    let (mine, yours) = pair::<All>(1024);
    let lies = [
        0,
        1,
        4,
        1016,
        1024,
        1025,
        u64::MAX,
        u64::MAX - 7,
        1 << 63,
        (1 << 32) + 128,
    ];
    for lie in lies {
        mine.store(field!(All, first), Offset::new(lie));
        let place = yours.load(field!(All, first));
        assert_eq!(yours.read_at(place), Err(Misbehaviour::Offset), "{lie}");
        let node = Node {
            next: place,
            number: 1,
        };
        assert_eq!(yours.write_at(place, &node), Err(Misbehaviour::Offset), "{lie}");
        let number = place.field(field!(Node, number));
        // The field of what lies at 0 lies inside, and each field is checked for itself.
        assert_eq!(yours.load_at(number).is_ok(), lie == 0, "{lie}");
        assert_eq!(yours.store_at(number, 1).is_ok(), lie == 0, "{lie}");
    }
}

#[test]
fn memory_too_short_for_its_type_is_refused() {
    let short = object(64);
    let refused = Shared::<[u8; 65]>::map(&short).expect_err("too short");
    assert!(
        matches!(
            refused,
            Error::TooSmall {
                bytes: 64,
                bytes_min: 65,
                ..
            }
        ),
        "{refused}"
    );
    let mapping = Mapping::new(&short, 64, "short").expect("it can be mapped");
    let refused = Shared::<[u8; 65]>::new(mapping).expect_err("too short");
    assert_eq!(
        refused.to_string(),
        "short: 64 bytes are too few for a type of 65"
    );
    assert!(Shared::<[u8; 64]>::map(&short).is_ok());
    assert!(SeqLocked::<[u8; 57]>::map(&short).is_err());
    assert!(SeqLocked::<[u8; 56]>::map(&short).is_ok());
    let empty = SharedMemory::create_unnamed().expect("there is a tmpfs");
    assert!(Shared::<u8>::map(&empty).is_err() && SeqLocked::<u8>::map(&empty).is_err());
}

/// A store into a read-only mapping would end the process; it is our own mistake, and says so.
#[test]
#[should_panic(expected = "a store into memory that is read-only")]
fn a_store_into_read_only_memory_is_refused_before_the_processor_does() {
    let object = object(64);
    let mapping = Mapping::read_only(&object, 64, "read-only").expect("it can be mapped");
    let shared = Shared::<[u32; 2]>::new(mapping).expect("long enough");
    assert_eq!(shared.read(), [0, 0]);
    shared.store_at(Offset::<u32>::new(4), 1).expect("inside");
}

#[test]
fn memory_that_a_peer_takes_away_reads_as_zeros_and_says_so() {
    install_guard();
    let object = object(8192);
    let shared = Shared::<[u32; 2048]>::map(&object).expect("it can be mapped");
    shared.write(&[7; 2048]);
    assert!(!shared.faulted());
    object.as_file().set_len(4096).expect("what a hostile peer does");
    assert_eq!(shared.read()[2047], 0);
    assert!(shared.faulted());
}

/// On stable Rust a compile-fail test cannot say why it must fail; this one compiles only if none of these types is plain.
#[test]
fn what_is_not_plain_is_not_plain() {
    macro_rules! not_plain {
        ($($type:ty),*) => { $( const _: fn() = || {
            trait Ambiguous<A> {
                fn item() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct IfPlain;
            impl<T: Plain> Ambiguous<IfPlain> for T {}
            // Two implementations for a plain type, so that the compiler could not choose.
            let _ = <$type as Ambiguous<_>>::item;
        }; )* };
    }
    enum Kind {
        _One,
    }
    not_plain!(
        bool,
        char,
        Kind,
        *const u8,
        *mut u8,
        &'static u8,
        Box<u8>,
        fn(),
        Option<u8>,
        (u8, u32),
        std::cell::Cell<u32>,
        std::sync::atomic::AtomicU32,
        std::num::NonZeroU8,
        String
    );
    fn is_plain<T: Plain>() {}
    is_plain::<All>();
}
