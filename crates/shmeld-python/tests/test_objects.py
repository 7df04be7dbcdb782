"""POSIX and System V objects, and the list of them."""

from __future__ import annotations

import os
import threading
import time
import warnings

import pytest

import shmeld
from shmeld import ipc, posix, sysv


def test_posix_objects_are_what_another_handle_sees(name: str) -> None:
    with posix.SharedMemory(name, size=10, mode=0o640, unlink_on_exit=True) as memory:
        memory.write(b"0123456789")
        other = posix.SharedMemory(name, writable=False)
        assert (other.read(3, 4), other.read(), len(other)) == (b"3456", b"0123456789", 10)
        assert (other.read(8, 10), other.read(20)) == (b"89", b"")
        assert other.stat().mode == 0o640 and other.stat().uid == os.geteuid()
        with pytest.raises(shmeld.Invalid, match="do not fit") as short:
            memory.write(b"xx", 9)
        # The cure is a method that there is: it was once called otherwise.
        assert short.value.hint == "grow() makes it longer"
        memory.grow(20)
        assert len(other) == 20
        with pytest.raises(FileExistsError):
            posix.SharedMemory(name, size=1)
    with pytest.raises(FileNotFoundError) as gone:
        posix.SharedMemory(name)
    assert isinstance(gone.value, shmeld.NotFound) and gone.value.operation == "shm_open"
    assert gone.value.errno == 2 and gone.value.filename == name


def test_waits_end_in_time_and_let_other_threads_run(name: str) -> None:
    with posix.Semaphore(name, 0, unlink_on_exit=True) as semaphore:
        start = time.monotonic()
        assert not semaphore.acquire(timeout=0.25)
        assert 0.2 < time.monotonic() - start < 5
        timer = threading.Timer(0.1, semaphore.release)
        timer.start()
        assert semaphore.acquire(timeout=10) and semaphore.value == 0
        timer.join()


def test_messages_come_by_priority(name: str) -> None:
    with posix.MessageQueue(name, 2, message_bytes_max=16, unlink_on_exit=True) as queue:
        queue.send(b"low")
        queue.send(b"high", priority=9)
        with pytest.raises(TimeoutError, match="stayed full"):
            queue.send(b"more", timeout=0.05)
        assert queue.attributes == posix.QueueAttributes(2, 16, 2)
        reader = posix.MessageQueue(name, send=False)
        assert [reader.receive(1), reader.receive(1)] == [(b"high", 9), (b"low", 0)]
        with pytest.raises(shmeld.TimedOut, match="no message"):
            reader.receive(0.05)
        with pytest.raises(shmeld.Error) as long:
            queue.send(b"x" * 17)
        assert "EMSGSIZE" in str(long.value)


def test_sysv_objects_by_key_and_by_number() -> None:
    key = 0x5EED0000 | os.getpid() & 0xFFFF
    with sysv.SharedMemory(key, size=8, create=True, exclusive=True, remove_on_exit=True) as segment:
        segment.write(b"12345678")
        assert sysv.SharedMemory(id=segment.id, writable=False).read(2, 3) == b"345"
        assert segment.stat().owner.key == key
        with pytest.raises(shmeld.Invalid, match="read-only"):
            sysv.SharedMemory(key, writable=False).write(b"x")
        with pytest.raises(FileExistsError):
            sysv.SharedMemory(key, size=8, create=True, exclusive=True)
    with pytest.raises(FileNotFoundError):
        sysv.SharedMemory(key)
    with sysv.SemaphoreSet(key, semaphores=2, create=True, remove_on_exit=True) as pair:
        assert pair.operate([(0, 2)]) and not pair.operate([(0, -1), (1, -1)], timeout=0.05)
        assert pair.values() == [2, 0] and len(pair) == 2
        # More than a semaphore can hold was once cut down to what it can hold, and done.
        with pytest.raises(shmeld.Invalid, match="at most 32767"):
            pair.operate([(1, 32768)])
    with sysv.MessageQueue(key, create=True, remove_on_exit=True) as queue:
        queue.send(b"a", kind=3)
        queue.send(b"b", kind=1)
        assert queue.receive(3, timeout=1) == (b"a", 3)
        with pytest.raises(shmeld.TimedOut):
            queue.receive(3, timeout=0.05)
        assert queue.receive(-2, timeout=1) == (b"b", 1)


def test_the_list_has_every_kind(name: str) -> None:
    with warnings.catch_warnings(), posix.SharedMemory(name, size=64, mode=0o640, unlink_on_exit=True), posix.Semaphore(
        name, 1, unlink_on_exit=True
    ), sysv.SharedMemory(sysv.PRIVATE, size=32, create=True, remove_on_exit=True) as segment:
        warnings.simplefilter("ignore", ipc.NotListed)
        found = {record["address"]: record for record in ipc.list()}
        memory = found[f"posix:{name}"]
        assert (memory["kind"], memory["size"], memory["mode"]) == ("shm", 64, "0640")
        assert (memory["uid"], memory["state"]) == (os.geteuid(), "live")
        assert [(holder["pid"], holder["keeps"]) for holder in memory["holders"]] == [(os.getpid(), True)]
        semaphore = found[f"sem:{name}"]
        assert (semaphore["kind"], semaphore["values"]) == ("sem", [1])
        attached = found[f"sysv:#{segment.id}"]
        assert (attached["size"], attached["attached"]) == (32, 1)


def test_a_record_has_the_fields_that_are_documented(name: str) -> None:
    with warnings.catch_warnings(), posix.SharedMemory(name, size=64, unlink_on_exit=True):
        warnings.simplefilter("ignore", ipc.NotListed)
        found = ipc.list()
    assert all(record.keys() == ipc.Record.__annotations__.keys() for record in found)
    holders = [holder for record in found for holder in record["holders"]]
    assert holders and all(holder.keys() == ipc.Holder.__annotations__.keys() for holder in holders)


def test_the_list_has_system_v_queues_and_sets() -> None:
    with sysv.MessageQueue(sysv.PRIVATE, create=True, mode=0o640, remove_on_exit=True) as queue, sysv.SemaphoreSet(
        sysv.PRIVATE, semaphores=3, create=True, remove_on_exit=True
    ) as group, warnings.catch_warnings():
        warnings.simplefilter("ignore", ipc.NotListed)
        queue.send(b"12345")
        found = {record["address"]: record for record in ipc.list()}
        listed, three = found[f"sysv-msg:#{queue.id}"], found[f"sysv-sem:#{group.id}"]
        assert (listed["used"], listed["messages"], listed["mode"]) == (5, 1, "0640")
        assert (three["semaphores"], three["values"], three["size"]) == (3, [0, 0, 0], None)
