"""All POSIX and System V objects of this machine that can be seen from here."""

from __future__ import annotations

import os
import re
import stat
import warnings
from builtins import list as list_
from collections.abc import Iterator
from typing import Literal, Optional, TypedDict

Kind = Literal["posix shared memory", "posix semaphore", "posix queue", "sysv shared memory", "sysv semaphores", "sysv queue"]

_SHARED_MEMORY = "/dev/shm"
# The table, what is in it, and the headings of number and amount.
_SYSV: tuple[tuple[str, Kind, str, str], ...] = (
    ("shm", "sysv shared memory", "shmid", "size"),
    ("sem", "sysv semaphores", "semid", "nsems"),
    ("msg", "sysv queue", "msqid", "cbytes"),
)


class Record(TypedDict):
    """One object."""

    kind: Kind
    address: str
    """As the commands take it: ``posix:/name``, ``sem:/name``, ``mq:/name``, ``sysv:0xKEY``, or ``sysv:#ID`` where there is no key."""
    id: Optional[int]
    """Of System V objects the kernel's number."""
    uid: int
    """The owner."""
    mode: int
    """The permission bits."""
    bytes: Optional[int]
    """Its size; of queues what waits in them. ``None`` where the kernel does not say it to this user. Of semaphores the size of their file."""
    semaphores: Optional[int]
    """Of System V sets: how many."""


class NotListed(UserWarning):
    """Some objects cannot be listed; the text says which and what to do."""


def list() -> list_[Record]:  # noqa: A001 - it is called shmeld.ipc.list
    """Every object, sorted by kind and address. Warns with :class:`NotListed` if no message queue file system is mounted.

    >>> from shmeld.posix import SharedMemory
    >>> with SharedMemory(f"/example-{os.getpid()}", size=64, unlink_on_exit=True) as memory:
    ...     [record["bytes"] for record in list() if record["address"] == f"posix:{memory.name}"]
    [64]
    """
    found = [*_posix(), *_queues(), *_sysv()]
    found.sort(key=lambda record: (record["kind"], record["address"]))
    return found


def _posix() -> Iterator[Record]:
    for name, status in _files(_SHARED_MEMORY):
        if name.startswith("sem."):
            yield _record("posix semaphore", f"sem:/{_shown(name[4:])}", status, status.st_size)
        else:
            yield _record("posix shared memory", f"posix:/{_shown(name)}", status, status.st_size)


def _queues() -> Iterator[Record]:
    mounts = _queue_mounts()
    if not mounts:
        hint = "mount -t mqueue none /dev/mqueue"
        warnings.warn(f"message queues are not listed: no such file system is mounted ({hint})", NotListed, stacklevel=4)
        return
    for name, status in _files(mounts[0]):
        yield _record("posix queue", f"mq:/{_shown(name)}", status, _waiting_bytes(os.path.join(mounts[0], name)))


def _queue_mounts() -> list_[str]:
    mounts = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, source = line.partition(" - ")
            if source.startswith("mqueue "):
                # Spaces and the like are octal there.
                point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4])
                mounts.append(point)
    return sorted(mounts, key=lambda point: point != "/dev/mqueue")


def _waiting_bytes(path: str) -> Optional[int]:
    # "QSIZE:129 NOTIFY:0 SIGNO:0 NOTIFY_PID:0"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        match = re.match(rb"QSIZE:(\d+)", os.read(descriptor, 256))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(match[1]) if match else None


def _files(directory: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        try:
            status = os.lstat(os.path.join(directory, name))
        except OSError:
            # It went meanwhile.
            continue
        if stat.S_ISREG(status.st_mode):
            yield name, status


def _record(kind: Kind, address: str, status: os.stat_result, size: Optional[int]) -> Record:
    return {
        "kind": kind,
        "address": address,
        "id": None,
        "uid": status.st_uid,
        "mode": status.st_mode & 0o777,
        "bytes": size,
        "semaphores": None,
    }


def _sysv() -> Iterator[Record]:
    for table, kind, identifier, amount in _SYSV:
        try:
            with open(f"/proc/sysvipc/{table}", encoding="ascii") as lines:
                heading = next(lines).split()
                rows = [dict(zip(heading, line.split())) for line in lines]
        except (OSError, StopIteration):
            continue
        for row in rows:
            key, number = int(row["key"]) & 0xFFFFFFFF, int(row[identifier])
            yield {
                "kind": kind,
                "address": f"sysv:{key:#010x}" if key else f"sysv:#{number}",
                "id": number,
                "uid": int(row["uid"]),
                "mode": int(row["perms"], 8) & 0o777,
                "bytes": None if table == "sem" else int(row[amount]),
                "semaphores": int(row[amount]) if table == "sem" else None,
            }


def _shown(name: str) -> str:
    # A name may hold anything; a terminal should not.
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode() for letter in name)
