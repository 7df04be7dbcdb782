"""Objects that end with a ``with`` block."""

from __future__ import annotations

from types import TracebackType
from typing import Optional, TypeVar

_Self = TypeVar("_Self", bound="Block")


class Block:
    """What is in common to all whose block hands out the object itself."""

    def _leave(self) -> None:
        """The end of the block, whether or not it raised."""
        raise NotImplementedError

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._leave()
