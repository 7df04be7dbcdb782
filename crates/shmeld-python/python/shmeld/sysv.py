"""System V objects: shared memory, sets of semaphores and message queues, found by a key or by the number that the kernel gave them.

A key is a number of 32 bits; :func:`ftok` makes one of a file. ``PRIVATE`` is no key: each creation makes another object. Nothing is removed
unless somebody does it: ``remove_on_exit=True`` makes a handle do it at the end of its ``with`` block.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Union

from . import _native
from ._block import Block

PRIVATE = 0
"""No key at all (``IPC_PRIVATE``)."""


def ftok(path: Union[str, os.PathLike[str]], project: int) -> int:
    """The key that C programs make of this file and a project number from 1 to 255.

    >>> ftok("/", 65) == ftok("/", 65)
    True
    """
    return _native.ftok(os.fspath(path), project)


@dataclass(frozen=True)
class Owner:
    """To whom an object belongs and whom it admits."""

    key: int
    uid: int
    gid: int
    creator_uid: int
    mode: int


class _Handle(Block):
    """What the three kinds have in common."""

    _remove_on_exit = False
    id: int
    """The number that the kernel gave it."""

    def remove(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        if self._remove_on_exit:
            self.remove()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} #{self.id}>"


@dataclass(frozen=True)
class SegmentStat:
    """What the kernel knows about a segment."""

    owner: Owner
    attached: int
    creator_pid: int
    is_marked: bool
    """It goes with its last attachment."""


class SharedMemory(_Handle):
    """An attached segment of shared memory. Its bytes are copied in and out.

    ``create`` makes it, of ``size`` bytes, if it is not there; with ``exclusive`` it must not be there.

    >>> with SharedMemory(PRIVATE, size=64, create=True, remove_on_exit=True) as segment:
    ...     segment.write(b"hello")
    ...     segment.read(0, 5), len(segment), segment.stat().attached
    (b'hello', 64, 1)
    """

    def __init__(
        self,
        key: Optional[int] = None,
        *,
        id: Optional[int] = None,
        size: int = 0,
        mode: int = 0o600,
        create: bool = False,
        exclusive: bool = False,
        writable: bool = True,
        remove_on_exit: bool = False,
    ) -> None:
        self._native = _native.SysvSharedMemory(
            key, id, bytes=size, mode=mode, create=create, exclusive=exclusive, writable=writable
        )
        self._remove_on_exit = remove_on_exit
        self.id = self._native.id

    def read(self, offset: int = 0, size: Optional[int] = None) -> bytes:
        """The bytes from ``offset``: ``size`` of them, or all; fewer where the segment ends."""
        return self._native.read(offset, (1 << 63) - 1 if size is None else size)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Writes all of ``data``, which must fit."""
        self._native.write(offset, data)

    def stat(self) -> SegmentStat:
        """What the kernel knows about it."""
        owner, attached, creator_pid, is_marked = self._native.stat()
        return SegmentStat(Owner(*owner), attached, creator_pid, is_marked)

    def __len__(self) -> int:
        return self._native.size

    def remove(self) -> None:
        """Marks it for removal: it goes with its last attachment."""
        self._native.remove()


@dataclass(frozen=True)
class SetStat:
    """What the kernel knows about a set of semaphores."""

    owner: Owner
    semaphores: int


class SemaphoreSet(_Handle):
    """A set of semaphores. ``create`` makes it, all zero, if it is not there; with ``exclusive`` it must not be there.

    >>> with SemaphoreSet(PRIVATE, semaphores=2, create=True, remove_on_exit=True) as pair:
    ...     pair.operate([(0, 3), (1, 1)])
    ...     pair.operate([(0, -1), (1, -2)], timeout=0)
    ...     pair.values()
    True
    False
    [3, 1]
    """

    def __init__(
        self,
        key: Optional[int] = None,
        *,
        id: Optional[int] = None,
        semaphores: int = 0,
        mode: int = 0o600,
        create: bool = False,
        exclusive: bool = False,
        remove_on_exit: bool = False,
    ) -> None:
        self._native = _native.SysvSemaphoreSet(
            key, id, semaphores=semaphores, mode=mode, create=create, exclusive=exclusive
        )
        self._remove_on_exit = remove_on_exit
        self.id = self._native.id

    def operate(
        self, changes: Sequence[tuple[int, int]], *, timeout: Optional[float] = None, undo: bool = False
    ) -> bool:
        """Does all changes at once or none: each is an index and how much is added; less than nothing waits until it is there, nothing waits for
        zero. ``False`` if that did not come within ``timeout`` seconds (``None``: for ever).

        With ``undo`` the kernel takes the changes back when this process ends, however it ends.
        """
        return self._native.operate([(index, change, undo) for index, change in changes], timeout)

    def values(self) -> list[int]:
        """All values."""
        return self._native.values()

    def set_value(self, index: int, value: int) -> None:
        """Sets one value, and wipes everybody's undo of it."""
        self._native.set_value(index, value)

    def stat(self) -> SetStat:
        """What the kernel knows about it."""
        owner, semaphores = self._native.stat()
        return SetStat(Owner(*owner), semaphores)

    def __len__(self) -> int:
        return self.stat().semaphores

    def remove(self) -> None:
        """Removes it at once: those who wait get :class:`shmeld.Gone`."""
        self._native.remove()


@dataclass(frozen=True)
class QueueStat:
    """What the kernel knows about a message queue."""

    owner: Owner
    messages: int
    bytes_max: int


class MessageQueue(_Handle):
    """A message queue. ``create`` makes it if it is not there; with ``exclusive`` it must not be there.

    >>> with MessageQueue(PRIVATE, create=True, remove_on_exit=True) as queue:
    ...     queue.send(b"five", kind=5)
    ...     queue.send(b"two", kind=2)
    ...     queue.receive(5, timeout=1), queue.receive(timeout=1)
    ((b'five', 5), (b'two', 2))
    """

    def __init__(
        self,
        key: Optional[int] = None,
        *,
        id: Optional[int] = None,
        mode: int = 0o600,
        create: bool = False,
        exclusive: bool = False,
        remove_on_exit: bool = False,
    ) -> None:
        self._native = _native.SysvMessageQueue(key, id, mode=mode, create=create, exclusive=exclusive)
        self._remove_on_exit = remove_on_exit
        self.id = self._native.id

    def send(self, message: bytes, *, kind: int = 1, timeout: Optional[float] = None) -> None:
        """Sends a message of a kind of at least 1. Raises :class:`shmeld.TimedOut` if there was no room within ``timeout`` seconds."""
        self._native.send(message, kind, timeout)

    def receive(self, kind: int = 0, *, timeout: Optional[float] = None) -> tuple[bytes, int]:
        """The oldest message (0), the oldest of a kind (above), or of the lowest kind up to ``-kind`` (below); and its kind."""
        return self._native.receive(kind, timeout)

    def stat(self) -> QueueStat:
        """What the kernel knows about it."""
        owner, messages, bytes_max = self._native.stat()
        return QueueStat(Owner(*owner), messages, bytes_max)

    def remove(self) -> None:
        """Removes it at once: those who wait get :class:`shmeld.Gone`."""
        self._native.remove()
