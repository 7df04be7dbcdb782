//! A directory of image files as a source of images, and a directory that received ones are written to.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use shmeld::file::OutputOptions;
use shmeld::image::{
    DecodeLimits, Folder, Format, Geometry, ImageSource, Loss, PictureFolder, Shape, decode, encode,
};

/// A directory that goes with the test.
struct Place(PathBuf);

impl Place {
    fn new(what: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shmeld-image-{}-{what}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// An image of one pixel of this grey.
    fn put(&self, name: &str, grey: u8) {
        std::fs::write(self.0.join(name), dot(grey)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The bytes of a file with one pixel of this grey. What a format is called does not matter: its bytes say it.
fn dot(grey: u8) -> Vec<u8> {
    let mut file = Vec::new();
    encode(Geometry::new(1, 1, 1).unwrap(), &[grey], Format::Png, &mut file).unwrap();
    file
}

/// The grey of the one pixel that this name leads to.
fn grey_of(folder: &mut Folder, name: &str) -> Result<u8, String> {
    let mut pixels = Vec::new();
    let geometry = folder.load(name.as_bytes(), &mut pixels)?;
    assert_eq!((geometry.bytes(), pixels.len()), (1, 1));
    Ok(pixels[0])
}

#[test]
fn a_name_leads_to_the_first_file_that_can_be_decoded() {
    let place = Place::new("order");
    let mut folder = Folder::open(&place.0).unwrap();
    std::fs::create_dir(place.0.join("cat")).unwrap();
    place.put("cat.photo", 1);
    assert_eq!(grey_of(&mut folder, "cat"), Ok(1), "an ending that nobody knows");
    place.put("cat.JPG", 2);
    assert_eq!(grey_of(&mut folder, "cat"), Ok(2), "capitals");
    place.put("cat.jpg", 3);
    assert_eq!(grey_of(&mut folder, "cat"), Ok(3));
    place.put("cat.png", 4);
    assert_eq!(
        grey_of(&mut folder, "cat"),
        Ok(4),
        "what lost nothing comes first"
    );
    std::fs::write(place.0.join("cat.png"), b"hello").unwrap();
    assert_eq!(
        grey_of(&mut folder, "cat"),
        Ok(3),
        "what cannot be decoded is passed over"
    );
    std::fs::remove_dir(place.0.join("cat")).unwrap();
    place.put("cat", 5);
    assert_eq!(grey_of(&mut folder, "cat"), Ok(5), "the name itself");
    assert_eq!(grey_of(&mut folder, "cat.photo"), Ok(1), "with its ending");
}

#[test]
fn a_name_that_leads_to_no_image_is_told_why() {
    let place = Place::new("reasons");
    let mut folder = Folder::open(&place.0).unwrap();
    let nothing = "there is neither cat nor cat.*";
    assert_eq!(grey_of(&mut folder, "cat"), Err(nothing.to_owned()));
    std::fs::write(place.0.join("cat.png"), &dot(1)[..50]).unwrap();
    let broken = grey_of(&mut folder, "cat").unwrap_err();
    assert!(broken.starts_with("cat.png: it is a broken png file"), "{broken}");
    std::fs::write(place.0.join("dog"), b"woof").unwrap();
    let other = grey_of(&mut folder, "dog").unwrap_err();
    assert!(
        other.starts_with("dog: it is no image in a format known here"),
        "{other}"
    );
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b"] {
        let refused = grey_of(&mut folder, name).unwrap_err();
        assert!(refused.starts_with("the name "), "{name:?}: {refused}");
    }
}

/// The kernel refuses what leaves the directory; nothing but regular files is read, and a FIFO that nobody writes is not waited for.
#[test]
fn what_is_outside_or_no_file_is_not_read() {
    let (place, elsewhere) = (Place::new("inside"), Place::new("outside"));
    let mut folder = Folder::open(&place.0).unwrap();
    elsewhere.put("secret.png", 9);
    symlink(elsewhere.0.join("secret.png"), place.0.join("absolute.png")).unwrap();
    let upwards = Path::new("..")
        .join(elsewhere.0.file_name().unwrap())
        .join("secret.png");
    symlink(upwards, place.0.join("upwards.png")).unwrap();
    symlink("/dev/zero", place.0.join("zero.png")).unwrap();
    for name in ["absolute", "upwards", "zero"] {
        let refused = grey_of(&mut folder, name).unwrap_err();
        assert!(refused.starts_with(name), "{refused}");
        assert!(!refused.contains(place.0.to_str().unwrap()), "{refused}");
    }
    let fifo = Command::new("mkfifo")
        .arg(place.0.join("pipe.png"))
        .status()
        .unwrap();
    assert!(fifo.success());
    assert_eq!(
        grey_of(&mut folder, "pipe"),
        Err("pipe.png: it is no regular file".to_owned())
    );
    place.put("real.png", 7);
    symlink("real.png", place.0.join("link.png")).unwrap();
    assert_eq!(grey_of(&mut folder, "link"), Ok(7), "a link that stays inside");
}

#[test]
fn a_note_about_16_bits_comes_once_a_file() {
    let place = Place::new("notes");
    std::fs::write(place.0.join("deep.pgm"), b"P5 1 1 65535\n\x12\x34").unwrap();
    place.put("flat.png", 3);
    let mut folder = Folder::open(&place.0).unwrap();
    assert_eq!(grey_of(&mut folder, "deep"), Ok(0x12));
    let note = "deep.pgm: its 16 bits a channel became 8: the high byte of each";
    assert_eq!(folder.take_note().as_deref(), Some(note));
    assert_eq!(folder.take_note(), None);
    assert_eq!(grey_of(&mut folder, "deep"), Ok(0x12));
    assert_eq!(grey_of(&mut folder, "flat"), Ok(3));
    assert_eq!(folder.take_note(), None);
}

#[test]
fn the_memory_of_the_image_before_is_used_again() {
    let place = Place::new("memory");
    let geometry = Geometry::new(64, 64, 3).unwrap();
    let pixels: Vec<u8> = (0..geometry.bytes()).map(|at| at as u8).collect();
    for format in [Format::Png, Format::Raw] {
        let mut out = PictureFolder::open(&place.0, format, OutputOptions::default()).unwrap();
        out.write(format.extension().as_bytes(), geometry, &pixels)
            .unwrap();
    }
    let mut folder = Folder::open(&place.0).unwrap();
    let mut loaded = Vec::new();
    folder.load(b"png", &mut loaded).unwrap();
    let memory = loaded.as_ptr();
    for name in [&b"png"[..], b"raw", b"png"] {
        assert_eq!(folder.load(name, &mut loaded), Ok(geometry));
        assert_eq!((loaded.as_ptr(), &loaded), (memory, &pixels));
    }
}

#[test]
fn raw_pixels_are_read_as_they_were_written_and_not_without_their_numbers() {
    let place = Place::new("raw");
    let geometry = Geometry::new(3, 2, 4).unwrap();
    let pixels: Vec<u8> = (10..34).collect();
    let mut out = PictureFolder::open(&place.0, Format::Raw, OutputOptions::default()).unwrap();
    let written = out.write(b"cat.jpeg", geometry, &pixels).unwrap();
    assert_eq!(
        (written.path, written.shape),
        (place.0.join("cat.raw"), Shape::from(geometry))
    );
    let numbers = std::fs::read_to_string(place.0.join("cat.raw.json")).unwrap();
    assert_eq!(
        numbers,
        "{\"bytes\":24,\"width\":3,\"height\":2,\"channels\":4}\n"
    );

    let mut folder = Folder::open(&place.0).unwrap();
    let mut loaded = Vec::new();
    assert_eq!(folder.load(b"cat", &mut loaded), Ok(geometry));
    assert_eq!(loaded, pixels);
    std::fs::write(place.0.join("cat.raw"), &pixels[1..]).unwrap();
    let refused = folder.load(b"cat", &mut loaded).unwrap_err();
    assert_eq!(
        refused,
        "cat.raw: it has 23 bytes, and the .json beside it says 24"
    );
    std::fs::remove_file(place.0.join("cat.raw.json")).unwrap();
    let refused = folder.load(b"cat", &mut loaded).unwrap_err();
    assert_eq!(refused, "cat.raw: there is no cat.raw.json beside it");
}

/// What has the name already is replaced in one step; a symbolic link is replaced itself, so that nothing outside is written.
#[test]
fn written_pictures_replace_what_was_there_and_nothing_outside() {
    let (place, elsewhere) = (Place::new("written"), Place::new("beside"));
    let outside = elsewhere.0.join("mine.png");
    std::fs::write(&outside, b"mine").unwrap();
    symlink(&outside, place.0.join("cat.png")).unwrap();
    let geometry = Geometry::new(2, 1, 4).unwrap();
    let pixels = [1, 2, 3, 4, 5, 6, 7, 8];
    let below = place.0.join("made/on/the/way");
    for directory in [&place.0, &below] {
        let mut out = PictureFolder::open(directory, Format::Png, OutputOptions::default()).unwrap();
        assert_eq!(out.write(b"cat", geometry, &pixels).unwrap().loss, None);
        let mut decoded = Vec::new();
        let file = std::fs::read(directory.join("cat.png")).unwrap();
        decode(&file, DecodeLimits::default(), &mut decoded).unwrap();
        assert_eq!(decoded, pixels);
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"mine");
    assert!(!place.0.join("cat.png").is_symlink());

    let mut out = PictureFolder::open(&place.0, Format::Jpg, OutputOptions::default()).unwrap();
    assert_eq!(
        out.write(b"cat", geometry, &pixels).unwrap().loss,
        Some(Loss::Alpha)
    );
    assert!(out.write(b"dog", geometry, &pixels[1..]).is_err());
    assert!(!place.0.join("dog.jpg").exists());
}
