"""All POSIX and System V objects of this machine that can be seen from here, who has them, and whether they can go."""

from __future__ import annotations

import json
import warnings
from builtins import list as list_
from typing import Literal, Optional, TypedDict

from . import _native

Kind = Literal["shm", "sem", "mq", "memfd", "sysv-shm", "sysv-sem", "sysv-msg"]
State = Literal["live", "stale", "unheld", "unknown"]
Role = Literal["mapped", "open", "attached", "creator", "last user", "notified"]


class Holder(TypedDict):
    """A process that has to do with an object."""

    pid: int
    command: Optional[str]
    """``None`` if there is no such process any more."""
    uid: Optional[int]
    roles: list_[Role]
    mapped: int
    """How many bytes of it are mapped there."""
    keeps: bool
    """Whether it keeps the object alive."""


class Record(TypedDict):
    """One object, with the fields of ``shmeld ipc ls --json``. What it does not have is ``None``; so is what permission hides, which ``hidden`` names."""

    kind: Kind
    address: str
    """As the commands take it: ``posix:/name``, ``sem:/name``, ``mq:/name``, ``sysv:#ID``, ``sysv-sem:#ID``, ``sysv-msg:#ID``; what has neither is found by
    its inode: ``memfd:#INODE``, ``unlinked-posix:#INODE``."""
    former_name: Optional[str]
    """Of a memfd, or of what was unlinked."""
    key: Optional[str]
    """Of System V objects."""
    uid: Optional[int]
    gid: Optional[int]
    creator_uid: Optional[int]
    creator_gid: Optional[int]
    mode: Optional[str]
    """The permission bits, octal."""
    size: Optional[int]
    """Of a segment its bytes, of a queue what fits into it."""
    used: Optional[int]
    """How much of that is in use: memory behind a segment, messages in a queue."""
    messages: Optional[int]
    messages_max: Optional[int]
    message_bytes_max: Optional[int]
    notified_pid: Optional[int]
    semaphores: Optional[int]
    values: Optional[list_[int]]
    made_time: Optional[str]
    change_time: Optional[str]
    use_time: Optional[str]
    attached: Optional[int]
    marked: bool
    """Of a System V segment: whether it goes with its last attachment."""
    inode: Optional[int]
    names: Optional[int]
    namespace: str
    belongs: Optional[str]
    """What it is of shmeld's."""
    state: State
    """*live*: somebody has it; *stale*: shmeld's, and whoever had it is dead; *unheld*: of another program, and nobody has it; else *unknown*."""
    proof: str
    """From what that follows."""
    hidden: list_[str]
    holders: list_[Holder]


class NotListed(UserWarning):
    """Some objects cannot be listed; the text says which and what to do."""


def list() -> list_[Record]:  # noqa: A001 - it is called shmeld.ipc.list
    """Every object, sorted by kind and address. Warns with :class:`NotListed` of what could not be looked at.

    >>> import os
    >>> from shmeld.posix import SharedMemory
    >>> with SharedMemory(f"/example-{os.getpid()}", size=64, unlink_on_exit=True) as memory:
    ...     [(record["size"], record["state"]) for record in list() if record["address"] == f"posix:{memory.name}"]
    [(64, 'live')]
    """
    *found, sight = (json.loads(line) for line in _native.catalogue())
    if not sight["lists_queues"]:
        hint = "mount -t mqueue none /dev/mqueue"
        warnings.warn(f"message queues cannot be listed: no such file system is mounted ({hint})", NotListed, stacklevel=2)
    for failure in sight["failures"]:
        warnings.warn(failure, NotListed, stacklevel=2)
    for record in found:
        del record["event"]
    return found
