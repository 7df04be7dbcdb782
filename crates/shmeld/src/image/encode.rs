//! Encoding: from pixels to the bytes of an image file.

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::Geometry;
use super::jpeg::encode_jpeg;

/// Quality of JPEG files, of 100.
const JPEG_QUALITY: u8 = 90;
/// The longest side of a JPEG image. The format has 16 bits for it; the usual libraries stop a little earlier.
const JPEG_SIDE_MAX: u64 = 65_500;

/// What kind of file pixels are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// PNG: nothing is lost.
    Png,
    /// JPEG of quality 90: small; pixels change a little, and an alpha channel is left out.
    Jpg,
    /// The pixels as they are; [`Shape`](super::Shape) describes them, in a file beside.
    Raw,
}

impl Format {
    /// What the names of such files end in, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
            Self::Raw => "raw",
        }
    }
}

/// What an encoded file lacks, besides what JPEG always loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// JPEG has no alpha channel: it was left out, not blended with anything.
    Alpha,
}

impl std::fmt::Display for Loss {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("jpg has no alpha channel: it was left out (png and raw keep it)")
    }
}

/// Why pixels became no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The caller gave other than what the shape says.
    #[error("{given} bytes of pixels are not the {} of their shape", .geometry.bytes())]
    Length {
        /// The shape.
        geometry: Geometry,
        /// How many bytes there were.
        given: usize,
    },
    /// JPEG's sides have 16 bits.
    #[error(
        "a jpg has at most {JPEG_SIDE_MAX} pixels a side; this image has {width} by {height}: png and raw take it"
    )]
    TooLargeForJpg {
        /// Pixels of a row.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// The encoder gave up.
    #[error("{0}")]
    Encoder(String),
}

/// Encodes pixels of 8 bits a channel into `file`, whose old content goes and whose memory is used again.
///
/// # Errors
/// `pixels` are not as many as `geometry` says, or the format cannot hold them.
pub fn encode(
    geometry: Geometry,
    pixels: &[u8],
    format: Format,
    file: &mut Vec<u8>,
) -> Result<Option<Loss>, EncodeError> {
    check_length(geometry, pixels)?;
    file.clear();
    match format {
        Format::Raw => {
            file.extend_from_slice(pixels);
            Ok(None)
        }
        Format::Png => {
            encode_png(geometry, pixels, file)?;
            Ok(None)
        }
        Format::Jpg => {
            let (width, height) = (geometry.width(), geometry.height());
            if width.max(height) > JPEG_SIDE_MAX {
                return Err(EncodeError::TooLargeForJpg { width, height });
            }
            *file = encode_jpeg(geometry, pixels, JPEG_QUALITY).map_err(EncodeError::Encoder)?;
            Ok(matches!(geometry.channels(), 2 | 4).then_some(Loss::Alpha))
        }
    }
}

pub(super) fn check_length(geometry: Geometry, pixels: &[u8]) -> Result<(), EncodeError> {
    if pixels.len() as u64 == geometry.bytes() {
        return Ok(());
    }
    Err(EncodeError::Length {
        geometry,
        given: pixels.len(),
    })
}

fn encode_png(geometry: Geometry, pixels: &[u8], file: &mut Vec<u8>) -> Result<(), EncodeError> {
    let side = |pixels: u64| {
        u32::try_from(pixels)
            .map_err(|_| EncodeError::Encoder(format!("{pixels} pixels a side are too many")))
    };
    let (width, height) = (side(geometry.width())?, side(geometry.height())?);
    let written = PngEncoder::new(file).write_image(pixels, width, height, color_of(geometry.channels()));
    written.map_err(|error| EncodeError::Encoder(error.to_string()))
}

fn color_of(channels: u64) -> ExtendedColorType {
    match channels {
        1 => ExtendedColorType::L8,
        2 => ExtendedColorType::La8,
        3 => ExtendedColorType::Rgb8,
        _ => ExtendedColorType::Rgba8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, decode};
    use super::*;

    /// A picture without edges, which JPEG keeps well.
    fn slope(channels: u64) -> (Geometry, Vec<u8>) {
        let geometry = Geometry::new(32, 24, channels).unwrap();
        let pixels = (0..geometry.bytes()).map(|at| (60 + at / channels % 32 * 3 + at % channels * 20) as u8);
        (geometry, pixels.collect())
    }

    #[test]
    fn png_keeps_every_pixel_of_one_to_four_channels() {
        let (mut file, mut back) = (Vec::new(), Vec::new());
        for channels in 1..=4 {
            let (geometry, pixels) = slope(channels);
            assert_eq!(encode(geometry, &pixels, Format::Png, &mut file), Ok(None));
            let decoded = decode(&file, DecodeLimits::default(), &mut back).unwrap();
            assert_eq!((decoded.geometry, &back), (geometry, &pixels));
        }
    }

    #[test]
    fn jpg_is_close_and_leaves_alpha_out_and_says_so() {
        let (mut file, mut back) = (Vec::new(), Vec::new());
        for channels in 1..=4 {
            let (geometry, pixels) = slope(channels);
            let loss = encode(geometry, &pixels, Format::Jpg, &mut file).unwrap();
            assert_eq!(loss, (channels % 2 == 0).then_some(Loss::Alpha));
            let decoded = decode(&file, DecodeLimits::default(), &mut back).unwrap();
            let kept = if channels > 2 { 3 } else { 1 };
            assert_eq!(decoded.geometry.channels(), kept);
            let colors = pixels
                .chunks(channels as usize)
                .flat_map(|pixel| &pixel[..kept as usize]);
            for (pixel, color) in back.iter().zip(colors) {
                assert!(pixel.abs_diff(*color) <= 6, "{pixel} {color}");
            }
        }
    }

    #[test]
    fn what_a_format_cannot_hold_is_refused() {
        let mut file = Vec::new();
        let geometry = Geometry::new(JPEG_SIDE_MAX + 1, 1, 1).unwrap();
        let pixels = vec![0; JPEG_SIDE_MAX as usize + 1];
        let refused = encode(geometry, &pixels, Format::Jpg, &mut file);
        assert!(matches!(refused, Err(EncodeError::TooLargeForJpg { .. })));
        assert_eq!(encode(geometry, &pixels, Format::Png, &mut file), Ok(None));
        let refused = encode(geometry, &pixels[1..], Format::Raw, &mut file);
        assert!(matches!(refused, Err(EncodeError::Length { .. })));
    }
}
