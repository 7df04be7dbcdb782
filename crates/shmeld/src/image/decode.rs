//! Decoding: from the bytes of an image file to pixels of 8 bits a channel.
//!
//! The format is found by the first bytes, never by the name. Pixels are as the file stores them: they are not turned as EXIF says and no
//! colour profile is applied. A palette becomes what it stands for: red, green and blue, with alpha where the file has it (GIF: always). Of
//! an animation it is the first picture.

use std::io::Cursor;

use image::{ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use shmeld_os::name::escape;

use super::jpeg::decode_jpeg;
use super::quiet::caught;
use super::{BYTES_MAX, Geometry, GeometryError, PIXELS_MAX};

/// The largest image file that is read: the largest image with 16 bits a channel, without compression.
pub const FILE_BYTES_MAX: u64 = 1 << 31;
/// What a decoder may take for itself besides pixels, as far as it heeds this: profiles, texts, rows.
const DECODER_BYTES_MAX: u64 = 64 << 20;
/// How much of a decoder's own words is passed on.
const REASON_CHARACTERS_MAX: usize = 200;

const _: () = assert!(FILE_BYTES_MAX == 2 * BYTES_MAX);

/// What decoding does not go beyond, looked at before room for pixels is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The longest file; [`FILE_BYTES_MAX`] if nothing else is said.
    pub file_bytes_max: u64,
    /// The most pixels; more than [`PIXELS_MAX`] are never decoded.
    pub pixels_max: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            file_bytes_max: FILE_BYTES_MAX,
            pixels_max: PIXELS_MAX,
        }
    }
}

/// What came out of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// The shape of the pixels.
    pub geometry: Geometry,
    /// What was lost, if the file has more than 8 bits a channel.
    pub conversion: Option<Conversion>,
}

/// How channels of other than 8 bits became 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// Of 16 bits the high eight are kept.
    From16Bits,
    /// Of floating point numbers, 0 to 1 became 0 to 255; what lies outside was cut off.
    FromFloat,
}

impl std::fmt::Display for Conversion {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::From16Bits => "its 16 bits a channel became 8: the high byte of each",
            Self::FromFloat => {
                "its floating point channels became 8 bits: 0 to 1 is 0 to 255, the rest cut off"
            }
        })
    }
}

/// Why the bytes of a file became no pixels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first bytes are not those of a format that we know.
    #[error("it is no image in a format known here (png, jpeg, webp, bmp, gif, pnm)")]
    UnknownFormat,
    /// No shape that we would make room for.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// More than the caller's limit.
    #[error("it has {pixels} pixels, and the limit is {pixels_max}")]
    TooManyPixels {
        /// What it has.
        pixels: u64,
        /// The limit.
        pixels_max: u64,
    },
    /// More than the caller's limit.
    #[error("the file has {bytes} bytes, and the limit is {bytes_max}")]
    FileTooLarge {
        /// What it has.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The decoder gave up.
    #[error("it is a broken {format} file, or of a kind that is not supported: {reason}")]
    Broken {
        /// The format that the first bytes say.
        format: &'static str,
        /// The decoder's own words, printable and cut short.
        reason: String,
    },
    /// The file is shorter than its image.
    #[error("it is a broken {format} file: it ends before the image does")]
    CutShort {
        /// The format that the first bytes say.
        format: &'static str,
    },
}

/// Decodes an image file into `pixels`, whose old content goes and whose memory is used again.
///
/// Afterwards `pixels` has exactly [`Geometry::bytes`]; after an error it is empty, and its memory given back.
///
/// ```
/// use shmeld::image::{DecodeLimits, decode};
///
/// let mut pixels = Vec::new();
/// let decoded = decode(b"P5 2 1 255\n\x07\x08", DecodeLimits::default(), &mut pixels)?;
/// assert_eq!((decoded.geometry.width(), decoded.geometry.channels()), (2, 1));
/// assert_eq!(pixels, [7, 8]);
/// # Ok::<(), shmeld::image::DecodeError>(())
/// ```
///
/// # Errors
/// A sentence about what is wrong with the file; whatever is in it, nothing worse happens.
pub fn decode(file: &[u8], limits: DecodeLimits, pixels: &mut Vec<u8>) -> Result<Decoded, DecodeError> {
    let bytes = file.len() as u64;
    if bytes > limits.file_bytes_max {
        let bytes_max = limits.file_bytes_max;
        return Err(DecodeError::FileTooLarge { bytes, bytes_max });
    }
    let format = image::guess_format(file).map_err(|_| DecodeError::UnknownFormat)?;
    // The decoders are written by others for bytes by anybody. They do not mean to panic, and have done so; a provider must go on. What
    // they were doing then is thrown away whole: nothing of it is looked at again.
    let outcome = caught(|| match format {
        ImageFormat::Jpeg => decode_jpeg(file, limits, pixels),
        format if format.reading_enabled() => decode_as(format, file, limits, pixels),
        _ => Err(DecodeError::UnknownFormat),
    });
    let outcome = outcome.unwrap_or_else(|| Err(broken(name_of(format), "its decoder failed")));
    if outcome.is_err() {
        // What a broken file only promised is not kept, to be filled with zeros for the next one.
        *pixels = Vec::new();
    }
    outcome
}

fn decode_as(
    format: ImageFormat,
    file: &[u8],
    limits: DecodeLimits,
    pixels: &mut Vec<u8>,
) -> Result<Decoded, DecodeError> {
    let format_name = name_of(format);
    let refuse = |error: ImageError| match error {
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            DecodeError::CutShort { format: format_name }
        }
        error => broken(format_name, &error.to_string()),
    };
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut own = Limits::no_limits();
    own.max_alloc = Some(DECODER_BYTES_MAX);
    reader.limits(own);
    let decoder = reader.into_decoder().map_err(refuse)?;

    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let channels = color.channel_count();
    let geometry = Geometry::new(width.into(), height.into(), channels.into())?;
    check_pixels(geometry, limits)?;
    let Ok(decoded_bytes) = usize::try_from(decoder.total_bytes()) else {
        return Err(broken(format_name, "it does not fit into memory"));
    };
    make_room(pixels, decoded_bytes);
    decoder.read_image(pixels).map_err(refuse)?;
    let conversion = to_8_bits(pixels, color.bytes_per_pixel() / channels);
    Ok(Decoded { geometry, conversion })
}

/// The caller's limit; [`Geometry`] has looked at ours.
pub(super) fn check_pixels(geometry: Geometry, limits: DecodeLimits) -> Result<(), DecodeError> {
    let (pixels, pixels_max) = (geometry.width() * geometry.height(), limits.pixels_max);
    if pixels > pixels_max {
        return Err(DecodeError::TooManyPixels { pixels, pixels_max });
    }
    Ok(())
}

/// `bytes` zeros: a decoder that leaves a part out must not show the image before. New memory is the kernel's zero pages, so that a file
/// that promises much and holds nothing costs nothing.
pub(super) fn make_room(pixels: &mut Vec<u8>, bytes: usize) {
    if pixels.capacity() < bytes {
        *pixels = Vec::new();
        *pixels = vec![0; bytes];
    } else {
        pixels.clear();
        pixels.resize(bytes, 0);
    }
}

/// Channels of `depth` bytes in native order become one byte each, in place.
fn to_8_bits(pixels: &mut Vec<u8>, depth: u8) -> Option<Conversion> {
    let channels = pixels.len() / usize::from(depth.max(1));
    let conversion = match depth {
        2 => {
            for index in 0..channels {
                let value = u16::from_ne_bytes([pixels[2 * index], pixels[2 * index + 1]]);
                pixels[index] = value.to_be_bytes()[0];
            }
            Conversion::From16Bits
        }
        4 => {
            for index in 0..channels {
                let bytes = [0, 1, 2, 3].map(|byte| pixels[4 * index + byte]);
                // A cast cuts off what lies outside, and makes 0 of what is no number.
                pixels[index] = (f32::from_ne_bytes(bytes) * 255.0).round() as u8;
            }
            Conversion::FromFloat
        }
        _ => return None,
    };
    pixels.truncate(channels);
    Some(conversion)
}

/// `reason` are a decoder's own words, in which a part of the file can be.
pub(super) fn broken(format: &'static str, reason: &str) -> DecodeError {
    let reason = escape(reason.as_bytes())
        .chars()
        .take(REASON_CHARACTERS_MAX)
        .collect();
    DecodeError::Broken { format, reason }
}

fn name_of(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Pnm => "pnm",
        _ => format.extensions_str().first().copied().unwrap_or("image"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(file: &[u8]) -> Result<(Decoded, Vec<u8>), DecodeError> {
        let mut pixels = vec![0xee; 40];
        let decoded = decode(file, DecodeLimits::default(), &mut pixels)?;
        Ok((decoded, pixels))
    }

    #[test]
    fn sixteen_bits_keep_their_high_byte_and_it_is_said() {
        let (said, pixels) = decoded(b"P5 3 1 65535\n\x01\xff\xff\xff\x00\x80").unwrap();
        assert_eq!(pixels, [1, 255, 0]);
        assert_eq!(said.conversion, Some(Conversion::From16Bits));
        assert_eq!(said.geometry, Geometry::new(3, 1, 1).unwrap());
    }

    #[test]
    fn floating_point_channels_are_cut_off_at_black_and_white() {
        let channels = [0.0, 0.5, 1.0, -3.0, 7.5, f32::NAN, f32::INFINITY];
        let mut pixels: Vec<u8> = channels.iter().flat_map(|value| value.to_ne_bytes()).collect();
        assert_eq!(to_8_bits(&mut pixels, 4), Some(Conversion::FromFloat));
        assert_eq!(pixels, [0, 128, 255, 0, 255, 0, 255]);
    }

    #[test]
    fn what_is_no_image_is_said_to_be_none() {
        for file in [&b""[..], b"hello", b"II*\0 a tiff", b"\x7fELF"] {
            assert_eq!(decoded(file), Err(DecodeError::UnknownFormat), "{file:?}");
        }
    }

    #[test]
    fn limits_are_looked_at_before_pixels() {
        let limits = |file_bytes_max, pixels_max| DecodeLimits {
            file_bytes_max,
            pixels_max,
        };
        let file = b"P5 3 2 255\nabcdef";
        let bytes = file.len() as u64;
        let mut pixels = Vec::new();
        let mut decode = |limits| decode(file, limits, &mut pixels).map(|decoded| decoded.geometry.bytes());
        assert_eq!(decode(limits(bytes, 6)), Ok(6));
        let bytes_max = bytes - 1;
        assert_eq!(
            decode(limits(bytes_max, 6)),
            Err(DecodeError::FileTooLarge { bytes, bytes_max })
        );
        let too_many = DecodeError::TooManyPixels {
            pixels: 6,
            pixels_max: 5,
        };
        assert_eq!(decode(limits(bytes, 5)), Err(too_many));
    }

    /// A number of pixels that nobody makes room for is refused from the head of the file alone.
    #[test]
    fn heads_that_promise_too_much_are_refused_without_room_for_it() {
        let mut pixels = Vec::new();
        for head in [
            "P6 65536 65536 255\n",
            "P4 4294967295 4294967295\n",
            "P5 268435457 1 255\n",
        ] {
            let refused = decode(head.as_bytes(), DecodeLimits::default(), &mut pixels);
            assert!(
                matches!(
                    refused,
                    Err(DecodeError::Geometry(GeometryError::TooLarge { .. }))
                ),
                "{head}"
            );
            assert_eq!(pixels.capacity(), 0);
        }
    }

    /// A bitmap in which rows are skipped showed, there, the image before.
    #[test]
    fn what_a_file_leaves_out_is_black_and_not_the_image_before() {
        let mut file = b"BM\0\0\0\0\0\0\0\0\x3e\0\0\0".to_vec();
        for number in [
            40_u32,
            4,
            4,
            0x0008_0001,
            1,
            0,
            0,
            0,
            2,
            0,
            0x0011_2233,
            0x0044_5566,
        ] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        // Run lengths: one row of the second color, then the end of the bitmap.
        file.extend_from_slice(&[4, 1, 0, 1]);
        let mut pixels = vec![0xee; 4096];
        let decoded = decode(&file, DecodeLimits::default(), &mut pixels).unwrap();
        assert_eq!(decoded.geometry, Geometry::new(4, 4, 3).unwrap());
        assert!(!pixels.contains(&0xee), "{pixels:x?}");
        assert_eq!(pixels[36..39], [0x44, 0x55, 0x66]);
    }
}
