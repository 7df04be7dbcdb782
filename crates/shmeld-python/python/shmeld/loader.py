"""Images ahead of time, on several channels at once."""

from __future__ import annotations

import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Optional, Union

from . import _exit, _provide
from ._block import Block
from .errors import Error, Invalid, NotFound
from .images import ImageRequester, Name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Outcome = Union[Image, BaseException]


class ImageLoader(Block):
    """A sequence of images, fetched ahead of whoever goes through it, in the order of their names.

    With ``folder`` it starts a provider process for each of its channels, which decodes the files of that folder; their names begin with
    ``channel`` and are new ones each time. Without, it asks on the channels ``CHANNEL-0`` to ``CHANNEL-(channels - 1)``, and the providers are somebody
    else's: ``shmeld image provide CHANNEL-0 DIR``, for example. ``ahead`` images are fetched before they are asked for. ``timeout`` is how many
    seconds one may take.

    It has a length, gives the image of an index, and can be gone through again and again, as a ``torch.utils.data.Dataset`` wants it:

    >>> with ImageLoader(["a", "d"], folder="samples", channels=2, channel="example-loader") as loader:
    ...     len(loader), loader[1].shape == loader[-1].shape, [image.dtype.name for image in loader]
    (2, True, ['uint8', 'uint8'])

    With PyTorch, which it does not need::

        loader = shmeld.ImageLoader(names, folder="photos", channels=2)
        for image, label in zip(loader, labels):                      # fetched ahead by the loader
            tensor = torch.from_numpy(image).permute(2, 0, 1)
        batches = torch.utils.data.DataLoader(loader, batch_size=8)   # or one by one, by index; images of one shape

    In another process (a worker of a ``DataLoader``, forked or spawned) it begins anew with channels of its own, if it has a folder.
    :meth:`close` ends what is under way; an iterator that goes on afterwards raises :class:`shmeld.Invalid`.
    """

    def __init__(
        self,
        names: Sequence[Name],
        *,
        channels: int = 4,
        channel: str = "shmeld-images",
        folder: Optional[Union[str, os.PathLike[str]]] = None,
        ahead: Optional[int] = None,
        timeout: Optional[float] = 30.0,
    ) -> None:
        if channels < 1:
            raise Invalid("load", channel, f"takes one channel at least, not {channels}", exit_code=2)
        self.names = list(names)
        self._channels = channels
        self._channel = channel
        # As it is called from here: the first image may be wanted when the present directory is another.
        self._folder = None if folder is None else os.path.abspath(os.fspath(folder))
        if self._folder is not None and not os.path.isdir(self._folder):
            raise NotFound("load", self._folder, "no such directory", errno=2)
        self._ahead = 2 * channels if ahead is None else max(ahead, 1)
        self._timeout = timeout
        self._crew: Optional[_Crew] = None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        """The image of one index, without looking ahead."""
        return _image(self._begin().fetch(self.names[index]).get())

    def __iter__(self) -> Iterator[Image]:
        """All images in the order of their names. One that cannot be had raises when its turn comes."""
        crew = self._begin()
        under_way: list[queue.SimpleQueue[Outcome]] = []
        position = 0
        while position < len(self.names) or under_way:
            while position < len(self.names) and len(under_way) < self._ahead:
                under_way.append(crew.fetch(self.names[position]))
                position += 1
            crew.check()
            yield _image(under_way.pop(0).get())

    def close(self) -> None:
        """Ends the providers that it started and removes its channels. The next image would begin anew."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()

    def _begin(self) -> _Crew:
        with _beginning:
            if self._crew is None or self._crew.pid != os.getpid():
                # Of the parent, if this is a fork: its threads are not here.
                self._crew = _Crew(self._channel, self._channels, self._folder, self._timeout)
                weakref.finalize(self, self._crew.close)
            return self._crew

    def _leave(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ImageLoader of {len(self)} images on {self._channels} channels>"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_crew": None}


class _Crew:
    """The requesters of a loader, each with a thread, and the providers that it started."""

    def __init__(self, channel: str, channels: int, folder: Optional[str], timeout: Optional[float]) -> None:
        self.pid = os.getpid()
        self._folder = folder
        self._wanted: queue.SimpleQueue[Optional[tuple[Name, queue.SimpleQueue[Outcome]]]] = queue.SimpleQueue()
        self._providers: dict[str, subprocess.Popen[bytes]] = {}
        self._requesters: list[ImageRequester] = []
        self._threads: list[threading.Thread] = []
        self._closing = threading.Lock()
        self._is_closed = False
        _crews.add(self)
        # Its threads keep it alive to the end of the process, whoever forgets it.
        _exit.close_at_exit(self)
        if folder is not None:
            _sweep(channel)
            # A name that nobody has had: a provider of a loader that died could still answer on another.
            channel = f"{channel}-{secrets.token_hex(4)}"
        try:
            for number in range(channels):
                self._requesters.append(ImageRequester(f"{channel}-{number}", timeout=timeout))
                self._provide(self._requesters[-1].channel)
        except BaseException:
            self.close()
            raise
        for requester in self._requesters:
            thread = threading.Thread(target=self._work, args=(requester,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def check(self) -> None:
        """Whether it still works, and for this process."""
        if self._is_closed or self.pid != os.getpid():
            why = "is closed" if self._is_closed else f"belongs to process {self.pid}, of which this one is a fork"
            raise Invalid("load", "an image", f"the loader {why}", hint="go through the loader anew", exit_code=2)

    def fetch(self, name: Name) -> queue.SimpleQueue[Outcome]:
        """Has an image fetched; what becomes of it comes out of the queue."""
        outcome: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        with self._closing:
            self.check()
            self._wanted.put((name, outcome))
        return outcome

    def close(self) -> None:
        if self.pid != os.getpid():
            return
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                for _ in self._threads:
                    self._wanted.put(None)
        for requester in self._requesters:
            requester.stop()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()
        for requester in self._requesters:
            requester.close()
        for provider in self._providers.values():
            _close_input(provider)
        for provider in self._providers.values():
            try:
                provider.wait(_END_MAX)
            except subprocess.TimeoutExpired:
                provider.kill()
                provider.wait()

    def _at_exit(self) -> None:
        self.close()

    def close_inputs_in_fork(self) -> None:
        """The providers end with their input: a fork must not hold it open."""
        for provider in self._providers.values():
            _close_input(provider)

    def _provide(self, channel: str) -> None:
        """Has a process answer on a channel, unless one does, or somebody else is to."""
        if self._folder is None or (channel in self._providers and self._providers[channel].poll() is None):
            return
        command = [sys.executable, "-c", _provide.START, channel, self._folder, *sys.path]
        # In a session of its own: Ctrl-C is for the parent, which decides.
        self._providers[channel] = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def _work(self, requester: ImageRequester) -> None:
        while (job := self._wanted.get()) is not None:
            name, outcome = job
            try:
                self.check()
                self._provide(requester.channel)
                outcome.put(requester.request(name))
            except Exception as error:  # noqa: BLE001 - it is raised where the image is taken
                outcome.put(error)


_END_MAX = 5.0
"""How many seconds a provider gets to end by itself."""
_crews: weakref.WeakSet[_Crew] = weakref.WeakSet()
_beginning = threading.Lock()


def _after_fork() -> None:
    global _beginning
    # Whoever held it is not here.
    _beginning = threading.Lock()
    for crew in list(_crews):
        crew.close_inputs_in_fork()
    _crews.clear()


os.register_at_fork(after_in_child=_after_fork)


def _close_input(provider: subprocess.Popen[bytes]) -> None:
    if provider.stdin is not None:
        provider.stdin.close()


def _sweep(channel: str) -> None:
    """Removes channels of loaders that were killed: their names are never used again. Those of the living are left alone."""
    pattern = re.compile(rf"SEG_({re.escape(channel.replace('/', '_'))}-[0-9a-f]{{8}}-\d+)_HEAD")
    for found in map(pattern.fullmatch, os.listdir("/dev/shm")):
        if found:
            try:
                ImageRequester(found[1]).close()
            except Error:
                continue


def _image(outcome: Outcome) -> Image:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
