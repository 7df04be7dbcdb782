//! Finding a region that a request names and joining it: the server's side of [`attach`](crate::attach).

use shmeld_os::ErrorKind;
use shmeld_os::fs::{self, Stat};
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::posix::shm::SharedMemory;
use zerocopy::{FromBytes, FromZeros};

use crate::attach::{RegionId, is_leased, take_lease};
use crate::error::{Error, Result};
use crate::layout::{Geometry, RawHeader};
use crate::region::Region;
use crate::session::{CLIENT_LEASE_BYTE, SERVER_LEASE_BYTE};

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

    /// Whether somebody else than its owner and the user `uid`, who asks, may open the object. What another user may write proves nothing
    /// about its owner.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn is_open_to_others(&self, uid: u32) -> Result<bool> {
        if self.stat.mode & 0o077 == 0 {
            return Ok(false);
        }
        // The group bits are the mask of a list where there is one.
        let is_shared =
            self.stat.mode & 0o007 != 0 || !fs::admits_only(&self.memory, uid, self.memory.label())?;
        Ok(is_shared)
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
    /// [`Error::PeerGone`] if the client died or its name no longer is this object;
    /// [`Misbehaviour::Lease`](crate::Misbehaviour::Lease) if somebody else holds the server's byte. The candidate comes back, so that its
    /// client can be told.
    pub fn attach(self, geometry: Geometry) -> std::result::Result<Attached, Box<NotAttached>> {
        match self.join(geometry) {
            Ok(region) => Ok(Attached {
                region,
                candidate: self,
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
    candidate: Candidate,
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
        is_leased(&self.candidate.memory, CLIENT_LEASE_BYTE)
    }

    /// Removes the region's name if its client has died before it could do that itself.
    pub fn remove_dead(&self) {
        self.candidate.remove_dead();
    }

    /// Splits off a way to look at the client's lease from another thread.
    ///
    /// # Errors
    /// What the kernel says when the descriptor is duplicated (the duplicate shares a description that holds no lock).
    pub fn client_probe(&self) -> Result<ClientProbe> {
        let file = self.candidate.memory.as_file().try_clone();
        let file =
            file.map_err(|error| shmeld_os::Error::of_io("fcntl(F_DUPFD_CLOEXEC)", "region", &error))?;
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
