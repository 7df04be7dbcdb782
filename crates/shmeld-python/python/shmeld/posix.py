"""POSIX objects: shared memory, named semaphores and message queues.

Names are written as in C, ``/frames``. Objects live until they are unlinked, not until their makers end; a handle can be used as a context
manager, which closes it, and unlinks what it created if it is told so with ``unlink_on_exit=True``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional, Union

from . import _native
from ._block import Block
from .errors import Invalid

PRIORITY_MAX = 32767
"""The highest priority of a message."""

_Kind = Union[type[_native.PosixSharedMemory], type[_native.PosixSemaphore], type[_native.PosixMessageQueue]]


class _Handle(Block):
    """What the three kinds have in common."""

    _kind: ClassVar[_Kind]
    _unlink_on_exit = False
    name: str
    """The name, with its slash."""

    @classmethod
    def unlink(cls, name: str) -> None:
        """Removes the name. Those who have it open go on."""
        cls._kind.unlink(name)

    def _leave(self) -> None:
        if self._unlink_on_exit:
            self.unlink(self.name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


@dataclass(frozen=True)
class MemoryStat:
    """What the kernel knows about a shared memory object."""

    uid: int
    gid: int
    mode: int
    size: int
    """Bytes."""
    links: int
    """0: somebody has unlinked it."""


class SharedMemory(_Handle):
    """A shared memory object. Its bytes are copied in and out; nothing of it is lent, because anybody who may write it may also cut it off.

    With ``size`` it is created, complete with memory and mode before it gets its name, and must not exist yet; without, it is opened.

    >>> import os
    >>> with SharedMemory(f"/example-{os.getpid()}", size=64, unlink_on_exit=True) as memory:
    ...     memory.write(b"hello", 3)
    ...     memory.read(3, 5)
    b'hello'
    """

    _kind = _native.PosixSharedMemory

    def __init__(
        self,
        name: str,
        size: Optional[int] = None,
        *,
        mode: int = 0o600,
        writable: bool = True,
        unlink_on_exit: bool = False,
    ) -> None:
        if size is None:
            self._native = self._kind.open(name, writable)
        else:
            self._native = self._kind.create(name, size, mode)
        self._unlink_on_exit = unlink_on_exit
        self.name = self._native.name

    def read(self, offset: int = 0, size: Optional[int] = None) -> bytes:
        """The bytes from ``offset``: ``size`` of them, or all; fewer where the object ends."""
        return self._native.read(offset, (1 << 63) - 1 if size is None else size)

    def write(self, data: bytes, offset: int = 0) -> None:
        """Writes all of ``data``, or raises :class:`shmeld.Invalid`: an object does not grow by being written."""
        self._native.write(offset, data)

    def grow(self, size: int) -> None:
        """Makes it ``size`` bytes long, with memory behind what is new."""
        self._native.grow(size)

    def stat(self) -> MemoryStat:
        """What the kernel knows about it."""
        return MemoryStat(*self._native.stat())

    def __len__(self) -> int:
        return self.stat().size


class Semaphore(_Handle):
    """A named semaphore. With ``value`` it is created and must not exist yet; without, it is opened.

    Share one only with those whom you would let end this process: it is operated by the C library, which believes what it finds in the
    semaphore's memory. Whoever may open a semaphore may write there, and a forged word makes the C library abort. (Those of image channels are
    operated by the kernel instead, which can take all units or none: not enough for a semaphore that counts.)

    >>> import os
    >>> with Semaphore(f"/example-{os.getpid()}", 1, unlink_on_exit=True) as semaphore:
    ...     semaphore.acquire(), semaphore.acquire(timeout=0)
    (True, False)
    """

    _kind = _native.PosixSemaphore

    def __init__(
        self, name: str, value: Optional[int] = None, *, mode: int = 0o600, unlink_on_exit: bool = False
    ) -> None:
        if value is None:
            self._native = self._kind.open(name)
        else:
            self._native = self._kind.create(name, value, mode)
        self._unlink_on_exit = unlink_on_exit
        self.name = self._native.name

    def acquire(self, timeout: Optional[float] = None) -> bool:
        """Takes one unit, waiting for it; ``False`` if none came within ``timeout`` seconds (``None``: for ever)."""
        return self._native.acquire(timeout)

    def release(self) -> None:
        """Adds one unit, which wakes one who waits."""
        self._native.release()

    @property
    def value(self) -> int:
        """How many units there are just now."""
        return self._native.value


@dataclass(frozen=True)
class QueueAttributes:
    """What a message queue is like."""

    messages_max: int
    message_bytes_max: int
    messages: int
    """How many wait just now."""


class MessageQueue(_Handle):
    """A message queue. With ``messages_max`` it is created and must not exist yet; without, it is opened to send, to receive, or both.

    >>> import os
    >>> with MessageQueue(f"/example-{os.getpid()}", 4, message_bytes_max=64, unlink_on_exit=True) as queue:
    ...     queue.send(b"later")
    ...     queue.send(b"first", priority=5)
    ...     queue.receive(timeout=1), queue.receive(timeout=1)
    ((b'first', 5), (b'later', 0))
    """

    _kind = _native.PosixMessageQueue

    def __init__(
        self,
        name: str,
        messages_max: Optional[int] = None,
        *,
        message_bytes_max: int = 1024,
        mode: int = 0o600,
        send: bool = True,
        receive: bool = True,
        unlink_on_exit: bool = False,
    ) -> None:
        if not (send or receive):
            raise Invalid("mq_open", name, "a queue is opened to send, to receive, or both", exit_code=2)
        if messages_max is None:
            self._native = self._kind.open(name, send, receive)
        else:
            self._native = self._kind.create(name, messages_max, message_bytes_max, mode)
        self._unlink_on_exit = unlink_on_exit
        self.name = self._native.name

    def send(self, message: bytes, *, priority: int = 0, timeout: Optional[float] = None) -> None:
        """Sends a message, waiting for room. Raises :class:`shmeld.TimedOut` if there was none within ``timeout`` seconds."""
        self._native.send(message, priority, timeout)

    def receive(self, timeout: Optional[float] = None) -> tuple[bytes, int]:
        """The next message and its priority. Raises :class:`shmeld.TimedOut` if none came within ``timeout`` seconds."""
        return self._native.receive(timeout)

    @property
    def attributes(self) -> QueueAttributes:
        """What it is like, and how many messages wait."""
        return QueueAttributes(*self._native.attributes())
