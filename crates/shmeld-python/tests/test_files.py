"""Files: bytes, chunks, onto the disk; and what is raised."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from pathlib import Path

import pytest

import shmeld


def test_all_three_ways_give_the_bytes_of_the_file(name: str, samples: Path, tmp_path: Path) -> None:
    expected = (samples / "a.jpg").read_bytes()
    with shmeld.Server(samples, name=name) as server, shmeld.Client(name) as client:
        assert client.get("a.jpg") == expected
        assert client.get(b"a.jpg", verify=True) == expected
        assert b"".join(client.chunks("a.jpg")) == expected
        assert client.save("a.jpg", tmp_path) == tmp_path / "a.jpg"
        assert client.save(Path("a.jpg"), tmp_path / "other", verify=True).read_bytes() == expected
        assert (tmp_path / "a.jpg").read_bytes() == expected
        assert client.get("empty.dat") == b""
        assert client.status()["name"] == name
        assert server.is_running
    assert shmeld.Server is not None and not server.is_running


def test_large_and_sparse_files_arrive_whole(name: str, tmp_path: Path) -> None:
    """Holes travel as records without bytes; to the caller they are zeros again."""
    large = os.urandom(3 << 20)
    (tmp_path / "large").write_bytes(large)
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(5 << 20)
        file.write(b"end")
    with shmeld.Server(tmp_path, name=name):
        for region in (None, 4096):
            with shmeld.Client(name, region=region) as client:
                for verify in (False, True):
                    assert client.get("large", verify=verify) == large
                    assert client.get("sparse", verify=verify) == bytes(5 << 20) + b"end"
                chunks = list(client.chunks("large"))
                assert b"".join(chunks) == large and max(map(len, chunks)) <= 1 << 20


def test_what_is_refused_says_what_and_why(name: str, samples: Path, tmp_path: Path) -> None:
    with shmeld.Server(samples, name=name), shmeld.Client(name) as client:
        with pytest.raises(FileNotFoundError) as missing:
            client.get("nope")
        error = missing.value
        assert isinstance(error, shmeld.NotFound) and error.exit_code == 1
        assert (error.operation, error.object, error.reason) == ("get", "nope", "no such file (FNF)")
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error) == "get nope: no such file (FNF)" and again.exit_code == 1
        session = client._session
        for fails in (client.get, client.ls):
            with pytest.raises(shmeld.NotFound):
                fails("nope")
        assert client._session is session is not None, "what is not there costs no session"
        with pytest.raises(shmeld.LimitReached, match="bytes_max=10"):
            client.get("a.jpg", bytes_max=10)
        with pytest.raises(shmeld.NotFound):
            client.save("nope", tmp_path / "nope")
        assert not (tmp_path / "nope").exists()
        assert len(client.get("c.c")) > 0
        with pytest.raises(FileExistsError):
            client.save("c.c", samples / "c.c", no_clobber=True)
        with pytest.raises(shmeld.AlreadyRunning, match="already running"):
            shmeld.Server(samples, name=name)
    with pytest.raises(ConnectionRefusedError) as absent:
        shmeld.get("x", server=name, wait=0)
    assert isinstance(absent.value, shmeld.NoServer) and absent.value.exit_code == 3
    # How to start one, or what others run here.
    assert "--name" in (absent.value.hint or "")
    # Who only reads the traceback finds it there, as a note; those came with Python 3.11.
    if sys.version_info >= (3, 11):
        told = "".join(traceback.format_exception(absent.value)).splitlines()
        assert told[-1] == f"hint: {absent.value.hint}"
    with pytest.raises(ValueError, match="no /"):
        shmeld.Client("/a/b").ls()


def test_progress_counts_to_the_size_and_can_end_the_transfer(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 8192)
    seen: list[tuple[str, int, int]] = []
    with shmeld.Server(tmp_path, name=name), shmeld.Client(name) as client:
        client.get("file", progress=lambda *step: seen.append(step))
        assert seen[0] == ("file", 0, 2 << 20) and seen[-1] == ("file", 2 << 20, 2 << 20)

        def stop(what: str, done: int, size: int) -> None:
            if done > 0:
                raise StopAsyncIteration

        with pytest.raises(StopAsyncIteration):
            client.save("file", tmp_path / "half", progress=stop)
        assert not (tmp_path / "half").exists()
        # An iterator that is given up does not spoil what comes next.
        next(client.chunks("file"))
        assert len(client.get("file")) == 2 << 20


def test_listings_and_trees(name: str, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "deep.txt").write_text("deep")
    (tmp_path / "in" / "link").symlink_to("sub/deep.txt")
    with shmeld.Server(tmp_path / "in", name=name), shmeld.Client(name) as client:
        entries = {entry.name: entry for entry in client.ls(recursive=True)}
        assert entries["sub"].kind == "directory" and entries["sub/deep.txt"].size == 4
        assert entries["link"].kind == "symlink" and entries["link"].target == "sub/deep.txt"
        client.save_tree("", tmp_path / "out")
        assert (tmp_path / "out" / "sub" / "deep.txt").read_text() == "deep"
        assert os.readlink(tmp_path / "out" / "link") == "sub/deep.txt"


def test_several_files_are_a_dictionary(name: str, samples: Path) -> None:
    with shmeld.Server(samples, name=name):
        found = shmeld.get("a.jpg", "c.c", server=name)
    assert found == {each: (samples / each).read_bytes() for each in ("a.jpg", "c.c")}


def test_a_server_can_end_after_its_first_client(name: str, samples: Path) -> None:
    server = shmeld.Server(samples, name=name, once=True)
    assert shmeld.get("c.c", server=name)
    assert server.wait() and not server.is_running
