//! Making a region and giving it a name (the client), finding it and joining it (the server), and the leases that tell who is alive.
//!
//! A lease belongs to an open file description that lives only in the mapping: its descriptor is closed, the mapping is not inherited by
//! a fork. Each side looks at the other's lease through a second description, because a description never conflicts with itself.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use shmeld_os::fs::Stat;
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{ErrorKind, ObjectName, explain, process};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::error::{Error, Misbehaviour, Result};
use crate::layout::{Geometry, Header, MAGIC, RawHeader, RawSemaphore, SEMAPHORE_OFFSETS};
use crate::region::Region;
use crate::session::{CLIENT_LEASE_BYTE, SERVER_LEASE_BYTE};

/// What every name of ours in /dev/shm begins with.
pub const NAME_PREFIX: &str = "shmeld.";
/// How often a client tries another random name if one is taken.
const NAME_TRIES: u32 = 4;

/// The 16 random bytes that name a region.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub [u8; 16]);

impl RegionId {
    /// `/shmeld.` and 32 hexadecimal digits.
    #[must_use]
    pub fn name(&self) -> ObjectName {
        let name = format!("{NAME_PREFIX}{self}");
        ObjectName::new(&name).unwrap_or_else(|_| unreachable!("hexadecimal digits make a sound name"))
    }

    /// The id in an object's name; `None` if that is no region's name.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let digits = name.strip_prefix(NAME_PREFIX.as_bytes())?;
        if digits.len() != 32 {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let nibble = |digit: u8| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            };
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegionId({self})")
    }
}

/// A client's region: complete, leased and published under its name.
#[derive(Debug)]
pub struct Offer {
    region: Region,
    probe: SharedMemory,
    id: RegionId,
    nonce: [u8; 16],
    named: bool,
}

impl Offer {
    /// Makes a region of `region_bytes` bytes that nobody can see before it is complete: unnamed, reserved, initialised, leased, and only
    /// then linked. Killed at any step, this leaves no name that is not a whole region.
    ///
    /// # Errors
    /// The kernel's refusals (no space in /dev/shm, for example), or a size that is no region.
    pub fn publish(region_bytes: u64) -> Result<Self> {
        let geometry = Geometry::for_region(region_bytes).map_err(|reason| Error::Layout {
            object: "of the client".to_owned(),
            reason,
        })?;
        let header = Header {
            nonce: process::random_bytes()?,
            geometry,
        };
        let memory = SharedMemory::create_unnamed()?;
        // A library's host may have a umask that takes even the owner's bits.
        memory.set_mode(0o600)?;
        memory.reserve(region_bytes)?;
        let region = Region::map(memory.as_file(), geometry, "region")?;
        region.initialise(0, header.to_raw().as_bytes());
        for (offset, units) in SEMAPHORE_OFFSETS.into_iter().zip([0, geometry.slot_count()]) {
            region.initialise(offset, RawSemaphore::new(units).as_bytes());
        }
        take_lease(
            &memory,
            CLIENT_LEASE_BYTE,
            "the client's lease: the kernel drops it if this process dies",
        )?;
        let id = link_under_random_name(&memory)?;
        let probe = SharedMemory::open(&id.name(), true).inspect_err(|_| {
            // The error of the opening is the one to report; what nobody can use is not left behind.
            let _ = SharedMemory::unlink(&id.name());
        })?;
        Ok(Self {
            region,
            probe,
            id,
            nonce: header.nonce,
            named: true,
        })
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }
    /// The id that requests carry.
    #[must_use]
    pub fn id(&self) -> RegionId {
        self.id
    }
    /// The nonce that requests carry.
    #[must_use]
    pub fn nonce(&self) -> [u8; 16] {
        self.nonce
    }

    /// Whether a server holds its lease on this region.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn server_leased(&self) -> Result<bool> {
        is_leased(&self.probe, SERVER_LEASE_BYTE)
    }

    /// Whether the region still has its name: a sweep or an administrator can take it before a server has come.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_linked(&self) -> Result<bool> {
        Ok(self.probe.stat()?.links > 0)
    }

    /// `shm_unlink`: removes the name, so that from now on a crash of either side leaves nothing.
    pub fn remove_name(&mut self) {
        if std::mem::take(&mut self.named) {
            // Somebody else (a sweep, an administrator) may have removed it already, and then there is nothing left to do.
            let _ = SharedMemory::unlink(&self.id.name());
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.remove_name();
    }
}

fn link_under_random_name(memory: &SharedMemory) -> Result<RegionId> {
    let mut tries = 0;
    loop {
        let id = RegionId(process::random_bytes()?);
        match memory.publish(&id.name()) {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < NAME_TRIES => tries += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// A region that a request named, opened but not joined: nothing in it has been believed.
#[derive(Debug)]
pub struct Candidate {
    memory: SharedMemory,
    stat: Stat,
    id: RegionId,
}

impl Candidate {
    /// `shm_open(name, O_RDWR)`, with the checks that need no belief: a regular file on tmpfs, not a link, not a FIFO.
    ///
    /// # Errors
    /// What the kernel says; [`ErrorKind::NotFound`] if the client has gone.
    pub fn open(id: RegionId) -> Result<Self> {
        let memory = SharedMemory::open(&id.name(), true)?;
        let stat = memory.stat()?;
        Ok(Self { memory, stat, id })
    }

    /// What the kernel says about the object.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Copies the first 64 bytes out, by `pread`: no memory is mapped yet.
    ///
    /// # Errors
    /// What the kernel says. A short object yields zeros, which no check accepts.
    pub fn raw_header(&self) -> Result<RawHeader> {
        let mut raw = RawHeader::new_zeroed();
        let mut bytes = [0; size_of::<RawHeader>()];
        if self.memory.read_at(&mut bytes, 0)? == bytes.len() {
            raw = RawHeader::read_from_bytes(&bytes[..]).unwrap_or(raw);
        }
        Ok(raw)
    }

    /// Maps the region without joining it: to tell a refused client why.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn map(&self, geometry: Geometry) -> Result<Region> {
        Region::map(self.memory.as_file(), geometry, &self.id.name().to_string())
    }

    /// Joins the region: takes the server's lease, without waiting, through a description that will live in the mapping alone.
    ///
    /// # Errors
    /// [`Error::PeerGone`] if the client died or its name no longer is this object; [`Misbehaviour::Lease`] if somebody else holds the
    /// server's byte. The candidate comes back, so that its client can be told.
    pub fn attach(self, geometry: Geometry) -> std::result::Result<Attached, Box<NotAttached>> {
        match self.join(geometry) {
            Ok(region) => Ok(Attached {
                region,
                probe: self.memory,
            }),
            Err(error) => Err(Box::new(NotAttached {
                candidate: self,
                error,
            })),
        }
    }

    fn join(&self, geometry: Geometry) -> Result<Region> {
        if !is_leased(&self.memory, CLIENT_LEASE_BYTE)? {
            self.remove_dead();
            return Err(Error::PeerGone);
        }
        let joined = match SharedMemory::open(&self.id.name(), true) {
            Ok(joined) => joined,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::PeerGone),
            Err(error) => return Err(error.into()),
        };
        let stat = joined.stat()?;
        if (stat.dev, stat.ino) != (self.stat.dev, self.stat.ino) {
            return Err(Error::PeerGone);
        }
        take_lease(
            &joined,
            SERVER_LEASE_BYTE,
            "the server's lease: the client sees through it that this process lives",
        )?;
        Region::map(joined.as_file(), geometry, &self.id.name().to_string())
    }

    /// Removes the name of a region whose client is dead.
    fn remove_dead(&self) {
        let name = self.id.name();
        let still_this_object = SharedMemory::stat_name(&name)
            .is_ok_and(|stat| (stat.dev, stat.ino) == (self.stat.dev, self.stat.ino));
        if still_this_object && is_leased(&self.memory, CLIENT_LEASE_BYTE).is_ok_and(|leased| !leased) {
            // The owner may remove it in the same moment.
            let _ = SharedMemory::unlink(&name);
        }
    }
}

/// A region that could not be joined, and why.
#[derive(Debug)]
pub struct NotAttached {
    /// The region, so that its client can be told.
    pub candidate: Candidate,
    /// Why it could not be joined.
    pub error: Error,
}

/// A region that this server has joined.
#[derive(Debug)]
pub struct Attached {
    region: Region,
    probe: SharedMemory,
}

impl Attached {
    /// The region.
    #[must_use]
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// Whether the client lives.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn client_leased(&self) -> Result<bool> {
        is_leased(&self.probe, CLIENT_LEASE_BYTE)
    }

    /// Splits off a way to look at the client's lease from another thread.
    ///
    /// # Errors
    /// What the kernel says when the descriptor is duplicated (the duplicate shares a description that holds no lock).
    pub fn client_probe(&self) -> Result<ClientProbe> {
        let file = self.probe.as_file().try_clone();
        let file = file.map_err(|error| {
            let errno = shmeld_os::Errno::from_raw_os_error(error.raw_os_error().unwrap_or_default());
            shmeld_os::Error::new("fcntl(F_DUPFD_CLOEXEC)", "region", errno)
        })?;
        Ok(ClientProbe(file))
    }
}

/// A look at a client's lease that does not need the session's thread.
#[derive(Debug)]
pub struct ClientProbe(std::fs::File);

impl ClientProbe {
    /// Whether the client lives. An error counts as life: nobody is declared dead because a system call failed.
    #[must_use]
    pub fn client_leased(&self) -> bool {
        lease::probe(&self.0, Range::byte(CLIENT_LEASE_BYTE), Kind::Read, "region")
            .map_or(true, |held| held.is_some())
    }
}

/// Whether somebody else holds a write lease on `byte`. Asking with a read lock reports write locks only, so a reader cannot fake life.
fn is_leased(memory: &SharedMemory, byte: u64) -> Result<bool> {
    Ok(lease::probe(memory.as_file(), Range::byte(byte), Kind::Read, "region")?.is_some())
}

fn take_lease(memory: &SharedMemory, byte: u64, why: &str) -> Result<()> {
    explain!(
        "fcntl(F_OFD_SETLK)",
        format_args!("byte {byte} of the region"),
        why
    );
    if lease::try_take(memory.as_file(), Range::byte(byte), Kind::Write, "region")? {
        Ok(())
    } else {
        Err(Misbehaviour::Lease.into())
    }
}

/// How old an object without the magic must be before it counts as abandoned: a client that makes its region in the textbook order
/// needs a moment between its name and its lease.
const UNFINISHED_AGE_MIN: Duration = Duration::from_secs(60);

/// Whether the region of this name belongs to nobody any more: its client is dead. `None` if it cannot be looked at.
#[must_use]
pub fn is_abandoned(name: &ObjectName) -> Option<bool> {
    let memory = SharedMemory::open(name, false).ok()?;
    if is_leased(&memory, CLIENT_LEASE_BYTE).ok()? {
        return Some(false);
    }
    let mut magic = [0; MAGIC.len()];
    let has_magic = memory.read_at(&mut magic, 0).ok()? == magic.len() && magic == MAGIC;
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(memory.stat().ok()?.changed.seconds).ok()?);
    let is_old = changed.elapsed().is_ok_and(|age| age >= UNFINISHED_AGE_MIN);
    Some(has_magic || is_old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_name() {
        let id = RegionId(*b"\x00\x01\xfe\xff0123456789ab");
        assert_eq!(RegionId::from_name(id.name().as_str().as_bytes()), Some(id));
    }

    #[test]
    fn names_that_are_no_region_are_recognised() {
        for name in [
            "shmeld.",
            "shmeld.shmeld.gate",
            "shmeld.0123456789ABCDEF0123456789abcdef",
            "sem.shmeld",
            "shmeld.00",
        ] {
            assert_eq!(RegionId::from_name(name.as_bytes()), None, "{name}");
        }
    }
}
