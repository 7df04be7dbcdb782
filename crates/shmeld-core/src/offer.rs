//! Making a region and giving it a name: the client's side of [`attach`](crate::attach).

use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::users::ROOT;
use shmeld_os::{Errno, ErrorKind, fs, process};
use zerocopy::IntoBytes;

use crate::attach::{RegionId, is_leased, take_lease};
use crate::error::{Error, Result};
use crate::layout::{Geometry, Header, RawSemaphore, SEMAPHORE_OFFSETS};
use crate::region::Region;
use crate::session::{CLIENT_LEASE_BYTE, SERVER_LEASE_BYTE};

/// How often a client tries another random name if one is taken.
const NAME_TRIES: u32 = 4;

/// A client's region: complete, leased and published under its name.
#[derive(Debug)]
pub struct Offer {
    region: Region,
    probe: SharedMemory,
    id: RegionId,
    nonce: [u8; 16],
    other_uid: Option<u32>,
    is_named: bool,
}

impl Offer {
    /// Makes a region of `region_bytes` bytes that nobody can see before it is complete: unnamed, reserved, initialised, leased, and only
    /// then linked. Killed at any step, this leaves no name that is not a whole region.
    ///
    /// # Errors
    /// The kernel's refusals (no space in /dev/shm, for example), or a size that is no region.
    pub fn publish(region_bytes: u64) -> Result<Self> {
        Self::publish_for(region_bytes, None)
    }

    /// The same for the server of another user, who is given the right to open the region.
    ///
    /// # Errors
    /// As there; and [`ErrorKind::Unsupported`] where /dev/shm has no access control lists, unless the other user is root.
    pub fn publish_for(region_bytes: u64, other_uid: Option<u32>) -> Result<Self> {
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
        // After all that touches the mode, and before anybody can see it.
        if let Some(uid) = other_uid {
            admit(&memory, uid)?;
        }
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
            other_uid,
            is_named: true,
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

    /// The user besides this process's own who may open the region.
    #[must_use]
    pub fn other_uid(&self) -> Option<u32> {
        self.other_uid
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
        if std::mem::take(&mut self.is_named) {
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

/// Lets the server's user in. Root seldom needs that: only without CAP_DAC_OVERRIDE. So where it cannot be done the region is as it was.
fn admit(memory: &SharedMemory, uid: u32) -> Result<()> {
    match fs::admit_user(memory, uid, memory.label()) {
        Err(error)
            if uid == ROOT && (error.kind() == ErrorKind::Unsupported || error.errno() == Errno::INVAL) =>
        {
            Ok(())
        }
        outcome => Ok(outcome?),
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
