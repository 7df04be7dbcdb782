"""Images ahead of time, on several channels at once."""

from __future__ import annotations

import atexit
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Optional, Union

from .errors import Invalid
from .images import ImageRequester, Name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Outcome = Union[Image, BaseException]


class ImageLoader:
    """A sequence of images, fetched ahead of whoever goes through it, in the order of their names.

    It asks on the channels ``CHANNEL-0`` to ``CHANNEL-(channels - 1)``. With ``folder`` it starts a provider process for each of them, which
    decodes the files of that folder; without, they are somebody else's: ``shmeld image provide CHANNEL-0 DIR``, for example. ``ahead`` images are
    fetched before they are asked for. ``timeout`` is how many seconds one may take.

    It has a length, gives the image of an index, and can be gone through again and again, as a ``torch.utils.data.Dataset`` wants it:

    >>> with ImageLoader(["a", "d"], folder="samples", channels=2, channel="example-loader") as loader:
    ...     len(loader), loader[1].shape == loader[-1].shape, [image.dtype.name for image in loader]
    (2, True, ['uint8', 'uint8'])

    With PyTorch, which it does not need::

        loader = shmeld.ImageLoader(names, folder="photos", channels=2)
        for image, label in zip(loader, labels):                      # fetched ahead by the loader
            tensor = torch.from_numpy(image).permute(2, 0, 1)
        batches = torch.utils.data.DataLoader(loader, batch_size=8)   # or one by one, by index; images of one shape

    In a forked process (a worker of a ``DataLoader``) it begins anew with channels of its own, if it has a folder.
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
        self._folder = None if folder is None else os.fspath(folder)
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
            yield _image(under_way.pop(0).get())

    def close(self) -> None:
        """Ends the providers that it started and removes its channels."""
        crew, self._crew = self._crew, None
        if crew is not None and crew.pid == os.getpid():
            crew.close()

    def _begin(self) -> _Crew:
        if self._crew is None or self._crew.pid != os.getpid():
            # Of the parent, if this is a fork: its threads are not here.
            channel = self._channel
            if self._crew is not None and self._folder is not None:
                channel = f"{channel}-{os.getpid()}"
            self._crew = _Crew(channel, self._channels, self._folder, self._timeout)
        return self._crew

    def __enter__(self) -> ImageLoader:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ImageLoader of {len(self)} images on {self._channels} channels>"

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_crew": None, "_channel": f"{self._channel}-{os.getpid()}"}


class _Crew:
    """The requesters of a loader, each with a thread, and the providers that it started."""

    def __init__(self, channel: str, channels: int, folder: Optional[str], timeout: Optional[float]) -> None:
        self.pid = os.getpid()
        self._wanted: queue.SimpleQueue[Optional[tuple[Name, queue.SimpleQueue[Outcome]]]] = queue.SimpleQueue()
        self._providers: list[subprocess.Popen[bytes]] = []
        self._requesters: list[ImageRequester] = []
        self._threads: list[threading.Thread] = []
        # Its threads keep it alive to the end of the process, whoever forgets it.
        atexit.register(self.close)
        try:
            for number in range(channels):
                self._requesters.append(ImageRequester(f"{channel}-{number}", timeout=timeout))
                if folder is not None:
                    command = [sys.executable, "-m", "shmeld._provide", f"{channel}-{number}", folder]
                    self._providers.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        except BaseException:
            self.close()
            raise
        for requester in self._requesters:
            thread = threading.Thread(target=self._work, args=(requester,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def fetch(self, name: Name) -> queue.SimpleQueue[Outcome]:
        """Has an image fetched; what becomes of it comes out of the queue."""
        outcome: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._wanted.put((name, outcome))
        return outcome

    def close(self) -> None:
        atexit.unregister(self.close)
        if self.pid != os.getpid():
            return
        for _ in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()
        for provider in self._providers:
            if provider.stdin is not None:
                provider.stdin.close()
        for provider in self._providers:
            provider.wait()
        for requester in self._requesters:
            requester.close()

    def _work(self, requester: ImageRequester) -> None:
        while (job := self._wanted.get()) is not None:
            name, outcome = job
            try:
                outcome.put(requester.request(name))
            except Exception as error:  # noqa: BLE001 - it is raised where the image is taken
                outcome.put(error)


def _image(outcome: Outcome) -> Image:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
