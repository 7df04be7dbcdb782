"""Images between processes: a requester asks by name, a provider answers with pixels.

Images are numpy arrays of the type uint8 and the shape (height, width, channels), with one to four channels. The layout of a channel is
that of the C++ programs which docs/PROTOCOL.md describes: either side may be one of them, or ``shmeld image``.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

import numpy as np

from . import _exit, _native
from ._block import Block
from .errors import Invalid, StillInUse

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

Name = Union[str, bytes]
"""The name of an image: up to 200 bytes, no slash. Text is encoded as file names are."""
Source = Union[str, "os.PathLike[str]", "Mapping[str, Image]", Callable[[str], "Image"]]


class ImageRequester(Block):
    """A channel that this process owns, to ask for images. Providers are found and lost at any time.

    ``public`` lets other users join; ``force`` takes the channel away from whoever uses it. ``timeout`` is how many seconds a request waits
    for its answer (``None``: for ever), if it is not told otherwise. One requester serves one thread.

    >>> import numpy
    >>> grey = numpy.full((2, 3, 1), 128, numpy.uint8)
    >>> with ImageProvider("example-request", {"grey": grey}).start(), ImageRequester("example-request") as requester:
    ...     image = requester.request("grey")
    ...     with requester.view("grey") as lent:
    ...         total = int(lent.sum())
    >>> image.shape, total
    ((2, 3, 1), 768)
    """

    def __init__(
        self, channel: str, *, public: bool = False, force: bool = False, timeout: Optional[float] = 30.0
    ) -> None:
        self._native = _native.ImageRequester(channel, public=public, force=force)
        self.channel = self._native.channel
        self.timeout = timeout
        self._bytes = 0
        self._buffers: list[_Buffer] = []
        self._given: list[NDArray[np.uint8]] = []
        _exit.close_at_exit(self)

    def request(
        self, name: Name, *, out: Optional[Image] = None, timeout: Optional[float] = -1.0
    ) -> Image:
        """An image of one's own: a new array, or ``out``, which must have the image's shape and lie in one piece.

        Raises :class:`shmeld.NoImage` if the provider has none, :class:`shmeld.NoProvider` if nobody answers in time,
        :class:`shmeld.PeerError` if the provider dies or breaks the protocol. After an error the requester can be used as before.
        """
        if out is not None:
            self._native.request(
                os.fsencode(name), memory=_flat(out), shape=_shape(out), timeout=self._limit(timeout)
            )
            return out
        return self._ask(name, self._memory(), timeout)

    def view(self, name: Name, *, timeout: Optional[float] = -1.0) -> Loan:
        """An image that is lent for a ``with`` block, in memory that is used again: no allocation and no copy for each image.

        >>> with ImageProvider("example-view", {"dot": np.ones((1, 1, 3), np.uint8)}).start(), ImageRequester("example-view") as requester:
        ...     with requester.view("dot") as image:
        ...         image.tolist()
        ...     image.size
        [[[1, 1, 1]]]
        0

        The array can only be read, and is empty after the block. What still refers to it then, or to a part of it, raises
        :class:`shmeld.StillInUse`: such arrays stay as they are, and the requester takes other memory.
        """
        return Loan(self, name, timeout)

    def close(self) -> None:
        """Removes the channel. A request that another thread is waiting in ends with :class:`shmeld.Invalid`."""
        self._native.close()

    def stop(self) -> None:
        """Ends a request that another thread is waiting in, and refuses every later one."""
        self._native.stop()

    def _at_exit(self) -> None:
        self.close()

    _leave = _at_exit

    def _memory(self) -> Optional[NDArray[np.uint8]]:
        """For an image as large as the last one: that of an image which nobody has any more, or new memory, which costs more than the pixels."""
        if self._bytes == 0:
            return None
        for memory in self._given:
            if memory.size == self._bytes and sys.getrefcount(memory) - _BASE - 1 <= 0:
                return memory
        memory = np.empty(self._bytes, np.uint8)
        self._given = [each for each in self._given if each.size == self._bytes][1 - _GIVEN_MAX :]
        self._given.append(memory)
        return memory

    def _ask(self, name: Name, memory: Optional[NDArray[np.uint8]], timeout: Optional[float]) -> Image:
        encoded = os.fsencode(name)
        limit = self._limit(timeout)
        height, width, channels, new = self._native.request(encoded, memory=memory, shape=None, timeout=limit)
        self._bytes = height * width * channels
        if new is not None or memory is None:
            return np.asarray(new).reshape(height, width, channels)
        image = memory[: self._bytes].reshape(height, width, channels)
        # Not much memory for a little image.
        return image if memory.size == self._bytes else image.copy()

    def _limit(self, timeout: Optional[float]) -> Optional[float]:
        return self.timeout if timeout is not None and timeout < 0 else timeout

    def __repr__(self) -> str:
        return f"<ImageRequester {self.channel}>"


_GIVEN_MAX = 3
"""How many images that were given away are remembered, to use their memory again when nobody has them any more."""


class _Buffer:
    """Memory of a requester that is lent again and again."""

    def __init__(self, size: int) -> None:
        self.memory: NDArray[np.uint8] = np.empty(size, np.uint8)
        self._lent: Optional[weakref.ref[Image]] = None

    def is_free(self) -> bool:
        # An array that has been emptied keeps the memory for those who look through it behind our back.
        return self._lent is None or self._lent() is None

    def lend(self, image: Image) -> None:
        self._lent = weakref.ref(image)


class Loan:
    """An image that is lent for a ``with`` block: see :meth:`ImageRequester.view`."""

    def __init__(self, requester: ImageRequester, name: Name, timeout: Optional[float]) -> None:
        self._requester = requester
        self._name = name
        self._timeout = timeout
        self._image: Optional[Image] = None
        self._buffer: Optional[_Buffer] = None

    def __enter__(self) -> Image:
        requester = self._requester
        buffer = next((each for each in requester._buffers if each.is_free()), None)
        if buffer is None or buffer.memory.size < requester._bytes:
            if buffer is not None:
                requester._buffers.remove(buffer)
            buffer = _Buffer(requester._bytes)
            requester._buffers.append(buffer)
        memory = buffer.memory
        memory.flags.writeable = True
        encoded, limit = os.fsencode(self._name), requester._limit(self._timeout)
        height, width, channels, new = requester._native.request(
            encoded, memory=memory, shape=None, timeout=limit
        )
        requester._bytes = height * width * channels
        if new is not None:
            # The first, or larger than those before: from now on there is room for it.
            requester._buffers.remove(buffer)
            buffer = _Buffer(0)
            buffer.memory = memory = new
        memory.flags.writeable = False
        image = memory[: requester._bytes].reshape(height, width, channels)
        buffer.lend(image)
        self._buffer, self._image = buffer, image
        return image

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        image, buffer = self._image, self._buffer
        self._image = self._buffer = None
        if image is None or buffer is None:
            return
        memory = buffer.memory
        # The name behind "as" is one; it is not counted. Nor are these here: see _BASE.
        arrays = sys.getrefcount(image) - _BASE - 1
        parts = sys.getrefcount(memory) - _BASE - 2
        if arrays <= 0 and parts <= 0:
            # Keeps the memory as long as somebody could look into it through the array: through a memoryview, for example.
            weakref.finalize(image, _nothing, memory).atexit = False
            _empty(image)
            return
        if buffer in self._requester._buffers:
            self._requester._buffers.remove(buffer)
        if kind is not None:
            # The exception's own traceback may be what refers to it, and is what the caller wants to see.
            return
        count = max(arrays, 0) + max(parts, 0)
        what = f"the image {os.fsdecode(self._name)!r} of shape {image.shape}"
        reason = f"{what}, lent by view(), is still referred to {count} time{'s' if count > 1 else ''} at the end of its block"
        raise StillInUse("view", self._requester.channel, reason, hint="copy what is to be kept, or use request()", exit_code=2)

    def __repr__(self) -> str:
        return f"<Loan of {os.fsdecode(self._name)!r}>"


def _nothing(memory: object) -> None:
    """Called when nobody can look into the memory any more."""


def _empty(image: Image) -> None:
    """Takes the memory out of an array: whoever still has it finds nothing there."""
    state: Any = (1, (0, 0, image.shape[2]), image.dtype, False, b"")
    image.__setstate__(state)


class _Counted:
    """What :meth:`Loan.__exit__` counts, without anybody else."""

    def __init__(self) -> None:
        self.image: Optional[NDArray[np.uint8]] = np.empty(0, np.uint8)

    def count(self) -> int:
        image = self.image
        self.image = None
        return sys.getrefcount(image)


_BASE = _Counted().count()


_EXIT_MAX = 2.0
"""How many seconds the end of the process waits for the function of a provider."""


@dataclass(frozen=True)
class Served:
    """One answered request."""

    name: str
    problem: Optional[str]
    """What the requester was told instead of getting an image; ``None`` if it got one."""


class ImageProvider(Block):
    """Answers the requests of a channel: from a function of a name, from a dictionary of arrays, or from a folder of image files.

    A function or dictionary may give arrays of shape (height, width) too. A function that raises tells the requester so; ``KeyError`` means
    that there is no such image. Files are found by their names without ending, decoded as they are stored, and never outside the folder.

    The channel is the requester's: if there is none yet, the first ``serve`` waits for it. Requesters of other users than this process's
    and root are accepted if their uid is in ``requester_uids``.

    >>> provider = ImageProvider("example-provide", lambda name: np.zeros((1, len(name), 3), np.uint8))
    >>> with provider.start(), ImageRequester("example-provide") as requester:
    ...     requester.request("four").shape
    (1, 4, 3)
    """

    def __init__(self, channel: str, source: Source, *, requester_uids: Sequence[int] = ()) -> None:
        folder: Optional[str] = None
        function: Optional[Callable[[bytes], Image]] = None
        if isinstance(source, Mapping):
            function = _of_mapping(source)
        elif callable(source):
            function = _of_function(source)
        else:
            folder = os.fspath(source)
        uids = list(requester_uids)
        self._native = _native.ImageProvider(channel, folder=folder, function=function, requester_uids=uids)
        self.channel = self._native.channel
        self._thread: Optional[threading.Thread] = None
        _exit.close_at_exit(self)

    def serve_next(self, timeout: Optional[float] = None) -> Optional[Served]:
        """Waits for a request and answers it; ``None`` if there was none within ``timeout`` seconds (``None``: for ever)."""
        served = self._native.serve_next(timeout)
        return None if served is None else Served(os.fsdecode(served[0]), served[1])

    def serve(self, count: Optional[int] = None, *, timeout: Optional[float] = None) -> int:
        """Answers ``count`` requests, or all until ``stop`` is called or ``timeout`` seconds pass without one. Returns how many it were."""
        done = 0
        while count is None or done < count:
            if self.serve_next(timeout) is None:
                break
            done += 1
        return done

    def start(self) -> ImageProvider:
        """Serves on a thread of its own until ``stop``, or the end of a ``with`` block."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.serve, name=f"shmeld-{self.channel}", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Ends what ``start`` began, or a ``serve`` in another thread."""
        self._native.stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._native.close()

    def _at_exit(self) -> None:
        self._native.stop()
        if self._thread is not None:
            # Not for ever: its function may be waiting for something.
            self._thread.join(_EXIT_MAX)
        self._native.close()

    def _leave(self) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<ImageProvider {self.channel}>"


def _of_mapping(images: Mapping[str, Image]) -> Callable[[bytes], Image]:
    return lambda name: _checked(images[os.fsdecode(name)])


def _of_function(function: Callable[[str], Image]) -> Callable[[bytes], Image]:
    return lambda name: _checked(function(os.fsdecode(name)))


def _checked(image: Any) -> Image:
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise TypeError(f"an image is an array of uint8, not of {array.dtype}")
    if array.ndim == 2:
        array = array[:, :, np.newaxis]
    if array.ndim != 3:
        raise TypeError(f"an image has the shape (height, width, channels), not {array.shape}")
    return np.ascontiguousarray(array)


def _flat(out: Image) -> NDArray[np.uint8]:
    _shape(out)
    if out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
        raise Invalid("request", "out", "must be a writable array of uint8 that lies in one piece", exit_code=2)
    return out.reshape(-1)


def _shape(out: Image) -> tuple[int, int, int]:
    if out.ndim != 3:
        raise Invalid("request", "out", f"must have the shape (height, width, channels), not {out.shape}", exit_code=2)
    return (out.shape[0], out.shape[1], out.shape[2])
