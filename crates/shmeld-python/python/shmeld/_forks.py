"""What a forked child gives up.

A server's locks on its name are what proves that it lives. They belong to open file descriptions, of which a fork makes copies: a child that
kept them would keep its parent alive in everybody's eyes. So the child closes them first of all. Objects that are mapped (regions, their
locks too) are not inherited at all, and a program that the child executes inherits no descriptor.
"""

from __future__ import annotations

import os

_targets: set[str] = set()


def server_runs(name: str) -> None:
    """Remembers what the descriptors of a server of this process lead to."""
    bare = name[1:] if name.startswith("/") else name
    _targets.update((f"/{bare}", f"/dev/shm/shmeld.{bare}.gate"))


def _close_in_child() -> None:
    if not _targets:
        return
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        # Of an object that was removed meanwhile too.
        if target.removesuffix(" (deleted)") in _targets:
            os.close(int(number))
    _targets.clear()


os.register_at_fork(after_in_child=_close_in_child)
