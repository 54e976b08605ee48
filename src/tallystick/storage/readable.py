"""What the reading halves that backends share need of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Readable(Protocol):
    """A database whose connections take a statement and its parameters."""

    def read(self) -> AbstractContextManager[Any]:
        """Return a connection that sees one snapshot until the block ends."""
        ...
