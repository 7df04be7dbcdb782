"""Ends at the wrong moment: of loaders, of their workers and providers, and of the process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import shmeld
from shmeld import posix

Start = Callable[..., "subprocess.Popen[str]"]
SHAPES = [(600, 800, 3), (480, 640, 3)]


def _shape(loader: shmeld.ImageLoader, index: int, results: Any, together: Any) -> None:
    together.wait(20)
    try:
        results.put(loader[index].shape)
    except shmeld.Error as error:
        results.put(str(error))
    together.wait(20)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_have_channels_of_their_own(method: str, name: str, samples: Path) -> None:
    """As those of a DataLoader: each gets the loader, which nobody has used yet, and uses it at the same time. They end without atexit."""
    context: Any = multiprocessing.get_context(method)
    loader = shmeld.ImageLoader(["a", "d"], folder=samples, channels=1, channel=name)
    results, together = context.Queue(), context.Barrier(2)
    workers = [context.Process(target=_shape, args=(loader, index, results, together)) for index in range(2)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(20)
    assert sorted(map(str, found)) == sorted(map(str, SHAPES))


def test_an_iterator_of_a_closed_loader_raises(name: str, samples: Path) -> None:
    loader = shmeld.ImageLoader(["a"] * 16, folder=samples, channels=1, channel=name)
    images = iter(loader)
    next(images)
    loader.close()
    with pytest.raises(shmeld.Invalid, match="closed"):
        list(images)


def test_a_loader_closes_at_once_while_a_fork_lives(name: str, samples: Path) -> None:
    """A fork has copies of the pipes whose end is the providers' end."""
    loader = shmeld.ImageLoader(["a"], folder=samples, channels=1, channel=name)
    assert loader[0].shape == SHAPES[0]
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    try:
        start = time.monotonic()
        loader.close()
        assert time.monotonic() - start < 4
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_loader_closes_at_once_where_nobody_answers(name: str) -> None:
    """Ctrl-C in a "with" block waits for its end."""
    loader = shmeld.ImageLoader(["a"], channels=1, channel=name, timeout=None)
    waiting = threading.Thread(target=lambda: pytest.raises(shmeld.Invalid, loader.__getitem__, 0))
    waiting.start()
    time.sleep(0.2)
    start = time.monotonic()
    loader.close()
    waiting.join(20)
    assert time.monotonic() - start < 4 and not waiting.is_alive()


def test_a_folder_that_is_not_there_is_no_wait(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="/nonexistent: no such directory"):
        shmeld.ImageLoader(["a"], folder="/nonexistent", channel=name)


def test_a_provider_that_died_is_replaced(name: str, samples: Path) -> None:
    with shmeld.ImageLoader(["a", "d"], folder=samples, channels=1, channel=name) as loader:
        assert loader[0].shape == SHAPES[0]
        assert loader._crew is not None
        for provider in loader._crew._providers.values():
            provider.kill()
            provider.wait()
        assert loader[1].shape == SHAPES[1]


def test_modules_of_the_present_directory_are_not_those_of_a_provider(
    name: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In /tmp anybody may put one."""
    for module in ("numpy", "threading", "shmeld"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [entry for entry in sys.path if entry])
    with shmeld.ImageLoader(["a"], folder=samples, channels=1, channel=name, timeout=20) as loader:
        assert loader[0].shape == SHAPES[0]


def test_what_a_killed_loader_left_goes_with_the_next(name: str, samples: Path, child: Start) -> None:
    program = """
        import os, sys, shmeld
        loader = shmeld.ImageLoader(["a"], folder=sys.argv[2], channels=2, channel=sys.argv[1])
        loader[0]
        os.kill(os.getpid(), 9)
    """
    assert child(program, name, str(samples)).wait(30) == -9
    # Its providers see the end of their input; until then they are on its channels.
    end = time.monotonic() + 10
    while _channels(name) and time.monotonic() < end:
        with shmeld.ImageLoader(["a"], folder=samples, channels=1, channel=name) as loader:
            assert loader[0].shape == SHAPES[0]
    assert not _channels(name)


def _channels(name: str) -> list[str]:
    return [each for each in os.listdir("/dev/shm") if name.replace("/", "_") in each]


def test_a_process_ends_well_with_everything_open(name: str, samples: Path, child: Start) -> None:
    """Python before 3.14 frees the state of a thread that still asks for signals; and forgets some objects at its end."""
    program = """
        import sys, threading, time, numpy, shmeld
        from shmeld import posix
        name, samples = sys.argv[1:]
        provider = shmeld.ImageProvider(name, {"x": numpy.zeros((64, 64, 3), numpy.uint8)}).start()
        requester = shmeld.ImageRequester(name)
        requester.request("x")
        server = shmeld.Server(samples, name=name)
        client = shmeld.Client(name)
        chunks = client.chunks("a.jpg")
        next(chunks)
        semaphore = posix.Semaphore(name, 0)
        posix.Semaphore.unlink(name)
        lonely = shmeld.ImageRequester(name + "-lonely")
        def ask():
            try:
                lonely.request("x", timeout=None)
            except shmeld.Invalid:
                pass
        for wait in (semaphore.acquire, ask, shmeld.ImageProvider(name + "-nobody", {}).serve):
            threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.1)
    """
    for _ in range(6):
        process = child(program, name, str(samples))
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, "")


def test_a_size_that_cannot_be_is_no_crash(name: str) -> None:
    """Whoever may write an object may make it as long as he likes."""
    with posix.SharedMemory(name, size=10, unlink_on_exit=True) as memory:
        os.truncate(f"/dev/shm{name}", 1 << 62)
        with pytest.raises(MemoryError):
            memory.read()
        assert memory.read(0, 4) == bytes(4)


def test_ctrl_c_ends_the_making_of_shared_memory(name: str) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, stop)
    try:
        with posix.SharedMemory(name, size=10, unlink_on_exit=True) as memory:
            signal.setitimer(signal.ITIMER_REAL, 0.03)
            with pytest.raises((KeyboardInterrupt, shmeld.LimitReached)):
                memory.grow(1 << 40)
            assert len(memory) == 10
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_a_client_goes_into_another_process(name: str, samples: Path) -> None:
    with shmeld.Server(samples, name=name), shmeld.Client(name) as client:
        text = client.get("c.c")
        with pickle.loads(pickle.dumps(client)) as other:
            assert other.get("c.c") == text
