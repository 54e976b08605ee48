"""A collection of one kind of object: by id, in order of creation, and by a few indexed fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Identified(Protocol):
    """Anything with an id."""

    @property
    def id(self) -> str:
        """Return the object's id."""


T = TypeVar("T", bound=Identified)


class Collection(Generic[T]):
    """Objects in order of creation.

    ``indexed`` names attributes whose values never change after ``add``: a list request that
    filters by one of them reads only the matching objects.
    """

    def __init__(self, *indexed: str) -> None:
        self._by_id: dict[str, T] = {}
        self._order: list[str] = []
        self._place: dict[str, int] = {}
        self._indexed = indexed
        self._index: dict[tuple[str, object], list[str]] = {}

    def add(self, thing: T) -> T:
        """Add a new object at the end and return it."""
        self._by_id[thing.id] = thing
        self._place[thing.id] = len(self._order)
        self._order.append(thing.id)
        for name in self._indexed:
            value = getattr(thing, name)
            if value is not None:
                self._index.setdefault((name, value), []).append(thing.id)
        return thing

    def get(self, id_: str) -> T | None:
        """Return the object or None."""
        return self._by_id.get(id_)

    def remove(self, id_: str) -> None:
        """Forget an object; its place in the order stays empty."""
        self._by_id.pop(id_, None)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[T]:
        return iter(self._by_id.values())

    def place(self, id_: str) -> int | None:
        """Return the object's place in the order of creation, also of a removed one."""
        return self._place.get(id_)

    def matching(self, name: str, value: object) -> Iterator[T]:
        """Return the objects of an indexed field's value, oldest first."""
        for id_ in self._index.get((name, value), ()):
            thing = self._by_id.get(id_)
            if thing is not None:
                yield thing

    def newest_first(self, **by: object) -> Iterator[tuple[int, T]]:
        """Yield (place, object), newest first, of the shortest index that ``by`` names."""
        ids = self._narrowest(by)
        for id_ in reversed(ids):
            thing = self._by_id.get(id_)
            if thing is not None:
                yield self._place[id_], thing

    def _narrowest(self, by: dict[str, object]) -> Sequence[str]:
        best: Sequence[str] = self._order
        for name, value in by.items():
            if name in self._indexed:
                ids = self._index.get((name, value), [])
                if len(ids) <= len(best):
                    best = ids
        return best
