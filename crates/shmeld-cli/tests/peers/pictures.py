"""Real image files, and whether somebody else decoded them as Pillow does.

    pictures.py make FILES             writes image files into the folder FILES and prints their names without extension, one a line
    pictures.py compare FILES RAW      compares each RAW/NAME.raw, with its four numbers beside it, with Pillow's decoding of FILES/NAME.*

The photographs are those that scikit-image ships; what it does not ship is made of them: other formats, channels, depths.
Lossless formats must be equal, lossy ones within two levels.
"""

import importlib.util
import json
import pathlib
import shutil
import sys

from PIL import Image

LEVELS_MAX = {"JPEG": 2}


def samples():
    """The folder of scikit-image's pictures; its modules need not be importable."""
    package = importlib.util.find_spec("skimage")
    return pathlib.Path(package.submodule_search_locations[0]) / "data"


def make(files):
    for name in sorted(samples().iterdir()):
        if name.suffix in (".png", ".jpg", ".gif"):
            shutil.copy(name, files / name.name)
    photo = Image.open(samples() / "astronaut.png").convert("RGB").resize((211, 157))
    alpha = photo.copy()
    alpha.putalpha(photo.convert("L").point(lambda level: 255 - level))
    grey = photo.convert("L")
    palette = photo.quantize(40)
    variants = {
        "bit": photo.convert("1"),
        "grey": grey,
        "grey-alpha": alpha.convert("LA"),
        "rgb": photo,
        "rgba": alpha,
        "palette": palette,
    }
    formats = {
        "png": {"bit", "grey", "grey-alpha", "rgb", "rgba", "palette"},
        "bmp": {"bit", "grey", "rgb", "rgba", "palette"},
        "gif": {"bit", "grey", "rgb", "rgba", "palette"},
        "webp": {"grey", "rgb", "rgba"},
        "jpg": {"grey", "rgb"},
    }
    for extension, names in formats.items():
        for name in names:
            lossless = {"lossless": True, "exact": True} if extension == "webp" else {}
            variants[name].save(files / f"made-{name}-{extension}.{extension}", **lossless)
    variants["bit"].save(files / "made-bit-pbm.pbm")
    variants["grey"].save(files / "made-grey-pgm.pgm")
    variants["rgb"].save(files / "made-rgb-ppm.ppm")
    (files / "made-plain-ppm.ppm").write_text("P3 2 2 255\n1 2 3  4 5 6\n7 8 9  250 251 252\n")
    palette.save(files / "made-see-through-png.png", transparency=3)
    palette.save(files / "made-see-through-gif.gif", transparency=3)
    grey.save(files / "made-see-through-grey-png.png", transparency=17)
    deep = grey.resize((64, 64)).convert("I;16").point(lambda level: level * 257 + 3)
    deep.save(files / "made-16-png.png")
    photo.save(files / "made-progressive-jpg.jpg", progressive=True, quality=95)
    photo.save(files / "made-444-jpg.jpg", subsampling=0, quality=75)
    photo.save(files / "made-422-jpg.jpg", subsampling=1, quality=75)
    photo.convert("CMYK").save(files / "made-inks-jpg.jpg")
    photo.save(files / "made-turned-jpg.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    photo.save(files / "made-frames-gif.gif", save_all=True, append_images=[photo.rotate(90)], duration=50)
    (files / "made-CAPITALS-BMP.BMP").write_bytes((files / "made-rgb-bmp.bmp").read_bytes())


def channels_of(image):
    """How many channels the file stores, palettes resolved as the formats' decoders do."""
    if image.format == "GIF":
        return 4
    if image.format == "BMP":
        return 4 if image.mode == "RGBA" else 3
    if image.mode == "P" or "transparency" in image.info:
        see_through = "transparency" in image.info
        return {"1": 1, "L": 1, "RGB": 3, "P": 3}[image.mode] + see_through
    if image.format == "WEBP" or image.mode == "CMYK":
        return 4 if image.mode == "RGBA" else 3
    return {"1": 1, "L": 1, "I;16": 1, "LA": 2, "RGB": 3, "RGBA": 4}[image.mode]


def expected(path):
    image = Image.open(path)
    channels = channels_of(image)
    if image.mode == "I;16":
        return image, channels, image.tobytes()[1::2]
    return image, channels, image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]).tobytes()


def difference(path, raw):
    image, channels, pixels = expected(path)
    numbers = json.loads(raw.with_name(raw.name + ".json").read_text())
    wanted = {"bytes": len(pixels), "width": image.width, "height": image.height, "channels": channels}
    if numbers != wanted:
        return f"{numbers}, not {wanted}"
    found = raw.read_bytes()
    if len(found) != len(pixels):
        return f"{len(found)} bytes, not {len(pixels)}"
    levels = max((abs(a - b) for a, b in zip(found, pixels)), default=0) if found != pixels else 0
    if levels > LEVELS_MAX.get(image.format, 0):
        return f"differs from Pillow by {levels} levels"
    return None


def compare(files, raw):
    bad = compared = 0
    for pixels in sorted(raw.glob("*.raw")):
        path = next(path for path in files.iterdir() if path.stem == pixels.stem)
        complaint = difference(path, pixels)
        if complaint:
            print(f"{path.name}: {complaint}")
            bad += 1
        compared += 1
    print(f"{compared} compared, {bad} differ")
    return 1 if bad or not compared else 0


if __name__ == "__main__":
    if sys.argv[1] == "make":
        folder = pathlib.Path(sys.argv[2])
        make(folder)
        print("\n".join(sorted(path.stem for path in folder.iterdir())))
    else:
        sys.exit(compare(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])))
