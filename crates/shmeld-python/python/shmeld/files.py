"""Files from a server of another process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Literal, Optional, Union, overload

from . import _native
from ._block import Block
from .errors import Error, LimitReached

Name = Union[str, bytes, "os.PathLike[str]"]
"""The name of a file on the server: relative to its directory. Text is encoded as file names are."""
Progress = Callable[[str, int, int], None]
"""Called with the name, the bytes that have arrived and the size; what it raises ends the transfer."""

BYTES_MAX = 1 << 30
"""How large a file may be that is fetched into memory, unless told otherwise."""
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Entry:
    """What a server says about one of its files."""

    name: str
    kind: Literal["file", "directory", "symlink", "other"]
    size: int
    """Bytes."""
    mode: int
    """The permission bits."""
    modified: float
    """Seconds since 1970."""
    uid: int
    gid: int
    target: str
    """Where a symbolic link leads; else empty."""


class Client(Block):
    """A session with a file server.

    ``server`` is its name. ``wait`` is how many seconds to wait for it to appear (``None``: for ever). ``region`` is the size of the piece of
    shared memory that the two share, in bytes: a multiple of 4096; by default 1 MiB, or a page where there is no room. Servers of other
    users than this process's and root are accepted if their uid is in ``server_uids``. A live server that owes something and is silent for
    ``silence`` seconds is given up.

    The session begins with the first request and begins anew after an error, and in a fork. One client serves one thread.

    >>> with Server("samples", name="/example-client"), Client("/example-client") as client:
    ...     text = client.get("c.c")
    ...     path = client.save("c.c", "copy-of-c.c")
    ...     total = sum(len(chunk) for chunk in client.chunks("c.c"))
    >>> len(text) == total == path.stat().st_size
    True
    """

    def __init__(
        self,
        server: str = "/shmeld",
        *,
        wait: Optional[float] = 30.0,
        region: Optional[int] = None,
        server_uids: Sequence[int] = (),
        silence: float = 30.0,
    ) -> None:
        self.server = server
        self._options: dict[str, Any] = {
            "wait": wait,
            "region_bytes": region,
            "server_uids": list(server_uids),
            "silence": silence,
        }
        self._session: Optional[_native.Session] = None

    def _leave(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.server!r})"

    def __getstate__(self) -> dict[str, Any]:
        # Another process begins a session of its own.
        return {**self.__dict__, "_session": None}

    def close(self) -> None:
        """Tells the server that the session is over. The next request would begin another."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def get(
        self,
        name: Name,
        *,
        verify: bool = False,
        progress: Optional[Progress] = None,
        bytes_max: int = BYTES_MAX,
    ) -> bytes:
        """The bytes of a file: all of them, or an exception.

        ``verify`` compares a BLAKE3 digest end to end. A file of more than ``bytes_max`` bytes is refused with :class:`LimitReached`.

        Raises :class:`NotFound`, :class:`Changed` if the file changed while it was read, and what else :class:`Error` has below it.
        """
        parts = list(self.chunks(name, verify=verify, progress=progress, bytes_max=bytes_max))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def chunks(
        self,
        name: Name,
        *,
        verify: bool = False,
        progress: Optional[Progress] = None,
        bytes_max: Optional[int] = None,
    ) -> Iterator[bytes]:
        """The bytes of a file as they arrive, in pieces of at most a few hundred KiB.

        Only when the iterator has come to its end without an exception were they all, and those of one state of the file. An iterator that
        is given up ends the session; the next request begins another.
        """
        total = 0
        failure: Optional[Error] = None
        outputs = _outputs()
        for event in self._run("get", name, target=None, below=False, verify=verify, outputs=outputs):
            if event[0] == "begun":
                if bytes_max is not None and event[2] > bytes_max:
                    reason = f"{event[2]} bytes, more than bytes_max={bytes_max}"
                    hint = "chunks() and save() need little memory; or raise bytes_max"
                    raise LimitReached("get", _text(event[1]), reason, hint=hint, exit_code=1)
                size = event[2]
                if progress is not None:
                    progress(_text(event[1]), 0, size)
            elif event[0] == "bytes":
                yield event[1]
            elif event[0] == "zeros":
                yield from _zeros(event[1])
            elif event[0] == "progress" and progress is not None:
                total += event[1]
                progress(os.fsdecode(name), total, size)
            elif event[0] == "failed":
                failure = event[2]
        # Only now: a session whose answer has come to its end can be used again.
        if failure is not None:
            raise failure

    def save(
        self,
        name: Name,
        path: Union[str, os.PathLike[str]],
        *,
        verify: bool = False,
        progress: Optional[Progress] = None,
        preserve: bool = False,
        no_clobber: bool = False,
        sync: bool = False,
        resume: bool = False,
    ) -> Path:
        """Puts a file onto the disk: below ``path`` if that is a directory, else as ``path`` itself. Returns where it is.

        The name appears when the file is whole; what was there before stays until then. ``preserve`` keeps mode and time, ``no_clobber``
        refuses to replace, ``sync`` waits for the disk, ``resume`` keeps what has arrived if it is interrupted and goes on from there.
        """
        outputs = _outputs(preserve=preserve, no_clobber=no_clobber, sync=sync, resume=resume)
        return self._save("get", name, Path(path), verify, progress, outputs)

    def save_tree(
        self,
        name: Name,
        path: Union[str, os.PathLike[str]],
        *,
        verify: bool = False,
        progress: Optional[Progress] = None,
        preserve: bool = False,
        no_clobber: bool = False,
        sync: bool = False,
    ) -> Path:
        """Puts a whole directory of the server onto the disk: below ``path`` if that is a directory, else as ``path`` itself."""
        outputs = _outputs(preserve=preserve, no_clobber=no_clobber, sync=sync)
        return self._save("tree", name, Path(path), verify, progress, outputs)

    def ls(self, pattern: Name = "", *, recursive: bool = False) -> list[Entry]:
        """The files that the server offers, sorted by name: all, those that match a pattern, or those of a directory."""
        found = []
        failure: Optional[Error] = None
        kind = "list-all" if recursive else "list"
        for event in self._run(kind, pattern, target=None, below=False, verify=False, outputs=_outputs()):
            if event[0] == "failed":
                failure = event[2]
            if event[0] == "entry":
                _, name, what, size, mode, modified, (uid, gid), target = event
                found.append(Entry(_text(name), what, size, mode, modified, uid, gid, _text(target)))
        if failure is not None:
            raise failure
        return sorted(found, key=lambda entry: entry.name)

    def status(self) -> Mapping[str, Any]:
        """What the server counts about itself: sessions, files, bytes and more."""
        session = self._idle_session()
        self._session = None
        answer: Mapping[str, Any] = json.loads(session.status())
        return answer

    def _save(
        self,
        kind: str,
        name: Name,
        target: Path,
        verify: bool,
        progress: Optional[Progress],
        outputs: _native.Outputs,
    ) -> Path:
        below = target.is_dir()
        total = size = 0
        shown = ""
        failure: Optional[Error] = None
        for event in self._run(kind, name, target=target, below=below, verify=verify, outputs=outputs):
            if event[0] == "begun":
                total, size, shown = 0, event[2], _text(event[1])
                if progress is not None:
                    progress(shown, 0, size)
            elif event[0] == "resumed":
                total = event[2]
            elif event[0] == "progress" and progress is not None:
                total += event[1]
                progress(shown, total, size)
            elif event[0] == "failed" and failure is None:
                # The rest of a tree arrives all the same.
                failure = event[2]
        if failure is not None:
            raise failure
        return target / os.fsdecode(name) if below else target

    def _run(
        self,
        kind: str,
        name: Name,
        *,
        target: Optional[Path],
        below: bool,
        verify: bool,
        outputs: _native.Outputs,
    ) -> Iterator[tuple[Any, ...]]:
        session = self._idle_session()
        session.start(kind, os.fsencode(name), target=target, below=below, verify=verify, outputs=outputs)
        try:
            while (event := session.next()) is not None:
                yield event
        finally:
            if not session.is_idle():
                # An error, or somebody who had enough: the rest of the answer is nobody's.
                self._session = None

    def _idle_session(self) -> _native.Session:
        if self._session is None or not self._session.is_idle():
            self._session = _native.Session(self.server, **self._options)
        return self._session


@overload
def get(
    name: Name,
    /,
    *,
    server: str = ...,
    wait: Optional[float] = ...,
    verify: bool = ...,
    progress: Optional[Progress] = ...,
) -> bytes: ...


@overload
def get(
    name: Name,
    another: Name,
    /,
    *more: Name,
    server: str = ...,
    wait: Optional[float] = ...,
    verify: bool = ...,
    progress: Optional[Progress] = ...,
) -> dict[str, bytes]: ...


def get(
    name: Name,
    /,
    *names: Name,
    server: str = "/shmeld",
    wait: Optional[float] = 30.0,
    verify: bool = False,
    progress: Optional[Progress] = None,
) -> Union[bytes, dict[str, bytes]]:
    """The bytes of a file of a server; of several files, a dictionary of them by name.

    >>> with Server("samples", name="/example-get"):
    ...     text = get("c.c", server="/example-get")
    ...     both = get("c.c", "b.pdf", server="/example-get")
    >>> text == both["c.c"]
    True

    A :class:`Client` keeps its session for many requests, puts files onto the disk, and hands large ones out piece by piece.
    """
    with Client(server, wait=wait) as client:
        if not names:
            return client.get(name, verify=verify, progress=progress)
        return {
            os.fsdecode(each): client.get(each, verify=verify, progress=progress) for each in (name, *names)
        }


def _outputs(
    *, preserve: bool = False, no_clobber: bool = False, sync: bool = False, resume: bool = False
) -> _native.Outputs:
    return _native.Outputs(
        umask=_umask(), preserve=preserve, no_clobber=no_clobber, sync=sync, resume=resume
    )


def _umask() -> int:
    # os.umask() reads it by setting it, which other threads would notice.
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    # Unknown: only the owner gets what is made.
    return 0o077


def _text(name: bytes) -> str:
    return os.fsdecode(name)


def _zeros(count: int) -> Iterator[bytes]:
    piece = bytes(min(count, _CHUNK_BYTES))
    while count > 0:
        yield piece if count >= len(piece) else piece[:count]
        count -= len(piece)


__all__ = ["BYTES_MAX", "Client", "Entry", "Name", "Progress", "get"]
