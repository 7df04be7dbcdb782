//! The bytes of the two segments, and what a peer says in them.
//!
//! ```text
//!          HEAD                                          DATA
//! request  | length of the name |                        name, no NUL
//! answer   | bytes | width | height | channels |         pixels, row by row, channels interleaved, no gaps
//! refusal  | 0     | n     | 0      | 0        |         n bytes of UTF-8: why (n is 0 where nothing is said)
//! ```
//! All numbers are native 64-bit integers. A segment may be longer than what it holds.

use super::geometry::Geometry;
use super::names::NAME_BYTES_MAX;
use super::shape::Shape;

/// The bytes of HEAD in a request.
pub(super) const REQUEST_BYTES: usize = 8;
/// The bytes of HEAD in an answer.
pub(super) const ANSWER_BYTES: usize = 32;
/// As much as is sent, or read, of the text that says why there is no image.
pub const REFUSAL_BYTES_MAX: usize = 1024;

/// HEAD of a request for a name of so many bytes.
pub(super) fn request_head(name_bytes: usize) -> [u8; REQUEST_BYTES] {
    (name_bytes as u64).to_ne_bytes()
}

/// How long the name is.
pub(super) fn name_bytes(head: [u8; REQUEST_BYTES]) -> Result<usize, String> {
    let bytes = u64::from_ne_bytes(head);
    match usize::try_from(bytes) {
        Ok(0) => Err("an image has a name of at least one byte".to_owned()),
        Ok(bytes) if bytes <= NAME_BYTES_MAX => Ok(bytes),
        _ => Err(format!("a name of {bytes} bytes is longer than {NAME_BYTES_MAX}")),
    }
}

/// Whether an image can be called so.
///
/// # Errors
/// Which rule the name breaks.
pub fn check_name(name: &[u8]) -> Result<(), String> {
    name_bytes(request_head(name.len()))?;
    if name.contains(&0) || name.contains(&b'/') {
        return Err("the name of an image has no / and no NUL".to_owned());
    }
    if name == b"." || name == b".." {
        return Err("the name of an image is neither . nor ..".to_owned());
    }
    Ok(())
}

/// What the four numbers of an answer say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// DATA holds [`Geometry::bytes`] bytes.
    Image(Geometry),
    /// DATA holds this much text; as much of it as is read.
    Refusal {
        /// Bytes.
        text_bytes: usize,
    },
}

/// HEAD of an answer with pixels.
pub(super) fn image_head(geometry: Geometry) -> [u8; ANSWER_BYTES] {
    head([
        geometry.bytes(),
        geometry.width(),
        geometry.height(),
        geometry.channels(),
    ])
}

/// HEAD of an answer without.
pub(super) fn refusal_head(text_bytes: usize) -> [u8; ANSWER_BYTES] {
    head([0, text_bytes as u64, 0, 0])
}

fn head(numbers: [u64; 4]) -> [u8; ANSWER_BYTES] {
    let mut bytes = [0; ANSWER_BYTES];
    for (target, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        target.copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}

/// What the private copy of HEAD says, if it can be true.
pub(super) fn answer(head: &[u8; ANSWER_BYTES]) -> Result<Answer, String> {
    let mut numbers = [0u64; 4];
    for (number, source) in numbers.iter_mut().zip(head.chunks_exact(8)) {
        *number = source.try_into().map(u64::from_ne_bytes).unwrap_or(u64::MAX);
    }
    let [bytes, width, height, channels] = numbers;
    if let [0, text_bytes, 0, 0] = numbers {
        let text_bytes = usize::try_from(text_bytes)
            .unwrap_or(usize::MAX)
            .min(REFUSAL_BYTES_MAX);
        return Ok(Answer::Refusal { text_bytes });
    }
    let shape = Shape {
        bytes,
        width,
        height,
        channels,
    };
    shape
        .check()
        .map(Answer::Image)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_of_the_document() {
        let geometry = Geometry::new(2, 3, 4).unwrap();
        let golden = b"\x18\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0";
        assert_eq!(&image_head(geometry), golden);
        assert_eq!(answer(golden), Ok(Answer::Image(geometry)));
        assert_eq!(answer(&[0; 32]), Ok(Answer::Refusal { text_bytes: 0 }));
        assert_eq!(answer(&refusal_head(7)), Ok(Answer::Refusal { text_bytes: 7 }));
        assert_eq!(&request_head(5), b"\x05\0\0\0\0\0\0\0");
    }

    #[test]
    fn answer_in_the_document_is_the_one_that_is_written() {
        if !std::path::Path::new("../../docs").exists() {
            return; // the crate alone comes without documents
        }
        let document = std::fs::read_to_string("../../docs/PROTOCOL.md").unwrap();
        let head = image_head(Geometry::new(2, 2, 3).unwrap());
        let line = |(index, bytes): (usize, &[u8])| {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04x}  {}\n", 16 * index, hex.join(" "))
        };
        let dump: String = head.chunks(16).enumerate().map(line).collect();
        assert!(document.contains(&dump), "the document should hold\n{dump}");
    }

    /// Row R19 of the catalogue.
    #[test]
    fn numbers_that_cannot_be_true_are_no_image() {
        let half = 1u64 << 63;
        for numbers in [
            [24, 2, 3, 5],
            [25, 2, 3, 4],
            [23, 2, 3, 4],
            [0, 2, 3, 4],
            [0, half, 2, 1],
            [half, half, 1, 1],
            [0, 1 << 32, 1 << 32, 1],
            [u64::MAX, u64::MAX, u64::MAX, u64::MAX],
            [1, 1, 1, half],
            [6, 0, 3, 2],
            [0, 5, 0, 1],
            [5, 5, 0, 0],
        ] {
            assert!(answer(&head(numbers)).is_err(), "{numbers:?}");
        }
        let text_bytes = REFUSAL_BYTES_MAX;
        assert_eq!(
            answer(&head([0, u64::MAX, 0, 0])),
            Ok(Answer::Refusal { text_bytes })
        );
    }

    #[test]
    fn names_are_bytes_without_nul_and_slash() {
        for name in [&b"cat"[..], b"...", b"a b\xff", &[b'x'; 200]] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 201]] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for length in [0, 201, 1 << 63, u64::MAX] {
            assert!(name_bytes(length.to_ne_bytes()).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_answer_is_bounded(numbers in any::<[u64; 4]>(), small in any::<[u8; 4]>()) {
            for numbers in [numbers, small.map(u64::from)] {
                if let Ok(Answer::Image(geometry)) = answer(&head(numbers)) {
                    prop_assert_eq!(geometry.bytes(), numbers[0]);
                    prop_assert!(numbers[0] <= super::super::BYTES_MAX);
                }
            }
        }
    }
}
