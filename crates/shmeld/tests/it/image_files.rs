//! Image files of anybody: bombs, broken ones, random bytes. Decoding returns a sentence, soon, and takes no more memory than it may.

use std::sync::LazyLock;

use proptest::prelude::*;
use shmeld::image::{DecodeError, DecodeLimits, Format, Geometry, decode, encode};

/// A small file of each format that is decoded.
static SEEDS: LazyLock<Vec<(&str, Vec<u8>)>> = LazyLock::new(seeds);

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let geometry = Geometry::new(23, 17, 3).unwrap();
    let pixels: Vec<u8> = (0..geometry.bytes()).map(|at| (at * at / 7) as u8).collect();
    let mut seeds = Vec::new();
    for (name, format) in [("png", Format::Png), ("jpg", Format::Jpg)] {
        let mut file = Vec::new();
        encode(geometry, &pixels, format, &mut file).unwrap();
        seeds.push((name, file));
    }
    let progressive = libjpeg_turbo_rs::Encoder::new(&pixels, 23, 17, libjpeg_turbo_rs::PixelFormat::Rgb);
    seeds.push(("progressive", progressive.progressive(true).encode().unwrap()));
    let image = image::RgbImage::from_raw(23, 17, pixels).unwrap();
    for (name, format) in [
        ("bmp", image::ImageFormat::Bmp),
        ("gif", image::ImageFormat::Gif),
        ("pnm", image::ImageFormat::Pnm),
        ("webp", image::ImageFormat::WebP),
    ] {
        let mut file = std::io::Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        seeds.push((name, file.into_inner()));
    }
    seeds.push(("plain pnm", b"P3 2 2 255\n1 2 3 4 5 6 7 8 9 10 11 12\n".to_vec()));
    seeds.push(("lossy webp", LOSSY_WEBP.to_vec()));
    seeds
}

/// 4 by 4 pixels with alpha, as libwebp writes them.
const LOSSY_WEBP: &[u8] = include_bytes!("lossy.webp");

/// Small enough that a size that a mutation made up does not slow the test down.
const LIMITS: DecodeLimits = DecodeLimits {
    file_bytes_max: 1 << 20,
    pixels_max: 1 << 20,
};

fn crc_32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc));
    !bytes.iter().fold(!0, byte)
}

/// A PNG file of which only the head is there, with what it says of its size.
fn head_of_png(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend_from_slice(&width.to_be_bytes());
    chunk.extend_from_slice(&height.to_be_bytes());
    chunk.extend_from_slice(&[8, 6, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    file.extend_from_slice(&chunk);
    file.extend_from_slice(&crc_32(&chunk).to_be_bytes());
    // The beginning of compressed data, cut off.
    file.extend_from_slice(b"\0\0\x10\0IDAT\x78\x9c\xed\xc1");
    file
}

/// The most memory that this process ever had, in bytes.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A few bytes say that they are an image of a gigabyte. Beyond the limit that is all there is to see; within it room is made, of which the
/// kernel gives what is written to.
#[test]
fn a_head_that_promises_much_costs_nothing() {
    let mut pixels = Vec::new();
    let mut decode = |file: &[u8]| decode(file, DecodeLimits::default(), &mut pixels).map(|_| ());
    for (width, height) in [(65_535, 65_535), (0x7fff_ffff, 1), (1, 0x7fff_ffff)] {
        let refused = decode(&head_of_png(width, height));
        assert!(
            matches!(
                refused,
                Err(DecodeError::Geometry(_) | DecodeError::Broken { .. })
            ),
            "{refused:?}"
        );
    }
    let before = memory_peak();
    let refused = decode(&head_of_png(16_384, 16_384));
    assert!(
        matches!(
            refused,
            Err(DecodeError::CutShort { .. } | DecodeError::Broken { .. })
        ),
        "{refused:?}"
    );
    let mut gif = b"GIF89a\0\x40\0\x40\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    assert!(decode(&gif).is_err());
    gif.extend_from_slice(b",\0\0\0\0\0\x40\0\x40\0\x02\x02\x44\x01\0;");
    assert!(decode(&gif).is_err());
    assert!(decode(b"P6 16384 16384 255\n").is_err());
    let mut jpeg = SEEDS[1].1.clone();
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    assert!(decode(&jpeg).is_err());
    let more = memory_peak() - before;
    assert!(more < 300 << 20, "{} MiB", more >> 20);
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_refused_or_whole() {
    let mut pixels = Vec::new();
    for (name, file) in SEEDS.iter() {
        let whole = decode(file, LIMITS, &mut pixels).unwrap_or_else(|error| panic!("{name}: {error}"));
        for len in 0..file.len() {
            match decode(&file[..len], LIMITS, &mut pixels) {
                // What follows the pixels may be missing.
                Ok(cut) => assert!(
                    cut == whole && len * 10 > file.len() * 8,
                    "{name} with {len} bytes"
                ),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    }
}

/// `PROPTEST_CASES`, or enough for every day.
fn cases() -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_in_a_file_decoding_returns(
        seed in 0_usize..9,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let (name, mut file) = SEEDS[seed].clone();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if more.len() % 3 == 0 {
            file.truncate(cut.index(file.len()));
        }
        file.extend_from_slice(&more);
        let mut pixels = Vec::new();
        match decode(&file, LIMITS, &mut pixels) {
            Ok(decoded) => prop_assert_eq!(pixels.len() as u64, decoded.geometry.bytes()),
            Err(error) => {
                let text = error.to_string();
                prop_assert!(text.len() < 1000 && !text.chars().any(char::is_control), "{}: {}", name, text);
                prop_assert_eq!(pixels.capacity(), 0);
            }
        }
    }

    #[test]
    fn random_bytes_behind_the_first_of_each_format_are_no_harm(
        magic in prop::sample::select(vec![
            &b"\x89PNG\r\n\x1a\n"[..], b"\xff\xd8\xff", b"GIF89a", b"BM", b"P1", b"P4 ", b"P5 ", b"P6 9 9 255\n", b"P7\n", b"RIFF\x40\0\0\0WEBPVP8",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut pixels = Vec::new();
        let _ = decode(&[magic, &bytes[..]].concat(), LIMITS, &mut pixels);
    }
}
