"""Images between two Python processes: shmeld against what the standard library has. Run it with the Python that has the release wheel:

    cargo xtask python
    target/python/environment/bin/python benches/python/images.py

Each figure is a ratio of medians over runs in random order in one go; the quartiles of both sides stand beside it. Memory is touched before.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import shmeld

SHAPE = (1080, 1920, 3)
CHANNEL = f"shmeld-bench-{os.getpid()}"


def frames() -> list[np.ndarray[Any, Any]]:
    noise = np.random.default_rng(1)
    return [noise.integers(0, 255, SHAPE, np.uint8) for _ in range(4)]


def provide(channel: str) -> None:
    images = {str(number): frame for number, frame in enumerate(frames())}
    shmeld.ImageProvider(channel, images).serve()


def counts(orders: Connection) -> Iterator[int]:
    """How many frames are asked for, until whoever asks ends."""
    with contextlib.suppress(EOFError):
        while True:
            yield orders.recv()


def put(queue: Any, orders: Connection) -> None:
    images = frames()
    for count in counts(orders):
        for number in range(count):
            queue.put(images[number % len(images)])


def send(pipe: Connection, orders: Connection) -> None:
    images = frames()
    for count in counts(orders):
        for number in range(count):
            pipe.send(images[number % len(images)])


Contestant = tuple[str, Callable[[int], None]]


def frame_contest(processes: list[Any]) -> list[Contestant]:
    context = multiprocessing.get_context("spawn")

    def start(target: Any, *arguments: Any) -> None:
        process = context.Process(target=target, args=arguments, daemon=True)
        process.start()
        processes.append(process)

    requester = shmeld.ImageRequester(CHANNEL)
    start(provide, CHANNEL)
    queue = context.Queue(maxsize=4)
    queue_orders, theirs = context.Pipe()
    start(put, queue, theirs)
    pipe, other = context.Pipe()
    pipe_orders, theirs = context.Pipe()
    start(send, other, theirs)
    out = np.zeros(SHAPE, np.uint8)

    def view(count: int) -> None:
        for number in range(count):
            with requester.view(str(number % 4)) as image:
                assert image.shape == SHAPE

    def own(count: int) -> None:
        for number in range(count):
            assert requester.request(str(number % 4)).shape == SHAPE

    def reuse(count: int) -> None:
        for number in range(count):
            requester.request(str(number % 4), out=out)

    def by_queue(count: int) -> None:
        queue_orders.send(count)
        for _ in range(count):
            assert queue.get().shape == SHAPE

    def by_pipe(count: int) -> None:
        pipe_orders.send(count)
        for _ in range(count):
            assert pipe.recv().shape == SHAPE

    return [
        ("view()", view),
        ("request()", own),
        ("request(out=)", reuse),
        ("multiprocessing.Queue", by_queue),
        ("multiprocessing.Pipe", by_pipe),
    ]


def photographs(folder: Path, ending: str, size: tuple[int, int], count: int) -> list[str]:
    """Something between noise and a plain colour: what photographs are to a codec."""
    noise = np.random.default_rng(2)
    names = []
    for number in range(count):
        coarse = Image.fromarray(noise.integers(0, 255, (size[1] // 24, size[0] // 24, 3), np.uint8))
        picture = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int16)
        picture = picture + noise.integers(-6, 7, picture.shape, np.int16)
        name = f"photo{number:03}"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{name}.{ending}", quality=90)
        names.append(name)
    return names


def decode(path: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(path))


def loader_contest(folder: Path, ending: str, names: list[str], pool: Any) -> list[Contestant]:
    loader = shmeld.ImageLoader(names, folder=folder, channels=CHANNELS, channel=f"{CHANNEL}-{ending}")
    paths = [str(folder / f"{name}.{ending}") for name in names]

    def load(_: int) -> None:
        assert sum(1 for image in loader if image.ndim == 3) == len(names)

    def by_pool(_: int) -> None:
        assert sum(1 for image in pool.imap(decode, paths) if image.ndim == 3) == len(names)

    return [(f"ImageLoader, {ending}", load), ("multiprocessing.Pool and Pillow", by_pool)]


CHANNELS = 2


def contest(contestants: list[Contestant], count: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of each, in rounds of random order; the first round is not counted."""
    rates: dict[str, list[float]] = {name: [] for name, _ in contestants}
    for number in range(rounds + 1):
        for name, run in random.sample(contestants, len(contestants)):
            start = time.perf_counter()
            run(count)
            if number > 0:
                rates[name].append(count / (time.perf_counter() - start))
    return rates


def report(title: str, rates: dict[str, list[float]], rivals: list[str]) -> None:
    print(f"\n{title}")
    for name, found in rates.items():
        low, middle, high = statistics.quantiles(found, n=4)
        ratios = [f"{middle / statistics.median(rates[rival]):.2f} x {rival}" for rival in rivals if rival != name]
        shown = "" if name in rivals else "   " + ", ".join(ratios)
        print(f"  {name:32} {middle:8.1f} a second ({low:.1f} to {high:.1f}){shown}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args()
    print(f"shmeld {shmeld.__version__}, Python {sys.version.split()[0]}, {len(os.sched_getaffinity(0))} CPUs")
    processes: list[Any] = []
    rates = contest(frame_contest(processes), options.frames, options.rounds)
    for process in processes:
        process.kill()
        process.join()
    report("1920x1080x3 frames", rates, ["multiprocessing.Queue", "multiprocessing.Pipe"])
    with tempfile.TemporaryDirectory() as made, multiprocessing.get_context("spawn").Pool(2) as pool:
        for ending in ("jpg", "png"):
            folder = Path(made) / ending
            folder.mkdir()
            names = photographs(folder, ending, (1920, 1080), options.photos)
            rates = contest(loader_contest(folder, ending, names, pool), options.photos, max(options.rounds // 2, 3))
            report(f"photographs of 1920x1080, {ending}", rates, ["multiprocessing.Pool and Pillow"])


if __name__ == "__main__":
    main()
