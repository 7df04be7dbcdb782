"""What can go wrong. Every exception says what was done to what, why it failed, and, where there is a cure, what it is.

Those that have a counterpart in Python are of its class too: ``except FileNotFoundError`` catches a :class:`NotFound`.
"""

from __future__ import annotations

from typing import Any, Optional


class Error(Exception):
    """The base of all exceptions of this package.

    >>> error = Error("shm_open", "/frames", "no such file or directory (ENOENT)", hint="create it first")
    >>> str(error)
    'shm_open /frames: no such file or directory (ENOENT)'
    >>> error.hint
    'create it first'
    """

    operation: str
    """What was done: a C call, or a word like ``get``."""
    object: str
    """To what: printable, whatever it is called."""
    reason: str
    """Why it failed."""
    hint: Optional[str]
    """The cure, if one is known."""
    exit_code: int
    """What the commands would end with: 1 not delivered, 2 usage, 3 system or server, 4 the peer died or broke the protocol."""

    def __init__(
        self,
        operation: str = "",
        object: str = "",
        reason: str = "",
        *,
        hint: Optional[str] = None,
        exit_code: int = 3,
        errno: Optional[int] = None,
    ) -> None:
        what = " ".join(part for part in (operation, object) if part)
        # One argument: of two or three OSError makes other things.
        super().__init__(f"{what}: {reason}" if what else reason)
        self.operation = operation
        self.object = object
        self.reason = reason
        self.hint = hint
        self.exit_code = exit_code
        if isinstance(self, OSError):
            for name, value in (("errno", errno), ("strerror", reason), ("filename", object or None)):
                setattr(self, name, value)
        if hint is not None and hasattr(self, "add_note"):
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        # That of OSError would show its number and its text.
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        # So that it says the same in the parent of a multiprocessing pool.
        details = {"hint": self.hint, "exit_code": self.exit_code, "errno": getattr(self, "errno", None)}
        return (_rebuilt, (type(self), self.operation, self.object, self.reason, details))


def _rebuilt(kind: type[Error], operation: str, object: str, reason: str, details: dict[str, Any]) -> Error:
    return kind(operation, object, reason, **details)


class NotFound(Error, FileNotFoundError):
    """No such file, object or image."""


class AlreadyExists(Error, FileExistsError):
    """Something has that name already."""


class AlreadyRunning(AlreadyExists):
    """A live server has the name."""


class PermissionDenied(Error, PermissionError):
    """It belongs to somebody else, or its mode does not admit us."""


class TimedOut(Error, TimeoutError):
    """The time given is over."""


class WouldBlock(Error, BlockingIOError):
    """It would have to wait, and was told not to."""


class LimitReached(Error, OSError):
    """No room, or a limit of the system: the hint names it."""


class KernelError(Error, OSError):
    """The kernel refused, for another reason."""


class Gone(Error, OSError):
    """Somebody removed the object meanwhile."""


class Invalid(Error, ValueError):
    """What was asked for cannot be."""


class StillInUse(Error, BufferError):
    """What was lent is still referred to."""


class NotDelivered(Error):
    """The other side has it and does not deliver it."""


class Changed(NotDelivered):
    """The file changed while it was read."""


class NoServer(Error, ConnectionRefusedError):
    """No server of that name within the time given."""


class NoProvider(Error, TimeoutError):
    """Nobody answered on the channel within the time given."""


class NoImage(NotDelivered, LookupError):
    """The provider says that it has no such image, or cannot load it."""


class Refused(Error, ConnectionRefusedError):
    """The server does not take this client."""


class PeerError(Error, ConnectionError):
    """The other side died, is silent, or broke the protocol."""


class PeerDied(PeerError):
    """The other side died or ended."""


class PeerSilent(PeerError, TimeoutError):
    """The other side lives and does nothing."""


class PeerBrokeProtocol(PeerError):
    """The other side did what the protocol forbids, or what arrived is not what was sent."""
