//! One output file: invisible until it is whole. A final name holds the whole file or what was there before.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use shmeld_os::fs::{self, FileKind};
use shmeld_os::{Errno, Error, ErrorKind, process};

use super::digest::ZEROS;
use super::node::open_node;
use super::partial::Partial;
use super::place::{Place, check_replaceable, refused, replaceable};
use super::record::Entry;
use super::reservation::Reservation;

/// How outputs are made.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputOptions {
    /// The bits that a new file or directory does not get: the user's umask.
    pub umask: u32,
    /// The umask that the process has, if it is known to stay: a file that gets the right mode when it is made needs no `fchmod`.
    pub process_umask: Option<u32>,
    /// Keep the modification time, and the mode without regard to the umask.
    pub preserve: bool,
    /// Refuse to replace what is there.
    pub no_clobber: bool,
    /// `fsync` the file and its directory before reporting success.
    pub sync: bool,
    /// Keep what has arrived of a single file, and go on from what an earlier transfer kept.
    pub resume: bool,
}

impl OutputOptions {
    /// The mode of a new file or directory. Set-user-id and the like are never copied.
    pub(super) fn mode(&self, source_mode: u32) -> u32 {
        if self.preserve {
            source_mode & 0o777
        } else {
            source_mode & 0o777 & !self.umask
        }
    }

    /// What a file made with this mode has then, as far as that is known.
    fn made(&self, mode: u32) -> Option<u32> {
        // A default ACL can take bits too, which nobody sees from here. Without `preserve` that is what the user wants, and what `cp` does.
        self.process_umask
            .filter(|_| !self.preserve)
            .map(|umask| mode & !umask)
    }
}

/// Where the bytes go until the file is whole.
#[derive(Debug)]
enum State {
    /// A file without a name; killed now, nothing is left.
    Unnamed,
    /// A file with a temporary name, where the file system has no unnamed ones.
    Temporary(Vec<u8>),
    /// A file with its final name in a directory that has not got its own yet.
    Aside,
    /// The part of a file that a later transfer can go on with.
    Partial(Box<Partial>),
    /// A device, FIFO or the like: bytes go into it as they come.
    Stream,
    /// Finished: nothing to clean up.
    Done,
}

/// See the module.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: Arc<OwnedFd>,
    place: Option<Place>,
    name: Vec<u8>,
    state: State,
    options: OutputOptions,
    /// The mode that the file is going to have, and the one it was made with as far as that is known.
    mode: u32,
    made_mode: Option<u32>,
    /// End of what was written; holes may lie behind it.
    written_end: u64,
    reservation: Reservation,
}

impl OutputFile {
    /// A file that will appear in `place` under `name`.
    pub(super) fn create(
        place: &Place,
        name: &[u8],
        entry: &Entry,
        options: OutputOptions,
    ) -> Result<Self, Error> {
        let mut mode = options.mode(entry.mode);
        let mut reservation = Reservation::new(entry.size);
        if let Some(stat) = fs::find_at(&place.directory, name)? {
            if let Some(node) = open_node(&place.join(name), stat.kind)? {
                // Devices of characters and FIFOs hold nothing that could be lost; a disk does.
                if options.no_clobber && fs::stat(&node)?.kind == FileKind::BlockDevice {
                    return Err(refused(place, name, Errno::EXIST));
                }
                let mut output = Self::stream(Arc::new(node), options);
                (output.place, output.name) = (Some(place.clone()), name.to_vec());
                return Ok(output);
            }
            check_replaceable(place, name, &stat, options)?;
            // ext4 writes a file that replaces another to the disk before the rename, so that a power cut leaves the one or the other; but
            // only what was not reserved (seen: size 0 after the cut). Speed is not worth somebody's old file.
            reservation = Reservation::none();
            // The new file is not opened wider than the one that it replaces.
            if stat.kind == FileKind::File {
                mode &= stat.mode;
            }
        }
        let (file, state) = create_hidden(place, name, mode).map_err(|error| place.error(name, &error))?;
        let made_mode = match state {
            State::Unnamed => options.made(mode),
            _ => None,
        };
        Ok(Self {
            file: Arc::new(file),
            place: Some(place.clone()),
            name: name.to_vec(),
            state,
            options,
            mode,
            made_mode,
            written_end: 0,
            reservation,
        })
    }

    /// A file that goes on behind the first `start` bytes of what an earlier transfer left, or begins anew.
    pub(super) fn resume(
        mut partial: Partial,
        start: u64,
        entry: &Entry,
        options: OutputOptions,
    ) -> crate::Result<Self> {
        if start == 0 {
            partial.begin_anew()?;
        } else {
            partial.go_on()?;
        }
        let (place, name) = (partial.place().clone(), partial.name().to_vec());
        let reservation = match replaceable(&place, &name, options)? {
            Some(_) => Reservation::none(),
            None => Reservation::new(entry.size),
        };
        Ok(Self {
            file: partial.file().clone(),
            place: Some(place),
            name,
            state: State::Partial(Box::new(partial)),
            options,
            mode: options.mode(entry.mode),
            made_mode: None,
            written_end: start,
            reservation,
        })
    }

    /// A file in a directory that nobody knows yet: it needs no detour.
    pub(super) fn create_aside(
        place: &Place,
        name: &[u8],
        entry: &Entry,
        options: OutputOptions,
    ) -> Result<Self, Error> {
        let mode = options.mode(entry.mode);
        let file = fs::create_new(&place.directory, name, mode)?;
        Ok(Self {
            file: Arc::new(file),
            place: Some(place.clone()),
            name: name.to_vec(),
            state: State::Aside,
            options,
            mode,
            made_mode: options.made(mode),
            written_end: 0,
            reservation: Reservation::new(entry.size),
        })
    }

    /// Bytes go into this descriptor as they come.
    pub(super) fn stream(file: Arc<OwnedFd>, options: OutputOptions) -> Self {
        Self {
            file,
            place: None,
            name: Vec::new(),
            state: State::Stream,
            options,
            mode: 0,
            made_mode: None,
            written_end: 0,
            reservation: Reservation::none(),
        }
    }

    /// What messages call it: its path.
    pub(super) fn label(&self) -> String {
        self.place.as_ref().map_or_else(
            || "standard output".to_owned(),
            |place| place.join(&self.name).to_string_lossy().into_owned(),
        )
    }

    /// Where the kernel shall put bytes meant for `position`: `None` in a stream.
    pub(super) fn target(&mut self, position: u64) -> (BorrowedFd<'_>, Option<u64>) {
        if matches!(self.state, State::Stream) {
            return (self.file.as_fd(), None);
        }
        self.reservation.reserve(&self.file, position);
        (self.file.as_fd(), Some(position))
    }

    /// Notes that bytes up to `end` have been written through [`OutputFile::target`].
    pub(super) fn written_to(&mut self, end: u64) {
        self.written_end = end;
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) -> Result<(), Errno> {
        match self.target(position) {
            (file, Some(position)) => fs::write_all_at(file, bytes, position)?,
            (file, None) => fs::write_all(file, bytes)?,
        }
        self.written_end = position + bytes.len() as u64;
        Ok(())
    }

    /// A run of zeros: left out of a file, written into a stream piece by piece (`between` may end it).
    pub(super) fn hole(&mut self, len: u64, mut between: impl FnMut() -> bool) -> Result<(), Errno> {
        if !matches!(self.state, State::Stream) {
            let given_back = self.reservation.abandon(&self.file, self.written_end);
            return given_back.map_err(|error| error.errno());
        }
        let mut left = len;
        while left > 0 {
            if !between() {
                return Err(Errno::INTR);
            }
            let piece = left.min(ZEROS.len() as u64);
            fs::write_all(&self.file, &ZEROS[..piece as usize])?;
            left -= piece;
        }
        Ok(())
    }

    /// The file is whole: gives it its size, mode and time, and then its name.
    pub(super) fn finish(mut self, entry: &Entry) -> crate::Result<()> {
        if matches!(self.state, State::Stream) {
            return Ok(self.finish_stream()?);
        }
        let Some(place) = self.place.clone() else {
            return Ok(());
        };
        self.finish_in(&place, entry).map_err(|error| match error {
            crate::Error::Os(error) => place.error(&self.name, &error).into(),
            error => error,
        })
    }

    /// A disk, or a file that standard output leads to, can be waited for; a pipe or a terminal says that it cannot.
    fn finish_stream(&self) -> Result<(), Error> {
        match self.options.sync.then(|| fs::sync(&self.file)) {
            Some(Err(error)) if !matches!(error.errno(), Errno::INVAL | Errno::ROFS) => {
                Err(Error::new(error.operation(), self.label(), error.errno()))
            }
            _ => Ok(()),
        }
    }

    fn finish_in(&mut self, place: &Place, entry: &Entry) -> crate::Result<()> {
        if self.written_end < entry.size {
            fs::set_size(&self.file, entry.size)?;
        }
        let is_partial = matches!(self.state, State::Partial(_));
        // It may have come, or become something else, at any time since the transfer began, which may be days ago.
        if is_partial
            && let Some(stat) = replaceable(place, &self.name, self.options)?
            && stat.kind == FileKind::File
        {
            self.mode &= stat.mode;
        }
        // Some file systems refuse bytes only when a file is closed, and this one has its name before that.
        match fs::flush(&self.file) {
            // It takes a descriptor, and to be out of them is no reason to lose a file.
            Err(error) if error.kind() != ErrorKind::Limit => return Err(error.into()),
            _ => {}
        }
        if self.options.preserve {
            fs::set_times(&self.file, entry.modified)?;
        }
        // What takes long, and may fail, comes before others can open it: what they could open is not gone on with.
        if is_partial && self.options.sync {
            fs::sync(&self.file)?;
        }
        if self.made_mode != Some(self.mode) {
            fs::set_mode(&self.file, self.mode)?;
        }
        if self.options.sync {
            fs::sync(&self.file)?;
        }
        // The directories of a tree that is built aside are synced once all is in them.
        let is_aside = matches!(self.state, State::Aside);
        self.appear(place)?;
        if self.options.sync && !is_aside {
            fs::sync(&place.directory)?;
        }
        if let State::Partial(partial) = &self.state {
            partial.remove();
            self.state = State::Done;
        }
        Ok(())
    }

    /// Gives the file its final name in one step.
    fn appear(&mut self, place: &Place) -> crate::Result<()> {
        if matches!(self.state, State::Unnamed) {
            match fs::link_unnamed(&self.file, &place.directory, &self.name) {
                Ok(()) => {
                    self.state = State::Done;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists && !self.options.no_clobber => {
                    let temporary = hidden_name(&self.name)?;
                    fs::link_unnamed(&self.file, &place.directory, &temporary)?;
                    self.state = State::Temporary(temporary);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let State::Partial(partial) = &self.state {
            return partial.deliver(self.options.no_clobber);
        }
        if let State::Temporary(temporary) = &self.state {
            let (directory, name) = (&place.directory, &self.name);
            if self.options.no_clobber {
                fs::rename_noreplace(directory, temporary, directory, name)?;
            } else {
                fs::rename(directory, temporary, directory, name)?;
            }
        }
        self.state = State::Done;
        Ok(())
    }

    /// The bytes are wrong, nobody knows where: kept, they would come again.
    pub(super) fn discard(self) {
        if let State::Partial(partial) = &self.state {
            partial.remove();
        }
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let State::Partial(_) = &self.state {
            // It stays, with what is in it. Whatever stops the rest from being given back costs room and nothing else.
            let _ = self.reservation.abandon(&self.file, self.written_end);
        }
        let Some(place) = &self.place else { return };
        let name = match &self.state {
            State::Temporary(temporary) => temporary,
            State::Aside => &self.name,
            _ => return,
        };
        // Whatever stops this has been reported by the step that failed before.
        let _ = fs::unlink(&place.directory, name);
    }
}

/// `.NAME.shmeld-<hex>`, cut so that it stays a valid name.
pub(super) fn hidden_name(name: &[u8]) -> Result<Vec<u8>, Error> {
    let mut hidden = b".".to_vec();
    hidden.extend_from_slice(super::record::cut(name, 200));
    let random: [u8; 8] = process::random_bytes()?;
    hidden.extend_from_slice(format!(".shmeld-{:016x}", u64::from_le_bytes(random)).as_bytes());
    Ok(hidden)
}

/// An unnamed file can have its mode at once, because nobody else can open it.
fn create_hidden(place: &Place, name: &[u8], mode: u32) -> Result<(OwnedFd, State), Error> {
    match fs::create_unnamed(&place.directory, mode) {
        Ok(file) => Ok((file, State::Unnamed)),
        // Not every file system has unnamed files, and old kernels say so in several ways.
        Err(error)
            if matches!(
                error.errno(),
                Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT
            ) =>
        {
            let temporary = hidden_name(name)?;
            let file = fs::create_new(&place.directory, &temporary, 0o600)?;
            Ok((file, State::Temporary(temporary)))
        }
        Err(error) => Err(error),
    }
}
