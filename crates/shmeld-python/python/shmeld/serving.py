"""A file server of this process."""

from __future__ import annotations

import os
from typing import Optional, Union

from . import _exit, _forks, _native
from ._block import Block


class Server(Block):
    """Offers a directory to other processes, on a thread of its own.

    It can be used when the constructor returns. ``name`` is what clients call it. Other users are admitted by ``group`` (a gid) or
    ``public``, and then get only what modes show them, unless ``serve_private``. ``once`` ends it after its first client.

    >>> with Server("samples", name="/example-server") as server:
    ...     server.is_running
    True
    >>> server.is_running
    False
    """

    def __init__(
        self,
        directory: Union[str, os.PathLike[str]] = ".",
        *,
        name: str = "/shmeld",
        group: Optional[int] = None,
        public: bool = False,
        serve_private: bool = False,
        follow_symlinks: bool = True,
        once: bool = False,
        sessions_max: int = 1024,
        file_bytes_max: Optional[int] = None,
        region_bytes_max: int = 64 << 20,
    ) -> None:
        self.name = name
        self._server = _native.Server(
            os.fspath(directory),
            name,
            group=group,
            public=public,
            serve_private=serve_private,
            follow_symlinks=follow_symlinks,
            once=once,
            sessions_max=sessions_max,
            file_bytes_max=file_bytes_max,
            region_bytes_max=region_bytes_max,
        )
        _forks.server_runs(name)
        _exit.close_at_exit(self)

    @property
    def is_running(self) -> bool:
        """Whether it serves."""
        return self._server.is_running()

    def stop(self) -> None:
        """Lets requests at work finish for a few seconds, and removes what the server made. Doing it again does nothing."""
        self._server.stop()

    def wait(self) -> bool:
        """Waits until the server ends: by ``stop`` in another thread, or by ``once``. ``False`` if that client died before it was done."""
        return self._server.wait()

    def _at_exit(self) -> None:
        self.stop()

    _leave = _at_exit

    def __repr__(self) -> str:
        return f"<Server {self.name} {'running' if self.is_running else 'ended'}>"
