"""Ctrl-C, forks, subprocesses, multiprocessing, and peers that die."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import shmeld
from conftest import need
from shmeld import posix, sysv

Start = Callable[..., "subprocess.Popen[str]"]

WAITS = {
    "semaphore": "posix.Semaphore(name).acquire()",
    "queue": "posix.MessageQueue(name).receive()",
    "sysv set": "sysv.SemaphoreSet(int(name)).operate([(0, -1)])",
    "sysv queue": "sysv.MessageQueue(int(name)).receive()",
    "no server": "shmeld.get('x', server=name, wait=None)",
    "requester": "shmeld.ImageRequester(name).request('x', timeout=None)",
    "provider": "shmeld.ImageProvider(name, {}).serve()",
    "server": "shmeld.Server('.', name=name).wait()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_every_wait(wait: str, name: str, child: Start) -> None:
    key = 0x5EEE0000 | os.getpid() & 0xFFFF
    made: list[object] = []
    if wait == "semaphore":
        made = [posix.Semaphore(name, 0, unlink_on_exit=True)]
    elif wait == "queue":
        made = [posix.MessageQueue(name, 2, unlink_on_exit=True)]
    elif wait.startswith("sysv"):
        kind = sysv.SemaphoreSet if wait == "sysv set" else sysv.MessageQueue
        extra = {"semaphores": 1} if wait == "sysv set" else {}
        made = [kind(key, create=True, remove_on_exit=True, **extra)]  # type: ignore[arg-type]
    try:
        program = f"""
            import sys, time, shmeld
            from shmeld import posix, sysv
            name = sys.argv[1]
            print("waiting", flush=True)
            try:
                {WAITS[wait]}
            except KeyboardInterrupt:
                print("stopped", flush=True)
        """
        process = child(program, str(key) if wait.startswith("sysv") else name)
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        time.sleep(0.3)
        assert process.poll() is None
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert output == "stopped\n", errors
        assert time.monotonic() - start < 5
    finally:
        for each in made:
            each.__exit__(None, None, None)  # type: ignore[attr-defined]


def test_other_threads_run_during_a_wait(name: str) -> None:
    with posix.Semaphore(name, 0, unlink_on_exit=True) as semaphore:
        waiting = threading.Thread(target=semaphore.acquire, args=(10,))
        waiting.start()
        turns = 0
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            turns += 1
        semaphore.release()
        waiting.join()
        assert turns > 1000


def _fork(work: Callable[[], None]) -> int:
    """Runs `work` in a fork and returns its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a fork never returns to pytest
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_forks_garbage_collector_takes_nothing_away(name: str, samples: Path) -> None:
    image = np.zeros((1, 1, 1), np.uint8)
    objects: dict[str, object] = {
        "server": shmeld.Server(samples, name=name),
        "client": shmeld.Client(name),
        "requester": shmeld.ImageRequester(name),
        "provider": shmeld.ImageProvider(name, {"x": image}).start(),
    }
    client, requester = objects["client"], objects["requester"]
    assert isinstance(client, shmeld.Client) and isinstance(requester, shmeld.ImageRequester)
    assert client.get("c.c") and requester.request("x").shape == (1, 1, 1)

    def end_everything() -> None:
        # A client begins a session of its own; a channel there is only one.
        assert client.get("c.c")
        with pytest.raises(shmeld.Invalid, match="fork"):
            requester.request("x")
        client.close()
        requester.close()
        objects.clear()
        gc.collect()

    assert _fork(end_everything) == 0
    assert client.get("c.c") and requester.request("x").shape == (1, 1, 1)
    for each in ("client", "requester", "provider", "server"):
        objects[each].__exit__(None, None, None)  # type: ignore[attr-defined]


FORKS = {
    "fork": "pid = os.fork()\nif pid == 0:\n    time.sleep(60)\n    os._exit(0)",
    "multiprocessing": (
        "process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "process.start()\npid = process.pid"
    ),
    "subprocess": (
        "process = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], close_fds=False)\n"
        "pid = process.pid"
    ),
}


@pytest.mark.parametrize("how", FORKS)
def test_a_child_that_outlives_its_parent_keeps_none_of_its_leases(how: str, name: str, samples: Path, child: Start) -> None:
    """A lock on an open file description is inherited by a fork: the parent would look alive as long as its child is."""
    program = """
import multiprocessing, os, subprocess, sys, time
import numpy, shmeld
name, samples = sys.argv[1:]
server = shmeld.Server(samples, name=name)
client = shmeld.Client(name)
client.get("c.c")
requester = shmeld.ImageRequester(name)
provider = shmeld.ImageProvider(name, {"x": numpy.zeros((1, 1, 1), numpy.uint8)}).start()
requester.request("x")
""" + FORKS[how] + """
print(pid, flush=True)
time.sleep(0.2)
os.kill(os.getpid(), 9)
"""
    parent = child(program, name, str(samples))
    assert parent.stdout is not None
    line = parent.stdout.readline()
    assert line, parent.communicate()[1]
    orphan = int(line)
    try:
        parent.wait(20)
        os.kill(orphan, 0)
        with shmeld.Server(samples, name=name):
            assert shmeld.get("c.c", server=name)
        with shmeld.ImageRequester(name):
            pass
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_fork_keeps_files_that_are_called_like_a_queue(samples: Path) -> None:
    """/proc names a queue by its name alone, /x, which is a path too."""
    need(os.access("/", os.W_OK), "a root directory that can be written")
    path = f"/shmeld-py-{os.getpid()}-file"
    with open(path, "w+b") as file:
        os.unlink(path)
        with shmeld.Server(samples, name=path):
            assert _fork(lambda: os.fsync(file.fileno())) == 0


def test_a_loader_that_is_forgotten_leaves_nothing(name: str, samples: Path, child: Start) -> None:
    program = """
        import sys, shmeld
        loader = shmeld.ImageLoader(["a"], folder=sys.argv[2], channels=2, channel=sys.argv[1])
        print(loader[0].shape)
    """
    process = child(program, name, str(samples))
    output, errors = process.communicate(timeout=30)
    assert (output, process.returncode) == ("(600, 800, 3)\n", 0), errors


def test_multiprocessing_children_have_their_own(name: str, samples: Path) -> None:
    with shmeld.Server(samples, name=name):
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                sizes = pool.starmap(_size, [(name, "c.c")] * 4)
        assert sizes == [(samples / "c.c").stat().st_size] * 4
        with context.Pool(1) as pool, pytest.raises(shmeld.NotFound, match="get nope"):
            pool.apply(_size, (name, "nope"))


def _size(server: str, file: str) -> int:
    return len(shmeld.get(file, server=server))


def test_a_server_that_dies_is_noticed(name: str, tmp_path: Path, child: Start) -> None:
    (tmp_path / "large").write_bytes(bytes(range(256)) * (16 << 12))
    program = """
        import sys, time, shmeld
        server = shmeld.Server(sys.argv[2], name=sys.argv[1])
        print("ready", flush=True)
        time.sleep(60)
    """
    server = child(program, name, str(tmp_path))
    assert server.stdout is not None and server.stdout.readline() == "ready\n"
    with shmeld.Client(name) as client:
        chunks = client.chunks("large")
        next(chunks)
        server.kill()
        server.wait()
        start = time.monotonic()
        with pytest.raises(ConnectionError) as died:
            for _ in chunks:
                pass
        assert isinstance(died.value, shmeld.PeerDied) and died.value.exit_code == 4
        assert time.monotonic() - start < 3
    # The next server sweeps what that one left.
    with shmeld.Server(tmp_path, name=name):
        pass


def test_a_provider_that_dies_is_noticed_and_succeeded(name: str, child: Start) -> None:
    program = """
        import os, sys, numpy, shmeld
        def load(key):
            if key == "x":
                os.kill(os.getpid(), 9)
            return numpy.zeros((1, 1, 1), numpy.uint8)
        shmeld.ImageProvider(sys.argv[1], load).serve()
    """
    with shmeld.ImageRequester(name) as requester:
        child(program, name)
        assert requester.request("first", timeout=20).tolist() == [[[0]]]
        with pytest.raises(shmeld.PeerDied, match="died"):
            requester.request("x", timeout=20)
        with shmeld.ImageProvider(name, {"x": np.ones((1, 1, 1), np.uint8)}).start():
            assert requester.request("x", timeout=20).tolist() == [[[1]]]
