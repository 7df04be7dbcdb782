//! Making a segment, or opening it if it is there.

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::sysv::shared_memory as sysv;
use shmeld_os::{Errno, ErrorKind, ObjectName};

use super::change::check_room;
use super::open::{Object, key_of, size};
use super::{Address, Segment, SegmentError, SysvAddress};
use crate::file::Interrupt;
use crate::{Error, Result};

/// How often opening and creating may alternate when others create and remove the segment meanwhile.
const RACE_TRIES_MAX: u32 = 100;

/// What a new segment is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    /// Size; 0 opens one of any size.
    pub bytes: u64,
    /// The nine permission bits, exactly: the umask has no say.
    pub mode: u32,
    /// It must not be there yet.
    pub exclusive: bool,
}

/// Whether a segment was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// Somebody made it before. Whose it is, [`Segment::describe`] says.
    Found,
}

impl Segment {
    /// `shmget(key, bytes, IPC_CREAT|mode)`, the `open_segment` of many programs, or its like for POSIX: finds a segment of at least so many
    /// bytes, or makes it.
    ///
    /// A new POSIX segment gets its name when it has its size, its memory and its mode: a crash leaves nothing.
    ///
    /// # Errors
    /// What the kernel says; [`SegmentError::NotPossible`] for a number, which only the kernel gives; [`SegmentError::TooSmall`];
    /// [`Error::Interrupted`] while the memory of a POSIX segment is reserved.
    pub fn create(address: &Address, creation: Creation, interrupt: &Interrupt) -> Result<(Self, Made)> {
        let (object, made) = match address {
            Address::Sysv(place @ SysvAddress::Id(_)) => return Err(not_by_number(place).into()),
            Address::Sysv(place) => {
                let (segment, made) = create_sysv(place, creation)?;
                (Object::Sysv(segment), made)
            }
            Address::Posix(name) => {
                let (memory, made) = create_posix(name, creation, interrupt)?;
                (Object::Posix(memory), made)
            }
        };
        let address = address.clone();
        let segment = Self { address, object };
        if made == Made::Found && creation.bytes > 0 {
            segment.check_size("create", creation.bytes)?;
        }
        Ok((segment, made))
    }
}

fn not_by_number(place: &SysvAddress) -> SegmentError {
    SegmentError::NotPossible {
        operation: "create",
        address: Address::Sysv(place.clone()),
        reason: "the kernel chooses the number of a segment",
        instead: "give a key: sysv:0xKEY, or sysv:0 for a segment that only its number finds",
    }
}

fn create_sysv(place: &SysvAddress, creation: Creation) -> Result<(sysv::Segment, Made)> {
    let key = key_of(place)?;
    // Two exclusive steps instead of one vague one: this way it is known whether it was there.
    alternate(
        "shmget",
        &key.to_string(),
        creation.exclusive,
        || {
            Ok(sysv::Segment::create_new(
                key,
                size(creation.bytes),
                creation.mode,
            )?)
        },
        || {
            let segment = sysv::Segment::open(key, size(creation.bytes))?;
            // Finding asks for no right; whoever creates it wants to use it.
            segment.stat()?;
            Ok(segment)
        },
    )
}

fn create_posix(
    name: &ObjectName,
    creation: Creation,
    interrupt: &Interrupt,
) -> Result<(SharedMemory, Made)> {
    let create = || {
        if SharedMemory::stat_name(name).is_ok() {
            // Cheaper than to reserve the memory first; publishing decides.
            return Err(shmeld_os::Error::new("shm_open", name.to_string(), Errno::EXIST).into());
        }
        check_room(&name.to_string(), creation.bytes)?;
        let memory = SharedMemory::create_unnamed()?;
        let grown = memory.grow(creation.bytes, || interrupt.check().is_ok());
        grown.map_err(|error| interrupt.check().err().unwrap_or(Error::Os(error)))?;
        memory.set_mode(creation.mode)?;
        memory.publish(name)?;
        Ok(memory)
    };
    alternate("shm_open", &name.to_string(), creation.exclusive, create, || {
        SharedMemory::open(name, true)
    })
}

fn alternate<T>(
    operation: &'static str,
    object: &str,
    exclusive: bool,
    create: impl Fn() -> Result<T>,
    open: impl Fn() -> shmeld_os::Result<T>,
) -> Result<(T, Made)> {
    for _ in 0..RACE_TRIES_MAX {
        match create() {
            Err(Error::Os(error)) if error.kind() == ErrorKind::AlreadyExists && !exclusive => {}
            outcome => return Ok((outcome?, Made::New)),
        }
        match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            outcome => return Ok((outcome?, Made::Found)),
        }
    }
    Err(shmeld_os::Error::new(operation, object, Errno::AGAIN).into())
}
