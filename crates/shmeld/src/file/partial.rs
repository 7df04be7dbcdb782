//! The part of a file that has arrived, kept beside its output under a name of its own, so that the next transfer can go on from there.
//!
//! ```text
//! .NAME.shmeld-part   the first bytes of the file, in order: its size says how many. Write-locked by the client that fetches it.
//! .NAME.shmeld-full   another name of it while it, whole, replaces an older file: from one system call to the next
//! ```
//! What lies there may be anything: it is opened without following a link, must be a regular file of our own with one name, and what is in
//! it is compared by the server. Not here: what is written into it (`output`), where it lies (`target`).

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use shmeld_os::fs::{self, FileKind, Span, Stat};
use shmeld_os::lease::{self, Kind, Range};
use shmeld_os::name::escape;
use shmeld_os::{Errno, Error as OsError, ErrorKind, explain, process};

use super::digest::hash_zeros;
use super::output::hidden_name;
use super::place::Place;
use super::prefix::Prefix;
use super::staging::BLOCK_BYTES;
use crate::{Error, Result};

/// How often a name may lead to another file after it was locked: another client that ends at this moment takes its name away.
const TRIES_MAX: usize = 16;
/// The longest name of a file.
const NAME_BYTES_MAX: usize = 255;
const REMOVE_IT: &str = "look what it is; remove it, or fetch without --resume";

/// See the module. Dropped while it is empty, it is removed.
#[derive(Debug)]
pub(super) struct Partial {
    place: Place,
    /// The name that the whole file will get.
    name: Vec<u8>,
    file: Arc<OwnedFd>,
    /// How many bytes of an earlier transfer are in it.
    bytes: u64,
    /// Has taken them, once [`Partial::hash`] was called.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Partial {
    /// Opens and locks what an earlier transfer of `name` left; `None` if there is nothing.
    ///
    /// # Errors
    /// [`Error::Partial`] if it is no such thing or another client has it; what the kernel says.
    pub(super) fn open(place: &Place, name: &[u8]) -> Result<Option<Self>> {
        let part = hidden(name, b"part");
        for _ in 0..TRIES_MAX {
            let Some(found) = fs::find_at(&place.directory, &part)? else {
                return Ok(None);
            };
            check_own(place, &part, &found)?;
            let is_shown = !is_private(&found);
            if is_shown && remove_shown(place, name)? {
                continue;
            }
            let file = match fs::open_child_to_write(&place.directory, &part) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                outcome => outcome?,
            };
            check_own(place, &part, &fs::stat(&file)?)?;
            lock(&file, place, &part)?;
            let stat = fs::stat(&file)?;
            // Whoever had the lock before may have finished: then the name is gone, or another's, or the file has its mode.
            if !is_named(place, &part, &stat)? || !is_shown && !is_private(&stat) {
                continue;
            }
            if stat.links > 1 && !separate(place, name, &stat)? {
                continue;
            }
            explain!(
                "fcntl(F_OFD_SETLK)",
                label(place, &part),
                "an earlier transfer left this: locked, so that no other client goes on with it"
            );
            return Ok(Some(Self {
                place: place.clone(),
                name: name.to_vec(),
                file: Arc::new(file),
                bytes: stat.bytes,
                hasher: None,
            }));
        }
        Err(taken(place, &part))
    }

    /// Makes and locks a new one. One that has appeared meanwhile is taken over, empty.
    ///
    /// # Errors
    /// As for [`Partial::open`].
    pub(super) fn create(place: &Place, name: &[u8]) -> Result<Self> {
        let part = hidden(name, b"part");
        for _ in 0..TRIES_MAX {
            let file = match fs::create_new(&place.directory, &part, 0o600) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if let Some(mut partial) = Self::open(place, name)? {
                        partial.begin_anew()?;
                        return Ok(partial);
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            lock(&file, place, &part)?;
            if is_named(place, &part, &fs::stat(&file)?)? {
                return Ok(Self {
                    place: place.clone(),
                    name: name.to_vec(),
                    file: Arc::new(file),
                    bytes: 0,
                    hasher: None,
                });
            }
        }
        Err(taken(place, &part))
    }

    pub(super) fn file(&self) -> &Arc<OwnedFd> {
        &self.file
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Hashes what is there; `None` if that is nothing. Between pieces `go_on` may end it.
    ///
    /// # Errors
    /// It cannot be read, or `go_on` says so.
    pub(super) fn hash(&mut self, mut go_on: impl FnMut() -> Result<()>) -> Result<Option<Prefix>> {
        if self.bytes == 0 {
            return Ok(None);
        }
        let failed = |errno| OsError::new("pread", label(&self.place, &hidden(&self.name, b"part")), errno);
        let mut hasher = Box::new(blake3::Hasher::new());
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut position = 0;
        while position < self.bytes {
            go_on()?;
            let end = match fs::span_at(&self.file, position, self.bytes)? {
                Span::Hole { end, .. } => {
                    hash_zeros(&mut hasher, end - position, || go_on().map(|()| true))?;
                    position = end;
                    continue;
                }
                Span::Data { end, .. } => end,
                Span::End => self.bytes,
            };
            let want = usize::try_from(end - position).map_or(BLOCK_BYTES, |left| left.min(BLOCK_BYTES));
            match fs::read_at(&self.file, &mut buffer[..want], position).map_err(failed)? {
                // Somebody cuts it, lock or no lock.
                0 => return Err(failed(Errno::IO).into()),
                got => {
                    hasher.update(&buffer[..got]);
                    position += got as u64;
                }
            }
        }
        let digest = *hasher.finalize().as_bytes();
        let bytes = self.bytes;
        self.hasher = Some(hasher);
        Ok(Some(Prefix { bytes, digest }))
    }

    /// The hasher of what is there.
    pub(super) fn take_hasher(&mut self) -> Option<Box<blake3::Hasher>> {
        self.hasher.take()
    }

    /// Keeps what is there and gives back what was reserved beyond it by a transfer that was killed.
    pub(super) fn go_on(&self) -> Result<(), OsError> {
        fs::set_size(&self.file, self.bytes)
    }

    /// Throws away what is there.
    pub(super) fn begin_anew(&mut self) -> Result<(), OsError> {
        self.bytes = 0;
        fs::set_size(&self.file, 0)
    }

    /// The file is whole: it gets its final name in one step. It keeps that of a part until [`Partial::remove`].
    ///
    /// # Errors
    /// Somebody has removed the part, or what the kernel says.
    pub(super) fn deliver(&self, no_clobber: bool) -> Result<()> {
        let outcome = match fs::link_unnamed(&self.file, &self.place.directory, &self.name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !no_clobber => self.replace(),
            Err(error) if matches!(error.errno(), Errno::PERM | Errno::OPNOTSUPP) => self.rename(no_clobber),
            outcome => outcome,
        };
        // What has no name any more gets none.
        if outcome.is_err() && fs::stat(&self.file)?.links == 0 {
            let why = "the part was removed during the transfer";
            return Err(unusable(
                &self.place,
                &hidden(&self.name, b"part"),
                why,
                "fetch it again",
            ));
        }
        Ok(outcome?)
    }

    /// A file system without second names, such as FAT: the part's own must do.
    fn rename(&self, no_clobber: bool) -> Result<(), OsError> {
        let (directory, part) = (&self.place.directory, hidden(&self.name, b"part"));
        if !is_named(&self.place, &part, &fs::stat(&self.file)?)? {
            return Err(OsError::new("renameat", label(&self.place, &part), Errno::NOENT));
        }
        if no_clobber {
            fs::rename_noreplace(directory, &part, directory, &self.name)
        } else {
            fs::rename(directory, &part, directory, &self.name)
        }
    }

    /// By a name that is made for this file, and not by its own: that one could have been given to another file meanwhile.
    fn replace(&self) -> Result<(), OsError> {
        let directory = &self.place.directory;
        let mut full = hidden(&self.name, b"full");
        match fs::link_unnamed(&self.file, directory, &full) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Left by a client that was killed just here, and whose part was then removed. Who holds our lock may remove it. What cannot
                // be removed is another's, and must not stand in the way.
                if fs::unlink(directory, &full).is_err() {
                    full = hidden_name(&self.name)?;
                }
                fs::link_unnamed(&self.file, directory, &full)?;
            }
            outcome => outcome?,
        }
        fs::rename(directory, &full, directory, &self.name).inspect_err(|_| {
            // The rename's error is the one to report.
            let _ = fs::unlink(directory, &full);
        })
    }

    /// Removes the name, if it is still that of this file.
    pub(super) fn remove(&self) {
        let part = hidden(&self.name, b"part");
        let is_ours = fs::stat(&self.file).and_then(|stat| is_named(&self.place, &part, &stat));
        if is_ours.unwrap_or(false) {
            // What stays has a name that says what it is, and the next transfer finds it.
            let _ = fs::unlink(&self.place.directory, &part);
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if fs::stat(&self.file).is_ok_and(|stat| stat.bytes == 0 && stat.links == 1) {
            self.remove();
        }
    }
}

/// Whether a file of this name would be taken for the part of another one.
pub(super) fn is_name_of_part(name: &[u8]) -> bool {
    name.starts_with(b".") && (name.ends_with(b".shmeld-part") || name.ends_with(b".shmeld-full"))
}

/// `.NAME.shmeld-KIND`. A name that would become too long is cut and gets a part of its digest; that form alone has 255 bytes, so that
/// no two names ever share one by chance.
fn hidden(name: &[u8], kind: &[u8; 4]) -> Vec<u8> {
    let suffix = [b".shmeld-", &kind[..]].concat();
    if 1 + name.len() + suffix.len() < NAME_BYTES_MAX {
        return [b".", name, &suffix].concat();
    }
    let digest = &blake3::hash(name).to_hex()[..8];
    let kept = NAME_BYTES_MAX - 1 - 1 - digest.len() - suffix.len();
    [b".", &name[..kept], b"-", digest.as_bytes(), &suffix].concat()
}

fn label(place: &Place, name: &[u8]) -> String {
    escape(place.join(name).as_os_str().as_bytes())
}

fn unusable(place: &Place, part: &[u8], why: &'static str, cure: &'static str) -> Error {
    Error::Partial {
        path: label(place, part),
        why,
        cure,
    }
}

fn taken(place: &Place, part: &[u8]) -> Error {
    let cure = "wait until it has finished, or put this one elsewhere with -o";
    unusable(place, part, "another client is fetching this file", cure)
}

/// Whether only its owner can open it, and can write into it. A client in its last steps gives the part the mode of the source.
fn is_private(stat: &Stat) -> bool {
    stat.mode & 0o677 == 0o600
}

/// Removes a part that a client gave its final mode before it was killed. Others may have it open, and would read whatever came into it
/// from now on; and their read locks could stand in the way of our write lock for ever. `false` if it stays: a file system that keeps no modes,
/// such as FAT, shows every part to all.
fn remove_shown(place: &Place, name: &[u8]) -> Result<bool> {
    let part = &hidden(name, b"part")[..];
    let file = match fs::open_child(&place.directory, part) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        outcome => outcome?,
    };
    // Whoever is in its last steps holds the write lock. Strangers can hold read locks only.
    if !lease::try_take(&file, Range::WHOLE, Kind::Read, &label(place, part))? {
        return Err(taken(place, part));
    }
    let stat = fs::stat(&file)?;
    check_own(place, part, &stat)?;
    let is_gone = is_private(&stat) || !is_named(place, part, &stat)?;
    if is_gone || stat.links > 1 && !separate(place, name, &stat)? {
        return Ok(true);
    }
    if fs::set_mode(&file, 0o600).is_err() || !is_private(&fs::stat(&file)?) {
        return Ok(false);
    }
    tracing::info!(
        target: "shmeld::client",
        "{} has the mode of a whole file, and others may have it open: starting anew",
        label(place, part),
    );
    fs::unlink(&place.directory, part)?;
    Ok(true)
}

fn check_own(place: &Place, part: &[u8], stat: &Stat) -> Result<()> {
    let why = match stat.kind {
        FileKind::File if stat.uid == process::effective_uid() => return Ok(()),
        FileKind::File => "it belongs to another user",
        FileKind::Directory => "a directory stands where the part of a file should",
        FileKind::Symlink => "a symbolic link stands where the part of a file should",
        _ => "a FIFO, socket or device stands where the part of a file should",
    };
    Err(unusable(place, part, why, REMOVE_IT))
}

fn lock(file: &OwnedFd, place: &Place, part: &[u8]) -> Result<()> {
    if lease::try_take(file, Range::WHOLE, Kind::Write, &label(place, part))? {
        Ok(())
    } else {
        Err(taken(place, part))
    }
}

/// Whether `name` leads to this file.
fn is_named(place: &Place, name: &[u8], stat: &Stat) -> Result<bool, OsError> {
    Ok(fs::find_at(&place.directory, name)?.is_some_and(|found| found.is_same_file(stat)))
}

/// A part with two names: a client was killed while it gave the whole file its final name. `true` if the part is one still; else it was
/// the file, delivered, and is no longer a part. Any other second name is somebody else's.
fn separate(place: &Place, name: &[u8], stat: &Stat) -> Result<bool> {
    let (part, full) = (hidden(name, b"part"), hidden(name, b"full"));
    if stat.links == 2 && is_named(place, name, stat)? {
        fs::unlink(&place.directory, &part)?;
        return Ok(false);
    }
    if stat.links == 2 && is_named(place, &full, stat)? {
        fs::unlink(&place.directory, &full)?;
        return Ok(true);
    }
    let why = "it has another name (a hard link), whose file would be written into";
    Err(unusable(place, &part, why, REMOVE_IT))
}

#[cfg(test)]
mod tests {
    use super::hidden;

    #[test]
    fn names_of_parts_are_valid_and_differ() {
        assert_eq!(hidden(b"a.iso", b"part"), b".a.iso.shmeld-part");
        assert_eq!(hidden(&[b'n'; 240], b"part").len(), 253);
        let long = |last: u8| hidden(&[&[b'n'; 254][..], &[last]].concat(), b"part");
        assert_eq!(
            (long(b'x').len(), long(b'x').ends_with(b".shmeld-part")),
            (255, true)
        );
        assert_ne!(long(b'x'), long(b'y'));
        // A name that is spelled like the short form of another has a part of its own.
        let (cut, digest) = ([b'n'; 233], &blake3::hash(&[b'n'; 255]).to_hex()[..8]);
        let alike = [&cut[..], b"-", digest.as_bytes()].concat();
        assert_eq!(alike.len(), 242);
        assert_ne!(hidden(&alike, b"part"), hidden(&[b'n'; 255], b"part"));
    }
}
