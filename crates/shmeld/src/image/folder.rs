//! Image files found by the names of images.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use shmeld_os::fs::{self, FileKind, Links};
use shmeld_os::name::escape;
use shmeld_os::{ErrorKind, error::errno_text, explain};

use super::decode::check_pixels;
use super::raw::{self, SIDECAR_EXTENSION};
use super::{DecodeError, DecodeLimits, Decoded, Geometry, ImageSource, decode};

/// What the names of image files end in, in the order in which they are tried: what lost nothing comes first.
pub const EXTENSIONS: [&str; 14] = [
    "png", "bmp", "ppm", "pgm", "pbm", "pnm", "pam", "raw", "webp", "gif", "jpg", "jpeg", "jpe", "jfif",
];
/// How many files are remembered as mentioned. Then it begins anew, and some are mentioned twice.
const MENTIONED_MAX: usize = 10_000;

/// A directory of image files as the source of images.
///
/// For the name `cat` these are tried, the first that can be decoded wins:
/// 1. `cat` itself;
/// 2. `cat.png`, `cat.bmp`, and so on through [`EXTENSIONS`], then the same in capitals: no listing, however large the directory is;
/// 3. what else begins with `cat.`, in the order of its bytes.
///
/// The kernel resolves each beneath the directory: symbolic links are followed as long as they stay there. Only regular files are read, and
/// what they are is asked of the descriptor.
#[derive(Debug)]
pub struct Folder {
    root: OwnedFd,
    limits: DecodeLimits,
    /// The file as it is on the disk; its memory is used again.
    file: Vec<u8>,
    note: Option<String>,
    mentioned: BTreeSet<Vec<u8>>,
}

/// Why a file of a fitting name gave no image.
enum Refusal {
    /// Nothing has this name, or it leads nowhere.
    Missing,
    /// Something has it, and this is what is wrong with it.
    Unusable(String),
}

impl Folder {
    /// Opens a directory; with the limits of [`DecodeLimits::default`].
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(directory: &Path) -> Result<Self, shmeld_os::Error> {
        Self::with_limits(directory, DecodeLimits::default())
    }

    /// As [`Folder::open`], with the caller's limits.
    ///
    /// # Errors
    /// As there.
    pub fn with_limits(directory: &Path, limits: DecodeLimits) -> Result<Self, shmeld_os::Error> {
        Ok(Self {
            root: fs::open_directory(directory)?,
            limits,
            file: Vec::new(),
            note: None,
            mentioned: BTreeSet::new(),
        })
    }

    /// What the user should hear of the last image: that its pixels are not all that the file holds. Once for each file.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }

    /// The image of one file.
    fn load_file(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, Refusal> {
        let (file, bytes) = self.open_file(name)?;
        let unusable = |reason: String| Refusal::Unusable(format!("{}: {reason}", escape(name)));
        if extension(name).is_some_and(|it| it.eq_ignore_ascii_case(b"raw")) {
            return self.load_raw(name, &file, bytes, pixels);
        }
        read(&file, bytes, &mut self.file).map_err(unusable)?;
        let decoded = decode(&self.file, self.limits, pixels).map_err(|error| unusable(error.to_string()))?;
        self.mention(name, decoded);
        Ok(decoded.geometry)
    }

    /// Raw pixels go straight to where they are wanted.
    fn load_raw(
        &self,
        name: &[u8],
        file: &OwnedFd,
        bytes: u64,
        pixels: &mut Vec<u8>,
    ) -> Result<Geometry, Refusal> {
        let unusable = |reason: String| Refusal::Unusable(format!("{}: {reason}", escape(name)));
        let beside = [name, b".", SIDECAR_EXTENSION.as_bytes()].concat();
        let (sidecar, sidecar_bytes) = self.open_file(&beside).map_err(|refusal| match refusal {
            Refusal::Missing => unusable(format!("there is no {} beside it", escape(&beside))),
            refusal => refusal,
        })?;
        let mut text = Vec::new();
        let sidecar_bytes = sidecar_bytes.min(raw::SIDECAR_BYTES_MAX);
        read(&sidecar, sidecar_bytes, &mut text).map_err(unusable)?;
        let geometry = raw::geometry_of(&text, bytes).map_err(|reason| unusable(reason.to_string()))?;
        check_pixels(geometry, self.limits).map_err(|error| unusable(error.to_string()))?;
        read(file, bytes, pixels).map_err(unusable)?;
        Ok(geometry)
    }

    /// Opens a regular file beneath the directory, and its length.
    fn open_file(&self, name: &[u8]) -> Result<(OwnedFd, u64), Refusal> {
        let unusable = |reason: &str| Refusal::Unusable(format!("{}: {reason}", escape(name)));
        let file = match fs::open_beneath(&self.root, name, Links::Follow) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Refusal::Missing),
            // The path of the directory in the error's text is the provider's own business.
            Err(error) => return Err(unusable(errno_text(error.errno()))),
        };
        let stat = fs::stat(&file).map_err(|error| unusable(errno_text(error.errno())))?;
        if stat.kind != FileKind::File {
            return Err(unusable("it is no regular file"));
        }
        if stat.bytes > self.limits.file_bytes_max {
            let (bytes, bytes_max) = (stat.bytes, self.limits.file_bytes_max);
            return Err(unusable(
                &DecodeError::FileTooLarge { bytes, bytes_max }.to_string(),
            ));
        }
        explain!(
            "openat2(RESOLVE_BENEATH)",
            escape(name),
            "the kernel itself refuses every name that leaves the directory"
        );
        Ok((file, stat.bytes))
    }

    fn mention(&mut self, name: &[u8], decoded: Decoded) {
        let Some(conversion) = decoded.conversion else {
            return;
        };
        if self.mentioned.len() >= MENTIONED_MAX {
            self.mentioned.clear();
        }
        if self.mentioned.insert(name.to_vec()) {
            self.note = Some(format!("{}: {conversion}", escape(name)));
        }
    }

    /// The first of these that is an image; else `reason` says what is wrong with the first that exists.
    fn load_first(
        &mut self,
        names: impl Iterator<Item = Vec<u8>>,
        pixels: &mut Vec<u8>,
        reason: &mut Option<String>,
    ) -> Option<Geometry> {
        for name in names {
            match self.load_file(&name, pixels) {
                Ok(geometry) => return Some(geometry),
                Err(Refusal::Unusable(text)) => drop(reason.get_or_insert(text)),
                Err(Refusal::Missing) => {}
            }
        }
        None
    }

    /// What begins with `name.` and has not been tried by its extension.
    fn others(&self, name: &[u8]) -> Result<BTreeSet<Vec<u8>>, shmeld_os::Error> {
        let mut others = BTreeSet::new();
        for entry in fs::entries(fs::open_directory_at(&self.root, b".")?)? {
            let found = entry?.name;
            let Some(found_extension) = found.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."))
            else {
                continue;
            };
            let is_tried = EXTENSIONS.iter().any(|extension| {
                found_extension == extension.as_bytes()
                    || found_extension == extension.to_ascii_uppercase().as_bytes()
            });
            if !is_tried {
                others.insert(found);
            }
        }
        Ok(others)
    }
}

impl ImageSource for Folder {
    fn load(&mut self, name: &[u8], pixels: &mut Vec<u8>) -> Result<Geometry, String> {
        self.note = None;
        check_name(name)?;
        let mut reason = None;
        if let Some(geometry) = self.load_first(candidates(name), pixels, &mut reason) {
            return Ok(geometry);
        }
        let others = self.others(name);
        let others = others.map_err(|error| errno_text(error.errno()).to_owned())?;
        if let Some(geometry) = self.load_first(others.into_iter(), pixels, &mut reason) {
            return Ok(geometry);
        }
        let missing = || format!("there is neither {0} nor {0}.*", escape(name));
        Err(reason.unwrap_or_else(missing))
    }
}

/// The names that are tried without a look into the directory.
fn candidates(name: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let small = EXTENSIONS.iter().map(|extension| (*extension).to_owned());
    let capital = EXTENSIONS.iter().map(|extension| extension.to_ascii_uppercase());
    let with = small
        .chain(capital)
        .map(move |extension| [name, b".", extension.as_bytes()].concat());
    std::iter::once(name.to_vec()).chain(with)
}

/// The channel has looked at the name; this is not the place to rely on it.
fn check_name(name: &[u8]) -> Result<(), String> {
    let reason = match name {
        b"" => "is empty",
        b"." | b".." => "is that of a directory",
        _ if name.contains(&b'/') => "has a / in it",
        _ if name.contains(&0) => "has a NUL in it",
        _ => return Ok(()),
    };
    Err(format!("the name {} {reason}", escape(name)))
}

/// The part behind the last dot.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    Some(&name[dot + 1..])
}

/// The first `bytes` of a file; an error if there are fewer.
fn read(file: impl AsFd, bytes: u64, buffer: &mut Vec<u8>) -> Result<(), String> {
    let Ok(len) = usize::try_from(bytes) else {
        return Err("it does not fit into memory".to_owned());
    };
    buffer.resize(len, 0);
    let mut done = 0;
    while done < len {
        match fs::read_at(&file, &mut buffer[done..], done as u64) {
            Ok(0) => return Err("it became shorter while it was read".to_owned()),
            Ok(got) => done += got,
            Err(errno) => return Err(errno_text(errno).to_owned()),
        }
    }
    Ok(())
}
