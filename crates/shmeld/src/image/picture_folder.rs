//! A directory where received images become files.

use std::path::{Path, PathBuf};

use super::encode::check_length;
use super::folder::EXTENSIONS;
use super::raw::SIDECAR_EXTENSION;
use super::shape::Shape;
use super::{EncodeError, Format, Geometry, Loss, encode};
use crate::file::single_output::{Place, SingleOutput};
use crate::file::{OutputOptions, make_directories};

/// Writes images as files: each appears under its name complete, in one step, or not at all. Nothing outside the directory is touched.
#[derive(Debug)]
pub struct PictureFolder {
    place: Place,
    options: OutputOptions,
    format: Format,
    /// The encoded file; its memory is used again.
    file: Vec<u8>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// The four numbers of its pixels.
    pub shape: Shape,
    /// What the user should hear: something of the pixels is not in the file.
    pub loss: Option<Loss>,
}

/// Why an image became no file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// This format cannot hold it.
    #[error("{}: {error}", shmeld_os::name::escape(.name))]
    Encode {
        /// The image.
        name: Vec<u8>,
        /// Why not.
        error: EncodeError,
    },
    /// The kernel refused.
    #[error(transparent)]
    Output(#[from] crate::Error),
}

impl PictureFolder {
    /// A directory, which is made if it is not there; with what is missing above it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(directory: &Path, format: Format, options: OutputOptions) -> crate::Result<Self> {
        make_directories(directory, options)?;
        Ok(Self {
            place: Place::open(directory)?,
            options,
            format,
            file: Vec::new(),
        })
    }

    /// Writes one image. The file is called like the image; if that ends in the extension of an image format, the format's own comes in its
    /// place. Raw pixels get a second file, `NAME.raw.json`, with the four numbers of [`Shape`]; it comes after the first.
    ///
    /// # Errors
    /// The format cannot hold the image, or the kernel refuses.
    pub fn write(&mut self, name: &[u8], geometry: Geometry, pixels: &[u8]) -> Result<Picture, PictureError> {
        let fail = |error| PictureError::Encode {
            name: name.to_vec(),
            error,
        };
        let file_name = file_name(name, self.format);
        let shape = Shape::from(geometry);
        let mut loss = None;
        if self.format == Format::Raw {
            check_length(geometry, pixels).map_err(fail)?;
            self.put(&file_name, pixels)?;
            let beside = [&file_name, b".".as_slice(), SIDECAR_EXTENSION.as_bytes()].concat();
            self.put(&beside, format!("{}\n", shape.to_json()).as_bytes())?;
        } else {
            loss = encode(geometry, pixels, self.format, &mut self.file).map_err(fail)?;
            self.put(&file_name, &self.file)?;
        }
        Ok(Picture {
            path: self.place.join(&file_name),
            shape,
            loss,
        })
    }

    fn put(&self, file_name: &[u8], bytes: &[u8]) -> crate::Result<()> {
        let mut output =
            SingleOutput::create_in(&self.place, file_name, bytes.len() as u64, 0o666, self.options)?;
        output.write(0, bytes)?;
        output.finish()
    }
}

/// The name of the file of an image. Only what the extension of an image format is gives way: `shot.1` and `shot.2` stay apart.
fn file_name(name: &[u8], format: Format) -> Vec<u8> {
    let stem = match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 && is_image_extension(&name[dot + 1..]) => &name[..dot],
        _ => name,
    };
    [stem, b".", format.extension().as_bytes()].concat()
}

fn is_image_extension(extension: &[u8]) -> bool {
    EXTENSIONS
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_extension_gives_way_to_that_of_the_format() {
        let cases: [(&[u8], Format, &[u8]); 7] = [
            (b"cat", Format::Png, b"cat.png"),
            (b"cat.JPEG", Format::Png, b"cat.png"),
            (b"cat.png", Format::Png, b"cat.png"),
            (b"shot.2", Format::Jpg, b"shot.2.jpg"),
            (b".png", Format::Raw, b".png.raw"),
            (b"a.b.gif", Format::Raw, b"a.b.raw"),
            (b"\xff.", Format::Jpg, b"\xff..jpg"),
        ];
        for (name, format, expected) in cases {
            assert_eq!(file_name(name, format), expected);
        }
    }
}
