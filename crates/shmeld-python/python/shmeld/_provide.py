"""A provider as a process of its own, for :class:`shmeld.ImageLoader`: ``python -m shmeld._provide CHANNEL FOLDER``.

It ends when its standard input does: with its parent, however that ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from .images import ImageProvider


def _stop_with_parent(provider: ImageProvider) -> None:
    while os.read(0, 64):
        pass
    provider.stop()


def main() -> None:
    """Serves until the standard input ends."""
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    provider = ImageProvider(sys.argv[1], sys.argv[2])
    threading.Thread(target=_stop_with_parent, args=(provider,), daemon=True).start()
    provider.serve()


if __name__ == "__main__":
    main()
