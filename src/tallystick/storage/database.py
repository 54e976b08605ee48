"""What the stores that backends share need of an open database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

T = TypeVar("T")


class Database(Protocol):
    """A database whose connections take a statement and its parameters."""

    def statements(self, topic: str) -> Mapping[str, str]:
        """Return the backend's own statements of ``sql/TOPIC.sql``, by the names of their headings.

        What shared stores use takes the same parameters, and returns the same columns, everywhere.
        """
        ...

    def array(self, values: Sequence[int] | Sequence[str]) -> Any:
        """Return values as one parameter, which statements of this backend take apart."""
        ...

    def read(self) -> AbstractContextManager[Any]:
        """Return a connection that sees one snapshot until the block ends."""
        ...

    def write(self, work: Callable[[Any], T]) -> T:
        """Run the work in one transaction and return its result once that is durable."""
        ...

    def submit(self, work: Callable[[Any], T]) -> Future[T]:
        """Run the work as ``write`` does, without waiting for it."""
        ...
