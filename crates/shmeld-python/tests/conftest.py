"""What the tests share. Every object is called after the test's process and is gone afterwards."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SAMPLES = Path(__file__).resolve().parents[3] / "samples"
_numbers = itertools.count()


def need(there: bool, what: str) -> None:
    """Leaves a test out where the machine lacks something; with SHMELD_REQUIRE=all, as in CI, nothing may be left out."""
    if there:
        return
    if os.environ.get("SHMELD_REQUIRE") == "all":
        pytest.fail(f"needs {what}, and SHMELD_REQUIRE=all allows no skipping")
    pytest.skip(f"needs {what}")


def _ours() -> list[str]:
    places = [place for place in ("/dev/shm", "/dev/mqueue") if os.path.isdir(place)]
    return [name for place in places for name in os.listdir(place) if f"shmeld-py-{os.getpid()}-" in name]


@pytest.fixture
def name() -> Iterator[str]:
    """A name for an object or channel. What is left of it fails the test."""
    yield f"/shmeld-py-{os.getpid()}-{next(_numbers)}"
    left = _ours()
    for each in left:
        try:
            os.unlink(f"/dev/shm/{each}")
        except OSError:
            pass
    assert not left, left


@pytest.fixture
def samples() -> Path:
    return SAMPLES


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program of its own, whose output is read through a pipe."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(program), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
