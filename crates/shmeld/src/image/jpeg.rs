//! JPEG: decoded to the very levels that libjpeg-turbo gives, and so Pillow, OpenCV and browsers.

use libjpeg_turbo_rs::{
    ColorSpace, DecodeLimits as JpegLimits, Decoder, JpegError, PixelFormat, Subsampling, compress,
};

use super::decode::{broken, check_pixels, make_room};
use super::{DecodeError, DecodeLimits, Decoded, Geometry, PIXELS_MAX};

const NAME: &str = "jpg";
/// The most passes over the image that a file can ask for. Each can cost a file a few bytes and us all pixels; what programs write has ten.
const SCANS_MAX: usize = 500;

/// Decodes a JPEG file; see [`decode`](super::decode()).
pub(super) fn decode_jpeg(
    file: &[u8],
    limits: DecodeLimits,
    pixels: &mut Vec<u8>,
) -> Result<Decoded, DecodeError> {
    let own = JpegLimits {
        max_pixels: PIXELS_MAX,
        max_scans: SCANS_MAX,
        ..JpegLimits::default()
    };
    let mut decoder = Decoder::new_with_limits(file, own).map_err(refuse)?;
    let color = decoder.jpeg_color_space();
    let (format, channels) = match color {
        ColorSpace::Grayscale => (PixelFormat::Grayscale, 1),
        ColorSpace::YCbCr | ColorSpace::Rgb => (PixelFormat::Rgb, 3),
        ColorSpace::Cmyk | ColorSpace::Ycck => (PixelFormat::Cmyk, 3),
        ColorSpace::Unknown => return Err(broken(NAME, "its channels are neither grey nor colors")),
    };
    let header = decoder.header();
    let geometry = Geometry::new(header.width.into(), header.height.into(), channels)?;
    check_pixels(geometry, limits)?;

    decoder.set_output_format(format);
    let bytes = decoder.output_buffer_size().map_err(refuse)?;
    make_room(pixels, bytes);
    decoder.decode_image_into(pixels).map_err(refuse)?;
    if format == PixelFormat::Cmyk {
        inks_to_colors(pixels);
    }
    Ok(Decoded {
        geometry,
        conversion: None,
    })
}

fn refuse(error: JpegError) -> DecodeError {
    match error {
        JpegError::UnexpectedEof => DecodeError::CutShort { format: NAME },
        error => broken(NAME, &error.to_string()),
    }
}

/// Cyan, magenta, yellow and black become red, green and blue, in place. Files store 255 for no ink, as the first program that wrote them did;
/// what two layers let through is their product.
fn inks_to_colors(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for index in 0..count {
        let black = u32::from(pixels[4 * index + 3]);
        for channel in 0..3 {
            let product = u32::from(pixels[4 * index + channel]) * black;
            pixels[3 * index + channel] = ((product + 127) / 255) as u8;
        }
    }
    pixels.truncate(3 * count);
}

/// Encodes one to four channels; the second and fourth are left out.
pub(super) fn encode_jpeg(geometry: Geometry, pixels: &[u8], quality: u8) -> Result<Vec<u8>, String> {
    let (width, height) = (geometry.width() as usize, geometry.height() as usize);
    let grey: Vec<u8>;
    let (pixels, format) = match geometry.channels() {
        1 => (pixels, PixelFormat::Grayscale),
        2 => {
            grey = pixels.iter().step_by(2).copied().collect();
            (&grey[..], PixelFormat::Grayscale)
        }
        3 => (pixels, PixelFormat::Rgb),
        _ => (pixels, PixelFormat::Rgbx),
    };
    compress(pixels, width, height, format, quality, Subsampling::S420).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inks_become_the_light_that_they_let_through() {
        // Nothing printed; black; cyan alone, which is no red; half of each.
        let mut pixels = vec![
            255, 255, 255, 255, 255, 255, 255, 0, 0, 255, 255, 255, 128, 128, 128, 128,
        ];
        inks_to_colors(&mut pixels);
        assert_eq!(pixels, [255, 255, 255, 0, 0, 0, 0, 255, 255, 64, 64, 64]);
    }
}
