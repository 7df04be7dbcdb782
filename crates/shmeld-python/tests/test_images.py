"""Images: both sides in Python, what is lent, and the loader."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import shmeld

DOT = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
WIDE = np.full((3, 50, 1), 7, np.uint8)


def test_dictionary_function_and_folder_give_the_same_pixels(name: str, tmp_path: Path) -> None:
    Image.fromarray(DOT).save(tmp_path / "dot.png")
    images = {"dot": DOT}
    for source in (images, lambda key: images[key], tmp_path):
        with shmeld.ImageProvider(name, source).start(), shmeld.ImageRequester(name) as requester:
            image = requester.request("dot", timeout=10)
            assert image.dtype == np.uint8 and np.array_equal(image, DOT)
            image[0, 0, 0] = 99
            out = np.zeros_like(DOT)
            assert requester.request(b"dot", out=out) is out and np.array_equal(out, DOT)
            with pytest.raises(shmeld.NoImage, match="nope") as missing:
                requester.request("nope")
            assert isinstance(missing.value, LookupError) and missing.value.exit_code == 1
            assert np.array_equal(requester.request("dot"), DOT)


def test_files_come_as_pillow_decodes_them(name: str, samples: Path) -> None:
    with shmeld.ImageProvider(name, samples).start(), shmeld.ImageRequester(name, timeout=20) as requester:
        for file, levels in (("d.png", 0), ("a.jpg", 2)):
            picture: Image.Image = Image.open(samples / file)
            # Colours of a palette are what the decoder makes of them.
            picture = picture.convert("RGB") if picture.mode == "P" else picture
            expected = np.asarray(picture).astype(int)
            image = requester.request(file.split(".")[0])
            assert image.shape == np.atleast_3d(expected).shape
            assert np.abs(image.astype(int) - np.atleast_3d(expected)).max() <= levels


def test_what_does_not_fit_is_not_touched(name: str) -> None:
    images: dict[str, Any] = {"dot": DOT, "flat": DOT[:, :, 0], "float": DOT / 2}
    provider = shmeld.ImageProvider(name, images)
    with provider.start(), shmeld.ImageRequester(name, timeout=10) as requester:
        out = np.zeros((2, 4, 1), np.uint8)
        with pytest.raises(shmeld.Invalid, match=r"shape \(2, 4, 3\).*room for \(2, 4, 1\)"):
            requester.request("dot", out=out)
        assert not out.any()
        assert np.array_equal(requester.request("flat", out=out)[:, :, 0], DOT[:, :, 0])
        with pytest.raises(shmeld.NoImage, match="not of float64"):
            requester.request("float")
        mistakes: list[Any] = [np.zeros((2, 4, 3), np.int8), np.zeros((2, 4, 6), np.uint8)[:, :, ::2]]
        for wrong in mistakes:
            with pytest.raises(shmeld.Invalid):
                requester.request("dot", out=wrong)


def test_images_that_are_kept_are_never_overwritten(name: str) -> None:
    """Memory of an image is used again when nobody has it, or a part of it, any more; not before."""
    images = {str(number): np.full((4, 5, 3), number, np.uint8) for number in range(10)}
    with shmeld.ImageProvider(name, images).start(), shmeld.ImageRequester(name) as requester:
        places = set()
        for number in range(10):
            image = requester.request(str(number))
            places.add(image.ctypes.data)
            assert (image == number).all()
        assert len(places) <= 4, "memory is used again"
        whole = [requester.request(str(number)) for number in range(10)]
        parts: list[Any] = [requester.request(str(number))[1:, 2] for number in range(10)]
        flat: Callable[[int], Any] = lambda number: requester.request(str(number)).reshape(-1)
        parts += [memoryview(flat(number)) for number in range(10)]
        for number in range(10):
            requester.request("9")
        assert all((image == number).all() for number, image in enumerate(whole))
        assert all((np.asarray(part) == number % 10).all() for number, part in enumerate(parts))


def test_a_lent_image_is_read_only_and_empty_afterwards(name: str) -> None:
    with shmeld.ImageProvider(name, {"dot": DOT, "wide": WIDE}).start(), shmeld.ImageRequester(name) as requester:
        seen = set()
        for key, expected in (("dot", DOT), ("wide", WIDE)) * 10:
            with requester.view(key) as image:
                assert np.array_equal(image, expected)
                with pytest.raises(ValueError):
                    image[0] = 0
                with pytest.raises(ValueError):
                    image.flags.writeable = True
                seen.add(image.ctypes.data)
            assert image.size == 0 and image.base is not DOT
        assert len(seen) <= 5, "the memory is used again"


def test_whoever_still_looks_is_named_and_sees_the_same(name: str) -> None:
    """Memory that is used again while somebody looks would change under his eyes; memory that is freed would crash him."""
    images = {"dot": DOT, "other": DOT[::-1].copy()}
    with shmeld.ImageProvider(name, images).start(), shmeld.ImageRequester(name) as requester:
        kept: list[Any] = []
        ways: list[Callable[[Any], Any]] = [
            lambda image: image,
            lambda image: image[0],
            lambda image: memoryview(image),
            lambda image: image.reshape(-1)[3:].view(np.int8),
        ]
        for keep in ways:
            with pytest.raises(BufferError, match="'dot' of shape"):
                with requester.view("dot") as image:
                    kept.append(keep(image))
            with requester.view("other") as image:
                assert np.array_equal(image, images["other"])
        assert all(np.asarray(each).ravel()[0] in (0, 3) for each in kept)
        assert np.array_equal(kept[0], DOT) and np.asarray(kept[1]).tolist() == DOT[0].tolist()


def test_a_memoryview_behind_our_back_stays_valid(name: str) -> None:
    """The name behind "as" is not counted; a memoryview in its place keeps the memory all the same."""
    with shmeld.ImageProvider(name, {"dot": DOT, "other": DOT[::-1].copy()}).start():
        requester = shmeld.ImageRequester(name)
        with requester.view("dot") as image:
            whole: Any = image
            hidden = memoryview(whole)
            del whole
            del image
        for _ in range(3):
            with requester.view("other") as image:
                pass
        requester.close()
        del requester, image
        assert hidden.tobytes() == DOT.tobytes()


def test_an_exception_in_the_block_is_what_the_caller_sees(name: str) -> None:
    with shmeld.ImageProvider(name, {"dot": DOT}).start(), shmeld.ImageRequester(name) as requester:
        with pytest.raises(ZeroDivisionError):
            with requester.view("dot") as image:
                _kept = image[0]
                raise ZeroDivisionError
        assert np.array_equal(requester.request("dot"), DOT)


def test_a_provider_serves_as_many_as_it_is_told(name: str) -> None:
    with shmeld.ImageProvider(name, {}) as provider:
        assert provider.serve_next(timeout=0.05) is None
        with shmeld.ImageRequester(name) as requester:
            with pytest.raises(shmeld.NoProvider):
                requester.request("x", timeout=0.1)
            with pytest.raises(shmeld.AlreadyRunning):
                shmeld.ImageRequester(name)


def test_the_loader_keeps_the_order_and_raises_in_turn(name: str, tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(20)]
    for number, each in enumerate(names):
        Image.new("RGB", (5 + number, 4), (number, 0, 0)).save(tmp_path / f"{each}.png")
    with shmeld.ImageLoader([*names, "none"], folder=tmp_path, channels=2, channel=name) as loader:
        assert len(loader) == 21 and loader[3].shape == (4, 8, 3) and loader[-2][0, 0, 0] == 19
        with pytest.raises(IndexError):
            loader[21]
        with pytest.raises(shmeld.NoImage):
            for number, image in enumerate(loader):
                assert image.shape == (4, 5 + number, 3) and image[0, 0, 0] == number
        assert number == 19


def test_references_are_counted_as_this_python_counts_them() -> None:
    from shmeld.images import _BASE

    assert 1 <= _BASE <= 3, sys.version
