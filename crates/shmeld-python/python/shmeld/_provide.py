"""A provider as a process of its own, for :class:`shmeld.ImageLoader`.

It ends when its standard input does: with its parent, however that ends.
"""

from __future__ import annotations

import os
import threading

from . import _native
from .images import ImageProvider

START = "import sys; channel, folder, *sys.path = sys.argv[1:]; from shmeld._provide import main; main(channel, folder)"
"""What Python runs with channel, folder and the path of modules: that of the parent, without the present directory, where anybody may write."""


def _stop_with_parent(provider: ImageProvider) -> None:
    while os.read(0, 64):
        pass
    provider.stop()


def main(channel: str, folder: str) -> None:
    """Serves until the standard input ends."""
    # A process of our own: nobody else's handler is in the way.
    _native.install_sigbus_guard()
    provider = ImageProvider(channel, folder)
    threading.Thread(target=_stop_with_parent, args=(provider,), daemon=True).start()
    provider.serve()
