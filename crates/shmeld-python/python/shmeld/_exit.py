"""What happens to open objects when the process ends: they are closed before the interpreter is taken apart.

Python forgets some objects at its end instead of ending them, which would leave names behind, and its threads must not wait in native code then.
The workers of multiprocessing end without ``atexit``, so they are told in their own way.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import Protocol

from . import _native


class _Open(Protocol):
    def _at_exit(self) -> None: ...


_open: weakref.WeakSet[_Open] = weakref.WeakSet()
_workers: set[int] = set()


def close_at_exit(opened: _Open) -> None:
    """Has an object closed at the end of this process, if it still is there then."""
    _open.add(opened)
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or os.getpid() in _workers or process.parent_process() is None:
        return
    _workers.add(os.getpid())
    util.Finalize(None, _close, exitpriority=0)


def _close() -> None:
    for opened in list(_open):
        try:
            opened._at_exit()
        except Exception:  # noqa: BLE001 - the others are closed all the same
            pass


def _end() -> None:
    _close()
    _native.leave()


atexit.register(_end)
# A fork closes nothing of its parent's.
os.register_at_fork(after_in_child=_open.clear)
