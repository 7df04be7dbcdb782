//! A lease on a channel, as the holder has it and as the peer sees it.
//!
//! | who | object | bytes |
//! |---|---|---|
//! | requester | HEAD | 0 |
//! | provider | RES | 0, so that there is one at a time; and one of its own choice beyond, which tells it from the next one |
//!
//! A provider that comes and goes between two looks of the requester is not seen by its lease, so each one counts itself before it takes anything:
//! in a number behind the semaphore's own bytes in the file of RES.
//!
//! The open file description that holds the locks lives only in a mapping: a forked child does not inherit it, and it goes with the
//! process, however that ends. The mapped memory is never touched.

use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::mapping::Mapping;
use shmeld_os::posix::shm::SharedMemory;
use shmeld_os::{explain, fs, process};

use crate::Result;

/// The byte that a requester leases in HEAD, and a provider in RES.
const LEASE_BYTE: u64 = 0;
/// Where the bytes begin of which a provider chooses one.
const IDENTITY_START: u64 = 1 << 20;
/// Where the providers' number stands in RES: glibc uses the first 16 of a semaphore's 32 bytes.
const COUNT_OFFSET: u64 = 16;
/// What is mapped, so that the description lives on.
const MAPPED_BYTES: usize = 8;

/// See the module. Given up on drop.
#[derive(Debug)]
pub(super) struct Hold {
    _mapping: Mapping,
}

impl Hold {
    /// The requester's lease, through a description that nobody else has: the caller closes its descriptor. `None` if a living process has it.
    pub(super) fn of_requester(head: &SharedMemory, object: &str) -> Result<Option<Self>> {
        Self::take(
            head,
            &[LEASE_BYTE],
            object,
            "the requester's lease: the kernel drops it if this process dies",
        )
    }

    /// The same for a provider.
    pub(super) fn of_provider(answer: &SharedMemory, object: &str) -> Result<Option<Self>> {
        let own = IDENTITY_START + u64::from(u32::from_ne_bytes(process::random_bytes()?));
        let why = "the provider's lease: the kernel drops it if this process dies";
        let Some(hold) = Self::take(answer, &[LEASE_BYTE, own], object, why)? else {
            return Ok(None);
        };
        // Only who has the lease writes here.
        let count = providers(answer, object)?.wrapping_add(1);
        answer.write_at(&count.to_ne_bytes(), COUNT_OFFSET)?;
        Ok(Some(hold))
    }

    fn take(memory: &SharedMemory, bytes: &[u64], object: &str, why: &str) -> Result<Option<Self>> {
        for byte in bytes {
            if !lease::try_take(memory, Range::byte(*byte), Kind::Write, object)? {
                return Ok(None);
            }
            if *byte == LEASE_BYTE {
                explain!("fcntl(F_OFD_SETLK)", format_args!("byte 0 of {object}"), why);
            } else {
                let why = "a byte further on, of its own choice: it tells this provider from the next one";
                explain!("fcntl(F_OFD_SETLK)", object, why);
            }
        }
        let mapping = Mapping::read_only(memory, MAPPED_BYTES, object)?;
        Ok(Some(Self { _mapping: mapping }))
    }
}

/// Whether a living requester has the channel of this HEAD.
pub(super) fn has_requester(head: &SharedMemory) -> Result<bool> {
    Ok(lease::probe(head, Range::byte(LEASE_BYTE), Kind::Read, head.label())?.is_some())
}

/// Which living provider of ours serves the channel of this RES, if one does.
pub(super) fn provider(answer: impl std::os::fd::AsFd, object: &str) -> Result<Option<u64>> {
    let own = Range {
        start: IDENTITY_START,
        len: 0,
    };
    Ok(lease::find(answer, own, Kind::Read, object)?.map(|(_, start)| start))
}

/// How many providers of ours have come to this RES, as the memory says: whoever may open it may write any number.
pub(super) fn providers(answer: impl std::os::fd::AsFd, object: &str) -> Result<u64> {
    let mut bytes = [0; 8];
    // Of a file that was made shorter the semaphore tells.
    fs::read_at(answer, &mut bytes, COUNT_OFFSET)
        .map_err(|errno| shmeld_os::Error::new("pread", object.to_owned(), errno))?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use shmeld_os::ObjectName;

    use super::*;

    #[test]
    fn each_provider_is_another_one_and_there_is_one_at_a_time() {
        let name = ObjectName::new(&format!("/shmeld-hold-{}", process::pid())).unwrap();
        let observer = SharedMemory::create_new(&name, 0o600).unwrap();
        let open = || SharedMemory::open(&name, true).unwrap();
        let label = name.to_string();
        let look = || provider(&observer, &label).unwrap();
        let first = Hold::of_provider(&open(), &label).unwrap();
        let second = Hold::of_provider(&open(), &label).unwrap();
        assert!(first.is_some() && second.is_none());
        let identity = look();
        assert!(identity.is_some() && identity == look());
        drop(first);
        assert_eq!(look(), None);
        let third = Hold::of_provider(&open(), &label).unwrap();
        assert!(third.is_some() && look().is_some() && look() != identity);
        // The one that was refused does not count.
        assert_eq!(providers(&observer, &label).unwrap(), 2);
        SharedMemory::unlink(&name).unwrap();
    }
}
