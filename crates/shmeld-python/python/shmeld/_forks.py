"""What a forked child gives up.

A server's locks on its name are what proves that it lives. They belong to open file descriptions, of which a fork makes copies: a child that
kept them would keep its parent alive in everybody's eyes. So the child closes them first of all. Objects that are mapped (regions, their
locks too) are not inherited at all, and a program that the child executes inherits no descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

_gates: set[str] = set()
_queues: set[str] = set()
_queue_devices: set[int] = set()


def server_runs(name: str) -> None:
    """Remembers what the descriptors of a server of this process lead to."""
    bare = name[1:] if name.startswith("/") else name
    _gates.add(f"/dev/shm/shmeld.{bare}.gate")
    _queues.add(f"/{bare}")
    # A queue made anew later lies on the same device; an ordinary file of that path does not.
    for number, target in _descriptors():
        if target == f"/{bare}" and not _is_file(number, target):
            _queue_devices.add(os.fstat(number).st_dev)


def _descriptors() -> Iterator[tuple[int, str]]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield int(number), os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue


def _is_file(number: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(number), os.stat(path))
    except OSError:
        return False


def _close_in_child() -> None:
    if not _gates:
        return
    for number, target in list(_descriptors()):
        # Of an object that was removed meanwhile too.
        path = target.removesuffix(" (deleted)")
        is_queue = path in _queues and os.fstat(number).st_dev in _queue_devices
        if is_queue or path in _gates:
            os.close(number)
    for known in (_gates, _queues, _queue_devices):
        known.clear()


os.register_at_fork(after_in_child=_close_in_child)
